#include "server/store/local/waiters.h"

#include <string.h>

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

void waiters_fini(struct waiters *waiters)
{
    compiled_fini(&waiters->compiled);
    crowds_fini(&waiters->crowds);
}

enum outcome waiter_wants(struct waiters *waiters, const struct waiter *waiter, const char *name, bool *wants,
                          struct failure *why)
{
    if (waiter->glob)
        return compiled_match(&waiters->compiled, waiter->pattern, name, wants, why);
    *wants = strcmp(waiter->pattern, name) == 0;
    return OUTCOME_OK;
}

/* ---- which prefixes the name has ---- */

static void note_length(struct waiter_search *search, size_t length)
{
    search->lengths[length / 64] |= UINT64_C(1) << (length % 64);
}

/* The least length from `length` on; NAME_BUFFER if there is none. */
static size_t next_length(const struct waiter_search *search, size_t length)
{
    for (; length < NAME_BUFFER; length++) {
        uint64_t word = search->lengths[length / 64] >> (length % 64);
        if (word & 1)
            return length;
        if (word == 0)
            length |= 63;
    }
    return NAME_BUFFER;
}

/* The last prefix that any glob has, in the order of bytes, not beyond the key and not empty. ABSENT. */
static enum outcome prefix_before(struct database *db, const char *key, char out[NAME_BUFFER],
                                  struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT prefix FROM interest WHERE prefix <= ? AND prefix > ''"
                                               " AND prefix IS NOT NULL AND state = 0"
                                               " ORDER BY prefix DESC LIMIT 1");
    bind_text(&q, key);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        column_text(&q, out, NAME_BUFFER);
    return outcome;
}

/*
 * The last prefix before the name either begins it, or shares its first bytes
 * with it and no more: then no longer one does, since it would stand between.
 */
