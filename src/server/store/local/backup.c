/*
 * A backup of a store, served by another process or not: it keeps no call
 * waiting.
 *
 * The database first, by VACUUM INTO: one moment of it. Then the content that
 * this moment names. Content never changes, and what is replaced or removed
 * meanwhile is not swept while the backup holds the store's pin (pin.h). Should
 * it not get the pin, or the disk get full, then what goes before it was taken
 * shows as missing, while no entry of the living database names it any more: the
 * database is taken once more, and only what is new since. All of it is made
 * beside the target and becomes it by one rename.
 */
#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/local.h"
#include "server/store/local/pin.h"
#include "server/store/local/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { ROUNDS_MAX = 100 };

struct backup {
    const char *folder;
    bool copy;
    struct database *source;
    struct blobs from, to;
    int from_fd, to_fd, pin_fd;
    char *target;    /* without slashes at its end */
    char *work;      /* the folder in the making; NULL once it is the target, or not yet made */
    char *work_path; /* its database */
    struct store_backup done;
};

static void backup_fini(struct backup *backup)
{
    database_close(backup->source);
    blobs_fini(&backup->from);
    blobs_fini(&backup->to);
    scoped_fd_at(&backup->from_fd);
    scoped_fd_at(&backup->to_fd);
    scoped_fd_at(&backup->pin_fd); /* lets go */
    if (backup->work)
        disk_remove_tree(backup->work);
    free(backup->work);
    free(backup->work_path);
    free(backup->target);
}

/* ---- the store that is backed up ---- */

static enum outcome check_form(struct backup *backup, struct failure *why)
{
    scoped_query struct query q = query_on(
        backup->source,
        "SELECT application_id, user_version FROM pragma_application_id, pragma_user_version");
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_FAULT, "the database has no form")
                                         : outcome;
    int64_t application = column_int(&q), version = column_int(&q);
    if (application != SCHEMA_APPLICATION)
        return failure_set(why, OUTCOME_CORRUPT, "%s/fileshare.db is not a store's database", backup->folder);
    if (version != SCHEMA_VERSION)
        return failure_set(why, OUTCOME_INVALID, "the store %s is of another release (form %lld, ours is %d)",
                           backup->folder, (long long)version, SCHEMA_VERSION);
    return OUTCOME_OK;
}

