/*
 * local: the embedded store as a whole. SQLite and files below one folder:
 *
 *     lock            flock()ed, with the holder's pid: one server per store
 *     fileshare.db    the facts (schema.c), in WAL mode
 *     blobs/xx/ID     content (blobs.h)
 *     incoming/ID     uploads on their way
 *     lost/           what repair set aside (repair.h); nothing here reads it
 *     pin             flock()ed: a backup takes content, or the sweep removes some (pin.h)
 *
 * Order of locks: the sweep's, an upload's own, then (waiting for the writer) the writer's,
 * which stands for whatever happens on its thread; everything else is a leaf:
 * the tables of uploads, reads, claims, leftovers, due mailboxes, the pool of readers.
 */
#pragma once

#include "server/store/local/blobs.h"
#include "server/store/local/due.h"
#include "server/store/local/events.h"
#include "server/store/local/leftovers.h"
#include "server/store/local/notices.h"
#include "server/store/local/readers.h"
#include "server/store/local/reads.h"
#include "server/store/local/sweep.h"
#include "server/store/local/timeline.h"
#include "server/store/local/uploads.h"
#include "server/store/local/waiters.h"
#include "server/store/local/writer.h"
#include "server/store/store.h"

#include <stdatomic.h>

struct local {
    struct store store; /* first: a struct store is the beginning of one of ours */
    struct store_limits limits;
    const struct clock *clock;
    struct timeline time;
    struct id instance;
    int folder_fd, lock_fd, pin_fd, event_fd;
    char *folder, *database_path;
    struct blobs blobs;
    struct uploads uploads;
    struct reads reads;
    struct readers readers;
    struct due due;
    struct sweeping sweeping;
    struct leftovers leftovers;
    struct waiters waiters; /* the writer's (its turn's), as is: */
    struct noticed noticed;
    struct event_counts event_counts;
    struct event_numbers event_numbers;
    _Atomic uint64_t events_dropped; /* since it was opened; a try that was undone counts as well */
    _Atomic bool arrivals_left;      /* some may be pending; said once they are committed */
    struct writer writer;
    pthread_rwlock_t telling; /* guards these two; for reading while `told` is called */
    void (*told)(void *context);
    void *told_context;
};

static inline struct local *local_of(struct store *store)
{
    return (struct local *)(void *)store;
}

/* Transactions that changed something since it was opened: how well acts share them. */
uint64_t store_local_commits(struct store *store);

/* Whoever polls event_fd is woken. */
void local_wake(struct local *local);
/* Mailboxes got events: store_acts.on_events. On the thread whose act did it; no lock but an upload's is held. */
void local_tell(struct local *local);
