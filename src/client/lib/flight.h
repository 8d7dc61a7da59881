/*
 * flight: calls of one transfer that are under way, oldest first.
 *
 * How many there may be is the window's to say (window.h), or that of each lane
 * where there are several (lanes.h). A flight's reply is awaited in the order of
 * sending. The owner drops all of them before the connections they are on are closed.
 *
 *     flights_init; flights_start;
 *     flights_next, its call is begun, flights_add ...; flights_lost: it is begun again;
 *     flights_oldest, its reply is awaited,
 *     flights_heard if it moved bytes; flights_end_oldest ...; flights_drop
 */
#pragma once

#include "base/outcome.h"
#include "client/lib/lanes.h"
#include "client/lib/window.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FLIGHT_BYTES = 512 << 10,                /* of one call */
    FLIGHTS_MAX = WINDOW_MOST / FLIGHT_BYTES /* fewer bytes each, and no more of them */
};

struct flight {
    struct lane_call call;
    uint64_t offset;
    size_t count;
};

struct flights {
    struct fileshare *session; /* whose calls they are */
    struct flight rows[FLIGHTS_MAX];
    unsigned first, count;
    size_t bytes; /* of all of them */
    size_t far;
    struct window window;
    int64_t round_trip; /* of the session's connection, asked now and then */
    unsigned heard;
};

/* `far` bytes may be under way at first if the server is far away; `most` at any time. */
void flights_init(struct flights *flights, size_t far, size_t most);
/* A connection is there, the first or a later one: how far away the server is. */
void flights_start(struct flights *flights, struct fileshare *session);
/* Whether the server is so far away that round trips count for more than bytes. */
bool flights_are_far(const struct flights *flights);
bool flights_have_room(const struct flights *flights);
/*
 * Near by several small calls go out together when half of what may be under way was
 * answered: one that goes by itself wakes a core of the server for each answer.
 */
bool flights_are_low(const struct flights *flights);
/* The next one, for its call to be begun; there is room. Then it is added. */
struct flight *flights_next(struct flights *flights);
void flights_add(struct flights *flights, uint64_t offset, size_t count);
/* The oldest whose call was lost with its lane; NULL if none was. */
struct flight *flights_lost(struct flights *flights);
/* The oldest; NULL if there is none. */
struct flight *flights_oldest(struct flights *flights);
/* The oldest was answered, and its bytes moved. */
void flights_heard(struct flights *flights);
/* Bytes went in vain. */
void flights_narrow(struct flights *flights);
/* Ends the oldest: its reply's bytes are gone. */
void flights_end_oldest(struct flights *flights);
/* All of them; the window stays as it is. */
void flights_drop(struct flights *flights);
