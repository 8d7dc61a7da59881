/* Calls that the server sends on a client's own connection, while that client does other things, or nothing. */
#include "rpc/client.h"
#include "wire/peer.h"
#include "wire/small_program.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { REVERSED_PROGRAM = 0x40000777, MIB = 1 << 20, WINDOW = 4 };
enum { UNANSWERED_MAX = 200 }; /* a client that has more than 256 calls waiting breaks the connection */

static struct small_server small;

/* What became of the reversed calls of a test. */
struct answers {
    _Atomic unsigned by_outcome[OUTCOME_FAULT + 1];
    _Atomic unsigned all;
    _Atomic unsigned wrong;
};

static void answered(void *context, enum outcome outcome, XDR *reply)
{
    struct answers *answers = context;
    char *bytes = NULL;
    u_int count = 0;

    if (outcome == OUTCOME_OK &&
        (!fs_xdr_bytes(reply, &bytes, &count, 100) || count != 5 || memcmp(bytes, "hello", 5)))
        atomic_fetch_add(&answers->wrong, 1);
    atomic_fetch_add(&answers->by_outcome[outcome], 1);
    atomic_fetch_add(&answers->all, 1);
}

static void wait_for(struct answers *answers, unsigned all)
{
    int64_t until = now_ms() + 10000 * slowness();

    while (atomic_load(&answers->all) < all && now_ms() < until)
        poll(NULL, 0, 1);
    assert_int_equal(atomic_load(&answers->all), all);
    assert_int_equal(atomic_load(&answers->wrong), 0);
}

static bool_t xdr_hello(XDR *xdrs, ...)
{
    char *bytes = (char[]){"hello"};
    u_int count = 5;

    return fs_xdr_bytes(xdrs, &bytes, &count, 100);
}

static enum outcome call_back(uint64_t connection, unsigned deadline_ms, struct answers *answers)
{
    return rpc_server_call(small.server, connection, SMALL_ECHO, xdr_hello, NULL, deadline_ms, answered,
                           answers, NULL);
}

/* The number that the server gave this connection. */
static uint64_t number_of(int fd)
{
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_HELLO);
    uint32_t words[64];

    assert_int_equal(peer_call(fd, &form, words, 64), 6);
    return (uint64_t)words[4] << 32 | words[5];
}

/* ---- a client of ours that writes in bulk ---- */

struct opaque {
    char *bytes;
    u_int count;
};

static bool_t xdr_opaque_mib(XDR *xdrs, struct opaque *opaque)
{
    return fs_xdr_bytes(xdrs, &opaque->bytes, &opaque->count, MIB);
}

static void *write_in_bulk(void *context)
{
    struct rpc_client *client = context;
    struct opaque chunk = {calloc(1, MIB), MIB};
    struct rpc_pending *pending[WINDOW] = {NULL};
    unsigned total = 64;
    bool good = chunk.bytes;

    for (unsigned i = 0; good && i < total + WINDOW; i++) {
        struct rpc_pending **slot = &pending[i % WINDOW];
        if (*slot) {
            struct opaque result = {NULL, 0};
            good = rpc_client_await(client, *slot, (xdrproc_t)xdr_opaque_mib, &result, NULL) == OUTCOME_OK &&
                   result.count == MIB;
            *slot = rpc_pending_free(client, *slot);
        }
        if (good && i < total)
            good = rpc_client_begin(client, SMALL_ECHO, (xdrproc_t)xdr_opaque_mib, &chunk, NULL, slot,
                                    NULL) == OUTCOME_OK;
    }
    for (unsigned i = 0; i < WINDOW; i++)
        rpc_pending_free(client, pending[i]);
    free(chunk.bytes);
    return good ? client : NULL;
}

static bool_t xdr_number(XDR *xdrs, uint64_t *number)
{
    return xdr_uint64_t(xdrs, number);
}

static void test_while_writing(void **state)
{
    struct answers answers = {.all = 0};
    struct rpc_client *client;
    struct rpc_pending *pending;
    uint64_t connection = 0;
    pthread_t writer;
    void *good;

    (void)state;
    const struct rpc_client_options options = {.number = SMALL_PROGRAM,
                                               .version = 1,
                                               .reversed = &small_program,
                                               .reversed_number = REVERSED_PROGRAM};
    small_server_start(&small, NULL);
    assert_int_equal(rpc_client_connect(&small.tcp, &options, &client, NULL), OUTCOME_OK);
    assert_int_equal(rpc_client_begin(client, SMALL_HELLO, (xdrproc_t)(void (*)(void))xdr_void, NULL, NULL,
                                      &pending, NULL),
                     OUTCOME_OK);
    assert_int_equal(rpc_client_await(client, pending, (xdrproc_t)xdr_number, &connection, NULL), OUTCOME_OK);
    rpc_pending_free(client, pending);
    assert_int_equal(rpc_server_attach(small.server, connection, REVERSED_PROGRAM, 1, NULL), OUTCOME_OK);

    assert_int_equal(pthread_create(&writer, NULL, write_in_bulk, client), 0);
    unsigned sent = 0;
    for (int64_t until = now_ms() + 10000 * slowness(); sent < 300 && now_ms() < until;) {
        if (sent - atomic_load(&answers.all) >= UNANSWERED_MAX) {
            poll(NULL, 0, 1);
            continue;
        }
        enum outcome outcome = call_back(connection, 10000 * slowness(), &answers);
        if (outcome == OUTCOME_OK)
            sent++;
        else
            assert_int_equal(outcome, OUTCOME_LIMIT);
        if (sent % 10 == 0 || outcome == OUTCOME_LIMIT)
            poll(NULL, 0, 1);
    }
    assert_int_equal(sent, 300);
    pthread_join(writer, &good);
    assert_non_null(good);
    wait_for(&answers, sent);
    assert_int_equal(answers.by_outcome[OUTCOME_OK], sent);
    rpc_client_close(client);
    small_server_stop(&small);
}

