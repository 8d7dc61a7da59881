/* Calls in flight, deadlines, and what a peer may do to them: rpc/client.h. */
#include "place.h"
#include "wire/client_calls.h"
#include "wire/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- connecting ---- */

static enum outcome connect_outcome(const struct address *address, unsigned connect_ms, struct failure *why)
{
    struct rpc_client_options options = {.number = CALLS_PROGRAM, .version = 1, .connect_ms = connect_ms};
    struct rpc_client *client = NULL;
    enum outcome outcome = rpc_client_connect(address, &options, &client, why);

    rpc_client_close(client);
    return outcome;
}

static void test_nobody_listens(void **state)
{
    struct address address;
    struct failure why;

    (void)state;
    assert_int_equal(address_ip("127.0.0.1", 1, &address, &why), OUTCOME_OK);
    assert_int_equal(connect_outcome(&address, 1000, &why), OUTCOME_UNREACHABLE);
    assert_non_null(strstr(why.text, "127.0.0.1:1"));
    assert_int_equal(address_local("/nowhere/at/all", &address, &why), OUTCOME_OK);
    assert_int_equal(connect_outcome(&address, 1000, &why), OUTCOME_UNREACHABLE);
}

/* A listener that never accepts, with its backlog full, is a black hole: the deadline holds. */
static void black_hole(struct sockaddr *bound, socklen_t size)
{
    int listening = socket(bound->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), filling[8];
    struct failure why;

    assert_int_equal(bind(listening, bound, size), 0);
    assert_int_equal(listen(listening, 0), 0);
    assert_int_equal(getsockname(listening, bound, &size), 0);
    for (int i = 0; i < 8; i++) {
        filling[i] = socket(bound->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(filling[i], bound, size) != 0)
            assert_true(errno == EINPROGRESS || errno == EAGAIN);
    }
    struct address address = address_of(bound, size);
    int64_t began = calls_now_ms();
    assert_int_equal(connect_outcome(&address, 150, &why), OUTCOME_TIMEOUT);
    assert_in_range(calls_now_ms() - began, 140, 1500);
    for (int i = 0; i < 8; i++)
        close(filling[i]);
    close(listening);
}

static void test_black_hole(void **state)
{
    struct sockaddr_in ip = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    char folder[PLACE_SIZE];

    (void)state;
    black_hole((struct sockaddr *)&ip, sizeof(ip));
    assert_non_null(place_make(folder, place_on_disk(), "client"));
    snprintf(local.sun_path, sizeof(local.sun_path), "%s/socket", folder);
    black_hole((struct sockaddr *)&local, sizeof(local));
    unlink(local.sun_path);
    rmdir(folder);
}

/* ---- calls ---- */

static void test_stub_calls(void **state)
{
    struct scripted_peer peer;
    struct address local;

    (void)state;
    scripted_peer_start(&peer, calls_serve, NULL);
    struct rpc_client *client = calls_connected(&peer, 5000);
    for (uint32_t i = 0; i < 100; i++)
        calls_assert_echo(client, i);
    assert_true(address_same_host(rpc_client_peer(client), &peer.address));
    assert_true(rpc_client_local(client, &local));
    assert_true(address_is_loopback(&local) && address_port(&local) != 0);

    /* Bytes of a result stay where they are until they are freed. */
    char content[3000];
    memset(content, 'c', sizeof(content));
    struct calls_blob sent = {sizeof(content), content}, got = {0};
    struct timeval stub_limit = {25, 0};
    assert_int_equal(clnt_call(rpc_client_handle(client), CALLS_BLOB, calls_blob, (caddr_t)&sent, calls_blob,
                               (caddr_t)&got, stub_limit),
                     RPC_SUCCESS);
    assert_int_equal(got.count, sizeof(content));
    assert_memory_equal(got.bytes, content, sizeof(content));
    assert_true(clnt_freeres(rpc_client_handle(client), calls_blob, (caddr_t)&got));
    assert_null(got.bytes);
    assert_null(rpc_client_close(client));
    scripted_peer_finish(&peer);
}

