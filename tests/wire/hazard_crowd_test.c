/* Many peers: more than there are descriptors, idle ones by the thousand, ones that vanish. */
#include "place.h"
#include "wire/peer.h"
#include "wire/small_program.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { DESCRIPTORS = 64, CLIENTS_EACH = 2500 };

static struct small_server small;

/* ---- descriptors run out: a server in a process of its own, with few of them ---- */

static void take_all(struct rpc_limits *limits)
{
    /* More than there are descriptors: the engine's own bound must not be what saves it. */
    limits->connections = 1000;
    limits->connections_per_address = 1000;
}

static void serve_with_few(int tell, int until)
{
    const struct rlimit few = {DESCRIPTORS, DESCRIPTORS};
    struct address address;
    char byte;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (setrlimit(RLIMIT_NOFILE, &few) != 0)
        _exit(1);
    small_server_start(&small, take_all);
    address = small.tcp;
    if (write(tell, &address, sizeof address) != sizeof address)
        _exit(1);
    (void)!read(until, &byte, 1);
    struct rpc_server_counters counters = small_server_count(&small);
    int64_t used = cpu_ms();
    (void)!write(tell, &counters, sizeof counters);
    (void)!write(tell, &used, sizeof used);
    small_server_stop(&small);
    _exit(0);
}

static void test_descriptors_run_out(void **state)
{
    int tell[2], until[2], idle[120], status;
    struct address address;
    struct rpc_server_counters counters;
    int64_t used;

    (void)state;
    if (slowness() >= 50)
        skip(); /* valgrind keeps descriptors of its own, and closes what it cannot number */
    assert_int_equal(pipe(tell), 0);
    assert_int_equal(pipe(until), 0);
    pid_t server = fork();
    assert_true(server >= 0);
    if (server == 0)
        serve_with_few(tell[1], until[0]);
    close(tell[1]);
    close(until[0]);
    assert_int_equal(read(tell[0], &address, sizeof address), sizeof address);

    int inside = peer_connect(&address);
    peer_null(inside, SMALL_PROGRAM);
    for (int i = 0; i < 120; i++)
        idle[i] = peer_connect(&address); /* the kernel takes them into its backlog */
    unsigned late = 0;
    for (int i = 0; i < 100; i++) {
        int64_t began = now_ms();
        peer_null(inside, SMALL_PROGRAM);
        late += now_ms() - began > NULL_MS * slowness();
    }
    assert_true(late <= 2); /* the machine's own pauses */
    poll(NULL, 0, 1000);
    /* Some leave: those who waited come in. */
    for (int i = 0; i < 110; i++)
        close(idle[i]);
    peer_null(idle[119], SMALL_PROGRAM);
    assert_int_equal(write(until[1], "x", 1), 1);
    assert_int_equal(read(tell[0], &counters, sizeof counters), sizeof counters);
    assert_int_equal(read(tell[0], &used, sizeof used), sizeof used);
    assert_true(counters.accept_pauses > 0);
    assert_true(used <= 300 * slowness()); /* of more than a second: no circles */
    assert_int_equal(waitpid(server, &status, 0), server);
    assert_int_equal(status, 0);
    for (int i = 110; i < 120; i++)
        close(idle[i]);
    close(inside);
    close(tell[0]);
    close(until[1]);
}

/* ---- bounds of our own ---- */

static void few_each(struct rpc_limits *limits)
{
    limits->connections_per_address = 10;
}

static void test_connections_of_one_address(void **state)
{
    int peers[11];

    (void)state;
    small_server_start(&small, few_each);
    for (int i = 0; i < 11; i++)
        peers[i] = peer_connect(&small.tcp);
    for (int i = 0; i < 10; i++)
        peer_null(peers[i], SMALL_PROGRAM);
    assert_true(peer_is_cut(peers[10]));
    assert_int_equal(small_server_count(&small).connections_refused, 1);
    for (int i = 0; i < 11; i++)
        close(peers[i]);
    /* Once they are gone there is room again. */
    int64_t until = now_ms() + 5000 * slowness();
    while (small_server_count(&small).connections_open > 0 && now_ms() < until)
        poll(NULL, 0, 5);
    int fd = peer_connect(&small.tcp);
    peer_null(fd, SMALL_PROGRAM);
    close(fd);
    small_server_stop(&small);
}

