#include "server/store/local/uploads.h"

#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/answers.h"
#include "server/store/local/entries.h"
#include "server/store/local/local.h"
#include "server/store/local/publish.h"
#include "server/store/local/room.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { DIGEST_STEP = 256 << 10 }; /* bytes read at once when a digest is computed anew */

/* ---- the row ---- */

struct upload_row {
    const struct upload *upload;
    const struct store_caller *caller;
    uint64_t synced;
    struct store_upload_state *state; /* filled in if it was committed already */
    bool deleted;                     /* it was there until now */
};

/* From the answer that was kept of its publish. */
static enum outcome begin_published(const struct pack *answer, struct store_upload_state *out,
                                    struct failure *why)
{
    struct unpacking from = {.bytes = answer->bytes, .left = answer->count};
    unpack_entry(&from, &out->entry);
    if (!unpacked_whole(&from))
        return failure_set(why, OUTCOME_FAULT, "a kept answer cannot be read");
    out->published = true;
    out->held = out->entry.size;
    out->digest = out->entry.digest;
    return OUTCOME_OK;
}

static enum outcome row_insert(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct upload_row *row = argument;
    const struct upload *upload = row->upload;
    struct answer_key key = {.id = &upload->id, .caller = row->caller, .act = ANSWER_UPLOAD};
    scoped_pack struct pack body = {0};
    enum outcome outcome = answers_find(db, &key, &body, why);
    if (outcome == OUTCOME_OK)
        return begin_published(&body, row->state, why);
    if (outcome == OUTCOME_ABSENT)
        outcome = publish_check(db, row->caller, upload->name, &upload->condition, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(
        db, "INSERT OR REPLACE INTO upload (upload, blob, owner, name, replace, expected,"
            " size, touched) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    bind_id(&q, &upload->id);
    bind_id(&q, &upload->claim.blob);
    bind_text(&q, upload->owner);
    bind_text(&q, upload->name);
    bind_int(&q, upload->condition.replace);
    bind_id(&q, &upload->condition.expected);
    if (upload->size_known)
        bind_int(&q, (int64_t)upload->size);
    else
        bind_null(&q);
    bind_int(&q, timeline_now(&local->time));
    return query_run(&q, why);
}

static enum outcome row_synced(struct local *local, struct database *db, void *argument, struct failure *why)
{
    (void)local;
    const struct upload_row *row = argument;
    scoped_query struct query q = query_on(db, "UPDATE upload SET synced = ?, touched = ? WHERE upload = ?");
    bind_int(&q, (int64_t)row->synced);
    bind_int(&q, row->upload->touched);
    bind_id(&q, &row->upload->id);
    return query_run(&q, why);
}

static enum outcome row_delete(struct local *local, struct database *db, void *argument, struct failure *why)
{
    (void)local;
    struct upload_row *row = argument;
    scoped_query struct query q = query_on(db, "DELETE FROM upload WHERE upload = ?");
    bind_id(&q, &row->upload->id);
    enum outcome outcome = query_run(&q, why);
    row->deleted = outcome == OUTCOME_OK && database_changed(db) > 0;
    return outcome;
}

static enum outcome row_touched(struct local *local, struct database *db, void *argument, struct failure *why)
{
    const struct upload_row *row = argument;
    scoped_query struct query q = query_on(db, "UPDATE upload SET touched = ? WHERE upload = ?");
    bind_int(&q, timeline_now(&local->time));
    bind_id(&q, &row->upload->id);
    return query_run(&q, why);
}

void upload_touch(struct local *local, struct upload *upload)
{
    int64_t now = timeline_now(&local->time);
    upload->touched = now;
    if (now - upload->noted <= UPLOAD_NOTE_EVERY)
        return;
    upload->noted = now;
    struct upload_row row = {.upload = upload};
    enum outcome outcome = writer_do(&local->writer, row_touched, &row, NULL);
    (void)outcome; /* then it may go early, after a crash */
}

/* ---- one upload, with its lock ---- */

void upload_end(struct local *local, struct upload *upload)
{
    if (upload->dead)
        return;
    upload->dead = true;
    uploads_remove(&local->uploads, upload);
    upload_close(&local->uploads, upload);
    bool left = !upload->settled &&
                blob_remove(&local->blobs, BLOB_INCOMING, &upload->claim.blob, NULL) != OUTCOME_OK;
    if (left)
        leftover_note(local, BLOB_INCOMING, &upload->claim.blob);
    blob_release(&local->blobs, &upload->claim);
    upload_give(local, upload); /* the table's */
}

enum outcome upload_drop(struct local *local, struct upload *upload, struct failure *why)
{
    if (upload->dead)
        return OUTCOME_OK;
    struct upload_row row = {.upload = upload};
    enum outcome outcome = writer_do(&local->writer, row_delete, &row, why);
    /* Its publish would have ended the row: now it is sure that nothing names what was settled. */
    bool gone = !(upload->moved || upload->settled) ||
                (outcome == OUTCOME_OK && row.deleted &&
                 blob_remove(&local->blobs, BLOB_WHOLE, &upload->claim.blob, NULL) == OUTCOME_OK);
    if (!gone)
        leftover_note(local, BLOB_WHOLE, &upload->claim.blob);
    if (outcome == OUTCOME_OK)
        upload_end(local, upload);
    return outcome;
}

/* The digest of what is held, after a restart. */
static enum outcome digest_anew(struct upload *upload, struct failure *why)
{
    struct digest *digest = digest_new();
    scoped_free uint8_t *step = malloc(DIGEST_STEP);
    enum outcome outcome = OUTCOME_OK;
    if (!digest || !step)
        outcome = failure_set(why, OUTCOME_NOMEM, "no memory to compute a digest");
    uint64_t held = upload->held;
    for (uint64_t at = 0; at < held && outcome == OUTCOME_OK; at += DIGEST_STEP) {
        size_t count = held - at < DIGEST_STEP ? (size_t)(held - at) : DIGEST_STEP;
        outcome = disk_read_at(upload->fd, step, count, at, "an upload", why);
        if (outcome == OUTCOME_OK)
            digest_add(digest, step, count);
    }
    if (outcome == OUTCOME_OK)
        upload->digest = digest;
    else
        digest_free(digest);
    return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
}

enum outcome upload_ready(struct local *local, struct upload *upload, struct failure *why)
{
    if (upload->fd < 0) {
        enum blob_place place = upload->settled ? BLOB_WHOLE : BLOB_INCOMING;
        enum outcome outcome = blob_open(&local->blobs, place, &upload->claim.blob, true, &upload->fd, why);
        if (outcome == OUTCOME_ABSENT && upload->moved)
            outcome = blob_open(&local->blobs, BLOB_WHOLE, &upload->claim.blob, true, &upload->fd, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_UNAVAILABLE : outcome;
        uploads_opened(&local->uploads, upload);
    }
    return upload->digest ? OUTCOME_OK : digest_anew(upload, why);
}

enum outcome upload_record(struct local *local, struct upload *upload, struct failure *why)
{
    struct upload_row row = {.upload = upload, .synced = upload->held};
    enum outcome outcome = blob_sync(&local->blobs, BLOB_INCOMING, &upload->claim.blob, upload->fd, why);
    upload->broken = outcome != OUTCOME_OK;
    if (outcome == OUTCOME_OK)
        outcome = writer_do(&local->writer, row_synced, &row, why);
    FAULT_POINT("upload-recorded");
    if (outcome == OUTCOME_OK) {
        upload->synced = row.synced;
        upload->synced_at = timeline_now(&local->time);
        upload->noted = upload->synced_at;
    }
    return outcome;
}

/* ---- begin ---- */

/* The name may have been taken since it was begun: then the rest would be sent in vain. */
static enum outcome begin_again_check(struct local *local, const struct upload *upload,
                                      const struct store_caller *caller, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    return outcome == OUTCOME_OK ? publish_check(reader.db, caller, upload->name, &upload->condition, why)
                                 : outcome;
}

static enum outcome begin_state(struct local *local, struct upload *upload, const struct store_caller *caller,
                                const struct store_upload_begin *begin, struct store_upload_state *out,
                                struct failure *why)
{
    if (strcmp(upload->owner, caller->principal) != 0)
        return failure_set(why, OUTCOME_DENIED, "the upload belongs to another caller");
    if (strcmp(upload->name, begin->name) != 0 || upload->condition.replace != begin->condition.replace ||
        !id_equal(&upload->condition.expected, &begin->condition.expected))
        return failure_set(why, OUTCOME_INVALID, "this id was used for another upload");
    enum outcome outcome = upload->settled ? OUTCOME_OK : begin_again_check(local, upload, caller, why);
    if (outcome == OUTCOME_OK)
        outcome = upload_ready(local, upload, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    upload_forget_ahead(upload);
    *out = (struct store_upload_state){.held = upload->held, .digest = digest_value(upload->digest)};
    return OUTCOME_OK;
}

/* With the lock of an upload that is new in the table: its file and its row. */
static enum outcome begin_new(struct local *local, struct upload *upload, const struct store_caller *caller,
                              struct store_upload_state *out, struct failure *why)
{
    struct upload_row row = {.upload = upload, .caller = caller, .state = out};
    upload->digest = digest_new();
    if (!upload->digest)
        return failure_set(why, OUTCOME_NOMEM, "no memory for an upload");
    enum outcome outcome = blob_create(&local->blobs, BLOB_INCOMING, &upload->claim.blob, &upload->fd, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    uploads_opened(&local->uploads, upload);
    outcome = writer_do(&local->writer, row_insert, &row, why);
    FAULT_POINT("upload-begun");
    if (outcome != OUTCOME_OK)
        return outcome;
    if (out->published)
        upload_end(local, upload);
    else
        out->digest = digest_value(upload->digest);
    return OUTCOME_OK;
}

static enum outcome begin_first(struct local *local, const struct store_caller *caller,
                                const struct store_upload_begin *begin, struct store_upload_state *out,
                                struct failure *why)
{
    struct upload *upload = upload_new(&begin->upload, caller->principal, begin->name);
    if (!upload)
        return failure_set(why, OUTCOME_NOMEM, "no memory for an upload");
    upload->condition = begin->condition;
    upload->size_known = begin->size_known;
    upload->size = begin->size;
    upload->synced_at = timeline_now(&local->time);
    upload->touched = upload->synced_at;
    upload->noted = upload->synced_at;
    blob_claim(&local->blobs, &upload->claim);
    /* Who finds it in the table waits until it is whole. */
    pthread_mutex_lock(&upload->mutex);
    enum outcome outcome = uploads_add(&local->uploads, &local->limits, upload, why);
    if (outcome != OUTCOME_OK) {
        blob_release(&local->blobs, &upload->claim);
    } else {
        outcome = begin_new(local, upload, caller, out, why);
        if (outcome != OUTCOME_OK)
            upload_end(local, upload);
    }
    pthread_mutex_unlock(&upload->mutex);
    upload_give(local, upload);
    return outcome;
}

/* What can be said before anything is made: it was committed (then *out says so), or what stands in the way. */
static enum outcome begin_look(struct local *local, const struct store_caller *caller,
                               const struct store_upload_begin *begin, struct store_upload_state *out,
                               struct failure *why)
{
    struct answer_key key = {.id = &begin->upload, .caller = caller, .act = ANSWER_UPLOAD};
    scoped_pack struct pack body = {0};
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    /* In this order: what stands there may be this very upload, published meanwhile (publish_look). */
    outcome = publish_check(reader.db, caller, begin->name, &begin->condition, why);
    struct failure trouble = {0};
    enum outcome answered = answers_find(reader.db, &key, &body, &trouble);
    if (answered == OUTCOME_OK)
        return begin_published(&body, out, why);
    if (answered != OUTCOME_ABSENT) {
        if (why)
            *why = trouble;
        return answered;
    }
    return outcome;
}

enum outcome local_upload_begin(struct store *store, const struct store_caller *caller,
                                const struct store_upload_begin *begin, struct store_upload_state *out,
                                struct failure *why)
{
    struct local *local = local_of(store);
    for (;;) {
        struct upload *upload = uploads_take(&local->uploads, &begin->upload);
        struct store_upload_state state = {0};
        enum outcome outcome = OUTCOME_HELD;
        if (upload) {
            upload_touch(local, upload);
            pthread_mutex_lock(&upload->mutex);
            if (!upload->dead)
                outcome = begin_state(local, upload, caller, begin, &state, why);
            pthread_mutex_unlock(&upload->mutex);
            upload_give(local, upload);
        } else {
            uint64_t has;
            outcome = begin_look(local, caller, begin, &state, why);
            if (outcome == OUTCOME_OK && !state.published)
                outcome = room_make(local, begin->size_known ? begin->size : 0, &has, why);
            if (outcome == OUTCOME_OK && !state.published)
                outcome = begin_first(local, caller, begin, &state, why);
        }
        if (outcome == OUTCOME_OK)
            *out = state;
        if (outcome != OUTCOME_HELD)
            return outcome; /* HELD: it came or went meanwhile */
    }
}

/* ---- abort ---- */

enum outcome local_upload_abort(struct store *store, const struct store_caller *caller, const struct id *id,
                                struct failure *why)
{
    struct local *local = local_of(store);
    struct upload *upload = uploads_take(&local->uploads, id);
    if (!upload)
        return OUTCOME_OK;
    enum outcome outcome;
    if (strcmp(upload->owner, caller->principal) != 0) {
        outcome = failure_set(why, OUTCOME_DENIED, "the upload belongs to another caller");
    } else {
        scoped_lock(&upload->mutex);
        outcome = upload_drop(local, upload, why);
    }
    upload_give(local, upload);
    return outcome;
}

/* ---- over a restart ---- */

void uploads_park(struct local *local)
{
    for (unsigned i = 0; i < UPLOAD_BUCKETS; i++) {
        list_each(at, &local->uploads.buckets[i]) {
            struct upload *upload = list_entry(at, struct upload, bucket);
            scoped_lock(&upload->mutex);
            if (upload->settled || upload->held == upload->synced)
                continue;
            enum outcome outcome = upload->fd < 0 ? upload_ready(local, upload, NULL) : OUTCOME_OK;
            if (outcome == OUTCOME_OK)
                outcome = upload_record(local, upload, NULL);
            (void)outcome; /* then less is held at the next start */
        }
    }
}

/* Its publish had come so far that the file stands among the blobs, which it does only when it is whole and synced. */
static enum outcome recover_settled(struct local *local, struct upload *upload, struct failure *why)
{
    uint64_t size;
    enum outcome outcome = blob_size(&local->blobs, &upload->claim.blob, &size, why);
    if (outcome == OUTCOME_OK) {
        upload->held = upload->started = upload->synced = size;
        upload->settled = true;
    }
    return outcome;
}

/* What the server held when it ended, on this run of the machine; at least that, if pieces came before their turn. */
static uint64_t recover_held(const struct upload *upload, uint64_t size, bool marked)
{
    uint64_t least = size > STORE_AHEAD_MAX ? size - STORE_AHEAD_MAX : 0;
    if (!marked)
        return size;
    return least > upload->synced ? least : upload->synced;
}

static enum outcome recover_file(struct local *local, struct upload *upload, struct failure *why)
{
    scoped_fd int fd = -1;
    struct stat status;
    enum outcome outcome = blob_open(&local->blobs, BLOB_INCOMING, &upload->claim.blob, true, &fd, why);
    if (outcome == OUTCOME_ABSENT)
        return recover_settled(local, upload, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (fstat(fd, &status) < 0 || (uint64_t)status.st_size < upload->synced)
        return failure_set(why, OUTCOME_ABSENT, "an upload has fewer bytes than it had");
    bool marked = blob_is_marked(&status);
    if (local->time.same_boot)
        upload->held = recover_held(upload, (uint64_t)status.st_size, marked);
    bool longer = upload->held != (uint64_t)status.st_size;
    if ((longer && ftruncate(fd, (off_t)upload->held) < 0) || (marked && !blob_mark(fd, false)))
        return failure_system(why, OUTCOME_UNAVAILABLE, errno, "cut an upload to what is held");
    return OUTCOME_OK;
}

static enum outcome recover_row(struct local *local, struct query *q, bool *lost, struct failure *why)
{
    char owner[STORE_PRINCIPAL_SIZE], name[NAME_BUFFER];
    struct id id = column_id(q);
    struct id blob = column_id(q);
    column_text(q, owner, sizeof owner);
    column_text(q, name, sizeof name);
    struct upload *upload = upload_new(&id, owner, name);
    if (!upload)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the uploads");
    upload->claim.blob = blob;
    upload->condition.replace = column_int(q) != 0;
    upload->condition.expected = column_id(q);
    upload->size_known = !column_is_null(q);
    upload->size = (uint64_t)column_int(q);
    upload->held = upload->started = upload->synced = (uint64_t)column_int(q);
    upload->synced_at = column_int(q);
    upload->touched = upload->noted = upload->synced_at + UPLOAD_NOTE_EVERY;
    enum outcome outcome = recover_file(local, upload, why);
    *lost = outcome == OUTCOME_ABSENT;
    if (outcome == OUTCOME_OK) {
        /* They were within the limits once; a limit made smaller does not undo them. */
        struct store_limits without = {.uploads = UINT32_MAX, .uploads_per_principal = UINT32_MAX};
        outcome = uploads_add(&local->uploads, &without, upload, why);
        blob_claim_again(&local->blobs, &upload->claim);
    }
    upload_give(local, upload);
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome recover_forget(struct database *db, const struct id *upload, struct failure *why)
{
    scoped_query struct query q = query_on(db, "DELETE FROM upload WHERE upload = ?");
    bind_id(&q, upload);
    return query_run(&q, why);
}

enum outcome uploads_sweep_strays(struct local *local, struct failure *why)
{
    scoped_walk DIR *walk = NULL;
    enum outcome outcome = blob_walk(&local->blobs, BLOB_INCOMING, 0, &walk, why);
    struct id blob;
    while (outcome == OUTCOME_OK && blob_walk_next(walk, &blob))
        if (!blob_is_claimed(&local->blobs, &blob))
            outcome = blob_remove(&local->blobs, BLOB_INCOMING, &blob, why);
    return outcome;
}

enum outcome uploads_recover(struct local *local, struct database *db, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    struct id after = {0};
    bool end = false;
    while (outcome == OUTCOME_OK && !end) {
        bool lost = false;
        {
            scoped_query struct query q = query_on(
                db, "SELECT upload, blob, owner, name, replace, expected, size,"
                    " synced, touched FROM upload WHERE upload > ? LIMIT 1");
            bind_id(&q, &after);
            struct id at = {0};
            outcome = query_row(&q, why);
            end = outcome == OUTCOME_ABSENT;
            if (outcome == OUTCOME_OK) {
                at = column_id(&q);
                q.column = 0;
                outcome = recover_row(local, &q, &lost, why);
            }
            after = at;
        }
        if (lost && outcome == OUTCOME_OK)
            outcome = recover_forget(db, &after, why);
    }
    return outcome == OUTCOME_ABSENT ? uploads_sweep_strays(local, why) : outcome;
}
