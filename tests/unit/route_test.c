/* A mailbox's route as the bytes that the store keeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "server/delivery/route.h"

#include <string.h>

static struct sender_route sample(const char *peer, const char *local)
{
    struct sender_route route = {.program = 0x40001234,
                                 .ask_rpcbind = true,
                                 .proof = id_random(),
                                 .ticket = id_random(),
                                 .connection = 99};
    assert_int_equal(address_ip(peer, 40000, &route.peer, NULL), OUTCOME_OK);
    assert_int_equal(address_ip(local, 0, &route.local, NULL), OUTCOME_OK);
    return route;
}

static void assert_same(const struct sender_route *a, const struct sender_route *b)
{
    char of_a[ADDRESS_TEXT_SIZE], of_b[ADDRESS_TEXT_SIZE];
    assert_int_equal(a->program, b->program);
    assert_int_equal(a->ask_rpcbind, b->ask_rpcbind);
    assert_true(id_equal(&a->proof, &b->proof));
    assert_true(id_equal(&a->ticket, &b->ticket));
    assert_string_equal(address_text(&a->peer, of_a), address_text(&b->peer, of_b));
    assert_string_equal(address_text(&a->local, of_a), address_text(&b->local, of_b));
}

static void there_and_back(void **state)
{
    (void)state;
    struct sender_route routes[] = {
        sample("192.0.2.7", "192.0.2.1"),
        sample("2001:db8::7", "2001:db8::1"),
        sample("fe80::7%1", "fe80::1%1"),
        {.program = 0, .ticket = id_random()},
    };
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        uint8_t bytes[ROUTE_SIZE_MAX];
        struct sender_route back;
        size_t size = route_encode(&routes[i], bytes);
        assert_true(size > 0 && size <= ROUTE_SIZE_MAX);
        assert_true(route_decode(bytes, size, &back));
        assert_same(&routes[i], &back);
        assert_int_equal(back.connection, 0);
    }
}

static void what_is_no_route(void **state)
{
    (void)state;
    struct sender_route route = sample("2001:db8::7", "192.0.2.1"), back;
    uint8_t bytes[ROUTE_SIZE_MAX + 1] = {0};
    size_t size = route_encode(&route, bytes);
    for (size_t cut = 0; cut < size; cut++)
        assert_false(route_decode(bytes, cut, &back));
    assert_false(route_decode(bytes, size + 1, &back));
    assert_false(route_decode(bytes, sizeof bytes, &back));
    bytes[0]++;
    assert_false(route_decode(bytes, size, &back));
    bytes[0]--;
    assert_true(route_decode(bytes, size, &back));
    /* a family that is none */
    bytes[1 + 4 + 1 + 2 * ID_SIZE] = 5;
    assert_false(route_decode(bytes, size, &back));
    /* a program, and nowhere to dial it */
    route.peer.size = 0;
    size = route_encode(&route, bytes);
    assert_false(route_decode(bytes, size, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(what_is_no_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
