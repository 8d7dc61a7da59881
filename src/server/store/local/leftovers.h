/*
 * leftovers: content that may be left over from acts that failed.
 *
 * A file that could not be removed, and one that a commit in doubt names: that one may stand in the log all the
 * same, with its rows, and the next open would find it. Something that is committed after it takes its place
 * there; only then is its content an orphan.
 *
 *     leftover_note (any thread, before the content's claim is released)
 *       -> leftovers_write_over (in the writer's turn), committed
 *       -> leftovers_sweep: what nobody claims or names is removed; what cannot be is tried again
 *
 * The sweep does the last two, upkeep's every two seconds, and once more when the store is closed. What was not
 * removed then, and what a crash left, the next open finds among all blobs (sweep.h).
 */
#pragma once

#include "server/store/local/blobs.h"
#include "server/store/local/database.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

enum { LEFTOVERS_MAX = 64 };

struct leftover {
    enum blob_place place;
    struct id blob;
};

struct leftovers {
    /* the sweep's, with its lock */
    size_t written_over; /* so many of them, the first */
    bool look_through;   /* there were more: all folders are to be looked through */

    pthread_mutex_t mutex; /* guards what follows; a leaf */
    struct leftover noted[LEFTOVERS_MAX];
    size_t count;
    bool too_many; /* for the list, since something was written over them */
};

struct local;

void leftovers_init(struct leftovers *leftovers);
void leftovers_fini(struct leftovers *leftovers);

void leftover_note(struct local *local, enum blob_place place, const struct id *blob);
size_t leftovers_count(struct leftovers *leftovers);
/* Whether it is one, or may be. Asked after its claim: there is no moment without either. */
bool leftover_is_noted(struct leftovers *leftovers, const struct id *blob);

/* In a transaction. Those noted until now may be swept once it is committed. */
must_check enum outcome leftovers_write_over(struct local *local, struct database *db, struct failure *why);
/* *removed grows. The first failure is handed back; all the others are tried. */
must_check enum outcome leftovers_sweep(struct local *local, uint64_t *removed, struct failure *why);
