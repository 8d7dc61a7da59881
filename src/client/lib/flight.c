#include "client/lib/flight.h"

#include "rpc/distance.h"

enum {
    ROUND_TRIP_EVERY = 16, /* answers */
};

void flights_init(struct flights *flights, size_t far, size_t most)
{
    *flights = (struct flights){.far = far};
    window_init(&flights->window, FLIGHT_BYTES, most);
}

bool flights_are_far(const struct flights *flights)
{
    return flights->round_trip >= DISTANCE_FAR;
}

void flights_start(struct flights *flights, struct rpc_client *client)
{
    flights->round_trip = rpc_client_round_trip(client);
    if (flights_are_far(flights) && flights->far > flights->window.bytes)
        window_init(&flights->window, flights->far, flights->window.most);
    flights->far = 0; /* a later connection begins as the last one ended */
    flights->heard = 0;
}

bool flights_have_room(const struct flights *flights)
{
    return flights->count < FLIGHTS_MAX && window_has_room(&flights->window, flights->bytes);
}

void flights_add(struct flights *flights, struct rpc_client *client, struct rpc_pending *pending,
                 uint64_t offset, size_t count)
{
    flights->client = client;
    flights->rows[(flights->first + flights->count) % FLIGHTS_MAX] = (struct flight){pending, offset, count};
    flights->count++;
    flights->bytes += count;
}

struct flight *flights_oldest(struct flights *flights)
{
    return flights->count > 0 ? &flights->rows[flights->first] : NULL;
}

void flights_heard(struct flights *flights)
{
    const struct flight *oldest = flights_oldest(flights);

    if (++flights->heard % ROUND_TRIP_EVERY == 0)
        flights->round_trip = rpc_client_round_trip(flights->client);
    window_heard(&flights->window, oldest->count, rpc_pending_took(oldest->pending), flights->round_trip);
}

void flights_narrow(struct flights *flights)
{
    window_narrow(&flights->window);
}

void flights_end_oldest(struct flights *flights)
{
    rpc_pending_free(flights->client, flights->rows[flights->first].pending);
    flights->bytes -= flights->rows[flights->first].count;
    flights->first = (flights->first + 1) % FLIGHTS_MAX;
    flights->count--;
}

void flights_drop(struct flights *flights)
{
    while (flights->count > 0)
        flights_end_oldest(flights);
}
