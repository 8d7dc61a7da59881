#include "rpc/client_inside.h"

#include "base/scoped.h"
#include "rpc/distance.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/time.h>
#include <unistd.h>

/* A peer that is gone without a word is noticed after two minutes, on a connection where nothing is asked. */
enum {
    GROUPS_MAX = 16,
    LOCAL_SLICE_MS = 200,
    KEEPALIVE_IDLE_S = 60,
    KEEPALIVE_EVERY_S = 15,
    KEEPALIVE_COUNT = 4
};

/* ---- connecting ---- */

bool rpc_is_stopped(int stop_fd)
{
    struct pollfd polled = {.fd = stop_fd, .events = POLLIN};

    return stop_fd > 0 && poll(&polled, 1, 0) > 0;
}

/* A Unix socket whose backlog is full is waited for by a blocking connect alone: a slice at a time, for stop_fd. */
static int connect_local(int fd, const struct address *address, unsigned limit_ms, int stop_fd)
{
    int64_t deadline = client_now() + (int64_t)limit_ms * 1000000;

    while (!rpc_is_stopped(stop_fd)) {
        int64_t left = deadline - client_now(), slice = (int64_t)LOCAL_SLICE_MS * 1000000;
        if (left < 1000000)
            left = 1000000; /* 0 would mean without end */
        if (stop_fd <= 0 || left < slice)
            slice = left;
        struct timeval limit = {.tv_sec = slice / 1000000000, .tv_usec = slice % 1000000000 / 1000};
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0)
            return errno;
        if (connect(fd, &address->any, address->size) == 0)
            return 0;
        if (errno != EAGAIN && errno != EINTR)
            return errno;
        if (client_now() >= deadline)
            return ETIMEDOUT;
    }
    return ECANCELED;
}

