/*
 * timeline: the store's own time, in which everything that runs out is written.
 *
 * While the store is open it counts on clock_elapsed, so that no step of the
 * wall clock makes anything expire early or late. Over a restart the wall clock
 * counts, as the difference since it was last seen, and never backwards: what
 * was left then is the most that is left now.
 *
 * Set once at open, then read by any thread.
 */
#pragma once

#include "base/clock.h"

#include <stdint.h>

struct timeline {
    const struct clock *clock;
    int64_t base_store;   /* store time at open */
    int64_t base_elapsed; /* clock_elapsed at open */
};

/* A new store begins at the wall clock of its first day. */
static inline struct timeline timeline_start(const struct clock *clock, int64_t store_seen, int64_t wall_seen)
{
    int64_t passed = clock_wall(clock) - wall_seen;
    return (struct timeline){
        .clock = clock,
        .base_store = store_seen + (passed > 0 ? passed : 0),
        .base_elapsed = clock_elapsed(clock),
    };
}

static inline int64_t timeline_now(const struct timeline *timeline)
{
    return timeline->base_store + (clock_elapsed(timeline->clock) - timeline->base_elapsed);
}

/* The elapsed time (clock_elapsed) at which the store's is `store`. */
static inline int64_t timeline_elapsed(const struct timeline *timeline, int64_t store)
{
    return store - timeline->base_store + timeline->base_elapsed;
}

static inline int64_t timeline_seconds(uint32_t seconds)
{
    return (int64_t)seconds * CLOCK_SECOND;
}

/* Whole seconds until `ends`, rounded up; 0 once it is reached. */
static inline uint32_t timeline_left(int64_t ends, int64_t now)
{
    if (ends <= now)
        return 0;
    int64_t left = (ends - now - 1) / CLOCK_SECOND + 1;
    return left > UINT32_MAX ? UINT32_MAX : (uint32_t)left;
}
