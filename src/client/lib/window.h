/*
 * window: how many bytes of calls may be under way on one connection, by how
 * long their answers take.
 *
 *     window_init; while window_has_room: begin a call ...;
 *     window_heard for each answer, in order; window_narrow when bytes went in vain
 *
 * A link is busy all the time if what is under way fills its bandwidth times its
 * round trip. Answers that come in little more than a round trip say that it is
 * not: then the window widens by what was answered, so it doubles each round
 * trip. Answers that take several round trips have waited in some queue: more
 * under way would only wait longer (and, where it is slow, pass its deadline),
 * and after long waits the window gives back what it took. Near by 4 MiB fill
 * any link, so it widens beyond only as the round trip is long.
 *
 * Plain arithmetic, one thread; times are nanoseconds.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WINDOW_LEAST = 1 << 20,  /* widened from there, and never narrower by long waits */
    WINDOW_NEAR = 4 << 20,   /* what it widens to where the round trip is nothing */
    WINDOW_MOST = 32 << 20,  /* and wherever it is long */
};

struct window {
    size_t bytes; /* so many may be under way */
    size_t most;
};

/* `most` is at most WINDOW_MOST. */
void window_init(struct window *window, size_t first, size_t most);

/* Whether one more call may be begun. One may always be under way. */
bool window_has_room(const struct window *window, size_t under_way);

/*
 * An answer came for a call that moved so many bytes; it took so long since the
 * call was begun, on a connection of this round trip (0: not known, or near).
 */
void window_heard(struct window *window, size_t moved, int64_t took, int64_t round_trip);

/* Some bytes went in vain: half as many from now on. */
void window_narrow(struct window *window);
