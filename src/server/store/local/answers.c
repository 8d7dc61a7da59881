#include "server/store/local/answers.h"

#include "server/store/local/entries.h"
#include "server/store/local/timeline.h"

#include <stdlib.h>
#include <string.h>

enum { ANSWERS_MAX = 1000000 };

struct answer_arguments answers_arguments(const struct pack *pack)
{
    return (struct answer_arguments){.digest = digest_of(pack->bytes, pack->count), .failed = pack->failed};
}

static enum outcome answer_copy(struct query *query, struct pack *body, struct failure *why)
{
    size_t count;
    const void *bytes = column_blob(query, &count);
    uint8_t *copy = malloc(count + 1);
    if (!copy)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a kept answer");
    if (count > 0)
        memcpy(copy, bytes, count);
    *body = (struct pack){.bytes = copy, .count = count, .room = count + 1};
    return OUTCOME_OK;
}

/* Whether what was found under the key's id is its act. */
static enum outcome answer_is_of(const struct answer_key *key, int64_t act,
                                 const struct digest_value *arguments, const char *principal,
                                 struct failure *why)
{
    if (strcmp(principal, key->caller->principal) != 0)
        return failure_set(why, OUTCOME_INVALID, "this id was used by another caller");
    if (act != (int64_t)key->act || memcmp(arguments, &key->arguments.digest, sizeof *arguments) != 0)
        return failure_set(why, OUTCOME_INVALID, "this id was used for another act");
    return OUTCOME_OK;
}

