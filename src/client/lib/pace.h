/*
 * pace: how many bundles, of small files that go or come in one call, may be
 * under way on one connection.
 *
 *     pace_init; pace_on when there is a connection; while pace_has_room: pace_add ...;
 *     pace_heard for each answer that moved files; pace_end for each call that is over
 *
 * Near by a few keep both ends at work, and more would only fill memory. Where the
 * round trip counts, the window says (window.h): many, since the first ones are small.
 *
 * Plain arithmetic, one thread; times are nanoseconds.
 */
#pragma once

#include "client/lib/window.h"

enum {
    PACE_NEAR = 4,                   /* calls */
    PACE_MOST = 32,                  /* calls, however far */
    PACE_FAR_FROM = 2 * 1000 * 1000, /* round trip */
};

struct pace {
    struct window window;
    int64_t round_trip;
    unsigned connection; /* that it is of, by its owner's count from 1 on; 0: of none yet */
    unsigned count; /* of calls under way */
    size_t bytes;   /* of them */
};

void pace_init(struct pace *pace);
/* A connection of this round trip: the first, or a later one. 0: not known, or no network. Its owner notes it. */
void pace_on(struct pace *pace, int64_t round_trip);
bool pace_has_room(const struct pace *pace);
void pace_add(struct pace *pace, size_t bytes);
/* An answer moved so many bytes, and took so long. */
void pace_heard(struct pace *pace, size_t bytes, int64_t took);
/* One call is over, one way or the other. */
void pace_end(struct pace *pace, size_t bytes);
/* The connection broke: what was under way goes again. */
void pace_narrow(struct pace *pace);
