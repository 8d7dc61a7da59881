/* Our client and our server on one connection, calls both ways: rpc/client.h, rpc/server.h. */
#include "rpc/client.h"
#include "rpc/server.h"
#include "wire/peer.h"
#include "wire/small_program.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    WINDOW = 8,
    CONTENT = 1 << 20,
    BACK_PROGRAM = 0x40000001,
    BACK_WORD = 1,
    BACK_NESTED = 2,
    EACH_WAY = 3000
};

struct opaque {
    char *bytes;
    u_int count;
};

static bool_t xdr_content(XDR *xdrs, struct opaque *opaque)
{
    return fs_xdr_bytes(xdrs, &opaque->bytes, &opaque->count, CONTENT);
}

static const xdrproc_t content_routine = (xdrproc_t)xdr_content;
static const xdrproc_t word_routine = (xdrproc_t)xdr_u_int;
static const xdrproc_t hyper_routine = (xdrproc_t)xdr_uint64_t;

static bool_t nothing(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

/* ---- the program that the client serves ---- */

struct receiver {
    struct rpc_client *_Atomic client;
    _Atomic unsigned served;
};

static bool nested_echo(struct rpc_client *client, uint32_t word)
{
    struct opaque sent = {(char *)&word, sizeof(word)}, got = {0};
    struct rpc_pending *pending = NULL;
    struct failure why;
    bool same = rpc_client_begin(client, SMALL_ECHO, content_routine, &sent, NULL, &pending, &why) ==
                    OUTCOME_OK &&
                rpc_client_await(client, pending, content_routine, &got, &why) == OUTCOME_OK &&
                got.count == sizeof(word) && memcmp(got.bytes, &word, sizeof(word)) == 0;

    rpc_pending_free(client, pending);
    return same;
}

static void dispatch(struct svc_req *request, SVCXPRT *transport)
{
    struct receiver *receiver = rpc_call_context(rpc_call_of(request));
    u_int word = 0;

    receiver->served++;
    if (request->rq_proc == NULLPROC) {
        svc_sendreply(transport, nothing, NULL);
        return;
    }
    if (!svc_getargs(transport, word_routine, &word)) {
        svcerr_decode(transport);
        return;
    }
    if (request->rq_proc == BACK_NESTED && !nested_echo(receiver->client, word)) {
        svcerr_systemerr(transport);
        return;
    }
    word++;
    svc_sendreply(transport, word_routine, &word);
}

static const struct rpc_procedure rows[] = {{.label = "null"}, {.label = "word"}, {.label = "nested"}};
static const struct rpc_program back_program = {BACK_PROGRAM, 1, rows, 3, dispatch};

static struct rpc_client *connected(const struct address *address, struct receiver *receiver)
{
    struct rpc_client_options options = {.number = SMALL_PROGRAM, .version = 1, .program = &small_program};
    struct rpc_client *client = NULL;
    struct failure why = {0};

    if (receiver) {
        options.reversed = &back_program;
        options.reversed_number = BACK_PROGRAM;
        options.context = receiver;
    }
    if (rpc_client_connect(address, &options, &client, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    if (receiver)
        receiver->client = client;
    return client;
}

static uint64_t connection_of(struct rpc_client *client)
{
    struct rpc_pending *pending = NULL;
    uint64_t number = 0;

    assert_int_equal(rpc_client_begin(client, SMALL_HELLO, nothing, NULL, NULL, &pending, NULL), OUTCOME_OK);
    assert_int_equal(rpc_client_await(client, pending, hyper_routine, &number, NULL), OUTCOME_OK);
    rpc_pending_free(client, pending);
    return number;
}

/* ---- bulk ---- */

struct filled {
    struct bulk_source source;
    char with;
};

static bool fill(struct bulk_source *source, void *to, size_t count)
{
    memset(to, ((struct filled *)source)->with, count);
    return true;
}

static struct rpc_pending *begin_echo(struct rpc_client *client, char with)
{
    struct filled filled = {{.fill = fill}, with};
    struct opaque content = {(char *)&filled.source, CONTENT};
    struct rpc_pending *pending = NULL;
    struct failure why = {0};

    if (rpc_client_begin(client, SMALL_ECHO, content_routine, &content, &filled.source, &pending, &why) !=
        OUTCOME_OK)
        fail_msg("%s", why.text);
    return pending;
}

static void await_echo(struct rpc_client *client, struct rpc_pending *pending, char with)
{
    struct opaque got = {0};
    struct failure why = {0};

    if (rpc_client_await(client, pending, content_routine, &got, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    assert_int_equal(got.count, CONTENT);
    assert_true(got.bytes[0] == with && got.bytes[CONTENT - 1] == with &&
                memcmp(got.bytes, got.bytes + 1, CONTENT - 1) == 0);
    rpc_pending_free(client, pending);
}

static void echo_window(struct rpc_client *client, unsigned count)
{
    struct rpc_pending *pendings[WINDOW];

    for (unsigned i = 0; i < count + WINDOW; i++) {
        if (i >= WINDOW)
            await_echo(client, pendings[i % WINDOW], (char)(i - WINDOW));
        if (i < count)
            pendings[i % WINDOW] = begin_echo(client, (char)i);
    }
}

static void test_bulk_both_ways(void **state)
{
    struct small_server server;

    (void)state;
    small_server_start(&server, NULL);
    struct rpc_client *client = connected(&server.tcp, NULL);
    echo_window(client, 64);
    rpc_client_close(client);
    small_server_stop(&server);
}

/* ---- reversed ---- */

struct answers {
    _Atomic unsigned right, wrong;
};

static void take_answer(void *context, enum outcome outcome, XDR *reply)
{
    struct answers *answers = context;
    u_int word = 0;

    if (outcome == OUTCOME_OK && xdr_u_int(reply, &word) && word == 8)
        answers->right++;
    else
        answers->wrong++;
}

static void await_answers(struct answers *answers, unsigned count)
{
    int64_t until = now_ms() + 10000 * slowness();

    while (answers->right + answers->wrong < count && now_ms() < until)
        usleep(200);
    assert_int_equal(answers->right, count);
    assert_int_equal(answers->wrong, 0);
}

static void call_back(struct small_server *server, uint64_t connection, uint32_t procedure,
                      struct answers *answers)
{
    u_int word = 7;
    enum outcome outcome;

    do /* LIMIT: as much is unsent as may be */
        outcome = rpc_server_call(server->server, connection, procedure, word_routine, &word, 20000,
                                  take_answer, answers, NULL);
    while (outcome == OUTCOME_LIMIT && usleep(100) == 0);
    assert_int_equal(outcome, OUTCOME_OK);
}

static void test_reversed_while_bulk_is_written(void **state)
{
    struct receiver receiver = {.client = NULL};
    struct answers answers = {0};
    struct small_server server;
    struct rpc_pending *pendings[WINDOW];

    (void)state;
    small_server_start(&server, NULL);
    struct rpc_client *client = connected(&server.tcp, &receiver);
    uint64_t connection = connection_of(client);
    assert_int_equal(rpc_server_attach(server.server, connection, BACK_PROGRAM, 1, NULL), OUTCOME_OK);
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < WINDOW; i++) {
            pendings[i] = begin_echo(client, (char)i);
            call_back(&server, connection, i % 2 ? BACK_NESTED : BACK_WORD, &answers);
        }
        for (int i = 0; i < WINDOW; i++)
            await_echo(client, pendings[i], (char)i);
    }
    await_answers(&answers, 8 * WINDOW);
    rpc_client_close(client);
    small_server_stop(&server);
}

static void *call_server(void *argument)
{
    for (uint32_t i = 0; i < EACH_WAY / 2; i++)
        if (!nested_echo(argument, i))
            return argument;
    return NULL;
}

static void test_thousands_each_way(void **state)
{
    struct receiver receiver = {.client = NULL};
    struct answers answers = {0};
    struct small_server server;
    pthread_t callers[2];

    (void)state;
    small_server_start(&server, NULL);
    struct rpc_client *client = connected(&server.tcp, &receiver);
    uint64_t connection = connection_of(client);
    assert_int_equal(rpc_server_attach(server.server, connection, BACK_PROGRAM, 1, NULL), OUTCOME_OK);
    for (int i = 0; i < 2; i++)
        pthread_create(&callers[i], NULL, call_server, client);
    for (unsigned i = 0; i < EACH_WAY; i++) {
        /* Not more than the client takes in its queue. */
        while (i - answers.right - answers.wrong >= 64)
            usleep(50);
        call_back(&server, connection, i % 10 ? BACK_WORD : BACK_NESTED, &answers);
    }
    await_answers(&answers, EACH_WAY);
    for (int i = 0; i < 2; i++) {
        void *trouble;
        pthread_join(callers[i], &trouble);
        assert_null(trouble);
    }
    assert_true(receiver.served >= EACH_WAY);
    rpc_client_close(client);
    small_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bulk_both_ways),
        cmocka_unit_test(test_reversed_while_bulk_is_written),
        cmocka_unit_test(test_thousands_each_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
