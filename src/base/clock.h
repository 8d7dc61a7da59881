/*
 * clock: the time, from one place, so that tests can step it.
 *
 * Two clocks are told apart. `elapsed` (CLOCK_BOOTTIME) never goes backwards,
 * counts while the machine sleeps, and means nothing over a restart: time left
 * is counted on it. `wall` (CLOCK_REALTIME) is for people, and for what must
 * survive the machine. `boot` names the span within which elapsed times may be
 * compared: another one after the machine started anew.
 *
 * The product uses clock_system(). A test makes a struct clock of its own with
 * clock_test_init and moves it with clock_test_step; nothing ever sets the
 * machine's clock. Safe from any thread.
 *
 * A program of a test build (FILESHARE_FAULTS) is driven from outside: the
 * environment's FILESHARE_TEST_CLOCK names a file that holds a struct
 * clock_shift, which whoever tests maps and writes while the program runs.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum { CLOCK_SECOND = 1000000000 }; /* nanoseconds; multiply as int64_t */

struct clock {
    int64_t (*read_elapsed)(const struct clock *clock);
    int64_t (*read_wall)(const struct clock *clock);
    uint64_t (*read_boot)(const struct clock *clock);
    _Atomic int64_t test_elapsed;
    _Atomic int64_t test_wall;
    _Atomic uint64_t test_boot;
};

/* By how much a test build's clocks differ from the machine's. */
struct clock_shift {
    _Atomic int64_t elapsed, wall; /* ns */
    _Atomic uint64_t boot;         /* 0: the machine's own */
};

const struct clock *clock_system(void);

int64_t clock_elapsed(const struct clock *clock); /* ns */
int64_t clock_wall(const struct clock *clock);    /* ns since 1970, UTC */
uint64_t clock_boot(const struct clock *clock);   /* 0: not known */

/* Its boot is not known. */
void clock_test_init(struct clock *clock, int64_t elapsed, int64_t wall);
/* Moves both by `by` ns; wall alone by clock_test_step_wall, either way. */
void clock_test_step(struct clock *clock, int64_t by);
void clock_test_step_wall(struct clock *clock, int64_t by);
/* The machine starts anew, or for the first time: elapsed time begins at `elapsed`. */
void clock_test_boot(struct clock *clock, uint64_t boot, int64_t elapsed);
