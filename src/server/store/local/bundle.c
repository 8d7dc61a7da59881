/*
 * Many files in one act: their content side by side, their entries in one go.
 *
 * A file of its own costs a row of content, a savepoint, and two rounds of the
 * store's counters: more than its entry. Here all this is done once for all of
 * them. Refusals change nothing, so they need no savepoint. Only when something
 * fails that should not (no memory, a damaged page), all of it is undone, and
 * each file is tried by itself, as if it came alone.
 */
#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/entries.h"
#include "server/store/local/local.h"
#include "server/store/local/put.h"

#include <string.h>

/* ---- the content ---- */

static bool is_blob(const struct bundle *bundle)
{
    return bundle->size >= BUNDLE_MIN;
}

static void bundle_find(struct putting *puttings, size_t count, struct bundle *bundle)
{
    for (size_t i = 0; i < count; i++) {
        struct putting *putting = &puttings[i];
        putting->is_part = !putting->answered && putting->put->size <= PART_MAX;
        if (!putting->is_part)
            continue;
        putting->place = bundle->size;
        bundle->size += putting->put->size;
        bundle->parts++;
    }
}

/* The parts one after the other, a step of them at a time; what is left in the last step is not written. */
static enum outcome bundle_gather(struct bundle *bundle, int fd, size_t *left, struct failure *why)
{
    size_t held = 0;
    uint64_t written = 0;
    enum outcome outcome = OUTCOME_OK;
    for (size_t i = 0; i < bundle->count && outcome == OUTCOME_OK; i++) {
        const struct store_put *put = bundle->puttings[i].put;
        if (!bundle->puttings[i].is_part)
            continue;
        if (held + put->size > PART_MAX) {
            outcome = disk_write_at(fd, bundle->step, held, written, "a blob", why);
            written += held;
            held = 0;
        }
        if (put->size > 0)
            memcpy(bundle->step + held, put->content, put->size);
        held += put->size;
    }
    *left = held;
    return outcome;
}

static enum outcome bundle_write(struct local *local, struct bundle *bundle, struct failure *why)
{
    scoped_fd int fd = -1;
    size_t left = 0;
    blob_claim(&local->blobs, &bundle->claim);
    enum outcome outcome = blob_create(&local->blobs, BLOB_WHOLE, &bundle->claim.blob, &fd, why);
    if (outcome == OUTCOME_OK)
        outcome = bundle_gather(bundle, fd, &left, why);
    if (outcome == OUTCOME_OK)
        outcome = disk_write_at(fd, bundle->step, left, bundle->size - left, "a blob", why);
    FAULT_POINT("many-written");
    if (outcome == OUTCOME_OK)
        outcome = blob_sync(&local->blobs, BLOB_WHOLE, &bundle->claim.blob, fd, why);
    FAULT_POINT("many-synced");
    return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
}

static enum outcome bundle_fill(struct local *local, struct bundle *bundle, struct failure *why)
{
    size_t held;
    bundle->step = malloc(PART_MAX);
    if (!bundle->step)
        return failure_set(why, OUTCOME_NOMEM, "no memory for %zu files", bundle->parts);
    return is_blob(bundle) ? bundle_write(local, bundle, why) : bundle_gather(bundle, -1, &held, why);
}

void bundle_make(struct local *local, struct putting *puttings, size_t count, struct bundle *bundle)
{
    *bundle = (struct bundle){.puttings = puttings, .count = count, .ran = OUTCOME_UNKNOWN};
    bundle_find(puttings, count, bundle);
    struct failure why = {0};
    enum outcome outcome = bundle->parts > 0 ? bundle_fill(local, bundle, &why) : OUTCOME_OK;
    for (size_t i = 0; i < count && outcome != OUTCOME_OK; i++) {
        if (!puttings[i].is_part)
            continue;
        puttings[i].answer->why = why;
        put_answer(&puttings[i], outcome, 0);
    }
}

/* ---- the act ---- */

/* The row that it is to have, above all that the act may make besides. */
static enum outcome content_reserve(struct database *db, const struct bundle *bundle, int64_t *row,
                                    struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT coalesce(max(id), 0) FROM content");
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *row = column_int(&q) + 1 + (int64_t)bundle->count;
    return outcome;
}

/* Who uses it. */
struct users {
    int64_t count, live;
    struct id *versions;
};

/* Last, when it is known how many use it; not, if nobody does. */
static enum outcome content_insert(struct database *db, const struct bundle *bundle, int64_t row,
                                   const struct users *users, struct failure *why)
{
    if (users->count == 0)
        return OUTCOME_OK;
    scoped_query struct query q = query_on(
        db, "INSERT INTO content (id, blob, bytes, size, uses, live, parts) VALUES (?, ?, ?, ?, ?, ?, ?)");
    bind_int(&q, row);
    bind_content(&q, &bundle->claim.blob, bundle->step, bundle->size);
    bind_int(&q, users->count);
    bind_int(&q, users->live);
    bind_blob(&q, users->versions, (size_t)users->count * sizeof *users->versions);
    return query_run(&q, why);
}

