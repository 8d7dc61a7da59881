/* Calls that the server sends on the client's own connection: rpc/client.h. */
#include "rpc/call.h"
#include "wire/client_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { REVERSED = 0x40000123, NESTED = 2, BACK_BLOB = 1, WAIT_MS = 20000 };

/* What the reversed program's procedures find. */
struct receiver {
    struct rpc_client *_Atomic client;
    _Atomic unsigned served, nested, broken;
};

static bool_t put_nothing(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

/* NULL; BLOB answers its bytes; NESTED calls ECHO of the server with its word and answers what that says. */
static void dispatch(struct svc_req *request, SVCXPRT *transport)
{
    struct receiver *receiver = rpc_call_context(rpc_call_of(request));
    struct calls_blob blob = {0};
    uint32_t word = 0, answer = 0;

    receiver->served++;
    while (!receiver->client)
        usleep(100); /* connecting is not over yet */
    if (request->rq_proc == NULLPROC) {
        svc_sendreply(transport, put_nothing, NULL);
    } else if (request->rq_proc == BACK_BLOB) {
        if (!svc_getargs(transport, calls_blob, &blob))
            svcerr_decode(transport);
        else
            svc_sendreply(transport, calls_blob, &blob);
    } else {
        if (!svc_getargs(transport, calls_word, &word))
            svcerr_decode(transport);
        else if (calls_echo(receiver->client, word, &answer) != RPC_SUCCESS)
            svcerr_systemerr(transport);
        else
            svc_sendreply(transport, calls_word, &answer);
        receiver->nested++;
    }
}

static const struct rpc_procedure rows[] = {{.label = "null"}, {.label = "back_blob"}, {.label = "nested"}};
static const struct rpc_program reversed_program = {0x40000000, 1, rows, 3, dispatch};

static void note_broken(void *context)
{
    ((struct receiver *)context)->broken++;
}

static struct rpc_client *connected(struct scripted_peer *peer, struct receiver *receiver)
{
    struct rpc_client_options options = {
        .number = CALLS_PROGRAM,
        .version = 1,
        .program = &calls_program,
        .call_ms = WAIT_MS,
        .reversed = &reversed_program,
        .reversed_number = REVERSED,
        .context = receiver,
        .broken = note_broken,
        .broken_context = receiver,
    };
    struct rpc_client *client = NULL;
    struct failure why = {0};

    if (rpc_client_connect(&peer->address, &options, &client, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    receiver->client = client;
    return client;
}

static void expect(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "script: %s\n", what);
        abort();
    }
}

/* One message of either kind, in the order in which they come. */
static void answer_call(struct scripted_peer *peer)
{
    struct scripted_call call;

    expect(scripted_read_call(peer, &call), "the client is gone");
    scripted_reply_word(peer, call.xid, scripted_word_at(call.arguments) + 1);
    free(call.arguments);
}

static uint32_t put_word(uint32_t word)
{
    return __builtin_bswap32(word);
}

static uint32_t read_word_reply(struct scripted_peer *peer, uint32_t xid)
{
    uint8_t *results;
    size_t size;

    expect(scripted_read_reply(peer, &results, &size) == xid && size == 4, "another reply than expected");
    uint32_t word = scripted_word_at(results);
    free(results);
    return word;
}

/* The status of the next reply, which has nothing behind it. */
static uint8_t read_refusal(struct scripted_peer *peer)
{
    uint8_t bytes[28];

    expect(recv(peer->fd, bytes, 28, MSG_WAITALL) == 28 && bytes[3] == 24 && bytes[11] == 1, "not a refusal");
    return bytes[27];
}

/* What is not there, or makes no sense, is answered so. */
static void call_what_is_not_there(struct scripted_peer *peer, void *context)
{
    struct scripted_call echo;

    (void)context;
    expect(scripted_read_call(peer, &echo), "the client is gone");
    scripted_call(peer, 1, REVERSED + 1, 0, NULL, 0);
    expect(read_refusal(peer) == PROG_UNAVAIL, "the number is not checked");
    scripted_call(peer, 2, REVERSED, 3, NULL, 0);
    expect(read_refusal(peer) == PROC_UNAVAIL, "the procedure is not checked");
    scripted_call(peer, 3, REVERSED, NESTED, NULL, 0);
    expect(read_refusal(peer) == GARBAGE_ARGS, "bad arguments are taken");
    scripted_reply_word(peer, echo.xid, scripted_word_at(echo.arguments) + 1);
    free(echo.arguments);
}

static void test_refused(void **state)
{
    struct receiver receiver = {.client = NULL};
    struct scripted_peer peer;

    (void)state;
    scripted_peer_start(&peer, call_what_is_not_there, NULL);
    struct rpc_client *client = connected(&peer, &receiver);
    calls_assert_echo(client, 1);
    rpc_client_close(client);
    assert_int_equal(receiver.broken, 0);
    scripted_peer_finish(&peer);
}

/* NESTED is sent, the ECHO that its handler makes is answered, its own reply comes: a thousand times, then one more. */
static void call_nested(struct scripted_peer *peer, void *context)
{
    (void)context;
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t word = put_word(10 * i);
        scripted_call(peer, i, REVERSED, NESTED, &word, 4); /* the same xids as the client's may be in use */
        answer_call(peer);
        expect(read_word_reply(peer, i) == 10 * i + 1, "a wrong nested answer");
    }
    answer_call(peer);
}

