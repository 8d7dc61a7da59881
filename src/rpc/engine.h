/*
 * engine: the server's insides, for the files that make it up, and nobody else:
 *
 *     server.c      life: new, listen, start, stop, free; counters
 *     limits.c      what peers can make us hold
 *     accept.c      listeners: connections come in
 *     connection.c  one peer;  roster.c  all of them
 *     worker.c      the pool: turns, permits;  seats.c  who of it waits for events
 *     supervise.c   the tick: who is idle, silent, or in the way
 *     reversed.c    calls that the server sends
 *     page.c        the way of one request
 *
 * Locks, in the order they are taken: listener.mutex, connection.mutex, then one
 * of roster.mutex, reversed.mutex, permits.mutex; all others (pause, seats, record pool)
 * are taken alone.
 */
#pragma once

#include "rpc/connection.h"
#include "rpc/intake.h"
#include "rpc/page.h"
#include "rpc/pause.h"
#include "rpc/permits.h"
#include "rpc/roster.h"
#include "rpc/seats.h"
#include "rpc/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum { LISTENERS_MAX = 16 };

/* What an epoll event is about: a connection's id is larger than all of these. */
enum { EVENT_WAKE = 1, EVENT_TICK = 2, EVENT_LISTENER = 16 };

struct listener {
    struct address bound;
    dev_t device; /* of a Unix socket, so that only ours is removed */
    ino_t inode;
    _Atomic bool paused;   /* not armed: no descriptor or no room for another connection */
    pthread_mutex_t mutex; /* guards what follows; the roster's and a connection's are taken under it */
    int fd;                /* -1: closed */
};

/* A complete record that is to be served with a permit. Owns the record, its charge and a reference. */
struct job {
    struct permit_job permit;
    struct connection *connection;
    struct record *record;
    size_t charge;
    struct page_request request;
};

struct reversed {
    pthread_mutex_t mutex; /* guards all calls that wait for their reply: this list, and each connection's */
    struct list waiting;
};

struct rpc_server {
    struct rpc_server_options options; /* limits are all filled in */
    struct page page;
    struct roster roster;
    struct intake intake;
    struct permits permits;
    struct pause memory_pause; /* connections that wait for bytes in flight */
    struct pause queue_pause;  /* ... for a place in the queue */
    struct reversed reversed;
    struct seats seats;

    int epoll, wake, timer;
    struct listener listeners[LISTENERS_MAX];
    unsigned listener_count;
    pthread_t *threads;
    unsigned thread_count;

    _Atomic bool stopping;       /* no new call is taken */
    _Atomic bool quitting;       /* workers go home */
    _Atomic unsigned in_service; /* records with a permit, or waiting for one */
    _Atomic unsigned
        ticks; /* released by one tick, acquired by the next: epoll orders them, but not for all eyes */
    _Atomic int64_t now;    /* elapsed, at the last tick: good enough for supervision */
    _Atomic size_t unsent;  /* bytes of replies in all */
    _Atomic bool shut;      /* too many: no permits (a mirror of permits.shut) */
    int64_t shut_since;     /* the tick's alone; 0: it is not */
    int64_t supervised_at;  /* the tick's alone */
    _Atomic bool relieving; /* somebody looks for who is in the way */
    _Atomic int64_t relieved_at;

    _Atomic uint64_t accepted, refused, cut, bytes_in, bytes_out, accept_pauses;
};

/* ---- server.c ---- */

/* A connection is closed: everything that knows it forgets it. */
void server_forget(struct rpc_server *server, struct connection *connection);
/* So many more bytes of replies are unsent, or fewer: past the bound permits are shut. */
void server_owes(struct rpc_server *server, size_t more, size_t less);
/* Opens or shuts as it should be now. */
void server_judge_owed(struct rpc_server *server);
/* One more worker has something to do. */
void server_wake(struct rpc_server *server);

/* ---- limits.c ---- */

/* Fills in what is 0, raises RLIMIT_NOFILE, refuses what makes no sense. */
must_check enum outcome limits_resolve(struct rpc_limits *limits, struct failure *why);

/* ---- accept.c ---- */

must_check enum outcome listener_open(struct listener *listener, const struct address *address,
                                      struct failure *why);
void listener_close(struct listener *listener);
/* It is ready: takes some connections, and arms it again, or pauses it. */
void listener_accept(struct rpc_server *server, struct listener *listener);
/* Arms those that were paused. */
void listeners_resume(struct rpc_server *server);

/* ---- worker.c ---- */

void *worker_run(void *server);
/* record_may_grow of a connection's reader. */
bool intake_hook(void *connection, const uint8_t *bytes, size_t so_far, size_t size);
/* Frees a job that is not served (again). */
void job_free(struct job *job);

/* ---- supervise.c ---- */

/* How often the tick comes, in milliseconds. */
unsigned supervise_period(const struct rpc_limits *limits);
void supervise_tick(struct rpc_server *server);
/* Somebody waits for bytes in flight: cuts who is in the way, if anybody is. */
void supervise_relieve(struct rpc_server *server);

/* ---- reversed.c ---- */

void reversed_init(struct reversed *reversed);
void reversed_fini(struct reversed *reversed);
struct reversed_call;
/* Under the connection's mutex: the call goes out now. */
void reversed_expect(struct reversed_call *call);
/* A REPLY came; takes the record. One that nobody waits for is skipped. */
void reversed_reply(struct connection *connection, struct record *record);
/* The connection is closed: those who wait on it hear so. */
void reversed_abandon(struct connection *connection);
/* Those whose time is over hear so. */
void reversed_expire(struct rpc_server *server);
/* Calls NULL; if it is not answered in time the connection is broken. */
void reversed_probe(struct connection *connection, unsigned answer_ms);