static enum outcome find_lengths(struct database *db, const char *name, struct waiter_search *search,
                                 struct failure *why)
{
    char key[NAME_BUFFER], found[NAME_BUFFER];
    size_t size = strlen(name);
    memcpy(key, name, size + 1);
    while (size > 0) {
        enum outcome outcome = prefix_before(db, key, found, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
        size_t common = 0;
        while (common < size && found[common] == name[common])
            common++;
        if (common > 0 && found[common] == 0) {
            note_length(search, common);
            common--;
        }
        size = common;
        key[size] = 0;
    }
    return OUTCOME_OK;
}

static enum outcome search_begin(struct waiters *waiters, struct database *db, const char *name,
                                 struct waiter_search *search, struct failure *why)
{
    search->begun = true;
    search->number = ++waiters->searches;
    search->sieve = sieve_of_name(name);
    memset(search->lengths, 0, sizeof search->lengths);
    if (crowds_has_open(&waiters->crowds))
        note_length(search, 0);
    return find_lengths(db, name, search, why);
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

/* The rows that follow search->after in its stage. */
static enum outcome read_ahead(struct waiters_ahead *ahead, struct database *db, const char *name,
                               int64_t arrival, const struct waiter_search *search, struct failure *why)
{
    char key[NAME_BUFFER];
    scoped_query struct query q = stage_query(db, name, arrival, search, key);
    ahead->search = 0;
    ahead->at = ahead->count = 0;
    enum outcome outcome = query_row(&q, why);
    while (outcome == OUTCOME_OK) {
        waiter_take(&q, &ahead->of[ahead->count++]);
        if (ahead->count == WAITERS_AHEAD)
            break;
        outcome = query_row(&q, why);
    }
    if (outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT)
        return outcome;
    ahead->last = outcome == OUTCOME_ABSENT;
    ahead->search = search->number;
    ahead->stage = search->stage;
    ahead->after = search->after;
    return OUTCOME_OK;
}

/* The next row of the stage, whatever it wants. ABSENT. Borrowed until the next call. */
static enum outcome row_next(struct waiters *waiters, struct database *db, const char *name, int64_t arrival,
                             const struct waiter_search *search, const struct waiter **out,
                             struct failure *why)
{
    struct waiters_ahead *ahead = &waiters->ahead;
    bool ours = ahead->search == search->number && ahead->stage == search->stage &&
                ahead->after == search->after;
    if (!ours || (ahead->at == ahead->count && !ahead->last)) {
        enum outcome outcome = read_ahead(ahead, db, name, arrival, search, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    if (ahead->at == ahead->count)
        return OUTCOME_ABSENT;
    *out = &ahead->of[ahead->at];
    return OUTCOME_OK;
}

/* That row was looked at. */
static void row_pass(struct waiters *waiters, struct waiter_search *search)
{
    struct waiters_ahead *ahead = &waiters->ahead;
    search->after = ahead->after = ahead->of[ahead->at++].row;
}

static bool row_wants(const struct waiter *row, const struct sieve *name)
{
    struct sieve sieve = {0};
    if (row->glob)
        sieve = sieve_of_glob(row->pattern);
    return sieve_passes(&sieve, name);
}

/* Within one stage, by the index. ABSENT at its end. */
static enum outcome index_next(struct waiters *waiters, struct database *db, const char *name,
                               int64_t arrival, struct waiter_search *search, struct waiter *out,
                               struct failure *why)
{
    for (unsigned in_vain = 0;; in_vain++) {
        const struct waiter *row;
        enum outcome outcome = row_next(waiters, db, name, arrival, search, &row, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (search->looks == 0)
            return OUTCOME_LIMIT;
        search->looks--;
        row_pass(waiters, search);
        bool wants = row_wants(row, &search->sieve);
        if (wants)
            outcome = waiter_wants(waiters, row, name, &wants, why);
        if (outcome == OUTCOME_OK && wants)
            *out = *row;
        if (outcome != OUTCOME_OK || wants)
            return outcome;
        if (in_vain == CROWD_LEAST)
            crowds_want(&waiters->crowds, name, search->stage > 0 ? (size_t)search->stage - 1 : strlen(name));
    }
}

/* One of a crowd, as its row is now. ABSENT: it is over, or has seen the arrival. */
static enum outcome crowd_row(struct database *db, int64_t row, const char *prefix, int64_t arrival,
                              struct waiter *out, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT " WAITER_COLUMNS " FROM interest"
                                               " WHERE id = ? AND prefix = ? AND state = 0 AND seen < ?");
    bind_int(&q, row);
    bind_text(&q, prefix);
    bind_int(&q, arrival);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        waiter_take(&q, out);
    return outcome;
}

/* Within one stage, of a crowd. ABSENT at its end. */
static enum outcome crowd_next(struct waiters *waiters, const struct crowd *crowd, struct database *db,
                               const char *name, int64_t arrival, struct waiter_search *search,
                               struct waiter *out, struct failure *why)
{
    for (;;) {
        int64_t row = sieves_next(&crowd->sieves, &search->sieve, search->after);
        if (row == 0)
            return OUTCOME_ABSENT;
        if (search->looks == 0)
            return OUTCOME_LIMIT;
        search->looks--;
        enum outcome outcome = crowd_row(db, row, crowd->prefix, arrival, out, why);
        bool wants = false;
        if (outcome == OUTCOME_OK)
            outcome = waiter_wants(waiters, out, name, &wants, why);
        if (outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT)
            return outcome;
        search->after = row;
        if (wants)
            return OUTCOME_OK;
    }
}

static enum outcome stage_next(struct waiters *waiters, struct database *db, const char *name,
                               int64_t arrival, struct waiter_search *search, struct waiter *out,
                               struct failure *why)
{
    const struct crowd *crowd = search->stage > 0
                                    ? crowds_find(&waiters->crowds, name, (size_t)search->stage - 1)
                                    : NULL;
    return crowd ? crowd_next(waiters, crowd, db, name, arrival, search, out, why)
                 : index_next(waiters, db, name, arrival, search, out, why);
}

enum outcome waiter_next(struct waiters *waiters, struct database *db, const char *name, int64_t arrival,
                         struct waiter_search *search, struct waiter *out, struct failure *why)
{
    enum outcome outcome = search->begun ? OUTCOME_OK : search_begin(waiters, db, name, search, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    for (;;) {
        outcome = stage_next(waiters, db, name, arrival, search, out, why);
        if (outcome != OUTCOME_ABSENT)
            return outcome;
        size_t next = next_length(search, (size_t)search->stage);
        if (next == NAME_BUFFER)
            return OUTCOME_ABSENT;
        search->stage = (int64_t)next + 1;
        search->after = 0;
    }
}
