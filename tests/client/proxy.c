#include "client/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/scoped.h"

enum { RELAYS_MAX = 64, BUFFER = 65536 };

struct relay {
    struct proxy *proxy;
    pthread_t thread;
    bool used;
    int client, server; /* -1: not open */
    unsigned number;    /* of the connections, from 1 */
};

struct proxy {
    int fd, stop[2];
    uint16_t target;
    char address[32];
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    struct relay relays[RELAYS_MAX];
    unsigned cuts_left, cuts, connections;
    uint64_t after_sent, after_received;
    unsigned stalled_number, stalls; /* of the connection that stalls; 0: none */
    uint64_t stalled_after[2];
    uint64_t moved[2]; /* of all connections: to the server, from it */
    uint8_t mark[16];  /* looked for in what goes that way */
    size_t mark_size;
    int mark_way;
    uint64_t marked;      /* where it was, first */
    uint64_t marked_back; /* of all connections, what had come the other way by then */
    void (*hook)(void *context);
    void *hook_context;
    uint64_t spoil[2]; /* offset to the server, and from it; 0: none */
    bool refuses;
    uint32_t interest_seconds; /* 0: as the server says */
};

static int connect_to(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Whether the plan says that this connection has moved enough. */
static bool is_due(struct proxy *proxy, uint64_t sent, uint64_t received)
{
    pthread_mutex_lock(&proxy->lock);
    bool due = proxy->cuts_left > 0 && ((proxy->after_sent != 0 && sent >= proxy->after_sent) ||
                                        (proxy->after_received != 0 && received >= proxy->after_received));
    void (*hook)(void *) = due ? proxy->hook : NULL;
    void *context = proxy->hook_context;
    if (due) {
        proxy->cuts_left--;
        proxy->cuts++;
    }
    pthread_mutex_unlock(&proxy->lock);
    if (hook)
        hook(context);
    return due;
}

/* How much more may go this way, so that a cut comes to the byte. */
static size_t room(struct proxy *proxy, int way, uint64_t moved)
{
    pthread_mutex_lock(&proxy->lock);
    uint64_t limit = way == 0 ? proxy->after_sent : proxy->after_received;
    size_t count = proxy->cuts_left > 0 && limit > moved && limit - moved < BUFFER ? limit - moved : BUFFER;
    pthread_mutex_unlock(&proxy->lock);
    return count;
}

/* `bytes` are those from `offset` on. */
static void count_moved(struct proxy *proxy, int way, uint64_t offset, const char *bytes, ssize_t count)
{
    scoped_lock(&proxy->lock);
    proxy->moved[way] += (uint64_t)count;
    if (way == proxy->mark_way && proxy->mark_size > 0 && proxy->marked == 0) {
        const char *at = memmem(bytes, (size_t)count, proxy->mark, proxy->mark_size);
        if (at) {
            proxy->marked = offset + (uint64_t)(at - bytes);
            proxy->marked_back = proxy->moved[1 - way];
        }
    }
}

/* What was sent shall arrive: a close with bytes unread would take back what the other side has not read yet. */
static void part_gently(int fd)
{
    enum { PATIENCE_MS = 2000 };
    char waste[4096];
    struct pollfd one = {.fd = fd, .events = POLLIN};
    shutdown(fd, SHUT_WR);
    while (poll(&one, 1, PATIENCE_MS) > 0 && recv(fd, waste, sizeof waste, 0) > 0)
        ;
}

/* The first reply of a connection is that of HELLO, whose last words are five limits. */
static void change_hello(struct proxy *proxy, char *record, ssize_t size)
{
    enum { FROM_END = 12 };
    pthread_mutex_lock(&proxy->lock);
    uint32_t word = htonl(proxy->interest_seconds);
    pthread_mutex_unlock(&proxy->lock);
    if (word != 0 && size > FROM_END)
        memcpy(record + size - FROM_END, &word, sizeof word);
}

/* `bytes` are those from `offset` on, of direction `way`. */
static void spoil(struct proxy *proxy, int way, uint64_t offset, char *bytes, ssize_t size)
{
    scoped_lock(&proxy->lock);
    uint64_t at = proxy->spoil[way];
    if (at != 0 && size > 0 && at >= offset && at < offset + (uint64_t)size) {
        bytes[at - offset] = (char)~bytes[at - offset];
        proxy->spoil[way] = 0;
    }
}

/* `moved`: bytes of this direction so far. The first thing that comes from the server is its reply to HELLO. */
static ssize_t move(struct proxy *proxy, int from, int to, int way, uint64_t moved)
{
    char buffer[BUFFER];
    ssize_t got = recv(from, buffer, room(proxy, way, moved), 0);
    if (way == 1 && moved == 0)
        change_hello(proxy, buffer, got);
    spoil(proxy, way, moved, buffer, got);
    /* Before it goes: who gets it may look at once. */
    if (got > 0)
        count_moved(proxy, way, moved, buffer, got);
    for (ssize_t done = 0; done < got;) {
        ssize_t put = send(to, buffer + done, (size_t)(got - done), MSG_NOSIGNAL);
        if (put <= 0)
            return -1;
        done += put;
    }
    return got;
}

/* Whether it is the one that moves nothing from here on. */
static bool is_to_stall(const struct relay *relay, const uint64_t *moved)
{
    struct proxy *proxy = relay->proxy;
    scoped_lock(&proxy->lock);
    const uint64_t *after = proxy->stalled_after;
    bool stalls = relay->number == proxy->stalled_number &&
                  ((after[0] != 0 && moved[0] >= after[0]) || (after[1] != 0 && moved[1] >= after[1]));
    if (stalls)
        proxy->stalls++;
    return stalls;
}

static void stay_until_an_end_closes(const struct relay *relay)
{
    struct pollfd polls[2] = {{.fd = relay->client, .events = POLLRDHUP},
                              {.fd = relay->server, .events = POLLRDHUP}};
    poll(polls, 2, -1);
}

static void *relay_run(void *argument)
{
    struct relay *relay = argument;
    struct pollfd polls[2] = {{.fd = relay->client, .events = POLLIN},
                              {.fd = relay->server, .events = POLLIN}};
    uint64_t moved[2] = {0, 0};
    bool alive = true, due = false;
    while (alive && poll(polls, 2, -1) >= 0) {
        for (int i = 0; i < 2 && alive; i++) {
            if (polls[i].revents == 0)
                continue;
            ssize_t count = move(relay->proxy, polls[i].fd, polls[1 - i].fd, i, moved[i]);
            alive = count > 0;
            if (alive)
                moved[i] += (uint64_t)count;
        }
        due = alive && is_due(relay->proxy, moved[0], moved[1]);
        alive = alive && !due;
        if (alive && is_to_stall(relay, moved)) {
            stay_until_an_end_closes(relay);
            alive = false;
        }
    }
    if (due) {
        part_gently(relay->server);
        part_gently(relay->client);
    }
    pthread_mutex_lock(&relay->proxy->lock);
    close(relay->client);
    close(relay->server);
    relay->client = relay->server = -1;
    pthread_mutex_unlock(&relay->proxy->lock);
    return NULL;
}

/* A place whose thread has ended, or was never used. The lock is held. */
static struct relay *free_place(struct proxy *proxy)
{
    for (int i = 0; i < RELAYS_MAX; i++)
        if (!proxy->relays[i].used || proxy->relays[i].client < 0)
            return &proxy->relays[i];
    return NULL;
}

static void relay_start(struct proxy *proxy, int client)
{
    int server = connect_to(proxy->target);
    pthread_mutex_lock(&proxy->lock);
    struct relay *relay = server >= 0 && !proxy->refuses ? free_place(proxy) : NULL;
    if (relay) {
        if (relay->used)
            pthread_join(relay->thread, NULL);
        *relay = (struct relay){.proxy = proxy, .used = true, .client = client, .server = server};
        relay->number = ++proxy->connections;
        pthread_create(&relay->thread, NULL, relay_run, relay);
    } else {
        close(client);
        if (server >= 0)
            close(server);
    }
    pthread_mutex_unlock(&proxy->lock);
}

static void *proxy_run(void *argument)
{
    struct proxy *proxy = argument;
    struct pollfd polls[2] = {{.fd = proxy->fd, .events = POLLIN}, {.fd = proxy->stop[0], .events = POLLIN}};
    while (poll(polls, 2, -1) >= 0 && polls[1].revents == 0) {
        int client = accept4(proxy->fd, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0)
            relay_start(proxy, client);
    }
    return NULL;
}

struct proxy *proxy_new(uint16_t target_port)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    assert_non_null(proxy);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    proxy->target = target_port;
    pthread_mutex_init(&proxy->lock, NULL);
    proxy->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(proxy->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(proxy->fd, 64), 0);
    assert_int_equal(getsockname(proxy->fd, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(pipe(proxy->stop), 0);
    snprintf(proxy->address, sizeof proxy->address, "127.0.0.1:%u", ntohs(address.sin_port));
    assert_int_equal(pthread_create(&proxy->thread, NULL, proxy_run, proxy), 0);
    return proxy;
}

void proxy_cut_all(struct proxy *proxy)
{
    scoped_lock(&proxy->lock);
    for (int i = 0; i < RELAYS_MAX; i++) {
        if (proxy->relays[i].used && proxy->relays[i].client >= 0) {
            shutdown(proxy->relays[i].client, SHUT_RDWR);
            shutdown(proxy->relays[i].server, SHUT_RDWR);
        }
    }
}

void proxy_shut(struct proxy *proxy, bool shut)
{
    scoped_lock(&proxy->lock);
    proxy->refuses = shut;
}

void proxy_refuse(struct proxy *proxy, bool refuse)
{
    proxy_shut(proxy, refuse);
    if (refuse)
        proxy_cut_all(proxy);
}

void proxy_free(struct proxy *proxy)
{
    if (write(proxy->stop[1], "", 1) == 1)
        pthread_join(proxy->thread, NULL);
    proxy_cut_all(proxy);
    for (int i = 0; i < RELAYS_MAX; i++)
        if (proxy->relays[i].used)
            pthread_join(proxy->relays[i].thread, NULL);
    close(proxy->fd);
    close(proxy->stop[0]);
    close(proxy->stop[1]);
    pthread_mutex_destroy(&proxy->lock);
    free(proxy);
}

const char *proxy_address(const struct proxy *proxy)
{
    return proxy->address;
}

void proxy_plan(struct proxy *proxy, unsigned cuts, uint64_t after_sent, uint64_t after_received)
{
    scoped_lock(&proxy->lock);
    proxy->cuts_left = cuts;
    proxy->after_sent = after_sent;
    proxy->after_received = after_received;
}

void proxy_on_cut(struct proxy *proxy, void (*hook)(void *context), void *context)
{
    scoped_lock(&proxy->lock);
    proxy->hook = hook;
    proxy->hook_context = context;
}

void proxy_mark(struct proxy *proxy, int way, const void *bytes, size_t count)
{
    scoped_lock(&proxy->lock);
    proxy->mark_way = way;
    proxy->mark_size = count < sizeof proxy->mark ? count : sizeof proxy->mark;
    if (count > 0)
        memcpy(proxy->mark, bytes, proxy->mark_size);
    proxy->marked = 0;
}

uint64_t proxy_marked(struct proxy *proxy)
{
    scoped_lock(&proxy->lock);
    return proxy->marked;
}

uint64_t proxy_marked_back(struct proxy *proxy)
{
    scoped_lock(&proxy->lock);
    return proxy->marked_back;
}

uint64_t proxy_sent(struct proxy *proxy)
{
    scoped_lock(&proxy->lock);
    return proxy->moved[0];
}

uint64_t proxy_received(struct proxy *proxy)
{
    scoped_lock(&proxy->lock);
    return proxy->moved[1];
}

void proxy_spoil(struct proxy *proxy, uint64_t sent, uint64_t received)
{
    scoped_lock(&proxy->lock);
    proxy->spoil[0] = sent;
    proxy->spoil[1] = received;
}

void proxy_shorten_interests(struct proxy *proxy, uint32_t seconds)
{
    scoped_lock(&proxy->lock);
    proxy->interest_seconds = seconds;
}

void proxy_stall(struct proxy *proxy, unsigned skip, uint64_t after_sent, uint64_t after_received)
{
    scoped_lock(&proxy->lock);
    proxy->stalled_number = proxy->connections + skip + 1;
    proxy->stalled_after[0] = after_sent;
    proxy->stalled_after[1] = after_received;
}

unsigned proxy_stalls(struct proxy *proxy)
{
    scoped_lock(&proxy->lock);
    return proxy->stalls;
}

unsigned proxy_cuts(struct proxy *proxy)
{
    scoped_lock(&proxy->lock);
    return proxy->cuts;
}

unsigned proxy_connections(struct proxy *proxy)
{
    scoped_lock(&proxy->lock);
    return proxy->connections;
}
