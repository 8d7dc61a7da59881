/*
 * due: which mailboxes have something to deliver, and when; in memory only.
 *
 * A mailbox stands here from the moment something may wait in it (due_poke),
 * until somebody claimed it and found nothing (due_drop). It may stand here
 * without need, never the other way round; after a restart it is filled from the
 * database. A claim gives it to one deliverer until the claim is answered
 * (due_done, due_retry) or its lease is over; a token tells claims apart.
 *
 * Times are elapsed ones (clock_elapsed). Its lock is a leaf.
 */
#pragma once

#include "base/list.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DUE_BUCKETS = 4096 };

struct due_item;

struct due {
    pthread_mutex_t mutex;
    struct list buckets[DUE_BUCKETS];
    struct due_item **heap; /* soonest first */
    size_t count, room;
    uint64_t tokens;
    bool incomplete; /* there was no memory once: to be filled from the database again */
};

struct due_claim {
    int64_t mailbox;
    uint64_t token;
    uint32_t attempts;
    uint64_t pokes; /* for due_drop */
};

void due_init(struct due *due);
void due_fini(struct due *due);

/* Something may wait. With `afresh` (a new route) earlier attempts and claims are forgotten. */
void due_poke(struct due *due, int64_t mailbox, int64_t now, bool afresh);
/* False if none is due; then *next is when one will be, or INT64_MAX. */
bool due_take(struct due *due, int64_t now, int64_t lease_until, struct due_claim *out, int64_t *next);
/* Nothing waited: it goes, unless it was poked meanwhile. */
void due_drop(struct due *due, const struct due_claim *claim, int64_t now);
/*
 * These two do nothing if the token is not the current claim's. `empty`: nothing is left in it, so it goes,
 * unless it was poked since it was claimed. due_done: whether it is due now.
 */
bool due_done(struct due *due, int64_t mailbox, uint64_t token, bool empty, int64_t now);
void due_retry(struct due *due, int64_t mailbox, uint64_t token, int64_t at);
void due_forget(struct due *due, int64_t mailbox);
/* Whether it lacks something; asking makes it complete, so fill it then. */
bool due_was_incomplete(struct due *due);
