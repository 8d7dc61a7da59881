#include "rpc/connection.h"

#include "base/fault.h"
#include "base/scoped.h"
#include "rpc/distance.h"
#include "rpc/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PARTS_MAX = 64 }; /* records in one write */

struct connection *connection_new(struct rpc_server *server, int fd, const struct address *peer)
{
    struct connection *connection = calloc(1, sizeof *connection);
    int64_t now = clock_elapsed(server->options.clock);

    if (!connection) {
        close(fd);
        return NULL;
    }
    connection->server = server;
    connection->references = 1;
    connection->active_at = now;
    connection->moved_at = connection->probed_at = now;
    peer_init(&connection->peer, fd, peer);
    stream_plain(&connection->stream, fd);
    permit_line_init(&connection->line);
    list_init(&connection->pause_link);
    list_init(&connection->reversed);
    list_init(&connection->parked);
    pthread_mutex_init(&connection->mutex, NULL);
    record_reader_init(&connection->reader, server->options.limits.record_max, intake_hook, connection);
    return connection;
}

struct connection *connection_ref(struct connection *connection)
{
    atomic_fetch_add_explicit(&connection->references, 1, memory_order_relaxed);
    return connection;
}

void connection_unref(struct connection *connection)
{
    if (atomic_fetch_sub_explicit(&connection->references, 1, memory_order_acq_rel) != 1)
        return;
    if (connection->stream.fd >= 0)
        close(connection->stream.fd);
    record_reader_fini(&connection->reader);
    pthread_mutex_destroy(&connection->mutex);
    free(connection);
}

/* ---- what it wants; all under the mutex ---- */

static bool has_room(const struct connection *connection)
{
    const struct rpc_limits *limits = &connection->server->options.limits;

    return connection->unsent_records + connection->in_service_records < limits->unsent_records &&
           connection->unsent_bytes + connection->in_service_bytes < limits->unsent_bytes;
}

bool connection_takes_call(const struct connection *connection)
{
    const struct rpc_limits *limits = &connection->server->options.limits;

    return connection->unsent_records < limits->unsent_records &&
           connection->unsent_bytes < limits->unsent_bytes;
}

static bool wants_reading(const struct connection *connection)
{
    return !connection->ended && !connection->broken && !connection->paused && has_room(connection) &&
           !atomic_load_explicit(&connection->server->stopping, memory_order_relaxed);
}

static uint32_t wanted_events(const struct connection *connection)
{
    /* Whoever is writing right now sees for itself whether all went out. */
    uint32_t events = connection->unsent_first && !connection->flushing ? EPOLLOUT : 0;

    /* What the reader holds already makes no socket ready: a writable one gets its turn soon, behind others. */
    if (wants_reading(connection))
        events |= EPOLLIN | (connection->more ? EPOLLOUT : 0);
    return events;
}

/* The peer has said all, and got all. */
static bool is_done(const struct connection *connection)
{
    return connection->ended && !connection->unsent_first && connection->in_service_records == 0;
}

static void arm(struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLONESHOT, .data.u64 = connection->id};

    connection->armed = events;
    epoll_ctl(connection->server->epoll, EPOLL_CTL_MOD, connection->stream.fd, &event);
}

static void break_locked(struct connection *connection)
{
    if (connection->broken || connection->closed)
        return;
    connection->broken = true;
    shutdown(connection->stream.fd, SHUT_RDWR);
}

/* Something changed while nobody has the turn. */
static void reconsider(struct connection *connection)
{
    if (connection->in_turn || connection->closed || !connection->watched)
        return;
    if (is_done(connection))
        break_locked(connection); /* the epoll tells, and it is closed in a turn */
    uint32_t events = wanted_events(connection);
    if (events != connection->armed || connection->broken)
        arm(connection, events);
}

bool connection_watch(struct connection *connection)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = connection->id};

    scoped_lock(&connection->mutex);
    connection->armed = EPOLLIN;
    connection->watched = true;
    return epoll_ctl(connection->server->epoll, EPOLL_CTL_ADD, connection->stream.fd, &event) == 0;
}

/* ---- sending ---- */