/* ---- raw peers ---- */

static uint64_t closed_connection;

static void note_closed(void *context, uint64_t connection)
{
    (void)context;
    __atomic_store_n(&closed_connection, connection, __ATOMIC_SEQ_CST);
}

static unsigned probe_ms = 60000, idle_ms = 60000;

static void start(void)
{
    struct address any;

    closed_connection = 0;
    small.options = (struct rpc_server_options){.program = &small_program,
                                                .limits = rpc_limits_default(),
                                                .clock = clock_system(),
                                                .name = "small",
                                                .closed = note_closed};
    small.options.limits.probe_ms = probe_ms;
    small.options.limits.idle_ms = idle_ms;
    assert_int_equal(rpc_server_new(&small.options, &small.server, NULL), OUTCOME_OK);
    assert_int_equal(address_ip("127.0.0.1", 0, &any, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(small.server, &any, &small.tcp, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_start(small.server, NULL), OUTCOME_OK);
}

static uint64_t attach(int fd)
{
    uint64_t connection = number_of(fd);

    assert_int_equal(rpc_server_attach(small.server, connection, REVERSED_PROGRAM, 1, NULL), OUTCOME_OK);
    return connection;
}

/* Takes the next CALL off the wire, and checks that it is one for our program. */
static uint32_t take_call(int fd, uint32_t procedure)
{
    uint32_t words[64];
    size_t count = peer_receive(fd, words, sizeof words) / 4;

    assert_true(count >= 10);
    assert_int_equal(ntohl(words[1]), 0);
    assert_int_equal(ntohl(words[2]), 2);
    assert_int_equal(ntohl(words[3]), REVERSED_PROGRAM);
    assert_int_equal(ntohl(words[4]), 1);
    assert_int_equal(ntohl(words[5]), procedure);
    return ntohl(words[0]);
}

static void reply_words(int fd, const uint32_t *words, size_t count)
{
    uint32_t wire[32];

    for (size_t i = 0; i < count; i++)
        wire[i] = htonl(words[i]);
    peer_send_record(fd, wire, count * 4);
}

#define REPLY(fd, ...) \
    reply_words(fd, (const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}) / 4)

static void test_outcomes(void **state)
{
    struct answers answers = {.all = 0};

    (void)state;
    start();
    int fd = peer_connect(&small.tcp);
    uint64_t connection = number_of(fd);
    /* Not attached: it takes no calls; of a connection that never was, neither. */
    assert_int_equal(call_back(connection, 1000, &answers), OUTCOME_ABSENT);
    assert_int_equal(rpc_server_attach(small.server, connection + (1 << 20), REVERSED_PROGRAM, 1, NULL),
                     OUTCOME_ABSENT);
    assert_int_equal(call_back(connection + (1 << 20), 1000, &answers), OUTCOME_ABSENT);
    attach(fd);

    assert_int_equal(call_back(connection, 10000, &answers), OUTCOME_OK);
    uint32_t xid = take_call(fd, SMALL_ECHO);
    /* Replies that nobody waits for are skipped. */
    REPLY(fd, xid + 7, 1, 0, 0, 0, 0);
    REPLY(fd, xid, 1, 0, 0, 0, 0, 5, 0x68656c6c, 0x6f000000);
    wait_for(&answers, 1);
    assert_int_equal(answers.by_outcome[OUTCOME_OK], 1);
    REPLY(fd, xid, 1, 0, 0, 0, 0, 5, 0x68656c6c, 0x6f000000); /* the same again */

    /* Two under way, answered in the other order: refused, and nonsense. */
    assert_int_equal(call_back(connection, 10000, &answers), OUTCOME_OK);
    assert_int_equal(call_back(connection, 10000, &answers), OUTCOME_OK);
    uint32_t first = take_call(fd, SMALL_ECHO), second = take_call(fd, SMALL_ECHO);
    assert_true(first != second);
    REPLY(fd, second, 1, 1, 1, AUTH_BADCRED);
    REPLY(fd, first, 1, 77);
    wait_for(&answers, 3);
    assert_int_equal(answers.by_outcome[OUTCOME_DENIED], 1);
    assert_int_equal(answers.by_outcome[OUTCOME_PROTOCOL], 1);

    /* Its own calls go on meanwhile, with xids of their own. */
    assert_int_equal(call_back(connection, 200, &answers), OUTCOME_OK);
    take_call(fd, SMALL_ECHO);
    peer_null(fd, SMALL_PROGRAM);
    wait_for(&answers, 4);
    assert_int_equal(answers.by_outcome[OUTCOME_TIMEOUT], 1);

    /* It goes away: who waits hears so. */
    assert_int_equal(call_back(connection, 10000, &answers), OUTCOME_OK);
    close(fd);
    wait_for(&answers, 5);
    assert_int_equal(answers.by_outcome[OUTCOME_UNREACHABLE], 1);
    int64_t until = now_ms() + 5000 * slowness();
    while (__atomic_load_n(&closed_connection, __ATOMIC_SEQ_CST) != connection && now_ms() < until)
        poll(NULL, 0, 1);
    assert_true(__atomic_load_n(&closed_connection, __ATOMIC_SEQ_CST) == connection);
    assert_int_equal(call_back(connection, 1000, &answers), OUTCOME_ABSENT);
    small_server_stop(&small);
}

/* One that never reads takes a bounded number of calls, then no more; all of them time out. */
static void test_no_reader(void **state)
{
    struct answers answers = {.all = 0};
    unsigned taken = 0;

    (void)state;
    start();
    int fd = peer_connect(&small.tcp);
    uint64_t connection = attach(fd);
    uint8_t call[CALL_MAX];
    uint32_t word = htonl(MIB);
    uint8_t credential[64];
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_GIVE);
    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(1, credential);
    form.arguments = &word;
    form.arguments_size = 4;
    for (int i = 0; i < 16; i++)
        peer_send_record(fd, call, call_encode(&form, call, sizeof call));
    /* Its replies fill the socket; then its calls are queued, up to the bound. */
    enum outcome outcome;
    for (int64_t until = now_ms() + 5000 * slowness();
         (outcome = call_back(connection, 1000 * pace(), &answers)) == OUTCOME_OK;) {
        taken++;
        assert_true(now_ms() < until);
        poll(NULL, 0, 1);
    }
    assert_int_equal(outcome, OUTCOME_LIMIT);
    assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 20));
    wait_for(&answers, taken);
    assert_int_equal(answers.by_outcome[OUTCOME_TIMEOUT], taken);
    close(fd);
    small_server_stop(&small);
}

