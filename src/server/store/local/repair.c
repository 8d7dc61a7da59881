#include "server/store/local/repair.h"

#include "base/disk.h"
#include "base/scoped.h"
#include "server/store/local/audit.h"
#include "server/store/local/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct repairing {
    struct store_repair done;
    int lost_fd; /* -1 until it is wanted */
};

/* ---- setting aside ---- */

static enum outcome lost_failed(const char *doing, const char *name, struct failure *why)
{
    return failure_system(why, OUTCOME_UNAVAILABLE, errno, "%s lost/%s", doing, name);
}

static enum outcome lost_open(struct local *local, struct repairing *repairing, struct failure *why)
{
    if (repairing->lost_fd >= 0)
        return OUTCOME_OK;
    if (mkdirat(local->folder_fd, "lost", 0700) < 0 && errno != EEXIST)
        return lost_failed("make", "", why);
    repairing->lost_fd = openat(local->folder_fd, "lost", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (repairing->lost_fd < 0)
        return lost_failed("open", "", why);
    return disk_sync_folder(local->folder_fd, "the store's folder", why);
}

static const char *kind_word(enum store_finding_kind kind)
{
    switch (kind) {
    case STORE_MISSING: return "missing";
    case STORE_WRONG_SIZE: return "size";
    default: return "digest";
    }
}

static enum outcome lost_note(int lost_fd, const struct store_entry *entry, enum store_finding_kind kind,
                              struct failure *why)
{
    char version[ID_TEXT_SIZE], digest[DIGEST_TEXT_SIZE], line[NAME_BUFFER + 512];
    char name[NAME_BUFFER];
    name_show(entry->name, strlen(entry->name), name, sizeof name);
    int count = snprintf(line, sizeof line, "%s %s %llu %s %s %s\n", id_text(&entry->version, version),
                         kind_word(kind), (unsigned long long)entry->size, digest_text(&entry->digest, digest),
                         entry->owner, name);
    scoped_fd int fd = openat(lost_fd, "list", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return lost_failed("open", "list", why);
    errno = ENOSPC; /* of a write that is short */
    if (write(fd, line, (size_t)count) != count || fsync(fd) < 0)
        return lost_failed("write", "list", why);
    return OUTCOME_OK;
}

/* The bytes that stand in the database, right or not. */
static enum outcome lost_inline(struct local *local, int lost_fd, const struct audited *row, const char *name,
                                struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(
        reader.db, "SELECT bytes FROM content WHERE id = (SELECT content FROM entry WHERE version = ?)");
    bind_id(&q, &row->entry.version);
    outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome; /* not even a row: nothing to keep */
    size_t count;
    const void *bytes = column_blob(&q, &count);
    scoped_fd int fd = openat(lost_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return lost_failed("make", name, why);
    outcome = disk_write_at(fd, bytes ? bytes : "", count, 0, name, why);
    if (outcome == OUTCOME_OK && fsync(fd) < 0)
        return lost_failed("sync", name, why);
    return outcome;
}

static enum outcome lost_keep(struct local *local, int lost_fd, const struct audited *row,
                              enum store_finding_kind kind, struct failure *why)
{
    char name[ID_TEXT_SIZE];
    bool linked;
    id_text(&row->entry.version, name);
    enum outcome outcome = OUTCOME_OK;
    if (row->is_inline)
        outcome = lost_inline(local, lost_fd, row, name, why);
    else if (kind != STORE_MISSING)
        outcome = blob_give(&local->blobs, &row->blob, lost_fd, name, false, &linked, why);
    if (outcome == OUTCOME_OK)
        outcome = lost_note(lost_fd, &row->entry, kind, why);
    return outcome == OUTCOME_OK ? disk_sync_folder(lost_fd, "lost", why) : outcome;
}

/* ---- the entry goes ---- */

struct dropping {
    const struct audited *row;
    bool dropped;
};

static enum outcome drop_content(struct database *db, int64_t content, struct failure *why)
{
    {
        scoped_query struct query q = query_on(db, "DELETE FROM kept WHERE content = ?");
        bind_int(&q, content);
        enum outcome outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    scoped_query struct query q = query_on(db, "DELETE FROM content WHERE id = ?");
    bind_int(&q, content);
    return query_run(&q, why);
}

static enum outcome drop_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    (void)local;
    struct dropping *dropping = argument;
    int64_t content;
    {
        scoped_query struct query q = query_on(db, "DELETE FROM entry WHERE name = ? AND version = ?"
                                                   " RETURNING content");
        bind_text(&q, dropping->row->entry.name);
        bind_id(&q, &dropping->row->entry.version);
        enum outcome outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome; /* replaced meanwhile */
        content = column_int(&q);
        outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    dropping->dropped = true;
    return drop_content(db, content, why);
}

static enum outcome repair_entry(struct local *local, const struct audited *row, enum store_finding_kind kind,
                                 void *argument, struct failure *why)
{
    struct repairing *repairing = argument;
    struct dropping dropping = {.row = row};
    enum outcome outcome = lost_open(local, repairing, why);
    if (outcome == OUTCOME_OK)
        outcome = lost_keep(local, repairing->lost_fd, row, kind, why);
    if (outcome == OUTCOME_OK)
        outcome = writer_do(&local->writer, drop_run, &dropping, why);
    if (outcome != OUTCOME_OK || !dropping.dropped)
        return outcome;
    repairing->done.set_aside++;
    return row->is_inline ? OUTCOME_OK : blob_remove(&local->blobs, BLOB_WHOLE, &row->blob, why);
}

static enum outcome repair_orphan(struct local *local, const struct id *blob, void *argument,
                                  struct failure *why)
{
    struct repairing *repairing = argument;
    enum outcome outcome = blob_remove(&local->blobs, BLOB_WHOLE, blob, why);
    repairing->done.removed += outcome == OUTCOME_OK;
    return outcome;
}

enum outcome local_repair(struct store *store, bool deep, struct store_repair *out, struct failure *why)
{
    struct repairing repairing = {.lost_fd = -1};
    const struct audit_visitor visitor = {repair_entry, repair_orphan, &repairing};
    uint64_t entries = 0;
    enum outcome outcome = audit_walk(local_of(store), deep, &visitor, &entries, why);
    scoped_fd_at(&repairing.lost_fd);
    if (outcome == OUTCOME_OK)
        *out = repairing.done;
    return outcome;
}
