/*
 * jobs: many files over several connections at once (--jobs).
 *
 *     struct jobs jobs = {.client, .tree, .title, .most, .key, .transfer, .told, .context};
 *     code = jobs_run(&jobs);
 *
 * The rows of the tree are one queue. The first job is the caller's thread, with
 * the client's session; each other one has a thread and a session of its own,
 * connects while the first is at work already, and takes rows from then on. One
 * that cannot connect, or loses the server, leaves the rest to the others; the
 * first goes on to the end. With one job no thread is started.
 *
 * It comes to what one job would have come to: of rows with the same key the
 * later one is begun when the earlier one is done, and what became of each row
 * is told in the order of the rows, one at a time, whichever thread it is on.
 * What waits to be told is kept small, beside the row.
 */
#pragma once

#include "client/cli/trees.h"

enum { JOBS_MAX = 16 };

/* One connection's share. */
struct job;

struct jobs {
    struct client *client;
    struct tree *tree;
    const char *title; /* of the progress */
    unsigned most;     /* connections; 0 is 1 */
    const char *(*key)(const struct tree_row *row);
    /* fileshare_put_many or its like: rows by job_next, what became of them by job_told. On the job's thread, maybe again. */
    enum fileshare_status (*transfer)(struct job *job, struct fileshare *session,
                                      struct fileshare_error *error);
    /* `entry` NULL: it failed. */
    void (*told)(void *context, const struct tree_row *row, const struct fileshare_entry *entry,
                 bool unchanged, const struct fileshare_error *error);
    void *context;
};

/*
 * All of it; the signal's code after a stop, EXIT_LOCAL without memory, and so on for what ended it early, told;
 * EXIT_DONE when all rows were told, well or not.
 */
enum exit_code jobs_run(struct jobs *jobs);

/* What the caller gave. */
void *job_context(const struct job *job);
/* The next row; NULL: none for now. */
struct tree_row *job_next(struct job *job);
void job_told(struct job *job, const struct tree_row *row, const struct fileshare_entry *entry,
              bool unchanged, const struct fileshare_error *error);
/* A fileshare_progress whose context is the job. */
void job_moved(void *job, uint64_t moved, uint64_t total);
