#include "rpc/engine.h"

#include "base/scoped.h"

#include <stdlib.h>

enum { FIRST_XID = 0x10000 };

/* A call that we sent and whose reply has not come. */
struct reversed_call {
    struct list link;              /* in the server's list */
    struct list of_connection;     /* in its connection's */
    struct connection *connection; /* a reference */
    uint32_t xid;
    int64_t deadline;
    rpc_reply_handler *handler;
    void *context;
};

void reversed_init(struct reversed *reversed)
{
    pthread_mutex_init(&reversed->mutex, NULL);
    list_init(&reversed->waiting);
}

void reversed_fini(struct reversed *reversed)
{
    pthread_mutex_destroy(&reversed->mutex);
}

/* Under the mutex: nobody else finds it any more. */
static struct reversed_call *detach(struct reversed_call *call)
{
    list_remove(&call->link);
    list_remove(&call->of_connection);
    return call;
}

/* Without any lock: tells how it ended, and frees it. */
static void finish(struct reversed_call *call, enum outcome outcome, XDR *reply)
{
    call->handler(call->context, outcome, reply);
    connection_unref(call->connection);
    free(call);
}

static struct reversed_call *find(struct connection *connection, uint32_t xid)
{
    scoped_lock(&connection->server->reversed.mutex);
    list_each(at, &connection->reversed) {
        struct reversed_call *call = list_entry(at, struct reversed_call, of_connection);
        if (call->xid == xid)
            return detach(call);
    }
    return NULL;
}

void reversed_reply(struct connection *connection, struct record *record)
{
    struct message_kind kind;
    XDR xdrs;

    struct reversed_call *call = message_peek(record->bytes, record->size, &kind) ? find(connection, kind.xid)
                                                                                  : NULL;
    if (call) {
        enum outcome outcome = message_parse_reply(record, &xdrs, NULL, NULL, NULL);
        if (outcome != OUTCOME_OK && outcome != OUTCOME_DENIED)
            outcome = OUTCOME_PROTOCOL;
        finish(call, outcome, outcome == OUTCOME_OK ? &xdrs : NULL);
    }
    record_free(record);
}

void reversed_abandon(struct connection *connection)
{
    for (;;) {
        struct reversed_call *call;
        {
            scoped_lock(&connection->server->reversed.mutex);
            call = list_first(&connection->reversed, struct reversed_call, of_connection);
            if (call)
                detach(call);
        }
        if (!call)
            return;
        finish(call, OUTCOME_UNREACHABLE, NULL);
    }
}

/* One whose deadline has passed. */
static struct reversed_call *overdue(struct reversed *reversed, int64_t now)
{
    scoped_lock(&reversed->mutex);
    list_each(at, &reversed->waiting) {
        struct reversed_call *call = list_entry(at, struct reversed_call, link);
        if (call->deadline <= now)
            return detach(call);
    }
    return NULL;
}

void reversed_expire(struct rpc_server *server)
{
    int64_t now = clock_elapsed(server->options.clock);
    struct reversed_call *call;

    while ((call = overdue(&server->reversed, now)))
        finish(call, OUTCOME_TIMEOUT, NULL);
}

enum outcome rpc_server_attach(struct rpc_server *server, uint64_t id, uint32_t program, uint32_t version,
                               struct failure *why)
{
    struct connection *connection = roster_take(&server->roster, id);
    bool gone = true;

    if (connection) {
        pthread_mutex_lock(&connection->mutex);
        gone = connection->broken;
        if (!gone) {
            connection->attached = true;
            connection->attached_program = program;
            connection->attached_version = version;
        }
        pthread_mutex_unlock(&connection->mutex);
        connection_unref(connection);
    }
    return gone ? failure_set(why, OUTCOME_ABSENT, "the connection is gone") : OUTCOME_OK;
}

void rpc_server_detach(struct rpc_server *server, uint64_t id)
{
    struct connection *connection = roster_take(&server->roster, id);

    if (!connection)
        return;
    pthread_mutex_lock(&connection->mutex);
    connection->attached = false;
    pthread_mutex_unlock(&connection->mutex);
    connection_unref(connection);
}

/* The call in a record; the buffer grows until it fits. */
static enum outcome encode_call(const struct rpc_server *server, uint32_t xid,
                                const struct message_target *target, xdrproc_t encode, void *arguments,
                                struct record **out, struct failure *why)
{
    size_t most = server->options.limits.record_max + RECORD_HEADER_SIZE;

    for (size_t size = 4096;; size *= 16) {
        size_t capacity = size < most ? size : most;
        struct record *record = record_new(capacity);
        XDR xdrs;
        if (!record)
            return failure_set(why, OUTCOME_NOMEM, "no memory for a call of %zu bytes", capacity);
        enum outcome outcome = message_begin_call(record, &xdrs, xid, target, NULL, why);
        if (outcome == OUTCOME_OK && encode(&xdrs, arguments)) {
            message_end(record, &xdrs);
            *out = record;
            return OUTCOME_OK;
        }
        record_free(record);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (capacity == most)
            return failure_set(why, OUTCOME_INVALID, "the arguments of procedure %u cannot be encoded",
                               target->procedure);
    }
}

