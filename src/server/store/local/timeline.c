#include "server/store/local/timeline.h"

/* How often the time is written down while nothing else is. */
#define MARK_EVERY (60 * (int64_t)CLOCK_SECOND)
/* By so much the wall clock may run faster or slower than the machine between two marks; more is a step. */
#define WALL_SLACK ((int64_t)CLOCK_SECOND / 10)

#define DAYS(count) ((count)*86400 * (int64_t)CLOCK_SECOND)
/* Nothing of ours lasts longer, so a longer absence makes no difference; and the sum of many stays in range. */
#define ABSENCE_MAX DAYS(INT64_C(367))
/* Times up to here leave room for whatever is added to them. */
#define STORE_MAX   (INT64_MAX - DAYS(INT64_C(36525)))

static int64_t difference(int64_t now, int64_t then)
{
    int64_t passed;
    if (now <= then)
        return 0;
    return __builtin_sub_overflow(now, then, &passed) || passed > ABSENCE_MAX ? ABSENCE_MAX : passed;
}

struct timeline timeline_start(const struct clock *clock, const struct timeline_mark *seen)
{
    struct timeline timeline = {
        .clock = clock,
        .boot = clock_boot(clock),
        .base_elapsed = clock_elapsed(clock),
    };
    /* A machine that was set back to a snapshot has the same name, but less time behind it. */
    timeline.same_boot = seen->boot != 0 && seen->boot == timeline.boot &&
                         timeline.base_elapsed >= seen->elapsed;
    int64_t passed = timeline.same_boot ? difference(timeline.base_elapsed, seen->elapsed)
                                        : difference(clock_wall(clock), seen->wall);
    timeline.base_store = seen->store < STORE_MAX - passed ? seen->store + passed : STORE_MAX;
    return timeline;
}

struct timeline_mark timeline_mark(const struct timeline *timeline)
{
    int64_t elapsed = clock_elapsed(timeline->clock);
    return (struct timeline_mark){
        .store = timeline->base_store + (elapsed - timeline->base_elapsed),
        .wall = clock_wall(timeline->clock),
        .elapsed = elapsed,
        .boot = timeline->boot,
    };
}

bool timeline_is_stale(const struct timeline_mark *last, const struct timeline_mark *now)
{
    int64_t passed = now->store - last->store;
    int64_t set;
    if (__builtin_sub_overflow(now->wall, last->wall, &set) || __builtin_sub_overflow(set, passed, &set))
        return true;
    return passed >= MARK_EVERY || set > WALL_SLACK || set < -WALL_SLACK;
}