static enum outcome open_source(struct backup *backup, struct failure *why)
{
    scoped_free char *path = NULL;
    if (asprintf(&path, "%s/fileshare.db", backup->folder) < 0) {
        path = NULL;
        return failure_set(why, OUTCOME_NOMEM, "no memory for a backup");
    }
    if (access(path, F_OK) < 0)
        return errno == ENOENT ? failure_set(why, OUTCOME_ABSENT, "there is no store in %s", backup->folder)
                               : failure_system(why, OUTCOME_LOCAL, errno, "look at %s", path);
    backup->from_fd = open(backup->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (backup->from_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "open %s", backup->folder);
    enum outcome outcome = database_open(path, false, &backup->source, why);
    if (outcome == OUTCOME_OK)
        outcome = check_form(backup, why);
    return outcome == OUTCOME_OK ? blobs_open(&backup->from, backup->from_fd, why) : outcome;
}

/* ---- the folder in the making ---- */

/* Early: what the rename at the end would refuse. */
static enum outcome check_target(const char *target, struct failure *why)
{
    DIR *walk = opendir(target);
    if (!walk && errno == ENOENT)
        return OUTCOME_OK;
    if (!walk && errno != ENOTDIR)
        return failure_system(why, OUTCOME_LOCAL, errno, "look at %s", target);
    unsigned count = 0;
    for (struct dirent *at = walk ? readdir(walk) : NULL; at; at = readdir(walk))
        count += strcmp(at->d_name, ".") != 0 && strcmp(at->d_name, "..") != 0;
    bool is_folder = walk != NULL;
    if (walk)
        closedir(walk);
    if (is_folder && count == 0)
        return OUTCOME_OK;
    return failure_set(why, OUTCOME_EXISTS, "%s is there already, and not an empty folder", target);
}

/* In the store's own folder it would go with the store. */
static enum outcome refuse_inside(const struct backup *backup, struct failure *why)
{
    scoped_free char *text = strdup(backup->target);
    char *slash = text ? strrchr(text, '/') : NULL;
    if (slash)
        slash[slash == text] = '\0';
    scoped_free char *above = text ? realpath(slash ? text : ".", NULL) : NULL;
    scoped_free char *itself = realpath(backup->target, NULL);
    scoped_free char *store = realpath(backup->folder, NULL);
    size_t size = store ? strlen(store) : 0;
    bool same = store && itself && strcmp(itself, store) == 0;
    bool inside = store && above && strncmp(above, store, size) == 0 &&
                  (above[size] == '/' || above[size] == '\0');
    if (same || inside)
        return failure_set(why, OUTCOME_INVALID, "%s would lie in the store itself", backup->target);
    return OUTCOME_OK; /* what is not there is told when it is used */
}

static enum outcome make_work(struct backup *backup, const char *target, struct failure *why)
{
    char mark[ID_TEXT_SIZE];
    struct id id = id_random();
    size_t size = strlen(target);
    while (size > 1 && target[size - 1] == '/')
        size--;
    backup->target = strndup(target, size);
    scoped_free char *work = NULL;
    if (!backup->target || asprintf(&work, "%s.new-%s", backup->target, id_text(&id, mark)) < 0)
        work = NULL;
    if (!work || asprintf(&backup->work_path, "%s/fileshare.db", work) < 0) {
        backup->work_path = NULL;
        return failure_set(why, OUTCOME_NOMEM, "no memory for a backup");
    }
    enum outcome outcome = refuse_inside(backup, why);
    if (outcome == OUTCOME_OK)
        outcome = check_target(backup->target, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (mkdir(work, 0700) < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "make %s", work);
    backup->work = take_ptr(&work);
    FAULT_POINT("care-backup-begun");
    backup->to_fd = open(backup->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (backup->to_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "open %s", backup->work);
    return blobs_open(&backup->to, backup->to_fd, why);
}

/* ---- one moment of the database ---- */

/*
 * What a restored store could not keep its word about goes: uploads' bytes and
 * replaced versions stay behind. (That events' numbers come but once is the
 * affair of whoever opens it.)
 */
static const char strip[] =
    "BEGIN IMMEDIATE;"
    "DELETE FROM upload;"
    "UPDATE content SET uses = uses - n, live = max(live - bulk, 0)"
    "  FROM (SELECT content AS held, count(*) AS n, sum(kept.size) AS bulk FROM kept GROUP BY content)"
    "  WHERE id = held;"
    "DELETE FROM kept;"
    "DELETE FROM content WHERE uses <= 0;"
    "COMMIT;";

/* *out is yours: database_close. */
static enum outcome take_moment(struct backup *backup, struct database **out, struct failure *why)
{
    static const char *const names[] = {"fileshare.db", "fileshare.db-wal", "fileshare.db-shm"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (unlinkat(backup->to_fd, names[i], 0) < 0 && errno != ENOENT)
            return failure_system(why, OUTCOME_LOCAL, errno, "remove %s/%s", backup->work, names[i]);
    enum outcome outcome;
    {
        scoped_query struct query q = query_on(backup->source, "VACUUM INTO ?");
        bind_text(&q, backup->work_path);
        outcome = query_run(&q, why);
    }
    FAULT_POINT("care-backup-vacuumed");
    struct database *db = NULL;
    if (outcome == OUTCOME_OK)
        outcome = database_open(backup->work_path, false, &db, why);
    if (outcome == OUTCOME_OK)
        outcome = database_execute(db, strip, why);
    FAULT_POINT("care-backup-stripped");
    if (outcome == OUTCOME_OK)
        *out = db;
    else
        database_close(db);
    return outcome;
}

/* ---- its content ---- */

/* A piece that is not there: CORRUPT if an entry of the living store names it, else it was swept: OK. */
static enum outcome check_gone(struct backup *backup, const struct id *blob, struct failure *why)
{
    scoped_query struct query q = query_on(
        backup->source, "SELECT name FROM entry JOIN content ON content.id = entry.content WHERE blob = ?");
    bind_id(&q, blob);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
    char name[NAME_BUFFER], shown[256];
    column_text(&q, name, sizeof name);
    return failure_set(why, OUTCOME_CORRUPT, "the content of %s is missing: \"fileshared fsck\" tells more",
                       name_show(name, strlen(name), shown, sizeof shown));
}

static enum outcome take_piece(struct backup *backup, const struct id *blob, bool *again, struct failure *why)
{
    char text[ID_TEXT_SIZE], name[ID_TEXT_SIZE + 3];
    uint64_t size;
    enum outcome outcome = blob_size(&backup->to, blob, &size, NULL);
    if (outcome == OUTCOME_OK)
        return OUTCOME_OK; /* of an earlier round */
    id_text(blob, text);
    snprintf(name, sizeof name, "%.2s/%s", text, text);
    bool linked;
    outcome = blob_give(&backup->from, blob, backup->to.blobs_fd, name, backup->copy, &linked, why);
    FAULT_POINT("care-backup-given");
    if (outcome == OUTCOME_ABSENT) {
        *again = true;
        return check_gone(backup, blob, why);
    }
    if (outcome == OUTCOME_OK && linked)
        backup->done.linked++;
    else if (outcome == OUTCOME_OK)
        backup->done.copied++;
    return outcome;
}

static enum outcome take_content(struct backup *backup, struct database *db, bool *again, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT blob FROM content WHERE blob IS NOT NULL");
    for (;;) {
        enum outcome outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
        struct id blob = column_id(&q);
        outcome = take_piece(backup, &blob, again, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
}

/* What earlier rounds took and the last does not name; then the folder is durable. */
static enum outcome settle_shard(struct backup *backup, struct database *db, unsigned shard,
                                 struct failure *why)
{
    scoped_walk DIR *walk = NULL;
    enum outcome outcome = blob_walk(&backup->to, BLOB_WHOLE, shard, &walk, why);
    struct id blob;
    while (outcome == OUTCOME_OK && backup->done.rounds > 1 && blob_walk_next(walk, &blob)) {
        bool named = true;
        outcome = sweep_blob_is_named(db, &blob, &named, why);
        if (outcome == OUTCOME_OK && !named)
            outcome = blob_remove(&backup->to, BLOB_WHOLE, &blob, why);
    }
    return outcome == OUTCOME_OK ? disk_sync_folder(dirfd(walk), backup->work, why) : outcome;
}

/* *out is the database that names what was taken. */
static enum outcome take_all(struct backup *backup, struct database **out, struct failure *why)
{
    for (;;) {
        bool again = false;
        struct database *db = NULL;
        backup->done.rounds++;
        enum outcome outcome = take_moment(backup, &db, why);
        if (outcome == OUTCOME_OK)
            outcome = take_content(backup, db, &again, why);
        if (outcome == OUTCOME_OK && again && backup->done.rounds == ROUNDS_MAX)
            outcome = failure_set(why, OUTCOME_UNAVAILABLE,
                                  "files go faster than they can be taken: make "
                                  "\"kept\" longer, or try later");
        if (outcome == OUTCOME_OK && !again) {
            *out = db;
            return OUTCOME_OK;
        }
        database_close(db);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
}

/* ---- the end ---- */

static enum outcome sync_database(struct backup *backup, struct failure *why)
{
    scoped_fd int fd = open(backup->work_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "sync %s", backup->work_path);
    return disk_sync_folder(backup->to_fd, backup->work, why);
}

static enum outcome become_target(struct backup *backup, struct failure *why)
{
    if (rename(backup->work, backup->target) < 0) {
        if (errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR)
            return failure_set(why, OUTCOME_EXISTS, "%s has come to be meanwhile", backup->target);
        return failure_system(why, OUTCOME_LOCAL, errno, "rename %s to %s", backup->work, backup->target);
    }
    free(take_ptr(&backup->work));
    FAULT_POINT("care-backup-named");
    scoped_fd int above = openat(backup->to_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (above < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "open the folder of %s", backup->target);
    return disk_sync_folder(above, backup->target, why);
}

enum outcome store_local_backup(const char *folder, const char *target, bool copy, struct store_backup *out,
                                struct failure *why)
{
    scoped(backup_fini) struct backup backup = {.folder = folder,
                                                .copy = copy,
                                                .from_fd = -1,
                                                .to_fd = -1,
                                                .pin_fd = -1};
    blobs_init(&backup.from);
    blobs_init(&backup.to);
    struct database *db = NULL;
    enum outcome outcome = open_source(&backup, why);
    if (outcome == OUTCOME_OK)
        outcome = make_work(&backup, target, why);
    if (outcome == OUTCOME_OK)
        (void)pin_hold(backup.from_fd, &backup.pin_fd); /* else what goes shows */
    if (outcome == OUTCOME_OK)
        outcome = take_all(&backup, &db, why);
    for (unsigned shard = 0; shard < BLOB_SHARDS && outcome == OUTCOME_OK; shard++)
        outcome = settle_shard(&backup, db, shard, why);
    if (outcome == OUTCOME_OK) /* its log goes into it */
        outcome = database_execute(db, "PRAGMA wal_checkpoint(TRUNCATE)", why);
    database_close(db);
    if (outcome == OUTCOME_OK)
        outcome = sync_database(&backup, why);
    FAULT_POINT("care-backup-synced");
    if (outcome == OUTCOME_OK)
        outcome = become_target(&backup, why);
    if (outcome == OUTCOME_OK)
        *out = backup.done;
    return outcome;
}
