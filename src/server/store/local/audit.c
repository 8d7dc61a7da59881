#include "server/store/local/audit.h"

#include "base/disk.h"
#include "base/duration.h"
#include "server/store/local/entries.h"
#include "server/store/local/facts.h"
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
    struct store_health health = {
        .uploads = uploads_count(&local->uploads),
        .events_dropped = atomic_load(&local->events_dropped),
        .leftovers = leftovers_count(&local->leftovers) + atomic_load(&local->sweeping.looking),
    };
    enum outcome outcome = counters(local, &health, why);
    if (outcome == OUTCOME_OK)
        outcome = disk_free_bytes(local->folder_fd, &health.free_bytes, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
    health.writable = writer_is_well(&local->writer, health.trouble);
    if (health.writable && health.free_bytes < local->limits.reserve_bytes) {
        health.writable = false;
        char reserve[DURATION_TEXT_SIZE];
        snprintf(health.trouble, sizeof health.trouble,
                 "the disk is full up to the reserve of %s: uploads are refused until there is room",
                 size_text(local->limits.reserve_bytes, reserve));
    }
    *out = health;
    return OUTCOME_OK;
}

/* ---- audit ---- */

enum { AUDIT_PAGE = 64 };

static void look_at_bytes(struct query *q, struct audited *out)
{
    out->place = (uint64_t)column_int(q);
    out->has_content = !column_is_null(q);
    out->content = column_int(q);
    out->is_part = column_int(q) != 0;
    out->is_inline = column_is_null(q);
    out->blob = column_id(q);
    size_t count;
    const void *bytes = column_blob(q, &count);
    if (!out->is_inline)
        return;
    const uint8_t *own = bytes ? bytes : (const void *)"";
    if (out->is_part) {
        own += out->place < count ? out->place : count;
        count -= out->place < count ? out->place : count;
        count = out->entry.size < count ? out->entry.size : count;
    }
    struct digest_value digest = digest_of(own, count);
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
        reader.db, "SELECT " ENTRY_COLUMNS ", place, held.id, part, blob, bytes FROM entry"
                   " LEFT JOIN (SELECT id, parts IS NOT NULL AS part, blob, bytes FROM content) AS held"
                   " ON held.id = content"
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
    for (uint64_t done = 0; got > 0; done += (uint64_t)got) {
        uint64_t left = row->is_part ? row->entry.size - done : STEP;
        got = pread(fd, step, left < STEP ? left : STEP, (off_t)(row->place + done));
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

static enum outcome blob_is_readable(struct local *local, const struct id *blob, struct failure *why)
{
    scoped_fd int fd = -1;
    return blob_open(&local->blobs, BLOB_WHOLE, blob, false, &fd, why);
}

/* What is wrong with a blob's row: ABSENT if nothing is. */
static enum outcome look_at_blob(struct local *local, const struct audited *row, bool deep,
                                 enum store_finding_kind *out, struct failure *why)
{
    uint64_t size = 0;
    struct digest_value digest;
    enum outcome outcome = blob_size(&local->blobs, &row->blob, &size, why);
    bool sized = row->is_part ? row->place <= size && row->entry.size <= size - row->place
                              : size == row->entry.size;
    if (outcome == OUTCOME_OK && !sized) {
        *out = STORE_WRONG_SIZE;
        return OUTCOME_OK;
    }
    if (outcome == OUTCOME_OK && !deep)
        outcome = blob_is_readable(local, &row->blob, why);
    if (outcome == OUTCOME_OK && !deep)
        return OUTCOME_ABSENT;
    if (outcome == OUTCOME_OK)
        outcome = blob_digest(local, row, &digest, why);
    if (outcome == OUTCOME_OK) {
        *out = STORE_WRONG_DIGEST;
        return memcmp(&digest, &row->entry.digest, sizeof digest) != 0 ? OUTCOME_OK : OUTCOME_ABSENT;
    }
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    /* Gone: but perhaps with its name, since the row was read. */
    struct store_entry now;
    *out = STORE_MISSING;
    outcome = local_stat(&local->store, row->entry.name, &now, why);
    return outcome == OUTCOME_OK && !id_equal(&now.version, &row->entry.version) ? OUTCOME_ABSENT : outcome;
}

static enum outcome look_at_row(struct local *local, const struct audited *row, bool deep,
                                const struct audit_visitor *visitor, struct failure *why)
{
    enum store_finding_kind kind = row->has_content ? STORE_WRONG_DIGEST : STORE_MISSING;
    struct failure trouble = {0};
    enum outcome outcome = OUTCOME_OK;
    if (row->has_content && row->is_inline)
        outcome = row->bytes_right ? OUTCOME_ABSENT : OUTCOME_OK;
    else if (row->has_content)
        outcome = look_at_blob(local, row, deep, &kind, &trouble);
    if (outcome == OUTCOME_OK)
        return visitor->entry(local, row, kind, visitor->argument, why);
    if (outcome == OUTCOME_UNAVAILABLE) {
        visitor->unreadable(row, &trouble, visitor->argument);
        return OUTCOME_OK;
    }
    if (outcome != OUTCOME_ABSENT && why)
        *why = trouble;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome walk_entries(struct local *local, bool deep, const struct audit_visitor *visitor,
                                 uint64_t *entries, struct failure *why)
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
            /* A byte that flipped in a name: the page that follows might be this one again, without end. */
            if (strcmp(rows[i].entry.name, cursor) <= 0)
                return failure_set(why, OUTCOME_CORRUPT, "the database is damaged: names are out of order");
            ++*entries;
            memcpy(cursor, rows[i].entry.name, sizeof cursor);
            outcome = look_at_row(local, &rows[i], deep, visitor, why);
        }
    }
    return outcome;
}

