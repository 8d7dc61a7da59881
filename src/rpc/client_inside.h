/*
 * client_inside: what the files of the client share; nobody else includes it.
 *
 *   client.c           its life; calls in flight
 *   client_io.c        who reads and writes, and when
 *   client_handle.c    the CLIENT that rpcgen's stubs call
 *   client_several.c   one thread that waits for several connections
 *   client_reversed.c  calls that the server sends
 *
 * Reading and writing. One mutex guards the state; no system call that moves
 * bytes is made under it. Two flags say who does so without it: `led`, one thread
 * that polls and reads (any thread that waits for something takes the lead, or
 * the reader thread has it for good), and `writing`, one thread that sends what
 * is queued. Whoever appends a record to the queue sends it, if nobody is
 * writing; what the socket does not take, the leader sends when it polls
 * writable. All others sleep, each on a condition of its own.
 *
 * A wait is for a flag to become true, set under the mutex by client_set.
 */
#pragma once

#include "base/list.h"
#include "rpc/client.h"
#include "rpc/message.h"
#include "rpc/record.h"
#include "rpc/stream.h"

#include <pthread.h>
#include <stdint.h>

enum {
    CLIENT_CONNECT_MS = 10000,
    CLIENT_CALL_MS = 60000,
    CLIENT_RECORD_MAX = 1114112,
    CLIENT_REVERSED_MAX = 256, /* calls of the server's that wait to be served */
    CLIENT_HELD_SIZE = 4096,   /* a call up to this may be held, to go out with others */
    CLIENT_HELD_MAX = 16       /* so many of them */
};

/* A record on its way out. Belongs to the queue. */
struct client_outgoing {
    struct list link;
    struct record *record;
    size_t written;
    bool busy;  /* the writing thread holds it just now */
    bool *sent; /* to be set when it is out; NULL: nobody asks any more */
};

/* A thread that sleeps until *flag. */
struct client_waiter {
    struct list link;
    const bool *flag;
    pthread_cond_t wake;
};

struct rpc_pending {
    struct list link; /* in client->pendings, until answered or given up */
    uint32_t xid, procedure;
    unsigned limit_ms;
    int64_t deadline;
    int64_t begun, took; /* ns */
    bool answered; /* `reply` is there */
    bool sent;
    struct record *reply;
    struct client_outgoing *outgoing; /* valid while !sent */
    uint32_t low, high;               /* what a refusal told, see message_parse_reply */
};

/* What a thread's last stub call left: its reply's bytes, its failure. */
struct client_caller {
    struct list link;
    pthread_t thread;
    struct record *reply; /* the results point into it */
    enum clnt_stat stat;
    uint32_t low, high; /* as in rpc_pending */
    struct failure why;
};

struct client_reversed; /* client_reversed.c */

struct rpc_client {
    /* set at the start */
    struct rpc_client_options options;
    struct address peer, local;
    char peer_text[ADDRESS_TEXT_SIZE];
    int fd;
    int wake_fd;          /* an eventfd that the leader polls */
    struct stream stream; /* read by the leader, written by whoever is `writing` */
    AUTH *auth;           /* NULL: AUTH_NONE */
    CLIENT handle;
    struct client_reversed *reversed; /* NULL: takes no calls */

    pthread_mutex_t mutex; /* guards what follows */
    uint32_t next_xid;
    unsigned call_ms;
    bool broken, closing;
    bool connecting; /* it was begun later, and is not known to stand */
    struct failure broken_why;
    bool led, writing;
    unsigned held; /* calls in `outgoing` that wait for company */
    struct list pendings;
    struct list outgoing;
    struct list waiters;
    struct list callers;

    /* of the leader alone */
    struct record_reader reader;
};

/* Nanoseconds of CLOCK_MONOTONIC, which conditions and poll know. */
int64_t client_now(void);

/* ---- client_io.c; the mutex is held where it says so ---- */

/*
 * Held. Queues the record, which it takes; client_flush then sends it. *sent (may
 * be NULL) is set once it is out, and the outgoing is gone with that. NULL when
 * there is no memory.
 */
struct client_outgoing *client_enqueue(struct rpc_client *client, struct record *record, bool *sent);
/* Held, let go while bytes move. Sends what is queued, as far as the socket takes it. */
void client_flush(struct rpc_client *client);
/* Held. Nobody asks for this record any more; it is dropped if none of it went out. */
void client_forget(struct client_outgoing *outgoing);
/* Held. Until *flag, or TIMEOUT (not described), or UNREACHABLE; leads if nobody does. */
must_check enum outcome client_wait(struct rpc_client *client, const bool *flag, int64_t deadline,
                                    struct failure *why);
/* Held. Sets the flag and wakes who waits for it. */
void client_set(struct rpc_client *client, bool *flag);
/* Held. The connection is of no more use: all that wait hear so. Only the first reason counts. */
void client_break(struct rpc_client *client, const struct failure *why);
/* Moves what can be moved at once, unless another thread leads. */
void client_turn(struct rpc_client *client);
/* The reader thread's loop: leads until the connection is broken. `led` was set for it. */
void client_lead_on(struct rpc_client *client);
/* Frees what is queued; no thread is there any more. */
void client_drop_outgoing(struct rpc_client *client);

/* ---- client.c ---- */

/* Sends a call with this credential; blocks until it is out if `until_sent`. */
must_check enum outcome client_start(struct rpc_client *client, uint32_t procedure, AUTH *auth,
                                     xdrproc_t encode, const void *arguments, struct bulk_source *source,
                                     bool until_sent, struct rpc_pending **out, struct failure *why);
/* Held. A reply came. Takes the record. */
void client_take_reply(struct rpc_client *client, uint32_t xid, struct record *record);

/* ---- client_handle.c ---- */

void client_handle_init(struct rpc_client *client);
void client_handle_fini(struct rpc_client *client);

/* ---- client_reversed.c ---- */

/* Starts the reader and the serving thread. */
must_check enum outcome client_reversed_start(struct rpc_client *client, struct failure *why);
/* Broken already. Joins both threads. */
void client_reversed_stop(struct rpc_client *client);
/* By the leader, mutex not held. Queues a call to be served; takes the record. LIMIT if too many wait. */
must_check enum outcome client_reversed_take(struct client_reversed *reversed, struct record *record,
                                             struct failure *why);
