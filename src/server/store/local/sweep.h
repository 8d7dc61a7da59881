/*
 * sweep: what is over goes.
 *
 * Each call does a bounded piece of everything: expires interests, drops idle
 * uploads, versions that nobody reads any more, old answers and events, empty
 * mailboxes, what acts that failed left over (leftovers.h), and looks through some
 * folders of blobs for those that no row names (all folders once after an open,
 * then once a day). One call at a time.
 */
#pragma once

#include "server/store/local/database.h"
#include "server/store/store.h"

#include <pthread.h>
#include <stdatomic.h>

struct local;

struct sweeping {
    pthread_mutex_t
        mutex;      /* held for a whole call, and while room is made (room.h): before all other locks */
    unsigned shard; /* next folder to look through */
    int64_t orphans_next_at;  /* store time of the next pass, once one is through, */
    int64_t orphans_again_at; /* and of the soonest, if there are too many leftovers */
    int64_t condensed;        /* row of the content that was condensed last */
    atomic_bool looking;      /* a pass is not through yet, or due; read by anybody */
};

/* When the store is closed: what is left over goes, if it can. */
void sweep_last(struct local *local);

/* Whether a row names the blob. */
must_check enum outcome sweep_blob_is_named(struct database *db, const struct id *blob, bool *named,
                                            struct failure *why);

/* The acts. */
enum outcome local_sweep(struct store *store, struct store_sweep *out, bool *left, int64_t *next_due,
                         struct failure *why) must_check;
