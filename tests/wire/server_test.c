/* The server as a well-behaved peer sees it: versions, programs, procedures, credentials. */
#include "place.h"
#include "rpc/server.h"
#include "wire/peer.h"
#include "wire/small_program.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct small_server small;

static int set_up(void **state)
{
    (void)state;
    small_server_start(&small, NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    small_server_stop(&small);
    return 0;
}

/* What a call is answered with, as words from the reply status on. */
static void expect(struct call_form form, const uint32_t *wanted, size_t count)
{
    uint32_t words[64];
    int fd = peer_connect(&small.tcp);

    assert_int_equal(peer_call(fd, &form, words, 64), count);
    assert_memory_equal(words, wanted, count * 4);
    /* The connection is good for more. */
    peer_null(fd, SMALL_PROGRAM);
    close(fd);
}

#define EXPECT(form, ...) \
    expect(form, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

static void test_null(void **state)
{
    (void)state;
    EXPECT(call_of(SMALL_PROGRAM, 1, 0), 0, 0, 0, 0);
    assert_int_equal(rpc_server_calls(small.server, 0), 2);
    assert_int_equal(small_server_count(&small).calls, 2);
    assert_int_equal(small_server_count(&small).connections, 1);
}

static void test_versions(void **state)
{
    struct call_form form = call_of(SMALL_PROGRAM, 1, 0);

    (void)state;
    EXPECT(call_of(SMALL_PROGRAM, 0, 0), 0, 0, 0, 2, 1, 1);
    EXPECT(call_of(SMALL_PROGRAM, 2, 0), 0, 0, 0, 2, 1, 1);
    EXPECT(call_of(SMALL_PROGRAM, 0xffffffff, 0), 0, 0, 0, 2, 1, 1);
    EXPECT(call_of(SMALL_PROGRAM + 1, 1, 0), 0, 0, 0, 1);
    EXPECT(call_of(SMALL_PROGRAM, 1, SMALL_COUNT), 0, 0, 0, 3);
    EXPECT(call_of(SMALL_PROGRAM, 1, 0xffffffff), 0, 0, 0, 3);
    form.rpc_version = 3;
    EXPECT(form, 1, 0, 2, 2);
    assert_int_equal(small_server_count(&small).calls_refused, 7);
}

static void test_gate(void **state)
{
    (void)state;
    /* AUTH_NONE: enough for NULL and HELLO, too weak for all else. */
    EXPECT(call_of(SMALL_PROGRAM, 1, SMALL_WHO), 1, 1, AUTH_TOOWEAK);
    uint32_t words[64];
    int fd = peer_connect(&small.tcp);
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_HELLO);
    assert_int_equal(peer_call(fd, &form, words, 64), 6);
    assert_true(words[4] || words[5]);
    close(fd);
}

static void test_malformed_credentials(void **state)
{
    uint8_t good[64], bytes[512] = {0};
    uint32_t size = credential_of(1, good);
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_WHO);

    (void)state;
    form.flavor = AUTH_SYS;
    form.credential = bytes;
    form.credential_size = 0;
    EXPECT(form, 1, 1, AUTH_BADCRED);
    /* Cut short by a word; a word too long; a machine name, or groups, that claim more than is there. */
    memcpy(bytes, good, size);
    form.credential_size = size - 4;
    EXPECT(form, 1, 1, AUTH_BADCRED);
    form.credential_size = size + 4;
    EXPECT(form, 1, 1, AUTH_BADCRED);
    form.credential_size = size;
    bytes[4] = 0xff;
    EXPECT(form, 1, 1, AUTH_BADCRED);
    memcpy(bytes, good, size);
    bytes[size - 1] = 17;
    form.credential_size = size + 17 * 4;
    EXPECT(form, 1, 1, AUTH_BADCRED);
    /* The largest that may be is malformed; one byte more cannot even be read. */
    form.credential_size = 400;
    EXPECT(form, 1, 1, AUTH_BADCRED);
    form.credential_size = 401;
    EXPECT(form, 1, 1, AUTH_BADCRED);
    form.flavor = 12345;
    form.credential_size = 0;
    EXPECT(form, 1, 1, AUTH_REJECTEDCRED);
    /* NULL takes anything that can be read. */
    form.procedure = 0;
    form.credential_size = 400;
    EXPECT(form, 0, 0, 0, 0);
}

