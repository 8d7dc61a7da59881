/* put, put_many: content at hand becomes files, each in one act. */
#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/local.h"
#include "server/store/local/put.h"
#include "server/store/local/room.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has_blob(const struct putting *putting)
{
    return !id_is_none(&putting->claim.blob);
}

static struct answer_arguments put_arguments(const struct store_put *put, const struct digest_value *content)
{
    scoped_pack struct pack pack = {0};
    struct store_entry entry = {.size = put->size,
                                .mtime = put->mtime,
                                .digest = *content,
                                .version = put->op};
    snprintf(entry.name, sizeof entry.name, "%s", put->name);
    pack_entry(&pack, &entry);
    pack_number(&pack, put->condition.replace);
    pack_id(&pack, &put->condition.expected);
    return answers_arguments(&pack);
}

void publishing_of(const struct putting *putting, struct publishing *out)
{
    const struct store_put *put = putting->put;
    *out = (struct publishing){
        .key = putting->key,
        .condition = put->condition,
        .content = {.kind = CONTENT_INLINE, .bytes = put->content},
        .entry = {.size = put->size,
                  .mtime = put->mtime,
                  .digest = putting->answer->digest,
                  .version = put->op},
    };
    if (has_blob(putting))
        out->content = (struct publish_content){.kind = CONTENT_BLOB, .blob = putting->claim.blob};
    snprintf(out->entry.name, sizeof out->entry.name, "%s", put->name);
    snprintf(out->entry.owner, sizeof out->entry.owner, "%s", putting->key.caller->principal);
}

void put_answer(struct putting *putting, enum outcome outcome, int64_t arrival)
{
    putting->answered = true;
    putting->answer->outcome = outcome;
    putting->answer->arrival = arrival;
}

/* Whether it was done before, or is refused as things stand: answered then. */
static void put_look(struct local *local, struct putting *putting)
{
    struct publishing publishing;
    publishing_of(putting, &publishing);
    enum outcome outcome = publish_look(local, &publishing, &publishing.entry, &putting->answer->why);
    if (outcome != OUTCOME_ABSENT)
        put_answer(putting, outcome, publishing.entry.arrival);
}

/* Without room only what was done before goes on. */
static void put_without_room(struct local *local, struct putting *putting, enum outcome refusal,
                             const struct failure *why)
{
    struct publishing publishing;
    publishing_of(putting, &publishing);
    enum outcome outcome = publish_look(local, &publishing, &publishing.entry, NULL);
    if (outcome == OUTCOME_OK) {
        put_answer(putting, outcome, publishing.entry.arrival);
        return;
    }
    putting->answer->why = *why;
    put_answer(putting, refusal, 0);
}

static void put_begin(const struct store_caller *caller, const struct store_put *put,
                      struct store_put_answer *answer, struct putting *out)
{
    answer->outcome = OUTCOME_OK;
    answer->why = (struct failure){.outcome = OUTCOME_OK};
    answer->digest = digest_of(put->content, put->size);
    *out = (struct putting){
        .put = put,
        .answer = answer,
        .key = {.id = &put->op, .caller = caller, .act = ANSWER_FILE},
        .fd = -1,
    };
    if (put->check_digest && memcmp(&put->digest, &answer->digest, sizeof answer->digest) != 0)
        put_answer(out, failure_set(&answer->why, OUTCOME_CHANGED, "the bytes that came have another digest"),
                   0);
    else
        out->key.arguments = put_arguments(put, &answer->digest);
}

/* ---- content that is too large for the database: a blob of its own ---- */

static void put_write(struct local *local, struct putting *putting)
{
    const struct store_put *put = putting->put;
    struct failure *why = &putting->answer->why;
    blob_claim(&local->blobs, &putting->claim);
    enum outcome outcome = blob_create(&local->blobs, BLOB_WHOLE, &putting->claim.blob, &putting->fd, why);
    if (outcome == OUTCOME_OK)
        outcome = disk_write_at(putting->fd, put->content, put->size, 0, "a blob", why);
    FAULT_POINT("put-written");
    if (outcome != OUTCOME_OK)
        put_answer(putting, outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome, 0);
}

static void put_sync(struct local *local, struct putting *putting)
{
    enum outcome outcome = blob_sync(&local->blobs, BLOB_WHOLE, &putting->claim.blob, putting->fd,
                                     &putting->answer->why);
    FAULT_POINT("put-synced");
    if (outcome != OUTCOME_OK)
        put_answer(putting, outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome, 0);
}

