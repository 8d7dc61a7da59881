#include "server/store/local/condense.h"

#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/entries.h"
#include "server/store/local/local.h"
#include "server/store/local/put.h"
#include "server/store/local/schema.h"

#include <string.h>

enum { PIECES = 4 };

/* One version that is left. */
struct part {
    struct id version;
    uint64_t size, from, to; /* places in the old content and in the new */
};

struct condensing {
    int64_t row;
    struct id blob; /* none: its bytes stand in the database */
    struct part *parts;
    size_t count;
    uint64_t size;  /* of those together */
    uint8_t *bytes; /* likewise */
    struct blob_claim claim;
    bool gone;   /* the old row; its blob is to follow */
    bool wanted; /* the new one is named */
};

/* ---- what is left ---- */

/* Where a version stands in this content. ABSENT if it does not any more. */
static enum outcome part_find(struct database *db, int64_t row, const struct id *version, struct part *out,
                              struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT place, size FROM entry WHERE version = ?1 AND content = ?2"
            " UNION ALL SELECT place, size FROM kept WHERE version = ?1 AND content = ?2");
    bind_id(&q, version);
    bind_int(&q, row);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK) {
        *out = (struct part){.version = *version, .from = (uint64_t)column_int(&q)};
        out->size = (uint64_t)column_int(&q);
    }
    return outcome;
}

static enum outcome parts_find(struct database *db, struct condensing *condensing, const struct id *versions,
                               size_t count, struct failure *why)
{
    condensing->parts = calloc(count + 1, sizeof *condensing->parts);
    if (!condensing->parts)
        return failure_set(why, OUTCOME_NOMEM, "no memory to condense content");
    for (size_t i = 0; i < count; i++) {
        struct part *part = &condensing->parts[condensing->count];
        enum outcome outcome = part_find(db, condensing->row, &versions[i], part, why);
        if (outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT)
            return outcome;
        if (outcome == OUTCOME_ABSENT)
            continue;
        if (part->size > PART_MAX)
            return failure_set(why, OUTCOME_CORRUPT, "a part of content is larger than any");
        part->to = condensing->size;
        condensing->size += part->size;
        condensing->count++;
    }
    return OUTCOME_OK;
}

static enum outcome inline_read(struct database *db, struct condensing *condensing, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT bytes FROM content WHERE id = ?");
    bind_int(&q, condensing->row);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    size_t held;
    const uint8_t *bytes = column_blob(&q, &held);
    for (size_t i = 0; i < condensing->count; i++) {
        const struct part *part = &condensing->parts[i];
        if (part->from > held || part->size > held - part->from)
            return failure_set(why, OUTCOME_CORRUPT, "a part of content lies beyond its end");
        if (part->size > 0)
            memcpy(condensing->bytes + part->to, bytes + part->from, part->size);
    }
    return OUTCOME_OK;
}

static enum outcome blob_read(struct local *local, struct condensing *condensing, struct failure *why)
{
    scoped_fd int fd = -1;
    enum outcome outcome = blob_open(&local->blobs, BLOB_WHOLE, &condensing->blob, false, &fd, why);
    for (size_t i = 0; i < condensing->count && outcome == OUTCOME_OK; i++) {
        const struct part *part = &condensing->parts[i];
        outcome = disk_read_at(fd, condensing->bytes + part->to, part->size, part->from, "a blob", why);
    }
    return outcome;
}

/* The next piece that is mostly waste, with what is left of it. ABSENT. */
static enum outcome condense_look(struct local *local, struct condensing *condensing, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    {
        scoped_query struct query q = query_on(reader.db,
                                               "SELECT id, blob, parts FROM content WHERE " CONTENT_WASTED
                                               " AND id > ? ORDER BY id LIMIT 1");
        bind_int(&q, condensing->row);
        outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        condensing->row = column_int(&q);
        condensing->blob = column_id(&q);
        size_t count;
        const void *versions = column_blob(&q, &count);
        outcome = parts_find(reader.db, condensing, versions, count / sizeof(struct id), why);
    }
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? OUTCOME_CORRUPT : outcome;
    condensing->bytes = malloc(condensing->size + 1);
    if (!condensing->bytes)
        return failure_set(why, OUTCOME_NOMEM, "no memory to condense content");
    outcome = id_is_none(&condensing->blob) ? inline_read(reader.db, condensing, why)
                                            : blob_read(local, condensing, why);
    return outcome == OUTCOME_ABSENT ? OUTCOME_CORRUPT : outcome;
}

