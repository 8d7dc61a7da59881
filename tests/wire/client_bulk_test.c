/* Content both ways, peers that do not read, threads that share a connection: rpc/client.h. */
#include "wire/client_calls.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct filled {
    struct bulk_source source;
    unsigned fills;
    bool fails;
    char with;
};

static bool fill(struct bulk_source *source, void *to, size_t count)
{
    struct filled *filled = (struct filled *)source;

    filled->fills++;
    memset(to, filled->with, count);
    return !filled->fails;
}

static enum outcome begin_blob(struct rpc_client *client, struct filled *filled, u_int count,
                               struct rpc_pending **out, struct failure *why)
{
    struct calls_blob blob = {count, (char *)filled};

    filled->source.fill = fill;
    return rpc_client_begin(client, CALLS_BLOB, calls_blob, &blob, &filled->source, out, why);
}

static void test_content_from_a_source(void **state)
{
    struct filled filled = {.with = 'f'}, broken = {.fails = true}, longer = {.with = 'g'};
    struct rpc_pending *pending = NULL;
    struct scripted_peer peer;
    struct failure why;
    struct calls_blob got = {0};

    (void)state;
    scripted_peer_start(&peer, calls_serve, NULL);
    struct rpc_client *client = calls_connected(&peer, 30000);
    assert_int_equal(begin_blob(client, &filled, CALLS_CONTENT_MAX, &pending, &why), OUTCOME_OK);
    assert_int_equal(rpc_client_await(client, pending, calls_blob, &got, &why), OUTCOME_OK);
    assert_int_equal(filled.fills, 1);
    assert_int_equal(got.count, CALLS_CONTENT_MAX);
    assert_true(got.bytes[0] == 'f' && got.bytes[CALLS_CONTENT_MAX - 1] == 'f');
    rpc_pending_free(client, pending);

    assert_int_equal(begin_blob(client, &broken, 100, &pending, &why), OUTCOME_INVALID);
    assert_int_equal(begin_blob(client, &longer, CALLS_CONTENT_MAX + 1, &pending, &why), OUTCOME_INVALID);
    assert_int_equal(broken.fills, 1);
    assert_int_equal(longer.fills, 0);
    calls_assert_echo(client, 1);
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

/* Sends 24 MiB before it reads anything: then it answers. */
static void talk_first(struct scripted_peer *peer, void *context)
{
    char *much = calloc(1, CALLS_CONTENT_MAX);

    for (int i = 0; i < 24; i++)
        scripted_reply(peer, 7, much, CALLS_CONTENT_MAX);
    free(much);
    calls_serve(peer, context);
}

static void test_never_writes_without_reading(void **state)
{
    struct rpc_pending *pendings[24];
    struct scripted_peer peer;
    struct failure why;

    (void)state;
    scripted_peer_start(&peer, talk_first, NULL);
    struct rpc_client *client = calls_connected(&peer, 20000);
    for (int i = 0; i < 24; i++) {
        struct filled filled = {.with = (char)i};
        if (begin_blob(client, &filled, CALLS_CONTENT_MAX, &pendings[i], &why) != OUTCOME_OK)
            fail_msg("call %d: %s", i, why.text);
    }
    for (int i = 0; i < 24; i++) {
        struct calls_blob got = {0};
        assert_int_equal(rpc_client_await(client, pendings[i], calls_blob, &got, &why), OUTCOME_OK);
        assert_int_equal(got.bytes[CALLS_CONTENT_MAX / 2], i);
        rpc_pending_free(client, pendings[i]);
    }
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

/* Reads nothing until it is told to. */
static void read_late(struct scripted_peer *peer, void *context)
{
    int *pipe_end = context;
    char byte;

    if (read(*pipe_end, &byte, 1) != 1)
        abort();
    calls_serve(peer, NULL);
}

static void test_peer_that_does_not_read(void **state)
{
    struct rpc_pending *pendings[64];
    struct scripted_peer peer;
    struct failure why;
    int ends[2], count = 0;
    enum outcome outcome = OUTCOME_OK;

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    scripted_peer_start(&peer, read_late, &ends[0]);
    struct rpc_client *client = calls_connected(&peer, 300);
    while (outcome == OUTCOME_OK && count < 64) {
        struct filled filled = {.with = 'r'};
        outcome = begin_blob(client, &filled, CALLS_CONTENT_MAX, &pendings[count], &why);
        count += outcome == OUTCOME_OK;
    }
    assert_int_equal(outcome, OUTCOME_TIMEOUT);
    struct timeval limit = {0, 10000};
    clnt_control(rpc_client_handle(client), CLSET_TIMEOUT, (char *)&limit);
    for (int i = 0; i < 20; i++) { /* these do not get out, and leave nothing behind */
        struct filled filled = {.with = 's'};
        struct rpc_pending *pending = NULL;
        assert_int_equal(begin_blob(client, &filled, CALLS_CONTENT_MAX, &pending, &why), OUTCOME_TIMEOUT);
    }
    while (count-- > 0)
        rpc_pending_free(client, pendings[count]);
    assert_int_equal(write(ends[1], "x", 1), 1);
    limit = (struct timeval){20, 0};
    clnt_control(rpc_client_handle(client), CLSET_TIMEOUT, (char *)&limit);
    calls_assert_echo(client, 3);
    rpc_client_close(client);
    scripted_peer_finish(&peer);
    close(ends[0]);
    close(ends[1]);
}

/* ---- small calls ---- */

/* Answers three calls and notes their words. */
static void note_three(struct scripted_peer *peer, void *context)
{
    uint32_t *words = context;

    for (int i = 0; i < 3; i++) {
        struct scripted_call call;
        if (!scripted_read_call(peer, &call))
            abort();
        words[i] = scripted_word_at(call.arguments);
        scripted_reply_word(peer, call.xid, words[i] + 1);
        free(call.arguments);
    }
}

/* Those begun while others are in flight go out when somebody waits, in their order; one given up before never does. */
static void test_small_calls_go_out_together(void **state)
{
    struct scripted_peer peer;
    struct failure why;
    uint32_t words[3] = {0}, got;

    (void)state;
    scripted_peer_start(&peer, note_three, words);
    struct rpc_client *client = calls_connected(&peer, 10000);
    struct rpc_pending *first = calls_begun(client, CALLS_ECHO, 10);
    struct rpc_pending *given_up = calls_begun(client, CALLS_ECHO, 20);
    struct rpc_pending *second = calls_begun(client, CALLS_ECHO, 30);
    struct rpc_pending *third = calls_begun(client, CALLS_ECHO, 40);
    assert_null(rpc_pending_free(client, given_up));
    assert_int_equal(calls_awaited(client, first, &got, &why), OUTCOME_OK);
    assert_int_equal(got, 11);
    assert_int_equal(calls_awaited(client, third, &got, &why), OUTCOME_OK);
    assert_int_equal(got, 41);
    assert_int_equal(calls_awaited(client, second, &got, &why), OUTCOME_OK);
    assert_int_equal(got, 31);
    scripted_peer_finish(&peer);
    rpc_client_close(client);
    assert_true(words[0] == 10 && words[1] == 30 && words[2] == 40);
}

/* However many are begun and not awaited: they do go out, as many as are not held. */
static void test_many_begun_and_none_awaited(void **state)
{
    struct rpc_pending *pendings[200];
    struct scripted_peer peer;
    struct failure why;
    uint32_t got;

    (void)state;
    scripted_peer_start(&peer, calls_serve, NULL);
    struct rpc_client *client = calls_connected(&peer, 10000);
    for (uint32_t i = 0; i < 200; i++)
        pendings[i] = calls_begun(client, CALLS_ECHO, i);
    for (uint32_t i = 200; i-- > 0;) {
        assert_int_equal(calls_awaited(client, pendings[i], &got, &why), OUTCOME_OK);
        assert_int_equal(got, i + 1);
    }
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

/* ---- threads ---- */

static void *call_many(void *argument)
{
    struct rpc_client *client = argument;

    for (uint32_t i = 0; i < 400; i++) {
        uint32_t got;
        if (calls_echo(client, i, &got) != RPC_SUCCESS || got != i + 1)
            return (void *)(uintptr_t) "a call failed";
        if (i % 16 == 0) {
            struct filled filled = {.with = (char)i};
            struct rpc_pending *pending = NULL;
            struct calls_blob blob = {0};
            struct failure why;
            if (begin_blob(client, &filled, 50000, &pending, &why) != OUTCOME_OK ||
                rpc_client_await(client, pending, calls_blob, &blob, &why) != OUTCOME_OK ||
                blob.bytes[49999] != (char)i)
                return (void *)(uintptr_t) "a blob failed";
            rpc_pending_free(client, pending);
        }
    }
    return NULL;
}

static void test_threads_share_a_connection(void **state)
{
    struct scripted_peer peer;
    pthread_t threads[8];

    (void)state;
    scripted_peer_start(&peer, calls_serve, NULL);
    struct rpc_client *client = calls_connected(&peer, 30000);
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, call_many, client);
    for (int i = 0; i < 8; i++) {
        void *trouble;
        pthread_join(threads[i], &trouble);
        assert_null(trouble);
    }
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content_from_a_source),
        cmocka_unit_test(test_never_writes_without_reading),
        cmocka_unit_test(test_peer_that_does_not_read),
        cmocka_unit_test(test_small_calls_go_out_together),
        cmocka_unit_test(test_many_begun_and_none_awaited),
        cmocka_unit_test(test_threads_share_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
