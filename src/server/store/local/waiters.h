/*
 * waiters: interests as rows, and who of them waits for a name.
 *
 * Exact names are found by an index on the name. Globs are found by their literal
 * prefix: going down from the name in the index of prefixes tells in a few steps
 * which of the name's beginnings are prefixes of any glob.
 *
 * Many globs of one prefix are in memory (crowds.h), and globs that were compiled are
 * kept (compiled.h).
 *
 * A search goes on from a struct waiter_search, in an order that does not change
 * as interests come and go: the exact ones, then prefix by prefix, each in the
 * order of rows. So it may stop anywhere and be taken up in a later transaction.
 *
 * In the writer's turn only (no lock).
 */
#pragma once

#include "server/store/local/compiled.h"
#include "server/store/local/crowds.h"
#include "server/store/local/database.h"
#include "server/store/local/sieve.h"
#include "server/store/store.h"

struct waiter {
    int64_t row, mailbox;
    struct id interest;
    bool glob, every;
    enum store_interest_state state;
    int64_t ends;      /* store time */
    int64_t seen;      /* arrivals up to this number are told, or came before it */
    uint64_t arrivals; /* told */
    uint64_t event;    /* number of the newest of these */
    char pattern[NAME_BUFFER];
};

/* The columns that waiter_take reads, in its order. */
#define WAITER_COLUMNS \
    "id, mailbox, interest, prefix IS NOT NULL, every, state, ends, seen, arrivals, event, pattern"
void waiter_take(struct query *query, struct waiter *out);

enum { PREFIX_WORDS = NAME_BUFFER / 64 };

/* Rows that the next steps of one search will ask for: a query for each would cost more than the row. */
enum { WAITERS_AHEAD = 16 };
struct waiters_ahead {
    uint64_t search; /* whose; 0: nobody's */
    int64_t stage, after;
    unsigned at, count;
    bool last; /* none follow them in this stage */
    struct waiter of[WAITERS_AHEAD];
};

/* All zeros, and crowds_load, to begin with. */
struct waiters {
    struct compiled compiled;
    struct crowds crowds;
    uint64_t searches; /* so far */
    struct waiters_ahead ahead;
};

void waiters_fini(struct waiters *waiters);

/* Whether the waiter's pattern is `name`, or matches it. */
must_check enum outcome waiter_wants(struct waiters *waiters, const struct waiter *waiter, const char *name,
                                     bool *wants, struct failure *why);

struct waiter_search {
    int64_t stage;  /* 0: exact; n + 1: prefixes of n bytes */
    int64_t after;  /* row */
    unsigned looks; /* candidates that may still be looked at */
    /* Of this search alone, made by its first step: no other transaction goes on with it. */
    bool begun;
    uint64_t number;
    uint64_t lengths[PREFIX_WORDS]; /* bit n: some glob's prefix is the first n bytes of the name */
    struct sieve sieve;             /* of the name */
};

/*
 * The next that waits for `name` and has not seen `arrival`. Between two steps of
 * a search only rows that it has given change. ABSENT at the end;
 * LIMIT when its looks are used up (neither is described in `why`).
 */
must_check enum outcome waiter_next(struct waiters *waiters, struct database *db, const char *name,
                                    int64_t arrival, struct waiter_search *search, struct waiter *out,
                                    struct failure *why);
