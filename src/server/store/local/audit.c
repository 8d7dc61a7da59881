#include "server/store/local/audit.h"

#include "base/disk.h"
#include "server/store/local/entries.h"
#include "server/store/local/files.h"
#include "server/store/local/local.h"
#include "server/store/local/sweep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- health ---- */

static enum outcome counters(struct local *local, struct store_health *out, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(reader.db,
                                           "SELECT files, bytes, interests, mailboxes, events FROM store");
    outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_FAULT, "the store's own row is missing")
                                         : outcome;
    out->files = (uint64_t)column_int(&q);
    out->bytes = (uint64_t)column_int(&q);
    out->interests = (uint64_t)column_int(&q);
    out->mailboxes = (uint64_t)column_int(&q);
    out->events = (uint64_t)column_int(&q);
    return OUTCOME_OK;
}

enum outcome local_health(struct store *store, struct store_health *out, struct failure *why)
{
    struct local *local = local_of(store);
    struct store_health health = {.uploads = uploads_count(&local->uploads)};
    enum outcome outcome = counters(local, &health, why);
    if (outcome == OUTCOME_OK)
        outcome = disk_free_bytes(local->folder_fd, &health.free_bytes, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
    health.writable = writer_is_well(&local->writer, health.trouble);
    if (health.writable && health.free_bytes < local->limits.reserve_bytes) {
        health.writable = false;
        snprintf(health.trouble, sizeof health.trouble, "%llu bytes are left, less than the reserve",
                 (unsigned long long)health.free_bytes);
    }
    *out = health;
    return OUTCOME_OK;
}

/* ---- audit ---- */

enum { AUDIT_PAGE = 64 };

/* What a name should have. */
struct audited {
    struct store_entry entry;
    bool is_inline;
    bool bytes_right; /* inline: size and digest */
    struct id blob;
};

static void look_at_bytes(struct query *q, struct audited *out)
{
    out->is_inline = column_is_null(q);
    out->blob = column_id(q);
    size_t count;
    const void *bytes = column_blob(q, &count);
    if (!out->is_inline)
        return;
    struct digest_value digest = digest_of(bytes ? bytes : "", count);
    out->bytes_right = count == out->entry.size && memcmp(&digest, &out->entry.digest, sizeof digest) == 0;
}

static enum outcome audit_page(struct local *local, const char *cursor, struct audited *rows, size_t *count,
                               struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(
        reader.db, "SELECT " ENTRY_COLUMNS ", blob, bytes FROM entry"
                   " LEFT JOIN (SELECT id, blob, bytes FROM content) AS held ON held.id = content"
                   " WHERE name > ? ORDER BY name LIMIT ?");
    bind_text(&q, cursor);
    bind_int(&q, AUDIT_PAGE);
    *count = 0;
    outcome = query_row(&q, why);
    while (outcome == OUTCOME_OK) {
        struct audited *row = &rows[(*count)++];
        entry_take(&q, &row->entry);
        look_at_bytes(&q, row);
        outcome = query_row(&q, why);
    }
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome blob_digest(struct local *local, const struct audited *row, struct digest_value *out,
                                struct failure *why)
{
    enum { STEP = 256 << 10 };
    scoped_fd int fd = -1;
    enum outcome outcome = blob_open(&local->blobs, BLOB_WHOLE, &row->blob, false, &fd, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct digest *digest = digest_new();
    scoped_free uint8_t *step = malloc(STEP);
    ssize_t got = digest && step ? 1 : 0;
    for (off_t at = 0; got > 0; at += got) {
        got = pread(fd, step, STEP, at);
        if (got > 0)
            digest_add(digest, step, (size_t)got);
    }
    if (!digest || !step)
        outcome = failure_set(why, OUTCOME_NOMEM, "no memory to read a blob");
    else if (got < 0)
        outcome = failure_system(why, OUTCOME_UNAVAILABLE, errno, "read a blob");
    else
        *out = digest_value(digest);
    digest_free(digest);
    return outcome;
}

static enum outcome audit_blob(struct local *local, const struct audited *row, bool deep,
                               struct store_audit *out, struct failure *why)
{
    uint64_t size;
    enum outcome outcome = blob_size(&local->blobs, &row->blob, &size, why);
    if (outcome == OUTCOME_OK && size != row->entry.size)
        out->wrong_sizes++;
    struct digest_value digest;
    if (outcome == OUTCOME_OK && deep) {
        outcome = blob_digest(local, row, &digest, why);
        if (outcome == OUTCOME_OK && memcmp(&digest, &row->entry.digest, sizeof digest) != 0)
            out->wrong_digests++;
    }
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    /* Gone: but perhaps with its name, since the row was read. */
    struct store_entry now;
    outcome = local_stat(&local->store, row->entry.name, &now, why);
    if (outcome == OUTCOME_OK && id_equal(&now.version, &row->entry.version))
        out->missing_blobs++;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome audit_entries(struct local *local, bool deep, struct store_audit *out,
                                  struct failure *why)
{
    char cursor[NAME_BUFFER] = "";
    size_t count = 1;
    scoped_free struct audited *rows = calloc(AUDIT_PAGE, sizeof *rows);
    if (!rows)
        return failure_set(why, OUTCOME_NOMEM, "no memory for an audit");
    enum outcome outcome = OUTCOME_OK;
    while (outcome == OUTCOME_OK && count > 0) {
        outcome = audit_page(local, cursor, rows, &count, why);
        for (size_t i = 0; i < count && outcome == OUTCOME_OK; i++) {
            out->entries++;
            memcpy(cursor, rows[i].entry.name, sizeof cursor);
            if (!rows[i].is_inline)
                outcome = audit_blob(local, &rows[i], deep, out, why);
            else if (!rows[i].bytes_right)
                out->wrong_digests++;
        }
    }
    return outcome;
}

static enum outcome audit_shard(struct local *local, unsigned shard, struct store_audit *out,
                                struct failure *why)
{
    scoped_reader struct reader reader = {0};
    scoped_walk DIR *walk = NULL;
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome == OUTCOME_OK)
        outcome = blob_walk(&local->blobs, BLOB_WHOLE, shard, &walk, why);
    struct id blob;
    while (outcome == OUTCOME_OK && blob_walk_next(walk, &blob)) {
        bool named = blob_is_claimed(&local->blobs, &blob);
        if (!named)
            outcome = sweep_blob_is_named(reader.db, &blob, &named, why);
        out->orphan_blobs += outcome == OUTCOME_OK && !named;
    }
    return outcome;
}

enum outcome local_audit(struct store *store, bool deep, struct store_audit *out, struct failure *why)
{
    struct local *local = local_of(store);
    struct store_audit found = {0};
    enum outcome outcome = audit_entries(local, deep, &found, why);
    for (unsigned shard = 0; shard < BLOB_SHARDS && outcome == OUTCOME_OK; shard++)
        outcome = audit_shard(local, shard, &found, why);
    if (outcome == OUTCOME_OK)
        *out = found;
    return outcome;
}