/* Refused or done it is answered, whatever becomes of the others; not OK: all of the act has failed. */
static enum outcome bundle_one(struct local *local, struct database *db, struct putting *putting, int64_t row,
                               struct tally *tally, struct users *users, struct failure *why)
{
    struct publishing publishing;
    bool refused;
    publishing_of(putting, &publishing);
    if (putting->is_part)
        publishing.content = (struct publish_content){.kind = CONTENT_PART,
                                                      .row = row,
                                                      .place = (int64_t)putting->place};
    enum outcome outcome = publish_one(local, db, &publishing, tally, &refused, &putting->answer->why);
    if (outcome != OUTCOME_OK && (!refused || !database_in_transaction(db))) {
        if (why)
            *why = putting->answer->why;
        return outcome;
    }
    putting->looked_at = true;
    putting->repeated = publishing.repeated;
    putting->answer->outcome = outcome;
    putting->answer->arrival = publishing.entry.arrival;
    if (outcome == OUTCOME_OK && !publishing.repeated && putting->is_part) {
        users->versions[users->count++] = putting->put->op;
        users->live += (int64_t)putting->put->size;
    }
    return OUTCOME_OK;
}

static enum outcome bundle_all(struct local *local, struct database *db, struct bundle *bundle,
                               struct failure *why)
{
    struct tally tally;
    int64_t row = 0;
    struct users users = {.count = 0};
    scoped_free struct id *versions = calloc(bundle->parts + 1, sizeof *versions);
    users.versions = versions;
    enum outcome outcome = versions
                               ? tally_begin(db, &tally, why)
                               : failure_set(why, OUTCOME_NOMEM, "no memory for %zu files", bundle->count);
    if (outcome == OUTCOME_OK && bundle->parts > 0)
        outcome = content_reserve(db, bundle, &row, why);
    for (size_t i = 0; i < bundle->count && outcome == OUTCOME_OK; i++)
        if (!bundle->puttings[i].answered)
            outcome = bundle_one(local, db, &bundle->puttings[i], row, &tally, &users, why);
    if (outcome == OUTCOME_OK)
        outcome = content_insert(db, bundle, row, &users, why);
    bundle->named = users.count > 0;
    return outcome == OUTCOME_OK ? tally_end(db, &tally, why) : outcome;
}

static enum outcome bundle_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct bundle *bundle = argument;
    bundle->ran = bundle_all(local, db, bundle, why);
    return bundle->ran;
}

/* The commit failed, or the disk under the act: none is done but those that were before, which "no room" must not hide. */
static void bundle_failed(struct bundle *bundle, enum outcome outcome, const struct failure *why)
{
    for (size_t i = 0; i < bundle->count; i++) {
        struct putting *putting = &bundle->puttings[i];
        if (putting->answered)
            continue;
        bool is_new = putting->looked_at && !putting->repeated;
        putting->answer->outcome = outcome == OUTCOME_NOSPACE && !is_new ? OUTCOME_UNKNOWN : outcome;
        putting->answer->why = *why;
        putting->answer->why.outcome = putting->answer->outcome;
    }
}

/* The failure is of one of them, or may be: the others must not share it. */
static bool is_ones_own(enum outcome outcome)
{
    return outcome != OUTCOME_OK && outcome != OUTCOME_NOSPACE && outcome != OUTCOME_UNAVAILABLE &&
           outcome != OUTCOME_UNKNOWN;
}

void bundle_commit(struct local *local, struct bundle *bundle, struct writer_act *acts)
{
    struct failure why = {0};
    size_t left = 0;
    for (size_t i = 0; i < bundle->count; i++)
        left += !bundle->puttings[i].answered;
    if (left == 0)
        return;
    enum outcome outcome = writer_do(&local->writer, bundle_run, bundle, &why);
    FAULT_POINT("many-committed");
    if (outcome == OUTCOME_OK)
        return;
    if (is_ones_own(bundle->ran)) {
        bundle->named = false;
        put_each(local, bundle->puttings, acts, bundle->count);
        return;
    }
    bundle->named = outcome == OUTCOME_UNKNOWN; /* perhaps */
    bundle_failed(bundle, outcome, &why);
    if (bundle->named && is_blob(bundle))
        leftover_note(local, BLOB_WHOLE, &bundle->claim.blob);
}

void bundle_end(struct local *local, struct bundle *bundle)
{
    free(bundle->step);
    if (id_is_none(&bundle->claim.blob))
        return;
    if (!bundle->named && blob_remove(&local->blobs, BLOB_WHOLE, &bundle->claim.blob, NULL) != OUTCOME_OK)
        leftover_note(local, BLOB_WHOLE, &bundle->claim.blob);
    blob_release(&local->blobs, &bundle->claim);
}
