/*
 * delivery: from what the store holds for mailboxes to the sender, and back.
 *
 *     delivery_new -> delivery_start -> (attach, detach, ...) -> delivery_stop
 *         -> delivery_free
 *
 * One thread of its own takes due mailboxes from the store (pending_claim) as
 * its event_fd or the time tells, and gives them to the sender; another
 * reports what became of them (pending_done, pending_retry with back-off). A
 * mailbox's route is kept in the store too, so that it is dialled again after a
 * restart.
 *
 * Threads: attach, detach, state, closed from any thread.
 */
#pragma once

#include "base/clock.h"
#include "callback/event.h"
#include "callback/sender.h"
#include "rpc/call.h"
#include "server/store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct delivery_options {
    struct store *store;
    struct rpc_server *server;
    const struct clock *clock;
    struct sender_limits limits;
    uint32_t retry_first_ms, retry_last_ms; /* back-off of a mailbox that can't be reached */
};

struct delivery;

must_check enum outcome delivery_new(const struct delivery_options *options, struct delivery **out,
                                     struct failure *why);
must_check enum outcome delivery_start(struct delivery *delivery, struct failure *why);
void delivery_stop(struct delivery *delivery);
void *delivery_free(struct delivery *delivery); /* NULL is fine; returns NULL */

/* What a client hands over, already out of its wire form. */
struct delivery_callback {
    uint32_t program; /* 0: none */
    bool has_port;    /* else the client's rpcbind is asked */
    uint16_t port;
    struct id proof, ticket;
    bool reversed;
};

/*
 * Gives a mailbox its way back; *state is the route in use now, *out what waits.
 * INVALID (program or port out of range); ABSENT (the call's connection is gone);
 * HELD if another process has it: one with another ticket, whose connection or
 * callback program lives. The same ticket, or the same connection, takes it over.
 * Reversed calls go to callback->program, or, if that is 0, to the number that
 * FILESHARE_CALLBACK_PROG has in the .x. A mailbox that is new is the caller's
 * (LIMIT). Besides, what the store says.
 */
must_check enum outcome delivery_attach(struct delivery *delivery, const struct rpc_call *call,
                                        const struct store_caller *caller, const struct id *mailbox,
                                        const struct delivery_callback *callback, enum sender_state *state,
                                        struct store_mailbox *out, struct failure *why);
must_check enum outcome delivery_detach(struct delivery *delivery, const struct id *mailbox, bool forget,
                                        struct failure *why);
enum sender_state delivery_state(struct delivery *delivery, const struct id *mailbox);

/* rpc_server_options.closed. */
void delivery_connection_closed(void *delivery, uint64_t connection);

/* The store's event as the callback side's. */
void delivery_event(const struct store_event *from, struct event *out);

struct delivery_counters {
    uint64_t batches, events, retries; /* acknowledged batches and events; tries in vain */
    uint64_t dialback, reversed;       /* batches that were sent so, acknowledged or not */
};
void delivery_count(struct delivery *delivery, struct delivery_counters *out);
