/* How far away a peer is, and room for what comes from there: rpc/distance.h. */
#include "rpc/distance.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void connect_pair(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr any;
    socklen_t size = sizeof any;
    int listening = socket(AF_INET, SOCK_STREAM, 0);

    memcpy(&any, &address, sizeof any);
    assert_int_equal(bind(listening, &any, sizeof any), 0);
    assert_int_equal(listen(listening, 1), 0);
    assert_int_equal(getsockname(listening, &any, &size), 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(ends[0], &any, sizeof any), 0);
    ends[1] = accept(listening, NULL, NULL);
    assert_true(ends[1] >= 0);
    close(listening);
}

static void close_pair(const int ends[2])
{
    close(ends[0]);
    close(ends[1]);
}

static int option_of(int fd, int option)
{
    int value = -1;
    socklen_t size = sizeof value;

    assert_int_equal(getsockopt(fd, SOL_SOCKET, option, &value, &size), 0);
    return value;
}

static void test_how_far(void **state)
{
    int ends[2];

    (void)state;
    connect_pair(ends);
    assert_in_range(distance_of(ends[0]), 1, INT64_C(1000000000));
    close_pair(ends);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(distance_of(ends[0]), 0);
    close_pair(ends);
    assert_int_equal(distance_of(-1), 0);
}

static void test_room(void **state)
{
    int ends[2];

    (void)state;
    connect_pair(ends);
    int before = option_of(ends[1], SO_RCVBUF);
    distance_make_room(ends[1], 2 * before);
    assert_in_range(option_of(ends[1], SO_RCVBUF), 2 * before, INT32_MAX);
    /* It has more room, and is woken by a single byte as ever. */
    assert_int_equal(option_of(ends[1], SO_RCVLOWAT), 1);
    struct pollfd polled = {.fd = ends[1], .events = POLLIN};
    assert_int_equal(poll(&polled, 1, 0), 0);
    assert_int_equal(send(ends[0], "x", 1, 0), 1);
    assert_int_equal(poll(&polled, 1, 10000), 1);
    /* Less than it has takes nothing away. */
    int wide = option_of(ends[1], SO_RCVBUF);
    distance_make_room(ends[1], before / 2);
    assert_int_equal(option_of(ends[1], SO_RCVBUF), wide);
    close_pair(ends);
}

/* What has no such buffer is left as it is. */
static void test_no_network(void **state)
{
    int ends[2];
    char byte = 0;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    distance_make_room(ends[1], DISTANCE_ROOM);
    assert_int_equal(send(ends[0], "x", 1, 0), 1);
    assert_int_equal(recv(ends[1], &byte, 1, 0), 1);
    close_pair(ends);
    distance_make_room(-1, DISTANCE_ROOM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_how_far),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_no_network),
    };

    return cmocka_run_group_tests_name("distance", tests, NULL, NULL);
}
