/*
 * REGISTER_INTEREST, CANCEL_INTEREST, RENEW_INTEREST, LIST_INTERESTS.
 */
#include "server/procedures/mailboxes.h"
#include "server/procedures/wire.h"

#include <string.h>

static enum outcome pattern_in(const fs_register_args *args, char out[NAME_BUFFER], struct failure *why)
{
    if (args->match == FS_EXACT)
        return wire_name(&args->pattern, out, why);
    if (args->match != FS_GLOB)
        return failure_set(why, OUTCOME_INVALID, "match %d is neither FS_EXACT nor FS_GLOB", (int)args->match);
    if (args->pattern.fs_name_len == 0)
        return failure_set(why, OUTCOME_INVALID, "the glob is empty");
    return wire_glob(&args->pattern, out, why);
}

static enum outcome seconds_in(uint32_t seconds, struct failure *why)
{
    if (seconds == 0 || seconds > FS_INTEREST_SECONDS_MAX)
        return failure_set(why, OUTCOME_INVALID, "an interest lasts 1 to %d seconds, not %u",
                           FS_INTEREST_SECONDS_MAX, seconds);
    return OUTCOME_OK;
}

static enum outcome add_in(const fs_register_args *args, struct store_interest_add *add, char pattern[NAME_BUFFER],
                           struct failure *why)
{
    enum outcome outcome = wire_id(&args->mailbox, "mailbox", &add->mailbox, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_id(&args->interest, "interest id", &add->interest, why);
    if (outcome == OUTCOME_OK)
        outcome = pattern_in(args, pattern, why);
    if (outcome == OUTCOME_OK)
        outcome = seconds_in(args->seconds, why);
    if (outcome == OUTCOME_OK && args->repeat != FS_ONCE && args->repeat != FS_EVERY)
        outcome = failure_set(why, OUTCOME_INVALID, "repeat %d is neither FS_ONCE nor FS_EVERY", (int)args->repeat);
    if (outcome == OUTCOME_OK && args->present != FS_TELL && args->present != FS_IGNORE)
        outcome = failure_set(why, OUTCOME_INVALID, "present %d is neither FS_TELL nor FS_IGNORE",
                              (int)args->present);
    add->glob = args->match == FS_GLOB;
    add->pattern = pattern;
    add->seconds = args->seconds;
    add->every = args->repeat == FS_EVERY;
    add->present = args->present == FS_TELL;
    return outcome;
}

static enum outcome registration_out(struct rpc_call *call, const struct store_registration *made,
                                     const struct store_entry *present, fs_registration *out, struct failure *why)
{
    void *rows = NULL;
    enum outcome outcome = wire_room(call, made->present, sizeof(fs_entry), &rows, why);

    if (outcome != OUTCOME_OK)
        return outcome;
    out->registered = made->registered;
    out->seconds_left = made->seconds_left;
    out->more = made->more;
    out->present.present_val = rows;
    for (size_t i = 0; i < made->present; i++) {
        outcome = wire_entry_out(call, &present[i], &out->present.present_val[i], why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    out->present.present_len = (u_int)made->present;
    return OUTCOME_OK;
}

static enum outcome register_interest(struct rpc_call *call, const fs_register_args *args, fs_registration *out,
                                      struct failure *why)
{
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    struct store_interest_add add = {0};
    struct store_registration made = {0};
    char pattern[NAME_BUFFER];
    void *present = NULL;
    enum outcome outcome = add_in(args, &add, pattern, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, FS_PRESENT_MAX, sizeof(struct store_entry), &present, why);
    if (outcome == OUTCOME_OK && args->callback)
        outcome = mailboxes_attach(call, &add.mailbox, args->callback, NULL, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->interest_add(service->store, &caller, &add, present, FS_PRESENT_MAX, &made,
                                                     why);
    if (outcome == OUTCOME_OK)
        outcome = wire_unanswered(registration_out(call, &made, present, out, why));
    if (outcome == OUTCOME_OK)
        outcome = wire_route_out(delivery_state(service->delivery, &add.mailbox), &out->route, why);
    return outcome;
}

bool_t fsproc_register_interest_1_svc(fs_register_args *args, fs_register_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};

    memset(result, 0, sizeof *result);
    enum outcome outcome = register_interest(call, args, &result->fs_register_res_u.registration, &why);
    if (outcome != OUTCOME_OK) {
        memset(result, 0, sizeof *result);
        result->status = wire_failed(call, outcome, &why, &result->fs_register_res_u.failure.reason);
    }
    return TRUE;
}

/* Indexed by enum store_interest_state. */
static const fs_interest_state states[] = {
    [STORE_WAITING] = FS_WAITING, [STORE_CANCELLED] = FS_CANCELLED, [STORE_MET] = FS_MET,
    [STORE_OVER] = FS_OVER,       [STORE_NEVER] = FS_NEVER,
};

static enum outcome cancelled_out(struct rpc_call *call, const struct store_cancelled *row, fs_cancelled *out,
                                  struct failure *why)
{
    void *event = NULL;

    out->interest = wire_id_out(&row->interest);
    out->state = states[row->state];
    if (!row->has_event)
        return OUTCOME_OK;

    enum outcome outcome = wire_room(call, 1, sizeof(fs_event), &event, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_event_out(call, &row->event, event, why);
    if (outcome == OUTCOME_OK)
        out->event = event;
    return outcome;
}

static enum outcome cancel(struct rpc_call *call, const fs_cancel_args *args, fs_cancel *out, struct failure *why)
{
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    char pattern[NAME_BUFFER];
    struct store_interest_drop drop = {.interest = wire_optional_id(&args->interest), .pattern = pattern};
    void *rows = NULL, *wire = NULL;
    size_t count = 0;
    bool more = false;
    enum outcome outcome = wire_id(&args->op, "op id", &drop.op, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_id(&args->mailbox, "mailbox", &drop.mailbox, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_cursor(&args->pattern, pattern, why);
    if (outcome == OUTCOME_OK && id_is_none(&drop.interest) && pattern[0] == '\0')
        outcome = failure_set(why, OUTCOME_INVALID, "neither an interest id nor a name to cancel");
    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, FS_INTERESTS_MAX, sizeof(struct store_cancelled), &rows, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, FS_INTERESTS_MAX, sizeof(fs_cancelled), &wire, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->interest_drop(service->store, &caller, &drop, rows, FS_INTERESTS_MAX,
                                                      &count, &more, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->rows.rows_val = wire;
    out->rows.rows_len = (u_int)count;
    out->more = more;
    for (size_t i = 0; i < count && outcome == OUTCOME_OK; i++)
        outcome = wire_unanswered(cancelled_out(call, (struct store_cancelled *)rows + i, &out->rows.rows_val[i], why));
    return outcome;
}

bool_t fsproc_cancel_interest_1_svc(fs_cancel_args *args, fs_cancel_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};

    memset(result, 0, sizeof *result);
    enum outcome outcome = cancel(call, args, &result->fs_cancel_res_u.cancel, &why);
    if (outcome != OUTCOME_OK) {
        memset(result, 0, sizeof *result);
        result->status = wire_failed(call, outcome, &why, &result->fs_cancel_res_u.failure.reason);
    }
    return TRUE;
}

static enum outcome renew(struct rpc_call *call, const fs_renew_args *args, uint32_t *left, struct failure *why)
{
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    struct id op, mailbox, interest;
    enum outcome outcome = wire_id(&args->op, "op id", &op, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_id(&args->mailbox, "mailbox", &mailbox, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_id(&args->interest, "interest id", &interest, why);
    if (outcome == OUTCOME_OK)
        outcome = seconds_in(args->seconds, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->interest_renew(service->store, &caller, &op, &mailbox, &interest,
                                                       args->seconds, left, why);
    return outcome;
}

bool_t fsproc_renew_interest_1_svc(fs_renew_args *args, fs_renew_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};
    uint32_t left = 0;
    enum outcome outcome = renew(call, args, &left, &why);

    memset(result, 0, sizeof *result);
    if (outcome == OUTCOME_OK)
        result->fs_renew_res_u.renewal.seconds_left = left;
    else
        result->status = wire_failed(call, outcome, &why, &result->fs_renew_res_u.failure.reason);
    return TRUE;
}

static void interest_out(struct rpc_call *call, const struct store_interest *row, fs_interest *out)
{
    size_t size = strlen(row->pattern);
    char *pattern = rpc_call_alloc(call, size + 1);

    *out = (fs_interest){
        .interest = wire_id_out(&row->interest),
        .match = row->glob ? FS_GLOB : FS_EXACT,
        .repeat = row->every ? FS_EVERY : FS_ONCE,
        .state = states[row->state],
        .seconds_left = row->seconds_left,
        .arrivals = row->arrivals,
    };
    if (pattern) {
        memcpy(pattern, row->pattern, size);
        out->pattern = (fs_name){.fs_name_len = (u_int)size, .fs_name_val = pattern};
    }
}

static enum outcome interests(struct rpc_call *call, const fs_interests_args *args, fs_interests *out,
                              struct failure *why)
{
    struct service *service = wire_service(call);
    struct id mailbox, cursor = wire_optional_id(&args->cursor);
    void *rows = NULL, *wire = NULL;
    size_t count = 0;
    bool more = false;
    enum outcome outcome = wire_id(&args->mailbox, "mailbox", &mailbox, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, FS_INTERESTS_MAX, sizeof(struct store_interest), &rows, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, FS_INTERESTS_MAX, sizeof(fs_interest), &wire, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->interest_list(service->store, &mailbox, &cursor, rows, FS_INTERESTS_MAX,
                                                      &count, &more, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_route_out(delivery_state(service->delivery, &mailbox), &out->route, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->rows.rows_val = wire;
    out->rows.rows_len = (u_int)count;
    out->more = more;
    for (size_t i = 0; i < count; i++)
        interest_out(call, (struct store_interest *)rows + i, &out->rows.rows_val[i]);
    return OUTCOME_OK;
}

bool_t fsproc_list_interests_1_svc(fs_interests_args *args, fs_interests_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};

    memset(result, 0, sizeof *result);
    enum outcome outcome = interests(call, args, &result->fs_interests_res_u.page, &why);
    if (outcome != OUTCOME_OK) {
        memset(result, 0, sizeof *result);
        result->status = wire_failed(call, outcome, &why, &result->fs_interests_res_u.failure.reason);
    }
    return TRUE;
}
