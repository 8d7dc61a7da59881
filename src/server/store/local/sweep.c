#include "server/store/local/sweep.h"

#include "base/fault.h"
#include "server/store/local/answers.h"
#include "server/store/local/condense.h"
#include "server/store/local/kept.h"
#include "server/store/local/local.h"
#include "server/store/local/mailboxes.h"
#include "server/store/local/notices.h"
#include "server/store/local/pending.h"
#include "server/store/local/pin.h"
#include "server/store/local/room.h"

enum {
    EXPIRE_BATCH = 256, /* a notice each: at most NOTICE_BATCH */
    UPLOAD_BATCH = 64,
    ROW_BATCH = 1000,
    MAILBOX_BATCH = 32,
};

#define A_DAY (86400 * (int64_t)CLOCK_SECOND)

/* Between two looks through all folders. */
#define ORPHANS_AGAIN (10 * (int64_t)CLOCK_SECOND)

/* ---- interests whose time is over ---- */

struct expiring {
    uint64_t count;
};

static enum outcome next_over(struct local *local, struct database *db, struct waiter *out,
                              struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT " WAITER_COLUMNS " FROM interest WHERE state = 0 AND ends <= ? ORDER BY ends LIMIT 1");
    bind_int(&q, timeline_now(&local->time));
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        waiter_take(&q, out);
    return outcome;
}

/* What is pending for it first: it may have been met before it ran out. */
static enum outcome expire_one(struct local *local, struct database *db, struct waiter *waiter,
                               struct failure *why)
{
    enum outcome outcome = notices_settle(local, db, waiter, why);
    if (outcome == OUTCOME_OK && waiter->state == STORE_WAITING)
        outcome = notices_expire(local, db, waiter, why);
    return outcome;
}

static enum outcome expire_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct expiring *expiring = argument;
    struct waiter waiter;
    enum outcome outcome = OUTCOME_OK;
    while (outcome == OUTCOME_OK && expiring->count < EXPIRE_BATCH) {
        outcome = next_over(local, db, &waiter, why);
        if (outcome == OUTCOME_OK)
            outcome = expire_one(local, db, &waiter, why);
        if (outcome == OUTCOME_OK)
            expiring->count++;
    }
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome sweep_interests(struct local *local, struct store_sweep *out, bool *left,
                                    struct failure *why)
{
    struct expiring expiring = {0};
    enum outcome outcome = writer_do(&local->writer, expire_run, &expiring, why);
    FAULT_POINT("expiry-committed");
    if (outcome != OUTCOME_OK)
        return outcome;
    out->interests += expiring.count;
    *left |= expiring.count == EXPIRE_BATCH;
    return OUTCOME_OK;
}

/* ---- idle uploads ---- */

static enum outcome sweep_uploads(struct local *local, struct store_sweep *out, bool *left,
                                  struct failure *why)
{
    int64_t before = timeline_now(&local->time) - timeline_seconds(local->limits.upload_idle_seconds);
    enum outcome outcome = OUTCOME_OK;
    unsigned count = 0;
    for (; count < UPLOAD_BATCH && outcome == OUTCOME_OK; count++) {
        struct upload *upload = uploads_take_idle(&local->uploads, before);
        if (!upload)
            return OUTCOME_OK;
        pthread_mutex_lock(&upload->mutex);
        if (upload->touched < before) {
            outcome = upload_drop(local, upload, why);
            out->uploads += outcome == OUTCOME_OK;
        }
        pthread_mutex_unlock(&upload->mutex);
        upload_give(local, upload);
    }
    *left |= count == UPLOAD_BATCH;
    return outcome;
}

/* ---- rows that are old ---- */

struct tidying {
    struct store_sweep *out;
    bool left;
};

static enum outcome tidy(struct database *db, const char *text, int64_t before, int64_t limit, bool *left,
                         uint64_t *count, struct failure *why)
{
    scoped_query struct query q = query_on(db, text);
    bind_int(&q, before);
    bind_int(&q, limit);
    enum outcome outcome = query_run(&q, why);
    if (outcome == OUTCOME_OK) {
        *count += database_changed(db);
        *left |= database_changed(db) >= (uint64_t)limit;
    }
    return outcome;
}

