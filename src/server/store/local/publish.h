/*
 * publish: a name gets a new version.
 *
 * Bytes first, facts second, news third. The bytes are durable before the act
 * goes to the writer: in a blob (file and folders synced), or, up to INLINE_MAX,
 * in the database itself, so that one commit is all that a small file costs.
 * Then one transaction: the old version becomes a kept one, the entry, its row
 * in the outbox if anybody may wait for it, and the answer. Fan_out is the news.
 *
 * A crash before the commit leaves at most a blob that no row names.
 */
#pragma once

#include "server/store/local/answers.h"
#include "server/store/local/database.h"
#include "server/store/store.h"

enum { INLINE_MAX = 16384 };

struct local;

struct publish_content {
    enum { CONTENT_INLINE, CONTENT_BLOB, CONTENT_SAME, CONTENT_PART } kind;
    const void *bytes; /* INLINE */
    struct id blob;    /* BLOB */
    int64_t row;       /* SAME: another version's content; PART: that of many */
    int64_t place;     /* PART: where it begins there; its uses are for its maker to count */
};

/*
 * What publishes need of the store's own row, and add to it: read once in a
 * transaction, before the first of an act, and written once, after its last.
 */
struct tally {
    int64_t arrivals;     /* number of the newest */
    int64_t files, bytes; /* made since it was read */
    bool awaited;         /* somebody waits for something */
    bool past;            /* there are answers, or versions that are only kept */
};
must_check enum outcome tally_begin(struct database *db, struct tally *tally, struct failure *why);
must_check enum outcome tally_end(struct database *db, const struct tally *tally, struct failure *why);

/*
 * What stands in the way of a publish under `name`: EXISTS, DENIED, CHANGED;
 * OK if nothing does. Also on a reader's connection, as a first look.
 */
must_check enum outcome publish_check(struct database *db, const struct store_caller *caller,
                                      const char *name, const struct store_condition *condition,
                                      struct failure *why);

/*
 * In a transaction, after answers_find and publish_check: the entry, whose
 * `arrival` is filled in. With a `key` the entry is the act's answer, too.
 */
must_check enum outcome publish_make(struct local *local, struct database *db, struct store_entry *entry,
                                     const struct publish_content *content, const struct answer_key *key,
                                     struct tally *tally, struct failure *why);

/* In a transaction: the newest version of `name` becomes a kept one. */
must_check enum outcome publish_retire(struct local *local, struct database *db, const char *name,
                                       struct failure *why);

/* One publish, whatever its content came by. */
struct publishing {
    struct answer_key key;
    struct store_condition condition;
    struct publish_content content;
    const struct id *upload;  /* its row goes; NULL for a put */
    struct store_entry entry; /* in: what is to be made; out: what was */
    bool repeated;            /* it had been done before */
};

/* In the writer's turn: `argument` is a struct publishing. */
must_check enum outcome publish_run(struct local *local, struct database *db, void *argument,
                                    struct failure *why);
/*
 * The same as one of many: between tally_begin and tally_end. *refused: it stands as it was before, nothing was
 * changed for it; else an answer that is not OK is a failure halfway.
 */
must_check enum outcome publish_one(struct local *local, struct database *db, struct publishing *publishing,
                                    struct tally *tally, bool *refused, struct failure *why);

/* A first look without the writer: OK if it was done (then *out is its answer), ABSENT if nothing is in the way. */
must_check enum outcome publish_look(struct local *local, const struct publishing *publishing,
                                     struct store_entry *out, struct failure *why);

/* The acts: publish.c, put.c. */
enum outcome local_publish(struct store *store, const struct store_caller *caller,
                           const struct store_publish *publish, struct store_entry *out, struct failure *why)
    must_check;
enum outcome local_put_many(struct store *store, const struct store_caller *caller,
                            const struct store_put *puts, size_t count, struct store_put_answer *answers,
                            struct failure *why) must_check;
enum outcome local_put(struct store *store, const struct store_caller *caller, const struct store_put *put,
                       struct store_entry *out, struct failure *why) must_check;
