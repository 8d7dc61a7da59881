/*
 * bench/engine's bare contender: a loop of read + send and one of recv + write.
 * Built a second time with BARE_SENDFILE, it sends by sendfile (whose content
 * nobody can digest on the way).
 */
#include "engine_work.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

/* What a client says first. */
struct wish {
    uint64_t bytes;
    bool get;
};

static void send_whole(int fd, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t sent = send(fd, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0)
            work_fail("send");
        bytes += sent;
        count -= (size_t)sent;
    }
}

#ifdef BARE_SENDFILE
static void send_all(const struct work *work, int fd, uint64_t amount)
{
    for (uint64_t offset = 0; offset < amount;) {
        off_t at = (off_t)(offset % WORK_FILE);
        uint64_t left = amount - offset, chunk = WORK_FILE - (uint64_t)at;
        ssize_t sent = sendfile(fd, work->source, &at, chunk < left ? chunk : left);
        if (sent <= 0)
            work_fail("sendfile");
        offset += (uint64_t)sent;
    }
}
#else
static void send_all(const struct work *work, int fd, uint64_t amount)
{
    char *buffer = malloc(WORK_CHUNK);

    for (uint64_t offset = 0; offset < amount; offset += WORK_CHUNK) {
        work_read(work, buffer, WORK_CHUNK, offset);
        send_whole(fd, buffer, WORK_CHUNK);
    }
    free(buffer);
}
#endif

static void receive_all(const struct work *work, int fd, uint64_t amount)
{
    char *buffer = malloc(WORK_CHUNK);

    for (uint64_t offset = 0; offset < amount;) {
        uint64_t left = amount - offset;
        ssize_t got = recv(fd, buffer, left < WORK_CHUNK ? left : WORK_CHUNK, 0);
        if (got <= 0)
            work_fail("recv");
        work_write(work, buffer, (size_t)got, offset);
        offset += (uint64_t)got;
    }
    free(buffer);
}

struct serving {
    const struct work *work;
    int listening;
};

static void *serve_all(void *argument)
{
    const struct serving *serving = argument;
    struct wish wish;

    for (;;) {
        int fd = accept(serving->listening, NULL, NULL);
        if (fd < 0 || recv(fd, &wish, sizeof(wish), MSG_WAITALL) != sizeof(wish))
            work_fail("accept");
        if (wish.get)
            send_all(serving->work, fd, wish.bytes);
        else
            receive_all(serving->work, fd, wish.bytes);
        send_whole(fd, "k", 1);
        close(fd);
    }
    return NULL;
}

void contender_serve(const struct work *work)
{
    static struct serving serving;
    pthread_t thread;

    serving = (struct serving){work, work_listen()};
    if (pthread_create(&thread, NULL, serve_all, &serving) != 0)
        work_fail("thread");
}

static int wish_for(const struct work *work, bool get)
{
    struct wish wish;
    int fd = work_connect(work->port);

    memset(&wish, 0, sizeof(wish));
    wish.bytes = work->amount;
    wish.get = get;
    send_whole(fd, (const char *)&wish, sizeof(wish));
    return fd;
}

static void await_end(int fd)
{
    char byte;

    if (recv(fd, &byte, 1, MSG_WAITALL) != 1)
        work_fail("end");
    close(fd);
}

void contender_put(const struct work *work)
{
    int fd = wish_for(work, false);

    send_all(work, fd, work->amount);
    await_end(fd);
}

void contender_get(const struct work *work)
{
    int fd = wish_for(work, true);

    receive_all(work, fd, work->amount);
    await_end(fd);
}

void contender_null(const struct work *work)
{
    (void)work;
    work_fail("a bare loop has no calls");
}

void contender_connections(const struct work *work)
{
    contender_null(work);
}
