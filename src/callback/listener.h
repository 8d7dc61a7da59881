/*
 * listener: the callback program of a client process.
 *
 *     listener_new -> listener_add ... -> (events come) -> listener_remove
 *         -> listener_free
 *
 * It listens on one address (the one by which the server is reached, or
 * loopback), on any free port, takes a free program number of the transient
 * range, and registers it with this machine's rpcbind when there is one. The
 * server calls HELLO (answers the proof) and NOTIFY. The same program serves
 * reversed calls: give listener_program() and the listener as `reversed` and
 * `context` to rpc_client_connect.
 *
 * Each mailbox that wants events is added with its ticket. A NOTIFY with a
 * ticket nobody added is AUTH_BADCRED. Events reach the handler in the order of
 * their numbers, one batch of one mailbox at a time; those it has had before
 * (number at or below the last acknowledged) are acknowledged and left out.
 *
 * Threads: all functions from any thread. The handler runs on a thread of the
 * listener's (or the client's, for reversed calls); it may call the server; it
 * must not call listener_remove or listener_free.
 */
#pragma once

#include "base/address.h"
#include "base/id.h"
#include "base/outcome.h"
#include "callback/event.h"
#include "rpc/program.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Shows and records events; returns the number of the last one that was both.
 * The server sends the others again. `reversed`: they came on the client's own
 * connection, not by dial-back.
 */
typedef uint64_t listener_handler(void *context, const struct event *events, size_t count, bool reversed);

struct listener;

struct listener_options {
    struct address local; /* where to listen; its port is not looked at; loopback if it is a Unix socket */
    bool without_rpcbind;
    int stop_fd; /* once it is readable listener_new waits for rpcbind no longer; 0: none */
};

must_check enum outcome listener_new(const struct listener_options *options, struct listener **out,
                                     struct failure *why);
void *listener_free(struct listener *listener); /* withdraws the registration; NULL is fine; returns NULL */

uint32_t listener_number(const struct listener *listener); /* program number in use */
const struct rpc_program *listener_program(void);
const struct address *listener_address(const struct listener *listener);
const struct id *listener_proof(const struct listener *listener);
bool listener_is_registered(const struct listener *listener); /* with rpcbind */

/* `since`: events up to that number are known already. HELD if the ticket is there; NOMEM, LIMIT. */
must_check enum outcome listener_add(struct listener *listener, const struct id *ticket, uint64_t since,
                                     listener_handler *handler, void *context, struct failure *why);
/* Waits for a handler that is running. No harm if it is not there. */
void listener_remove(struct listener *listener, const struct id *ticket);