static void test_nested(void **state)
{
    struct receiver receiver = {.client = NULL};
    struct scripted_peer peer;

    (void)state;
    scripted_peer_start(&peer, call_nested, NULL);
    struct rpc_client *client = connected(&peer, &receiver);
    while (receiver.nested < 1000)
        usleep(1000);
    calls_assert_echo(client, 1);
    rpc_client_close(client);
    assert_int_equal(receiver.nested, 1000);
    scripted_peer_finish(&peer);
}

/*
 * Both directions are full of bulk: the peer sends sixteen calls with 1 MiB each
 * before it reads a byte, while the client writes 1 MiB each and its serving
 * thread answers with as much.
 */
static void flood(struct scripted_peer *peer, void *context)
{
    uint8_t *arguments = calloc(1, 4 + CALLS_CONTENT_MAX), header[4];
    unsigned calls = 0, replies = 0;

    (void)context;
    arguments[1] = CALLS_CONTENT_MAX >> 16;
    for (uint32_t i = 0; i < 16; i++)
        scripted_call(peer, i, REVERSED, BACK_BLOB, arguments, 4 + CALLS_CONTENT_MAX);
    while (calls < 16 || replies < 16) {
        expect(recv(peer->fd, header, 4, MSG_WAITALL) == 4, "the client is gone");
        size_t size = scripted_word_at(header) & 0x7fffffff;
        uint8_t *message = malloc(size);
        expect(recv(peer->fd, message, size, MSG_WAITALL) == (ssize_t)size, "half a record");
        if (scripted_word_at(message + 4) == 1) {
            expect(size == 24 + 4 + CALLS_CONTENT_MAX, "a short reply");
            replies++;
        } else {
            scripted_reply(peer, scripted_word_at(message), arguments, 4 + CALLS_CONTENT_MAX);
            calls++;
        }
        free(message);
    }
    free(arguments);
}

static void test_both_directions_are_full(void **state)
{
    static char content[CALLS_CONTENT_MAX];
    struct rpc_pending *pendings[16];
    struct receiver receiver = {.client = NULL};
    struct scripted_peer peer;
    struct failure why;

    (void)state;
    scripted_peer_start(&peer, flood, NULL);
    struct rpc_client *client = connected(&peer, &receiver);
    for (int i = 0; i < 16; i++) {
        struct calls_blob blob = {sizeof(content), content};
        if (rpc_client_begin(client, CALLS_BLOB, calls_blob, &blob, NULL, &pendings[i], &why) != OUTCOME_OK)
            fail_msg("%s", why.text);
    }
    for (int i = 0; i < 16; i++) {
        struct calls_blob got = {0};
        if (rpc_client_await(client, pendings[i], calls_blob, &got, &why) != OUTCOME_OK)
            fail_msg("%s", why.text);
        assert_int_equal(got.count, sizeof(content));
        rpc_pending_free(client, pendings[i]);
    }
    while (receiver.served < 16)
        usleep(1000);
    /* The peer ends, having read all replies: the client is told. */
    scripted_peer_finish(&peer);
    int64_t began = calls_now_ms();
    while (receiver.broken == 0 && calls_now_ms() - began < WAIT_MS)
        usleep(1000);
    assert_int_equal(receiver.broken, 1);
    rpc_client_close(client);
    assert_int_equal(receiver.broken, 1);
}

