#include "server/store/local/waiters.h"

#include <stdlib.h>
#include <string.h>

enum { GLOB_CACHE_BYTES = 16 << 20 };

void waiter_take(struct query *query, struct waiter *out)
{
    out->row = column_int(query);
    out->mailbox = column_int(query);
    out->interest = column_id(query);
    out->glob = column_int(query) != 0;
    out->every = column_int(query) != 0;
    out->state = (enum store_interest_state)column_int(query);
    out->ends = column_int(query);
    out->seen = column_int(query);
    out->arrivals = (uint64_t)column_int(query);
    out->event = (uint64_t)column_int(query);
    column_text(query, out->pattern, sizeof out->pattern);
}

/* ---- prefixes ---- */

static void note_length(struct waiters *waiters, size_t length)
{
    waiters->prefixes[length / 64] |= UINT64_C(1) << (length % 64);
}

void waiters_note_prefix(struct waiters *waiters, const char *prefix)
{
    note_length(waiters, strlen(prefix));
}

enum outcome waiters_load(struct waiters *waiters, struct database *db, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT DISTINCT length(CAST(prefix AS BLOB)) FROM interest"
                                               " WHERE state = 0 AND prefix IS NOT NULL");
    enum outcome outcome = query_row(&q, why);
    while (outcome == OUTCOME_OK) {
        int64_t length = column_int(&q);
        if (length >= 0 && length < NAME_BUFFER)
            note_length(waiters, (size_t)length);
        outcome = query_row(&q, why);
    }
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

/* The least length of prefixes from `length` on that there is, up to `most`; NAME_BUFFER if there is none. */
static size_t next_length(const struct waiters *waiters, size_t length, size_t most)
{
    for (; length <= most; length++) {
        uint64_t word = waiters->prefixes[length / 64] >> (length % 64);
        if (word & 1)
            return length;
        if (word == 0)
            length |= 63;
    }
    return NAME_BUFFER;
}

/* ---- compiled globs ---- */

static size_t hash_of(const char *pattern)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (; *pattern; pattern++)
        hash = (hash ^ (unsigned char)*pattern) * UINT64_C(0x100000001b3);
    return (hash ^ hash >> 29) % GLOB_SLOTS;
}

/* What a compiled glob may take: its masks grow with the square of its length. */
static size_t cost_of(const char *pattern)
{
    size_t size = strlen(pattern);
    return 1024 + size * size / 4;
}

static void slot_clear(struct waiters *waiters, size_t slot)
{
    if (waiters->slots[slot].pattern)
        waiters->cached -= cost_of(waiters->slots[slot].pattern);
    free(waiters->slots[slot].pattern);
    glob_free(waiters->slots[slot].glob);
    waiters->slots[slot].pattern = NULL;
    waiters->slots[slot].glob = NULL;
}

void waiters_fini(struct waiters *waiters)
{
    for (size_t slot = 0; slot < GLOB_SLOTS; slot++)
        slot_clear(waiters, slot);
}

static enum outcome glob_of(struct waiters *waiters, const char *pattern, const struct glob **out,
                            struct failure *why)
{
    size_t slot = hash_of(pattern);
    if (!waiters->slots[slot].pattern || strcmp(waiters->slots[slot].pattern, pattern) != 0) {
        if (waiters->cached + cost_of(pattern) > GLOB_CACHE_BYTES)
            waiters_fini(waiters);
        slot_clear(waiters, slot);
        enum outcome outcome = glob_new(pattern, &waiters->slots[slot].glob, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        waiters->slots[slot].pattern = strdup(pattern);
        if (!waiters->slots[slot].pattern) {
            slot_clear(waiters, slot);
            return failure_set(why, OUTCOME_NOMEM, "no memory for a glob");
        }
        waiters->cached += cost_of(pattern);
    }
    *out = waiters->slots[slot].glob;
    return OUTCOME_OK;
}

enum outcome waiter_wants(struct waiters *waiters, const struct waiter *waiter, const char *name, bool *wants,
                          struct failure *why)
{
    if (!waiter->glob) {
        *wants = strcmp(waiter->pattern, name) == 0;
        return OUTCOME_OK;
    }
    const struct glob *glob = NULL;
    enum outcome outcome = glob_of(waiters, waiter->pattern, &glob, why);
    if (outcome == OUTCOME_OK)
        *wants = glob_match(glob, name);
    return outcome;
}

/* ---- searching ---- */

static struct query stage_query(struct database *db, const char *name, int64_t arrival,
                                const struct waiter_search *search, char key[NAME_BUFFER])
{
    /* A glob's prefix never ends within a character of a name it matches; a key that does finds nothing. */
    size_t length = search->stage > 0 ? (size_t)search->stage - 1 : strlen(name);
    memcpy(key, name, length);
    key[length] = 0;
    struct query q = search->stage == 0
                         ? query_on(db, "SELECT " WAITER_COLUMNS
                                        " FROM interest WHERE pattern = ? AND prefix IS NULL AND state = 0"
                                        " AND id > ? AND seen < ? ORDER BY id")
                         : query_on(db, "SELECT " WAITER_COLUMNS
                                        " FROM interest WHERE prefix = ? AND prefix IS NOT NULL"
                                        " AND state = 0 AND id > ? AND seen < ? ORDER BY id");
    bind_text(&q, key);
    bind_int(&q, search->after);
    bind_int(&q, arrival);
    return q;
}

/* Within one stage. ABSENT at its end. */
static enum outcome stage_next(struct waiters *waiters, struct database *db, const char *name,
                               int64_t arrival, struct waiter_search *search, struct waiter *out,
                               struct failure *why)
{
    char key[NAME_BUFFER];
    scoped_query struct query q = stage_query(db, name, arrival, search, key);
    for (;;) {
        enum outcome outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (search->looks == 0)
            return OUTCOME_LIMIT;
        search->looks--;
        waiter_take(&q, out);
        bool wants = false;
        outcome = waiter_wants(waiters, out, name, &wants, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        search->after = out->row;
        if (wants)
            return OUTCOME_OK;
    }
}

enum outcome waiter_next(struct waiters *waiters, struct database *db, const char *name, int64_t arrival,
                         struct waiter_search *search, struct waiter *out, struct failure *why)
{
    size_t name_size = strlen(name);
    for (;;) {
        enum outcome outcome = stage_next(waiters, db, name, arrival, search, out, why);
        if (outcome != OUTCOME_ABSENT)
            return outcome;
        size_t next = next_length(waiters, (size_t)search->stage, name_size);
        if (next == NAME_BUFFER)
            return OUTCOME_ABSENT;
        search->stage = (int64_t)next + 1;
        search->after = 0;
    }
}
