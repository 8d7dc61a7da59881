/* Many small calls, some in flight at once: none waits for an acknowledgement of the other end's kernel. */
#include "rpc/client.h"
#include "wire/peer.h"
#include "wire/small_program.h"

#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <cmocka.h>

enum { ROUNDS = 1600, IN_FLIGHT = 3, BOUND_MS = 7400 /* ten times what 4,800 calls took */ };

static bool_t nothing(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

static bool_t hyper(XDR *xdrs, ...)
{
    va_list arguments;
    va_start(arguments, xdrs);
    bool_t done = xdr_u_int64_t(xdrs, va_arg(arguments, uint64_t *));
    va_end(arguments);
    return done;
}

static struct rpc_client *connected(const struct address *address)
{
    struct rpc_client_options options = {.number = SMALL_PROGRAM, .version = 1, .program = &small_program};
    struct rpc_client *client = NULL;
    struct failure why = {0};
    if (rpc_client_connect(address, &options, &client, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    return client;
}

static void call_some(struct rpc_client *client)
{
    struct rpc_pending *pending[IN_FLIGHT];
    uint64_t number;
    for (int i = 0; i < IN_FLIGHT; i++)
        assert_int_equal(rpc_client_begin(client, SMALL_HELLO, nothing, NULL, NULL, &pending[i], NULL), OUTCOME_OK);
    for (int i = 0; i < IN_FLIGHT; i++) {
        assert_int_equal(rpc_client_await(client, pending[i], hyper, &number, NULL), OUTCOME_OK);
        rpc_pending_free(client, pending[i]);
    }
}

/* Both ends of each connection are in this process. How many there are. */
static unsigned expect_no_delay(void)
{
    unsigned connections = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    for (struct dirent *at = readdir(folder); at; at = readdir(folder)) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer, value_size = sizeof(int);
        int fd = atoi(at->d_name), on = 0;
        if (at->d_name[0] == '.' || getpeername(fd, (struct sockaddr *)&peer, &size) < 0 ||
            peer.ss_family != AF_INET)
            continue;
        assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &value_size), 0);
        assert_true(on);
        connections++;
    }
    closedir(folder);
    return connections;
}

static void test_small_calls(void **state)
{
    (void)state;
    struct small_server server;
    small_server_start(&server, NULL);
    struct rpc_client *client = connected(&server.tcp);
    call_some(client);
    assert_int_equal(expect_no_delay(), 2);
    int64_t began = now_ms();
    for (int i = 0; i < ROUNDS; i++)
        call_some(client);
    print_message("%d small calls in %lld ms\n", ROUNDS * IN_FLIGHT, (long long)(now_ms() - began));
    assert_true(now_ms() - began < BOUND_MS * (int64_t)slowness());
    rpc_client_close(client);
    small_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_small_calls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
