/*
 * sweep: what is over goes.
 *
 * Each call does a bounded piece of everything: expires interests, drops idle
 * uploads, versions that nobody reads any more, old answers and events, empty
 * mailboxes, and looks through some folders of blobs for those that no row names
 * (all folders once after an open, then once a day; soon, when an act that failed
 * may have left some). One call at a time.
 */
#pragma once

#include "server/store/local/database.h"
#include "server/store/store.h"

#include <pthread.h>
#include <stdatomic.h>

struct sweeping {
    pthread_mutex_t mutex;    /* held for a whole call: before all other locks */
    unsigned shard;           /* next folder to look through */
    int64_t orphans_next_at;  /* store time of the next pass, once one is through, */
    int64_t orphans_again_at; /* and of the soonest, if there are leftovers */
    int64_t condensed;        /* row of the content that was condensed last */
    bool leftovers_noted;     /* as of `leftovers`, and something was committed since */
    atomic_bool leftovers;    /* set by anybody, without the mutex: sweep_leftovers */
};

/*
 * An act failed whose content nobody names, or which a commit in doubt names: the orphans are looked for soon, but not before
 * something was committed after it. Any thread, before the content's claim is released.
 */
void sweep_leftovers(struct sweeping *sweeping);

/* Whether a row names the blob. */
must_check enum outcome sweep_blob_is_named(struct database *db, const struct id *blob, bool *named,
                                            struct failure *why);

/* The acts. */
enum outcome local_sweep(struct store *store, struct store_sweep *out, bool *left, int64_t *next_due,
                         struct failure *why) must_check;
