/*
 * connection: one peer: what it has sent, what it is owed, and who works on it.
 *
 *     connection_new -> connection_watch -> turns ... -> connection_close
 *
 * Turns. The epoll tells of a connection once (EPOLLONESHOT); the worker that
 * gets it has its turn: it alone reads. connection_begin_turn and
 * connection_end_turn bracket it; the end arms the epoll again for what the
 * connection then wants. A connection that is not read wants no EPOLLIN, but a
 * broken one is always told of.
 *
 * Replies come from anywhere: from the turn, from a worker that served a call
 * with a permit, from a thread that sends a reversed call. They are queued, and
 * written by one thread at a time, as far as the socket takes them; the rest
 * goes out on EPOLLOUT. During a turn replies wait for its end, and go out in one
 * write.
 *
 * A call that waited for its permit is not served while too much is unsent (its
 * reply would add to it): it is parked, and asks again when the peer has read.
 *
 * The end. Whoever finds the connection of no more use calls connection_break:
 * the socket is shut down, so the epoll tells of it, and a worker closes it. Only
 * a worker in its turn closes (or the thread that stops the server). The memory
 * goes with the last reference.
 *
 * Locks: `mutex` guards what stands below it. Under it may be taken: the
 * roster's, the reversed calls', the permits'. It is not held while bytes are written, or while
 * anything is served.
 */
#pragma once

#include "base/list.h"
#include "rpc/page.h"
#include "rpc/permits.h"
#include "rpc/principal.h"
#include "rpc/record.h"
#include "rpc/stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rpc_server;
struct job;
struct reversed_call;

struct connection {
    uint64_t id;
    struct rpc_server *server;
    struct origin *origin; /* the roster's */
    struct peer peer;
    struct stream stream;
    _Atomic unsigned references;
    struct permit_line line; /* under the permits' mutex */

    /* Of whoever has the turn. */
    struct record_reader reader;
    bool drained;        /* the last read came back short: nothing more is there for now */
    bool put_off;        /* the reader was told "not now" */
    bool has_room;       /* the socket was asked to hold more, if the peer is far away */
    size_t turn_bytes;   /* read in this turn */
    struct job *stalled; /* complete, but the queue for permits was full */

    /* Written by whoever has the turn or flushes; read by supervision. */
    _Atomic size_t charge;        /* of the record on its way, at the intake */
    _Atomic int64_t record_since; /* when it began; 0: none is on its way */
    _Atomic int64_t active_at;    /* when the last call came */
    _Atomic uint64_t moved;       /* bytes in and out */
    _Atomic size_t owed;          /* bytes unsent, for supervision ... */
    _Atomic int64_t owed_since;   /* ... and since when there are any; 0: there are none */

    /* Of supervision alone: one thread at a time. */
    uint64_t moved_mark;
    int64_t moved_at, probed_at;

    struct list pause_link; /* under the pause's mutex */

    pthread_mutex_t mutex;
    uint32_t armed; /* events that the epoll was last told */
    bool watched;   /* it stands in the epoll */
    bool in_turn, flushing;
    bool more;           /* the reader may hold complete records: have a turn soon */
    _Atomic bool paused; /* not read until something is free; read without the mutex by supervision */
    bool ended;          /* the peer sends nothing more */
    bool broken;         /* of no more use; to be closed */
    bool closed;
    struct record *unsent_first, *unsent_last;
    size_t unsent_bytes, unsent_records;
    size_t sent_of_first;
    size_t in_service_bytes,
        in_service_records; /* taken from the reader, not yet answered, not in the turn */
    struct list parked;     /* jobs, by their permit's link */
    bool attached;          /* takes CALL messages of this program */
    uint32_t attached_program, attached_version;

    /* Under the reversed calls' mutex. */
    struct list reversed;
    uint32_t next_xid;
};

/* Takes the socket (closes it when there is no memory: NULL). One reference, the caller's. */
struct connection *connection_new(struct rpc_server *server, int fd, const struct address *peer);
struct connection *connection_ref(struct connection *connection);
void connection_unref(struct connection *connection);

/* Puts it into the epoll. False: it could not be, and is of no use. */
bool connection_watch(struct connection *connection);

/* False: somebody has the turn, or it is closed. */
bool connection_begin_turn(struct connection *connection);
/* Whether another record may be taken: replies and calls in service are within their limits. */
bool connection_may_read(struct connection *connection);
/* Writes what is owed, arms the epoll again or closes. */
void connection_end_turn(struct connection *connection);
/* In the turn: writes what is owed, as far as it goes. */
void connection_flush(struct connection *connection);

/* True: its reply would be too much now. The job is the connection's, and asks for a permit again later. */
bool connection_park(struct connection *connection, struct job *job);

/* A record leaves the turn, to be served later; and its end, with the reply or NULL. */
void connection_serve_later(struct connection *connection, size_t bytes);
void connection_served(struct connection *connection, size_t bytes, struct record *reply);
/* Queues a reply or a call; takes it. */
void connection_send(struct connection *connection, struct record *record);
/* Under the mutex: another call of ours may be queued. */
bool connection_takes_call(const struct connection *connection);

/* A call of ours, whose reply `call` waits for. False if the connection is gone; the record is taken in any case. */
bool connection_send_call(struct connection *connection, struct record *record, struct reversed_call *call);

/* See above. Any thread. */
void connection_break(struct connection *connection);
/* In the turn: after it the connection is not read, until it is resumed (by rpc/pause.h). Any thread resumes. */
void connection_pause(struct connection *connection);
void connection_resume(struct connection *connection);
/* In the turn: the reader may hold more than was taken; the peer sends nothing more. */
void connection_has_more(struct connection *connection);
void connection_has_ended(struct connection *connection);
/* The server stops: what it wants has changed. */
void connection_rearm(struct connection *connection);
/* The server stops, all its threads are gone: closes it. */
void connection_close(struct connection *connection);
bool connection_is_broken(struct connection *connection);
/* Nothing is owed and nothing is being served. */
bool connection_is_quiet(struct connection *connection);
/* What was sent is not even acknowledged, for so many milliseconds (rpc/distance.h). */
bool connection_is_cut(struct connection *connection, unsigned milliseconds);
