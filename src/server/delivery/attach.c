#include "server/delivery/delivery_inside.h"

#include "base/scoped.h"
#include "rpc/server.h"
#include "server/delivery/route.h"

enum { PORT_MIN = 1024 };

/* Whoever comes by a Unix socket is on this machine. */
static enum outcome dialled_address(const struct address *seen, uint16_t port, struct address *out,
                                    struct failure *why)
{
    *out = *seen;
    enum outcome outcome = address_is_local(seen) ? address_ip("127.0.0.1", 0, out, why) : OUTCOME_OK;
    if (outcome == OUTCOME_OK)
        address_set_port(out, port);
    return outcome;
}

static enum outcome make_route(const struct rpc_call *call, const struct delivery_callback *callback,
                               struct sender_route *out, struct failure *why)
{
    if (callback->program != 0 &&
        (callback->program < FS_TRANSIENT_MIN || callback->program > FS_TRANSIENT_MAX))
        return failure_set(why, OUTCOME_INVALID,
                           "callback program 0x%x is not in the transient range 0x%x to 0x%x",
                           callback->program, FS_TRANSIENT_MIN, FS_TRANSIENT_MAX);
    if (callback->program != 0 && callback->has_port && callback->port < PORT_MIN)
        return failure_set(why, OUTCOME_INVALID, "the callback port is %u, at least %d it must be",
                           callback->port, PORT_MIN);
    struct sender_route route = {
        .program = callback->program,
        .ask_rpcbind = callback->program != 0 && !callback->has_port,
        .proof = callback->proof,
        .ticket = callback->ticket,
        .connection = callback->reversed ? rpc_call_connection(call) : 0,
    };
    enum outcome outcome = OUTCOME_OK;
    if (route.program != 0)
        outcome = dialled_address(rpc_call_peer(call), callback->has_port ? callback->port : 0, &route.peer,
                                  why);
    if (outcome == OUTCOME_OK && route.program != 0)
        outcome = dialled_address(rpc_call_local(call), 0, &route.local, why);
    if (outcome == OUTCOME_OK)
        *out = route;
    return outcome;
}

/* The connection takes no more CALLs, unless another mailbox's go over it. */
static void leave_connection(struct delivery *delivery, uint64_t connection)
{
    if (connection != 0 && !sender_uses(delivery->sender, connection))
        rpc_server_detach(delivery->options.server, connection);
}

static enum outcome take_connection(struct delivery *delivery, const struct sender_route *route,
                                    struct failure *why)
{
    if (route->connection == 0)
        return OUTCOME_OK;
    return rpc_server_attach(delivery->options.server, route->connection,
                             route->program != 0 ? route->program : FILESHARE_CALLBACK_PROG,
                             FILESHARE_CALLBACK_V1, why);
}

/* Of two processes one has the mailbox: the one that lives and was first. */
static enum outcome replace_route(struct delivery *delivery, const struct id *mailbox, uint64_t caller,
                                  const struct sender_route *route, struct sender_route *before,
                                  struct failure *why)
{
    scoped_lock(&delivery->attach_lock);
    bool known = sender_route_of(delivery->sender, mailbox, before);
    if (known && before->connection != caller && !id_equal_secret(&before->ticket, &route->ticket) &&
        sender_is_living(delivery->sender, mailbox))
        return failure_set(why, OUTCOME_HELD, "another process listens for this mailbox");
    if (route->program != 0 || route->connection != 0)
        return sender_prove(delivery->sender, mailbox, route, why);
    sender_forget(delivery->sender, mailbox);
    return OUTCOME_OK;
}

/*
 * Who holds the mailbox may be gone without a word: a machine that was cut off, or
 * has another address now. It is asked, and does not keep the next one out for
 * longer than an answer may take.
 */
static void doubt_holder(struct delivery *delivery, const struct id *mailbox, uint64_t connection)
{
    sender_doubt(delivery->sender, mailbox);
    if (connection != 0)
        rpc_server_probe(delivery->options.server, connection, delivery->options.limits.connect_ms);
}

static enum outcome keep_route(struct delivery *delivery, const struct store_caller *caller,
                               const struct id *mailbox, const struct sender_route *route,
                               struct store_mailbox *out, struct failure *why)
{
    uint8_t bytes[ROUTE_SIZE_MAX];
    bool leads = route->program != 0 || route->connection != 0;
    size_t size = leads ? route_encode(route, bytes) : 0;
    struct store *store = delivery->options.store;
    return store->acts->mailbox_route(store, caller, mailbox, bytes, size, out, why);
}

enum outcome delivery_attach(struct delivery *delivery, const struct rpc_call *call,
                             const struct store_caller *caller, const struct id *mailbox,
                             const struct delivery_callback *callback, enum sender_state *state,
                             struct store_mailbox *out, struct failure *why)
{
    struct sender_route route, before = {.connection = 0};
    enum outcome outcome = make_route(call, callback, &route, why);
    if (outcome == OUTCOME_OK)
        outcome = take_connection(delivery, &route, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = replace_route(delivery, mailbox, rpc_call_connection(call), &route, &before, why);
    if (outcome == OUTCOME_HELD)
        doubt_holder(delivery, mailbox, before.connection);
    if (outcome != OUTCOME_OK) {
        leave_connection(delivery, route.connection);
        return outcome;
    }
    if (before.connection != route.connection)
        leave_connection(delivery, before.connection);
    /* It may have closed, or been left by another mailbox, before the sender knew it. */
    if (take_connection(delivery, &route, NULL) != OUTCOME_OK)
        sender_connection_closed(delivery->sender, route.connection);
    outcome = keep_route(delivery, caller, mailbox, &route, out, why);
    if (outcome == OUTCOME_OK)
        *state = sender_state_of(delivery->sender, mailbox);
    if (outcome == OUTCOME_LIMIT) { /* there is no such mailbox, nor will be: nothing is kept of it */
        sender_forget(delivery->sender, mailbox);
        leave_connection(delivery, route.connection);
    }
    return outcome;
}

enum outcome delivery_detach(struct delivery *delivery, const struct id *mailbox, bool forget,
                             struct failure *why)
{
    struct sender_route before = {.connection = 0};
    struct store *store = delivery->options.store;
    struct store_mailbox left;
    {
        scoped_lock(&delivery->attach_lock);
        (void)sender_route_of(delivery->sender, mailbox, &before);
        sender_forget(delivery->sender, mailbox);
    }
    leave_connection(delivery, before.connection);
    return forget ? store->acts->mailbox_forget(store, mailbox, why)
                  : store->acts->mailbox_route(store, NULL, mailbox, NULL, 0, &left, why);
}

enum sender_state delivery_state(struct delivery *delivery, const struct id *mailbox)
{
    return sender_state_of(delivery->sender, mailbox);
}

void delivery_connection_closed(void *delivery, uint64_t connection)
{
    sender_connection_closed(((struct delivery *)delivery)->sender, connection);
}
