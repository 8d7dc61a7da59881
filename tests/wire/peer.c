#include "wire/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

unsigned slowness(void)
{
    const char *factor = getenv("FILESHARE_SLOWNESS");

    return factor && atoi(factor) > 0 ? (unsigned)atoi(factor) : 1;
}

unsigned pace(void)
{
    enum { MOST = 5 };

    return slowness() < MOST ? slowness() : MOST;
}

bool is_heavy(void)
{
    return getenv("FILESHARE_HEAVY");
}

int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

int peer_connect(const struct address *address)
{
    const struct timeval limit = {.tv_sec = 10 * slowness()};
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    assert_int_equal(connect(fd, &address->any, address->size), 0);
    return fd;
}

void peer_send(int fd, const void *bytes, size_t count)
{
    const uint8_t *from = bytes;

    while (count > 0) {
        ssize_t sent = send(fd, from, count, MSG_NOSIGNAL);
        assert_true(sent > 0);
        from += sent;
        count -= (size_t)sent;
    }
}

void peer_send_record(int fd, const void *bytes, size_t count)
{
    uint32_t mark = htonl(0x80000000U | (uint32_t)count);
    uint8_t small[CALL_MAX + 4];

    if (count <= CALL_MAX) {
        memcpy(small, &mark, 4);
        memcpy(small + 4, bytes, count);
        peer_send(fd, small, count + 4);
    } else {
        peer_send(fd, &mark, 4);
        peer_send(fd, bytes, count);
    }
}

static void receive(int fd, void *to, size_t count)
{
    uint8_t *at = to;

    while (count > 0) {
        ssize_t got = recv(fd, at, count, 0);
        assert_true(got > 0);
        at += got;
        count -= (size_t)got;
    }
}

size_t peer_receive(int fd, void *to, size_t size)
{
    uint32_t mark;

    receive(fd, &mark, 4);
    mark = ntohl(mark);
    assert_true(mark & 0x80000000U);
    size_t count = mark & 0x7fffffffU;
    assert_true(count <= size);
    receive(fd, to, count);
    return count;
}

bool peer_is_cut(int fd)
{
    char bytes[4096];
    ssize_t got;

    while ((got = recv(fd, bytes, sizeof bytes, 0)) > 0)
        continue;
    return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
}

struct call_form call_of(uint32_t program, uint32_t version, uint32_t procedure)
{
    return (struct call_form){.xid = 0x1234,
                              .rpc_version = 2,
                              .program = program,
                              .version = version,
                              .procedure = procedure};
}

static size_t put(uint8_t *to, size_t at, size_t size, const void *bytes, size_t count)
{
    assert_true(at + ((count + 3) & ~(size_t)3) <= size);
    if (count)
        memcpy(to + at, bytes, count);
    memset(to + at + count, 0, -count & 3);
    return at + ((count + 3) & ~(size_t)3);
}

static size_t put_word(uint8_t *to, size_t at, size_t size, uint32_t word)
{
    word = htonl(word);
    return put(to, at, size, &word, 4);
}

size_t call_encode(const struct call_form *form, uint8_t *to, size_t size)
{
    const uint32_t words[] = {form->xid,         0,
                              form->rpc_version, form->program,
                              form->version,     form->procedure,
                              form->flavor,      form->credential_size};
    size_t at = 0;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        at = put_word(to, at, size, words[i]);
    at = put(to, at, size, form->credential, form->credential_size);
    at = put_word(to, at, size, 0);
    at = put_word(to, at, size, 0);
    return put(to, at, size, form->arguments, form->arguments_size);
}

uint32_t credential_of(uint32_t uid, uint8_t to[64])
{
    size_t at = put_word(to, 0, 64, 7);

    at = put_word(to, at, 64, 4);
    at = put(to, at, 64, "host", 4);
    at = put_word(to, at, 64, uid);
    at = put_word(to, at, 64, uid);
    return (uint32_t)put_word(to, at, 64, 0);
}

size_t peer_call(int fd, const struct call_form *form, uint32_t *words, size_t most)
{
    uint8_t message[2 * CALL_MAX];
    uint32_t reply[2 + 64];

    peer_send_record(fd, message, call_encode(form, message, sizeof message));
    size_t count = peer_receive(fd, reply, sizeof reply) / 4;
    assert_true(count >= 3 && count - 2 <= most);
    assert_int_equal(ntohl(reply[0]), form->xid);
    assert_int_equal(ntohl(reply[1]), 1);
    for (size_t i = 2; i < count; i++)
        words[i - 2] = ntohl(reply[i]);
    return count - 2;
}

void peer_null(int fd, uint32_t program)
{
    struct call_form form = call_of(program, 1, 0);
    uint32_t words[64];
    const uint32_t accepted[] = {0, 0, 0, 0};

    assert_int_equal(peer_call(fd, &form, words, 64), 4);
    assert_memory_equal(words, accepted, sizeof accepted);
}

int64_t slowest_null(const struct address *address, uint32_t program, unsigned times)
{
    int64_t slowest = 0;

    for (unsigned i = 0; i < times; i++) {
        int64_t began = now_ms();
        int fd = peer_connect(address);
        peer_null(fd, program);
        close(fd);
        int64_t took = now_ms() - began;
        if (took > slowest)
            slowest = took;
    }
    return slowest;
}

bool null_is_prompt(const struct address *address, uint32_t program, unsigned times)
{
    for (unsigned tries = 0; tries < 3; tries++)
        if (slowest_null(address, program, times) <= NULL_MS * slowness())
            return true;
    return false;
}

int64_t slowest_null_until(const struct address *address, uint32_t program, int64_t until)
{
    int64_t slowest = 0;

    while (now_ms() < until) {
        int64_t took = slowest_null(address, program, 1);
        if (took > slowest)
            slowest = took;
        poll(NULL, 0, 5);
    }
    return slowest;
}

size_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0, resident = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &pages, &resident), 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

bool resident_grew_less(size_t before, size_t most)
{
#ifdef FILESHARE_SANITIZED
    return resident_bytes() + most >= before;
#else
    return slowness() > 1 || resident_bytes() < before + most;
#endif
}

int64_t cpu_ms(void)
{
    struct timespec used;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000LL + used.tv_nsec / 1000000;
}
