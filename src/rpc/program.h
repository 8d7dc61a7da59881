/*
 * program: what an RPC program is to the engine: its numbers, its dispatcher as
 * rpcgen made it, and a table with one row a procedure.
 *
 * The table is indexed by procedure number, without gaps. Whoever serves a
 * program defines one constant of this type; it is never changed.
 */
#pragma once

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_procedure {
    const char *label;      /* in lower case, for logs and counters: "upload_open" */
    bool writes;            /* changes what is kept */
    bool may_wait;          /* may wait for the store: wants a permit */
    bool ordered;           /* (of those:) calls of one connection are served one by one, as they came */
    bool repeatable;        /* a client may send it again after a lost reply */
    bool anonymous;         /* AUTH_NONE is enough */
    unsigned time_limit_ms; /* a client waits so long for its reply; the server counts calls that took longer */
};

struct rpc_program {
    uint32_t number;
    uint32_t version;
    const struct rpc_procedure *procedures;
    size_t count;
    void (*dispatch)(struct svc_req *request, SVCXPRT *transport);
};