/* ---- the new one ---- */

static bool is_blob(const struct condensing *condensing)
{
    return condensing->size >= BUNDLE_MIN;
}

static enum outcome condense_write(struct local *local, struct condensing *condensing, struct failure *why)
{
    scoped_fd int fd = -1;
    if (!is_blob(condensing))
        return OUTCOME_OK;
    blob_claim(&local->blobs, &condensing->claim);
    enum outcome outcome = blob_create(&local->blobs, BLOB_WHOLE, &condensing->claim.blob, &fd, why);
    if (outcome == OUTCOME_OK)
        outcome = disk_write_at(fd, condensing->bytes, condensing->size, 0, "a blob", why);
    if (outcome == OUTCOME_OK)
        outcome = blob_sync(&local->blobs, BLOB_WHOLE, &condensing->claim.blob, fd, why);
    FAULT_POINT("many-condense-synced");
    return outcome;
}

/* ---- whose it is ---- */

static enum outcome content_insert(struct database *db, const struct condensing *condensing, int64_t *row,
                                   struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "INSERT INTO content (blob, bytes, size, uses, parts) VALUES (?, ?, ?, 0, x'')");
    bind_content(&q, &condensing->claim.blob, condensing->bytes, condensing->size);
    enum outcome outcome = query_run(&q, why);
    if (outcome == OUTCOME_OK)
        *row = database_last_row(db);
    return outcome;
}

static enum outcome part_move_in(struct database *db, const char *text, int64_t from, int64_t to,
                                 const struct part *part, bool *moved, struct failure *why)
{
    scoped_query struct query q = query_on(db, text);
    bind_int(&q, to);
    bind_int(&q, (int64_t)part->to);
    bind_id(&q, &part->version);
    bind_int(&q, from);
    enum outcome outcome = query_run(&q, why);
    *moved = outcome == OUTCOME_OK && database_changed(db) > 0;
    return outcome;
}

/* It may have been replaced since it was looked up, and be only kept, or not even that. */
static enum outcome part_move(struct database *db, int64_t from, int64_t to, const struct part *part,
                              bool *moved, struct failure *why)
{
    enum outcome outcome = part_move_in(
        db, "UPDATE entry SET content = ?, place = ? WHERE version = ? AND content = ?", from, to, part,
        moved, why);
    if (outcome != OUTCOME_OK || *moved)
        return outcome;
    return part_move_in(db, "UPDATE kept SET content = ?, place = ? WHERE version = ? AND content = ?", from,
                        to, part, moved, why);
}

static enum outcome content_count(struct database *db, int64_t row, int64_t uses, int64_t live,
                                  const struct id *parts, struct failure *why)
{
    scoped_query struct query q = query_on(db, "UPDATE content SET uses = uses + ?, live = max(live + ?, 0), "
                                               "parts = coalesce(?, parts) WHERE id = ?");
    bind_int(&q, uses);
    bind_int(&q, live);
    if (parts)
        bind_blob(&q, parts, (size_t)uses * sizeof *parts);
    else
        bind_null(&q);
    bind_int(&q, row);
    return query_run(&q, why);
}

static enum outcome content_drop(struct database *db, int64_t row, bool *gone, struct failure *why)
{
    scoped_query struct query q = query_on(db, "DELETE FROM content WHERE id = ? AND uses <= 0");
    bind_int(&q, row);
    enum outcome outcome = query_run(&q, why);
    *gone = outcome == OUTCOME_OK && database_changed(db) > 0;
    return outcome;
}

