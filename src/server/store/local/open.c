#include "server/store/local/local.h"

#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/audit.h"
#include "server/store/local/files.h"
#include "server/store/local/interests.h"
#include "server/store/local/mailboxes.h"
#include "server/store/local/notices.h"
#include "server/store/local/pin.h"
#include "server/store/local/pending.h"
#include "server/store/local/publish.h"
#include "server/store/local/repair.h"
#include "server/store/local/schema.h"
#include "server/store/local/sweep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>

/* ---- the lock ---- */

/* Who has it, from the text in the file. */
static enum outcome lock_held(int fd, const char *folder, struct failure *why)
{
    char text[32] = "";
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = 0;
    text[strspn(text, "0123456789")] = 0;
    return failure_set(why, OUTCOME_HELD, "the store %s is in use by process %s", folder,
                       *text ? text : "unknown");
}

static enum outcome lock_take(struct local *local, const char *folder, struct failure *why)
{
    local->lock_fd = openat(local->folder_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (local->lock_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "open %s/lock", folder);
    if (flock(local->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return lock_held(local->lock_fd, folder, why);
        return failure_system(why, OUTCOME_LOCAL, errno, "lock %s/lock", folder);
    }
    char text[32];
    int count = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(local->lock_fd, 0) < 0 || pwrite(local->lock_fd, text, (size_t)count, 0) != count)
        return failure_system(why, OUTCOME_LOCAL, errno, "write %s/lock", folder);
    return OUTCOME_OK;
}

/* ---- the database ---- */

static enum outcome pragma_int(struct database *db, const char *text, int64_t *out, struct failure *why)
{
    scoped_query struct query q = query_on(db, text);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *out = column_int(&q);
    return outcome;
}

/* A new database: tables and the store's row, or nothing. */
static enum outcome schema_make(struct local *local, struct database *db, struct failure *why)
{
    char settings[128];
    snprintf(settings, sizeof settings, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
             SCHEMA_APPLICATION, SCHEMA_VERSION);
    enum outcome outcome = database_begin(db, why);
    if (outcome == OUTCOME_OK)
        outcome = database_execute(db, schema_text, why);
    if (outcome == OUTCOME_OK)
        outcome = database_execute(db, settings, why);
    if (outcome == OUTCOME_OK) {
        struct id instance = id_random();
        int64_t wall = clock_wall(local->clock);
        /* Its time begins at the wall clock of its first day. */
        scoped_query struct query q = query_on(
            db, "INSERT INTO store (only, instance, time_seen, wall_seen) VALUES (1, ?, ?, ?)");
        bind_id(&q, &instance);
        bind_int(&q, wall);
        bind_int(&q, wall);
        outcome = query_run(&q, why);
    }
    FAULT_POINT("care-schema-made");
    if (outcome == OUTCOME_OK)
        return database_commit(db, why);
    database_rollback(db);
    return outcome;
}

/* Without its write-ahead log neither group commit nor readers beside the writer would be what they are. */
static enum outcome check_journal(struct database *db, const char *folder, struct failure *why)
{
    char mode[16] = "";
    scoped_query struct query q = query_on(db, "PRAGMA journal_mode");
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_FAULT, "the database has no journal mode")
                                         : outcome;
    column_text(&q, mode, sizeof mode);
    if (strcmp(mode, "wal") == 0)
        return OUTCOME_OK;
    return failure_set(why, OUTCOME_LOCAL,
                       "the file system of %s does not take a write-ahead log (a local one does)", folder);
}

/*
 * A database without tables beside content: it was lost, or a copy was broken
 * off. In a new one nothing would name that content, and it would be swept.
 */
static enum outcome refuse_headless(struct local *local, const char *folder, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    struct id blob;
    for (unsigned shard = 0; shard < BLOB_SHARDS && outcome == OUTCOME_OK; shard++) {
        scoped_walk DIR *walk = NULL;
        outcome = blob_walk(&local->blobs, BLOB_WHOLE, shard, &walk, why);
        if (outcome == OUTCOME_OK && blob_walk_next(walk, &blob))
            outcome = failure_set(
                why, OUTCOME_CORRUPT,
                "the store %s has content but no database: it was lost, or a copy of the store "
                "is not whole; put a backup in its place",
                folder);
    }
    return outcome;
}

/*
 * A store that is opened again may be older than what its clients saw: a backup
 * that was put in its place, or a snapshot of a disk or a machine. They would not
 * ask for events of numbers they had. So numbers go on above what any store of
 * this line can have given until now: 1,024 for each millisecond since 1970, which
 * still is a whole number to those who read it as floating point.
 */
