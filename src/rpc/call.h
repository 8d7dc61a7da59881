/*
 * call: what a procedure may ask about the call it serves.
 *
 * rpcgen hands a procedure its struct svc_req; rpc_call_of finds the call behind
 * it. A call lives from the complete record to the encoded reply; everything
 * here lives as long, no longer. One thread at a time has it.
 *
 * Arguments: opaque bytes point into the record (rpc/bulk.h). Results: the whole
 * result is set by the procedure, also when it declines; what it points to comes
 * from rpc_call_alloc, so that nothing needs freeing (the engine's freeresult
 * does nothing). A procedure may answer with svcerr_auth() and the like itself
 * and return FALSE.
 */
#pragma once

#include "base/address.h"
#include "base/id.h"
#include "rpc/bulk.h"
#include "rpc/program.h"

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RPC_PRINCIPAL_SIZE = 128 };

/* Who calls. "" when nobody was identified (AUTH_NONE). */
struct rpc_principal {
    char text[RPC_PRINCIPAL_SIZE]; /* "unix:1000", "sys:1000@10.0.0.7" */
    bool superior;                 /* root, or the server's own uid, as the kernel vouches */
};

struct rpc_call;

struct rpc_call *rpc_call_of(struct svc_req *request);

const struct rpc_procedure *rpc_call_procedure(const struct rpc_call *call);
const struct rpc_principal *rpc_call_principal(const struct rpc_call *call);

/*
 * What the program's server was given as context (rpc_server_options), or, for a
 * reversed call, the client's (rpc_client_options): where procedures find what
 * they serve.
 */
void *rpc_call_context(const struct rpc_call *call);

/* Zeroed, aligned for anything, freed with the call. NULL when there is no memory. */
void *rpc_call_alloc(struct rpc_call *call, size_t size);

/* The content of this reply comes from `source` and those linked to it (see bulk.h), which must live as long as the call. */
void rpc_call_reply_from(struct rpc_call *call, struct bulk_source *source);

/* `release(thing)` is called once, when the call ends. False when there is no memory (and it was not kept). */
bool rpc_call_at_end(struct rpc_call *call, void (*release)(void *thing), void *thing);

/* The connection it came on: a number never used twice by this server, not 0; of a reversed call 0. Its addresses. */
uint64_t rpc_call_connection(const struct rpc_call *call);
const struct address *rpc_call_peer(const struct rpc_call *call);  /* the caller's */
const struct address *rpc_call_local(const struct rpc_call *call); /* ours, that the caller reached */
