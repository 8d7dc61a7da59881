#include "server/store/local/repair.h"

#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/answers.h"
#include "server/store/local/audit.h"
#include "server/store/local/facts.h"
#include "server/store/local/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
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

static enum outcome lost_line(int lost_fd, const char *line, struct failure *why)
{
    ssize_t count = (ssize_t)strlen(line);
    scoped_fd int fd = openat(lost_fd, "list", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return lost_failed("open", "list", why);
    errno = ENOSPC; /* of a write that is short */
    if (write(fd, line, (size_t)count) != count || fsync(fd) < 0)
        return lost_failed("write", "list", why);
    FAULT_POINT("care-repair-listed");
    return OUTCOME_OK;
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
    snprintf(line, sizeof line, "%s %s %llu %s %s %s\n", id_text(&entry->version, version), kind_word(kind),
             (unsigned long long)entry->size, digest_text(&entry->digest, digest), entry->owner, name);
    return lost_line(lost_fd, line, why);
}

/* The bytes that stand in the database, right or not: all, or those of one that stands there with others. */
static enum outcome lost_inline(struct local *local, int lost_fd, int64_t content, const struct audited *part,
                                const char *name, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(reader.db,
                                           "SELECT substr(bytes, ? + 1, ?) FROM content WHERE id = ?");
    bind_int(&q, part ? (int64_t)part->place : 0);
    bind_int(&q, part ? (int64_t)part->entry.size : INT32_MAX);
    bind_int(&q, content);
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

/* What a repair left that was broken off may be half of it. */
static enum outcome lost_blob(struct local *local, int lost_fd, const struct id *blob, const char *name,
                              struct failure *why)
{
    bool linked;
    if (unlinkat(lost_fd, name, 0) < 0 && errno != ENOENT)
        return lost_failed("remove", name, why);
    enum outcome outcome = blob_give(&local->blobs, blob, lost_fd, name, false, &linked, why);
    FAULT_POINT("care-repair-given");
    return outcome;
}

/* Of many in one blob, what there is of this one's bytes. */
static enum outcome lost_part(struct local *local, int lost_fd, const struct audited *row, const char *name,
                              struct failure *why)
{
    scoped_fd int from = -1;
    enum outcome outcome = blob_open(&local->blobs, BLOB_WHOLE, &row->blob, false, &from, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
    scoped_fd int fd = openat(lost_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return lost_failed("make", name, why);
    enum { PIECE = 1 << 20 };
    size_t size = row->entry.size < PIECE ? row->entry.size : PIECE;
    scoped_free uint8_t *bytes = malloc(size + 1);
    if (!bytes)
        return failure_set(why, OUTCOME_NOMEM, "no memory to set a file aside");
    ssize_t got = row->place > INT64_MAX ? 0 : pread(from, bytes, size, (off_t)row->place);
    if (got < 0)
        return lost_failed("read what goes to", name, why);
    outcome = disk_write_at(fd, bytes, (size_t)got, 0, name, why);
    FAULT_POINT("care-repair-given");
    return outcome == OUTCOME_OK && fsync(fd) < 0 ? lost_failed("sync", name, why) : outcome;
}

static enum outcome lost_keep(struct local *local, int lost_fd, const struct audited *row,
                              enum store_finding_kind kind, struct failure *why)
{
    char name[ID_TEXT_SIZE];
    id_text(&row->entry.version, name);
    enum outcome outcome = OUTCOME_OK;
    if (row->has_content && row->is_inline)
        outcome = lost_inline(local, lost_fd, row->content, row->is_part ? row : NULL, name, why);
    else if (kind != STORE_MISSING && row->is_part)
        outcome = lost_part(local, lost_fd, row, name, why);
    else if (kind != STORE_MISSING)
        outcome = lost_blob(local, lost_fd, &row->blob, name, why);
    if (outcome == OUTCOME_OK)
        outcome = lost_note(lost_fd, &row->entry, kind, why);
    return outcome == OUTCOME_OK ? disk_sync_folder(lost_fd, "lost", why) : outcome;
}

/* ---- the entry goes ---- */

struct dropping {
    const struct audited *row;
    bool dropped;
    bool shared; /* another name has the same content, which may be right for that one */
};

/* Among versions that are only kept, those of other files count. */
static enum outcome is_shared(struct database *db, int64_t content, bool *out, struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT 1 FROM entry WHERE content = ?1 UNION ALL SELECT 1 FROM kept WHERE content = ?1 AND"
            " (SELECT parts IS NOT NULL FROM content WHERE id = ?1) LIMIT 1");
    bind_int(&q, content);
    enum outcome outcome = query_row(&q, why);
    *out = outcome == OUTCOME_OK;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome drop_content(struct database *db, int64_t content, struct dropping *dropping,
                                 struct failure *why)
{
    enum outcome shared = is_shared(db, content, &dropping->shared, why);
    if (shared != OUTCOME_OK || dropping->shared)
        return shared; /* its uses are counted again at the end */
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

/* The act that made it was done all the same: who repeats it is told so. */
static enum outcome drop_answered(struct local *local, struct database *db, const struct store_entry *entry,
                                  struct failure *why)
{
    {
        scoped_query struct query q = query_on(db, "SELECT 1 FROM entry WHERE name = ? AND version = ?");
        bind_text(&q, entry->name);
        bind_id(&q, &entry->version);
        enum outcome outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
    }
    return answers_outlive(db, entry->name, timeline_now(&local->time), local->limits.answers_per_principal,
                           why);
}

static enum outcome drop_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct dropping *dropping = argument;
    int64_t content;
    enum outcome answered = drop_answered(local, db, &dropping->row->entry, why);
    if (answered != OUTCOME_OK)
        return answered;
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
    return drop_content(db, content, dropping, why);
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
    FAULT_POINT("care-repair-dropped");
    if (outcome != OUTCOME_OK || !dropping.dropped)
        return outcome;
    repairing->done.set_aside++;
    bool keep = !row->has_content || row->is_inline || dropping.shared;
    return keep ? OUTCOME_OK : blob_remove(&local->blobs, BLOB_WHOLE, &row->blob, why);
}

static enum outcome repair_orphan(struct local *local, const struct id *blob, void *argument,
                                  struct failure *why)
{
    struct repairing *repairing = argument;
    enum outcome outcome = blob_remove(&local->blobs, BLOB_WHOLE, blob, why);
    FAULT_POINT("care-repair-removed");
    repairing->done.removed += outcome == OUTCOME_OK;
    return outcome;
}

/* ---- content that belongs to nobody ---- */

static enum outcome drop_unnamed_run(struct local *local, struct database *db, void *argument,
                                     struct failure *why)
{
    (void)local;
    scoped_query struct query q = query_on(db, "DELETE FROM content WHERE id = ?");
    bind_int(&q, *(const int64_t *)argument);
    return query_run(&q, why);
}

/* Its blob is not known any more then, and goes with the others. */
static enum outcome repair_unnamed(struct local *local, const struct unnamed *row, void *argument,
                                   struct failure *why)
{
    struct repairing *repairing = argument;
    char name[ID_TEXT_SIZE], line[ID_TEXT_SIZE + 16];
    struct id made = id_random();
    int64_t content = row->row;
    id_text(row->is_inline ? &made : &row->blob, name);
    snprintf(line, sizeof line, "%s unnamed\n", name);
    enum outcome outcome = lost_open(local, repairing, why);
    if (outcome == OUTCOME_OK && row->is_inline)
        outcome = lost_inline(local, repairing->lost_fd, row->row, NULL, name, why);
    else if (outcome == OUTCOME_OK)
        outcome = lost_blob(local, repairing->lost_fd, &row->blob, name, why);
    if (outcome == OUTCOME_OK)
        outcome = lost_line(repairing->lost_fd, line, why);
    else if (outcome == OUTCOME_ABSENT)
        outcome = OUTCOME_OK; /* neither name nor bytes */
    if (outcome == OUTCOME_OK)
        outcome = disk_sync_folder(repairing->lost_fd, "lost", why);
    if (outcome == OUTCOME_OK)
        outcome = writer_do(&local->writer, drop_unnamed_run, &content, why);
    repairing->done.unnamed += outcome == OUTCOME_OK;
    return outcome;
}

static void leave_unreadable(const struct audited *row, const struct failure *trouble, void *argument)
{
    (void)row;
    (void)trouble;
    struct repairing *repairing = argument;
    repairing->done.left++;
}

enum outcome local_repair(struct store *store, bool deep, struct store_repair *out, struct failure *why)
{
    struct repairing repairing = {.lost_fd = -1};
    const struct audit_visitor visitor = {repair_entry, repair_orphan, repair_unnamed, leave_unreadable,
                                          &repairing};
    uint64_t entries = 0;
    enum outcome outcome = audit_walk(local_of(store), deep, &visitor, &entries, why);
    scoped_fd_at(&repairing.lost_fd);
    if (outcome == OUTCOME_OK)
        outcome = facts_repair(local_of(store), &repairing.done.righted, why);
    if (outcome == OUTCOME_OK)
        *out = repairing.done;
    return outcome;
}