static int64_t numbers_floor(const struct clock *clock)
{
    int64_t ms = clock_wall(clock) / 1000000;
    return ms > 0 ? ms * 1024 : 0;
}

/* *numbers_above becomes what numbers of events begin above in any case. */
static enum outcome schema_check(struct local *local, struct database *db, const char *folder,
                                 int64_t *numbers_above, struct failure *why)
{
    int64_t application = 0, version = 0;
    enum outcome outcome = pragma_int(db, "PRAGMA application_id", &application, why);
    if (outcome == OUTCOME_OK)
        outcome = pragma_int(db, "PRAGMA user_version", &version, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (application == 0 && version == 0)
        outcome = refuse_headless(local, folder, why);
    if (application == 0 && version == 0)
        return outcome == OUTCOME_OK ? schema_make(local, db, why) : outcome;
    if (application != SCHEMA_APPLICATION)
        return failure_set(why, OUTCOME_CORRUPT, "%s/fileshare.db is not a store's database", folder);
    if (version > SCHEMA_VERSION)
        return failure_set(why, OUTCOME_INVALID, "the store %s is of a newer release (form %lld, ours is %d)",
                           folder, (long long)version, SCHEMA_VERSION);
    *numbers_above = numbers_floor(local->clock);
    return schema_upgrade(db, schema_steps, (int)version, SCHEMA_VERSION, why);
}

static enum outcome store_row(struct local *local, struct database *db, int64_t numbers_above,
                              struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT instance, max(numbers, ?), time_seen, wall_seen, elapsed_seen, boot_seen FROM store");
    bind_int(&q, numbers_above);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_CORRUPT, "the store's own row is missing")
                                         : outcome;
    local->instance = column_id(&q);
    events_begin(local, column_int(&q));
    struct timeline_mark seen = {.store = column_int(&q)};
    seen.wall = column_int(&q);
    seen.elapsed = column_int(&q);
    seen.boot = (uint64_t)column_int(&q);
    local->time = timeline_start(local->clock, &seen);
    return OUTCOME_OK;
}

static enum outcome database_ready(struct local *local, const char *folder, struct database *db,
                                   struct failure *why)
{
    int64_t numbers_above = 0;
    enum outcome outcome = check_journal(db, folder, why);
    if (outcome == OUTCOME_OK)
        outcome = schema_check(local, db, folder, &numbers_above, why);
    if (outcome == OUTCOME_OK)
        outcome = store_row(local, db, numbers_above, why);
    if (outcome == OUTCOME_OK)
        outcome = uploads_recover(local, db, why);
    if (outcome == OUTCOME_OK)
        outcome = crowds_load(&local->waiters.crowds, db, why);
    if (outcome == OUTCOME_OK)
        outcome = pending_fill(local, db, why);
    return outcome;
}

/* ---- life ---- */

static void local_close(struct store *store)
{
    struct local *local = local_of(store);
    if (local->writer.started) {
        uploads_park(local);
        sweep_last(local);
    }
    writer_stop(&local->writer);
    readers_fini(&local->readers);
    waiters_fini(&local->waiters);
    noticed_fini(&local->noticed);
    due_fini(&local->due);
    leftovers_fini(&local->leftovers);
    pthread_mutex_destroy(&local->sweeping.mutex);
    pthread_rwlock_destroy(&local->telling);
    uploads_fini(local);
    reads_fini(&local->reads);
    blobs_fini(&local->blobs);
    scoped_fd_at(&local->event_fd);
    scoped_fd_at(&local->pin_fd);
    scoped_fd_at(&local->folder_fd);
    scoped_fd_at(&local->lock_fd); /* last: the store is free for another only now */
    free(local->database_path);
    free(local->folder);
    free(local);
}

static struct id local_instance(struct store *store)
{
    return local_of(store)->instance;
}

static unsigned local_capabilities(struct store *store)
{
    (void)store;
    return STORE_CAN_BACKUP | STORE_CAN_REPAIR;
}

static enum outcome local_backup(struct store *store, const char *target, bool copy, struct store_backup *out,
                                 struct failure *why)
{
    return store_local_backup(local_of(store)->folder, target, copy, out, why);
}

static int local_event_fd(struct store *store)
{
    return local_of(store)->event_fd;
}

void local_wake(struct local *local)
{
    uint64_t one = 1;
    ssize_t written = write(local->event_fd, &one, sizeof one);
    (void)written; /* full: whoever polls it is awake */
}

static void local_on_events(struct store *store, void (*told)(void *context), void *context)
{
    struct local *local = local_of(store);
    pthread_rwlock_wrlock(&local->telling);
    local->told = told;
    local->told_context = context;
    pthread_rwlock_unlock(&local->telling);
}

