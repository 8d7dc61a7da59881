/*
 * notices: from an arrival to events in mailboxes.
 *
 * An arrival is a row of the outbox as long as it is pending. fan_out takes the
 * pending ones in their order and gives each waiter its event, in steps of
 * bounded size, a transaction each. An arrival counts for an interest if its
 * number is above the interest's `seen`; the event moves `seen` on in the same
 * transaction, so that each is told exactly once however often and from whatever
 * side it is tried.
 *
 * Whoever changes an interest (cancel, renew, expiry) settles it first: pending
 * arrivals that it waits for are told now, so that a publish which was committed
 * first counts first.
 *
 * A few waiters get their events in the transaction of the publish itself, unless
 * older arrivals are pending: so that mostly one commit is all there is between an
 * arrival and those who wait for it.
 *
 * All in the writer's turn, but local_fan_out.
 */
#pragma once

#include "server/store/local/database.h"
#include "server/store/local/due.h"
#include "server/store/local/waiters.h"
#include "server/store/store.h"

struct local;

/*
 * Mailboxes that got something in the transaction that runs. Once it is committed
 * they are due, before any act of it is answered. The writer's.
 */
struct noticed {
    struct notice {
        int64_t mailbox;
        struct due_news *news; /* what it got, if that is all that it has; or NULL */
    } * of;
    size_t count, room;
    bool incomplete; /* no memory for one of them */
    bool left;       /* an arrival may be pending now: fan_out has something to do */
};
/* The transaction is over. Unless it was committed for certain, each is looked for in the database. */
void noticed_tell(struct local *local, bool committed);
/* What came after the first `count` was undone. */
void noticed_undo(struct noticed *noticed, size_t count);
void noticed_fini(struct noticed *noticed);

/* The arrival's row in the outbox, unless nobody can be waiting for it, and events for the first who wait. `made` is its number. */
must_check enum outcome notices_arrived(struct local *local, struct database *db,
                                        const struct store_entry *entry, int64_t made, struct failure *why);

/* Tells the waiter what is pending for it. It is as the database has it, before and after. */
must_check enum outcome notices_settle(struct local *local, struct database *db, struct waiter *waiter,
                                       struct failure *why);

/* A waiting one whose time is over, after notices_settle: an event says so if nothing ever came. */
must_check enum outcome notices_expire(struct local *local, struct database *db, struct waiter *waiter,
                                       struct failure *why);

/* The oldest events of the mailbox, those stored before `before`, at most `limit`, become one that counts them. */
must_check enum outcome notices_age(struct local *local, struct database *db, int64_t mailbox, int64_t before,
                                    unsigned limit, uint64_t *dropped, struct failure *why);
/* Before one more event, of which `newest` is the one before (0: none waits): if there is no room the oldest goes. */
must_check enum outcome notices_make_place(struct local *local, struct database *db, int64_t mailbox,
                                           int64_t newest, struct failure *why);

/* The act. */
enum outcome local_fan_out(struct store *store, size_t limit, bool *left, struct failure *why) must_check;
