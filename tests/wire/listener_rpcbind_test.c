/* The callback program in a real rpcbind, and found there by the sender. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "callback/listener.h"
#include "rpc/rpcbind.h"
#include "wire/rpcbind_world.h"
#include "wire/sender_world.h"

#include <stdatomic.h>
#include <string.h>

static uint64_t show(void *context, const struct event *events, size_t count, bool reversed)
{
    (void)reversed;
    atomic_fetch_add((_Atomic unsigned *)context, (unsigned)count);
    return events[count - 1].number;
}

static struct listener *listener_at(const char *host)
{
    struct listener_options options = {.without_rpcbind = false};
    struct listener *listener;
    struct failure why;
    assert_int_equal(address_ip(host, 0, &options.local, &why), OUTCOME_OK);
    assert_int_equal(listener_new(&options, &listener, &why), OUTCOME_OK);
    return listener;
}

static enum outcome find(const struct address *host, uint32_t number, struct address *found)
{
    return rpcbind_find(host, number, FILESHARE_CALLBACK_V1, 5000, 0, found, NULL);
}

static void found_where_it_says(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    for (int i = 0; i < 2; i++) {
        struct listener *first = listener_at(hosts[i]), *second = listener_at(hosts[i]);
        struct address host = *listener_address(first), found;
        uint32_t number = listener_number(first), other = listener_number(second);
        assert_true(listener_is_registered(first) && listener_is_registered(second));
        assert_true(number >= FS_TRANSIENT_MIN && number <= FS_TRANSIENT_MAX);
        assert_int_not_equal(number, other);
        assert_int_equal(find(&host, number, &found), OUTCOME_OK);
        assert_int_equal(address_port(&found), address_port(listener_address(first)));
        assert_true(rpcbind_is_alive(&found, number, FILESHARE_CALLBACK_V1, 5000));
        listener_free(first);
        assert_int_equal(find(&host, number, &found), OUTCOME_ABSENT);
        assert_int_equal(find(&host, other, &found), OUTCOME_OK);
        listener_free(second);
    }
}

/* The client hands over no port: its rpcbind is asked on port 111. */
static void the_sender_asks_for_the_port(void **state)
{
    (void)state;
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    struct sender_limits limits = world_limits();
    assert_int_equal(limits.rpcbind_port, 111);
    limits.connect_ms = 5000;
    for (int i = 0; i < 2; i++) {
        struct world *world = world_new(&limits, NULL);
        struct listener *listener = listener_at(hosts[i]);
        _Atomic unsigned shown = 0;
        struct sender_route route = {.program = listener_number(listener),
                                     .ask_rpcbind = true,
                                     .peer = *listener_address(listener),
                                     .local = *listener_address(listener),
                                     .proof = *listener_proof(listener),
                                     .ticket = id_random()};
        struct id mailbox = id_random();
        struct failure why;
        address_set_port(&route.peer, 0);
        assert_int_equal(listener_add(listener, &route.ticket, 0, show, &shown, &why), OUTCOME_OK);
        assert_int_equal(sender_prove(world->sender, &mailbox, &route, &why), OUTCOME_OK);
        assert_int_equal(world_deliver(world, &mailbox, 1, 2), OUTCOME_OK);
        struct sender_result result = world_result(world);
        assert_int_equal(result.outcome, OUTCOME_OK);
        assert_int_equal(result.route, SENDER_DIALBACK);
        assert_int_equal(atomic_load(&shown), 2);
        listener_free(listener);
        world_free(world);
    }
}

/* Without rpcbind any number will do, unregistered. */
static void without_rpcbind(void **state)
{
    (void)state;
    rpcbind_world_need();
    struct listener *listener = listener_at("127.0.0.1");
    assert_false(listener_is_registered(listener));
    assert_true(
        rpcbind_is_alive(listener_address(listener), listener_number(listener), FILESHARE_CALLBACK_V1, 5000));
    listener_free(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(found_where_it_says, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test_setup_teardown(the_sender_asks_for_the_port, rpcbind_world_begin, rpcbind_world_end),
        cmocka_unit_test(without_rpcbind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
