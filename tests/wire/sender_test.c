/* The sender by dial-back: against peers that answer, hang, lie and go away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "wire/callback_peer.h"
#include "wire/peer.h"
#include "wire/sender_world.h"

#include <poll.h>
#include <string.h>

static void a_proved_route_delivers_in_order(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *peer = callback_peer_new(0);
    struct id mailbox = world_prove(world, peer);
    assert_true(world_await_state(world, &mailbox, SENDER_DIALBACK));
    assert_false(atomic_load(&peer->ticket_seen));
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(world_deliver(world, &mailbox, 1 + i * 10, 10), OUTCOME_OK);
        struct sender_result result = world_result(world);
        assert_int_equal(result.outcome, OUTCOME_OK);
        assert_int_equal(result.acknowledged, 10 + i * 10);
        assert_int_equal(result.route, SENDER_DIALBACK);
        assert_int_equal(result.token, WORLD_TOKEN);
        assert_true(id_equal(&result.mailbox, &mailbox));
    }
    assert_int_equal(atomic_load(&peer->event_count), 30);
    for (unsigned i = 0; i < 30; i++)
        assert_int_equal(peer->events[i], i + 1);
    /* one connection, proved once, served all */
    assert_int_equal(atomic_load(&peer->connections), 1);
    assert_int_equal(atomic_load(&peer->hellos), 1);
    world_free(world);
    callback_peer_free(peer);
}

static void a_full_batch_of_longest_events_goes_whole(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *peer = callback_peer_new(0);
    struct id mailbox = world_prove(world, peer);
    struct event *events = calloc(FS_EVENTS_MAX + 1, sizeof *events);
    for (unsigned i = 0; i <= FS_EVENTS_MAX; i++) {
        events[i] = (struct event){.number = i + 1, .kind = EVENT_ARRIVED, .entry.version = id_random()};
        memset(events[i].pattern, 'p', NAME_SIZE_MAX);
        memset(events[i].entry.name, 'n', NAME_SIZE_MAX);
        memset(events[i].entry.owner, 'o', EVENT_PRINCIPAL_SIZE - 1);
    }
    struct failure why;
    assert_int_equal(sender_deliver(world->sender, &mailbox, 1, events, FS_EVENTS_MAX + 1, &why),
                     OUTCOME_INVALID);
    assert_int_equal(sender_deliver(world->sender, &mailbox, 1, events, 0, &why), OUTCOME_INVALID);
    assert_int_equal(sender_deliver(world->sender, &mailbox, 1, events, FS_EVENTS_MAX, &why), OUTCOME_OK);
    struct sender_result result = world_result(world);
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(result.acknowledged, FS_EVENTS_MAX);
    free(events);
    world_free(world);
    callback_peer_free(peer);
}

/* A HELLO answered in any way but the right one: no ticket is ever sent. */
static void without_the_proof_no_ticket(void **state)
{
    (void)state;
    static const struct {
        enum callback_manner manner;
        enum outcome outcome;
    } cases[] = {
        {PEER_LIES, OUTCOME_PROTOCOL},        {PEER_HANGS, OUTCOME_TIMEOUT},
        {PEER_HANGS_UP, OUTCOME_UNREACHABLE}, {PEER_CALLS_BACK, OUTCOME_PROTOCOL},
        {PEER_REFUSES, OUTCOME_DENIED},
    };
    struct sender_limits limits = world_limits();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world *world = world_new(&limits, NULL);
        struct callback_peer *peer = callback_peer_new(0);
        atomic_store(&peer->on_hello, cases[i].manner);
        struct id mailbox = world_prove(world, peer);
        assert_int_not_equal(sender_state_of(world->sender, &mailbox), SENDER_DIALBACK);
        assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_OK);
        struct sender_result result = world_result(world);
        assert_int_equal(result.outcome, cases[i].outcome);
        assert_int_equal(result.route, SENDER_NONE);
        assert_true(world_await_state(world, &mailbox, SENDER_NONE));
        assert_false(atomic_load(&peer->ticket_seen));
        assert_int_equal(atomic_load(&peer->notifies), 0);
        world_free(world);
        callback_peer_free(peer);
    }
}

