/*
 * mailboxes: where events wait for a client, by a secret that is never told.
 *
 * A mailbox's secret is looked up and nothing else: it stands in no failure, log
 * line or listing. Its row is named by a number that is never used twice.
 */
#pragma once

#include "server/store/local/database.h"
#include "server/store/store.h"

struct local;

/* One whose events are only taken is touched this often: it may have been used so much later than its row says. */
#define MAILBOX_TOUCH_EVERY (3600 * (int64_t)CLOCK_SECOND)

struct mailbox {
    int64_t row;
    uint32_t interests, open_globs, over;
    int64_t touched;
};

/* ABSENT (described). */
must_check enum outcome mailbox_find(struct database *db, const struct id *secret, struct mailbox *out,
                                     struct failure *why);
/* In a transaction: found or made, and touched. `principal` pays for it. LIMIT. */
must_check enum outcome mailbox_make(struct local *local, struct database *db, const struct id *secret,
                                     const char *principal, struct mailbox *out, struct failure *why);
/* In a transaction: it, its interests and events are gone. */
must_check enum outcome mailbox_end(struct local *local, struct database *db, int64_t row,
                                    struct failure *why);
/* In a transaction: events up to `number` were received; *left: others are in it still. ABSENT (described). */
must_check enum outcome mailbox_acknowledge(struct local *local, struct database *db, const struct id *secret,
                                            uint64_t number, int64_t *row, bool *left, struct failure *why);
/* Events after `since`, oldest first. */
must_check enum outcome mailbox_read(struct database *db, int64_t row, uint64_t since,
                                     struct store_event *events, size_t capacity, size_t *count, bool *more,
                                     struct failure *why);

/* The acts. */
enum outcome local_mailbox_route(struct store *store, const struct store_caller *caller,
                                 const struct id *mailbox, const void *route, size_t size,
                                 struct store_mailbox *out, struct failure *why) must_check;
enum outcome local_mailbox_forget(struct store *store, const struct id *mailbox, struct failure *why)
    must_check;
enum outcome local_mailbox_events(struct store *store, const struct id *mailbox, uint64_t since,
                                  struct store_event *events, size_t capacity, size_t *count, bool *more,
                                  struct failure *why) must_check;
