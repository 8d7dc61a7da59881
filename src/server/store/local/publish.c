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
    enum outcome kept = answers_outlive(db, name, timeline_now(&local->time),
                                        local->limits.answers_per_principal, why);
    if (kept != OUTCOME_OK)
        return kept;
    {
        scoped_query struct query q = query_on(
            db, "INSERT INTO kept (" ENTRY_COLUMNS ", content, place, until)"
                " SELECT " ENTRY_COLUMNS ", content, place, ? FROM entry WHERE name = ?");
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

static enum outcome content_row(struct database *db, const struct publish_content *content, uint64_t size,
                                int64_t *row, struct failure *why)
{
    *row = content->row;
    if (content->kind == CONTENT_PART)
        return OUTCOME_OK;
    if (content->kind == CONTENT_SAME) {
        scoped_query struct query q = query_on(db, "UPDATE content SET uses = uses + 1 WHERE id = ?");
        bind_int(&q, content->row);
        return query_run(&q, why);
    }
    scoped_query struct query q = query_on(
        db, "INSERT INTO content (blob, bytes, size, uses) VALUES (?, ?, ?, 1)");
    bind_content(&q, &content->blob, content->bytes, size);
    enum outcome outcome = query_run(&q, why);
    if (outcome == OUTCOME_OK)
        *row = database_last_row(db);
    return outcome;
}

enum outcome tally_begin(struct database *db, struct tally *tally, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT arrivals, interests, EXISTS (SELECT 1 FROM answer) OR "
                                               "EXISTS (SELECT 1 FROM kept) FROM store");
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_CORRUPT, "the store's own row is missing")
                                         : outcome;
    *tally = (struct tally){.arrivals = column_int(&q)};
    tally->awaited = column_int(&q) != 0;
    tally->past = column_int(&q) != 0;
    return OUTCOME_OK;
}

enum outcome tally_end(struct database *db, const struct tally *tally, struct failure *why)
{
    if (tally->files == 0)
        return OUTCOME_OK;
    scoped_query struct query q = query_on(
        db, "UPDATE store SET arrivals = ?, files = files + ?, bytes = bytes + ?");
    bind_int(&q, tally->arrivals);
    bind_int(&q, tally->files);
    bind_int(&q, tally->bytes);
    return query_run(&q, why);
}

/* The row; *made is false if its name or its version is taken, and then nothing changed. */
static enum outcome entry_insert(struct local *local, struct database *db, const struct store_entry *entry,
                                 int64_t content, int64_t place, const struct answer_key *key,
                                 struct tally *tally, bool *made, struct failure *why)
{
    scoped_query struct query q = query_on(db, "INSERT INTO entry (" ENTRY_COLUMNS
                                               ", content, place, made, act, arguments, done)"
                                               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                                               " ON CONFLICT DO NOTHING");
    entry_bind(&q, entry);
    bind_int(&q, content);
    bind_int(&q, place);
    bind_int(&q, tally->arrivals + 1);
    bind_int(&q, key ? key->act : 0);
    bind_blob(&q, key ? key->arguments.digest.octets : NULL, key ? sizeof key->arguments.digest : 0);
    bind_int(&q, timeline_now(&local->time));
    enum outcome outcome = query_run(&q, why);
    *made = outcome == OUTCOME_OK && database_changed(db) > 0;
    if (*made) {
        tally->arrivals++;
        tally->files++;
        tally->bytes += (int64_t)entry->size;
    }
    return outcome;
}

static enum outcome entry_arrived(struct local *local, struct database *db, const struct store_entry *entry,
                                  const struct tally *tally, struct failure *why)
{
    return tally->awaited ? notices_arrived(local, db, entry, tally->arrivals, why) : OUTCOME_OK;
}

enum outcome publish_make(struct local *local, struct database *db, struct store_entry *entry,
                          const struct publish_content *content, const struct answer_key *key,
                          struct tally *tally, struct failure *why)
{
    int64_t row = 0;
    bool made = false;
    entry->arrival = clock_wall(local->clock);
    enum outcome outcome = publish_retire(local, db, entry->name, why);
    FAULT_POINT("replace-retired");
    if (outcome == OUTCOME_OK)
        outcome = content_row(db, content, entry->size, &row, why);
    if (outcome == OUTCOME_OK)
        outcome = entry_insert(local, db, entry, row, content->place, key, tally, &made, why);
    if (outcome == OUTCOME_OK && !made)
        outcome = failure_set(why, OUTCOME_FAULT, "an entry is in the way that was not there");
    return outcome == OUTCOME_OK ? entry_arrived(local, db, entry, tally, why) : outcome;
}

