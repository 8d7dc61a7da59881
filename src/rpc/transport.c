#include "rpc/transport.h"

#include <errno.h>
#include <string.h>

enum { REPLY_SMALL = 512 }; /* most replies fit */

struct rpc_call *transport_call(const SVCXPRT *transport)
{
    return transport->xp_p1;
}

/* The record was received before the call was made. */
static bool_t receive(SVCXPRT *transport, struct rpc_msg *message)
{
    (void)transport;
    (void)message;
    return FALSE;
}

static enum xprt_stat status(SVCXPRT *transport)
{
    (void)transport;
    return XPRT_IDLE;
}

static bool_t get_arguments(SVCXPRT *transport, xdrproc_t decode, void *arguments)
{
    struct rpc_call *call = transport_call(transport);
    size_t at = call->header->arguments_at;
    XDR xdrs;

    xdrmem_create(&xdrs, (char *)call->record->bytes + at, (u_int)(call->record->size - at), XDR_DECODE);
    bulk_attach(&xdrs, NULL);
    errno = 0;
    if (decode(&xdrs, arguments))
        return TRUE;
    call->starved = errno == ENOMEM;
    /* Members before the one that failed are there, and the dispatcher forgets them. */
    xdr_free(decode, arguments);
    return FALSE;
}

static bool_t free_arguments(SVCXPRT *transport, xdrproc_t decode, void *arguments)
{
    (void)transport;
    xdr_free(decode, arguments);
    return TRUE;
}

/*
 * Room for what the sources fill in, and for as much beside it as most replies have. Too large a buffer is as bad as
 * too small a one: what fills less than half of it is copied once more.
 */
static size_t wanted_room(const struct rpc_call *call)
{
    enum { BESIDE = 4096, BESIDE_EACH = 256 };
    size_t room = BESIDE;

    for (const struct bulk_source *source = call->source; source; source = source->next) {
        if (source->count == 0 || source->count > call->reply_max)
            return call->reply_max;
        room += source->count + BESIDE_EACH;
    }
    return room < call->reply_max ? room : call->reply_max;
}

/* *spoilt: what an earlier try left, which sources may have filled; what this one leaves if it fails. */
static struct record *encode(const struct rpc_call *call, struct rpc_msg *message, size_t capacity,
                             struct record **spoilt)
{
    struct record *record = record_new(capacity);
    XDR xdrs;

    if (!record)
        return NULL;
    if (message_begin_reply(record, &xdrs, message, NULL) != OUTCOME_OK)
        return record_free(record);
    if (message->rm_reply.rp_stat == MSG_ACCEPTED && message->acpted_rply.ar_stat == SUCCESS) {
        bulk_attach(&xdrs, call->source);
        if (!message->acpted_rply.ar_results.proc(&xdrs, message->acpted_rply.ar_results.where)) {
            record_free(*spoilt);
            *spoilt = record;
            return NULL;
        }
    }
    message_end(record, &xdrs);
    return record;
}

/* A source that failed is taken out of the reply, if it has a way to do without: then encoding is worth another try. */
static bool mend(struct rpc_call *call)
{
    for (struct bulk_source **at = &call->source; *at; at = &(*at)->next) {
        struct bulk_source *source = *at;
        if (!source->failed || !source->mend)
            continue;
        *at = source->next;
        source->mend(source);
        return true;
    }
    return false;
}

/* A reply of few bytes does not keep a large buffer while it waits to be sent. */
static struct record *fitted(struct record *record)
{
    struct record *smaller;

    if (record->size > record->capacity / 2 || !(smaller = record_new(record->size)))
        return record;
    memcpy(smaller->bytes, record->bytes, record->size);
    smaller->size = record->size;
    record_free(record);
    return smaller;
}

static bool_t give_reply(SVCXPRT *transport, struct rpc_msg *message)
{
    struct rpc_call *call = transport_call(transport);
    struct record *reply = NULL, *spoilt = NULL;

    if (call->reply)
        return TRUE;
    message->rm_xid = call->header->xid;
    message->rm_direction = REPLY;
    /* The dispatcher takes arguments that found no memory for malformed ones. */
    if (call->starved && message->rm_reply.rp_stat == MSG_ACCEPTED &&
        message->acpted_rply.ar_stat == GARBAGE_ARGS)
        message->acpted_rply.ar_stat = SYSTEM_ERR;
    /* Most replies are small, and of those that are not, most have sources that know how much they fill in. */
    reply = encode(call, message, call->source ? wanted_room(call) : REPLY_SMALL, &spoilt);
    if (!reply)
        reply = encode(call, message, call->reply_max, &spoilt);
    while (!reply && mend(call))
        reply = encode(call, message, call->reply_max, &spoilt);
    record_free(spoilt);
    if (reply)
        reply = fitted(reply);
    if (!reply) {
        call->source = NULL; /* the dispatcher says SYSTEM_ERR next */
        return FALSE;
    }
    call->reply = reply;
    call->denied = message->rm_reply.rp_stat == MSG_DENIED;
    call->answered = call->denied ? SUCCESS : message->acpted_rply.ar_stat;
    return TRUE;
}

static void destroy(SVCXPRT *transport)
{
    (void)transport;
}

static bool_t control(SVCXPRT *transport, const u_int request, void *value)
{
    (void)transport;
    (void)request;
    (void)value;
    return FALSE;
}

static const struct xp_ops operations = {receive, status, get_arguments, give_reply, free_arguments, destroy};
static const struct xp_ops2 more_operations = {control};

static void init_request(struct rpc_call *call)
{
    const struct message_call *header = call->header;

    call->request = (struct svc_req){
        .rq_prog = header->program,
        .rq_vers = header->version,
        .rq_proc = header->procedure,
        .rq_cred = {.oa_flavor = (enum_t)header->flavor,
                    .oa_base = (char *)(uintptr_t)header->credential,
                    .oa_length = header->credential_size},
        .rq_xprt = &call->transport,
    };
}

void transport_init(struct rpc_call *call, const struct record *record, const struct message_call *header,
                    size_t reply_max)
{
    /* The verifier's room is left as it is: its length says that nothing stands there. */
    call->transport = (SVCXPRT){
        .xp_fd = -1,
        .xp_ops = &operations,
        .xp_ops2 = &more_operations,
        .xp_verf = {.oa_flavor = AUTH_NONE, .oa_base = call->verifier, .oa_length = 0},
        .xp_p1 = call,
        .xp_p3 = &call->extension,
    };
    call->extension = (SVCXPRT_EXT){.flags = 0};
    call->record = record;
    call->header = header;
    call->procedure = NULL;
    call->principal.text[0] = '\0';
    call->principal.superior = false;
    call->connection = 0;
    call->peer = call->local = NULL;
    call->context = NULL;
    call->reply_max = reply_max;
    call->reply = NULL;
    call->answered = SUCCESS;
    call->denied = false;
    call->starved = false;
    call->source = NULL;
    call->arena = NULL;
    call->at_end = NULL;
    init_request(call);
}

struct record *transport_take_reply(struct rpc_call *call)
{
    struct record *reply = call->reply;

    call->reply = NULL;
    return reply;
}

void transport_fini(struct rpc_call *call)
{
    call_release(call);
    call->reply = record_free(call->reply);
}
