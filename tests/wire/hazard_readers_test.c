/* Peers that ask and do not read, and peers that ask without end. */
#include "wire/peer.h"
#include "wire/small_program.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { MIB = 1 << 20 };

static struct small_server small;

/* A call with one word of arguments, by uid 1, with its record mark. */
static size_t word_call(uint32_t procedure, uint32_t xid, uint32_t argument, uint8_t to[CALL_MAX])
{
    uint8_t credential[64];
    uint32_t word = htonl(argument);
    struct call_form form = call_of(SMALL_PROGRAM, 1, procedure);

    form.xid = xid;
    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(1, credential);
    form.arguments = &word;
    form.arguments_size = 4;
    size_t size = call_encode(&form, to + 4, CALL_MAX - 4);
    uint32_t mark = htonl(0x80000000U | (uint32_t)size);
    memcpy(to, &mark, 4);
    return size + 4;
}

/* Asks for so many MiB, and reads nothing. */
static int ask(uint32_t procedure, unsigned mib)
{
    uint8_t call[CALL_MAX];
    int fd = peer_connect(&small.tcp);

    for (unsigned i = 0; i < mib; i++)
        peer_send(fd, call, word_call(procedure, i, MIB, call));
    return fd;
}

/* All of it, in any order. */
static void take(int fd, unsigned mib)
{
    uint8_t *reply = malloc(MIB + CALL_MAX);
    uint64_t seen = 0;

    for (unsigned i = 0; i < mib; i++) {
        assert_int_equal(peer_receive(fd, reply, MIB + CALL_MAX), REPLY_HEADER + 4 + MIB);
        seen |= 1ULL << ntohl(*(uint32_t *)(void *)reply);
        assert_int_equal(reply[REPLY_HEADER + 4], 'g');
        assert_int_equal(reply[REPLY_HEADER + 3 + MIB], 'g');
    }
    assert_int_equal(seen, (1ULL << mib) - 1);
    free(reply);
}

/* Until no call of this procedure was served for a while. */
static void wait_for_calm(uint32_t procedure)
{
    uint64_t before, after = rpc_server_calls(small.server, procedure);

    do {
        before = after;
        poll(NULL, 0, (int)(100 * slowness()));
        after = rpc_server_calls(small.server, procedure);
    } while (before != after);
}

/* 32 MiB that nobody reads: a bounded part is made, the others are served; it all comes in the end. */
static void ask_and_do_not_read(uint32_t procedure)
{
    enum { PEERS = 4, MOST_KERNEL = 8 /* MiB that its buffers take of each */ };
    int peers[PEERS];

    small_server_start(&small, NULL);
    for (int i = 0; i < PEERS; i++)
        peers[i] = ask(procedure, 32);
    assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 100));
    wait_for_calm(procedure);
    int64_t used = cpu_ms();
    poll(NULL, 0, 500);
    assert_true(cpu_ms() - used <= 50);
    assert_true(rpc_server_calls(small.server, procedure) <
                PEERS * (MOST_KERNEL + 3) + small.options.limits.permits);
    for (int i = 0; i < PEERS; i++) {
        take(peers[i], 32);
        close(peers[i]);
    }
    small_server_stop(&small);
}

static void test_non_readers(void **state)
{
    (void)state;
    ask_and_do_not_read(SMALL_GIVE);
}

/* The same for calls that wait for permits: their replies are not made before the peer has read. */
static void test_non_readers_of_the_store(void **state)
{
    (void)state;
    ask_and_do_not_read(SMALL_FETCH);
}

static void little_room(struct rpc_limits *limits)
{
    limits->in_flight_bytes = 8 << 20;
}

/*
 * Many that do not read: all together they hold no more than what is allowed in
 * all; after a while some are cut, so that another, who reads, gets its own.
 */
static void test_many_non_readers(void **state)
{
    enum { PEERS = 12 };
    int peers[PEERS];

    (void)state;
    small_server_start(&small, little_room);
    int first = ask(SMALL_FETCH, 1); /* so that it is known how large such replies are */
    take(first, 1);
    close(first);
    for (int i = 0; i < PEERS; i++)
        peers[i] = ask(SMALL_FETCH, 16);
    int64_t began = now_ms();
    uint64_t most = 0;
    while (now_ms() - began < 500 || (most <= 4 * MIB && now_ms() - began < 500 * slowness())) {
        uint64_t unsent = small_server_count(&small).unsent_bytes;
        most = unsent > most ? unsent : most;
        assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 1));
    }
    assert_true(most > 4 * MIB);
    /* What gives small answers is served all the while. */
    uint8_t call[CALL_MAX], reply[CALL_MAX];
    int other = peer_connect(&small.tcp);
    int64_t asked = now_ms();
    peer_send(other, call, word_call(SMALL_SLEEP, 1, 1, call));
    assert_int_equal(peer_receive(other, reply, sizeof reply), REPLY_HEADER);
    assert_true(now_ms() - asked < 2 * NULL_MS * slowness());
    close(other);
    assert_true(most <= 8 * MIB + small.options.limits.permits * (MIB + CALL_MAX));
    int fd = ask(SMALL_FETCH, 8);
    take(fd, 8);
    assert_true(now_ms() - began < 9000 * slowness());
    assert_true(small_server_count(&small).connections_cut > 0);
    close(fd);
    for (int i = 0; i < PEERS; i++)
        close(peers[i]);
    small_server_stop(&small);
}

