/*
 * waiters: interests as rows, and who of them waits for a name.
 *
 * Exact names are found by an index on the name; globs by their literal prefix,
 * one look-up for each length of prefix that any glob has; those that begin with
 * a wildcard have an empty one and are matched one by one. Compiled globs are
 * cached, within a bound of memory.
 *
 * A search goes on from a struct waiter_search, in an order that does not change
 * as interests come and go: the exact ones, then prefix by prefix, each in the
 * order of rows. So it may stop anywhere and be taken up in a later transaction.
 *
 * On the writer's thread only (the cache has no lock).
 */
#pragma once

#include "base/glob.h"
#include "server/store/local/database.h"
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

enum { GLOB_SLOTS = 8192, PREFIX_WORDS = NAME_BUFFER / 64 };

struct waiters {
    struct {
        char *pattern;
        struct glob *glob;
    } slots[GLOB_SLOTS];
    size_t cached;                   /* bytes, about */
    uint64_t prefixes[PREFIX_WORDS]; /* bit n: some glob has a prefix of n bytes, or had */
};

/* *waiters is all zeros before. Reads which lengths of prefixes there are. */
must_check enum outcome waiters_load(struct waiters *waiters, struct database *db, struct failure *why);
void waiters_fini(struct waiters *waiters);
/* A glob with this literal prefix is about to be written. */
void waiters_note_prefix(struct waiters *waiters, const char *prefix);

/* Whether the waiter's pattern is `name`, or matches it. */
must_check enum outcome waiter_wants(struct waiters *waiters, const struct waiter *waiter, const char *name,
                                     bool *wants, struct failure *why);

struct waiter_search {
    int64_t stage;  /* 0: exact; n + 1: prefixes of n bytes */
    int64_t after;  /* row */
    unsigned looks; /* candidates that may still be looked at */
};

/*
 * The next that waits for `name` and has not seen `arrival`. ABSENT at the end;
 * LIMIT when its looks are used up (neither is described in `why`).
 */
must_check enum outcome waiter_next(struct waiters *waiters, struct database *db, const char *name,
                                    int64_t arrival, struct waiter_search *search, struct waiter *out,
                                    struct failure *why);