void local_tell(struct local *local)
{
    pthread_rwlock_rdlock(&local->telling);
    if (local->told)
        local->told(local->told_context);
    else
        local_wake(local);
    pthread_rwlock_unlock(&local->telling);
}

uint64_t store_local_commits(struct store *store)
{
    return local_of(store)->writer.commits;
}

static const struct store_acts local_acts = {
    .close = local_close,
    .instance = local_instance,
    .capabilities = local_capabilities,
    .upload_begin = local_upload_begin,
    .upload_write = local_upload_write,
    .upload_abort = local_upload_abort,
    .publish = local_publish,
    .put = local_put,
    .put_many = local_put_many,
    .stat = local_stat,
    .list = local_list,
    .remove = local_remove,
    .rename = local_rename,
    .read_open = local_read_open,
    .read_open_many = local_read_open_many,
    .read_at = local_read_at,
    .read_close = local_read_close,
    .event_fd = local_event_fd,
    .on_events = local_on_events,
    .interest_add = local_interest_add,
    .interest_renew = local_interest_renew,
    .interest_drop = local_interest_drop,
    .interest_list = local_interest_list,
    .mailbox_route = local_mailbox_route,
    .mailbox_forget = local_mailbox_forget,
    .mailbox_events = local_mailbox_events,
    .fan_out = local_fan_out,
    .pending_claim = local_pending_claim,
    .pending_done = local_pending_done,
    .pending_done_many = local_pending_done_many,
    .pending_retry = local_pending_retry,
    .sweep = local_sweep,
    .health = local_health,
    .audit = local_audit,
    .repair = local_repair,
    .backup = local_backup,
};

/* An empty one, which local_close can take down whatever else happened. */
static struct local *local_new(const struct store_local_options *options)
{
    struct local *local = calloc(1, sizeof *local);
    if (!local)
        return NULL;
    local->store.acts = &local_acts;
    local->limits = options->limits;
    local->clock = options->clock;
    local->folder_fd = local->lock_fd = local->pin_fd = local->event_fd = -1;
    local->folder = strdup(options->folder);
    if (asprintf(&local->database_path, "%s/fileshare.db", options->folder) < 0)
        local->database_path = NULL;
    readers_init(&local->readers, local->database_path);
    uploads_init(&local->uploads);
    due_init(&local->due);
    pthread_mutex_init(&local->sweeping.mutex, NULL);
    pthread_rwlock_init(&local->telling, NULL);
    atomic_init(&local->sweeping.looking, true);
    atomic_init(&local->arrivals_left, true);
    leftovers_init(&local->leftovers);
    reads_init(&local->reads, options->limits.open_reads);
    blobs_init(&local->blobs);
    return local;
}

static enum outcome local_start(struct local *local, const char *folder, bool existing, struct failure *why)
{
    if (existing && access(local->database_path, F_OK) < 0)
        return errno == ENOENT
                   ? failure_set(why, OUTCOME_ABSENT, "there is no store in %s", folder)
                   : failure_system(why, OUTCOME_LOCAL, errno, "look at %s", local->database_path);
    enum outcome outcome = disk_make_folder(folder, 0700, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    local->folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (local->folder_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "open %s", folder);
    local->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (local->event_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "make an eventfd");
    outcome = lock_take(local, folder, why);
    if (outcome == OUTCOME_OK)
        outcome = pin_open(local->folder_fd, &local->pin_fd, why);
    if (outcome == OUTCOME_OK)
        outcome = blobs_open(&local->blobs, local->folder_fd, why);
    if (outcome == OUTCOME_OK && access(local->database_path, F_OK) < 0)
        outcome = refuse_headless(local, folder, why);
    struct database *db = NULL;
    if (outcome == OUTCOME_OK)
        outcome = database_open(local->database_path, true, &db, why);
    if (outcome == OUTCOME_OK)
        outcome = database_ready(local, folder, db, why);
    if (outcome == OUTCOME_OK)
        return writer_start(&local->writer, local, &local->time, &local->readers, db, why);
    database_close(db);
    return outcome;
}

enum outcome store_local_open(const struct store_local_options *options, struct store **out,
                              struct failure *why)
{
    struct local *local = local_new(options);
    if (!local || !local->database_path || !local->folder) {
        if (local)
            local_close(&local->store);
        return failure_set(why, OUTCOME_NOMEM, "no memory for a store");
    }
    enum outcome outcome = local_start(local, options->folder, options->existing, why);
    if (outcome == OUTCOME_OK)
        *out = &local->store;
    else
        local_close(&local->store);
    return outcome;
}
