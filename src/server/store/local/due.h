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
#include "server/store/store.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DUE_BUCKETS = 4096 };

/* All that waits in a mailbox, kept in memory from its commit on, so that a claim need not read it. */
struct due_news;

/* NULL when there is no memory: then it is read. */
struct due_news *due_news_new(const struct id *secret, const void *route, size_t route_size,
                              const struct store_event *event);
/* The event, and what of the claim is not the table's. False if it cannot be: then it is read. */
bool due_news_read(const struct due_news *news, struct store_claim *claim, struct store_event *event);
void *due_news_free(struct due_news *news); /* NULL is fine; returns NULL */

enum { DUE_NEWS_MAX = 2048 }; /* in the table at once */

struct due_item;

struct due {
    pthread_mutex_t mutex;
    struct list buckets[DUE_BUCKETS];
    struct due_item **heap; /* soonest first */
    size_t count, room;
    uint64_t tokens;
    unsigned news;   /* items that have some */
    bool incomplete; /* there was no memory once: to be filled from the database again */
};

struct due_claim {
    int64_t mailbox;
    uint64_t token;
    uint32_t attempts;
    uint64_t pokes;        /* for due_drop */
    struct due_news *news; /* yours; NULL: look for yourself */
};

void due_init(struct due *due);
void due_fini(struct due *due);

/* Something may wait. With `afresh` (a new route) earlier attempts and claims are forgotten. */
void due_poke(struct due *due, int64_t mailbox, int64_t now, bool afresh);
/* The same; `news` (taken over) is all that waits, or NULL. */
void due_tell(struct due *due, int64_t mailbox, int64_t now, struct due_news *news);
/* It waits as it did, but what is known of it in memory does not hold any more. */
void due_unlearn(struct due *due, int64_t mailbox);
/* Some mailbox should stand here and does not. */
void due_miss(struct due *due);
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
