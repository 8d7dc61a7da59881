#include "fault/dropper.h"

#include "proto/fileshare.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 64,
    STREAM_ROOM = 4 << 20, /* more than a record of the contract */
    CALL_WORDS = 6,        /* xid, CALL, RPC version, program, version, procedure */
    LAST = 1U << 31
};

/* One direction: bytes of a record that is not whole yet. */
struct stream {
    int from, to;
    uint8_t *bytes;
    size_t held;
};

struct dropper {
    int fd, stop[2];
    uint16_t target;
    struct in_addr from; /* 0: any */
    char address[32];
    pthread_t thread;
    pthread_mutex_t lock; /* guards the plan */
    uint32_t procedure;
    unsigned caller; /* 0: whoever connects, 1: the target */
    enum lost lost;
    unsigned left; /* calls up to the one that matters; 0: none, or it was seen */
    bool expects;  /* a reply of this xid, on the connection `at` */
    uint32_t xid;
    int at;
    bool dropped;
    enum reversed_calls reversed;
    struct stream streams[2 * CONNECTIONS_MAX]; /* the thread's; to the server, from it */
    unsigned count;
};

static uint32_t word(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return ntohl(value);
}

/* Size of the whole record at the start, marks included; 0: it is not all there. */
static size_t record_size(const struct stream *stream)
{
    size_t at = 0;
    while (at + 4 <= stream->held) {
        uint32_t mark = word(stream->bytes + at);
        at += 4 + (mark & ~(uint32_t)LAST);
        if (mark & LAST)
            return at <= stream->held ? at : 0;
    }
    return 0;
}

/* Whether this record is the one to be lost. */
static bool is_lost(struct dropper *dropper, unsigned index, const uint8_t *record, size_t size)
{
    bool lost = false;
    if (size < 12)
        return false;
    uint32_t xid = word(record + 4);
    bool is_call = word(record + 8) == 0;
    int connection = (int)(index / 2);
    pthread_mutex_lock(&dropper->lock);
    if (index % 2 == dropper->caller && is_call && size >= 4 + 4 * CALL_WORDS && dropper->left > 0 &&
        word(record + 4 + 4 * (CALL_WORDS - 1)) == dropper->procedure && --dropper->left == 0) {
        lost = dropper->lost == LOST_CALL;
        dropper->expects = !lost;
        dropper->xid = xid;
        dropper->at = connection;
    } else if (index % 2 != dropper->caller && !is_call && dropper->expects && dropper->xid == xid &&
               dropper->at == connection) {
        lost = true;
        dropper->expects = false;
    }
    dropper->dropped |= lost;
    pthread_mutex_unlock(&dropper->lock);
    return lost;
}

static bool send_all(int fd, const uint8_t *bytes, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t sent = send(fd, bytes + done, size - done, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        done += (size_t)sent;
    }
    return true;
}

/* Answers a call in its caller's place. */
static bool refuse(const struct stream *stream, const uint8_t *call)
{
    uint32_t answer[] = {htonl(LAST | 24), 0, htonl(REPLY),       htonl(MSG_ACCEPTED),
                         htonl(AUTH_NONE), 0, htonl(PROG_UNAVAIL)};
    memcpy(&answer[1], call + 4, 4);
    return send_all(stream->from, (const uint8_t *)answer, sizeof answer);
}

/* What the record at the start is made into, or another in its place. False: the connection is over. */
static bool pass(struct dropper *dropper, unsigned index, size_t size)
{
    struct stream *stream = &dropper->streams[index];
    uint8_t *record = stream->bytes;
    bool is_call = size >= 4 + 4 * CALL_WORDS && word(record + 8) == 0;
    pthread_mutex_lock(&dropper->lock);
    enum reversed_calls reversed = dropper->reversed;
    pthread_mutex_unlock(&dropper->lock);
    if (is_call && index % 2 == 1 && reversed == REVERSED_SWALLOWED)
        return true;
    if (is_call && index % 2 == 1 && reversed == REVERSED_REFUSED)
        return refuse(stream, record);
    if (is_call && index % 2 == 0 && reversed == REVERSED_UNOFFERED &&
        word(record + 4 + 4 * (CALL_WORDS - 1)) == FSPROC_ATTACH)
        memset(record + size - 4, 0, 4); /* the offer is an ATTACH's last word */
    return send_all(stream->to, record, size);
}

/* Takes what came, and sends on what is whole. False: the connection is over. */
static bool move(struct dropper *dropper, unsigned index)
{
    struct stream *stream = &dropper->streams[index];
    ssize_t got = recv(stream->from, stream->bytes + stream->held, STREAM_ROOM - stream->held, 0);
    if (got <= 0)
        return false;
    stream->held += (size_t)got;
    for (size_t size = record_size(stream); size > 0; size = record_size(stream)) {
        if (is_lost(dropper, index, stream->bytes, size) || !pass(dropper, index, size))
            return false;
        stream->held -= size;
        memmove(stream->bytes, stream->bytes + size, stream->held);
    }
    return true;
}

