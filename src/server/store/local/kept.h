/*
 * kept: versions that were replaced or removed, while they may still be read.
 *
 * They go when their time is over, and the oldest when they are too many bytes
 * (kept_sweep). Where room is short they go before their time (kept_give, for
 * room.h), the oldest first: but not one that a download is reading (reads.h).
 * Rows first; what no row names any more is removed once that is committed.
 *
 * All of this with the sweep's lock; what makes content go, with the store's pin,
 * too: content_may_go, then pin_pass unless *pinned.
 */
#pragma once

#include "base/id.h"
#include "base/outcome.h"
#include "server/store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct local;

/* While a backup takes content nothing of it goes, unless room for what stays gets short. */
bool content_may_go(struct local *local, bool *pinned);

/* A batch; *left is set if there are more. */
must_check enum outcome kept_sweep(struct local *local, struct store_sweep *out, bool *left,
                                   struct failure *why);

/*
 * Bytes of the disk that would be free if all went that kept_give may take, and what is left of shared content were
 * condensed after. What stands in the database counts for nothing: its file does not become smaller.
 */
must_check enum outcome kept_yield(struct local *local, uint64_t *bytes, struct failure *why);

/* From the oldest on, each once. */
struct kept_walk {
    int64_t until; /* that of the last one looked at; */
    struct id version;
    bool over;      /* there is none after it */
    uint64_t ended; /* versions so far, */
    uint64_t bytes; /* and of content that went with them */
};
struct kept_walk kept_walk_begin(void);

/*
 * A batch of them goes: as many as free `wanted` bytes, as far as one can tell. After a failure content that could not
 * be removed is a leftover; what was to go is gone or kept on.
 */
must_check enum outcome kept_give(struct local *local, uint64_t wanted, struct kept_walk *walk,
                                  struct failure *why);
