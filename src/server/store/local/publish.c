#include "server/store/local/publish.h"

#include "base/disk.h"
#include "base/fault.h"
#include "server/store/local/answers.h"
#include "server/store/local/entries.h"
#include "server/store/local/local.h"
#include "server/store/local/notices.h"

#include <stdio.h>
#include <string.h>

/* ---- the facts ---- */

enum outcome publish_check(struct database *db, const struct store_caller *caller, const char *name,
                           const struct store_condition *condition, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT version, owner FROM entry WHERE name = ?");
    bind_text(&q, name);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_ABSENT && condition->replace && !id_is_none(&condition->expected))
        return failure_set(why, OUTCOME_CHANGED, "the file that was to be replaced is gone");
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
    struct id version = column_id(&q);
    char owner[STORE_PRINCIPAL_SIZE];
    column_text(&q, owner, sizeof owner);
    if (!condition->replace)
        return failure_set(why, OUTCOME_EXISTS, "a file of that name is there already");
    if (!caller->superior && strcmp(owner, caller->principal) != 0)
        return failure_set(why, OUTCOME_DENIED, "the file belongs to %s", owner);
    if (!id_is_none(&condition->expected) && !id_equal(&condition->expected, &version))
        return failure_set(why, OUTCOME_CHANGED, "the file is another version now");
    return OUTCOME_OK;
}

enum outcome publish_retire(struct local *local, struct database *db, const char *name, struct failure *why)
{
    {
        scoped_query struct query q = query_on(db, "INSERT INTO kept (" ENTRY_COLUMNS ", content, until)"
                                                   " SELECT " ENTRY_COLUMNS
                                                   ", content, ? FROM entry WHERE name = ?");
        bind_int(&q, reads_keep_until(local));
        bind_text(&q, name);
        enum outcome outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK || database_changed(db) == 0)
            return outcome; /* nothing has that name */
    }
    scoped_query struct query q = query_on(db, "DELETE FROM entry WHERE name = ?");
    bind_text(&q, name);
    return query_run(&q, why);
}

static enum outcome version_is_new(struct database *db, const struct id *version, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT 1 FROM entry WHERE version = ?1"
                                               " UNION ALL SELECT 1 FROM kept WHERE version = ?1");
    bind_id(&q, version);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        return failure_set(why, OUTCOME_INVALID, "this id was used for another act");
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome content_row(struct database *db, const struct publish_content *content, uint64_t size,
                                int64_t *row, struct failure *why)
{
    if (content->kind == CONTENT_SAME) {
        scoped_query struct query q = query_on(db, "UPDATE content SET uses = uses + 1 WHERE id = ?");
        bind_int(&q, content->row);
        *row = content->row;
        return query_run(&q, why);
    }
    scoped_query struct query q = query_on(
        db, "INSERT INTO content (blob, bytes, size, uses) VALUES (?, ?, ?, 1)");
    if (content->kind == CONTENT_BLOB) {
        bind_id(&q, &content->blob);
        bind_null(&q);
    } else {
        bind_null(&q);
        bind_blob(&q, content->bytes, size);
    }
    bind_int(&q, (int64_t)size);
    enum outcome outcome = query_run(&q, why);
    if (outcome == OUTCOME_OK)
        *row = database_last_row(db);
    return outcome;
}

static enum outcome next_arrival(struct database *db, int64_t *made, struct failure *why)
{
    scoped_query struct query q = query_on(db, "UPDATE store SET arrivals = arrivals + 1 RETURNING arrivals");
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *made = column_int(&q);
    return outcome == OUTCOME_OK ? query_run(&q, why) : outcome;
}

