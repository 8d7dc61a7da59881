#include "client/lib/window.h"

enum {
    MILLISECOND = 1000 * 1000,
    SLACK = 20 * MILLISECOND,   /* what an answer takes besides the way: a disk, a busy core */
    LONG = 1000 * MILLISECOND,  /* beyond all that: it stood in a queue */
    NEAR_RATE = 1024,           /* bytes a microsecond: 1 GiB/s, which is asked of a longer way, too */
    NARROWEST = 64 << 10,
};

void window_init(struct window *window, size_t first, size_t most)
{
    *window = (struct window){.bytes = first < most ? first : most, .most = most};
}

bool window_has_room(const struct window *window, size_t under_way)
{
    return under_way == 0 || under_way < window->bytes;
}

/* How wide it may get on a way of this length. */
static size_t limit_of(const struct window *window, int64_t round_trip)
{
    uint64_t limit = WINDOW_NEAR + (uint64_t)round_trip / 1000 * NEAR_RATE;

    return limit < window->most ? (size_t)limit : window->most;
}

void window_heard(struct window *window, size_t moved, int64_t took, int64_t round_trip)
{
    size_t limit = limit_of(window, round_trip);

    if (took < 2 * round_trip + SLACK && window->bytes < limit)
        window->bytes = limit - window->bytes < moved ? limit : window->bytes + moved;
    else if (took > 4 * round_trip + LONG && window->bytes > WINDOW_LEAST)
        window->bytes -= moved < window->bytes - WINDOW_LEAST ? moved : window->bytes - WINDOW_LEAST;
}

void window_narrow(struct window *window)
{
    window->bytes = window->bytes / 2 > NARROWEST ? window->bytes / 2 : NARROWEST;
}
