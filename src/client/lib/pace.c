#include "client/lib/pace.h"

void pace_init(struct pace *pace)
{
    *pace = (struct pace){.count = 0};
    window_init(&pace->window, WINDOW_NEAR, WINDOW_MOST);
}

void pace_on(struct pace *pace, int64_t round_trip)
{
    pace->round_trip = round_trip;
}

static bool is_far(const struct pace *pace)
{
    return pace->round_trip >= PACE_FAR_FROM;
}

bool pace_has_room(const struct pace *pace)
{
    if (!is_far(pace))
        return pace->count < PACE_NEAR;
    return pace->count < PACE_MOST && window_has_room(&pace->window, pace->bytes);
}

void pace_add(struct pace *pace, size_t bytes)
{
    pace->count++;
    pace->bytes += bytes;
}

void pace_heard(struct pace *pace, size_t bytes, int64_t took)
{
    if (is_far(pace))
        window_heard(&pace->window, bytes, took, pace->round_trip);
}

void pace_end(struct pace *pace, size_t bytes)
{
    pace->count--;
    pace->bytes -= bytes;
}

void pace_narrow(struct pace *pace)
{
    window_narrow(&pace->window);
}