static int gather(struct connection *connection, struct iovec *parts, size_t *total)
{
    int count = 0;
    size_t skip = connection->sent_of_first;

    *total = 0;
    for (struct record *record = connection->unsent_first; record && count < PARTS_MAX;
         record = record->next) {
        parts[count++] = (struct iovec){record->bytes + skip, record->size - skip};
        *total += record->size - skip;
        skip = 0;
    }
    return count;
}

/* So many more bytes are unsent, or fewer. */
static void owe(struct connection *connection, size_t more, size_t less)
{
    struct rpc_server *server = connection->server;
    bool had = connection->unsent_bytes > 0;

    connection->unsent_bytes += more - less;
    atomic_store_explicit(&connection->owed, connection->unsent_bytes, memory_order_relaxed);
    if (!had || connection->unsent_bytes == 0)
        atomic_store_explicit(
            &connection->owed_since,
            connection->unsent_bytes ? atomic_load_explicit(&server->now, memory_order_relaxed) : 0,
            memory_order_relaxed);
    server_owes(server, more, less);
}

/* So many bytes went out: their records are freed. */
static void account(struct connection *connection, size_t sent)
{
    owe(connection, 0, sent);
    while (connection->unsent_first) {
        struct record *record = connection->unsent_first;
        size_t left = record->size - connection->sent_of_first;
        if (sent < left) {
            connection->sent_of_first += sent;
            return;
        }
        sent -= left;
        connection->sent_of_first = 0;
        connection->unsent_first = record->next;
        connection->unsent_records--;
        record_free(record);
    }
    connection->unsent_last = NULL;
}

/* Of a closed connection, once nobody writes: what it was owed, and its socket. */
static void let_go(struct connection *connection)
{
    while (connection->unsent_first) {
        struct record *record = connection->unsent_first;
        connection->unsent_first = record->next;
        record_free(record);
    }
    connection->unsent_last = NULL;
    connection->unsent_records = connection->sent_of_first = 0;
    owe(connection, 0, connection->unsent_bytes);
    close(connection->stream.fd);
    connection->stream.fd = -1;
}

/* Writes as far as the socket takes it. The mutex is let go meanwhile; `flushing` keeps others out. */
static void flush(struct connection *connection)
{
    struct iovec parts[PARTS_MAX];
    size_t total;

    if (connection->flushing)
        return;
    connection->flushing = true;
    while (connection->unsent_first && !connection->broken) {
        int count = gather(connection, parts, &total);
        pthread_mutex_unlock(&connection->mutex);
        ssize_t sent = connection->stream.kind->writev(&connection->stream, parts, count);
        int error = errno;
        pthread_mutex_lock(&connection->mutex);
        if (sent < 0 && error == EINTR)
            continue;
        if (sent < 0 && error != EAGAIN && error != EWOULDBLOCK)
            break_locked(connection);
        if (sent <= 0)
            break;
        atomic_fetch_add_explicit(&connection->moved, (uint64_t)sent, memory_order_relaxed);
        atomic_fetch_add_explicit(&connection->server->bytes_out, (uint64_t)sent, memory_order_relaxed);
        account(connection, (size_t)sent);
        if ((size_t)sent < total)
            break;
        FAULT_POINT("reply-sent");
    }
    connection->flushing = false;
    if (connection->closed)
        let_go(connection);
}

static void append(struct connection *connection, struct record *record)
{
    record->next = NULL;
    if (connection->unsent_last)
        connection->unsent_last->next = record;
    else
        connection->unsent_first = record;
    connection->unsent_last = record;
    connection->unsent_records++;
    owe(connection, record->size, 0);
}

static bool owes_too_much(const struct connection *connection)
{
    return connection->unsent_bytes >= connection->server->options.limits.unsent_bytes;
}

/* The peer has read: one call that was parked may be served. Its reply lets in the next. */
static void unpark(struct connection *connection)
{
    if (list_is_empty(&connection->parked) || (owes_too_much(connection) && !connection->closed))
        return;
    do {
        struct permit_job *job = list_first(&connection->parked, struct permit_job, link);
        list_remove(&job->link);
        permits_again(&connection->server->permits, job);
    } while (connection->closed && !list_is_empty(&connection->parked));
    server_wake(connection->server);
}