/* An attached connection is not idle; it is asked whether it lives, and cut if it does not say so. */
static void test_probe(void **state)
{
    (void)state;
    probe_ms = 500 * pace();
    idle_ms = 1000 * pace();
    start();
    int living = peer_connect(&small.tcp), dead = peer_connect(&small.tcp),
        detached = peer_connect(&small.tcp);
    attach(living);
    uint64_t gone = attach(dead);
    rpc_server_detach(small.server, attach(detached));
    int64_t until = now_ms() + 2500 * pace();
    while (now_ms() < until) {
        uint32_t xid = take_call(living, 0);
        REPLY(living, xid, 1, 0, 0, 0, 0);
    }
    assert_true(peer_is_cut(dead));
    assert_true(peer_is_cut(detached)); /* idle, like any other */
    assert_true(__atomic_load_n(&closed_connection, __ATOMIC_SEQ_CST) == gone);
    close(living);
    close(dead);
    close(detached);
    small_server_stop(&small);
    probe_ms = idle_ms = 60000;
}

/* While a call is out its peer may be busy: that it does not answer NULL as well says nothing. Then it does. */
static void test_probe_busy(void **state)
{
    struct answers answers = {.all = 0};

    (void)state;
    start();
    int busy = peer_connect(&small.tcp);
    uint64_t connection = attach(busy);
    assert_int_equal(call_back(connection, 60000, &answers), OUTCOME_OK);
    uint32_t xid = take_call(busy, SMALL_ECHO);
    rpc_server_probe(small.server, connection, 200 * pace());
    rpc_server_probe(small.server, connection, 300 * pace());
    (void)take_call(busy, 0);
    (void)take_call(busy, 0);
    poll(NULL, 0, 1500 * (int)pace());
    REPLY(busy, xid, 1, 0, 0, 0, 0, 5, 0x68656c6c, 0x6f000000);
    wait_for(&answers, 1);
    assert_int_equal(answers.by_outcome[OUTCOME_OK], 1);
    rpc_server_probe(small.server, connection, 200 * pace());
    (void)take_call(busy, 0);
    assert_true(peer_is_cut(busy));
    close(busy);
    small_server_stop(&small);
}

/* The server stops: whoever waits for a reply hears so. */
static void test_stop(void **state)
{
    struct answers answers = {.all = 0};

    (void)state;
    start();
    int fd = peer_connect(&small.tcp);
    uint64_t connection = attach(fd);
    assert_int_equal(call_back(connection, 60000, &answers), OUTCOME_OK);
    rpc_server_stop(small.server, 100);
    assert_int_equal(answers.by_outcome[OUTCOME_UNREACHABLE], 1);
    assert_true(closed_connection == connection);
    rpc_server_free(small.server);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_while_writing), cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_no_reader),     cmocka_unit_test(test_probe),
        cmocka_unit_test(test_probe_busy),    cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
