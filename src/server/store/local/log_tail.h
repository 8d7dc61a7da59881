/*
 * log_tail: what stands in SQLite's log behind its last commit.
 *
 * A COMMIT that fails half-way leaves frames there. Each is a header with a sum over all frames before it, then a
 * page. Should the disk get full between the two, and hold at that place, from an act that failed before, just the
 * bytes that were to be written, then the log is whole: whoever opens it after a kill finds the transaction done.
 * Pages that only move something on by one are often the same in two attempts, so this is not as rare as it sounds.
 */
#pragma once

#include <stdbool.h>

/*
 * Whether a commit stands behind the last one that the index of the log (the "-shm" file) knows. `database` is the
 * path of a database that nobody writes to meanwhile. True if it cannot be told.
 */
bool log_tail_commits(const char *database);