bool connection_park(struct connection *connection, struct job *job)
{
    scoped_lock(&connection->mutex);
    if (connection->broken || !owes_too_much(connection))
        return false;
    list_append(&connection->parked, &job->permit.link);
    return true;
}

/* In a turn small replies wait for its end; a large one goes out while it is still in the cache. */
static void send_locked(struct connection *connection, struct record *record)
{
    enum { CORKED_MAX = 128 * 1024 };

    if (connection->broken || connection->closed) {
        record_free(record);
        return;
    }
    append(connection, record);
    if (!connection->in_turn || connection->unsent_bytes > CORKED_MAX)
        flush(connection);
}

void connection_send(struct connection *connection, struct record *record)
{
    scoped_lock(&connection->mutex);
    send_locked(connection, record);
    unpark(connection);
    reconsider(connection);
}

bool connection_send_call(struct connection *connection, struct record *record, struct reversed_call *call)
{
    scoped_lock(&connection->mutex);
    bool alive = !connection->broken && !connection->closed;
    if (alive)
        reversed_expect(call);
    send_locked(connection, record);
    reconsider(connection);
    return alive;
}

void connection_flush(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    flush(connection);
    unpark(connection);
}

void connection_serve_later(struct connection *connection, size_t bytes)
{
    scoped_lock(&connection->mutex);
    connection->in_service_records++;
    connection->in_service_bytes += bytes;
}

void connection_served(struct connection *connection, size_t bytes, struct record *reply)
{
    scoped_lock(&connection->mutex);
    connection->in_service_records--;
    connection->in_service_bytes -= bytes;
    if (reply)
        send_locked(connection, reply);
    else
        break_locked(connection);
    unpark(connection);
    reconsider(connection);
}

/* ---- turns ---- */

bool connection_begin_turn(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    if (connection->in_turn || connection->closed)
        return false;
    connection->in_turn = true;
    connection->armed = 0;
    connection->more = false;
    return true;
}

bool connection_may_read(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    return wants_reading(connection);
}

static void close_locked(struct connection *connection)
{
    connection->closed = connection->broken = true;
    epoll_ctl(connection->server->epoll, EPOLL_CTL_DEL, connection->stream.fd, NULL);
    if (!connection->flushing)
        let_go(connection);
}

/* After close_locked, without the mutex: tells those who want to know. */
static void bury(struct connection *connection, bool was_attached)
{
    struct rpc_server *server = connection->server;

    server_forget(server, connection);
    if (was_attached && server->options.closed)
        server->options.closed(server->options.context, connection->id);
}

void connection_end_turn(struct connection *connection)
{
    pthread_mutex_lock(&connection->mutex);
    flush(connection);
    connection->in_turn = false;
    bool closing = connection->broken || is_done(connection);
    bool was_attached = connection->attached;
    if (closing && !connection->closed)
        close_locked(connection);
    else if (!connection->closed)
        arm(connection, wanted_events(connection));
    unpark(connection);
    pthread_mutex_unlock(&connection->mutex);
    if (closing)
        bury(connection, was_attached);
}

void connection_break(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    break_locked(connection);
    reconsider(connection);
}

void connection_pause(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    connection->paused = true;
}

void connection_resume(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    connection->paused = false;
    connection->more = true;
    reconsider(connection);
}

void connection_has_more(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    connection->more = true;
}

void connection_has_ended(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    connection->ended = true;
}

void connection_rearm(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    reconsider(connection);
}

void connection_close(struct connection *connection)
{
    pthread_mutex_lock(&connection->mutex);
    bool closing = !connection->closed;
    bool was_attached = connection->attached;
    if (closing)
        close_locked(connection);
    unpark(connection);
    pthread_mutex_unlock(&connection->mutex);
    if (closing)
        bury(connection, was_attached);
}

bool connection_is_quiet(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    return !connection->unsent_first && connection->in_service_records == 0 && !connection->in_turn;
}

bool connection_is_cut(struct connection *connection, unsigned milliseconds)
{
    scoped_lock(&connection->mutex);
    return !connection->closed && distance_is_cut(connection->stream.fd, milliseconds);
}

bool connection_is_broken(struct connection *connection)
{
    scoped_lock(&connection->mutex);
    return connection->broken;
}
