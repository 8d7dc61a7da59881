/*
 * keeper: keeps a mailbox's way back up, and has its events brought, as long as
 * it lives.
 *
 *     keeper_start -> (events and notes come) -> keeper_stop
 *
 * One thread with a connection of its own: starts the callback program
 * (callback/listener.h), connects, offers reversed calls on that connection,
 * ATTACHes; then stays: watches which route the server found, asks with EVENTS
 * (every few seconds while there is none, seldom otherwise: nothing is lost for
 * long, whatever went wrong), and begins anew, with back-off and without end,
 * when the connection breaks. If this machine's address has changed by then, so
 * does the callback program's.
 *
 * Threads. `event` runs on the listener's, the connection's or the keeper's
 * thread, one at a time, in the order of numbers, each number once unless it
 * answered false. `note` runs on the keeper's. Neither may call keeper_stop.
 * Lock order: telling, then lock; `event` runs under telling.
 */
#pragma once

#include "base/address.h"
#include "base/id.h"
#include "base/outcome.h"
#include "callback/event.h"
#include "client/lib/reach.h"
#include "fileshare/fileshare.h"

#include <stdbool.h>
#include <stdint.h>

struct keeper_options {
    const struct target *target; /* copied */
    struct address local;        /* by which the server is reached; a Unix socket's will do */
    struct id mailbox;
    struct id instance; /* of the store; another one does not get the mailbox; none: any */
    uint64_t since;     /* events up to that number were shown */
    /* True: it was shown and recorded; false: it will come again. `route` is static. */
    bool (*event)(void *context, const struct event *event, const char *route);
    void (*note)(void *context, const char *note); /* for people; NULL: nobody reads it */
    void *context;
};

struct keeper;

/* NOMEM, LOCAL. The rest happens on its thread. */
must_check enum outcome keeper_start(const struct keeper_options *options, struct keeper **out,
                                     struct failure *why);

/* Waits for the first ATTACH to succeed or fail, and answers what it came to; STOPPED if `stop` is asked. */
must_check enum outcome keeper_first(struct keeper *keeper, const struct stop *stop, struct failure *why);

/* Withdraws the route if `detach` (within seconds), ends everything. NULL is fine; returns NULL. */
void *keeper_stop(struct keeper *keeper, bool detach);

/*
 * How often the mailbox was attached so far: once, and once more each time that
 * its way was lost. Then the server may be another than before, or have an older store.
 */
unsigned keeper_attached(struct keeper *keeper);

/* What is known now. */
void keeper_callback(struct keeper *keeper, struct fileshare_callback *out);
