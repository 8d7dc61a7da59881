/*
 * UPLOAD and the four of a large upload.
 *
 * Each wire procedure is a shell around one function that answers an outcome:
 * the shell sets the whole result first, then the answer or the failure.
 */
#include "server/procedures/wire.h"

#include <string.h>

static enum outcome upload(struct rpc_call *call, const fs_upload_args *args, struct store_entry *entry,
                           struct failure *why)
{
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    char name[NAME_BUFFER];
    struct store_put put = {
        .name = name,
        .content = args->content.fs_data_val,
        .size = args->content.fs_data_len,
    };
    enum outcome outcome = wire_id(&args->op, "op id", &put.op, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_name(&args->name, name, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_condition(args->policy, &args->expected, &put.condition, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_digest(&args->digest, &put.check_digest, &put.digest, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_time(&args->mtime, &put.mtime, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->put(service->store, &caller, &put, entry, why);
    if (outcome == OUTCOME_OK)
        wire_spread_news(service);
    return outcome;
}

bool_t fsproc_upload_1_svc(fs_upload_args *args, fs_entry_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};
    struct store_entry entry;

    return wire_answer_entry(call, upload(call, args, &entry, &why), &entry, &why, result);
}

static enum outcome upload_open(struct rpc_call *call, const fs_upload_open_args *args,
                                struct store_upload_state *state, struct failure *why)
{
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    char name[NAME_BUFFER];
    struct store_upload_begin begin = {.name = name, .size_known = args->size_known, .size = args->size};
    enum outcome outcome = wire_id(&args->upload, "upload id", &begin.upload, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_name(&args->name, name, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_condition(args->policy, &args->expected, &begin.condition, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->upload_begin(service->store, &caller, &begin, state, why);
    return outcome;
}

static enum outcome state_out(struct rpc_call *call, const struct store_upload_state *state, fs_upload_state *out,
                              struct failure *why)
{
    void *digest = NULL, *entry = NULL;
    enum outcome outcome = wire_room(call, 1, DIGEST_SIZE, &digest, why);

    if (outcome != OUTCOME_OK)
        return outcome;
    memcpy(digest, state->digest.octets, DIGEST_SIZE);
    *out = (fs_upload_state){
        .held = state->held,
        .digest = {.fs_digest_len = DIGEST_SIZE, .fs_digest_val = digest},
    };
    if (!state->published)
        return OUTCOME_OK;
    outcome = wire_room(call, 1, sizeof(fs_entry), &entry, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_entry_out(call, &state->entry, entry, why);
    if (outcome == OUTCOME_OK)
        out->published = entry;
    return outcome;
}

bool_t fsproc_upload_open_1_svc(fs_upload_open_args *args, fs_upload_open_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};
    struct store_upload_state state;
    enum outcome outcome = upload_open(call, args, &state, &why);

    memset(result, 0, sizeof *result);
    if (outcome == OUTCOME_OK)
        outcome = state_out(call, &state, &result->fs_upload_open_res_u.state, &why);
    if (outcome != OUTCOME_OK)
        result->status = wire_failed(call, outcome, &why, &result->fs_upload_open_res_u.failure.reason);
    return TRUE;
}

bool_t fsproc_upload_data_1_svc(fs_upload_data_args *args, fs_upload_data_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    struct failure why = {0};
    struct id id;
    uint64_t held = 0;
    enum outcome outcome = wire_id(&args->upload, "upload id", &id, &why);

    memset(result, 0, sizeof *result);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->upload_write(service->store, &caller, &id, args->offset,
                                                     args->content.fs_data_val, args->content.fs_data_len, &held,
                                                     &why);
    if (outcome != OUTCOME_OK)
        result->status = wire_failed(call, outcome, &why, &result->reason);
    result->held = held;
    return TRUE;
}

static enum outcome upload_commit(struct rpc_call *call, const fs_upload_commit_args *args,
                                  struct store_entry *entry, struct failure *why)
{
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    struct store_publish publish = {.check = true, .size = args->size};
    enum outcome outcome = wire_id(&args->upload, "upload id", &publish.upload, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_digest(&args->digest, &publish.check_digest, &publish.digest, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_time(&args->mtime, &publish.mtime, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->publish(service->store, &caller, &publish, entry, why);
    if (outcome == OUTCOME_OK)
        wire_spread_news(service);
    return outcome;
}

bool_t fsproc_upload_commit_1_svc(fs_upload_commit_args *args, fs_entry_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};
    struct store_entry entry;

    return wire_answer_entry(call, upload_commit(call, args, &entry, &why), &entry, &why, result);
}

bool_t fsproc_upload_abort_1_svc(fs_upload_abort_args *args, fs_done_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    struct failure why = {0};
    struct id id;
    enum outcome outcome = wire_id(&args->upload, "upload id", &id, &why);

    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->upload_abort(service->store, &caller, &id, &why);
    return wire_answer_done(call, outcome, &why, result);
}
