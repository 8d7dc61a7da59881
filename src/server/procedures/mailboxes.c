#include "server/procedures/mailboxes.h"

#include <string.h>

/* A netid or a universal address, as text. */
static enum outcome address_in(const fs_address *wire, char out[FS_ADDRESS_MAX + 1], struct failure *why)
{
    if (wire->fs_address_len > 0 && memchr(wire->fs_address_val, '\0', wire->fs_address_len))
        return failure_set(why, OUTCOME_INVALID, "the callback address holds a NUL");
    if (wire->fs_address_len > 0)
        memcpy(out, wire->fs_address_val, wire->fs_address_len);
    out[wire->fs_address_len] = '\0';
    return OUTCOME_OK;
}

static enum outcome callback_in(const fs_callback *wire, struct delivery_callback *out, struct failure *why)
{
    char netid[FS_ADDRESS_MAX + 1], universal[FS_ADDRESS_MAX + 1];
    struct address address;
    enum outcome outcome = wire_id(&wire->ticket, "ticket", &out->ticket, why);

    out->program = wire->prog;
    out->reversed = wire->reversed;
    out->proof = wire_optional_id(&wire->proof);
    if (outcome == OUTCOME_OK && wire->prog != 0)
        outcome = wire_id(&wire->proof, "proof", &out->proof, why);
    if (outcome == OUTCOME_OK)
        outcome = address_in(&wire->netid, netid, why);
    if (outcome == OUTCOME_OK)
        outcome = address_in(&wire->address, universal, why);
    if (outcome != OUTCOME_OK || universal[0] == '\0')
        return outcome;
    outcome = address_from_universal(netid, universal, &address, why);
    if (outcome == OUTCOME_OK) {
        out->has_port = true;
        out->port = address_port(&address);
    }
    return outcome;
}

enum outcome mailboxes_attach(struct rpc_call *call, const struct id *mailbox, const fs_callback *wire,
                              fs_attachment *out, struct failure *why)
{
    struct service *service = wire_service(call);
    struct delivery_callback callback = {0};
    struct store_mailbox holds = {0};
    enum sender_state state = SENDER_NONE;
    struct store_caller caller = wire_caller(call);
    enum outcome outcome = callback_in(wire, &callback, why);

    if (outcome == OUTCOME_OK)
        outcome = delivery_attach(service->delivery, call, &caller, mailbox, &callback, &state, &holds, why);
    if (outcome != OUTCOME_OK || !out)
        return outcome;
    out->waiting = holds.waiting;
    out->newest = holds.newest;
    return wire_route_out(state, &out->route, why);
}

bool_t fsproc_attach_1_svc(fs_attach_args *args, fs_attach_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};
    struct id mailbox;
    enum outcome outcome = wire_id(&args->mailbox, "mailbox", &mailbox, &why);

    memset(result, 0, sizeof *result);
    if (outcome == OUTCOME_OK)
        outcome = mailboxes_attach(call, &mailbox, &args->callback, &result->fs_attach_res_u.attachment,
                                   &why);
    if (outcome != OUTCOME_OK) {
        memset(result, 0, sizeof *result);
        result->status = wire_failed(call, outcome, &why, &result->fs_attach_res_u.failure.reason);
    }
    return TRUE;
}

bool_t fsproc_detach_1_svc(fs_detach_args *args, fs_done_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct service *service = wire_service(call);
    struct failure why = {0};
    struct id mailbox;
    enum outcome outcome = wire_id(&args->mailbox, "mailbox", &mailbox, &why);

    if (outcome == OUTCOME_OK)
        outcome = delivery_detach(service->delivery, &mailbox, args->forget, &why);
    return wire_answer_done(call, outcome, &why, result);
}

static enum outcome events(struct rpc_call *call, const fs_events_args *args, fs_events *out,
                           struct failure *why)
{
    struct service *service = wire_service(call);
    size_t limit = args->limit == 0 || args->limit > FS_EVENTS_MAX ? FS_EVENTS_MAX : args->limit;
    struct id mailbox;
    void *rows = NULL, *wire = NULL;
    size_t count = 0;
    bool more = false;
    enum outcome outcome = wire_id(&args->mailbox, "mailbox", &mailbox, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, limit, sizeof(struct store_event), &rows, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, limit, sizeof(fs_event), &wire, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->mailbox_events(service->store, &mailbox, args->since, rows, limit,
                                                       &count, &more, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->rows.rows_val = wire;
    out->rows.rows_len = (u_int)count;
    out->more = more;
    for (size_t i = 0; i < count && outcome == OUTCOME_OK; i++)
        outcome = wire_event_out(call, (struct store_event *)rows + i, &out->rows.rows_val[i], why);
    return outcome;
}

bool_t fsproc_events_1_svc(fs_events_args *args, fs_events_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};

    memset(result, 0, sizeof *result);
    enum outcome outcome = events(call, args, &result->fs_events_res_u.page, &why);
    if (outcome != OUTCOME_OK) {
        memset(result, 0, sizeof *result);
        result->status = wire_failed(call, outcome, &why, &result->fs_events_res_u.failure.reason);
    }
    return TRUE;
}