static void test_deadline_and_late_reply(void **state)
{
    struct scripted_peer peer;
    uint32_t word;
    struct failure why;

    (void)state;
    scripted_peer_start(&peer, calls_serve, NULL);
    struct rpc_client *client = calls_connected(&peer, 5000);
    int64_t began = calls_now_ms();
    assert_int_equal(calls_awaited(client, calls_begun(client, CALLS_SILENT, 1), &word, &why),
                     OUTCOME_TIMEOUT);
    assert_in_range(calls_now_ms() - began, 195, 2000);
    assert_non_null(strstr(why.text, "silent"));
    assert_false(rpc_client_is_broken(client));
    calls_assert_echo(client, 5);

    /* The handle's calls have a limit of their own, which can be set. */
    struct timeval limit = {0, 100000}, stub_limit = {25, 0};
    assert_true(clnt_control(rpc_client_handle(client), CLSET_TIMEOUT, (char *)&limit));
    began = calls_now_ms();
    assert_int_equal(clnt_call(rpc_client_handle(client), 77, calls_word, (caddr_t)&word, calls_word,
                               (caddr_t)&word, stub_limit),
                     RPC_TIMEDOUT);
    assert_in_range(calls_now_ms() - began, 95, 2000);
    assert_int_equal(rpc_client_outcome(client, RPC_TIMEDOUT, &why), OUTCOME_TIMEOUT);
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

/* Before each answer: one nobody asked for, the one of the call before (late), and a CALL nobody invited. */
static void answer_with_noise(struct scripted_peer *peer, void *context)
{
    struct scripted_call call;
    uint32_t before = 0x12345678;

    (void)context;
    while (scripted_read_call(peer, &call)) {
        scripted_reply_word(peer, call.xid + 1000, 99);
        scripted_reply_word(peer, before, 98);
        scripted_call(peer, call.xid, CALLS_PROGRAM, 0, NULL, 0);
        if (call.procedure == CALLS_ECHO)
            scripted_reply_word(peer, call.xid, scripted_word_at(call.arguments) + 1);
        before = call.xid;
        free(call.arguments);
    }
}

static void test_unknown_xids_are_skipped(void **state)
{
    struct scripted_peer peer;
    struct failure why;
    uint32_t word;

    (void)state;
    scripted_peer_start(&peer, answer_with_noise, NULL);
    struct rpc_client *client = calls_connected(&peer, 5000);
    for (uint32_t i = 0; i < 10; i++) {
        calls_assert_echo(client, i);
        if (i == 5)
            assert_int_equal(calls_awaited(client, calls_begun(client, CALLS_SILENT, 0), &word, &why),
                             OUTCOME_TIMEOUT);
    }
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

static void answer_backwards(struct scripted_peer *peer, void *context)
{
    struct scripted_call calls[64];

    (void)context;
    for (int i = 0; i < 64; i++)
        if (!scripted_read_call(peer, &calls[i]))
            abort();
    for (int i = 63; i >= 0; i--) {
        scripted_reply_word(peer, calls[i].xid, scripted_word_at(calls[i].arguments) + 1);
        free(calls[i].arguments);
    }
}

static void test_many_in_flight_answered_backwards(void **state)
{
    struct rpc_pending *pendings[64];
    struct scripted_peer peer;
    struct failure why;
    uint32_t word;

    (void)state;
    scripted_peer_start(&peer, answer_backwards, NULL);
    struct rpc_client *client = calls_connected(&peer, 5000);
    for (uint32_t i = 0; i < 64; i++)
        pendings[i] = calls_begun(client, CALLS_ECHO, i);
    for (uint32_t i = 0; i < 64; i++) {
        assert_int_equal(calls_awaited(client, pendings[i], &word, &why), OUTCOME_OK);
        assert_int_equal(word, i + 1);
    }
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

static void answer_each_way(struct scripted_peer *peer, void *context)
{
    static const uint32_t answers[][7] = {
        {1, 0, 0, 0, 1}, {1, 0, 0, 0, 2, 3, 4}, {1, 0, 0, 0, 3}, {1, 0, 0, 0, 4},
        {1, 0, 0, 0, 5}, {1, 1, 1, 5},          {1, 0, 0, 0, 0}, /* a success without its results */
    };
    struct scripted_call call;

    (void)context;
    for (size_t i = 0; scripted_read_call(peer, &call); i++) {
        uint32_t words[8] = {call.xid};
        memcpy(words + 1, answers[i], sizeof(answers[i]));
        scripted_words(peer, words, i == 1 ? 8 : i == 5 ? 5 : 6);
        free(call.arguments);
    }
}

static void test_refusals(void **state)
{
    static const struct {
        enum clnt_stat stat;
        enum outcome outcome;
    } expected[] = {
        {RPC_PROGUNAVAIL, OUTCOME_UNAVAILABLE}, {RPC_PROGVERSMISMATCH, OUTCOME_CHANGED},
        {RPC_PROCUNAVAIL, OUTCOME_ABSENT},      {RPC_CANTDECODEARGS, OUTCOME_INVALID},
        {RPC_SYSTEMERROR, OUTCOME_UNKNOWN},     {RPC_AUTHERROR, OUTCOME_DENIED},
        {RPC_CANTDECODERES, OUTCOME_PROTOCOL},
    };
    struct scripted_peer peer;

    (void)state;
    scripted_peer_start(&peer, answer_each_way, NULL);
    struct rpc_client *client = calls_connected(&peer, 5000);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        struct failure why = {0};
        struct rpc_err error;
        uint32_t word;
        enum clnt_stat stat = calls_echo(client, 1, &word);
        assert_int_equal(stat, expected[i].stat);
        assert_int_equal(rpc_client_outcome(client, stat, &why), expected[i].outcome);
        assert_true(why.text[0]);
        clnt_geterr(rpc_client_handle(client), &error);
        assert_int_equal(error.re_status, stat);
        if (stat == RPC_PROGVERSMISMATCH)
            assert_true(error.re_vers.low == 3 && error.re_vers.high == 4);
        if (stat == RPC_AUTHERROR)
            assert_int_equal(error.re_why, AUTH_TOOWEAK);
    }
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

/* ---- a connection that breaks ---- */

struct waiting {
    struct rpc_client *client;
    struct rpc_pending *pending;
    enum outcome outcome;
};

static void *wait_in_thread(void *argument)
{
    struct waiting *waiting = argument;
    struct failure why;
    uint32_t word;

    waiting->outcome = calls_awaited(waiting->client, waiting->pending, &word, &why);
    return NULL;
}

static void read_eight_and_go(struct scripted_peer *peer, void *context)
{
    struct scripted_call call;

    (void)context;
    for (int i = 0; i < 8 && scripted_read_call(peer, &call); i++)
        free(call.arguments);
    shutdown(peer->fd, SHUT_RDWR);
}

static void test_broken_wakes_all(void **state)
{
    struct waiting waiting[8];
    pthread_t threads[8];
    struct scripted_peer peer;
    struct failure why;
    struct address local;
    uint32_t word;

    (void)state;
    scripted_peer_start(&peer, read_eight_and_go, NULL);
    struct rpc_client *client = calls_connected(&peer, 30000 * slowness());
    int64_t began = calls_now_ms();
    for (int i = 0; i < 7; i++)
        waiting[i] = (struct waiting){.client = client, .pending = calls_begun(client, CALLS_ECHO, 1)};
    for (int i = 0; i < 7; i++)
        pthread_create(&threads[i], NULL, wait_in_thread, &waiting[i]);
    assert_int_equal(calls_echo(client, 1, &word), RPC_CANTRECV);
    for (int i = 0; i < 7; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(waiting[i].outcome, OUTCOME_UNREACHABLE);
    }
    assert_true(calls_now_ms() - began < 5000 * slowness());
    assert_true(rpc_client_is_broken(client));
    assert_false(rpc_client_local(client, &local));
    assert_int_equal(calls_echo(client, 1, &word), RPC_CANTSEND);
    assert_int_equal(rpc_client_outcome(client, RPC_CANTSEND, &why), OUTCOME_UNREACHABLE);
    rpc_client_close(client);
    scripted_peer_finish(&peer);
}

static void send_junk(struct scripted_peer *peer, void *context)
{
    struct scripted_call call;

    if (scripted_read_call(peer, &call))
        free(call.arguments);
    scripted_bytes(peer, context, 8);
    while (scripted_read_call(peer, &call))
        free(call.arguments);
}

static void test_junk_breaks_it(void **state)
{
    static const char *const junk[] = {
        "\x7f\xff\xff\xff\0\0\0", /* a fragment of 2 GiB */
        "\x80\0\0\4\0\0\0",       /* a record that is no message */
        "\x80\0\0\0\0\0\0",       /* an empty one */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        struct scripted_peer peer;
        struct failure why;
        uint32_t word;
        scripted_peer_start(&peer, send_junk, (void *)(uintptr_t)junk[i]);
        struct rpc_client *client = calls_connected(&peer, 30000 * slowness());
        assert_int_equal(calls_echo(client, 1, &word), RPC_CANTRECV);
        assert_int_equal(rpc_client_outcome(client, RPC_CANTRECV, &why), OUTCOME_UNREACHABLE);
        assert_non_null(strstr(why.text, "peer s"));
        rpc_client_close(client);
        scripted_peer_finish(&peer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nobody_listens),
        cmocka_unit_test(test_black_hole),
        cmocka_unit_test(test_stub_calls),
        cmocka_unit_test(test_deadline_and_late_reply),
        cmocka_unit_test(test_unknown_xids_are_skipped),
        cmocka_unit_test(test_many_in_flight_answered_backwards),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_broken_wakes_all),
        cmocka_unit_test(test_junk_breaks_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
