#include "server/store/local/reads.h"

#include "base/scoped.h"
#include "server/store/local/entries.h"
#include "server/store/local/local.h"

#include <errno.h>
#include <string.h>

enum { KEEP_STEP_SECONDS = 6 };

/* One version, in the table while it is open. */
struct known {
    struct store_read read; /* first; it owns the descriptor, or the bytes */
    struct local *local;
    struct store_entry entry; /* fixed as well */

    /* under the table's lock */
    struct list bucket;
    struct list idle;
    unsigned users;
    int64_t refreshed; /* store time at which its keeping was last moved on */
    int64_t read_at;   /* and at which some of it was last read, but not all of it at once */
    unsigned begun;    /* downloads that began, and have not come to the end */
};

/* ---- the table ---- */

void reads_init(struct reads *reads, uint32_t limit)
{
    *reads = (struct reads){.limit = limit};
    pthread_mutex_init(&reads->mutex, NULL);
    list_init(&reads->idle);
    for (unsigned i = 0; i < READ_BUCKETS; i++)
        list_init(&reads->buckets[i]);
}

static void known_free(struct known *known)
{
    if (known->read.fd >= 0)
        close(known->read.fd);
    read_let_go(&known->read);
    free(known);
}

static void known_free_at(struct known **known)
{
    if (*known)
        known_free(*known);
}

static struct known *take_out(struct reads *reads, struct known *read)
{
    list_remove(&read->bucket);
    list_remove(&read->idle);
    reads->count--;
    return read;
}

void reads_fini(struct reads *reads)
{
    list_each(at, &reads->idle) {
        struct known *read = list_entry(at, struct known, idle);
        known_free(take_out(reads, read));
    }
    pthread_mutex_destroy(&reads->mutex);
}

static struct list *bucket_of(struct reads *reads, const struct id *version)
{
    uint32_t hash;
    memcpy(&hash, version->octets, sizeof hash);
    return &reads->buckets[hash % READ_BUCKETS];
}

static struct known *find(struct reads *reads, const struct id *version)
{
    list_each(at, bucket_of(reads, version)) {
        struct known *read = list_entry(at, struct known, bucket);
        if (id_equal(&read->entry.version, version))
            return read;
    }
    return NULL;
}

/* Of those not in use, the one used longest ago, taken out, if the table is over its limit. */
static struct known *take_surplus(struct reads *reads)
{
    struct known *oldest = list_first(&reads->idle, struct known, idle);
    if (reads->count <= reads->limit || !oldest)
        return NULL;
    return take_out(reads, oldest);
}

static struct known *take_known(struct reads *reads, const struct id *version)
{
    scoped_lock(&reads->mutex);
    struct known *read = find(reads, version);
    if (!read)
        return NULL;
    list_remove(&read->idle);
    read->users++;
    return read;
}

/* `fresh` comes into the table, unless another thread was faster: then that one's is taken. */
static struct known *take_fresh(struct reads *reads, struct known **fresh)
{
    scoped(known_free_at) struct known *surplus = NULL;
    scoped_lock(&reads->mutex);
    struct known *read = find(reads, &(*fresh)->entry.version);
    if (!read) {
        read = take_ptr(fresh);
        list_append(bucket_of(reads, &read->entry.version), &read->bucket);
        reads->count++;
        surplus = take_surplus(reads);
    }
    list_remove(&read->idle);
    read->users++;
    return read;
}

static void known_close(struct store_read *read)
{
    struct known *known = (struct known *)read;
    struct reads *reads = &known->local->reads;
    scoped(known_free_at) struct known *surplus = NULL;
    scoped_lock(&reads->mutex);
    if (--known->users > 0)
        return;
    list_append(&reads->idle, &known->idle);
    surplus = take_surplus(reads);
}

void local_read_close(struct store_read *read)
{
    if (read)
        read->close(read);
}

static bool is_paused(const struct known *read, int64_t now)
{
    return now - read->read_at >= READ_PAUSE_SECONDS * (int64_t)CLOCK_SECOND;
}

static bool is_under_way(const struct known *read, int64_t now)
{
    return read->users > 0 || (read->begun > 0 && !is_paused(read, now));
}

bool reads_forget(struct reads *reads, const struct id *version)
{
    scoped(known_free_at) struct known *unused = NULL;
    scoped_lock(&reads->mutex);
    struct known *read = find(reads, version);
    if (read && read->users > 0)
        return false;
    unused = read ? take_out(reads, read) : NULL;
    return true;
}

