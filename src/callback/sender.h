/*
 * sender: hands events to clients, by the route that works, and never waits for
 * one of them.
 *
 *     sender_new -> sender_start -> sender_prove / sender_deliver ...
 *         -> sender_stop -> sender_free
 *
 * One thread with its own epoll: non-blocking connects and rpcbind look-ups,
 * every delivery in flight with a deadline, proved connections kept open (a
 * bounded number, the longest unused closed first). Over a way that is open, a
 * batch is written by whoever delivers it. No number of hung peers delays another.
 *
 * Routes, in this order (proto/fileshare.x, fs_callback):
 *   1. dial-back: connect to the client's address from the local address that
 *      the client had reached; HELLO must answer the proof; then NOTIFY with the
 *      ticket. A route that was proved stays so until it fails.
 *   2. reversed: NOTIFY on the client's own connection (rpc_server_call). Refused, or not answered in
 *      time, it is tried again with the next delivery, but counts as none until one is answered.
 *   3. none: the client asks.
 * A delivery while the proof is still out waits a moment for it, then takes the
 * reversed route if there is one.
 *
 * Threads: all functions from any thread; `done` and `changed` run on the
 * sender's thread, must not block, and may call sender_deliver.
 */
#pragma once

#include "base/address.h"
#include "base/clock.h"
#include "base/id.h"
#include "base/outcome.h"
#include "callback/event.h"
#include "rpc/server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sender_state { SENDER_NONE, SENDER_PROVING, SENDER_DIALBACK, SENDER_REVERSED };

/* Where a mailbox can be reached. A plain value. */
struct sender_route {
    uint32_t program;     /* 0: no dial-back */
    bool ask_rpcbind;     /* the port is what the client's rpcbind tells */
    struct address peer;  /* to dial: the caller's address, with the port handed over */
    struct address local; /* to dial from (port 0) */
    struct id proof, ticket;
    uint64_t connection; /* for reversed calls, attached to the server; 0: none */
};

/* Bounds of what clients can make the sender hold or do. sender_limits_default fills all. */
struct sender_limits {
    unsigned mailboxes;        /* routes remembered; the longest unused that leads nowhere makes room */
    unsigned deliveries;       /* in flight at once */
    size_t delivery_bytes;     /* of all batches in flight */
    unsigned connections;      /* dialled ones, idle or busy; the longest idle makes room */
    unsigned connect_ms;       /* for a question to rpcbind, a connect, a HELLO: each */
    unsigned call_ms;          /* until a NOTIFY is answered; people may be slow to read */
    unsigned prove_wait_ms;    /* how long a delivery waits for the proof before it takes the next route */
    unsigned reprove_first_ms; /* back-off of proofs after a failure */
    unsigned reprove_last_ms;
    uint16_t outgoing_port; /* source port of dialled connections; 0: any */
    uint16_t rpcbind_port;  /* where a client's rpcbind is asked: 111 */
};
struct sender_limits sender_limits_default(void);

struct sender_result {
    struct id mailbox;
    uint64_t token;
    enum outcome outcome;    /* OK; TIMEOUT, UNREACHABLE, DENIED (a wrong ticket), PROTOCOL, LIMIT, STOPPED */
    uint64_t acknowledged;   /* with OK */
    enum sender_state route; /* the last by which NOTIFY was sent, whatever became of it, or NONE */
};

struct sender_options {
    struct rpc_server *server; /* for reversed calls; must outlive the sender */
    const struct clock *clock;
    struct id instance; /* of the store */
    struct sender_limits limits;
    void (*done)(void *context, const struct sender_result *result);
    void *context;
};

struct sender;

must_check enum outcome sender_new(const struct sender_options *options, struct sender **out,
                                   struct failure *why);
must_check enum outcome sender_start(struct sender *sender, struct failure *why);
void sender_stop(struct sender *sender);  /* every delivery in flight is done with STOPPED */
void *sender_free(struct sender *sender); /* NULL is fine; returns NULL */

/*
 * Sets the route of a mailbox, and begins to prove it. Replaces an earlier one:
 * a batch in flight begins anew on the new route, unless it is under way on one
 * that stays. NOMEM, LIMIT, STOPPED.
 */
must_check enum outcome sender_prove(struct sender *sender, const struct id *mailbox,
                                     const struct sender_route *route, struct failure *why);
/* Forgets the route; deliveries in flight end with UNREACHABLE. */
void sender_forget(struct sender *sender, const struct id *mailbox);
/* The connection is gone: reversed routes by it are no more; dial-back stays. */
void sender_connection_closed(struct sender *sender, uint64_t connection);
/* The route in use, or NONE. */
enum sender_state sender_state_of(struct sender *sender, const struct id *mailbox);
/* Whether a route is remembered, and what it is now (its connection 0 if that closed); *out may be NULL. */
bool sender_route_of(struct sender *sender, const struct id *mailbox, struct sender_route *out);
/* Whether a process is known to be at its end: a reversed connection, or a proved one that is open now. */
bool sender_is_living(struct sender *sender, const struct id *mailbox);
/*
 * Somebody else wants the mailbox: an idle connection to its process is asked for the proof again, and no
 * longer counts as living if that is not given in time (connect_ms). Where a batch is out its machine is asked, for
 * as long. Its reversed connection is the server's to ask (rpc_server_probe).
 */
void sender_doubt(struct sender *sender, const struct id *mailbox);
/* Whether any mailbox has its reversed route by this connection. */
bool sender_uses(struct sender *sender, uint64_t connection);

/*
 * Takes a batch of one mailbox (copied; at most FS_EVENTS_MAX events, in the
 * order of their numbers); `done` is called exactly once for it if the answer is
 * OK. ABSENT (no route is remembered), HELD (a batch of this mailbox is in
 * flight), LIMIT, INVALID, NOMEM, STOPPED.
 */
must_check enum outcome sender_deliver(struct sender *sender, const struct id *mailbox, uint64_t token,
                                       const struct event *events, size_t count, struct failure *why);
