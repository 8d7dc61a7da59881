/*
 * tally: which arrivals of a wait count, and when they are enough.
 *
 * Without `wanted` each pattern counts once, by its first arrival. With `wanted`
 * so many arrivals are enough, of whatever pattern; a version counts once even
 * if several patterns match it, or if it is told as present and again by an
 * event. One thread.
 */
#pragma once

#include "base/id.h"
#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>

struct tally {
    size_t patterns, wanted;
    size_t told;
    bool *met;           /* by pattern */
    struct id *versions; /* an open hash table of those that were told; none: a free slot */
    size_t slots, used;
};

must_check enum outcome tally_init(struct tally *tally, size_t patterns, size_t wanted, struct failure *why);
void tally_fini(struct tally *tally); /* one that is all zeros is fine */

/* *counts = whether this arrival is to be told: it counts now. NOMEM. */
must_check enum outcome tally_take(struct tally *tally, size_t pattern, const struct id *version,
                                   bool *counts, struct failure *why);

/* Whether this pattern needs no more arrivals. */
bool tally_is_met(const struct tally *tally, size_t pattern);
bool tally_is_done(const struct tally *tally);
