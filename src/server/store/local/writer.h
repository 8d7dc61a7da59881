/*
 * writer: one at a time changes the database.
 *
 * Who has something to write while nobody writes has the turn and does it itself: its
 * core is awake, and no thread has to be woken before or after the sync. Who comes meanwhile
 * hands its act over and waits for the writer's thread. That takes
 * all acts that wait into one transaction, in their order, each in a savepoint but the first, which needs none;
 * none is answered before the commit returned. So one sync of the disk serves
 * all of them, however many they are.
 *
 *     outcome = writer_do(&writer, run, &argument, why);
 *
 * `run` is called in the writer's turn, on whatever thread has it, with the store, its connection and the
 * argument. If it answers OK, what it wrote is committed when writer_do returns
 * OK; any other answer undoes its own writes alone and is handed back. If the
 * commit fails, all acts of that transaction are answered that failure, also
 * those refused on the grounds of others; but NOSPACE is said only of what was
 * surely not done, now or before (UNKNOWN of the rest). `run` may see a `why` of NULL.
 *
 * Several acts may be handed over at once (writer_do_all): they run in their order,
 * in one transaction, a savepoint each, and have an answer each.
 *
 * An act changes nothing in memory that others see: it notes in its argument
 * what is to be done, and the caller does it once the commit is known. The events
 * that mailboxes got (notices.h) are noted in the turn, before anybody is answered; whoever's act it was then
 * tells those who deliver them.
 *
 * The turn stands for all that is said to be the writer's: the connection, the waiters, what was noticed. It passes
 * with the mutex, so none of these needs a lock. What nobody is to wait for (the log, crowds) the thread does.
 *
 * Any thread may call writer_do, but not within an act.
 */
#pragma once

#include "base/outcome.h"
#include "server/store/local/database.h"
#include "server/store/local/readers.h"
#include "server/store/local/timeline.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct local;

typedef enum outcome writer_run(struct local *local, struct database *db, void *argument,
                                struct failure *why);

struct writer_act {
    writer_run *run;
    void *argument;
    struct failure *why;  /* may be NULL */
    enum outcome outcome; /* set by the writer, as is: */
    bool is_new;          /* it wrote something, or was refused; else it was done before, or has not run */
};

struct writer_request;

struct writer {
    struct local *local;
    struct database *db; /* in the turn, once started */
    const struct timeline *time;
    struct readers *readers;   /* who must be out of the way now and then */
    struct timeline_mark mark; /* the time as last written down; the writer's own */
    pthread_t thread;
    bool started;
    _Atomic uint64_t commits; /* transactions that changed something */

    pthread_mutex_t mutex; /* guards what follows, and the requests in the queue */
    pthread_cond_t wake;
    struct writer_request *first, **last;
    bool taken;  /* somebody has the turn */
    bool chores; /* the thread has to do what nobody waits for */
    bool stopping;
    enum outcome trouble; /* of the last transaction; OK when it went well */
    char trouble_text[FAILURE_TEXT_MAX];
};

/* Takes `db` over, also when it fails. */
must_check enum outcome writer_start(struct writer *writer, struct local *local, const struct timeline *time,
                                     struct readers *readers, struct database *db, struct failure *why);
/* Does what waits, then ends. Fine if it was never started. */
void writer_stop(struct writer *writer);

must_check enum outcome writer_do(struct writer *writer, writer_run *run, void *argument,
                                  struct failure *why);

/* The outcomes stand with the acts. */
void writer_do_all(struct writer *writer, struct writer_act *acts, size_t count);

/* Whether the last transaction went well; if not, its trouble into `text`. */
bool writer_is_well(struct writer *writer, char text[FAILURE_TEXT_MAX]);
