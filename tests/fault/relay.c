#include "fault/relay.h"

#include "fault/world.h"
#include "proto/fileshare.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 128,
    STREAM_ROOM = 4 << 20, /* more than a record of the contract */
    LATE_MS = 150,         /* at most */
    LOOK_MS = 100,         /* how often a connection sees that it is to be cut */
    SEEN_MAX = 8192,       /* ids of calls remembered, newest first */
    STACK = 256 << 10,
    LAST = 1U << 31,
};

struct relay {
    int fd, stop[2];
    uint16_t target;
    uint64_t seed;
    char address[32];
    pthread_t thread;
    atomic_uint rough, cuts, open;
    atomic_bool stopping;
    atomic_ulong connections, messages, calls_lost, replies_lost, late, cut, replays;
    pthread_mutex_t lock; /* guards what follows */
    uint64_t seen[SEEN_MAX];
    size_t seen_count;
};

/* One direction: bytes of a record that is not whole yet. */
struct stream {
    int from, to;
    bool is_call;
    uint8_t *bytes;
    size_t held;
};

struct line {
    struct relay *relay;
    struct dice dice;
    struct stream streams[2]; /* to the server, from it */
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

/* ---- replays ---- */

/* Those whose arguments begin with the id that makes a repeat count once (REGISTER_INTEREST: the second). */
static bool has_id(uint32_t procedure)
{
    switch (procedure) {
    case FSPROC_UPLOAD:
    case FSPROC_UPLOAD_OPEN:
    case FSPROC_UPLOAD_COMMIT:
    case FSPROC_UPLOAD_ABORT:
    case FSPROC_REMOVE:
    case FSPROC_RENAME:
    case FSPROC_REGISTER_INTEREST:
    case FSPROC_CANCEL_INTEREST:
    case FSPROC_RENEW_INTEREST: return true;
    default: return false;
    }
}

static bool was_seen(struct relay *relay, uint64_t key)
{
    bool seen = false;
    pthread_mutex_lock(&relay->lock);
    size_t kept = relay->seen_count < SEEN_MAX ? relay->seen_count : SEEN_MAX;
    for (size_t i = 0; i < kept && !seen; i++)
        seen = relay->seen[(relay->seen_count - 1 - i) % SEEN_MAX] == key;
    if (!seen)
        relay->seen[relay->seen_count++ % SEEN_MAX] = key;
    pthread_mutex_unlock(&relay->lock);
    return seen;
}

/* A call in one fragment: mark, xid, CALL, RPC version, program, version, procedure, credential, verifier. */
static void note_call(struct relay *relay, const uint8_t *record, size_t size)
{
    enum { PROCEDURE = 24, CREDENTIAL = 28, IDS = 32 };
    if (size < CREDENTIAL + 8 || word(record + 8) != 0 || !has_id(word(record + PROCEDURE)))
        return;
    size_t at = CREDENTIAL;
    for (int i = 0; i < 2; i++) {
        size_t length = at + 8 <= size ? word(record + at + 4) : size;
        if (length > size)
            return;
        at += 8 + ((length + 3) & ~(size_t)3);
    }
    if (at + IDS > size)
        return;
    uint64_t key = word(record + PROCEDURE) * UINT64_C(0x9e3779b97f4a7c15), part;
    size_t ids = word(record + PROCEDURE) == FSPROC_REGISTER_INTEREST ? IDS : sizeof(struct fileshare_id);
    for (size_t i = 0; i < ids; i += sizeof part) {
        memcpy(&part, record + at + i, sizeof part);
        key = (key ^ part) * UINT64_C(0xd1b54a32d192ed03);
    }
    relay->replays += was_seen(relay, key);
}

/* ---- a connection ---- */

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

/* Sends a whole message on, or does to it what a bad line does. False: the connection is over. */
static bool pass(struct line *line, struct stream *stream, size_t size)
{
    struct relay *relay = line->relay;
    unsigned fate = dice_throw(&line->dice, 2000), rough = relay->rough;
    relay->messages++;
    if (stream->is_call)
        note_call(relay, stream->bytes, size);
    if (fate < rough) {
        stream->is_call ? relay->calls_lost++ : relay->replies_lost++;
        return false;
    }
    if (fate < 2 * rough) {
        relay->cut++;
        (void)send_all(stream->to, stream->bytes, 1 + dice_throw(&line->dice, (uint32_t)size - 1));
        return false;
    }
    if (fate < 8 * rough) {
        relay->late++;
        usleep(dice_throw(&line->dice, LATE_MS * 1000));
    }
    return send_all(stream->to, stream->bytes, size);
}

static bool move(struct line *line, struct stream *stream)
{
    ssize_t got = recv(stream->from, stream->bytes + stream->held, STREAM_ROOM - stream->held, 0);
    if (got <= 0)
        return false;
    stream->held += (size_t)got;
    for (size_t size = record_size(stream); size > 0; size = record_size(stream)) {
        if (!pass(line, stream, size))
            return false;
        stream->held -= size;
        memmove(stream->bytes, stream->bytes + size, stream->held);
    }
    return stream->held < STREAM_ROOM;
}

static void serve(struct line *line, unsigned cuts)
{
    struct stream *streams = line->streams;
    while (!line->relay->stopping && line->relay->cuts == cuts) {
        struct pollfd polls[2] = {{.fd = streams[0].from, .events = POLLIN},
                                  {.fd = streams[1].from, .events = POLLIN}};
        if (poll(polls, 2, LOOK_MS) < 0)
            return;
        for (unsigned i = 0; i < 2; i++)
            if (polls[i].revents != 0 && !move(line, &streams[i]))
                return;
    }
}

static bool connect_target(struct line *line)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(line->relay->target)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = line->streams[1].from = line->streams[0].to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
}

