/* A store that takes its time, and many who want it: the permits. */
#include "rpc/permits.h"
#include "wire/peer.h"
#include "wire/small_program.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { CALLERS = 64 };

static struct small_server small;

static size_t sleep_call(uint32_t xid, uint32_t ms, uint8_t to[CALL_MAX])
{
    uint8_t credential[64];
    uint32_t word = htonl(ms);
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_SLEEP);

    form.xid = xid;
    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(1, credential);
    form.arguments = &word;
    form.arguments_size = 4;
    return call_encode(&form, to, CALL_MAX);
}

/* 64 callers of acts that take long: all workers with a permit are held, NULL stays fast. */
static void test_slow_store(void **state)
{
    int peers[CALLERS];
    uint8_t call[CALL_MAX], reply[CALL_MAX];
    uint32_t act_ms = is_heavy() ? 5000 : 100;

    (void)state;
    small_server_start(&small, NULL);
    for (int i = 0; i < CALLERS; i++) {
        peers[i] = peer_connect(&small.tcp);
        peer_send_record(peers[i], call, sleep_call((uint32_t)i, act_ms, call));
    }
    while (small_server_count(&small).waiting_records == 0)
        poll(NULL, 0, 1);
    assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 20));
    assert_true(small_server_count(&small).waiting_records > 0); /* they were waiting all the while */
    /* NULL is answered on a connection whose call waits, too, and before it. */
    peer_null(peers[CALLERS - 1], SMALL_PROGRAM);
    for (int i = 0; i < CALLERS; i++) {
        struct pollfd ready = {.fd = peers[i], .events = POLLIN};
        assert_int_equal(poll(&ready, 1, (int)(act_ms * CALLERS * slowness())), 1);
        assert_int_equal(peer_receive(peers[i], reply, sizeof reply), REPLY_HEADER);
        assert_int_equal(ntohl(*(uint32_t *)(void *)reply), i);
        close(peers[i]);
    }
    small_server_stop(&small);
}

static void short_queue(struct rpc_limits *limits)
{
    limits->workers = 3;
    limits->permits = 1;
    limits->waiting_records = 4;
}

/* The queue is full: connections are not read for a while, nothing is lost, NULL stays fast. */
static void test_full_queue(void **state)
{
    int peers[CALLERS];
    uint8_t call[CALL_MAX], reply[CALL_MAX];

    (void)state;
    small_server_start(&small, short_queue);
    for (int i = 0; i < CALLERS; i++) {
        peers[i] = peer_connect(&small.tcp);
        peer_send_record(peers[i], call, sleep_call((uint32_t)i, 10, call));
        peer_send_record(peers[i], call, sleep_call((uint32_t)i, 1, call));
    }
    assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 20));
    assert_true(small_server_count(&small).waiting_records <= 4);
    for (int i = 0; i < CALLERS; i++) {
        for (int j = 0; j < 2; j++) {
            assert_int_equal(peer_receive(peers[i], reply, sizeof reply), REPLY_HEADER);
            assert_int_equal(ntohl(*(uint32_t *)(void *)reply), i);
        }
        close(peers[i]);
    }
    assert_int_equal(rpc_server_calls(small.server, SMALL_SLEEP), 2 * CALLERS);
    small_server_stop(&small);
}

/* Who hangs up while its call waits leaves nothing behind. */
static void test_gone_while_waiting(void **state)
{
    uint8_t call[CALL_MAX];

    (void)state;
    small_server_start(&small, short_queue);
    for (int round = 0; round < 20; round++) {
        int fd = peer_connect(&small.tcp);
        for (uint32_t i = 0; i < 8; i++)
            peer_send_record(fd, call, sleep_call(i, 5, call));
        close(fd);
    }
    int64_t until = now_ms() + 10000 * slowness();
    while (
        (small_server_count(&small).connections_open > 0 || small_server_count(&small).in_flight_bytes > 0) &&
        now_ms() < until)
        poll(NULL, 0, 5);
    assert_int_equal(small_server_count(&small).connections_open, 0);
    assert_int_equal(small_server_count(&small).in_flight_bytes, 0);
    assert_int_equal(small_server_count(&small).waiting_records, 0);
    small_server_stop(&small);
}