/* On a Unix socket it is the uid that has so many. */
static void test_connections_of_one_uid(void **state)
{
    char folder[PLACE_SIZE], path[PLACE_SIZE + 8];
    struct address local;
    struct rpc_server *server;
    struct rpc_server_options options = {.program = &small_program,
                                         .limits = rpc_limits_default(),
                                         .clock = clock_system(),
                                         .name = "uid"};
    int peers[11];

    (void)state;
    few_each(&options.limits);
    assert_non_null(place_make(folder, place_on_disk(), "crowd"));
    snprintf(path, sizeof path, "%s/socket", folder);
    assert_int_equal(address_local(path, &local, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_new(&options, &server, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(server, &local, NULL, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_start(server, NULL), OUTCOME_OK);
    for (int i = 0; i < 11; i++)
        peers[i] = peer_connect(&local);
    for (int i = 0; i < 10; i++)
        peer_null(peers[i], SMALL_PROGRAM);
    assert_true(peer_is_cut(peers[10]));
    for (int i = 0; i < 11; i++)
        close(peers[i]);
    rpc_server_stop(server, 1000);
    rpc_server_free(server);
    rmdir(folder);
}

static void few(struct rpc_limits *limits)
{
    limits->connections = 10;
    limits->connections_per_address = 10;
}

/* All places taken: others wait in the kernel until one is free. */
static void test_connections_in_all(void **state)
{
    int peers[12];

    (void)state;
    small_server_start(&small, few);
    for (int i = 0; i < 12; i++)
        peers[i] = peer_connect(&small.tcp);
    for (int i = 0; i < 10; i++)
        peer_null(peers[i], SMALL_PROGRAM);
    assert_int_equal(small_server_count(&small).connections_open, 10);
    close(peers[0]);
    close(peers[1]);
    peer_null(peers[10], SMALL_PROGRAM);
    peer_null(peers[11], SMALL_PROGRAM);
    for (int i = 2; i < 12; i++)
        close(peers[i]);
    small_server_stop(&small);
}

/* ---- thousands that do nothing ---- */

/* A process that holds so many connections until it is told to end. */
static pid_t hold_idle(unsigned count, int *ready)
{
    int pipes[2];
    char byte = 'r';

    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (unsigned i = 0; i < count; i++)
            peer_connect(&small.tcp);
        (void)!write(pipes[1], &byte, 1);
        pause();
        _exit(0);
    }
    close(pipes[1]);
    *ready = pipes[0];
    return child;
}

static void all_from_here(struct rpc_limits *limits)
{
    limits->connections_per_address = 15000;
}

static void test_idle_connections(void **state)
{
    unsigned all = is_heavy() ? 10000 : 500;
    unsigned each = is_heavy() ? CLIENTS_EACH : 500;
    unsigned count = all / each;
    pid_t holders[16];

    (void)state;
    small_server_start(&small, all_from_here);
    size_t before = resident_bytes();
    for (unsigned i = 0; i < count; i++) {
        int ready;
        char byte;
        holders[i] = hold_idle(each, &ready);
        assert_int_equal(read(ready, &byte, 1), 1);
        close(ready);
    }
    int64_t until = now_ms() + 20000 * slowness();
    while (small_server_count(&small).connections_open < all && now_ms() < until)
        poll(NULL, 0, 10);
    assert_int_equal(small_server_count(&small).connections_open, all);
    assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 100));
    /* A few kilobytes each. */
    assert_true(resident_grew_less(before, (size_t)all * 4096 + (8 << 20)));
    int64_t used = cpu_ms();
    poll(NULL, 0, 1000);
    assert_true(cpu_ms() - used <= 100 * slowness());
    for (unsigned i = 0; i < count; i++) {
        kill(holders[i], SIGKILL);
        waitpid(holders[i], NULL, 0);
    }
    small_server_stop(&small);
}

/* ---- peers that vanish ---- */

static void connect_and_reset(unsigned times)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    for (unsigned i = 0; i < times; i++) {
        int fd = peer_connect(&small.tcp);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (i % 2)
            peer_send(fd, "\x80\0\1\0half", 8);
        close(fd);
    }
}

/* Empty, and empty for a while: those that wait to be accepted come one by one. */
static void wait_until_empty(void)
{
    enum { QUIET = 40 };
    int64_t until = now_ms() + 10000 * slowness();
    unsigned quiet = 0;

    while (quiet < QUIET && now_ms() < until) {
        struct rpc_server_counters counters = small_server_count(&small);
        quiet = counters.connections_open == 0 && counters.in_flight_bytes == 0 ? quiet + 1 : 0;
        poll(NULL, 0, 5);
    }
    assert_int_equal(quiet, QUIET);
}

static void test_resets(void **state)
{
    (void)state;
    small_server_start(&small, NULL);
    connect_and_reset(500);
    wait_until_empty();
    size_t before = resident_bytes();
    connect_and_reset(3000);
    wait_until_empty();
    assert_true(resident_grew_less(before, 8 << 20)); /* libtirpc: 61 MB */
    assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 10));
    small_server_stop(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors_run_out),    cmocka_unit_test(test_connections_of_one_address),
        cmocka_unit_test(test_connections_of_one_uid), cmocka_unit_test(test_connections_in_all),
        cmocka_unit_test(test_idle_connections),       cmocka_unit_test(test_resets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