enum outcome publish_make(struct local *local, struct database *db, struct store_entry *entry,
                          const struct publish_content *content, struct failure *why)
{
    int64_t row = 0, made = 0;
    entry->arrival = clock_wall(local->clock);
    enum outcome outcome = version_is_new(db, &entry->version, why);
    if (outcome == OUTCOME_OK)
        outcome = publish_retire(local, db, entry->name, why);
    FAULT_POINT("replace-retired");
    if (outcome == OUTCOME_OK)
        outcome = content_row(db, content, entry->size, &row, why);
    if (outcome == OUTCOME_OK)
        outcome = next_arrival(db, &made, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    {
        scoped_query struct query q = query_on(db, "INSERT INTO entry (" ENTRY_COLUMNS
                                                   ", content, made) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
        entry_bind(&q, entry);
        bind_int(&q, row);
        bind_int(&q, made);
        outcome = query_run(&q, why);
    }
    return outcome == OUTCOME_OK ? notices_arrived(local, db, entry, made, why) : outcome;
}

/* ---- the act, on the writer's thread ---- */

static enum outcome upload_row_gone(struct database *db, const struct id *upload, struct failure *why)
{
    scoped_query struct query q = query_on(db, "DELETE FROM upload WHERE upload = ?");
    bind_id(&q, upload);
    return query_run(&q, why);
}

/* The answer of a publish or put done before. ABSENT if it was not. */
static enum outcome publish_answered(struct database *db, const struct answer_key *key,
                                     struct store_entry *out, struct failure *why)
{
    scoped_pack struct pack body = {0};
    enum outcome outcome = answers_find(db, key, &body, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct unpacking from = {.bytes = body.bytes, .left = body.count};
    struct store_entry entry;
    unpack_entry(&from, &entry);
    if (!unpacked_whole(&from))
        return failure_set(why, OUTCOME_FAULT, "a kept answer cannot be read");
    *out = entry;
    return OUTCOME_OK;
}

enum outcome publish_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct publishing *publishing = argument;
    enum outcome outcome = publish_answered(db, &publishing->key, &publishing->entry, why);
    publishing->repeated = outcome == OUTCOME_OK;
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    outcome = publish_check(db, publishing->key.caller, publishing->entry.name, &publishing->condition, why);
    if (outcome == OUTCOME_OK)
        outcome = publish_make(local, db, &publishing->entry, &publishing->content, why);
    FAULT_POINT("publish-made");
    if (outcome == OUTCOME_OK && publishing->upload)
        outcome = upload_row_gone(db, publishing->upload, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_pack struct pack body = {0};
    pack_entry(&body, &publishing->entry);
    return answers_keep(db, &publishing->key, timeline_now(&local->time), &body,
                        local->limits.answers_per_principal, why);
}

enum outcome publish_look(struct local *local, const struct publishing *publishing, struct store_entry *out,
                          struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome == OUTCOME_OK)
        outcome = publish_answered(reader.db, &publishing->key, out, why);
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    outcome = publish_check(reader.db, publishing->key.caller, publishing->entry.name, &publishing->condition,
                            why);
    return outcome == OUTCOME_OK ? OUTCOME_ABSENT : outcome;
}

/* ---- publish ---- */

static enum outcome upload_compare(const struct upload *upload, const struct store_publish *publish,
                                   const struct digest_value *digest, struct failure *why)
{
    uint64_t held = upload->held;
    if (publish->check && publish->size != held)
        return failure_set(why, OUTCOME_CHANGED, "%llu bytes were to come, %llu came",
                           (unsigned long long)publish->size, (unsigned long long)held);
    if (publish->check && publish->check_digest && memcmp(&publish->digest, digest, sizeof *digest) != 0)
        return failure_set(why, OUTCOME_CHANGED, "the bytes that came have another digest");
    return OUTCOME_OK;
}

/* Makes the upload's bytes durable, or takes the few there are into `small`. */
static enum outcome upload_content(struct local *local, struct upload *upload, uint8_t small[INLINE_MAX],
                                   struct publish_content *out, struct failure *why)
{
    uint64_t held = upload->held;
    if (held <= INLINE_MAX && !upload->settled) {
        *out = (struct publish_content){.kind = CONTENT_INLINE, .bytes = small};
        enum outcome outcome = disk_read_at(upload->fd, small, (size_t)held, 0, "an upload", why);
        return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
    }
    *out = (struct publish_content){.kind = CONTENT_BLOB, .blob = upload->claim.blob};
    if (upload->settled)
        return OUTCOME_OK;
    enum outcome outcome = blob_flush(upload->fd, held, why);
    upload->broken = outcome != OUTCOME_OK; /* after a failed sync nobody knows what the disk has */
    upload->moved |= outcome == OUTCOME_OK;
    if (outcome == OUTCOME_OK)
        outcome = blob_settle(&local->blobs, &upload->claim.blob, why);
    upload->settled = outcome == OUTCOME_OK;
    FAULT_POINT("publish-settled");
    return outcome;
}

/* With the upload's lock. */
static enum outcome publish_upload(struct local *local, struct upload *upload,
                                   const struct store_publish *publish, struct publishing *publishing,
                                   struct failure *why)
{
    enum outcome outcome = upload_ready(local, upload, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct digest_value digest = digest_value(upload->digest);
    outcome = upload_compare(upload, publish, &digest, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct store_entry *entry = &publishing->entry;
    *entry = (struct store_entry){.size = upload->held,
                                  .mtime = publish->mtime,
                                  .digest = digest,
                                  .version = upload->id};
    memcpy(entry->name, upload->name, sizeof entry->name);
    memcpy(entry->owner, upload->owner, sizeof entry->owner);
    publishing->condition = upload->condition;
    outcome = publish_look(local, publishing, entry, why);
    if (outcome == OUTCOME_ABSENT) {
        uint8_t small[INLINE_MAX];
        outcome = upload_content(local, upload, small, &publishing->content, why);
        if (outcome == OUTCOME_OK)
            outcome = writer_do(&local->writer, publish_run, publishing, why);
        FAULT_POINT("publish-committed");
    }
    if (outcome == OUTCOME_OK && publishing->repeated && upload->settled)
        sweep_leftovers(&local->sweeping); /* its content was not wanted */
    if (outcome == OUTCOME_OK)
        upload_end(local, upload);
    if (upload->broken && upload_drop(local, upload, NULL) != OUTCOME_OK)
        upload_end(local, upload); /* its row goes at the next start */
    return outcome;
}

/* No such upload any more: perhaps this very publish ended it. */
static enum outcome publish_again(struct local *local, const struct publishing *publishing,
                                  struct store_entry *out, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome == OUTCOME_OK)
        outcome = publish_answered(reader.db, &publishing->key, out, why);
    return outcome == OUTCOME_ABSENT ? failure_set(why, outcome, "there is no such upload") : outcome;
}

enum outcome local_publish(struct store *store, const struct store_caller *caller,
                           const struct store_publish *publish, struct store_entry *out, struct failure *why)
{
    struct local *local = local_of(store);
    struct publishing publishing = {
        .key = {.id = &publish->upload, .caller = caller, .act = ANSWER_UPLOAD},
        .upload = &publish->upload,
    };
    struct upload *upload = uploads_take(&local->uploads, &publish->upload);
    enum outcome outcome;
    bool dead = !upload;
    if (upload && strcmp(upload->owner, caller->principal) != 0) {
        outcome = failure_set(why, OUTCOME_DENIED, "the upload belongs to another caller");
    } else if (upload) {
        scoped_lock(&upload->mutex);
        dead = upload->dead;
        outcome = dead ? OUTCOME_ABSENT : publish_upload(local, upload, publish, &publishing, why);
    }
    if (upload)
        upload_give(local, upload);
    if (dead)
        outcome = publish_again(local, &publishing, &publishing.entry, why);
    if (outcome == OUTCOME_OK)
        *out = publishing.entry;
    return outcome;
}