/* Stopping with a full queue: the limit holds, and what was cut is counted. */
static void test_stop_in_time(void **state)
{
    uint8_t call[CALL_MAX];

    (void)state;
    small_server_start(&small, short_queue);
    int fd = peer_connect(&small.tcp);
    for (uint32_t i = 0; i < 5; i++)
        peer_send_record(fd, call, sleep_call(i, 300, call));
    while (small_server_count(&small).waiting_records < 4)
        poll(NULL, 0, 1);
    int64_t began = now_ms();
    assert_true(rpc_server_stop(small.server, 50) >= 4);
    assert_true(now_ms() - began < 1000 * slowness());
    rpc_server_free(small.server);
    close(fd);
}

/* ---- permits by themselves ---- */

static void test_lines(void **state)
{
    struct permits permits;
    struct permit_line line;
    struct permit_job jobs[5] = {{.line = &line},
                                 {.line = &line},
                                 {.line = NULL},
                                 {.line = &line},
                                 {.line = NULL}};

    (void)state;
    permits_init(&permits, 2, 3);
    permit_line_init(&line);
    for (int i = 0; i < 5; i++)
        list_init(&jobs[i].link);
    assert_int_equal(permits_ask(&permits, &jobs[0], true), PERMIT_YES);
    assert_int_equal(permits_ask(&permits, &jobs[1], true),
                     PERMIT_WAITS); /* behind the first, though a permit is free */
    assert_false(permits_have_work(&permits));
    assert_null(permits_take(&permits));
    assert_int_equal(permits_ask(&permits, &jobs[2], true), PERMIT_YES);
    assert_int_equal(permits_ask(&permits, &jobs[3], true), PERMIT_WAITS);
    assert_int_equal(permits_ask(&permits, &jobs[4], true), PERMIT_WAITS);
    struct permit_job extra = {.line = NULL};
    assert_int_equal(permits_ask(&permits, &extra, true), PERMIT_FULL);
    assert_ptr_equal(permits_done(&permits, &jobs[2]), &jobs[4]);
    assert_ptr_equal(permits_done(&permits, &jobs[0]), &jobs[1]);
    assert_ptr_equal(permits_done(&permits, &jobs[1]), &jobs[3]);
    assert_null(permits_done(&permits, &jobs[3]));
    assert_null(permits_done(&permits, &jobs[4]));
    assert_int_equal(permits_waiting(&permits), 0);
    permits_fini(&permits);
}

/* Shut, bulky ones wait, others do not; open again, who came first is first. */
static void test_shut(void **state)
{
    struct permits permits;
    struct permit_job jobs[4] = {{.bulky = true}, {.bulky = false}, {.bulky = true}, {.bulky = false}};

    (void)state;
    permits_init(&permits, 1, 10);
    permits_shut(&permits, true);
    assert_int_equal(permits_ask(&permits, &jobs[0], true), PERMIT_WAITS);
    assert_false(permits_have_work(&permits));
    assert_int_equal(permits_ask(&permits, &jobs[1], true), PERMIT_YES);
    assert_int_equal(permits_ask(&permits, &jobs[2], true), PERMIT_WAITS);
    assert_int_equal(permits_ask(&permits, &jobs[3], true), PERMIT_WAITS);
    assert_ptr_equal(permits_done(&permits, &jobs[1]), &jobs[3]);
    assert_null(permits_done(&permits, &jobs[3]));
    permits_shut(&permits, false);
    assert_true(permits_have_work(&permits));
    assert_ptr_equal(permits_take(&permits), &jobs[0]);
    /* One that yields comes in again behind the others. */
    assert_ptr_equal(permits_yield(&permits), &jobs[2]);
    permits_again(&permits, &jobs[0]);
    assert_ptr_equal(permits_done(&permits, &jobs[2]), &jobs[0]);
    permits_shut(&permits, true);
    assert_null(permits_done(&permits, &jobs[0]));
    assert_int_equal(permits_waiting(&permits), 0);
    permits_fini(&permits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_store),
        cmocka_unit_test(test_full_queue),
        cmocka_unit_test(test_gone_while_waiting),
        cmocka_unit_test(test_stop_in_time),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_shut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
