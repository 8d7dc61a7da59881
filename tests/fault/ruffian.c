#include "fault/ruffian.h"

#include "proto/fileshare.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CROWD = 60,
    HOLD_MS = 900,
    GARBAGE_MAX = 4096,
    DEAF_CALLS = 3000,
    HEADER_WORDS = 11, /* mark, xid, CALL, RPC version, program, version, procedure, two empty AUTH_NONE */
    SYS_WORDS = 5,     /* stamp, no machine name, uid, gid, no groups */
};

/* -1: nobody is there, which happens here. */
static int connect_tcp(const struct ruffian *ruffian)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ruffian->world->server.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct timeval limit = {.tv_sec = 1};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static int connect_local(const struct ruffian *ruffian)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%.90s/socket", ruffian->world->server.folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static void hold(struct ruffian *ruffian)
{
    usleep(dice_throw(&ruffian->dice, HOLD_MS * 1000));
}

static void send_some(int fd, const void *bytes, size_t size)
{
    ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
    (void)sent; /* it may have hung up on us */
}

/* A record's words: a call of that procedure, as AUTH_SYS says uid 0; then so many words that say anything. */
static size_t make_call(struct ruffian *ruffian, uint32_t *words, uint32_t procedure, size_t more)
{
    size_t count = HEADER_WORDS + SYS_WORDS + more;
    const uint32_t header[HEADER_WORDS + SYS_WORDS] = {
        0x80000000U | (uint32_t)(count * 4 - 4),
        dice_throw(&ruffian->dice, UINT32_MAX),
        0,
        2,
        FILESHARE_PROG,
        FILESHARE_V1,
        procedure,
        1,
        SYS_WORDS * 4,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    };
    for (size_t i = 0; i < HEADER_WORDS + SYS_WORDS; i++)
        words[i] = htonl(header[i]);
    for (size_t i = HEADER_WORDS + SYS_WORDS; i < count; i++)
        words[i] = dice_throw(&ruffian->dice, 3) == 0 ? htonl(dice_throw(&ruffian->dice, 40))
                                                      : dice_throw(&ruffian->dice, UINT32_MAX);
    return count * 4;
}

/* ---- what it does ---- */

static void be_idle(struct ruffian *ruffian)
{
    int fds[CROWD];
    for (unsigned i = 0; i < CROWD; i++) {
        fds[i] = i % 4 == 0 ? connect_local(ruffian) : connect_tcp(ruffian);
        ruffian->idle += fds[i] >= 0;
    }
    hold(ruffian);
    for (unsigned i = 0; i < CROWD; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void send_garbage(struct ruffian *ruffian)
{
    uint8_t bytes[GARBAGE_MAX];
    int fd = connect_tcp(ruffian);
    if (fd < 0)
        return;
    size_t size = 1 + dice_throw(&ruffian->dice, GARBAGE_MAX);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)dice_throw(&ruffian->dice, 256);
    send_some(fd, bytes, size);
    if (dice_throw(&ruffian->dice, 2) == 0)
        (void)!recv(fd, bytes, sizeof bytes, 0);
    close(fd);
    ruffian->garbage++;
}

static void send_half(struct ruffian *ruffian)
{
    uint32_t words[HEADER_WORDS + SYS_WORDS + 512];
    int fds[8];
    for (unsigned i = 0; i < 8; i++) {
        fds[i] = connect_tcp(ruffian);
        if (fds[i] < 0)
            continue;
        size_t size = make_call(ruffian, words, FSPROC_UPLOAD, 512);
        send_some(fds[i], words, 1 + dice_throw(&ruffian->dice, (uint32_t)size - 1));
        ruffian->halves++;
    }
    hold(ruffian);
    for (unsigned i = 0; i < 8; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

/* But no id that it makes up is another's: nothing of others can be met by it. */
static void call_nonsense(struct ruffian *ruffian)
{
    uint32_t words[HEADER_WORDS + SYS_WORDS + 64];
    uint8_t answer[4096];
    int fd = connect_tcp(ruffian);
    if (fd < 0)
        return;
    for (uint32_t procedure = 0; procedure < 24; procedure++) {
        size_t size = make_call(ruffian, words, procedure, dice_throw(&ruffian->dice, 64));
        send_some(fd, words, size);
        (void)!recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        ruffian->nonsense++;
    }
    hold(ruffian);
    close(fd);
}

static void be_deaf(struct ruffian *ruffian)
{
    uint32_t words[HEADER_WORDS + SYS_WORDS];
    int fd = connect_tcp(ruffian);
    if (fd < 0)
        return;
    const struct timeval limit = {.tv_usec = 20000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    for (unsigned i = 0; i < DEAF_CALLS; i++) {
        size_t size = make_call(ruffian, words, FSPROC_STATUS, 0);
        if (send(fd, words, size, MSG_NOSIGNAL) != (ssize_t)size)
            break;
    }
    ruffian->deaf++;
    hold(ruffian);
    close(fd);
}

static void reset(struct ruffian *ruffian)
{
    const struct linger linger = {.l_onoff = 1};
    for (unsigned i = 0; i < CROWD; i++) {
        int fd = connect_tcp(ruffian);
        if (fd < 0)
            return;
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        close(fd);
        ruffian->resets++;
    }
}

/* ---- life ---- */

static void *ruffian_run(void *argument)
{
    static void (*const acts[])(struct ruffian *) = {be_idle,       send_garbage, send_half,
                                                     call_nonsense, be_deaf,      reset};
    struct ruffian *ruffian = argument;
    while (world_enter(ruffian->world)) {
        acts[dice_throw(&ruffian->dice, sizeof acts / sizeof acts[0])](ruffian);
        world_leave(ruffian->world);
        usleep(dice_throw(&ruffian->dice, 50000));
    }
    return NULL;
}

void ruffian_begin(struct ruffian *ruffian, struct world *world, unsigned number)
{
    *ruffian = (struct ruffian){.world = world, .dice = dice_of(world->seed, 500 + number)};
    if (pthread_create(&ruffian->thread, NULL, ruffian_run, ruffian) != 0)
        abort();
}

void ruffian_end(struct ruffian *ruffian)
{
    pthread_join(ruffian->thread, NULL);
}
