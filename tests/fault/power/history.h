/*
 * history: a store at work below a recorded folder, and a ledger of what its
 * callers asked and were told, and after how many ops.
 *
 *     history_begin(&history, seed);
 *     history_open(&history);
 *     ... acts, each of which must succeed ...
 *     history_end(&history);      closed; the recording is whole
 *     ... verdict.h ...
 *     history_fini(&history);
 *
 * A name belongs to one thread. Interests, mailboxes, the clock, sweeps, backups
 * and reopening are the main thread's, while no other works; arrivals may come
 * from several threads at once.
 */
#pragma once

#include "fault/power/recording.h"
#include "fault/world.h"

#include "server/store/store.h"

#include <pthread.h>

enum { HISTORY_NAME = 24, HISTORY_DEEDS = 16384, HISTORY_LIVE = 16, MAILBOXES = 3 };

enum deed_kind {
    DEED_PUT,     /* id (the op's), name, size, bytes, replace */
    DEED_BEGIN,   /* id (the upload's), name, size, bytes, replace */
    DEED_WRITE,   /* id, offset, count */
    DEED_PUBLISH, /* id, name, size, bytes */
    DEED_ABORT,   /* id */
    DEED_REMOVE,  /* id, name */
    DEED_RENAME,  /* id, name, to; size and digest of the content */
    DEED_ADD,     /* mailbox, interest, name: the pattern, seconds, glob, every */
    DEED_RENEW,   /* id, mailbox, interest, seconds */
    DEED_DROP,    /* id, mailbox, interest */
    DEED_EVENTS,  /* mailbox, number: acknowledged up to there */
    DEED_DONE,    /* the same, of a claim */
    DEED_SWEEP,
    DEED_BACKUP, /* name: of the folder */
    DEED_REPAIR,
    DEED_OPEN,
    DEED_CLOSE,
};

#define NEVER SIZE_MAX

struct deed {
    enum deed_kind kind;
    size_t begun, told; /* after how many ops; told: NEVER until it was */
    int64_t wall;
    struct id id, interest;
    unsigned mailbox;
    char name[HISTORY_NAME], to[HISTORY_NAME];
    size_t size;
    const uint8_t *bytes; /* the content; its first deed's */
    bool owns_bytes;
    struct digest_value digest;
    bool replace, glob, every;
    uint32_t seconds;
    uint64_t offset, count, number;
    int64_t arrival; /* as it was told */
};

/* An event that was told. */
struct told {
    size_t when; /* ops */
    unsigned mailbox;
    uint64_t number;
    enum store_event_kind kind;
    struct id interest, version;
};

/* An event that `deed` makes due, once it is told or found done. */
struct owed {
    const struct deed *deed;
    unsigned mailbox;
    enum store_event_kind kind;
    struct id interest, version;
};

struct history {
    struct recording recording;
    char folder[64]; /* holds "store", and backups */
    struct clock clock;
    struct store_limits limits;
    struct store *store;
    struct id mailboxes[MAILBOXES];
    struct dice dice;

    pthread_mutex_t mutex; /* guards what follows, while threads work */
    struct deed *deeds;
    size_t deed_count;
    struct told *tolds;
    size_t told_count;
    struct owed *oweds;
    size_t owed_count;
    const struct deed *live[HISTORY_LIVE]; /* interests (their ADD) that wait */
};

extern const struct store_caller history_caller;

void history_begin(struct history *history, uint64_t seed);
void history_end(struct history *history);
void history_fini(struct history *history);

/* As its options; `folder` is the store's own. */
enum outcome history_open_at(const struct history *history, const char *folder, const struct clock *clock,
                             struct store **out, struct failure *why);
void history_open(struct history *history);
void history_close(struct history *history);
/* A step of the clock, without end of anything before the next sweep. */
void history_step(struct history *history, unsigned seconds);

/* A deed that begins now, and one that was told just now. */
struct deed *deed_begin(struct history *history, enum deed_kind kind, const char *name);
void deed_told(struct history *history, struct deed *deed);

/* The same deed again, as a client does that was not told; OK is the only right answer. */
enum outcome deed_do(const struct history *history, struct store *store, struct deed *deed,
                     struct failure *why);
bool deed_is_arrival(const struct deed *deed);

const struct deed *history_put(struct history *history, const char *name, size_t size, bool replace);
/* At most 16, in one act; they may be there. What made each, into `out`. */
void history_put_many(struct history *history, const char *const *names, size_t count, size_t size,
                      const struct deed **out);
struct deed *history_upload(struct history *history, const char *name, size_t size, bool replace);
void history_write(struct history *history, struct deed *upload, uint64_t offset, size_t count);
const struct deed *history_publish(struct history *history, const struct deed *upload);
void history_abort(struct history *history, const struct deed *upload);
void history_remove(struct history *history, const char *name);
const struct deed *history_rename(struct history *history, const struct deed *source, const char *name,
                                  const char *to, bool replace);
const struct deed *history_add(struct history *history, unsigned mailbox, const char *pattern, bool every,
                               uint32_t seconds);
void history_renew(struct history *history, const struct deed *interest, uint32_t seconds);
void history_drop(struct history *history, const struct deed *interest);
/* Reads the mailbox's events, having acknowledged what was read of it before. */
void history_events(struct history *history, unsigned mailbox);
/* The same by way of a route and a claim. */
void history_deliver(struct history *history, unsigned mailbox);
void history_sweep(struct history *history);
void history_backup(struct history *history, const char *name, bool copy);
