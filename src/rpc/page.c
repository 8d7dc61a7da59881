#include "rpc/page.h"

#include "base/fault.h"
#include "rpc/transport.h"

#include <stdlib.h>

enum outcome page_init(struct page *page, const struct rpc_program *program, uint32_t number,
                       bool trust_anonymous, size_t reply_max, const struct clock *clock, struct failure *why)
{
    *page = (struct page){
        .program = program,
        .number = number ? number : program->number,
        .trust_anonymous = trust_anonymous,
        .reply_max = reply_max,
        .clock = clock,
        .calls = calloc(program->count, sizeof *page->calls),
        .largest = calloc(program->count, sizeof *page->largest),
    };
    if (page->calls && page->largest)
        return OUTCOME_OK;
    page_fini(page);
    return failure_set(why, OUTCOME_NOMEM, "no memory for a program's counters");
}

void page_fini(struct page *page)
{
    free(page->calls);
    free(page->largest);
    page->calls = NULL;
    page->largest = NULL;
}

void page_read(const struct page *page, const struct record *record, struct page_request *out)
{
    struct message_kind kind;

    *out = (struct page_request){.readable = false};
    if (message_parse_call(record->bytes, record->size, &out->header, NULL) == OUTCOME_OK) {
        out->readable = true;
        if (out->header.rpc_version == RPC_MSG_VERSION && out->header.program == page->number &&
            out->header.version == page->program->version && out->header.procedure < page->program->count)
            out->procedure = &page->program->procedures[out->header.procedure];
    } else if (message_peek(record->bytes, record->size, &kind)) {
        out->header.xid = kind.xid;
    }
}

/* We speak version 2 of RPC, nothing else. */
static void refuse_rpc_version(SVCXPRT *transport)
{
    struct rpc_msg reply = {
        .rm_reply = {.rp_stat = MSG_DENIED,
                     .ru = {.RP_dr = {.rj_stat = RPC_MISMATCH,
                                      .ru = {.RJ_versions = {.low = RPC_MSG_VERSION,
                                                             .high = RPC_MSG_VERSION}}}}},
    };

    SVC_REPLY(transport, &reply);
}

/* NULL takes any credential, for it does nothing; all else wants one that holds. */
static enum auth_stat authenticate(const struct page *page, const struct page_caller *caller,
                                   struct rpc_call *call)
{
    const struct message_call *header = call->header;

    if (header->procedure == NULLPROC)
        return AUTH_OK;
    enum auth_stat stat = principal_of(caller->peer, header->flavor, header->credential,
                                       header->credential_size, &call->principal);
    if (stat == AUTH_OK && !call->principal.text[0] && !call->procedure->anonymous && !page->trust_anonymous)
        return AUTH_TOOWEAK;
    return stat;
}

/* Counts a call that was dispatched and ends here. */
static void count(struct page *page, const struct rpc_call *call, int64_t began)
{
    const struct rpc_procedure *procedure = call->procedure;
    uint32_t number = call->header->procedure;
    size_t size = call->reply ? call->reply->size : 0;

    atomic_fetch_add_explicit(&page->calls[number], 1, memory_order_relaxed);
    /* Two at once may lose one's size: the next large reply sets it right. */
    if (size > atomic_load_explicit(&page->largest[number], memory_order_relaxed))
        atomic_store_explicit(&page->largest[number], size, memory_order_relaxed);
    if (call->denied || (call->reply && call->answered == GARBAGE_ARGS))
        atomic_fetch_add_explicit(&page->refused, 1, memory_order_relaxed);
    if (procedure->time_limit_ms &&
        clock_elapsed(page->clock) - began > (int64_t)procedure->time_limit_ms * 1000000)
        atomic_fetch_add_explicit(&page->late, 1, memory_order_relaxed);
}

/* The page itself. False: refused, and the refusal is the reply. */
static bool serve(struct page *page, const struct page_caller *caller, const struct page_request *request,
                  struct rpc_call *call)
{
    const struct message_call *header = &request->header;
    const struct rpc_program *program = page->program;
    SVCXPRT *transport = &call->transport;

    /* A header that cannot be read: all that can be malformed in it is the credential or the verifier. */
    if (!request->readable)
        return svcerr_auth(transport, AUTH_BADCRED), false;

    /* Which of ours is called? */
    if (header->rpc_version != RPC_MSG_VERSION)
        return refuse_rpc_version(transport), false;
    if (header->program != page->number)
        return svcerr_noprog(transport), false;
    if (header->version != program->version)
        return svcerr_progvers(transport, program->version, program->version), false;
    if (!request->procedure)
        return svcerr_noproc(transport), false;

    /* Who calls, and may they? */
    enum auth_stat stat = authenticate(page, caller, call);
    if (stat != AUTH_OK)
        return svcerr_auth(transport, stat), false;

    /* Decodes the arguments, calls the procedure, encodes the reply, frees both. */
    int64_t began = request->procedure->time_limit_ms ? clock_elapsed(page->clock) : 0;
    program->dispatch(&call->request, transport);
    FAULT_POINT("reply-made");
    if (!call->reply)
        svcerr_systemerr(transport); /* nobody is left waiting for an answer */
    count(page, call, began);
    return true;
}

struct record *page_serve(struct page *page, const struct page_caller *caller,
                          const struct page_request *request, const struct record *record)
{
    struct rpc_call call;

    if (!request->readable && record->size < 8)
        return NULL;
    transport_init(&call, record, &request->header, page->reply_max);
    call.procedure = request->procedure;
    call.connection = caller->connection;
    call.peer = &caller->peer->peer;
    call.local = &caller->peer->local;
    call.context = caller->context;
    if (!serve(page, caller, request, &call))
        atomic_fetch_add_explicit(&page->refused, 1, memory_order_relaxed);

    struct record *reply = transport_take_reply(&call);
    transport_fini(&call);
    return reply;
}

bool page_is_bulky(const struct page *page, uint32_t procedure)
{
    enum { BULKY = 64 * 1024 };

    return procedure < page->program->count &&
           atomic_load_explicit(&page->largest[procedure], memory_order_relaxed) >= BULKY;
}

uint64_t page_calls(const struct page *page, uint32_t procedure)
{
    return procedure < page->program->count
               ? atomic_load_explicit(&page->calls[procedure], memory_order_relaxed)
               : 0;
}
