#include "server/store/local/kept.h"

#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/local.h"
#include "server/store/local/pin.h"
#include "server/store/local/schema.h"

enum { KEPT_BATCH = 128 };

bool content_may_go(struct local *local, bool *pinned)
{
    uint64_t room;
    *pinned = !pin_try(local->pin_fd);
    return !*pinned || disk_free_bytes(local->folder_fd, &room, NULL) != OUTCOME_OK ||
           room < 2 * local->limits.reserve_bytes;
}

/* ---- versions that end ---- */

struct ending {
    size_t count, spared_count, blob_count;
    struct id versions[KEPT_BATCH]; /* to go */
    struct id spared[KEPT_BATCH];   /* read just now: to be kept on */
    struct id blobs[KEPT_BATCH];    /* that no row names any more, */
    uint64_t bytes;                 /* and of these together */
    uint64_t ended;                 /* rows that went */
};

/* One use of the content less; it goes with the last. */
static enum outcome content_unused(struct database *db, int64_t content, int64_t size, struct ending *ending,
                                   struct failure *why)
{
    {
        scoped_query struct query q = query_on(
            db, "UPDATE content SET uses = uses - 1, live = max(live - ?, 0) WHERE id = ?");
        bind_int(&q, size);
        bind_int(&q, content);
        enum outcome outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    scoped_query struct query q = query_on(
        db, "DELETE FROM content WHERE id = ? AND uses <= 0 RETURNING blob, size");
    bind_int(&q, content);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK && !column_is_null(&q)) {
        ending->blobs[ending->blob_count++] = column_id(&q);
        ending->bytes += (uint64_t)column_int(&q);
    }
    return outcome == OUTCOME_OK ? query_run(&q, why) : outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome end_version(struct database *db, const struct id *version, struct ending *ending,
                                struct failure *why)
{
    int64_t content, size;
    {
        scoped_query struct query q = query_on(db,
                                               "DELETE FROM kept WHERE version = ? RETURNING content, size");
        bind_id(&q, version);
        enum outcome outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
        content = column_int(&q);
        size = column_int(&q);
        outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        ending->ended++;
    }
    return content_unused(db, content, size, ending, why);
}

/*
 * The act, and after it what no row names any more. In doubt the rows may be gone: then what they named is left over.
 */
static enum outcome kept_end(struct local *local, writer_run *run, struct ending *ending, struct failure *why)
{
    enum outcome outcome = writer_do(&local->writer, run, ending, why);
    if (ending->blob_count > 0)
        FAULT_POINT("care-kept-ended");
    bool in_doubt = outcome == OUTCOME_UNKNOWN;
    if (outcome != OUTCOME_OK && !in_doubt)
        return outcome;
    for (size_t i = 0; i < ending->blob_count; i++) {
        enum outcome removed = in_doubt ? outcome
                                        : blob_remove(&local->blobs, BLOB_WHOLE, &ending->blobs[i],
                                                      outcome == OUTCOME_OK ? why : NULL);
        if (removed != OUTCOME_OK)
            leftover_note(local, BLOB_WHOLE, &ending->blobs[i]);
        outcome = outcome == OUTCOME_OK ? removed : outcome;
    }
    return outcome;
}

/* ---- whose time is over ---- */

/* Those whose time is over, and the oldest ones while there are too many bytes. */
static enum outcome choose_kept(struct local *local, struct database *db, struct ending *ending,
                                struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT version, size, until, (SELECT kept_bytes FROM store) FROM kept ORDER BY until LIMIT ?");
    bind_int(&q, KEPT_BATCH);
    int64_t now = timeline_now(&local->time), gone = 0;
    for (;;) {
        enum outcome outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
        struct id version = column_id(&q);
        int64_t size = column_int(&q);
        int64_t until = column_int(&q);
        int64_t over = column_int(&q) - (int64_t)local->limits.kept_bytes - gone;
        if (until > now && over <= 0)
            return OUTCOME_OK;
        if (!reads_forget(&local->reads, &version)) {
            if (until <= now)
                ending->spared[ending->spared_count++] = version;
            continue;
        }
        gone += size;
        ending->versions[ending->count++] = version;
    }
}

static enum outcome keep_on(struct local *local, struct database *db, const struct id *version,
                            struct failure *why)
{
    scoped_query struct query q = query_on(db, "UPDATE kept SET until = ? WHERE version = ?");
    bind_int(&q, reads_keep_until(local));
    bind_id(&q, version);
    return query_run(&q, why);
}

static enum outcome sweep_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct ending *ending = argument;
    enum outcome outcome = choose_kept(local, db, ending, why);
    for (size_t i = 0; i < ending->spared_count && outcome == OUTCOME_OK; i++)
        outcome = keep_on(local, db, &ending->spared[i], why);
    for (size_t i = 0; i < ending->count && outcome == OUTCOME_OK; i++)
        outcome = end_version(db, &ending->versions[i], ending, why);
    return outcome;
}

enum outcome kept_sweep(struct local *local, struct store_sweep *out, bool *left, struct failure *why)
{
    struct ending ending = {0};
    enum outcome outcome = kept_end(local, sweep_run, &ending, why);
    *left |= ending.count == KEPT_BATCH;
    out->blobs += ending.ended;
    return outcome;
}

