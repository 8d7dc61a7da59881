/*
 * reports: what was claimed and is on its way, and telling the store what became
 * of it.
 *
 *     reports_init -> reports_start -> reports_begin -> (the sender) ->
 *         reports_take ... -> reports_stop -> reports_fini
 *
 * A report waits for the disk, so a thread of its own makes them, many at once:
 * all results that came while the last ones were reported, in one act of the store.
 * Where many batches are out it waits a moment for more of them. There is room for
 * every batch's result, so that taking one never fails.
 *
 * Threads: begin, refuse, take, is_full from any.
 */
#pragma once

#include "callback/sender.h"
#include "server/store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { REPORTS_AT_ONCE = 256 };

/* A mailbox that was claimed and given to the sender. */
struct flight {
    struct id mailbox;
    uint64_t token;        /* of the claim */
    uint64_t before, last; /* the batch's numbers lie after `before`, and `last` is one of them */
    uint32_t attempts, count;
    bool refused;       /* by the sender, for what passes: it is to be tried again soon */
    unsigned next_free; /* in the list of free ones */
};

struct reports {
    struct store *store;
    uint32_t retry_first_ms, retry_last_ms;
    int wake;       /* eventfd: told when there was no room, and is again; borrowed */
    unsigned limit; /* flights at once */
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* guards what follows; taken alone */
    pthread_cond_t came;  /* as many results as are wanted */
    bool stopping;
    unsigned wanted; /* 0: the thread is at work */
    struct flight *flights;
    unsigned first_free, flight_count;
    struct sender_result *results; /* a ring with room for every flight */
    unsigned results_at, results_count;

    _Atomic uint64_t batches, events, retries, dialback, reversed;
};

must_check enum outcome reports_init(struct reports *reports, struct store *store, unsigned limit, int wake,
                                     struct failure *why);
must_check enum outcome reports_start(struct reports *reports, struct failure *why);
void reports_stop(struct reports *reports); /* what was taken until now is reported */
void reports_fini(struct reports *reports);

bool reports_is_full(struct reports *reports);
/* There is room (reports_is_full said so). Returns the flight's index: the token of the sender's batch. */
unsigned reports_begin(struct reports *reports, const struct flight *flight);
/* The sender did not take it: it is put off, by the reports' own thread. */
void reports_refuse(struct reports *reports, unsigned index, enum outcome outcome);
/* sender_options.done, with the reports as context. */
void reports_take(void *reports, const struct sender_result *result);

/* A failure of the store's, logged a few times a minute. */
void reports_complain(enum outcome outcome, const struct failure *why);
