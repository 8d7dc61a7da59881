/*
 * server: an RPC program served on TCP and Unix sockets by a fixed pool of
 * workers, none of which ever waits for a peer.
 *
 *     rpc_server_new -> rpc_server_listen ... -> rpc_server_start
 *         -> rpc_server_stop -> rpc_server_free
 *
 * One epoll; a worker takes a ready connection, reads what is there, and serves
 * the records that are complete; replies are written as far as the socket takes
 * them. Every limit stands in struct rpc_limits. See docs/ARCHITECTURE.md and
 * rpc/page.h, the way of one request.
 *
 * Threads. new, listen, start, stop, free: one thread. All else: any thread,
 * between start and the end of stop. The callbacks run on workers, must not
 * block and must not call stop or free.
 */
#pragma once

#include "base/address.h"
#include "base/clock.h"
#include "base/outcome.h"
#include "rpc/call.h"
#include "rpc/program.h"

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bounds of what peers can make the engine hold or do. rpc_limits_default fills all. */
struct rpc_limits {
    unsigned workers;     /* threads */
    unsigned permits;     /* of them, how many may wait for the store at once (workers - 2) */
    unsigned connections; /* 0: what RLIMIT_NOFILE (raised to hard) leaves, less spare_files */
    unsigned
        spare_files; /* descriptors left for files, rpcbind, calls back: 256, and what the owner knows of */
    unsigned connections_per_address; /* 0: a quarter of it; per /64 of IPv6, per uid on Unix sockets */
    size_t record_max;                /* bytes */
    size_t record_anonymous_max;      /* the same, before the caller is identified */
    size_t in_flight_bytes;           /* of all records being received or served; as much of replies unsent */
    size_t in_flight_reserve_bytes;   /* more, for records up to record_anonymous_max only */
    unsigned turn_records;            /* served in one turn of a connection */
    size_t turn_bytes;
    unsigned unsent_records; /* beyond it the connection is not read */
    size_t unsent_bytes;
    unsigned waiting_records; /* complete records in the FIFO for permits, in all */
    unsigned idle_ms;         /* a connection without a call; attached ones are exempt */
    unsigned progress_bytes;  /* a peer in mid-record or with replies unsent must move so much ... */
    unsigned progress_ms;     /* ... in so long, or is cut */
    unsigned probe_ms;        /* an attached connection is called with NULL so often */
};

struct rpc_limits rpc_limits_default(void);

struct rpc_server_options {
    const struct rpc_program *program;
    uint32_t number; /* the program number in use; 0: the program's own */
    struct rpc_limits limits;
    const struct clock *clock; /* must outlive the server */
    const char *name;          /* of its threads, up to 8 bytes: "rpc" */
    bool trust_anonymous;      /* callback program: no procedure wants a credential */
    /* May this peer call at all? NULL: yes. Called at accept, with the peer's address. */
    bool (*admits)(void *context, const struct address *peer);
    /* A connection that was attached (rpc_server_attach) is gone. NULL: nobody wants to know. */
    void (*closed)(void *context, uint64_t connection);
    void *context; /* of both; procedures find it by rpc_call_context */
};

struct rpc_server;

must_check enum outcome rpc_server_new(const struct rpc_server_options *options, struct rpc_server **out,
                                       struct failure *why);

/*
 * Binds and listens. Port 0: any; *bound (may be NULL) is the address in use. A
 * Unix socket gets mode 0666; a dead one of the same path is replaced, a living
 * one is HELD. LOCAL otherwise. IPv6 sockets are IPV6_V6ONLY.
 */
must_check enum outcome rpc_server_listen(struct rpc_server *server, const struct address *address,
                                          struct address *bound, struct failure *why);

/*
 * Another program number than the options', before the start: one that rpcbind
 * keeps the book of can be had only for an address that is bound.
 */
void rpc_server_set_number(struct rpc_server *server, uint32_t number);

must_check enum outcome rpc_server_start(struct rpc_server *server, struct failure *why);

/*
 * Takes no new connection and no new call, lets running calls finish and their
 * replies go out, for at most `limit_ms`, then cuts what is left. Removes its
 * Unix sockets. Returns the number of calls that were cut.
 */
unsigned rpc_server_stop(struct rpc_server *server, unsigned limit_ms);

void *rpc_server_free(struct rpc_server *server); /* stopped, or never started; NULL is fine; returns NULL */

/* ---- reversed calls: the server calls on a connection that a client made ---- */

/*
 * Marks the connection as one that takes CALL messages: it is exempt from the
 * idle limit, is probed with NULL, and `closed` is told of its end. ABSENT if it
 * is gone already. detach undoes it; no harm if it is gone.
 */
must_check enum outcome rpc_server_attach(struct rpc_server *server, uint64_t connection, uint32_t program,
                                          uint32_t version, struct failure *why);
void rpc_server_detach(struct rpc_server *server, uint64_t connection);
/*
 * Calls NULL on it now. If that is not answered in time the connection is broken, and `closed` told; while another
 * call is out on it only if the peer's machine has not acknowledged what was sent either.
 */
void rpc_server_probe(struct rpc_server *server, uint64_t connection, unsigned answer_ms);

/*
 * What becomes of a reversed call: OK with `reply` standing at the results; or
 * TIMEOUT, UNREACHABLE (the connection went), DENIED (an authentication error),
 * PROTOCOL. Called exactly once for each call that rpc_server_call took, on a
 * worker; `reply` is gone when it returns.
 */
typedef void rpc_reply_handler(void *context, enum outcome outcome, XDR *reply);

/*
 * Sends a CALL. Never blocks: the record is queued. ABSENT if the connection is
 * gone or not attached; LIMIT if too much is unsent on it. In both cases, and
 * NOMEM, `handler` is not called.
 */
must_check enum outcome rpc_server_call(struct rpc_server *server, uint64_t connection, uint32_t procedure,
                                        xdrproc_t encode, void *arguments, unsigned deadline_ms,
                                        rpc_reply_handler *handler, void *context, struct failure *why);

/* ---- what it did ---- */

struct rpc_server_counters {
    uint64_t connections, connections_open, connections_refused, connections_cut;
    uint64_t calls, calls_refused, calls_late; /* refused: version, credential, arguments */
    uint64_t bytes_in, bytes_out;
    uint64_t in_flight_bytes, waiting_records;
    uint64_t unsent_bytes; /* of replies that peers have not read yet */
    uint64_t accept_pauses;
};

void rpc_server_count(struct rpc_server *server, struct rpc_server_counters *out);
/* Calls of one procedure so far; 0 for a number the program does not have. */
uint64_t rpc_server_calls(struct rpc_server *server, uint32_t procedure);
/* The longest record that an identified caller may send. */
size_t rpc_server_record_max(const struct rpc_server *server);