bool reads_are_under_way(struct reads *reads, const struct id *version, int64_t now)
{
    scoped_lock(&reads->mutex);
    struct known *read = find(reads, version);
    return read && is_under_way(read, now);
}

bool reads_forget_done(struct reads *reads, const struct id *version, int64_t now)
{
    scoped(known_free_at) struct known *unused = NULL;
    scoped_lock(&reads->mutex);
    struct known *read = find(reads, version);
    if (read && is_under_way(read, now))
        return false;
    unused = read ? take_out(reads, read) : NULL;
    return true;
}

/*
 * Who reads a version bit by bit begins at its first byte, or after a pause somewhere, and ends at its last one.
 * Nothing says which of them a reading belongs to: so they are counted.
 */
static void note_reading(struct known *read, uint64_t offset, size_t count)
{
    uint64_t size = read->read.size;
    if (count == 0 || count == size)
        return;
    int64_t now = timeline_now(&read->local->time);
    scoped_lock(&read->local->reads.mutex);
    if (is_paused(read, now))
        read->begun = offset > 0;
    read->begun += offset == 0;
    read->begun -= read->begun > 0 && count == size - offset;
    read->read_at = now;
}

/* ---- keeping what is read ---- */

/* Reads within so much time move the row once. */
static int64_t keep_step(const struct local *local)
{
    int64_t step = timeline_seconds(local->limits.kept_seconds) / 4;
    return step > timeline_seconds(KEEP_STEP_SECONDS) ? timeline_seconds(KEEP_STEP_SECONDS) : step;
}

int64_t reads_keep_until(const struct local *local)
{
    return timeline_now(&local->time) + timeline_seconds(local->limits.kept_seconds) + keep_step(local);
}

static enum outcome keep_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    const struct id *version = argument;
    scoped_query struct query q = query_on(db, "UPDATE kept SET until = ? WHERE version = ?");
    bind_int(&q, reads_keep_until(local));
    bind_id(&q, version);
    return query_run(&q, why);
}

/* Not at each read. What is the newest has no row to move: that costs nothing. */
static void keep_longer(struct local *local, struct known *read)
{
    int64_t now = timeline_now(&local->time);
    int64_t step = keep_step(local);
    {
        scoped_lock(&local->reads.mutex);
        if (now - read->refreshed < step)
            return;
        read->refreshed = now;
    }
    enum outcome outcome = writer_do(&local->writer, keep_run, &read->entry.version, NULL);
    (void)outcome; /* it may then go early, and who reads it is told STALE */
}

/* ---- opening ---- */

enum outcome read_hold(struct store_read *read, const void *bytes, size_t count, struct failure *why)
{
    uint64_t left = read->place <= count ? count - read->place : 0;
    if (read->size > left)
        return failure_set(why, OUTCOME_CORRUPT, "%s has %llu bytes, not %llu", read->name,
                           (unsigned long long)left, (unsigned long long)read->size);
    uint8_t *copy = malloc(read->size + 1);
    if (!copy)
        return failure_set(why, OUTCOME_NOMEM, "no memory to read a file");
    if (read->size > 0)
        memcpy(copy, (const uint8_t *)bytes + read->place, read->size);
    read->place = 0;
    read->bytes = copy;
    return OUTCOME_OK;
}

void read_let_go(struct store_read *read)
{
    free((void *)(uintptr_t)read->bytes);
    read->bytes = NULL;
}

/* The query's columns: place, blob, bytes. */
static enum outcome open_content(struct local *local, struct query *q, struct store_read *read,
                                 struct failure *why)
{
    read->place = (uint64_t)column_int(q);
    if (!column_is_null(q)) {
        struct id blob = column_id(q);
        enum outcome outcome = blob_open(&local->blobs, BLOB_WHOLE, &blob, false, &read->fd, why);
        return outcome == OUTCOME_ABSENT
                   ? failure_set(why, OUTCOME_CORRUPT, "the content of %s is missing", read->name)
                   : outcome;
    }
    struct id none = column_id(q);
    (void)none;
    size_t count;
    const void *bytes = column_blob(q, &count);
    return read_hold(read, bytes, count, why);
}

