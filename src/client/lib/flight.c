#include "client/lib/flight.h"

#include "client/lib/session.h"
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

void flights_start(struct flights *flights, struct fileshare *session)
{
    flights->session = session;
    flights->round_trip = rpc_client_round_trip(session->client);
    if (flights_are_far(flights) && flights->far > flights->window.bytes)
        window_init(&flights->window, flights->far, flights->window.most);
    flights->far = 0; /* a later connection begins as the last one ended */
    flights->heard = 0;
}

bool flights_have_room(const struct flights *flights)
{
    if (flights->count == FLIGHTS_MAX)
        return false;
    /* Where calls are bound late each lane has a window of its own: here is what may be waited for in all. */
    return flights->session->lanes.late ? flights->bytes < flights->window.most
                                        : window_has_room(&flights->window, flights->bytes);
}

bool flights_are_low(const struct flights *flights)
{
    return flights->session->lanes.late || flights_are_far(flights) ||
           flights->bytes <= flights->window.bytes / 2;
}

static struct flight *row_at(struct flights *flights, unsigned n)
{
    return &flights->rows[(flights->first + n) % FLIGHTS_MAX];
}

struct flight *flights_next(struct flights *flights)
{
    return row_at(flights, flights->count);
}

void flights_add(struct flights *flights, uint64_t offset, size_t count)
{
    struct flight *flight = flights_next(flights);
    flight->offset = offset;
    flight->count = count;
    flights->count++;
    flights->bytes += count;
}

struct flight *flights_lost(struct flights *flights)
{
    for (unsigned n = 0; n < flights->count; n++)
        if (row_at(flights, n)->call.lost)
            return row_at(flights, n);
    return NULL;
}

struct flight *flights_oldest(struct flights *flights)
{
    return flights->count > 0 ? &flights->rows[flights->first] : NULL;
}

void flights_heard(struct flights *flights)
{
    const struct flight *oldest = flights_oldest(flights);

    if (++flights->heard % ROUND_TRIP_EVERY == 0)
        flights->round_trip = rpc_client_round_trip(flights->session->client);
    window_heard(&flights->window, oldest->count, rpc_pending_took(oldest->call.pending),
                 flights->round_trip);
}

void flights_narrow(struct flights *flights)
{
    window_narrow(&flights->window);
}

void flights_end_oldest(struct flights *flights)
{
    lanes_end(&flights->rows[flights->first].call);
    flights->bytes -= flights->rows[flights->first].count;
    flights->first = (flights->first + 1) % FLIGHTS_MAX;
    flights->count--;
}

void flights_drop(struct flights *flights)
{
    while (flights->count > 0)
        flights_end_oldest(flights);
}