/* Interests that are over are forgotten after a while, or when there are more than may wait. */
static enum outcome tidy_interests(struct local *local, struct database *db, bool *left, struct failure *why)
{
    uint64_t count = 0;
    enum outcome outcome = tidy(
        db,
        "DELETE FROM interest WHERE id IN (SELECT id FROM interest WHERE state <> 0 AND ends <= ? LIMIT ?)",
        timeline_now(&local->time), ROW_BATCH, left, &count, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    return tidy(db,
                "DELETE FROM interest WHERE id IN (SELECT id FROM interest WHERE state <> 0 ORDER BY ends"
                " LIMIT max(0, min(?2, (SELECT over FROM store) - ?1)))",
                local->limits.interests, ROW_BATCH, left, &count, why);
}

/* That of the oldest event, if it was stored before `before`. */
static enum outcome next_aged(struct database *db, int64_t before, int64_t *row, struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT mailbox FROM event WHERE stored < ? ORDER BY stored LIMIT 1");
    bind_int(&q, before);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *row = column_int(&q);
    return outcome;
}

/* What a query names, collected before it is ended: its rows are not read while they go. */
struct batch {
    size_t count;
    int64_t mailboxes[MAILBOX_BATCH], numbers[MAILBOX_BATCH];
};

/* At most MAILBOX_BATCH of them; with `numbered` each has a number, too. */
static enum outcome batch_read(struct batch *batch, struct query *query, bool numbered, bool *left,
                               struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    while (batch->count < MAILBOX_BATCH && (outcome = query_row(query, why)) == OUTCOME_OK) {
        batch->mailboxes[batch->count] = column_int(query);
        batch->numbers[batch->count] = numbered ? column_int(query) : 0;
        batch->count++;
    }
    *left |= batch->count == MAILBOX_BATCH;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

/* Empty ones that nobody used for a day; with a route, for as long as an event would have waited. */
static enum outcome tidy_mailboxes(struct local *local, struct database *db, struct tidying *tidying,
                                   struct failure *why)
{
    int64_t now = timeline_now(&local->time) - MAILBOX_TOUCH_EVERY;
    struct batch batch = {0};
    enum outcome outcome;
    {
        scoped_query struct query q = query_on(
            db, "SELECT id FROM mailbox WHERE interests = 0 AND over = 0 AND touched < ?"
                " AND (route IS NULL OR touched < ?)"
                " AND NOT EXISTS (SELECT 1 FROM event WHERE event.mailbox = mailbox.id)"
                " ORDER BY touched LIMIT ?");
        bind_int(&q, now - A_DAY);
        bind_int(&q, now - timeline_seconds(local->limits.event_seconds));
        bind_int(&q, MAILBOX_BATCH);
        outcome = batch_read(&batch, &q, false, &tidying->left, why);
    }
    for (size_t i = 0; i < batch.count && outcome == OUTCOME_OK; i++) {
        outcome = mailbox_end(local, db, batch.mailboxes[i], why);
        tidying->out->mailboxes += outcome == OUTCOME_OK;
    }
    return outcome;
}

/* What stands for events that were dropped goes when it has waited as long and no interest of the mailbox is left. */
static enum outcome tidy_markers(struct local *local, struct database *db, int64_t before,
                                 struct tidying *tidying, struct failure *why)
{
    struct batch batch = {0};
    uint64_t gone;
    enum outcome outcome;
    {
        scoped_query struct query q = query_on(
            db, "SELECT mailbox, number FROM event WHERE stored < ? AND kind = 2"
                " AND mailbox IN (SELECT id FROM mailbox WHERE interests = 0) LIMIT ?");
        bind_int(&q, before);
        bind_int(&q, MAILBOX_BATCH);
        outcome = batch_read(&batch, &q, true, &tidying->left, why);
    }
    for (size_t i = 0; i < batch.count && outcome == OUTCOME_OK; i++) {
        outcome = events_remove(local, db, batch.mailboxes[i], batch.numbers[i] - 1, batch.numbers[i], &gone,
                                why);
        tidying->out->events += outcome == OUTCOME_OK ? gone : 0;
    }
    return outcome;
}

/* Events that waited too long become one that counts them; when that one goes, the mailbox goes. */
static enum outcome tidy_events(struct local *local, struct database *db, struct tidying *tidying,
                                struct failure *why)
{
    int64_t before = timeline_now(&local->time) - timeline_seconds(local->limits.event_seconds), row = 0;
    enum outcome outcome = tidy_markers(local, db, before, tidying, why);
    for (unsigned n = 0; n < MAILBOX_BATCH && outcome == OUTCOME_OK; n++) {
        outcome = next_aged(db, before, &row, why);
        if (outcome == OUTCOME_OK)
            outcome = notices_age(local, db, row, before, ROW_BATCH, &tidying->out->events, why);
        tidying->left |= outcome == OUTCOME_OK && n + 1 == MAILBOX_BATCH;
    }
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome tidy_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct tidying *tidying = argument;
    int64_t now = timeline_now(&local->time);
    uint64_t answers = 0;
    enum outcome outcome = leftovers_write_over(local, db, why);
    if (outcome == OUTCOME_OK)
        outcome = answers_sweep(db, now - timeline_seconds(STORE_ANSWER_SECONDS), ROW_BATCH, &answers, why);
    tidying->out->answers += answers;
    tidying->left |= answers == ROW_BATCH;
    if (outcome == OUTCOME_OK)
        outcome = tidy_interests(local, db, &tidying->left, why);
    if (outcome == OUTCOME_OK)
        outcome = tidy_events(local, db, tidying, why);
    return outcome == OUTCOME_OK ? tidy_mailboxes(local, db, tidying, why) : outcome;
}

/* ---- blobs that no row names ---- */

enum outcome sweep_blob_is_named(struct database *db, const struct id *blob, bool *named, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT 1 FROM content WHERE blob = ?");
    bind_id(&q, blob);
    enum outcome outcome = query_row(&q, why);
    *named = outcome == OUTCOME_OK;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome sweep_shard(struct local *local, unsigned shard, unsigned *looks, struct store_sweep *out,
                                struct failure *why)
{
    scoped_reader struct reader reader = {0};
    scoped_walk DIR *walk = NULL;
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome == OUTCOME_OK)
        outcome = blob_walk(&local->blobs, BLOB_WHOLE, shard, &walk, why);
    struct id blob;
    for (; outcome == OUTCOME_OK && blob_walk_next(walk, &blob); ++*looks) {
        if (blob.octets[0] != shard)
            continue; /* no name that we gave */
        /* In this order: its maker gives the claim up only when the row is committed. */
        bool named = blob_is_claimed(&local->blobs, &blob);
        if (!named)
            outcome = sweep_blob_is_named(reader.db, &blob, &named, why);
        if (outcome != OUTCOME_OK || named || leftover_is_noted(&local->leftovers, &blob))
            continue;
        outcome = blob_remove(&local->blobs, BLOB_WHOLE, &blob, why);
        out->blobs += outcome == OUTCOME_OK;
    }
    return outcome;
}

/* Whole folders, until enough was looked at. */
static enum outcome sweep_orphans(struct local *local, struct store_sweep *out, bool *left,
                                  struct failure *why)
{
    struct sweeping *sweeping = &local->sweeping;
    int64_t now = timeline_now(&local->time);
    bool through = sweeping->shard == BLOB_SHARDS;
    if (through && local->leftovers.look_through && now >= sweeping->orphans_again_at) {
        local->leftovers.look_through = false;
        sweeping->orphans_next_at = now;
    }
    if (local->leftovers.look_through)
        atomic_store(&sweeping->looking, true);
    enum outcome outcome = OUTCOME_OK;
    if (through && now < sweeping->orphans_next_at)
        return OUTCOME_OK;
    atomic_store(&sweeping->looking, true);
    if (through) {
        outcome = uploads_sweep_strays(local, why);
        sweeping->shard = outcome == OUTCOME_OK ? 0 : sweeping->shard;
    }
    unsigned looks = 0;
    while (outcome == OUTCOME_OK && sweeping->shard < BLOB_SHARDS && looks < ROW_BATCH) {
        outcome = sweep_shard(local, sweeping->shard, &looks, out, why);
        sweeping->shard += outcome == OUTCOME_OK;
    }
    if (outcome != OUTCOME_OK)
        return outcome; /* it goes on there next time */
    sweeping->orphans_next_at = now + A_DAY;
    sweeping->orphans_again_at = now + ORPHANS_AGAIN;
    atomic_store(&sweeping->looking, sweeping->shard < BLOB_SHARDS || local->leftovers.look_through);
    *left |= sweeping->shard < BLOB_SHARDS;
    return OUTCOME_OK;
}

/* ---- content ---- */

static enum outcome sweep_content(struct local *local, struct store_sweep *out, bool *left,
                                  struct failure *why)
{
    bool pinned;
    if (!content_may_go(local, &pinned))
        return OUTCOME_OK;
    bool more = false;
    enum outcome outcome = kept_sweep(local, out, &more, why);
    if (outcome == OUTCOME_OK)
        outcome = room_restore(local, out, &more, why);
    if (outcome == OUTCOME_OK && !more) /* with more to go, what is live now may not be for long */
        outcome = condense(local, &more, why);
    *left |= more;
    if (outcome == OUTCOME_OK)
        outcome = sweep_orphans(local, out, left, why);
    /* Whatever stands in the way of the others. */
    enum outcome last = leftovers_sweep(local, &out->blobs, outcome == OUTCOME_OK ? why : NULL);
    if (!pinned)
        pin_pass(local->pin_fd);
    return outcome == OUTCOME_OK ? last : outcome;
}

static enum outcome last_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    (void)argument;
    return leftovers_write_over(local, db, why);
}

void sweep_last(struct local *local)
{
    scoped_lock(&local->sweeping.mutex);
    uint64_t removed = 0;
    bool pinned;
    if (leftovers_count(&local->leftovers) == 0 ||
        writer_do(&local->writer, last_run, NULL, NULL) != OUTCOME_OK || !content_may_go(local, &pinned))
        return; /* the next open looks through all */
    enum outcome outcome = leftovers_sweep(local, &removed, NULL);
    (void)outcome; /* likewise */
    if (!pinned)
        pin_pass(local->pin_fd);
}

/* ---- all of it ---- */

static enum outcome next_end(struct local *local, int64_t *out, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome == OUTCOME_OK && due_was_incomplete(&local->due))
        outcome = pending_fill(local, reader.db, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(reader.db,
                                           "SELECT ends FROM interest WHERE state = 0 ORDER BY ends LIMIT 1");
    outcome = query_row(&q, why);
    *out = outcome == OUTCOME_OK ? timeline_elapsed(&local->time, column_int(&q)) : INT64_MAX;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

enum outcome local_sweep(struct store *store, struct store_sweep *out, bool *left, int64_t *next_due,
                         struct failure *why)
{
    struct local *local = local_of(store);
    scoped_lock(&local->sweeping.mutex);
    struct store_sweep gone = {0};
    struct tidying tidying = {.out = &gone};
    bool more = false;
    int64_t next = INT64_MAX;
    enum outcome outcome = sweep_interests(local, &gone, &more, why);
    if (outcome == OUTCOME_OK)
        outcome = sweep_uploads(local, &gone, &more, why);
    if (outcome == OUTCOME_OK)
        outcome = writer_do(&local->writer, tidy_run, &tidying, why);
    if (outcome == OUTCOME_OK)
        outcome = sweep_content(local, &gone, &more, why);
    if (outcome == OUTCOME_OK)
        outcome = next_end(local, &next, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    *out = gone;
    *left = more || tidying.left;
    *next_due = next;
    return OUTCOME_OK;
}
