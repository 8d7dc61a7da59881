/*
 * UPLOAD, UPLOAD_MANY, and the four of a large upload.
 *
 * Each wire procedure is a shell around one function that answers an outcome:
 * the shell sets the whole result first, then the answer or the failure.
 */
#include "server/procedures/wire.h"

#include <string.h>

_Static_assert(STORE_AHEAD_MAX == FS_AHEAD_MAX, "the store takes what the contract tells");

static enum outcome upload(struct rpc_call *call, const fs_upload_args *args, struct store_entry *entry,
                           struct failure *why)
{
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    char name[NAME_BUFFER];
    struct store_put put;
    enum outcome outcome = wire_put(args, name, &put, why);

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

/* The files of one call; those that go to the store stand in `puts`. */
struct bundle {
    fs_entry_res *results; /* of all, in the order of the call */
    struct store_put *puts;
    struct store_put_answer *answers;
    fs_entry_res **of_put; /* each one's result */
    size_t count;          /* of puts */
};

static enum outcome bundle_room(struct rpc_call *call, size_t count, struct bundle *bundle,
                                struct failure *why)
{
    void *puts, *answers, *results, *of_put;
    enum outcome outcome = wire_room(call, count, sizeof *bundle->puts, &puts, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, count, sizeof *bundle->answers, &answers, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, count, sizeof *bundle->results, &results, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, count, sizeof *bundle->of_put, &of_put, why);
    if (outcome == OUTCOME_OK)
        *bundle = (struct bundle){.puts = puts, .answers = answers, .results = results, .of_put = of_put};
    return outcome;
}

/* One that makes no sense is answered here, and does not keep the others back. */
static void bundle_add(struct rpc_call *call, const fs_upload_args *args, struct bundle *bundle,
                       fs_entry_res *result)
{
    struct failure why = {0};
    char name[NAME_BUFFER];
    struct store_put put;
    void *kept = NULL;
    enum outcome outcome = wire_put(args, name, &put, &why);

    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, 1, args->name.fs_name_len + 1, &kept, &why);
    if (outcome != OUTCOME_OK) {
        result->status = wire_failed(call, outcome, &why, &result->fs_entry_res_u.failure.reason);
        return;
    }
    put.name = memcpy(kept, name, args->name.fs_name_len + 1);
    bundle->of_put[bundle->count] = result;
    bundle->puts[bundle->count++] = put;
}

static void bundle_answer(struct rpc_call *call, const struct store_put *put,
                          const struct store_put_answer *answer, fs_entry_res *result)
{
    if (answer->outcome == OUTCOME_OK)
        result->fs_entry_res_u.entry = wire_put_out(call, put, answer);
    else
        result->status = wire_failed(call, answer->outcome, &answer->why,
                                     &result->fs_entry_res_u.failure.reason);
}

static enum outcome upload_many(struct rpc_call *call, const fs_upload_many_args *args, fs_upload_many *out,
                                struct failure *why)
{
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    size_t count = args->files.files_len;
    struct bundle bundle = {0};
    enum outcome outcome = bundle_room(call, count, &bundle, why);

    if (outcome != OUTCOME_OK)
        return outcome;
    for (size_t i = 0; i < count; i++)
        bundle_add(call, &args->files.files_val[i], &bundle, &bundle.results[i]);
    if (bundle.count > 0)
        outcome = service->store->acts->put_many(service->store, &caller, bundle.puts, bundle.count,
                                                 bundle.answers, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    for (size_t i = 0; i < bundle.count; i++)
        bundle_answer(call, &bundle.puts[i], &bundle.answers[i], bundle.of_put[i]);
    wire_spread_news(service);
    out->files.files_len = (u_int)count;
    out->files.files_val = bundle.results;
    return OUTCOME_OK;
}

bool_t fsproc_upload_many_1_svc(fs_upload_many_args *args, fs_upload_many_res *result,
                                struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};

    memset(result, 0, sizeof *result);
    enum outcome outcome = upload_many(call, args, &result->fs_upload_many_res_u.many, &why);
    if (outcome != OUTCOME_OK)
        result->status = wire_failed(call, outcome, &why, &result->fs_upload_many_res_u.failure.reason);
    return TRUE;
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

static enum outcome state_out(struct rpc_call *call, const struct store_upload_state *state,
                              fs_upload_state *out, struct failure *why)
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

bool_t fsproc_upload_open_1_svc(fs_upload_open_args *args, fs_upload_open_res *result,
                                struct svc_req *request)
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

bool_t fsproc_upload_data_1_svc(fs_upload_data_args *args, fs_upload_data_res *result,
                                struct svc_req *request)
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
                                                     args->content.fs_data_val, args->content.fs_data_len,
                                                     &held, &why);
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