/* ---- the act, in the writer's turn ---- */

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

/* Whether the id is that of an answer, or of a version that is only kept. */
static enum outcome is_past(struct database *db, const struct id *id, bool *past, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT 1 FROM answer WHERE id = ?1"
                                               " UNION ALL SELECT 1 FROM kept WHERE version = ?1");
    bind_id(&q, id);
    enum outcome outcome = query_row(&q, why);
    *past = outcome == OUTCOME_OK;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

/*
 * A new name under a new id, which most are: one row is all. *made is false if it is something else; then nothing
 * changed.
 */
static enum outcome publish_new(struct local *local, struct database *db, struct publishing *publishing,
                                struct tally *tally, bool *made, struct failure *why)
{
    struct store_entry *entry = &publishing->entry;
    const struct publish_content *content = &publishing->content;
    bool past = false;
    if (content->kind != CONTENT_PART || publishing->key.arguments.failed ||
        !id_is_none(&publishing->condition.expected))
        return OUTCOME_OK;
    enum outcome outcome = tally->past ? is_past(db, &entry->version, &past, why) : OUTCOME_OK;
    if (outcome != OUTCOME_OK || past)
        return outcome;
    entry->arrival = clock_wall(local->clock);
    outcome = entry_insert(local, db, entry, content->row, content->place, &publishing->key, tally, made,
                           why);
    return outcome == OUTCOME_OK && *made ? entry_arrived(local, db, entry, tally, why) : outcome;
}

/* Done before, or what stands in the way; ABSENT: nothing does. */
static enum outcome publish_refuse(struct database *db, struct publishing *publishing, struct failure *why)
{
    enum outcome outcome = publish_answered(db, &publishing->key, &publishing->entry, why);
    publishing->repeated = outcome == OUTCOME_OK;
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    outcome = publish_check(db, publishing->key.caller, publishing->entry.name, &publishing->condition, why);
    return outcome == OUTCOME_OK ? OUTCOME_ABSENT : outcome;
}

enum outcome publish_one(struct local *local, struct database *db, struct publishing *publishing,
                         struct tally *tally, bool *refused, struct failure *why)
{
    bool made = false;
    *refused = false;
    enum outcome outcome = publish_new(local, db, publishing, tally, &made, why);
    FAULT_POINT("many-made");
    if (outcome != OUTCOME_OK || made)
        return outcome;
    outcome = publish_refuse(db, publishing, why);
    *refused = outcome != OUTCOME_ABSENT && outcome != OUTCOME_OK;
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    tally->past = true; /* what is retired is */
    return publish_make(local, db, &publishing->entry, &publishing->content, &publishing->key, tally, why);
}

enum outcome publish_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct publishing *publishing = argument;
    struct tally tally;
    enum outcome outcome = publish_refuse(db, publishing, why);
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    outcome = tally_begin(db, &tally, why);
    if (outcome == OUTCOME_OK)
        outcome = publish_make(local, db, &publishing->entry, &publishing->content, &publishing->key, &tally,
                               why);
    FAULT_POINT("publish-made");
    if (outcome == OUTCOME_OK && publishing->upload)
        outcome = upload_row_gone(db, publishing->upload, why);
    return outcome == OUTCOME_OK ? tally_end(db, &tally, why) : outcome;
}

/*
 * The name first, and then the answer: what stands in the way may be this very act, done meanwhile by an earlier
 * sending of the same call. Then its answer is there, too.
 */
enum outcome publish_look(struct local *local, const struct publishing *publishing, struct store_entry *out,
                          struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = publish_check(reader.db, publishing->key.caller, publishing->entry.name, &publishing->condition,
                            why);
    struct failure trouble = {0};
    enum outcome answered = publish_answered(reader.db, &publishing->key, out, &trouble);
    if (answered == OUTCOME_ABSENT)
        return outcome == OUTCOME_OK ? OUTCOME_ABSENT : outcome;
    if (answered != OUTCOME_OK && why)
        *why = trouble;
    return answered;
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
    upload_forget_ahead(upload);
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
        leftover_note(local, BLOB_WHOLE, &upload->claim.blob); /* its content was not wanted */
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