static void brief_progress(struct rpc_limits *limits)
{
    limits->progress_ms = 1000 * pace();
    limits->progress_bytes = 64 * 1024;
}

/* One that reads slowly is served as long as it makes progress; one that does not is cut. */
static void test_slow_reader(void **state)
{
    static char bytes[32 * 1024];
    size_t got = 0;
    const int small_buffer = 65536;

    (void)state;
    small_server_start(&small, brief_progress);
    int dead = ask(SMALL_GIVE, 16), slow = ask(SMALL_GIVE, 4);
    setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &small_buffer, sizeof small_buffer);
    while (got < 4 * (size_t)(MIB + 32)) {
        ssize_t count = recv(slow, bytes, sizeof bytes, 0);
        assert_true(count > 0);
        got += (size_t)count;
        poll(NULL, 0, 20 * (int)pace()); /* all in all for longer than the dead one may rest */
    }
    assert_int_equal(got, 4 * (size_t)(MIB + 32));
    /* To look whether it is cut is to read. */
    for (int64_t until = now_ms() + 5000 * slowness();
         small_server_count(&small).connections_cut == 0 && now_ms() < until;)
        poll(NULL, 0, 1);
    assert_int_equal(small_server_count(&small).connections_cut, 1);
    assert_true(peer_is_cut(dead));
    close(dead);
    close(slow);
    small_server_stop(&small);
}

/* ---- without end ---- */

struct flood {
    int fd;
    _Atomic bool over;
    uint64_t answered;
};

/* Sends calls as fast as the socket takes them, and reads what comes. */
static void *flood(void *context)
{
    struct flood *own = context;
    uint8_t batch[64 * 48], call[CALL_MAX];
    static char bytes[65536];
    struct call_form form = call_of(SMALL_PROGRAM, 1, 0);
    size_t size = call_encode(&form, call + 4, CALL_MAX - 4) + 4;
    uint32_t mark = htonl(0x80000000U | (uint32_t)(size - 4));

    memcpy(call, &mark, 4);
    for (int i = 0; i < 64; i++)
        memcpy(batch + (size_t)i * size, call, size);
    size_t at = 0, all = 64 * size;
    while (!own->over) {
        struct pollfd poll_fd = {.fd = own->fd, .events = POLLIN | POLLOUT};
        poll(&poll_fd, 1, 100);
        if (poll_fd.revents & POLLOUT) {
            ssize_t sent = send(own->fd, batch + at, all - at, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent > 0)
                at = (at + (size_t)sent) % all;
        }
        ssize_t got;
        while ((got = recv(own->fd, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
            own->answered += (uint64_t)got / 28;
    }
    return NULL;
}

static void test_endless_pipeline(void **state)
{
    struct flood flooder = {.over = false};
    pthread_t thread;

    (void)state;
    small_server_start(&small, NULL);
    flooder.fd = peer_connect(&small.tcp);
    assert_int_equal(pthread_create(&thread, NULL, flood, &flooder), 0);
    int64_t slowest = INT64_MAX;
    for (unsigned tries = 0; tries < 3 && slowest > NULL_MS * slowness(); tries++)
        slowest = slowest_null_until(&small.tcp, SMALL_PROGRAM, now_ms() + 1000);
    flooder.over = true;
    pthread_join(thread, NULL);
    assert_true(slowest <= NULL_MS * slowness());
    assert_true(flooder.answered > 1000);
    close(flooder.fd);
    small_server_stop(&small);
}

/* Calls that wait, as many as the connection takes: a bounded number is held, and others come in between. */
static void test_endless_waiting(void **state)
{
    uint8_t call[CALL_MAX], reply[CALL_MAX];
    unsigned sent = 0;

    (void)state;
    small_server_start(&small, NULL);
    int fd = peer_connect(&small.tcp);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (; sent < 100000; sent++) {
        size_t size = word_call(SMALL_SLEEP, sent, 20, call);
        if (send(fd, call, size, MSG_NOSIGNAL) != (ssize_t)size)
            break;
        if (sent == 200)
            break;
    }
    assert_true(null_is_prompt(&small.tcp, SMALL_PROGRAM, 20));
    assert_true(small_server_count(&small).waiting_records <= small.options.limits.unsent_records);
    int other = peer_connect(&small.tcp);
    int64_t began = now_ms();
    peer_send(other, call, word_call(SMALL_SLEEP, 1, 20, call));
    assert_int_equal(peer_receive(other, reply, sizeof reply), REPLY_HEADER);
    assert_true(now_ms() - began < 3000 * slowness());
    close(other);
    close(fd);
    small_server_stop(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_non_readers),      cmocka_unit_test(test_non_readers_of_the_store),
        cmocka_unit_test(test_many_non_readers), cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_endless_pipeline), cmocka_unit_test(test_endless_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