static void expect_who(const struct address *address, uint32_t claimed, const char *wanted)
{
    uint8_t credential[64];
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_WHO);
    uint8_t message[CALL_MAX], reply[CALL_MAX];
    int fd = peer_connect(address);

    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(claimed, credential);
    peer_send_record(fd, message, call_encode(&form, message, sizeof message));
    assert_true(peer_receive(fd, reply, sizeof reply) >= REPLY_HEADER + 4 + strlen(wanted));
    assert_int_equal(reply[REPLY_HEADER + 3], strlen(wanted));
    assert_memory_equal(reply + REPLY_HEADER + 4, wanted, strlen(wanted));
    close(fd);
}

/* What the credential claims does not count where the kernel knows better. */
static void test_principals(void **state)
{
    char folder[PLACE_SIZE], path[PLACE_SIZE + 8], wanted[64];
    struct address local, v6;

    (void)state;
    assert_non_null(place_make(folder, place_on_disk(), "server"));
    snprintf(path, sizeof path, "%s/socket", folder);
    snprintf(wanted, sizeof wanted, "unix:%u+", (unsigned)geteuid());
    expect_who(&small.tcp, 4711, wanted);

    struct small_server other;
    struct address any;
    other.options = small.options;
    assert_int_equal(rpc_server_new(&other.options, &other.server, NULL), OUTCOME_OK);
    assert_int_equal(address_local(path, &local, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(other.server, &local, NULL, NULL), OUTCOME_OK);
    assert_int_equal(address_ip("::1", 0, &any, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(other.server, &any, &v6, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_start(other.server, NULL), OUTCOME_OK);
    expect_who(&local, 4711, wanted);
    expect_who(&v6, 4711, wanted);
    rpc_server_stop(other.server, 1000);
    rpc_server_free(other.server);
    assert_int_equal(access(path, F_OK), -1);
    rmdir(folder);
}

static void test_local_socket(void **state)
{
    char folder[PLACE_SIZE], path[PLACE_SIZE + 8];
    struct address local;
    struct rpc_server *first, *second;
    struct stat found;

    (void)state;
    assert_non_null(place_make(folder, place_on_disk(), "server"));
    snprintf(path, sizeof path, "%s/socket", folder);
    assert_int_equal(address_local(path, &local, NULL), OUTCOME_OK);
    /* A dead one is replaced. */
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, &local.any, local.size), 0);
    close(dead);
    assert_int_equal(rpc_server_new(&small.options, &first, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(first, &local, NULL, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_start(first, NULL), OUTCOME_OK);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0666);
    /* A living one is not. */
    assert_int_equal(rpc_server_new(&small.options, &second, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(second, &local, NULL, NULL), OUTCOME_HELD);
    rpc_server_free(second);
    assert_int_equal(slowest_null(&local, SMALL_PROGRAM, 1) >= 0, 1);
    rpc_server_stop(first, 1000);
    rpc_server_free(first);
    assert_int_equal(access(path, F_OK), -1);
    rmdir(folder);
}

/* Opaque bytes there and back, at the limit; one past it is GARBAGE_ARGS. */
static void test_bulk(void **state)
{
    enum { MOST = 1 << 20 };
    uint8_t credential[64], header[CALL_MAX];
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_ECHO);
    uint8_t *message = calloc(1, MOST + CALL_MAX), *reply = malloc(MOST + CALL_MAX);
    uint32_t count = htonl(MOST);

    (void)state;
    assert_true(message && reply);
    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(1, credential);
    form.arguments = &count;
    form.arguments_size = 4;
    size_t at = call_encode(&form, header, sizeof header);
    memcpy(message, header, at);
    for (size_t i = 0; i < MOST; i++)
        message[at + i] = (uint8_t)(i * 7);
    int fd = peer_connect(&small.tcp);
    peer_send_record(fd, message, at + MOST);
    assert_int_equal(peer_receive(fd, reply, MOST + CALL_MAX), REPLY_HEADER + 4 + MOST);
    assert_memory_equal(reply + REPLY_HEADER + 4, message + at, MOST);

    count = htonl(MOST + 1);
    memcpy(message + at - 4, &count, 4);
    peer_send_record(fd, message, at + MOST + 4);
    assert_int_equal(peer_receive(fd, reply, MOST), REPLY_HEADER);
    assert_int_equal(reply[REPLY_HEADER - 1], GARBAGE_ARGS);
    close(fd);
    free(message);
    free(reply);
}

/* Many calls in one write are all answered; ordered ones in their order, one at a time. */
static void test_pipeline(void **state)
{
    enum { CALLS = 200 };
    uint8_t message[CALL_MAX], credential[64], reply[CALL_MAX];
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_ORDER);
    uint32_t argument = 0;
    bool seen[CALLS] = {false};

    (void)state;
    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(1, credential);
    form.arguments = &argument;
    form.arguments_size = 4;
    int fd = peer_connect(&small.tcp);
    for (form.xid = 0; form.xid < CALLS; form.xid++)
        peer_send_record(fd, message, call_encode(&form, message, sizeof message));
    for (unsigned i = 0; i < CALLS; i++) {
        assert_int_equal(peer_receive(fd, reply, sizeof reply), REPLY_HEADER + 4);
        uint32_t xid = ntohl(*(uint32_t *)(void *)reply);
        assert_true(xid < CALLS && !seen[xid]);
        seen[xid] = true;
        assert_int_equal(ntohl(*(uint32_t *)(void *)(reply + REPLY_HEADER)), xid);
    }
    close(fd);
}

/* Large ordered calls are served in the turn that reads them: one that took long is answered before the next. */
static void test_large_in_order(void **state)
{
    enum { SIZE = 100 * 1024, CALLS = 4 };
    uint8_t credential[64], reply[CALL_MAX];
    uint8_t *message = malloc(SIZE + CALL_MAX);
    uint32_t *arguments = calloc(1, SIZE);
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_ORDER);
    unsigned before = atomic_load(&small.served);

    (void)state;
    assert_true(message && arguments);
    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(1, credential);
    form.arguments = arguments;
    form.arguments_size = SIZE;
    int fd = peer_connect(&small.tcp);
    for (form.xid = 0; form.xid < CALLS; form.xid++) {
        arguments[0] = htonl(250);
        peer_send_record(fd, message, call_encode(&form, message, SIZE + CALL_MAX));
    }
    for (unsigned i = 0; i < CALLS; i++) {
        assert_int_equal(peer_receive(fd, reply, sizeof reply), REPLY_HEADER + 4);
        assert_int_equal(ntohl(*(uint32_t *)(void *)reply), i);
        assert_int_equal(ntohl(*(uint32_t *)(void *)(reply + REPLY_HEADER)), before + i);
        if (i == 0)
            assert_true(atomic_load(&small.served) < before + CALLS); /* the others have yet to be */
    }
    close(fd);
    free(message);
    free(arguments);
}