static enum outcome condense_run(struct local *local, struct database *db, void *argument,
                                 struct failure *why)
{
    (void)local;
    struct condensing *condensing = argument;
    int64_t row = 0, moves = 0, live = 0;
    bool none = false;
    scoped_free struct id *versions = calloc(condensing->count + 1, sizeof *versions);
    enum outcome outcome = versions ? content_insert(db, condensing, &row, why)
                                    : failure_set(why, OUTCOME_NOMEM, "no memory to condense content");
    for (size_t i = 0; i < condensing->count && outcome == OUTCOME_OK; i++) {
        bool moved = false;
        outcome = part_move(db, condensing->row, row, &condensing->parts[i], &moved, why);
        if (moved) {
            versions[moves++] = condensing->parts[i].version;
            live += (int64_t)condensing->parts[i].size;
        }
    }
    if (outcome == OUTCOME_OK)
        outcome = content_count(db, condensing->row, -moves, -live, NULL, why);
    if (outcome == OUTCOME_OK)
        outcome = content_count(db, row, moves, live, versions, why);
    if (outcome == OUTCOME_OK)
        outcome = content_drop(db, row, &none, why);
    condensing->wanted = !none;
    return outcome == OUTCOME_OK ? content_drop(db, condensing->row, &condensing->gone, why) : outcome;
}

static void condensing_fini(struct condensing *condensing)
{
    free(condensing->parts);
    free(condensing->bytes);
}

/* The old blob after, or the new one instead. */
static enum outcome condense_remove(struct local *local, struct condensing *condensing, enum outcome done,
                                    struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    bool is_left = done == OUTCOME_UNKNOWN;
    if (done == OUTCOME_OK && condensing->gone && !id_is_none(&condensing->blob))
        outcome = blob_remove(&local->blobs, BLOB_WHOLE, &condensing->blob, why);
    if (outcome != OUTCOME_OK)
        leftover_note(local, BLOB_WHOLE, &condensing->blob);
    if (id_is_none(&condensing->claim.blob))
        return outcome;
    if (!is_left && (done != OUTCOME_OK || !condensing->wanted))
        is_left = blob_remove(&local->blobs, BLOB_WHOLE, &condensing->claim.blob, NULL) != OUTCOME_OK;
    if (is_left)
        leftover_note(local, BLOB_WHOLE, &condensing->claim.blob);
    blob_release(&local->blobs, &condensing->claim);
    return outcome;
}

/* ABSENT: there is none after this one. */
static enum outcome condense_one(struct local *local, struct failure *why)
{
    struct sweeping *sweeping = &local->sweeping;
    scoped(condensing_fini) struct condensing condensing = {.row = sweeping->condensed};
    enum outcome outcome = condense_look(local, &condensing, why);
    if (outcome == OUTCOME_ABSENT) {
        sweeping->condensed = 0;
        return outcome;
    }
    sweeping->condensed = condensing.row;
    if (outcome == OUTCOME_CORRUPT || outcome == OUTCOME_LOCAL)
        return OUTCOME_OK; /* it is not for us to say what is lost */
    if (outcome == OUTCOME_OK)
        outcome = condense_write(local, &condensing, why);
    if (outcome == OUTCOME_OK)
        outcome = writer_do(&local->writer, condense_run, &condensing, why);
    FAULT_POINT("many-condense-committed");
    enum outcome removed = condense_remove(local, &condensing, outcome, outcome == OUTCOME_OK ? why : NULL);
    return outcome == OUTCOME_OK ? removed : outcome;
}

enum outcome condense(struct local *local, bool *left, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    for (unsigned n = 0; n < PIECES && outcome == OUTCOME_OK; n++)
        outcome = condense_one(local, why);
    *left |= outcome == OUTCOME_OK;
    if (outcome == OUTCOME_LOCAL)
        outcome = OUTCOME_UNAVAILABLE;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}
