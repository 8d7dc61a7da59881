/*
 * client: one connection to a server, with many calls in flight, and deadlines.
 *
 * Synchronous calls go through rpcgen's stubs on rpc_client_handle(); for bulk,
 * calls are started and awaited apart:
 *
 *     rpc_client_connect
 *         fsproc_stat_1(&args, &res, rpc_client_handle(c)); ...
 *         clnt_freeres(rpc_client_handle(c), xdr_..., &res);
 *     rpc_client_begin -> rpc_client_begin -> ... -> rpc_client_await ...
 *     rpc_client_close
 *
 * The connection never writes without reading: whoever waits, polls both ways.
 * Results: opaque bytes point into the reply's record, which lives until the
 * results are freed (clnt_freeres, or rpc_pending_free).
 *
 * Reversed calls. With `reversed` set, the process takes CALL messages on this
 * connection: one thread of the client's own reads all the time, and hands each
 * such call to another thread of its own, which serves it with that program's
 * dispatcher (so handlers may call the server). Unknown xids are skipped.
 *
 * Time. Every call has a deadline (the procedure's time limit, or the option);
 * one that passes it gets TIMEOUT, and its late reply is thrown away. When the
 * connection breaks every pending call gets UNREACHABLE, and the client stays
 * broken: whoever owns it connects anew (see rpc/backoff.h).
 *
 * Threads: any number may call at once; a CLIENT handle may be shared, but a
 * result must be freed before the same thread's next stub call. close when
 * nobody calls any more.
 */
#pragma once

#include "base/address.h"
#include "base/outcome.h"
#include "rpc/bulk.h"
#include "rpc/distance.h"
#include "rpc/program.h"

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_client_options {
    uint32_t number, version;           /* of the program that is called */
    const struct rpc_program *program;  /* its table, for time limits; NULL: call_ms for all */
    unsigned connect_ms;                /* 0: 10,000 */
    unsigned call_ms;                   /* for procedures without a limit; 0: 60,000 */
    size_t record_max;                  /* 0: 1,114,112 */
    bool anonymous;                     /* AUTH_NONE; else AUTH_SYS of this process */
    const struct rpc_program *reversed; /* serves calls that the server sends; NULL: takes none */
    uint32_t reversed_number;           /* its program number in use */
    void *context;                      /* reversed procedures find it by rpc_call_context */
    void (*broken)(
        void *context);   /* the connection broke (reversed set only); on the client's thread; or NULL */
    void *broken_context; /* of broken */
    int stop_fd; /* once it is readable connecting fails and the connection breaks; 0: none. Not read, not closed */
    bool later;  /* rpc_client_connect does not wait until a network took the connection: rpc_client_is_made tells */
};

struct rpc_client;
struct rpc_pending;

/* Whether whoever gave that stop_fd wants an end. */
bool rpc_is_stopped(int stop_fd);

/* UNREACHABLE, TIMEOUT, LOCAL, NOMEM. Does not call anything yet. */
must_check enum outcome rpc_client_connect(const struct address *address,
                                           const struct rpc_client_options *options, struct rpc_client **out,
                                           struct failure *why);
void *rpc_client_close(struct rpc_client *client); /* NULL is fine; returns NULL */

/* For rpcgen's stubs. Borrowed. */
CLIENT *rpc_client_handle(struct rpc_client *client);

/* What a stub's answer means, described: RPC_SUCCESS is OK. */
must_check enum outcome rpc_client_outcome(struct rpc_client *client, enum clnt_stat stat,
                                           struct failure *why);

/* Addresses of both ends; false once broken. */
const struct address *rpc_client_peer(const struct rpc_client *client);
bool rpc_client_local(const struct rpc_client *client, struct address *out);
bool rpc_client_is_broken(struct rpc_client *client);

/* ---- calls in flight ---- */

/*
 * Sends a call and returns; blocks only while the send buffer is full (then it
 * reads, too). A small call that is begun while others are in flight may be held,
 * to go out in one write with those that follow: at the latest when this or any
 * other call is awaited. `source` may be NULL (see bulk.h). *out is yours. UNREACHABLE,
 * TIMEOUT, NOMEM, INVALID (the arguments cannot be encoded, or their source failed).
 */
must_check enum outcome rpc_client_begin(struct rpc_client *client, uint32_t procedure, xdrproc_t encode,
                                         const void *arguments, struct bulk_source *source,
                                         struct rpc_pending **out, struct failure *why);

/*
 * Waits for the reply and decodes it into `results` (zeroed by the caller);
 * bytes in them live until rpc_pending_free. Besides TIMEOUT and UNREACHABLE,
 * what message_parse_reply says.
 */
must_check enum outcome rpc_client_await(struct rpc_client *client, struct rpc_pending *pending,
                                         xdrproc_t decode, void *results, struct failure *why);

/* ---- several connections, and one thread that waits for all of them ---- */

enum { RPC_CLIENTS_MAX = 16 };

/* Of a connection that was begun `later`: whether it stands by now. False also when it broke, or was refused. */
bool rpc_client_is_made(struct rpc_client *client);
/* As rpc_client_begin, but what the socket does not take now goes out while this connection is awaited or heard. */
must_check enum outcome rpc_client_post(struct rpc_client *client, uint32_t procedure, xdrproc_t encode,
                                        const void *arguments, struct bulk_source *source,
                                        struct rpc_pending **out, struct failure *why);
/* Whether calls, or the end of one, have not gone out yet. */
bool rpc_client_has_unsent(struct rpc_client *client);
/*
 * Waits until something happens on one of them (a socket moves bytes, or one that was begun later stands), at
 * most for so long, and takes what came. Those that are broken, or have a reader of their own
 * (reversed), are left out.
 */
void rpc_clients_hear(struct rpc_client *const *clients, size_t count, unsigned limit_ms);
/* Whether its reply is there. */
bool rpc_pending_is_answered(struct rpc_client *client, const struct rpc_pending *pending);
/* Whether its time is over. */
bool rpc_pending_is_late(const struct rpc_pending *pending);
/* For so many milliseconds the peer's machine sent neither bytes nor acknowledgements. False: not so, or no network. */
bool rpc_client_is_silent(const struct rpc_client *client, unsigned milliseconds);

/* ---- what is known of them ---- */

/* How long the answer took, in ns, from the beginning of the call to its coming; 0 before it came. */
int64_t rpc_pending_took(const struct rpc_pending *pending);

/* The shortest time in ns that a byte took to the peer and its acknowledgement back; 0: not known, or no network. */
int64_t rpc_client_round_trip(const struct rpc_client *client);

/* What went over the connection until now. False: not known, or no network. */
bool rpc_client_moved(const struct rpc_client *client, struct distance_moved *out);

/* Large replies will come from far away, several at once: there is room for them in the socket. */
void rpc_client_expect_much(const struct rpc_client *client);

/* Frees the reply's bytes; a call not yet answered is forgotten. NULL is fine; returns NULL. */
void *rpc_pending_free(struct rpc_client *client, struct rpc_pending *pending);