/* A peer that has sent all and shut its side down still gets its answers. */
static void test_half_closed(void **state)
{
    uint8_t message[CALL_MAX], reply[CALL_MAX];
    struct call_form form = call_of(SMALL_PROGRAM, 1, 0);

    (void)state;
    int fd = peer_connect(&small.tcp);
    for (unsigned i = 0; i < 40; i++)
        peer_send_record(fd, message, call_encode(&form, message, sizeof message));
    shutdown(fd, SHUT_WR);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(peer_receive(fd, reply, sizeof reply), REPLY_HEADER);
    assert_true(peer_is_cut(fd));
    close(fd);
}

/* Stopping lets running calls finish, and takes no new ones. */
static void test_stop(void **state)
{
    struct small_server other;
    uint8_t message[CALL_MAX], credential[64], reply[CALL_MAX];
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_SLEEP);
    uint32_t ms = htonl(200);

    (void)state;
    small_server_start(&other, NULL);
    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(1, credential);
    form.arguments = &ms;
    form.arguments_size = 4;
    int fd = peer_connect(&other.tcp);
    peer_send_record(fd, message, call_encode(&form, message, sizeof message));
    while (small_server_count(&other).in_flight_bytes == 0)
        usleep(1000);
    assert_int_equal(rpc_server_stop(other.server, 5000), 0);
    assert_int_equal(peer_receive(fd, reply, sizeof reply), REPLY_HEADER);
    assert_true(peer_is_cut(fd));
    close(fd);
    rpc_server_free(other.server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_null, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_versions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_gate, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_malformed_credentials, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_principals, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_local_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bulk, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pipeline, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_large_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_half_closed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_stop, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
