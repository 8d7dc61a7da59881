/*
 * batch: commands from a file, one a line, as words.h splits them.
 *
 * Stops at the first failure and exits with its code. With `keep_going` all are
 * run, and the code is as for several items: 1 if some failed, the one's own if
 * there was but one. Messages name the file and the line.
 */
#pragma once

#include "client/cli/client.h"

/* "-": standard input. */
enum exit_code batch_run(struct client *client, const char *path, bool keep_going);
