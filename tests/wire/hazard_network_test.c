/* One host of an IPv6 network has as many addresses as it likes: its /64 is what is counted. */
#include "wire/peer.h"
#include "wire/small_program.h"

#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { EACH = 4, NO_NETWORK = 77 };

/* A connection from this address of ours. */
static int connect_from(const char *from, const struct address *to)
{
    const struct timeval deadline = {.tv_sec = 5};
    struct address own;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline), 0);
    assert_int_equal(address_ip(from, 0, &own, NULL), OUTCOME_OK);
    assert_int_equal(bind(fd, &own.any, sizeof own.in6), 0);
    assert_int_equal(connect(fd, &to->any, sizeof to->in6), 0);
    return fd;
}

/* Four are allowed to a network: the fifth is cut although its address is new; another network has its own four. */
static void crowd(void)
{
    struct rpc_server_options options = {.program = &small_program,
                                         .limits = rpc_limits_default(),
                                         .clock = clock_system(),
                                         .name = "network"};
    struct rpc_server *server;
    struct address listening, address;
    char from[64];
    int peers[EACH + 1];

    options.limits.connections_per_address = EACH;
    assert_int_equal(rpc_server_new(&options, &server, NULL), OUTCOME_OK);
    assert_int_equal(address_ip("::", 0, &listening, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(server, &listening, &address, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_start(server, NULL), OUTCOME_OK);
    address.in6.sin6_addr = in6addr_loopback;
    for (int i = 0; i < EACH + 1; i++) {
        snprintf(from, sizeof from, "fd00:1::%d", i + 1);
        peers[i] = connect_from(from, &address);
    }
    for (int i = 0; i < EACH; i++)
        peer_null(peers[i], SMALL_PROGRAM);
    assert_true(peer_is_cut(peers[EACH]));
    int other = connect_from("fd00:2::1", &address);
    peer_null(other, SMALL_PROGRAM);
    close(other);
    for (int i = 0; i < EACH + 1; i++)
        close(peers[i]);
    rpc_server_stop(server, 1000);
    rpc_server_free(server);
}

static bool make_networks(void)
{
    return unshare(CLONE_NEWNET) == 0 && system("ip link set lo up") == 0 &&
           system("for i in 1 2 3 4 5; do ip addr add fd00:1::$i/64 dev lo nodad || exit 1; done "
                  "2>/dev/null && ip addr add fd00:2::1/64 dev lo nodad 2>/dev/null") == 0;
}

static void test_connections_of_one_network(void **state)
{
    int status;

    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (!make_networks())
            _exit(NO_NETWORK);
        crowd();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NETWORK)
        skip(); /* only root has a network of its own, and not each kernel IPv6 */
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_connections_of_one_network)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