static enum outcome walk_shard(struct local *local, unsigned shard, const struct audit_visitor *visitor,
                               struct failure *why)
{
    scoped_reader struct reader reader = {0};
    scoped_walk DIR *walk = NULL;
    struct failure trouble = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, &trouble);
    if (outcome == OUTCOME_OK)
        outcome = blob_walk(&local->blobs, BLOB_WHOLE, shard, &walk, &trouble);
    if (outcome == OUTCOME_UNAVAILABLE && reader.db) {
        visitor->unreadable(NULL, &trouble, visitor->argument);
        return OUTCOME_OK;
    }
    if (outcome != OUTCOME_OK && why)
        *why = trouble;
    struct id blob;
    while (outcome == OUTCOME_OK && blob_walk_next(walk, &blob)) {
        if (blob.octets[0] != shard)
            continue; /* no name that we gave */
        bool named = blob_is_claimed(&local->blobs, &blob);
        if (!named)
            outcome = sweep_blob_is_named(reader.db, &blob, &named, why);
        if (outcome == OUTCOME_OK && !named)
            outcome = visitor->orphan(local, &blob, visitor->argument, why);
    }
    return outcome;
}

/* The first one after *row. ABSENT. */
static enum outcome next_unnamed(struct local *local, struct unnamed *out, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(
        reader.db, "SELECT id, blob FROM content WHERE id > ? AND id NOT IN (SELECT content FROM entry)"
                   " AND id NOT IN (SELECT content FROM kept) ORDER BY id LIMIT 1");
    bind_int(&q, out->row);
    outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->row = column_int(&q);
    out->is_inline = column_is_null(&q);
    out->blob = column_id(&q);
    return OUTCOME_OK;
}