/* Among those that stand for themselves. */
static enum outcome find_kept(struct database *db, const struct answer_key *key, struct pack *body,
                              struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT act, arguments, body, principal.name FROM answer JOIN principal"
            " ON principal.id = answer.principal WHERE answer.id = ?");
    bind_id(&q, key->id);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    int64_t act = column_int(&q);
    struct digest_value arguments;
    column_digest(&q, &arguments);
    scoped_pack struct pack found = {0};
    outcome = answer_copy(&q, &found, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    char principal[STORE_PRINCIPAL_SIZE];
    column_text(&q, principal, sizeof principal);
    outcome = answer_is_of(key, act, &arguments, principal, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    *body = found;
    found = (struct pack){0};
    return OUTCOME_OK;
}

static enum outcome find_entry(struct database *db, const struct answer_key *key, struct pack *body,
                               struct failure *why)
{
    struct digest_value arguments;
    struct store_entry entry;
    scoped_query struct query q = query_on(db, "SELECT act, arguments, " ENTRY_COLUMNS
                                               " FROM entry WHERE version = ?");
    bind_id(&q, key->id);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    int64_t act = column_int(&q);
    column_digest(&q, &arguments);
    entry_take(&q, &entry);
    outcome = answer_is_of(key, act, &arguments, entry.owner, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_pack struct pack found = {0};
    pack_entry(&found, &entry);
    if (found.failed)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a kept answer");
    *body = found;
    found = (struct pack){0};
    return OUTCOME_OK;
}

/* A version that is only kept: what its act was answered is forgotten, its id is not free yet. */
static enum outcome find_version(struct database *db, const struct id *id, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT 1 FROM kept WHERE version = ?");
    bind_id(&q, id);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        return failure_set(why, OUTCOME_INVALID, "this id was used for another act");
    return outcome;
}

enum outcome answers_find(struct database *db, const struct answer_key *key, struct pack *body,
                          struct failure *why)
{
    if (key->arguments.failed)
        return failure_set(why, OUTCOME_NOMEM, "no memory for an act's arguments");
    enum outcome outcome = find_kept(db, key, body, why);
    if (outcome == OUTCOME_ABSENT)
        outcome = find_entry(db, key, body, why);
    return outcome == OUTCOME_ABSENT ? find_version(db, key->id, why) : outcome;
}

struct payer {
    int64_t row;
    int64_t answers; /* kept of theirs */
};

static enum outcome payer_find(struct database *db, const char *name, struct payer *out, struct failure *why)
{
    {
        scoped_query struct query q = query_on(db, "SELECT id, answers FROM principal WHERE name = ?");
        bind_text(&q, name);
        enum outcome outcome = query_row(&q, why);
        if (outcome == OUTCOME_OK) {
            out->row = column_int(&q);
            out->answers = column_int(&q);
        }
        if (outcome != OUTCOME_ABSENT)
            return outcome;
    }
    scoped_query struct query q = query_on(db, "INSERT INTO principal (name) VALUES (?)");
    bind_text(&q, name);
    enum outcome outcome = query_run(&q, why);
    if (outcome == OUTCOME_OK)
        *out = (struct payer){.row = database_last_row(db)};
    return outcome;
}

enum outcome answers_principal(struct database *db, const char *name, int64_t *out, struct failure *why)
{
    struct payer payer;
    enum outcome outcome = payer_find(db, name, &payer, why);
    if (outcome == OUTCOME_OK)
        *out = payer.row;
    return outcome;
}

/* Room for one more: the oldest of a principal go. */
static enum outcome answers_bound(struct database *db, const struct payer *payer, uint32_t limit,
                                  struct failure *why)
{
    if (payer->answers < limit)
        return OUTCOME_OK;
    scoped_query struct query q = query_on(
        db, "DELETE FROM answer WHERE seq IN (SELECT seq FROM answer WHERE principal = ?1 ORDER BY seq"
            " LIMIT max(0, (SELECT answers FROM principal WHERE id = ?1) - ?2 + 1))");
    bind_int(&q, payer->row);
    bind_int(&q, limit);
    return query_run(&q, why);
}

/* Principals can be many: the oldest answers of all go when there are too many of them. `newest` is the last row. */
static enum outcome answers_bound_all(struct database *db, int64_t newest, struct failure *why)
{
    if (newest <= ANSWERS_MAX)
        return OUTCOME_OK;
    scoped_query struct query q = query_on(db, "DELETE FROM answer WHERE seq <= ?");
    bind_int(&q, newest - ANSWERS_MAX);
    return query_run(&q, why);
}

enum outcome answers_keep(struct database *db, const struct answer_key *key, int64_t now,
                          const struct pack *body, uint32_t limit, struct failure *why)
{
    if (body->failed)
        return failure_set(why, OUTCOME_NOMEM, "no memory to keep an answer");
    struct payer payer = {0};
    enum outcome outcome = payer_find(db, key->caller->principal, &payer, why);
    if (outcome == OUTCOME_OK)
        outcome = answers_bound(db, &payer, limit, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    {
        scoped_query struct query q = query_on(db, "INSERT OR FAIL INTO answer (id, principal, act, "
                                                   "arguments, done, body) VALUES (?, ?, ?, ?, ?, ?)");
        bind_id(&q, key->id);
        bind_int(&q, payer.row);
        bind_int(&q, key->act);
        bind_digest(&q, &key->arguments.digest);
        bind_int(&q, now);
        bind_blob(&q, body->bytes, body->count);
        outcome = query_run(&q, why);
    }
    return outcome == OUTCOME_OK ? answers_bound_all(db, database_last_row(db), why) : outcome;
}

/* Of the oldest ones those that are old enough. */
static enum outcome forget_oldest(struct database *db, int64_t before, unsigned limit, uint64_t *removed,
                                  struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "DELETE FROM answer WHERE seq IN (SELECT seq FROM answer ORDER BY seq LIMIT ?) AND done < ?");
    bind_int(&q, limit);
    bind_int(&q, before);
    enum outcome outcome = query_run(&q, why);
    if (outcome == OUTCOME_OK)
        *removed += database_changed(db);
    return outcome;
}

/* They are in the order of time: one look says that there is nothing to do, as there is not most of the time. */
static enum outcome is_any_old(struct database *db, int64_t before, bool *out, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT done FROM answer ORDER BY seq LIMIT 1");
    enum outcome outcome = query_row(&q, why);
    *out = outcome == OUTCOME_OK && column_int(&q) < before;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

enum outcome answers_outlive(struct database *db, const char *name, int64_t now, uint32_t limit,
                             struct failure *why)
{
    scoped_pack struct pack body = {0};
    struct store_entry entry;
    struct answer_key key = {.id = &entry.version};
    int64_t done;
    {
        scoped_query struct query q = query_on(db, "SELECT act, arguments, done, " ENTRY_COLUMNS
                                                   " FROM entry WHERE name = ? AND act <> 0");
        bind_text(&q, name);
        enum outcome outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
        key.act = (enum answer_act)column_int(&q);
        column_digest(&q, &key.arguments.digest);
        done = column_int(&q);
        entry_take(&q, &entry);
    }
    if (done < now - timeline_seconds(STORE_ANSWER_SECONDS))
        return OUTCOME_OK;
    struct store_caller owner = {.principal = entry.owner};
    key.caller = &owner;
    pack_entry(&body, &entry);
    /* A while longer, so that they stay in the order of time. */
    return answers_keep(db, &key, now, &body, limit, why);
}

enum outcome answers_sweep(struct database *db, int64_t before, unsigned limit, uint64_t *removed,
                           struct failure *why)
{
    bool any;
    enum outcome outcome = is_any_old(db, before, &any, why);
    if (outcome == OUTCOME_OK && any)
        outcome = forget_oldest(db, before, limit, removed, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(
        db, "DELETE FROM principal WHERE id IN"
            " (SELECT id FROM principal WHERE answers = 0 AND mailboxes = 0 AND interests = 0 LIMIT 100)");
    return query_run(&q, why);
}
