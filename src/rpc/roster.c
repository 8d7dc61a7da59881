#include "rpc/roster.h"

#include "base/scoped.h"
#include "rpc/connection.h"

#include <stdlib.h>
#include <string.h>

enum outcome roster_init(struct roster *roster, unsigned capacity, unsigned per_origin, struct failure *why)
{
    *roster = (struct roster){.capacity = capacity, .per_origin = per_origin};
    pthread_mutex_init(&roster->mutex, NULL);
    roster->slots = calloc(capacity, sizeof *roster->slots);
    roster->free_slots = calloc(capacity, sizeof *roster->free_slots);
    if (!roster->slots || !roster->free_slots)
        return failure_set(why, OUTCOME_NOMEM, "no memory for %u connections", capacity);
    for (unsigned i = 0; i < capacity; i++)
        roster->free_slots[i] = capacity - 1 - i;
    return OUTCOME_OK;
}

void roster_fini(struct roster *roster)
{
    free(roster->slots);
    free(roster->free_slots);
    pthread_mutex_destroy(&roster->mutex);
}

/* Of an IPv6 address the first 64 bits: a host chooses the others as it likes, as many as it wants. */
static void key_of(const struct peer *peer, uint64_t key[3])
{
    enum { PREFIX = 8 };

    memset(key, 0, 3 * sizeof *key);
    if (peer->kind == PEER_VOUCHED) {
        key[0] = AF_UNIX;
        key[1] = (uint64_t)atomic_load(&peer->uid);
    } else if (peer->peer.any.sa_family == AF_INET) {
        key[0] = AF_INET;
        memcpy(&key[1], &peer->peer.in4.sin_addr, sizeof peer->peer.in4.sin_addr);
    } else {
        key[0] = AF_INET6;
        memcpy(&key[1], &peer->peer.in6.sin6_addr, PREFIX);
    }
}

static struct origin **bucket_of(struct roster *roster, const uint64_t key[3])
{
    uint64_t mixed = (key[0] ^ key[1] * 0x9e3779b97f4a7c15U ^ key[2] * 0xc2b2ae3d27d4eb4fU);

    return &roster->buckets[(mixed ^ mixed >> 29) % ROSTER_BUCKETS];
}

/* The origin of these keys, made if it is new; NULL when there is no memory. */
static struct origin *origin_get(struct roster *roster, const uint64_t key[3])
{
    struct origin **bucket = bucket_of(roster, key);

    for (struct origin *origin = *bucket; origin; origin = origin->next)
        if (memcmp(origin->key, key, sizeof origin->key) == 0)
            return origin;
    struct origin *origin = calloc(1, sizeof *origin);
    if (!origin)
        return NULL;
    memcpy(origin->key, key, sizeof origin->key);
    origin->next = *bucket;
    *bucket = origin;
    return origin;
}

static void origin_put(struct roster *roster, struct origin *origin)
{
    if (origin->connections > 0)
        return;
    struct origin **at = bucket_of(roster, origin->key);
    while (*at != origin)
        at = &(*at)->next;
    *at = origin->next;
    free(origin);
}

enum outcome roster_add(struct roster *roster, struct connection *connection)
{
    uint64_t key[3];

    key_of(&connection->peer, key);
    scoped_lock(&roster->mutex);
    if (roster->count >= roster->capacity)
        return OUTCOME_LIMIT;
    struct origin *origin = origin_get(roster, key);
    if (!origin)
        return OUTCOME_NOMEM;
    if (origin->connections >= roster->per_origin)
        return OUTCOME_LIMIT;
    unsigned slot = roster->free_slots[roster->capacity - roster->count - 1];
    roster->count++;
    origin->connections++;
    connection->origin = origin;
    connection->id = ++roster->serial << ROSTER_SLOT_BITS | slot;
    roster->slots[slot] = connection_ref(connection);
    if (slot >= roster->used)
        roster->used = slot + 1;
    return OUTCOME_OK;
}

bool roster_remove(struct roster *roster, struct connection *connection)
{
    unsigned slot = connection->id & ((1U << ROSTER_SLOT_BITS) - 1);

    pthread_mutex_lock(&roster->mutex);
    bool was_there = roster->slots[slot] == connection;
    if (was_there) {
        roster->slots[slot] = NULL;
        roster->count--;
        roster->free_slots[roster->capacity - roster->count - 1] = slot;
        connection->origin->connections--;
        origin_put(roster, connection->origin);
        connection->origin = NULL;
    }
    pthread_mutex_unlock(&roster->mutex);
    if (was_there)
        connection_unref(connection);
    return was_there;
}

struct connection *roster_take(struct roster *roster, uint64_t id)
{
    unsigned slot = id & ((1U << ROSTER_SLOT_BITS) - 1);

    if (slot >= roster->capacity)
        return NULL;
    scoped_lock(&roster->mutex);
    struct connection *connection = roster->slots[slot];
    return connection && connection->id == id ? connection_ref(connection) : NULL;
}

struct connection *roster_at(struct roster *roster, unsigned slot)
{
    scoped_lock(&roster->mutex);
    struct connection *connection = roster->slots[slot];
    return connection ? connection_ref(connection) : NULL;
}

bool roster_is_full(struct roster *roster)
{
    scoped_lock(&roster->mutex);
    return roster->count >= roster->capacity;
}

unsigned roster_used(struct roster *roster)
{
    scoped_lock(&roster->mutex);
    return roster->used;
}

unsigned roster_count(struct roster *roster)
{
    scoped_lock(&roster->mutex);
    return roster->count;
}

void roster_each(struct roster *roster, void (*look)(void *context, struct connection *connection),
                 void *context)
{
    scoped_lock(&roster->mutex);
    for (unsigned slot = 0; slot < roster->used; slot++)
        if (roster->slots[slot])
            look(context, roster->slots[slot]);
}
