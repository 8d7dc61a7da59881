/* Peers that begin and do not go on, or claim what they do not send, hurt nobody. */
#include "wire/peer.h"
#include "wire/small_program.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { PEERS = 64 };

static struct small_server small;

/* The head of an ECHO call by uid `uid`, whose arguments claim `count` bytes. */
static size_t echo_head(uint32_t count, uint8_t *to, size_t size)
{
    static uint8_t credential[64];
    static uint32_t word;
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_ECHO);

    word = htonl(count);
    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(1, credential);
    form.arguments = &word;
    form.arguments_size = 4;
    return call_encode(&form, to, size);
}

/* A connection on which an ECHO of `claimed` bytes was begun, and `sent` of them came. */
static int half_record(size_t claimed, size_t sent)
{
    static uint8_t message[CALL_MAX + (1 << 20)];
    int fd = peer_connect(&small.tcp);
    size_t head = echo_head((uint32_t)claimed, message + 4, CALL_MAX);
    uint32_t mark = htonl(0x80000000U | (uint32_t)(head + claimed));

    memcpy(message, &mark, 4);
    peer_send(fd, message, 4 + head + sent);
    return fd;
}

static void wait_for(size_t bytes)
{
    for (int i = 0; i < 2000 && small_server_count(&small).in_flight_bytes < bytes; i++)
        usleep(1000);
    assert_true(small_server_count(&small).in_flight_bytes >= bytes);
}

/* 64 peers in mid-record: others' NULL stays fast, and no worker turns in circles. */
static void test_half_records(void **state)
{
    int peers[PEERS];

    (void)state;
    small_server_start(&small, NULL);
    for (int i = 0; i < PEERS; i++)
        peers[i] = half_record(1 << 16, 1 << (i % 16));
    wait_for(PEERS * 1024);
    assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 100));

    int64_t used = cpu_ms();
    poll(NULL, 0, 1000);
    assert_true(cpu_ms() - used <= 100); /* under 1 % of a second, times ten */
    assert_int_equal(small_server_count(&small).connections_open, PEERS);
    for (int i = 0; i < PEERS; i++)
        close(peers[i]);
    small_server_stop(&small);
}

static void little_room(struct rpc_limits *limits)
{
    limits->in_flight_bytes = 4 << 20;
}

/*
 * Half-received large records fill all there is: nobody is let in who is not
 * counted, and who came to stay is cut, so that others' large records get
 * through. Small ones need not even wait.
 */
static void test_half_large_records(void **state)
{
    static uint8_t message[CALL_MAX + (1 << 20)], reply[CALL_MAX + (1 << 20)];
    int peers[16];

    (void)state;
    small_server_start(&small, little_room);
    for (int i = 0; i < 16; i++)
        peers[i] = half_record(1 << 20, 100000);
    wait_for(3 << 20);
    assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 20));

    int64_t began = now_ms();
    int fd = peer_connect(&small.tcp);
    size_t head = echo_head(1 << 20, message, CALL_MAX);
    peer_send_record(fd, message, head + (1 << 20));
    assert_int_equal(peer_receive(fd, reply, sizeof reply), REPLY_HEADER + 4 + (1 << 20));
    assert_true(now_ms() - began < 9000 * slowness());
    assert_true(small_server_count(&small).connections_cut > 0);
    assert_true(small_server_count(&small).in_flight_bytes <= (4 << 20) + (16 << 20));
    close(fd);
    for (int i = 0; i < 16; i++)
        close(peers[i]);
    small_server_stop(&small);
}

static void brief_progress(struct rpc_limits *limits)
{
    limits->progress_ms = 800 * pace();
    limits->progress_bytes = 64;
}

/* Who does not go on with a record is cut in the end; who goes on, however slowly, is not. */
static void test_progress(void **state)
{
    static uint8_t message[CALL_MAX + 1024], reply[CALL_MAX + 1024];

    (void)state;
    small_server_start(&small, brief_progress);
    int silent = half_record(1000, 10);
    int slow = peer_connect(&small.tcp);
    size_t head = echo_head(1024, message + 4, CALL_MAX);
    uint32_t mark = htonl(0x80000000U | (uint32_t)(head + 1024));
    memcpy(message, &mark, 4);
    for (size_t at = 0; at < 4 + head + 1024; at += 32) {
        size_t left = 4 + head + 1024 - at;
        peer_send(slow, message + at, left < 32 ? left : 32);
        poll(NULL, 0, 40 * (int)pace());
    }
    assert_int_equal(peer_receive(slow, reply, sizeof reply), REPLY_HEADER + 4 + 1024);
    assert_true(peer_is_cut(silent));
    close(silent);
    close(slow);
    small_server_stop(&small);
}

static void brief_idle(struct rpc_limits *limits)
{
    limits->idle_ms = 600 * pace();
}

static void test_idle(void **state)
{
    (void)state;
    small_server_start(&small, brief_idle);
    int busy = peer_connect(&small.tcp), idle = peer_connect(&small.tcp);
    for (int i = 0; i < 18; i++) { /* for longer than it may be idle */
        peer_null(busy, SMALL_PROGRAM);
        poll(NULL, 0, 50 * (int)pace());
    }
    assert_true(peer_is_cut(idle));
    peer_null(busy, SMALL_PROGRAM);
    close(busy);
    close(idle);
    small_server_stop(&small);
}

