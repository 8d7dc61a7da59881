/*
 * answers: what an act was answered, kept with the act.
 *
 * Every act that writes asks answers_find first, inside its transaction: OK
 * means that it was done before, and gives its answer. Else it does its work
 * and hands the answer to answers_keep, in the same transaction. Only acts that
 * were done are kept: a refused one may be tried again.
 *
 * Of an upload the entry that it made is the answer, as long as that is there:
 * it has the act's id as its version, and its arguments and time beside. So an
 * upload writes no answer; who takes the entry away does (answers_outlive).
 *
 * They are forgotten after STORE_ANSWER_SECONDS, or when their principal has
 * more than limits.answers_per_principal, or when all of them have more than a
 * million; the oldest goes first. Entries neither count for that, nor go.
 */
#pragma once

#include "base/digest.h"
#include "server/store/local/database.h"
#include "server/store/local/packing.h"
#include "server/store/store.h"

/* Numbers that stand in the database. */
enum answer_act {
    ANSWER_FILE = 1,
    ANSWER_REMOVE,
    ANSWER_RENAME,
    ANSWER_INTEREST,
    ANSWER_RENEW,
    ANSWER_DROP,
    ANSWER_UPLOAD
};

/* What tells two acts under one id apart. Zeros: nothing does. */
struct answer_arguments {
    struct digest_value digest;
    bool failed; /* there was no memory to gather them: the act cannot be done */
};

struct answer_key {
    const struct id *id;
    const struct store_caller *caller;
    enum answer_act act;
    struct answer_arguments arguments;
};

/*
 * OK: it was done; *body is its answer, to be freed with pack_fini. ABSENT: it
 * was not (`why` is left alone). INVALID: the id is another act's or principal's.
 * NOMEM also if the key's arguments have failed.
 */
must_check enum outcome answers_find(struct database *db, const struct answer_key *key, struct pack *body,
                                     struct failure *why);

/* `limit` is limits.answers_per_principal. */
must_check enum outcome answers_keep(struct database *db, const struct answer_key *key, int64_t now,
                                     const struct pack *body, uint32_t limit, struct failure *why);

/* What an entry answers is kept as an answer of its own: in the transaction that takes it away, before it does. */
must_check enum outcome answers_outlive(struct database *db, const char *name, int64_t now, uint32_t limit,
                                        struct failure *why);

/* The principal's row, made if missing. */
must_check enum outcome answers_principal(struct database *db, const char *name, int64_t *out,
                                          struct failure *why);

/* Forgets those done before `before`, at most `limit`, and principals of which nothing is left. */
must_check enum outcome answers_sweep(struct database *db, int64_t before, unsigned limit, uint64_t *removed,
                                      struct failure *why);

/* Gathers arguments into the digest of a key: put what tells two acts apart into a pack. */
struct answer_arguments answers_arguments(const struct pack *pack);
