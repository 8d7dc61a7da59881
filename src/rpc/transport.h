/*
 * transport: one call in flight, in the shape that rpcgen's dispatchers know: an
 * SVCXPRT of our own, over a whole record in memory.
 *
 *     transport_init -> dispatch(call->request, &call->transport), or svcerr_*
 *         -> transport_take_reply -> transport_fini
 *
 * Decoding takes the arguments from the record; what was decoded before a member
 * failed is freed. Replying encodes into a record of its own, once: whatever is
 * said after that is ignored. Freeing arguments never fails (rpcgen's dispatcher
 * would end the process).
 *
 * One thread has a call. rpc/call.h is what procedures see of it.
 */
#pragma once

#include "base/address.h"
#include "rpc/call.h"
#include "rpc/message.h"
#include "rpc/record.h"

#include <rpc/rpc.h>
#include <rpc/svc_mt.h>
#include <stddef.h>
#include <stdint.h>

struct arena;
struct at_end;

struct rpc_call {
    SVCXPRT transport;     /* xp_p1 leads back here */
    SVCXPRT_EXT extension; /* xp_p3 */
    struct svc_req request;
    char verifier[MAX_AUTH_BYTES]; /* room for xp_verf's body */

    const struct record *record; /* the call, as it came */
    const struct message_call *header;
    const struct rpc_procedure *procedure; /* NULL: not in the table */
    struct rpc_principal principal;
    uint64_t connection;
    const struct address *peer, *local;
    void *context; /* of whoever serves the program on this connection */

    size_t reply_max;          /* bytes of a reply, mark included */
    struct record *reply;      /* once it was given */
    enum accept_stat answered; /* with `reply`: SUCCESS, or what else it says */
    bool starved; /* there was no memory for its arguments */
    bool denied;
    struct bulk_source *source;
    struct arena *arena;
    struct at_end *at_end;
};

/* `record`, `header` outlive the call. The caller fills in who calls. */
void transport_init(struct rpc_call *call, const struct record *record, const struct message_call *header,
                    size_t reply_max);
/* The reply, or NULL if none was given; yours. */
struct record *transport_take_reply(struct rpc_call *call);
/* Runs what rpc_call_at_end was given, and frees the arena. */
void transport_fini(struct rpc_call *call);

/* The call behind a transport. */
struct rpc_call *transport_call(const SVCXPRT *transport);

/* For transport_fini: in rpc/call.c. */
void call_release(struct rpc_call *call);