static void a_notify_that_is_not_acknowledged(void **state)
{
    (void)state;
    static const struct {
        enum callback_manner manner;
        enum outcome outcome;
    } cases[] = {
        {PEER_LIES, OUTCOME_PROTOCOL},        {PEER_HANGS, OUTCOME_TIMEOUT},
        {PEER_HANGS_UP, OUTCOME_UNREACHABLE}, {PEER_CALLS_BACK, OUTCOME_PROTOCOL},
        {PEER_ACKNOWLEDGES_NONE, OUTCOME_OK},
    };
    struct sender_limits limits = world_limits();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct world *world = world_new(&limits, NULL);
        struct callback_peer *peer = callback_peer_new(0);
        atomic_store(&peer->on_notify, cases[i].manner);
        struct id mailbox = world_prove(world, peer);
        assert_int_equal(world_deliver(world, &mailbox, 1, 2), OUTCOME_OK);
        if (cases[i].manner == PEER_HANGS) /* one at a time */
            assert_int_equal(world_deliver(world, &mailbox, 3, 1), OUTCOME_HELD);
        struct sender_result result = world_result(world);
        assert_int_equal(result.outcome, cases[i].outcome);
        assert_int_equal(result.acknowledged, 0);
        /* and when it comes to its senses, it hears */
        atomic_store(&peer->on_notify, PEER_ANSWERS);
        assert_int_equal(world_deliver(world, &mailbox, 1, 2), OUTCOME_OK);
        result = world_result(world);
        assert_int_equal(result.outcome, OUTCOME_OK);
        assert_int_equal(result.acknowledged, 2);
        world_free(world);
        callback_peer_free(peer);
    }
}

static void a_wrong_ticket_leaves_the_route_proved(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *peer = callback_peer_new(0);
    atomic_store(&peer->on_notify, PEER_REFUSES);
    struct id mailbox = world_prove(world, peer);
    assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_OK);
    assert_int_equal(world_result(world).outcome, OUTCOME_DENIED);
    assert_int_equal(sender_state_of(world->sender, &mailbox), SENDER_DIALBACK);
    world_free(world);
    callback_peer_free(peer);
}

/* A client may close a connection that rests: the next delivery dials and proves again, and is not lost. */
static void a_rested_connection_that_broke_is_dialled_again(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    limits.reprove_first_ms = limits.reprove_last_ms = 60000;
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *peer = callback_peer_new(0);
    struct id mailbox = world_prove(world, peer);
    assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_OK);
    assert_int_equal(world_result(world).outcome, OUTCOME_OK);
    uint16_t port = peer->port;
    struct callback_peer *successor;
    struct id proof = peer->proof, ticket = peer->ticket;
    callback_peer_free(peer);
    successor = callback_peer_new(port);
    successor->proof = proof;
    successor->ticket = ticket;
    assert_int_equal(world_deliver(world, &mailbox, 2, 1), OUTCOME_OK);
    struct sender_result result = world_result(world);
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(atomic_load(&successor->hellos), 1);
    assert_int_equal(sender_state_of(world->sender, &mailbox), SENDER_DIALBACK);
    world_free(world);
    callback_peer_free(successor);
}

/* Another process on the same port is not told anything. */
static void a_stranger_on_the_port_gets_no_ticket(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *peer = callback_peer_new(0);
    struct id mailbox = world_prove(world, peer);
    assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_OK);
    assert_int_equal(world_result(world).outcome, OUTCOME_OK);
    uint16_t port = peer->port;
    struct id ticket = peer->ticket;
    callback_peer_free(peer);
    struct callback_peer *stranger = callback_peer_new(port);
    stranger->ticket = ticket;
    assert_int_equal(world_deliver(world, &mailbox, 2, 1), OUTCOME_OK);
    assert_int_equal(world_result(world).outcome, OUTCOME_PROTOCOL);
    assert_false(atomic_load(&stranger->ticket_seen));
    assert_true(atomic_load(&stranger->hellos) > 0);
    world_free(world);
    callback_peer_free(stranger);
}

