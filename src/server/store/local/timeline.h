/*
 * timeline: the store's own time, in which everything that runs out is written.
 *
 * While the store is open it counts on clock_elapsed, so that no step of the
 * wall clock makes anything expire early or late. What it reads is marked in the
 * database now and then, together with the machine's clocks, and the next open
 * goes on from the last mark:
 *
 *   - on the same run of the machine by clock_elapsed: it went on counting, and
 *     whatever became of the wall clock meanwhile does not matter;
 *   - after the machine started anew by the wall clock, the only one that went
 *     on, and never backwards: what was left then is the most that is left now.
 *
 * For the second case the mark must not be older than a step of the wall clock:
 * timeline_is_stale says when a new one is due.
 *
 * Set once at open, then read by any thread.
 */
#pragma once

#include "base/clock.h"

#include <stdbool.h>
#include <stdint.h>

struct timeline {
    const struct clock *clock;
    uint64_t boot;
    bool same_boot;       /* the machine ran on since the last mark */
    int64_t base_store;   /* store time at open */
    int64_t base_elapsed; /* clock_elapsed at open */
};

/* All clocks, read together. */
struct timeline_mark {
    int64_t store, wall, elapsed;
    uint64_t boot; /* 0: not known; elapsed means nothing then */
};

struct timeline timeline_start(const struct clock *clock, const struct timeline_mark *seen);
struct timeline_mark timeline_mark(const struct timeline *timeline);

/* Whether the last mark is too old, or the wall clock was set since then. */
bool timeline_is_stale(const struct timeline_mark *last, const struct timeline_mark *now);

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
