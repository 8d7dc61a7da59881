#include "wire/scripted_peer.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void check(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "scripted peer: %s\n", what);
        abort();
    }
}

static void *run(void *argument)
{
    struct scripted_peer *peer = argument;

    const int on = 1;

    peer->fd = accept(peer->listening, NULL, NULL);
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    check(peer->fd >= 0, "nobody connected");
    peer->script(peer, peer->context);
    return NULL;
}

void scripted_peer_start(struct scripted_peer *peer,
                         void (*script)(struct scripted_peer *peer, void *context), void *context)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(any);

    *peer = (struct scripted_peer){.fd = -1, .script = script, .context = context};
    peer->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(bind(peer->listening, (struct sockaddr *)&any, size) == 0 && listen(peer->listening, 8) == 0,
          "no socket");
    getsockname(peer->listening, (struct sockaddr *)&any, &size);
    peer->address = address_of((struct sockaddr *)&any, size);
    check(pthread_create(&peer->thread, NULL, run, peer) == 0, "no thread");
}

void scripted_peer_finish(struct scripted_peer *peer)
{
    pthread_join(peer->thread, NULL);
    close(peer->fd);
    close(peer->listening);
}

static bool read_whole(int fd, void *to, size_t count)
{
    return count == 0 || recv(fd, to, count, MSG_WAITALL) == (ssize_t)count;
}

uint32_t scripted_word_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* One record of one fragment, as our own client sends. */
static uint8_t *read_record(struct scripted_peer *peer, size_t *size)
{
    uint8_t header[4];

    if (!read_whole(peer->fd, header, 4))
        return NULL;
    check(header[0] & 0x80, "a record in fragments");
    *size = scripted_word_at(header) & 0x7fffffff;
    uint8_t *bytes = malloc(*size + 1);
    check(read_whole(peer->fd, bytes, *size), "half a record");
    return bytes;
}

/* Takes what stands before `at` away. */
static uint8_t *keep_from(uint8_t *bytes, size_t *size, size_t at)
{
    check(at <= *size, "a short message");
    *size -= at;
    memmove(bytes, bytes + at, *size);
    return bytes;
}

bool scripted_read_call(struct scripted_peer *peer, struct scripted_call *out)
{
    uint8_t *bytes = read_record(peer, &out->size);

    if (!bytes)
        return false;
    check(out->size >= 40 && scripted_word_at(bytes + 4) == 0, "not a call");
    out->xid = scripted_word_at(bytes);
    out->procedure = scripted_word_at(bytes + 20);
    size_t credential = (scripted_word_at(bytes + 28) + 3) & ~3u;
    size_t verifier = (scripted_word_at(bytes + 32 + credential + 4) + 3) & ~3u;
    out->arguments = keep_from(bytes, &out->size, 40 + credential + verifier);
    return true;
}

uint32_t scripted_read_reply(struct scripted_peer *peer, uint8_t **results, size_t *size)
{
    uint8_t *bytes = read_record(peer, size);

    check(bytes && *size >= 24 && scripted_word_at(bytes + 4) == 1, "not a reply");
    check(scripted_word_at(bytes + 8) == 0 && scripted_word_at(bytes + 20) == 0, "not a success");
    uint32_t xid = scripted_word_at(bytes);
    *results = keep_from(bytes, size, 24 + scripted_word_at(bytes + 16));
    return xid;
}

void scripted_bytes(struct scripted_peer *peer, const void *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(peer->fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the other side went: the script will see */
        bytes = (const uint8_t *)bytes + sent;
        size -= (size_t)sent;
    }
}

static void send_record(struct scripted_peer *peer, const uint32_t *words, size_t count, const void *body,
                        size_t size)
{
    uint32_t header[16];

    check(count < 16, "too many words");
    header[0] = htonl(0x80000000u | (uint32_t)(4 * count + size));
    for (size_t i = 0; i < count; i++)
        header[i + 1] = htonl(words[i]);
    scripted_bytes(peer, header, 4 * (count + 1));
    scripted_bytes(peer, body, size);
}

void scripted_words(struct scripted_peer *peer, const uint32_t *words, size_t count)
{
    send_record(peer, words, count, NULL, 0);
}

void scripted_reply(struct scripted_peer *peer, uint32_t xid, const void *results, size_t size)
{
    send_record(peer, (uint32_t[]){xid, 1, 0, 0, 0, 0}, 6, results, size);
}

void scripted_reply_word(struct scripted_peer *peer, uint32_t xid, uint32_t word)
{
    send_record(peer, (uint32_t[]){xid, 1, 0, 0, 0, 0, word}, 7, NULL, 0);
}

void scripted_call(struct scripted_peer *peer, uint32_t xid, uint32_t program, uint32_t procedure,
                   const void *arguments, size_t size)
{
    send_record(peer, (uint32_t[]){xid, 0, 2, program, 1, procedure, 0, 0, 0, 0}, 10, arguments, size);
}
