#include "client/lib/flight.h"

enum { WINDOW_FIRST = 1 };

void flights_init(struct flights *flights)
{
    *flights = (struct flights){.window = WINDOW_FIRST};
}

bool flights_have_room(const struct flights *flights)
{
    return flights->count < flights->window;
}

void flights_add(struct flights *flights, struct rpc_client *client, struct rpc_pending *pending,
                 uint64_t offset, size_t count)
{
    flights->client = client;
    flights->rows[(flights->first + flights->count) % FLIGHTS_MAX] = (struct flight){pending, offset, count};
    flights->count++;
}

struct flight *flights_oldest(struct flights *flights)
{
    return flights->count > 0 ? &flights->rows[flights->first] : NULL;
}

void flights_end_oldest(struct flights *flights)
{
    rpc_pending_free(flights->client, flights->rows[flights->first].pending);
    flights->first = (flights->first + 1) % FLIGHTS_MAX;
    flights->count--;
}

void flights_drop(struct flights *flights)
{
    while (flights->count > 0)
        flights_end_oldest(flights);
}

void flights_widen(struct flights *flights)
{
    if (flights->window < FLIGHTS_MAX)
        flights->window++;
}

void flights_narrow(struct flights *flights)
{
    flights->window = flights->window > 1 ? flights->window / 2 : 1;
}
