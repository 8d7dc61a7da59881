/*
 * flight: calls of one transfer that are under way, oldest first, and how many
 * there may be.
 *
 * The window begins at one, grows by one with every reply that moved bytes, up
 * to FLIGHTS_MAX, and is halved when some went in vain. A flight's reply is
 * awaited in the order of sending. The owner drops all of them before the
 * connection they are on is closed.
 */
#pragma once

#include "base/outcome.h"
#include "rpc/client.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FLIGHTS_MAX = 8,
    FLIGHT_BYTES = 512 << 10 /* of one call: eight of them are 4 MiB at most */
};

struct flight {
    struct rpc_pending *pending;
    uint64_t offset;
    size_t count;
};

struct flights {
    struct rpc_client *client; /* whose calls they are */
    struct flight rows[FLIGHTS_MAX];
    unsigned first, count, window;
};

void flights_init(struct flights *flights);
bool flights_have_room(const struct flights *flights);
void flights_add(struct flights *flights, struct rpc_client *client, struct rpc_pending *pending,
                 uint64_t offset, size_t count);
/* The oldest; NULL if there is none. */
struct flight *flights_oldest(struct flights *flights);
/* Ends the oldest: its reply's bytes are gone. */
void flights_end_oldest(struct flights *flights);
void flights_drop(struct flights *flights);

void flights_widen(struct flights *flights);
void flights_narrow(struct flights *flights);
