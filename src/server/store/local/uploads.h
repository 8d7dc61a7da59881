/*
 * uploads: content on its way in.
 *
 * A live upload is a struct upload in a table, a file in incoming/ and a row of
 * the database. The row says how far the bytes are durable (synced); it is
 * written at the start, then every UPLOAD_SYNC bytes, and at a graceful close.
 * After a crash of the machine the upload goes on from there: the file is cut to
 * it. After one of the server alone, on the same run of the machine, all that was
 * written is there, be it in the kernel's memory. The digest of what is held is
 * computed anew at the first call.
 *
 *     LIVE --publish--> (settled: the file is whole, its row not yet known to be
 *     committed) --> DEAD;  LIVE --abort, idle--> DEAD
 *
 * A DEAD one is out of the table and goes when the last who holds it gives it
 * back. upload_write costs no memory and mostly no SQL: a look-up, one pwrite and
 * the digest.
 *
 * A piece may come before its turn (upload_write.c): it is written to its place, and only that it is there is kept in
 * memory, in `ahead`: 1 KiB an upload, made when its first such piece comes. Who closes the gap moves `held` over what
 * touches, and reads it back for the digest: STORE_AHEAD_MAX at most. What is ahead counts for nothing else: not in
 * the row, not in OPEN (which forgets it), not in publish (which cuts the file to what is held), nor after a restart.
 * Since the size of the file then no longer says what is held, the file is marked before (blob_mark); of a marked one
 * a restart takes what is sure to be held: all but the last STORE_AHEAD_MAX bytes, or what the row says.
 *
 * Descriptors of uploads are bounded (UPLOADS_OPEN_MAX): of the others
 * the file is opened again when bytes come.
 *
 * Locks: an upload's own, then the writer's or a leaf. The table's is a leaf
 * (under it an upload's is only tried, never waited for).
 */
#pragma once

#include "base/clock.h"
#include "base/digest.h"
#include "server/store/local/blobs.h"
#include "server/store/local/extents.h"
#include "server/store/store.h"

#include <pthread.h>
#include <stdatomic.h>

enum { UPLOAD_BUCKETS = 1024, UPLOADS_OPEN_MAX = 64 };

/* How far a row may be behind in when its upload was last touched. */
#define UPLOAD_NOTE_EVERY (6 * (int64_t)CLOCK_SECOND)

struct upload {
    /* fixed once it is in the table */
    struct id id;
    char owner[STORE_PRINCIPAL_SIZE];
    char name[NAME_BUFFER];
    struct store_condition condition;
    bool size_known;
    uint64_t size;
    struct blob_claim claim; /* its blob's id */

    /* under the table's lock */
    struct list bucket;
    struct list recent; /* in the table's, while fd is open */
    unsigned held_by;   /* references; the table's is one */

    _Atomic int64_t touched; /* store time of the last call */
    _Atomic int64_t noted;   /* the same as its row knows it */
    _Atomic uint64_t held;   /* bytes; changed under the mutex */
    _Atomic uint64_t beyond; /* bytes that are ahead; the same */

    pthread_mutex_t mutex; /* guards what follows; held for the length of a call */
    bool dead;
    bool settled;
    bool moved;            /* it was to be settled: its file may be among the blobs */
    bool broken;           /* the disk refused a sync: what is held cannot be trusted */
    int fd;                /* -1: not open */
    struct digest *digest; /* of [0, held); NULL until it is needed */
    struct extents *ahead; /* what is written beyond held; NULL until there was any */
    uint64_t started;      /* write-back was started up to here */
    uint64_t synced;       /* as in its row */
    int64_t synced_at;
};

struct uploads {
    pthread_mutex_t mutex;
    struct list buckets[UPLOAD_BUCKETS];
    struct list recent; /* those with an open file, oldest first */
    unsigned count, open;
};

struct local;
struct database;

void uploads_init(struct uploads *uploads);
/* Takes up what an earlier run left: rows with their files; files without rows are removed. */
must_check enum outcome uploads_recover(struct local *local, struct database *db, struct failure *why);
/* Removes files in incoming/ that no upload names: of uploads that ended, or never were begun. */
must_check enum outcome uploads_sweep_strays(struct local *local, struct failure *why);
/* Before the writer stops: every upload's bytes are synced and its row says so, as far as that works. */
void uploads_park(struct local *local);
void uploads_fini(struct local *local);

/* The live upload of that id, held by the caller, or NULL. Given back by upload_give. */
struct upload *uploads_take(struct uploads *uploads, const struct id *id);
void upload_give(struct local *local, struct upload *upload);
/* A new one, empty, in no table; NULL when there is no memory. */
struct upload *upload_new(const struct id *id, const char *owner, const char *name);

/* Any live upload that was touched before `before`, or NULL; as uploads_take. */
struct upload *uploads_take_idle(struct uploads *uploads, int64_t before);
unsigned uploads_count(struct uploads *uploads);
/* Bytes that are still to come of those whose size is known. */
uint64_t uploads_promised(struct uploads *uploads);
/* Adds one, held by the caller too; LIMIT, or HELD if the id is in the table already. */
must_check enum outcome uploads_add(struct uploads *uploads, const struct store_limits *limits,
                                    struct upload *upload, struct failure *why);
void uploads_remove(struct uploads *uploads, struct upload *upload);
/* With the upload's lock: its open file counts from now on, or was used again; another may lose its own. */
void uploads_opened(struct uploads *uploads, struct upload *upload);
void upload_close(struct uploads *uploads, struct upload *upload);

/* With the upload's lock: its file and digest are ready for use. */
must_check enum outcome upload_ready(struct local *local, struct upload *upload, struct failure *why);
/* With its lock: what is held becomes durable, and the row says so. */
must_check enum outcome upload_record(struct local *local, struct upload *upload, struct failure *why);
/* With its lock: only what is held is there any more. */
void upload_forget_ahead(struct upload *upload);
/* It was called for. Its row knows it within seconds, so that after a crash none is taken for idle that was not. */
void upload_touch(struct local *local, struct upload *upload);
/* With its lock: out of the table; the file is removed unless it is settled. Its row is the caller's affair. */
void upload_end(struct local *local, struct upload *upload);
/* With its lock: given up, with its row; OK if it is dead already. */
must_check enum outcome upload_drop(struct local *local, struct upload *upload, struct failure *why);

/* The acts. */
enum outcome local_upload_begin(struct store *store, const struct store_caller *caller,
                                const struct store_upload_begin *begin, struct store_upload_state *out,
                                struct failure *why) must_check;
enum outcome local_upload_write(struct store *store, const struct store_caller *caller,
                                const struct id *upload, uint64_t offset, const void *bytes, size_t count,
                                uint64_t *held, struct failure *why) must_check;
enum outcome local_upload_abort(struct store *store, const struct store_caller *caller,
                                const struct id *upload, struct failure *why) must_check;
