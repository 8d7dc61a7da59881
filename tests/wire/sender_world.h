/*
 * sender_world: a sender and the results that it reported, for the tests of
 * callback/sender.h.
 */
#pragma once

#include "callback/sender.h"
#include "wire/callback_peer.h"

#include <pthread.h>

enum { RESULTS_MAX = 512, WORLD_TOKEN = 7 };

struct world {
    struct sender *sender;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t came;
    struct sender_result results[RESULTS_MAX];
    unsigned count;
};

/* Deadlines of a few hundred milliseconds. */
struct sender_limits world_limits(void);

/* Started; `server`, for reversed calls, may be NULL. */
struct world *world_new(const struct sender_limits *limits, struct rpc_server *server);
void world_free(struct world *world);

/* How many results there are, once there are `count`, or ten seconds are over. */
unsigned world_await(struct world *world, unsigned count);
/* The one result; the test fails if there is none or another. Takes it away. */
struct sender_result world_result(struct world *world);
bool world_await_state(struct world *world, const struct id *mailbox, enum sender_state state);

struct sender_route world_route(const struct callback_peer *peer);
/* A new mailbox, whose route leads to the peer. */
struct id world_prove(struct world *world, const struct callback_peer *peer);
/* Events that expired, numbered from `first`. */
enum outcome world_deliver(struct world *world, const struct id *mailbox, uint64_t first, size_t count);
