/*
 * roster: all connections of a server, by their number, and how many each
 * address (on Unix sockets: each uid) has.
 *
 * A number is never used twice. The roster holds one reference to each
 * connection that stands in it; roster_take and roster_at give another.
 *
 * Any thread. The mutex is taken alone, or under a connection's mutex; nothing is
 * called under it.
 */
#pragma once

#include "rpc/principal.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct connection;

/* Where connections come from: an address without port, or a uid. */
struct origin {
    struct origin *next; /* in its bucket */
    uint64_t key[3];
    unsigned connections;
    size_t held; /* scratch of supervision, one thread */
};

enum { ROSTER_BUCKETS = 1024, ROSTER_SLOT_BITS = 20 };

struct roster {
    pthread_mutex_t mutex; /* guards what follows */
    struct connection **slots;
    unsigned *free_slots;
    unsigned capacity, count, per_origin;
    unsigned used; /* slots from here on were never taken */
    uint64_t serial;
    struct origin *buckets[ROSTER_BUCKETS];
};

/* NOMEM. At most `capacity` connections in all, `per_origin` of each. */
must_check enum outcome roster_init(struct roster *roster, unsigned capacity, unsigned per_origin,
                                    struct failure *why);
void roster_fini(struct roster *roster);

/* Sets the connection's id and origin, and holds a reference. LIMIT: its origin has enough, or all slots are taken; NOMEM. */
must_check enum outcome roster_add(struct roster *roster, struct connection *connection);
/* Gives up the roster's reference; false if somebody else did. */
bool roster_remove(struct roster *roster, struct connection *connection);

/* With a reference for the caller, or NULL: it is gone. */
struct connection *roster_take(struct roster *roster, uint64_t id);
/* The one in this slot (0 to roster_used - 1), with a reference, or NULL. */
struct connection *roster_at(struct roster *roster, unsigned slot);

bool roster_is_full(struct roster *roster);
unsigned roster_used(struct roster *roster);
unsigned roster_count(struct roster *roster);

/* Calls `look` with each connection, under the mutex: it must be quick and take no lock. */
void roster_each(struct roster *roster, void (*look)(void *context, struct connection *connection),
                 void *context);