static void nobody_there_then_somebody(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *peer = callback_peer_new(0);
    struct sender_route route = world_route(peer);
    uint16_t port = peer->port;
    struct id mailbox = id_random();
    callback_peer_free(peer);
    assert_int_equal(sender_prove(world->sender, &mailbox, &route, NULL), OUTCOME_OK);
    assert_true(world_await_state(world, &mailbox, SENDER_NONE));
    assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_OK);
    assert_int_equal(world_result(world).outcome, OUTCOME_UNREACHABLE);
    /* proved again in the background, with back-off */
    peer = callback_peer_new(port);
    peer->proof = route.proof;
    peer->ticket = route.ticket;
    assert_true(world_await_state(world, &mailbox, SENDER_DIALBACK));
    world_free(world);
    callback_peer_free(peer);
}

static void a_new_route_takes_the_batch_along(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    limits.call_ms = 60000;
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *hung = callback_peer_new(0), *well = callback_peer_new(0);
    atomic_store(&hung->on_notify, PEER_HANGS);
    struct id mailbox = world_prove(world, hung);
    assert_int_equal(world_deliver(world, &mailbox, 5, 1), OUTCOME_OK);
    int64_t until = now_ms() + (int64_t)10000 * slowness();
    while (atomic_load(&hung->notifies) == 0 && now_ms() < until)
        poll(NULL, 0, 2);
    assert_int_equal(atomic_load(&hung->notifies), 1);
    struct sender_route route = world_route(well);
    assert_int_equal(sender_prove(world->sender, &mailbox, &route, NULL), OUTCOME_OK);
    struct sender_result result = world_result(world);
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(result.acknowledged, 5);
    assert_int_equal(atomic_load(&well->event_count), 1);
    world_free(world);
    callback_peer_free(hung);
    callback_peer_free(well);
}

static void forgetting_ends_what_is_in_flight(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    limits.call_ms = 60000;
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *peer = callback_peer_new(0);
    atomic_store(&peer->on_notify, PEER_HANGS);
    struct id mailbox = world_prove(world, peer), stopped = world_prove(world, peer);
    assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_OK);
    sender_forget(world->sender, &mailbox);
    assert_int_equal(world_result(world).outcome, OUTCOME_UNREACHABLE);
    assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_ABSENT);
    assert_int_equal(world_deliver(world, &stopped, 1, 1), OUTCOME_OK);
    sender_stop(world->sender);
    assert_int_equal(world_result(world).outcome, OUTCOME_STOPPED);
    assert_int_equal(world_deliver(world, &stopped, 1, 1), OUTCOME_STOPPED);
    world_free(world);
    callback_peer_free(peer);
}

static void bounds_hold(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    limits.mailboxes = 2;
    limits.deliveries = 1;
    limits.connections = 1;
    limits.call_ms = 60000;
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *a = callback_peer_new(0), *b = callback_peer_new(0);
    struct id first = world_prove(world, a);
    assert_true(world_await_state(world, &first, SENDER_DIALBACK));
    /* the second connection takes the place of the first, which rests; both stay proved */
    struct id second = world_prove(world, b);
    assert_true(world_await_state(world, &second, SENDER_DIALBACK));
    assert_int_equal(sender_state_of(world->sender, &first), SENDER_DIALBACK);
    atomic_store(&b->on_notify, PEER_HANGS);
    assert_int_equal(world_deliver(world, &second, 1, 1), OUTCOME_OK);
    assert_int_equal(world_deliver(world, &first, 1, 1), OUTCOME_LIMIT);
    /* a third takes the place of the one that rests */
    struct sender_route route = world_route(a);
    struct id third = id_random();
    assert_int_equal(sender_prove(world->sender, &third, &route, NULL), OUTCOME_OK);
    assert_false(sender_route_of(world->sender, &first, NULL));
    sender_forget(world->sender, &second);
    assert_int_equal(world_result(world).outcome, OUTCOME_UNREACHABLE);
    world_free(world);
    callback_peer_free(a);
    callback_peer_free(b);
}

