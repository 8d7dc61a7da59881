#include "base/clock.h"

#include <stdlib.h>
#include <time.h>

static int64_t read_machine(clockid_t which)
{
    struct timespec now;
    /* Both clocks are older than any kernel we run on; without them nothing we promise holds. */
    if (clock_gettime(which, &now) != 0)
        abort();
    return (int64_t)now.tv_sec * CLOCK_SECOND + now.tv_nsec;
}

static int64_t system_elapsed(const struct clock *clock)
{
    (void)clock;
    return read_machine(CLOCK_BOOTTIME);
}

static int64_t system_wall(const struct clock *clock)
{
    (void)clock;
    return read_machine(CLOCK_REALTIME);
}

const struct clock *clock_system(void)
{
    static const struct clock clock = { .read_elapsed = system_elapsed, .read_wall = system_wall };
    return &clock;
}

int64_t clock_elapsed(const struct clock *clock)
{
    return clock->read_elapsed(clock);
}

int64_t clock_wall(const struct clock *clock)
{
    return clock->read_wall(clock);
}

static int64_t test_elapsed(const struct clock *clock)
{
    return atomic_load(&clock->test_elapsed);
}

static int64_t test_wall(const struct clock *clock)
{
    return atomic_load(&clock->test_wall);
}

void clock_test_init(struct clock *clock, int64_t elapsed, int64_t wall)
{
    clock->read_elapsed = test_elapsed;
    clock->read_wall = test_wall;
    atomic_init(&clock->test_elapsed, elapsed);
    atomic_init(&clock->test_wall, wall);
}

void clock_test_step(struct clock *clock, int64_t by)
{
    atomic_fetch_add(&clock->test_elapsed, by);
    atomic_fetch_add(&clock->test_wall, by);
}

void clock_test_step_wall(struct clock *clock, int64_t by)
{
    atomic_fetch_add(&clock->test_wall, by);
}