/* ---- what could be had ---- */

/* Content that kept versions name, one piece. */
struct yielding {
    int64_t row;
    int64_t uses, going;       /* rows that name it, and those of them that may go */
    uint64_t size, live, less; /* bytes of it, named ones, and those of the versions that may go */
    bool is_shared;
};

/* Condensing leaves what is named of content that is mostly waste (condense.h). */
static uint64_t waste_of(const struct yielding *content, uint64_t live)
{
    return content->is_shared && live < content->size - live ? content->size - live : 0;
}

/* What its versions free; its waste as it is counts with all others'. */
static uint64_t yield_of(const struct yielding *content)
{
    uint64_t live = content->live < content->size ? content->live : content->size;
    uint64_t after = content->less < live ? live - content->less : 0;
    uint64_t freed = content->going == content->uses ? content->size : waste_of(content, after);
    uint64_t anyway = waste_of(content, live);
    return freed > anyway ? freed - anyway : 0;
}

static enum outcome yield_of_kept(struct local *local, struct database *db, uint64_t *bytes,
                                  struct failure *why)
{
    int64_t now = timeline_now(&local->time);
    struct yielding content = {.row = 0};
    enum outcome outcome;
    scoped_query struct query q = query_on(db, "SELECT kept.content, held.uses, held.size, held.live, "
                                               "held.parts IS NOT NULL, kept.version, kept.size"
                                               " FROM kept JOIN content AS held ON held.id = kept.content"
                                               " WHERE held.blob IS NOT NULL ORDER BY kept.content");
    while ((outcome = query_row(&q, why)) == OUTCOME_OK) {
        int64_t row = column_int(&q);
        if (row != content.row) {
            *bytes += yield_of(&content);
            content = (struct yielding){.row = row};
        }
        content.uses = column_int(&q);
        content.size = (uint64_t)column_int(&q);
        content.live = (uint64_t)column_int(&q);
        content.is_shared = column_int(&q) != 0;
        struct id version = column_id(&q);
        if (reads_are_under_way(&local->reads, &version, now))
            continue;
        content.going++;
        content.less += (uint64_t)column_int(&q);
    }
    *bytes += yield_of(&content);
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome waste_of_all(struct database *db, uint64_t *bytes, struct failure *why)
{
    scoped_query struct query q = query_on(
        db,
        "SELECT coalesce(sum(size - live), 0) FROM content WHERE " CONTENT_WASTED " AND blob IS NOT NULL");
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *bytes += (uint64_t)column_int(&q);
    return outcome;
}

enum outcome kept_yield(struct local *local, uint64_t *bytes, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    uint64_t sum = 0;
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome == OUTCOME_OK)
        outcome = yield_of_kept(local, reader.db, &sum, why);
    if (outcome == OUTCOME_OK)
        outcome = waste_of_all(reader.db, &sum, why);
    if (outcome == OUTCOME_OK)
        *bytes = sum;
    return outcome;
}

/* ---- given up before their time ---- */

struct kept_walk kept_walk_begin(void)
{
    return (struct kept_walk){.until = INT64_MIN};
}

/* The next ones, until they are enough. What others share counts for nothing: who measures the disk sees it. */
static enum outcome choose_to_give(struct local *local, uint64_t wanted, struct kept_walk *walk,
                                   struct ending *ending, struct failure *why)
{
    int64_t now = timeline_now(&local->time);
    uint64_t enough = 0;
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(
        reader.db, "SELECT kept.until, kept.version, CASE held.uses WHEN 1 THEN held.size ELSE 0 END"
                   " FROM kept JOIN content AS held ON held.id = kept.content"
                   " WHERE (kept.until, kept.version) > (?, ?) AND held.blob IS NOT NULL"
                   " ORDER BY kept.until, kept.version");
    bind_int(&q, walk->until);
    bind_id(&q, &walk->version);
    while (ending->count < KEPT_BATCH && enough < wanted) {
        outcome = query_row(&q, why);
        walk->over = outcome == OUTCOME_ABSENT;
        if (outcome != OUTCOME_OK)
            return walk->over ? OUTCOME_OK : outcome;
        walk->until = column_int(&q);
        walk->version = column_id(&q);
        if (reads_are_under_way(&local->reads, &walk->version, now))
            continue;
        ending->versions[ending->count++] = walk->version;
        enough += (uint64_t)column_int(&q);
    }
    return OUTCOME_OK;
}

static enum outcome give_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct ending *ending = argument;
    int64_t now = timeline_now(&local->time);
    enum outcome outcome = OUTCOME_OK;
    for (size_t i = 0; i < ending->count && outcome == OUTCOME_OK; i++)
        if (reads_forget_done(&local->reads, &ending->versions[i], now))
            outcome = end_version(db, &ending->versions[i], ending, why);
    return outcome;
}

enum outcome kept_give(struct local *local, uint64_t wanted, struct kept_walk *walk, struct failure *why)
{
    struct ending ending = {0};
    enum outcome outcome = choose_to_give(local, wanted, walk, &ending, why);
    if (outcome == OUTCOME_OK && ending.count > 0)
        outcome = kept_end(local, give_run, &ending, why);
    walk->ended += ending.ended;
    walk->bytes += outcome == OUTCOME_OK ? ending.bytes : 0;
    return outcome;
}