static void cut(struct dropper *dropper, unsigned connection)
{
    struct stream *streams = &dropper->streams[2 * (size_t)connection];
    if (streams[0].from < 0)
        return;
    close(streams[0].from);
    close(streams[0].to);
    for (unsigned i = 0; i < 2; i++) {
        free(streams[i].bytes);
        streams[i] = (struct stream){.from = -1, .to = -1};
    }
}

static void greet(struct dropper *dropper)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(dropper->target)};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = dropper->from};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int client = accept4(dropper->fd, NULL, NULL, SOCK_CLOEXEC);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unsigned at = 0;
    while (at < dropper->count && dropper->streams[2 * (size_t)at].from >= 0)
        at++;
    if (at == CONNECTIONS_MAX || bind(server, (struct sockaddr *)&from, sizeof from) != 0 ||
        connect(server, (struct sockaddr *)&address, sizeof address) != 0) {
        close(client);
        close(server);
        return;
    }
    dropper->count = at < dropper->count ? dropper->count : at + 1;
    dropper->streams[2 * (size_t)at] = (struct stream){.from = client,
                                                       .to = server,
                                                       .bytes = malloc(STREAM_ROOM)};
    dropper->streams[2 * (size_t)at + 1] = (struct stream){.from = server,
                                                           .to = client,
                                                           .bytes = malloc(STREAM_ROOM)};
}

static void *dropper_run(void *argument)
{
    struct dropper *dropper = argument;
    for (;;) {
        struct pollfd polls[2 + 2 * CONNECTIONS_MAX] = {{.fd = dropper->fd, .events = POLLIN},
                                                        {.fd = dropper->stop[0], .events = POLLIN}};
        unsigned streams = 2 * dropper->count;
        for (unsigned i = 0; i < streams; i++)
            polls[2 + i] = (struct pollfd){.fd = dropper->streams[i].from, .events = POLLIN};
        if (poll(polls, 2 + streams, -1) < 0 || polls[1].revents != 0)
            return NULL;
        for (unsigned i = 0; i < streams; i++)
            if (polls[2 + i].revents != 0 && dropper->streams[i].from >= 0 && !move(dropper, i))
                cut(dropper, i / 2);
        if (polls[0].revents != 0)
            greet(dropper);
    }
}

struct dropper *dropper_between(const struct dropper_way *way)
{
    struct dropper *dropper = calloc(1, sizeof *dropper);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(way->listen_port)};
    socklen_t size = sizeof address;
    const char *listen_at = way->listen ? way->listen : "127.0.0.1",
               *from = way->from ? way->from : "0.0.0.0";
    if (!dropper || inet_pton(AF_INET, listen_at, &address.sin_addr) != 1 ||
        inet_pton(AF_INET, from, &dropper->from) != 1)
        abort();
    dropper->target = way->target_port;
    pthread_mutex_init(&dropper->lock, NULL);
    dropper->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(dropper->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(dropper->fd, CONNECTIONS_MAX) != 0 || pipe2(dropper->stop, O_CLOEXEC) != 0 ||
        getsockname(dropper->fd, (struct sockaddr *)&address, &size) != 0 ||
        pthread_create(&dropper->thread, NULL, dropper_run, dropper) != 0)
        abort();
    snprintf(dropper->address, sizeof dropper->address, "%s:%u", listen_at, ntohs(address.sin_port));
    return dropper;
}

struct dropper *dropper_new(uint16_t target_port)
{
    return dropper_between(&(struct dropper_way){.target_port = target_port});
}

void dropper_free(struct dropper *dropper)
{
    if (!dropper)
        return;
    close(dropper->stop[1]);
    pthread_join(dropper->thread, NULL);
    for (unsigned i = 0; i < dropper->count; i++)
        cut(dropper, i);
    close(dropper->stop[0]);
    close(dropper->fd);
    pthread_mutex_destroy(&dropper->lock);
    free(dropper);
}

const char *dropper_address(const struct dropper *dropper)
{
    return dropper->address;
}

static void plan(struct dropper *dropper, unsigned caller, uint32_t procedure, enum lost lost, unsigned nth)
{
    pthread_mutex_lock(&dropper->lock);
    dropper->caller = caller;
    dropper->procedure = procedure;
    dropper->lost = lost;
    dropper->left = nth;
    dropper->expects = dropper->dropped = false;
    pthread_mutex_unlock(&dropper->lock);
}

void dropper_plan(struct dropper *dropper, uint32_t procedure, enum lost lost, unsigned nth)
{
    plan(dropper, 0, procedure, lost, nth);
}

void dropper_plan_reversed(struct dropper *dropper, uint32_t procedure, enum lost lost, unsigned nth)
{
    plan(dropper, 1, procedure, lost, nth);
}

void dropper_reversed(struct dropper *dropper, enum reversed_calls reversed)
{
    pthread_mutex_lock(&dropper->lock);
    dropper->reversed = reversed;
    pthread_mutex_unlock(&dropper->lock);
}

bool dropper_dropped(struct dropper *dropper)
{
    pthread_mutex_lock(&dropper->lock);
    bool dropped = dropper->dropped;
    pthread_mutex_unlock(&dropper->lock);
    return dropped;
}