/* Those above `most` bytes. All are written before the first is waited for: the disk has them side by side. */
static void put_blobs(struct local *local, struct putting *puttings, size_t count, size_t most)
{
    for (size_t i = 0; i < count; i++) {
        if (!puttings[i].answered && puttings[i].put->size > most)
            put_look(local, &puttings[i]);
        if (!puttings[i].answered && puttings[i].put->size > most)
            put_write(local, &puttings[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (!puttings[i].answered && has_blob(&puttings[i]))
            put_sync(local, &puttings[i]);
        if (puttings[i].fd >= 0)
            close(puttings[i].fd);
    }
}

static void put_release(struct local *local, struct putting *putting)
{
    enum outcome outcome = putting->answer->outcome;
    if (!has_blob(putting))
        return;
    /* UNKNOWN: a row may name it; the sweep finds out. */
    bool left = outcome == OUTCOME_UNKNOWN;
    if (!left && (outcome != OUTCOME_OK || putting->repeated))
        left = blob_remove(&local->blobs, BLOB_WHOLE, &putting->claim.blob, NULL) != OUTCOME_OK;
    if (left)
        leftover_note(local, BLOB_WHOLE, &putting->claim.blob);
    blob_release(&local->blobs, &putting->claim);
}

/* ---- the acts ---- */

static enum outcome put_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct putting *putting = argument;
    struct publishing publishing;
    publishing_of(putting, &publishing);
    enum outcome outcome = publish_run(local, db, &publishing, why);
    putting->repeated = publishing.repeated;
    putting->answer->arrival = publishing.entry.arrival;
    return outcome;
}

void put_each(struct local *local, struct putting *puttings, struct writer_act *acts, size_t count)
{
    size_t left = 0;
    for (size_t i = 0; i < count; i++)
        if (!puttings[i].answered)
            acts[left++] = (struct writer_act){.run = put_run,
                                               .argument = &puttings[i],
                                               .why = &puttings[i].answer->why};
    if (left > 0)
        writer_do_all(&local->writer, acts, left);
    for (size_t i = 0; i < left; i++)
        ((struct putting *)acts[i].argument)->answer->outcome = acts[i].outcome;
    FAULT_POINT("put-committed");
}

/* Bytes of those that are not answered; false: all are. */
static bool put_size(const struct putting *puttings, size_t count, uint64_t *size)
{
    bool any = false;
    *size = 0;
    for (size_t i = 0; i < count; i++) {
        any |= !puttings[i].answered;
        *size += puttings[i].answered ? 0 : puttings[i].put->size;
    }
    return any;
}

/* There is room for `has` bytes of them, and was none for `refused`. */
static void put_share_room(struct local *local, struct putting *puttings, size_t count, uint64_t refused,
                           uint64_t has)
{
    uint64_t so_far = 0;
    for (size_t i = 0; i < count; i++) {
        struct failure why = {0};
        uint64_t needs = so_far + puttings[i].put->size;
        if (puttings[i].answered)
            continue;
        enum outcome outcome = needs >= refused || needs > has ? room_refusal(needs, has, &why)
                                                               : room_make(local, needs, &has, &why);
        if (outcome == OUTCOME_OK) {
            so_far = needs;
            continue;
        }
        put_without_room(local, &puttings[i], outcome, &why);
        refused = needs < refused ? needs : refused;
    }
}

/* For all, or of those in order for as many as there is, or can be made: with no lock and no reader. */
static void put_find_room(struct local *local, struct putting *puttings, size_t count)
{
    uint64_t all, has = 0;
    struct failure why = {0};
    if (!put_size(puttings, count, &all) || room_look(local, all, NULL) == OUTCOME_OK)
        return;
    for (size_t i = 0; i < count; i++)
        if (!puttings[i].answered)
            put_look(local, &puttings[i]); /* who needs no room is to make none */
    if (!put_size(puttings, count, &all))
        return;
    enum outcome outcome = room_make(local, all, &has, &why);
    if (outcome == OUTCOME_NOSPACE)
        put_share_room(local, puttings, count, all, has);
    for (size_t i = 0; i < count && outcome != OUTCOME_OK && outcome != OUTCOME_NOSPACE; i++)
        if (!puttings[i].answered)
            put_without_room(local, &puttings[i], outcome, &why);
}

static void put_all(struct local *local, const struct store_caller *caller, const struct store_put *puts,
                    size_t count, struct store_put_answer *answers, struct putting *puttings,
                    struct writer_act *acts)
{
    struct bundle bundle;
    bool many = count > 1;
    for (size_t i = 0; i < count; i++)
        put_begin(caller, &puts[i], &answers[i], &puttings[i]);
    put_find_room(local, puttings, count);
    put_blobs(local, puttings, count, many ? PART_MAX : INLINE_MAX);
    if (many) {
        bundle_make(local, puttings, count, &bundle);
        bundle_commit(local, &bundle, acts);
        bundle_end(local, &bundle);
    } else {
        put_each(local, puttings, acts, count);
    }
    for (size_t i = 0; i < count; i++)
        put_release(local, &puttings[i]);
}

enum outcome local_put_many(struct store *store, const struct store_caller *caller,
                            const struct store_put *puts, size_t count, struct store_put_answer *answers,
                            struct failure *why)
{
    scoped_free struct putting *puttings = calloc(count + 1, sizeof *puttings);
    scoped_free struct writer_act *acts = calloc(count + 1, sizeof *acts);
    if (!puttings || !acts)
        return failure_set(why, OUTCOME_NOMEM, "no memory for %zu files", count);
    put_all(local_of(store), caller, puts, count, answers, puttings, acts);
    return OUTCOME_OK;
}

enum outcome local_put(struct store *store, const struct store_caller *caller, const struct store_put *put,
                       struct store_entry *out, struct failure *why)
{
    struct store_put_answer answer;
    struct putting putting;
    struct writer_act act;
    put_all(local_of(store), caller, put, 1, &answer, &putting, &act);
    if (answer.outcome != OUTCOME_OK) {
        if (why)
            *why = answer.why;
        return answer.outcome;
    }
    *out = (struct store_entry){.size = put->size,
                                .mtime = put->mtime,
                                .arrival = answer.arrival,
                                .digest = answer.digest,
                                .version = put->op};
    snprintf(out->name, sizeof out->name, "%s", put->name);
    snprintf(out->owner, sizeof out->owner, "%s", caller->principal);
    return OUTCOME_OK;
}