static void *line_run(void *argument)
{
    struct line *line = argument;
    struct relay *relay = line->relay;
    unsigned cuts = relay->cuts;
    if (connect_target(line))
        serve(line, cuts);
    close(line->streams[0].from);
    close(line->streams[0].to);
    free(line->streams[0].bytes);
    free(line->streams[1].bytes);
    free(line);
    relay->open--;
    return NULL;
}

static void greet(struct relay *relay)
{
    int client = accept4(relay->fd, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0)
        return;
    if (relay->open >= CONNECTIONS_MAX) {
        close(client);
        return;
    }
    struct line *line = calloc(1, sizeof *line);
    if (!line)
        abort();
    *line = (struct line){.relay = relay, .dice = dice_of(relay->seed, 1000 + ++relay->connections)};
    line->streams[0] = (struct stream){.from = client, .is_call = true, .bytes = malloc(STREAM_ROOM)};
    line->streams[1] = (struct stream){.to = client, .bytes = malloc(STREAM_ROOM)};
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK);
    relay->open++;
    if (!line->streams[0].bytes || !line->streams[1].bytes ||
        pthread_create(&thread, &attributes, line_run, line) != 0)
        abort();
    pthread_attr_destroy(&attributes);
}

static void *relay_run(void *argument)
{
    struct relay *relay = argument;
    for (;;) {
        struct pollfd polls[2] = {{.fd = relay->fd, .events = POLLIN},
                                  {.fd = relay->stop[0], .events = POLLIN}};
        if (poll(polls, 2, -1) < 0 || polls[1].revents != 0)
            return NULL;
        greet(relay);
    }
}

/* ---- life ---- */

struct relay *relay_new(uint16_t target_port, uint64_t seed)
{
    struct relay *relay = calloc(1, sizeof *relay);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    if (!relay)
        abort();
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    relay->target = target_port;
    relay->seed = seed;
    pthread_mutex_init(&relay->lock, NULL);
    relay->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(relay->fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(relay->fd, CONNECTIONS_MAX) != 0 || pipe2(relay->stop, O_CLOEXEC) != 0 ||
        getsockname(relay->fd, (struct sockaddr *)&address, &size) != 0 ||
        pthread_create(&relay->thread, NULL, relay_run, relay) != 0)
        abort();
    snprintf(relay->address, sizeof relay->address, "127.0.0.1:%u", ntohs(address.sin_port));
    return relay;
}

void relay_free(struct relay *relay)
{
    relay->stopping = true;
    close(relay->stop[1]);
    pthread_join(relay->thread, NULL);
    while (relay->open > 0)
        usleep(1000);
    close(relay->stop[0]);
    close(relay->fd);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}

const char *relay_address(const struct relay *relay)
{
    return relay->address;
}

void relay_rough(struct relay *relay, unsigned per_mille)
{
    relay->rough = per_mille;
}

void relay_cut_all(struct relay *relay)
{
    relay->cuts++;
}

struct relay_counts relay_counts(struct relay *relay)
{
    return (struct relay_counts){
        .connections = relay->connections,
        .messages = relay->messages,
        .calls_lost = relay->calls_lost,
        .replies_lost = relay->replies_lost,
        .late = relay->late,
        .cut = relay->cut,
        .replays = relay->replays,
    };
}

unsigned relay_open(const struct relay *relay)
{
    return relay->open;
}
