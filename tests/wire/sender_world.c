#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "wire/peer.h"
#include "wire/sender_world.h"

#include <poll.h>
#include <string.h>
#include <time.h>

static void done(void *context, const struct sender_result *result)
{
    struct world *world = context;
    pthread_mutex_lock(&world->lock);
    assert_true(world->count < RESULTS_MAX);
    world->results[world->count++] = *result;
    pthread_cond_broadcast(&world->came);
    pthread_mutex_unlock(&world->lock);
}

struct sender_limits world_limits(void)
{
    struct sender_limits limits = sender_limits_default();
    limits.connect_ms = limits.call_ms = slowness() < 4 ? 1000 : 300 * slowness(); /* a shared machine pauses */
    limits.prove_wait_ms = 100;
    limits.reprove_first_ms = 50;
    limits.reprove_last_ms = 200;
    return limits;
}

struct world *world_new(const struct sender_limits *limits, struct rpc_server *server)
{
    struct world *world = calloc(1, sizeof *world);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&world->lock, NULL);
    pthread_cond_init(&world->came, &monotonic);
    pthread_condattr_destroy(&monotonic);
    const struct sender_options options = {.server = server,
                                           .clock = clock_system(),
                                           .instance = id_random(),
                                           .limits = *limits,
                                           .done = done,
                                           .context = world};
    struct failure why;
    assert_int_equal(sender_new(&options, &world->sender, &why), OUTCOME_OK);
    assert_int_equal(sender_start(world->sender, &why), OUTCOME_OK);
    return world;
}

void world_free(struct world *world)
{
    sender_stop(world->sender);
    assert_null(sender_free(world->sender));
    pthread_cond_destroy(&world->came);
    pthread_mutex_destroy(&world->lock);
    free(world);
}

/* Until `count` results are there, or some time is over. */
unsigned world_await(struct world *world, unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 10 * (time_t)slowness();
    pthread_mutex_lock(&world->lock);
    while (world->count < count && pthread_cond_timedwait(&world->came, &world->lock, &until) == 0)
        ;
    unsigned have = world->count;
    pthread_mutex_unlock(&world->lock);
    return have;
}

struct sender_result world_result(struct world *world)
{
    assert_int_equal(world_await(world, 1), 1);
    pthread_mutex_lock(&world->lock);
    struct sender_result result = world->results[0];
    world->count = 0;
    pthread_mutex_unlock(&world->lock);
    return result;
}

bool world_await_state(struct world *world, const struct id *mailbox, enum sender_state state)
{
    int64_t until = now_ms() + (int64_t)10000 * slowness();
    while (sender_state_of(world->sender, mailbox) != state) {
        if (now_ms() > until)
            return false;
        poll(NULL, 0, 2);
    }
    return true;
}

struct sender_route world_route(const struct callback_peer *peer)
{
    struct sender_route route = {.program = peer->program,
                                 .proof = peer->proof,
                                 .ticket = peer->ticket,
                                 .peer = callback_peer_address(peer)};
    assert_int_equal(address_ip("127.0.0.1", 0, &route.local, NULL), OUTCOME_OK);
    return route;
}

struct id world_prove(struct world *world, const struct callback_peer *peer)
{
    struct id mailbox = id_random();
    struct sender_route route = world_route(peer);
    struct failure why;
    assert_int_equal(sender_prove(world->sender, &mailbox, &route, &why), OUTCOME_OK);
    return mailbox;
}

enum outcome world_deliver(struct world *world, const struct id *mailbox, uint64_t first, size_t count)
{
    struct event *events = calloc(count, sizeof *events);
    for (size_t i = 0; i < count; i++) {
        events[i] = (struct event){.number = first + i, .kind = EVENT_EXPIRED, .interest = id_random()};
        strcpy(events[i].pattern, "a");
    }
    struct failure why;
    enum outcome outcome = sender_deliver(world->sender, mailbox, WORLD_TOKEN, events, count, &why);
    free(events);
    return outcome;
}
