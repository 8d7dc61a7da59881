/*
 * DOWNLOAD: the bytes go from the store straight into the reply's record.
 */
#include "server/procedures/wire.h"

#include <inttypes.h>
#include <string.h>

/* Bytes of an open version that the reply is to hold. */
struct content {
    struct bulk_source source; /* first: bulk.h gives it back to us */
    struct service *service;
    struct store_read *read;
    uint64_t offset;
};

static bool fill(struct bulk_source *source, void *to, size_t count)
{
    struct content *content = (struct content *)source;
    const struct store_acts *acts = content->service->store->acts;
    struct failure why = {0};

    return acts->read_at(content->read, content->offset, to, count, &why) == OUTCOME_OK;
}

static void close_read(void *thing)
{
    struct content *content = thing;

    content->service->store->acts->read_close(content->read);
}

/* Room for the content, which closes what it opened when the call ends. */
static enum outcome open_content(struct rpc_call *call, const fs_download_args *args, struct content **out,
                                 struct store_entry *entry, struct failure *why)
{
    struct service *service = wire_service(call);
    struct id version = wire_optional_id(&args->revision);
    char name[NAME_BUFFER];
    void *room = NULL;
    enum outcome outcome = wire_name(&args->name, name, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, 1, sizeof **out, &room, why);
    if (outcome != OUTCOME_OK)
        return outcome;

    struct content *content = room;
    content->source.fill = fill;
    content->service = service;
    content->offset = args->offset;
    outcome = service->store->acts->read_open(service->store, name, &version, &content->read, entry, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (!rpc_call_at_end(call, close_read, content)) {
        close_read(content);
        return failure_set(why, OUTCOME_NOMEM, "no memory for the reply");
    }
    *out = content;
    return OUTCOME_OK;
}

static enum outcome download(struct rpc_call *call, const fs_download_args *args, fs_download *out,
                             struct failure *why)
{
    struct store_entry entry;
    struct content *content = NULL;
    enum outcome outcome = open_content(call, args, &content, &entry, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_entry_out(call, &entry, &out->entry, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (args->offset > entry.size)
        return failure_set(why, OUTCOME_INVALID, "offset %" PRIu64 " is past the end, %" PRIu64 " bytes",
                           (uint64_t)args->offset, entry.size);

    uint64_t left = entry.size - args->offset;
    uint64_t count = args->count < left ? args->count : left;
    if (count > FS_DATA_MAX)
        count = FS_DATA_MAX;
    out->eof = count == left;
    out->content.fs_data_len = (u_int)count;
    out->content.fs_data_val = (char *)&content->source;
    if (count > 0)
        rpc_call_reply_from(call, &content->source);
    return OUTCOME_OK;
}

bool_t fsproc_download_1_svc(fs_download_args *args, fs_download_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};

    memset(result, 0, sizeof *result);
    enum outcome outcome = download(call, args, &result->fs_download_res_u.download, &why);
    if (outcome != OUTCOME_OK) {
        memset(result, 0, sizeof *result);
        result->status = wire_failed(call, outcome, &why, &result->fs_download_res_u.failure.reason);
    }
    return TRUE;
}