static enum outcome walk_unnamed(struct local *local, const struct audit_visitor *visitor,
                                 struct failure *why)
{
    struct unnamed row = {0};
    enum outcome outcome = next_unnamed(local, &row, why);
    while (outcome == OUTCOME_OK) {
        outcome = visitor->unnamed(local, &row, visitor->argument, why);
        if (outcome == OUTCOME_OK)
            outcome = next_unnamed(local, &row, why);
    }
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

enum outcome audit_walk(struct local *local, bool deep, const struct audit_visitor *visitor,
                        uint64_t *entries, struct failure *why)
{
    enum outcome outcome = walk_entries(local, deep, visitor, entries, why);
    if (outcome == OUTCOME_OK)
        outcome = walk_unnamed(local, visitor, why);
    for (unsigned shard = 0; shard < BLOB_SHARDS && outcome == OUTCOME_OK; shard++)
        outcome = walk_shard(local, shard, visitor, why);
    return outcome;
}

/* ---- the act ---- */

static void note_finding(struct store_audit *found, enum store_finding_kind kind, const char *name,
                         const char *where)
{
    if (found->finding_count == STORE_FINDINGS)
        return;
    struct store_finding *finding = &found->findings[found->finding_count++];
    finding->kind = kind;
    snprintf(finding->name, sizeof finding->name, "%s", name);
    snprintf(finding->where, sizeof finding->where, "%.*s", (int)sizeof finding->where - 1, where);
}

static enum outcome count_entry(struct local *local, const struct audited *row, enum store_finding_kind kind,
                                void *argument, struct failure *why)
{
    (void)local;
    (void)why;
    struct store_audit *found = argument;
    found->missing_blobs += kind == STORE_MISSING;
    found->wrong_sizes += kind == STORE_WRONG_SIZE;
    found->wrong_digests += kind == STORE_WRONG_DIGEST;
    char where[64] = "the database", text[ID_TEXT_SIZE];
    if (row->has_content && !row->is_inline) {
        id_text(&row->blob, text);
        snprintf(where, sizeof where, "blobs/%.2s/%s", text, text);
    }
    note_finding(found, kind, row->entry.name, where);
    return OUTCOME_OK;
}

static enum outcome count_orphan(struct local *local, const struct id *blob, void *argument,
                                 struct failure *why)
{
    (void)local;
    (void)blob;
    (void)why;
    struct store_audit *found = argument;
    found->orphan_blobs++;
    return OUTCOME_OK;
}

static enum outcome count_unnamed(struct local *local, const struct unnamed *row, void *argument,
                                  struct failure *why)
{
    (void)local;
    (void)why;
    struct store_audit *found = argument;
    char where[64] = "the database", text[ID_TEXT_SIZE];
    if (!row->is_inline)
        snprintf(where, sizeof where, "blobs/%.2s/%s", id_text(&row->blob, text), text);
    found->unnamed++;
    note_finding(found, STORE_UNNAMED, "", where);
    return OUTCOME_OK;
}

static void count_unreadable(const struct audited *row, const struct failure *trouble, void *argument)
{
    struct store_audit *found = argument;
    found->unreadable++;
    note_finding(found, STORE_UNREADABLE, row ? row->entry.name : "", trouble->text);
}

static void count_facts(const char *words, uint64_t count, void *argument)
{
    struct store_audit *found = argument;
    char text[160];
    snprintf(text, sizeof text, "%llu %s", (unsigned long long)count, words);
    found->wrong_facts += count;
    note_finding(found, STORE_WRONG_FACTS, "", text);
}

static enum outcome check_pages(struct database *db, bool deep, struct failure *why)
{
    char text[256] = "";
    scoped_query struct query q = deep ? query_on(db, "PRAGMA integrity_check(1)")
                                       : query_on(db, "PRAGMA quick_check(1)");
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        column_text(&q, text, sizeof text);
    if (outcome == OUTCOME_OK && strcmp(text, "ok") != 0)
        outcome = failure_set(why, OUTCOME_CORRUPT, "the database is damaged: %s", text);
    return outcome;
}

/*
 * The facts themselves: is every page of the database what it should be? For
 * SQLite a page that it had no memory to look at is damaged too; looked at
 * again, what is really damaged still is.
 */
static enum outcome audit_database(struct local *local, bool deep, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome == OUTCOME_OK)
        outcome = check_pages(reader.db, deep, why);
    return outcome == OUTCOME_CORRUPT ? check_pages(reader.db, deep, why) : outcome;
}

enum outcome local_audit(struct store *store, bool deep, struct store_audit *out, struct failure *why)
{
    struct local *local = local_of(store);
    scoped_free struct store_audit *found = calloc(1, sizeof *found);
    if (!found)
        return failure_set(why, OUTCOME_NOMEM, "no memory for an audit");
    const struct audit_visitor visitor = {count_entry, count_orphan, count_unnamed, count_unreadable, found};
    enum outcome outcome = audit_database(local, deep, why);
    if (outcome == OUTCOME_OK)
        outcome = audit_walk(local, deep, &visitor, &found->entries, why);
    if (outcome == OUTCOME_OK)
        outcome = facts_check(local, count_facts, found, why);
    if (outcome == OUTCOME_OK)
        *out = *found;
    return outcome;
}