/* Thousands of calls each way at once, several threads calling: whatever comes is answered. */
enum { EACH_WAY = 3000, CALLERS = 4 };

static void both_ways(struct scripted_peer *peer, void *context)
{
    unsigned answered = 0, sent = 0, replies = 0;

    (void)context;
    while (answered < EACH_WAY || replies < EACH_WAY) {
        uint8_t message[4096];
        for (; sent < EACH_WAY && sent < replies + 32; sent++)
            scripted_call(peer, sent, REVERSED, 0, NULL, 0);
        expect(recv(peer->fd, message, 4, MSG_WAITALL) == 4, "the client is gone");
        size_t size = scripted_word_at(message) & 0x7fffffff;
        expect(size <= sizeof(message) && recv(peer->fd, message, size, MSG_WAITALL) == (ssize_t)size,
               "half a record");
        if (scripted_word_at(message + 4) == 1) {
            expect(scripted_word_at(message) == replies++, "replies out of order");
        } else {
            scripted_reply_word(peer, scripted_word_at(message), scripted_word_at(message + size - 4) + 1);
            answered++;
        }
    }
}

static void *echo_many(void *argument)
{
    for (uint32_t i = 0; i < EACH_WAY / CALLERS; i++) {
        uint32_t got;
        if (calls_echo(argument, i, &got) != RPC_SUCCESS || got != i + 1)
            return argument;
    }
    return NULL;
}

static void test_thousands_each_way(void **state)
{
    struct receiver receiver = {.client = NULL};
    struct scripted_peer peer;
    pthread_t threads[CALLERS];

    (void)state;
    scripted_peer_start(&peer, both_ways, NULL);
    struct rpc_client *client = connected(&peer, &receiver);
    for (int i = 0; i < CALLERS; i++)
        pthread_create(&threads[i], NULL, echo_many, client);
    for (int i = 0; i < CALLERS; i++) {
        void *trouble;
        pthread_join(threads[i], &trouble);
        assert_null(trouble);
    }
    while (receiver.served < EACH_WAY)
        usleep(1000);
    pthread_join(peer.thread, NULL); /* it has read the last reply: only now may we hang up */
    rpc_client_close(client);
    close(peer.fd);
    close(peer.listening);
}

/* More calls than are served are not queued without end: the connection ends. */
static void call_without_end(struct scripted_peer *peer, void *context)
{
    uint8_t bytes[4096];
    struct receiver *receiver = context;

    for (uint32_t i = 0; i < 100000 && receiver->broken == 0; i++)
        scripted_call(peer, i, REVERSED, NESTED, &i, 4); /* the first is never answered: its ECHO is not */
    while (recv(peer->fd, bytes, sizeof(bytes), 0) > 0)
        ;
}

static void test_endless_calls(void **state)
{
    struct receiver receiver = {.client = NULL};
    struct scripted_peer peer;

    (void)state;
    scripted_peer_start(&peer, call_without_end, &receiver);
    struct rpc_client *client = connected(&peer, &receiver);
    int64_t began = calls_now_ms();
    while (receiver.broken == 0 && calls_now_ms() - began < WAIT_MS)
        usleep(1000);
    assert_int_equal(receiver.broken, 1);
    assert_true(rpc_client_is_broken(client));
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_nested),
        cmocka_unit_test(test_both_directions_are_full),
        cmocka_unit_test(test_thousands_each_way),
        cmocka_unit_test(test_endless_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