/* A call cut into fragments of one byte, with empty ones between (as many as may be). */
static void test_tiny_fragments(void **state)
{
    static const uint8_t empty[4] = {0};
    uint8_t message[CALL_MAX], reply[CALL_MAX];
    const int on = 1;

    (void)state;
    small_server_start(&small, NULL);
    int fd = peer_connect(&small.tcp);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct call_form form = call_of(SMALL_PROGRAM, 1, 0);
    size_t size = call_encode(&form, message, sizeof message);
    for (size_t i = 0; i < size; i++) {
        uint8_t fragment[5] = {i + 1 == size ? 0x80 : 0, 0, 0, 1, message[i]};
        peer_send(fd, fragment, sizeof fragment);
        peer_send(fd, empty, sizeof empty * (i + 1 < size));
    }
    assert_int_equal(peer_receive(fd, reply, sizeof reply), REPLY_HEADER);
    close(fd);

    /* Sixty kilobytes in fragments of one byte does not take for ever either. */
    enum { BYTES = 60000 };
    uint8_t *many = malloc((BYTES + CALL_MAX) * 5), *answer = malloc(BYTES + CALL_MAX);
    static uint8_t whole[BYTES + CALL_MAX];
    size = echo_head(BYTES, whole, CALL_MAX) + BYTES;
    for (size_t i = 0; i < size; i++) {
        const uint8_t fragment[5] = {i + 1 == size ? 0x80 : 0, 0, 0, 1, whole[i]};
        memcpy(many + i * 5, fragment, 5);
    }
    fd = peer_connect(&small.tcp);
    peer_send(fd, many, size * 5);
    assert_int_equal(peer_receive(fd, answer, BYTES + CALL_MAX), REPLY_HEADER + 4 + BYTES);
    close(fd);
    free(many);
    free(answer);
    small_server_stop(&small);
}

/* Empty fragments without end, and empty records, are no way to keep a worker busy. */
static void test_empty_fragments(void **state)
{
    static const uint8_t empty[400] = {0}, empty_record[4] = {0x80, 0, 0, 0};

    (void)state;
    small_server_start(&small, NULL);
    int fd = peer_connect(&small.tcp);
    peer_send(fd, empty, sizeof empty);
    assert_true(peer_is_cut(fd));
    close(fd);
    fd = peer_connect(&small.tcp);
    peer_send(fd, empty_record, sizeof empty_record);
    assert_true(peer_is_cut(fd));
    close(fd);
    assert_int_equal(small_server_count(&small).connections_cut, 2);
    small_server_stop(&small);
}

/* Past the limit: cut at the claim, whether in one fragment or in several. */
static void test_long_records(void **state)
{
    uint8_t message[CALL_MAX];

    (void)state;
    small_server_start(&small, NULL);
    size_t most = small.options.limits.record_max;
    const uint32_t marks[] = {0x80000000U | (uint32_t)(most + 1), (uint32_t)(most + 1), 0xffffffff,
                              0x7fffffff};
    for (size_t i = 0; i < 4; i++) {
        uint32_t mark = htonl(marks[i]);
        int fd = peer_connect(&small.tcp);
        peer_send(fd, &mark, 4);
        assert_true(peer_is_cut(fd));
        close(fd);
    }
    /* Nobody knows who sends this: 64 KiB are all it may have. */
    static uint8_t large[100000];
    struct call_form form = call_of(SMALL_PROGRAM, 1, SMALL_ECHO);
    memcpy(large, message, call_encode(&form, message, sizeof message));
    int fd = peer_connect(&small.tcp);
    uint32_t mark = htonl(0x80000000U | sizeof large);
    send(fd, &mark, 4, MSG_NOSIGNAL);
    for (size_t at = 0; at < sizeof large; at += 1000)
        if (send(fd, large + at, 1000, MSG_NOSIGNAL) < 0)
            break;
    assert_true(peer_is_cut(fd));
    close(fd);
    assert_int_equal(small_server_count(&small).connections_cut, 5);
    small_server_stop(&small);
}

/* 44 bytes that claim an opaque of 0x20000000: refused, and no memory is taken for it. */
static void test_claims(void **state)
{
    uint8_t message[CALL_MAX], reply[CALL_MAX];

    (void)state;
    small_server_start(&small, NULL);
    peer_null(peer_connect(&small.tcp), SMALL_PROGRAM);
    size_t before = resident_bytes();
    for (int i = 0; i < 200; i++) {
        int fd = peer_connect(&small.tcp);
        size_t size = echo_head(0x20000000, message, sizeof message);
        peer_send_record(fd, message, size);
        assert_int_equal(peer_receive(fd, reply, sizeof reply), REPLY_HEADER);
        assert_int_equal(reply[REPLY_HEADER - 1], GARBAGE_ARGS);
        close(fd);
    }
    assert_true(resident_grew_less(before, 10 << 20));

    /* A record that claims a megabyte and sends a few bytes holds a few bytes. */
    int peers[30];
    for (int i = 0; i < 30; i++)
        peers[i] = half_record(1 << 20, 100);
    wait_for(30 * 100);
    assert_true(small_server_count(&small).in_flight_bytes <= 30 * 4096);
    for (int i = 0; i < 30; i++)
        close(peers[i]);
    small_server_stop(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_records),   cmocka_unit_test(test_half_large_records),
        cmocka_unit_test(test_progress),       cmocka_unit_test(test_idle),
        cmocka_unit_test(test_tiny_fragments), cmocka_unit_test(test_empty_fragments),
        cmocka_unit_test(test_long_records),   cmocka_unit_test(test_claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
