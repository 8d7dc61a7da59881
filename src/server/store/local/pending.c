#include "server/store/local/pending.h"

#include "base/fault.h"
#include "server/store/local/local.h"
#include "server/store/local/mailboxes.h"

#include <string.h>

enum outcome pending_fill(struct local *local, struct database *db, struct failure *why)
{
    /* Those that have events are few beside those that have not. */
    scoped_query struct query q = query_on(
        db, "SELECT DISTINCT event.mailbox FROM event JOIN mailbox ON mailbox.id = event.mailbox"
            " WHERE mailbox.route IS NOT NULL");
    int64_t now = clock_elapsed(local->clock);
    enum outcome outcome = query_row(&q, why);
    while (outcome == OUTCOME_OK) {
        due_poke(&local->due, column_int(&q), now, false);
        outcome = query_row(&q, why);
    }
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

/* What a claimed mailbox has to deliver. ABSENT (not described) if that is nothing, or nowhere to deliver it. */
static enum outcome claim_read(struct database *db, int64_t row, struct store_claim *out,
                               struct store_event *events, size_t capacity, struct failure *why)
{
    {
        scoped_query struct query q = query_on(
            db, "SELECT secret, route FROM mailbox WHERE id = ? AND route IS NOT NULL");
        bind_int(&q, row);
        enum outcome outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        out->mailbox = column_id(&q);
        size_t size;
        const void *route = column_blob(&q, &size);
        out->route_size = size < sizeof out->route ? size : sizeof out->route;
        if (out->route_size > 0)
            memcpy(out->route, route, out->route_size);
    }
    bool more;
    enum outcome outcome = mailbox_read(db, row, 0, events, capacity, &out->count, &more, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->newest = out->count > 0 ? events[out->count - 1].number : 0;
    return out->count > 0 ? OUTCOME_OK : OUTCOME_ABSENT;
}

enum outcome local_pending_claim(struct store *store, unsigned lease_seconds, struct store_claim *out,
                                 struct store_event *events, size_t capacity, int64_t *next_due,
                                 struct failure *why)
{
    struct local *local = local_of(store);
    int64_t now = clock_elapsed(local->clock);
    scoped_reader struct reader reader = {0};
    for (;;) {
        struct due_claim claim;
        int64_t next;
        if (!due_take(&local->due, now, now + timeline_seconds(lease_seconds), &claim, &next)) {
            *next_due = next;
            return failure_set(why, OUTCOME_ABSENT, "nothing is due");
        }
        struct store_claim found = {.token = claim.token, .attempts = claim.attempts};
        bool known = claim.news && capacity > 0 && due_news_read(claim.news, &found, events);
        due_news_free(claim.news);
        if (known) {
            *out = found;
            return OUTCOME_OK;
        }
        enum outcome outcome = reader.db ? OUTCOME_OK : readers_take(&local->readers, &reader, why);
        if (outcome == OUTCOME_OK)
            outcome = claim_read(reader.db, claim.mailbox, &found, events, capacity, why);
        if (outcome == OUTCOME_OK) {
            *out = found;
            return OUTCOME_OK;
        }
        if (outcome != OUTCOME_ABSENT) {
            due_retry(&local->due, claim.mailbox, claim.token, now + timeline_seconds(1));
            return outcome;
        }
        due_drop(&local->due, &claim, now);
    }
}

enum { DONES_AT_ONCE = 256 }; /* in one act: others get their turn */

struct finishing {
    const struct store_done *dones;
    size_t count;
    struct finished {
        int64_t row; /* 0: the mailbox is gone */
        bool left;
    } of[DONES_AT_ONCE];
};

static enum outcome done_one(struct local *local, struct database *db, const struct store_done *done,
                             struct finished *out, struct failure *why)
{
    enum outcome outcome = mailbox_acknowledge(local, db, &done->mailbox, done->acknowledged, &out->row,
                                               &out->left, why);
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome done_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct finishing *finishing = argument;
    enum outcome outcome = OUTCOME_OK;
    for (size_t i = 0; i < finishing->count && outcome == OUTCOME_OK; i++)
        outcome = done_one(local, db, &finishing->dones[i], &finishing->of[i], why);
    return outcome;
}

static enum outcome done_some(struct local *local, const struct store_done *dones, size_t count,
                              struct failure *why)
{
    struct finishing finishing = {.dones = dones, .count = count};
    enum outcome outcome = writer_do(&local->writer, done_run, &finishing, why);
    FAULT_POINT("notice-acknowledged");
    if (outcome != OUTCOME_OK)
        return outcome;
    int64_t now = clock_elapsed(local->clock);
    bool due = false;
    for (size_t i = 0; i < count; i++) {
        const struct finished *of = &finishing.of[i];
        if (of->row != 0)
            due |= due_done(&local->due, of->row, dones[i].token, !of->left, now);
    }
    if (due)
        local_wake(local);
    return OUTCOME_OK;
}

enum outcome local_pending_done_many(struct store *store, const struct store_done *dones, size_t count,
                                     struct failure *why)
{
    struct local *local = local_of(store);
    enum outcome outcome = OUTCOME_OK;
    for (size_t at = 0; at < count && outcome == OUTCOME_OK; at += DONES_AT_ONCE)
        outcome = done_some(local, dones + at, count - at < DONES_AT_ONCE ? count - at : DONES_AT_ONCE, why);
    return outcome;
}

enum outcome local_pending_done(struct store *store, const struct id *secret, uint64_t token,
                                uint64_t acknowledged, struct failure *why)
{
    const struct store_done done = {.mailbox = *secret, .token = token, .acknowledged = acknowledged};
    return local_pending_done_many(store, &done, 1, why);
}

enum outcome local_pending_retry(struct store *store, const struct id *secret, uint64_t token,
                                 uint32_t milliseconds, struct failure *why)
{
    struct local *local = local_of(store);
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    struct mailbox mailbox;
    if (outcome == OUTCOME_OK)
        outcome = mailbox_find(reader.db, secret, &mailbox, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
    due_retry(&local->due, mailbox.row, token, clock_elapsed(local->clock) + (int64_t)milliseconds * 1000000);
    local_wake(local); /* it may be due before anything else */
    return OUTCOME_OK;
}
