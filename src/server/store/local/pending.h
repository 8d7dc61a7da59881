/*
 * pending: notices on their way out, claimed one mailbox at a time (due.h).
 */
#pragma once

#include "server/store/local/database.h"
#include "server/store/store.h"

struct local;

/* Every mailbox with a route and events becomes due: at open, and when memory ran out. */
must_check enum outcome pending_fill(struct local *local, struct database *db, struct failure *why);

/* The acts. */
enum outcome local_pending_claim(struct store *store, unsigned lease_seconds, struct store_claim *out,
                                 struct store_event *events, size_t capacity, int64_t *next_due,
                                 struct failure *why) must_check;
enum outcome local_pending_done(struct store *store, const struct id *mailbox, uint64_t token,
                                uint64_t acknowledged, struct failure *why) must_check;
enum outcome local_pending_done_many(struct store *store, const struct store_done *dones, size_t count,
                                     struct failure *why) must_check;
enum outcome local_pending_retry(struct store *store, const struct id *mailbox, uint64_t token,
                                 uint32_t milliseconds, struct failure *why) must_check;
