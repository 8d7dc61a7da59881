/*
 * shift: the clocks of a real program, moved from outside (base/clock.h; builds
 * with FILESHARE_FAULTS), and the time that they should amount to.
 *
 * It sees CLOCK_BOOTTIME and CLOCK_REALTIME of the machine, each shifted by what
 * stands in a mapped file. What sleeps in it sleeps by the machine's
 * clock all the same: a shift of both is what a machine sees that slept.
 *
 * Threads: shift_now from any; the others are the main thread's.
 */
#pragma once

#include "base/clock.h"
#include "client/daemon.h"

#include <stdatomic.h>

struct shift {
    struct clock_shift *at;
    char setting[160];
    const char *environment[2]; /* for struct daemon */
    _Atomic int64_t ahead;
};

/* The file is made at `path`; a program started with shift->setting in its environment has these clocks. */
void shift_begin(struct shift *shift, const char *path);
void shift_end(struct shift *shift);

/* Time as the store should count it, ns. While something is shifted it is never behind the program's. */
int64_t shift_now(const struct shift *shift);

/* The machine slept, or was busy elsewhere. */
void shift_pass(struct shift *shift, int64_t by);
/* Somebody set the clock, either way. */
void shift_set_wall(struct shift *shift, int64_t by);
/* With the program down: the machine was off for `off`, and starts anew with its clock set by `set`. */
void shift_boot(struct shift *shift, int64_t off, int64_t set);