static int connect_ip(int fd, const struct address *address, unsigned limit_ms, int stop_fd, bool *connecting)
{
    int64_t deadline = client_now() + (int64_t)limit_ms * 1000000;
    struct pollfd polled[] = {
        {.fd = fd, .events = POLLOUT},
        {.fd = stop_fd > 0 ? stop_fd : -1, .events = POLLIN},
    };
    int error = 0, ready;
    socklen_t size = sizeof(error);

    if (connect(fd, &address->any, address->size) == 0)
        return 0;
    if (errno != EINPROGRESS && errno != EINTR)
        return errno;
    if (*connecting)
        return 0;
    do {
        int64_t left = (deadline - client_now()) / 1000000;
        ready = poll(polled, 2, left > 0 ? (int)left : 0);
    } while (ready < 0 && errno == EINTR);
    if (ready > 0 && polled[1].revents)
        return ECANCELED;
    if (ready <= 0)
        return ready == 0 ? ETIMEDOUT : errno;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

static void tune(int fd)
{
    int on = 1, idle = KEEPALIVE_IDLE_S, every = KEEPALIVE_EVERY_S, count = KEEPALIVE_COUNT;

    /* None of these is needed for the calls to be right. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof(every));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
}

static enum outcome open_socket(struct rpc_client *client, struct failure *why)
{
    bool local = address_is_local(&client->peer);
    client->connecting = client->options.later && !local;
    unsigned limit_ms = client->options.connect_ms;
    scoped_fd int fd = socket(client->peer.any.sa_family,
                              SOCK_STREAM | SOCK_CLOEXEC | (local ? 0 : SOCK_NONBLOCK), 0);

    if (fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot make a socket for %s", client->peer_text);
    int error = local ? connect_local(fd, &client->peer, limit_ms, client->options.stop_fd)
                      : connect_ip(fd, &client->peer, limit_ms, client->options.stop_fd, &client->connecting);
    if (error == ETIMEDOUT)
        return failure_set(why, OUTCOME_TIMEOUT, "%s did not take the connection in %u ms", client->peer_text,
                           limit_ms);
    if (error)
        return failure_system(why, OUTCOME_UNREACHABLE, error, "cannot connect to %s", client->peer_text);
    if (local && fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot set up the socket to %s", client->peer_text);
    if (!local)
        tune(fd);

    struct sockaddr_storage name;
    socklen_t size = sizeof(name);
    if (getsockname(fd, (struct sockaddr *)&name, &size) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot ask for the address of a socket");
    client->local = address_of((struct sockaddr *)&name, size);
    client->fd = take_fd(&fd);
    stream_plain(&client->stream, client->fd);
    return OUTCOME_OK;
}

/* ---- its life ---- */

/* authnone_create leaks when threads race for its first call; AUTH_NONE of stubs comes from it. */
static void make_auth_none(void)
{
    authnone_create();
}

static enum outcome make_credential(struct rpc_client *client, struct failure *why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char host[MAX_MACHINE_NAME + 1] = "";
    int count = getgroups(0, NULL);
    scoped_free gid_t *groups = calloc((size_t)(count > 0 ? count : 0) + 1, sizeof(*groups));

    pthread_once(&once, make_auth_none);
    if (client->options.anonymous)
        return OUTCOME_OK;
    if (groups)
        count = getgroups(count > 0 ? count : 0, groups);
    gethostname(host, sizeof(host) - 1);
    if (groups)
        client->auth = authunix_create(host, geteuid(), getegid(),
                                       count > GROUPS_MAX ? GROUPS_MAX
                                       : count > 0        ? count
                                                          : 0,
                                       groups);
    return client->auth ? OUTCOME_OK : failure_set(why, OUTCOME_NOMEM, "no memory for a credential");
}

static struct rpc_client *client_new(const struct address *address, const struct rpc_client_options *options)
{
    struct rpc_client *client = calloc(1, sizeof(*client));

    if (!client)
        return NULL;
    client->options = *options;
    if (!client->options.connect_ms)
        client->options.connect_ms = CLIENT_CONNECT_MS;
    if (!client->options.record_max)
        client->options.record_max = CLIENT_RECORD_MAX;
    client->call_ms = options->call_ms ? options->call_ms : CLIENT_CALL_MS;
    client->peer = *address;
    address_text(address, client->peer_text);
    client->fd = client->wake_fd = -1;
    pthread_mutex_init(&client->mutex, NULL);
    list_init(&client->pendings);
    list_init(&client->outgoing);
    list_init(&client->waiters);
    list_init(&client->callers);
    record_reader_init(&client->reader, client->options.record_max, NULL, NULL);
    /* Other connections' xids should differ: it makes traces readable. */
    if (getrandom(&client->next_xid, sizeof(client->next_xid), GRND_NONBLOCK) < 0)
        client->next_xid = (uint32_t)client_now();
    return client;
}

static void client_close_at(struct rpc_client **client)
{
    *client = rpc_client_close(*client);
}

enum outcome rpc_client_connect(const struct address *address, const struct rpc_client_options *options,
                                struct rpc_client **out, struct failure *why)
{
    scoped(client_close_at) struct rpc_client *client = client_new(address, options);
    enum outcome outcome;

    if (!client)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a connection");
    outcome = open_socket(client, why);
    if (outcome == OUTCOME_OK)
        outcome = make_credential(client, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (client->wake_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot make an eventfd");
    client_handle_init(client);
    if (options->reversed)
        outcome = client_reversed_start(client, why);
    if (outcome == OUTCOME_OK)
        *out = take_ptr(&client);
    return outcome;
}

static void break_for_close(struct rpc_client *client)
{
    struct failure why;

    failure_set(&why, OUTCOME_UNREACHABLE, "the connection was closed");
    scoped_lock(&client->mutex);
    client->closing = true;
    client_break(client, &why);
}

void *rpc_client_close(struct rpc_client *client)
{
    if (!client)
        return NULL;
    break_for_close(client);
    if (client->reversed)
        client_reversed_stop(client);
    client_handle_fini(client);
    client_drop_outgoing(client);
    record_reader_fini(&client->reader);
    if (client->auth)
        AUTH_DESTROY(client->auth);
    if (client->fd >= 0)
        close(client->fd);
    if (client->wake_fd >= 0)
        close(client->wake_fd);
    pthread_mutex_destroy(&client->mutex);
    free(client);
    return NULL;
}

CLIENT *rpc_client_handle(struct rpc_client *client)
{
    return &client->handle;
}

const struct address *rpc_client_peer(const struct rpc_client *client)
{
    return &client->peer;
}

bool rpc_client_is_broken(struct rpc_client *client)
{
    scoped_lock(&client->mutex);
    return client->broken;
}

bool rpc_client_local(const struct rpc_client *client, struct address *out)
{
    if (rpc_client_is_broken((struct rpc_client *)(uintptr_t)client))
        return false;
    *out = client->local;
    return true;
}

/* ---- calls in flight ---- */

static const struct rpc_procedure *procedure_of(const struct rpc_client *client, uint32_t procedure)
{
    const struct rpc_program *program = client->options.program;

    return program && procedure < program->count ? &program->procedures[procedure] : NULL;
}

static unsigned limit_ms_of(struct rpc_client *client, uint32_t procedure)
{
    const struct rpc_procedure *row = procedure_of(client, procedure);

    return row && row->time_limit_ms ? row->time_limit_ms : client->call_ms;
}

/* A call as it goes out, in a record of so many bytes; NULL if it does not fit, or has no memory. */
static struct record *encode_into(struct rpc_client *client, size_t capacity,
                                  const struct rpc_pending *pending, AUTH *auth, xdrproc_t encode,
                                  const void *arguments, struct bulk_source *source, struct failure *why)
{
    const struct message_target target = {client->options.number, client->options.version,
                                          pending->procedure};
    struct record *record = record_new(capacity);
    XDR xdrs;

    if (!record) {
        failure_set(why, OUTCOME_NOMEM, "no memory for a call");
        return NULL;
    }
    if (message_begin_call(record, &xdrs, pending->xid, &target, auth, why) != OUTCOME_OK)
        return record_free(record);
    bulk_attach(&xdrs, source);
    if (!encode(&xdrs, (void *)(uintptr_t)arguments)) {
        failure_set(why, OUTCOME_INVALID,
                    "the arguments cannot be encoded: too long, or their content failed");
        return record_free(record);
    }
    message_end(record, &xdrs);
    return record;
}

/* Small first; what has a source is encoded once, in a record that takes anything. */
static struct record *encode_call(struct rpc_client *client, const struct rpc_pending *pending, AUTH *auth,
                                  xdrproc_t encode, const void *arguments, struct bulk_source *source,
                                  struct failure *why)
{
    const size_t whole = client->options.record_max + RECORD_HEADER_SIZE;
    const size_t sizes[] = {1024, 32 * 1024, whole};
    struct record *record = NULL;

    for (size_t i = source ? 2 : 0; i < 3 && !record; i++)
        record = encode_into(client, sizes[i] < whole ? sizes[i] : whole, pending, auth, encode, arguments,
                             source, why);
    return record;
}

/* Held. The call is no longer looked for. */
static void give_up(struct rpc_pending *pending)
{
    list_remove(&pending->link);
    if (pending->outgoing && !pending->sent)
        client_forget(pending->outgoing);
    pending->outgoing = NULL;
}

static enum outcome too_late(struct rpc_client *client, const struct rpc_pending *pending,
                             struct failure *why)
{
    const struct rpc_procedure *row = procedure_of(client, pending->procedure);

    if (row)
        return failure_set(why, OUTCOME_TIMEOUT, "%s did not %s %s in %u ms", client->peer_text,
                           pending->sent ? "answer" : "take", row->label, pending->limit_ms);
    return failure_set(why, OUTCOME_TIMEOUT, "%s did not %s procedure %u in %u ms", client->peer_text,
                       pending->sent ? "answer" : "take", pending->procedure, pending->limit_ms);
}

/*
 * Held. Whether a call may be held back: it is small, others are on their way,
 * and nobody else is in a poll that would have to be told. Then many go out with
 * one write, at the latest when somebody waits.
 */
static bool may_hold(const struct rpc_client *client, const struct record *record)
{
    return record->size <= CLIENT_HELD_SIZE && client->held < CLIENT_HELD_MAX - 1 && !client->led &&
           !list_is_empty(&client->pendings);
}

/* Held. Queues and sends; what could not be sent is forgotten. */
static enum outcome send_call(struct rpc_client *client, struct rpc_pending *pending, struct record *record,
                              bool until_sent, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;

    if (client->broken) {
        record_free(record);
        *why = client->broken_why;
        return OUTCOME_UNREACHABLE;
    }
    bool hold = until_sent && may_hold(client, record);
    pending->outgoing = client_enqueue(client, record, &pending->sent);
    if (!pending->outgoing)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a call");
    list_append(&client->pendings, &pending->link);
    if (hold) {
        client->held++;
        return OUTCOME_OK;
    }
    client_flush(client);
    if (until_sent && !pending->sent)
        outcome = client_wait(client, &pending->sent, pending->deadline, why);
    if (outcome == OUTCOME_TIMEOUT)
        too_late(client, pending, why);
    if (outcome != OUTCOME_OK)
        give_up(pending);
    return outcome;
}

static struct rpc_pending *pending_new(struct rpc_client *client, uint32_t procedure)
{
    struct rpc_pending *pending = calloc(1, sizeof(*pending));

    if (!pending)
        return NULL;
    list_init(&pending->link);
    pending->procedure = procedure;
    scoped_lock(&client->mutex);
    pending->xid = client->next_xid++;
    pending->limit_ms = limit_ms_of(client, procedure);
    pending->begun = client_now();
    pending->deadline = pending->begun + (int64_t)pending->limit_ms * 1000000;
    return pending;
}

enum outcome client_start(struct rpc_client *client, uint32_t procedure, AUTH *auth, xdrproc_t encode,
                          const void *arguments, struct bulk_source *source, bool until_sent,
                          struct rpc_pending **out, struct failure *why)
{
    scoped_free struct rpc_pending *pending = pending_new(client, procedure);
    struct failure ignored;

    if (!why)
        why = &ignored;
    if (!pending)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a call");
    struct record *record = encode_call(client, pending, auth, encode, arguments, source, why);
    if (!record)
        return why->outcome;
    scoped_lock(&client->mutex);
    enum outcome outcome = send_call(client, pending, record, until_sent, why);
    if (outcome == OUTCOME_OK)
        *out = take_ptr(&pending);
    return outcome;
}

enum outcome rpc_client_begin(struct rpc_client *client, uint32_t procedure, xdrproc_t encode,
                              const void *arguments, struct bulk_source *source, struct rpc_pending **out,
                              struct failure *why)
{
    return client_start(client, procedure, client->auth, encode, arguments, source, true, out, why);
}

void client_take_reply(struct rpc_client *client, uint32_t xid, struct record *record)
{
    list_each(at, &client->pendings) {
        struct rpc_pending *pending = list_entry(at, struct rpc_pending, link);
        if (pending->xid != xid)
            continue;
        list_remove(&pending->link);
        pending->reply = record;
        pending->took = client_now() - pending->begun;
        client_set(client, &pending->answered);
        return;
    }
    record_free(record); /* late, or never asked for */
}

static enum outcome wait_for_reply(struct rpc_client *client, struct rpc_pending *pending,
                                   struct failure *why)
{
    scoped_lock(&client->mutex);
    enum outcome outcome = client_wait(client, &pending->answered, pending->deadline, why);
    if (outcome == OUTCOME_TIMEOUT)
        too_late(client, pending, why);
    if (outcome != OUTCOME_OK)
        give_up(pending);
    return outcome;
}

enum outcome rpc_client_await(struct rpc_client *client, struct rpc_pending *pending, xdrproc_t decode,
                              void *results, struct failure *why)
{
    struct failure ignored;
    XDR xdrs;

    if (!why)
        why = &ignored;
    enum outcome outcome = wait_for_reply(client, pending, why);
    if (outcome == OUTCOME_OK)
        outcome = message_parse_reply(pending->reply, &xdrs, &pending->low, &pending->high, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (decode(&xdrs, results))
        return OUTCOME_OK;
    xdr_free(decode, results); /* what was decoded before it failed */
    return failure_set(why, OUTCOME_PROTOCOL, "%s sent results that cannot be decoded", client->peer_text);
}

int64_t rpc_pending_took(const struct rpc_pending *pending)
{
    return pending->took;
}

static void forget_pending(struct rpc_client *client, struct rpc_pending *pending)
{
    scoped_lock(&client->mutex);
    give_up(pending);
}

void *rpc_pending_free(struct rpc_client *client, struct rpc_pending *pending)
{
    if (!pending)
        return NULL;
    forget_pending(client, pending);
    record_free(pending->reply);
    free(pending);
    return NULL;
}

int64_t rpc_client_round_trip(const struct rpc_client *client)
{
    return distance_of(client->fd);
}

void rpc_client_expect_much(const struct rpc_client *client)
{
    distance_make_room(client->fd, DISTANCE_ROOM);
}
