/*
 * permits: how many calls may wait for the store at once, and who is next.
 *
 * Of the server's workers only so many may serve a call that may wait; the
 * others always have time for NULL. A complete record without a permit stands in
 * a queue:
 *
 *     permits_ask -> serve -> permits_done -> serve what it returns -> ...
 *
 * A line is one connection's: its *ordered* calls are let through one by one, in
 * the order they asked. A job that stands behind another of its line takes no
 * permit. What stands in the queues is bounded in number.
 *
 * Shut, no *bulky* job gets a permit (one whose reply may be large): what asks
 * waits. So the server holds back while too many bytes of replies are unsent.
 *
 * Any thread. The mutex is taken alone, or under a connection's; nothing is called
 * under it.
 */
#pragma once

#include "base/list.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct permit_line {
    bool busy;           /* one of its jobs is being served, or is in the queue */
    struct list waiting; /* those behind it */
};

/* Part of a record that is to be served. */
struct permit_job {
    struct list link;
    struct permit_line *line; /* NULL: no order to keep */
    bool bulky;
    uint64_t number; /* in the queue: who came first */
};

struct permits {
    pthread_mutex_t mutex; /* guards what follows, and all lines */
    bool shut;
    unsigned free;
    unsigned waiting, waiting_max; /* jobs in both queues and in the lines */
    struct list ready, ready_bulky;
    uint64_t queued; /* jobs so far */
};

void permits_init(struct permits *permits, unsigned count, unsigned waiting_max);
void permits_fini(struct permits *permits); /* nothing waits any more */
void permit_line_init(struct permit_line *line);

enum permit_answer {
    PERMIT_YES,   /* serve it now */
    PERMIT_WAITS, /* it stands in the queue */
    PERMIT_FULL,  /* the queue is full: ask again later */
};
/* `now` false: it is to wait in any case. */
enum permit_answer permits_ask(struct permits *permits, struct permit_job *job, bool now);

/* The next job, with a permit; NULL if there is none, or no permit. */
struct permit_job *permits_take(struct permits *permits);

/* The job was served: its permit goes to the job returned, or back. */
struct permit_job *permits_done(struct permits *permits, struct permit_job *job);

/* A job cannot be served now: its permit goes on in the same way, but its line stays as it is. */
struct permit_job *permits_yield(struct permits *permits);
/* The job that yielded wants a permit again: it stands in the queue. */
void permits_again(struct permits *permits, struct permit_job *job);

void permits_shut(struct permits *permits, bool shut);

/* Whether a job and a permit are there for somebody who has time. */
bool permits_have_work(struct permits *permits);
unsigned permits_waiting(struct permits *permits);

/* Takes out any job that waits, permit or not; NULL if none does. For the end: it is not to be served. */
struct permit_job *permits_drop(struct permits *permits);
