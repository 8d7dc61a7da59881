/*
 * small_program: a program of a few procedures, with a dispatcher by hand, to try
 * the engine with.
 */
#pragma once

#include "rpc/program.h"
#include "rpc/server.h"

#include <stdatomic.h>

enum {
    SMALL_PROGRAM = 0x20000099,
    SMALL_NULL = 0,
    SMALL_ECHO = 1,  /* opaque<1 MiB> -> the same */
    SMALL_GIVE = 2,  /* count -> opaque of so many bytes (the same byte) */
    SMALL_SLEEP = 3, /* milliseconds -> nothing; may wait */
    SMALL_WHO = 4,   /* -> the principal's text; `superior` */
    SMALL_ORDER = 5, /* ms to sleep (0: a moment) -> how many were served before; may wait, ordered */
    SMALL_HELLO = 6, /* anonymous; -> the connection's number as a hyper */
    SMALL_FETCH = 7, /* as GIVE; may wait */
    SMALL_COUNT
};

extern const struct rpc_program small_program;

struct small_server {
    struct rpc_server *server;
    struct address tcp;
    struct rpc_server_options options;
    _Atomic unsigned served; /* ORDER calls; the context of the calls */
};

/* Listens on 127.0.0.1, any port. `change` may alter the limits; NULL: as they are. */
void small_server_start(struct small_server *small, void (*change)(struct rpc_limits *limits));
void small_server_stop(struct small_server *small);
/* The counters now. */
struct rpc_server_counters small_server_count(struct small_server *small);