/* All connections are taken by peers that do not answer HELLO: a moment later others have them. */
static void strangers_keep_nobody_out(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    limits.connections = 2;
    limits.connect_ms = 60000;
    limits.reprove_first_ms = limits.reprove_last_ms = 60000;
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *strangers[2], *well = callback_peer_new(0);
    struct id mailboxes[2];
    for (int i = 0; i < 2; i++) {
        strangers[i] = callback_peer_new(0);
        atomic_store(&strangers[i]->on_hello, PEER_HANGS);
        mailboxes[i] = world_prove(world, strangers[i]);
    }
    struct id mailbox = world_prove(world, well);
    enum outcome outcome = OUTCOME_LIMIT;
    for (int64_t until = now_ms() + (int64_t)10000 * slowness();
         outcome == OUTCOME_LIMIT && now_ms() < until;) {
        assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_OK);
        outcome = world_result(world).outcome;
        poll(NULL, 0, 5);
    }
    assert_int_equal(outcome, OUTCOME_OK);
    assert_int_equal(sender_state_of(world->sender, &mailbox), SENDER_DIALBACK);
    /* the older one gave way, the other is still waited for */
    assert_true(world_await_state(world, &mailboxes[0], SENDER_NONE));
    assert_int_equal(sender_state_of(world->sender, &mailboxes[1]), SENDER_PROVING);
    world_free(world);
    for (int i = 0; i < 2; i++)
        callback_peer_free(strangers[i]);
    callback_peer_free(well);
}

static void dialled_from_the_port_that_was_asked_for(void **state)
{
    (void)state;
    /* a port that was free a moment ago */
    struct callback_peer *peer = callback_peer_new(0), *probe = callback_peer_new(0);
    uint16_t port = probe->port;
    callback_peer_free(probe);
    struct sender_limits limits = world_limits();
    limits.outgoing_port = port;
    struct world *world = world_new(&limits, NULL);
    struct id mailbox = world_prove(world, peer);
    assert_true(world_await_state(world, &mailbox, SENDER_DIALBACK));
    assert_int_equal(address_port(&peer->last_from), port);
    world_free(world);
    callback_peer_free(peer);
}

/* Two of 200 never answer: the others hear at once. */
static void hung_peers_delay_nobody(void **state)
{
    (void)state;
    enum { COUNT = 200, HUNG = 2 };
    struct sender_limits limits = world_limits();
    limits.connect_ms = limits.call_ms = 60000;
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *peers[COUNT];
    struct id mailboxes[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        peers[i] = callback_peer_new(0);
        if (i < HUNG)
            atomic_store(i == 0 ? &peers[i]->on_hello : &peers[i]->on_notify, PEER_HANGS);
        mailboxes[i] = world_prove(world, peers[i]);
    }
    int64_t began = now_ms();
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(world_deliver(world, &mailboxes[i], 1, 1), OUTCOME_OK);
    assert_int_equal(world_await(world, COUNT - HUNG), COUNT - HUNG);
    int64_t took = now_ms() - began;
    print_message("%d of %d heard in %.3f s\n", COUNT - HUNG, COUNT, (double)took / 1e3);
    assert_true(took < (int64_t)10000 * slowness());
    for (unsigned i = 0; i < world->count; i++)
        assert_int_equal(world->results[i].outcome, OUTCOME_OK);
    world_free(world);
    for (unsigned i = 0; i < COUNT; i++)
        callback_peer_free(peers[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_proved_route_delivers_in_order),
        cmocka_unit_test(a_full_batch_of_longest_events_goes_whole),
        cmocka_unit_test(without_the_proof_no_ticket),
        cmocka_unit_test(a_notify_that_is_not_acknowledged),
        cmocka_unit_test(a_wrong_ticket_leaves_the_route_proved),
        cmocka_unit_test(a_rested_connection_that_broke_is_dialled_again),
        cmocka_unit_test(a_stranger_on_the_port_gets_no_ticket),
        cmocka_unit_test(nobody_there_then_somebody),
        cmocka_unit_test(a_new_route_takes_the_batch_along),
        cmocka_unit_test(forgetting_ends_what_is_in_flight),
        cmocka_unit_test(bounds_hold),
        cmocka_unit_test(strangers_keep_nobody_out),
        cmocka_unit_test(dialled_from_the_port_that_was_asked_for),
        cmocka_unit_test(hung_peers_delay_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