/* From a row of entry or kept, with its content. ABSENT (not described) if the query has none. */
static enum outcome open_row(struct local *local, struct query *q, struct known **out, struct failure *why)
{
    enum outcome outcome = query_row(q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped(known_free_at) struct known *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return failure_set(why, OUTCOME_NOMEM, "no memory to read a file");
    fresh->local = local;
    list_init(&fresh->bucket);
    list_init(&fresh->idle);
    entry_take(q, &fresh->entry);
    fresh->read = (struct store_read){.close = known_close,
                                      .name = fresh->entry.name,
                                      .size = fresh->entry.size,
                                      .fd = -1};
    fresh->read_at = INT64_MIN / 2;
    fresh->refreshed = column_int(q) ? INT64_MIN / 2 : timeline_now(&local->time);
    struct known *known = take_known(&local->reads, &fresh->entry.version);
    if (!known) {
        outcome = open_content(local, q, &fresh->read, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        known = take_fresh(&local->reads, &fresh);
    }
    *out = known;
    return OUTCOME_OK;
}

/* The columns that open_row reads: the entry, whether it is a kept one, its content. */
#define READ_COLUMNS(kept) "SELECT " ENTRY_COLUMNS ", " kept ", place, blob, bytes"
#define READ_CONTENT       " JOIN (SELECT id, blob, bytes FROM content) AS held ON held.id = content"

static enum outcome open_newest(struct local *local, struct database *db, const char *name,
                                struct known **out, struct failure *why)
{
    scoped_query struct query q = query_on(db,
                                           READ_COLUMNS("0") " FROM entry" READ_CONTENT " WHERE name = ?");
    bind_text(&q, name);
    return open_row(local, &q, out, why);
}

static enum outcome open_version(struct local *local, struct database *db, const char *name,
                                 const struct id *version, struct known **out, struct failure *why)
{
    enum outcome outcome;
    {
        scoped_query struct query q = query_on(db, READ_COLUMNS("0") " FROM entry" READ_CONTENT
                                                                     " WHERE name = ? AND version = ?");
        bind_text(&q, name);
        bind_id(&q, version);
        outcome = open_row(local, &q, out, why);
    }
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    scoped_query struct query q = query_on(db, READ_COLUMNS("1") " FROM kept" READ_CONTENT
                                                                 " WHERE version = ? AND name = ?");
    bind_id(&q, version);
    bind_text(&q, name);
    return open_row(local, &q, out, why);
}

static enum outcome open_anew(struct local *local, const char *name, const struct id *version,
                              struct known **out, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    bool newest = id_is_none(version);
    /* Content that is missing may have been replaced, and swept, since its row was read: look again. */
    for (unsigned n = 0; n < 3; n++) {
        outcome = newest ? open_newest(local, reader.db, name, out, why)
                         : open_version(local, reader.db, name, version, out, why);
        if (outcome != OUTCOME_CORRUPT)
            break;
    }
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    return newest ? failure_set(why, OUTCOME_ABSENT, "there is no such file")
                  : failure_set(why, OUTCOME_STALE, "that version is no longer kept");
}

enum outcome local_read_open(struct store *store, const char *name, const struct id *version,
                             struct store_read **out, struct store_entry *entry, struct failure *why)
{
    struct local *local = local_of(store);
    struct known *known = id_is_none(version) ? NULL : take_known(&local->reads, version);
    if (known && strcmp(known->entry.name, name) != 0) {
        known_close(&known->read);
        return failure_set(why, OUTCOME_STALE, "that version is not one of this file");
    }
    enum outcome outcome = known ? OUTCOME_OK : open_anew(local, name, version, &known, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    keep_longer(local, known);
    *entry = known->entry;
    *out = &known->read;
    return OUTCOME_OK;
}

enum outcome local_read_at(struct store_read *read, uint64_t offset, void *bytes, size_t count,
                           struct failure *why)
{
    if (offset > read->size || count > read->size - offset)
        return failure_set(why, OUTCOME_INVALID, "%zu bytes at %llu are not within %llu", count,
                           (unsigned long long)offset, (unsigned long long)read->size);
    if (read->close == known_close)
        note_reading((struct known *)read, offset, count);
    if (read->fd < 0) {
        if (count > 0)
            memcpy(bytes, read->bytes + offset, count);
        return OUTCOME_OK;
    }
    uint8_t *to = bytes;
    offset += read->place;
    while (count > 0) {
        ssize_t got = pread(read->fd, to, count, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure_system(why, OUTCOME_UNAVAILABLE, errno, "read %s", read->name);
        if (got == 0)
            return failure_set(why, OUTCOME_CORRUPT, "%s ends at %llu, not at %llu", read->name,
                               (unsigned long long)(offset - read->place), (unsigned long long)read->size);
        to += got;
        offset += (uint64_t)got;
        count -= (size_t)got;
    }
    return OUTCOME_OK;
}