static uint32_t new_xid(struct connection *connection)
{
    scoped_lock(&connection->server->reversed.mutex);
    return FIRST_XID + connection->next_xid++;
}

void reversed_expect(struct reversed_call *call)
{
    struct reversed *reversed = &call->connection->server->reversed;

    scoped_lock(&reversed->mutex);
    list_append(&reversed->waiting, &call->link);
    list_append(&call->connection->reversed, &call->of_connection);
}

/* Whether a call may go out, and to which program. */
static enum outcome target_of(struct connection *connection, struct message_target *target,
                              struct failure *why)
{
    scoped_lock(&connection->mutex);
    if (connection->broken || !connection->attached)
        return failure_set(why, OUTCOME_ABSENT, "the connection takes no calls (any more)");
    if (!connection_takes_call(connection))
        return failure_set(why, OUTCOME_LIMIT, "too much is unsent on the connection");
    target->program = connection->attached_program;
    target->version = connection->attached_version;
    return OUTCOME_OK;
}

static enum outcome send_call(struct connection *connection, uint32_t procedure, xdrproc_t encode,
                              void *arguments, unsigned deadline_ms, rpc_reply_handler *handler,
                              void *context, struct failure *why)
{
    struct rpc_server *server = connection->server;
    struct message_target target = {.procedure = procedure};
    struct record *record = NULL;
    enum outcome outcome = target_of(connection, &target, why);

    if (outcome != OUTCOME_OK)
        return outcome;
    uint32_t xid = new_xid(connection);
    if ((outcome = encode_call(server, xid, &target, encode, arguments, &record, why)) != OUTCOME_OK)
        return outcome;
    struct reversed_call *entry = malloc(sizeof *entry);
    if (!entry) {
        record_free(record);
        return failure_set(why, OUTCOME_NOMEM, "no memory for a call");
    }
    *entry = (struct reversed_call){
        .connection = connection_ref(connection),
        .xid = xid,
        .deadline = clock_elapsed(server->options.clock) + (int64_t)deadline_ms * 1000000,
        .handler = handler,
        .context = context,
    };
    if (connection_send_call(connection, record, entry))
        return OUTCOME_OK;
    connection_unref(connection);
    free(entry);
    return failure_set(why, OUTCOME_ABSENT, "the connection is gone");
}

enum outcome rpc_server_call(struct rpc_server *server, uint64_t id, uint32_t procedure, xdrproc_t encode,
                             void *arguments, unsigned deadline_ms, rpc_reply_handler *handler, void *context,
                             struct failure *why)
{
    struct connection *connection = roster_take(&server->roster, id);

    if (!connection)
        return failure_set(why, OUTCOME_ABSENT, "the connection is gone");
    enum outcome outcome = send_call(connection, procedure, encode, arguments, deadline_ms, handler, context,
                                     why);
    connection_unref(connection);
    return outcome;
}

/* Of the type that generated routines are called by. */
static bool_t no_arguments(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

struct probe {
    struct connection *connection; /* a reference */
    unsigned answer_ms;
};

static void probed(void *context, enum outcome outcome, XDR *reply);

/* Whether a call is out that the peer may be busy with. */
static bool is_called(struct connection *connection)
{
    scoped_lock(&connection->server->reversed.mutex);
    list_each(at, &connection->reversed) {
        if (list_entry(at, struct reversed_call, of_connection)->handler != probed)
            return true;
    }
    return false;
}

/*
 * No answer came in time. While the peer's own calls are served the connection may not be read: then the answer
 * has perhaps come, and is not seen. And a peer that was called is perhaps at work: its machine answers for it.
 */
static bool is_gone(const struct probe *probe)
{
    struct connection *connection = probe->connection;
    return connection_is_quiet(connection) &&
           (!is_called(connection) || connection_is_cut(connection, probe->answer_ms));
}

static void probed(void *context, enum outcome outcome, XDR *reply)
{
    struct probe *probe = context;

    (void)reply;
    if (outcome == OUTCOME_TIMEOUT && is_gone(probe))
        connection_break(probe->connection);
    connection_unref(probe->connection);
    free(probe);
}

void reversed_probe(struct connection *connection, unsigned answer_ms)
{
    struct probe *probe = malloc(sizeof *probe);

    if (!probe)
        return; /* the next one will do */
    *probe = (struct probe){connection_ref(connection), answer_ms};
    if (send_call(connection, NULLPROC, no_arguments, NULL, answer_ms, probed, probe, NULL) != OUTCOME_OK) {
        connection_unref(connection);
        free(probe);
    }
}

void rpc_server_probe(struct rpc_server *server, uint64_t id, unsigned answer_ms)
{
    struct connection *connection = roster_take(&server->roster, id);

    if (!connection)
        return;
    reversed_probe(connection, answer_ms);
    connection_unref(connection);
}
