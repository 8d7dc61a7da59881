/*
 * DOWNLOAD, DOWNLOAD_MANY: the bytes go from the store straight into the reply's
 * record.
 */
#include "server/procedures/wire.h"

#include <inttypes.h>
#include <string.h>

/* Bytes of an open version that the reply is to hold. */
struct content {
    struct bulk_source source; /* first: bulk.h gives it back to us */
    struct rpc_call *call;
    struct service *service;
    struct store_read *read;
    uint64_t offset;
    fs_download_res *result; /* where it stands */
    enum outcome outcome;    /* of reading */
    struct failure why;
};

static bool fill(struct bulk_source *source, void *to, size_t count)
{
    struct content *content = (struct content *)source;
    const struct store_acts *acts = content->service->store->acts;

    content->outcome = acts->read_at(content->read, content->offset, to, count, &content->why);
    return content->outcome == OUTCOME_OK;
}

/* It could not be read: that is the answer then. */
static void mend(struct bulk_source *source)
{
    struct content *content = (struct content *)source;
    fs_download_res *result = content->result;

    memset(result, 0, sizeof *result);
    result->status = wire_failed(content->call, content->outcome, &content->why,
                                 &result->fs_download_res_u.failure.reason);
}

static void close_read(void *thing)
{
    struct content *content = thing;

    content->service->store->acts->read_close(content->read);
    content->read = NULL;
}

/* Room for the content, which closes what it opened when the call ends. */
static enum outcome open_content(struct rpc_call *call, const fs_download_args *args, fs_download_res *result,
                                 struct content **out, struct store_entry *entry, struct failure *why)
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
    content->source = (struct bulk_source){.fill = fill, .mend = mend};
    content->call = call;
    content->service = service;
    content->offset = args->offset;
    content->result = result;
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

static enum outcome download(struct rpc_call *call, const fs_download_args *args, fs_download_res *result,
                             struct failure *why)
{
    fs_download *out = &result->fs_download_res_u.download;
    struct store_entry entry;
    struct content *content = NULL;
    enum outcome outcome = open_content(call, args, result, &content, &entry, why);

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
    content->source.count = (size_t)count;
    if (count > 0)
        rpc_call_reply_from(call, &content->source);
    return OUTCOME_OK;
}

bool_t fsproc_download_1_svc(fs_download_args *args, fs_download_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};

    memset(result, 0, sizeof *result);
    enum outcome outcome = download(call, args, result, &why);
    if (outcome != OUTCOME_OK) {
        memset(result, 0, sizeof *result);
        result->status = wire_failed(call, outcome, &why, &result->fs_download_res_u.failure.reason);
    }
    return TRUE;
}

/* ---- many ---- */

/* Of answers in one reply, which must fit into a record beside its header: more than any one may have. */
enum { MANY_BYTES = FS_DATA_MAX + 32 * 1024 };

struct reply {
    struct rpc_call *call;
    size_t left; /* bytes */
    struct bulk_source *first, **last;
};

/* False: it has no room for so many bytes. */
static bool reply_takes(struct reply *reply, size_t bytes)
{
    if (bytes > reply->left)
        return false;
    reply->left -= bytes;
    return true;
}

/* *full: it does not fit any more, and was left out. */
static enum outcome whole_file(struct reply *reply, const fs_download_one *one, fs_download_res *result,
                               bool *full, struct failure *why)
{
    enum { STATUS_EOF_COUNT = 12 };
    fs_download *out = &result->fs_download_res_u.download;
    const fs_download_args args = {.name = one->name, .revision = one->revision};
    struct store_entry entry;
    struct content *content = NULL;
    enum outcome outcome = open_content(reply->call, &args, result, &content, &entry, why);

    if (outcome != OUTCOME_OK)
        return outcome;
    bool whole = entry.size <= FS_DATA_MAX;
    size_t size = whole ? (size_t)entry.size : 0;
    *full = !reply_takes(reply, STATUS_EOF_COUNT + wire_entry_size(&entry) + RNDUP(size));
    if (!whole || size == 0 || *full)
        close_read(content); /* not held open until the call's end */
    if (*full)
        return OUTCOME_OK;
    outcome = wire_entry_out(reply->call, &entry, &out->entry, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->eof = whole;
    out->content.fs_data_len = (u_int)size;
    out->content.fs_data_val = (char *)&content->source;
    content->source.count = size;
    if (size > 0) {
        *reply->last = &content->source;
        reply->last = &content->source.next;
    }
    return OUTCOME_OK;
}

/* False: the reply is full. */
static bool answer_one(struct reply *reply, const fs_download_one *one, fs_download_res *result)
{
    struct failure why = {0};
    bool full = false;
    enum outcome outcome = whole_file(reply, one, result, &full, &why);

    if (outcome == OUTCOME_OK)
        return !full;
    memset(result, 0, sizeof *result);
    if (!reply_takes(reply, 2 * BYTES_PER_XDR_UNIT + RNDUP(strlen(why.text))))
        return false;
    result->status = wire_failed(reply->call, outcome, &why, &result->fs_download_res_u.failure.reason);
    return true;
}

static enum outcome download_many(struct rpc_call *call, const fs_download_many_args *args,
                                  fs_download_many *out, struct failure *why)
{
    struct reply reply = {.call = call, .left = MANY_BYTES, .last = &reply.first};
    void *results = NULL;
    enum outcome outcome = wire_room(call, args->files.files_len, sizeof(fs_download_res), &results, why);

    if (outcome != OUTCOME_OK)
        return outcome;
    out->files.files_val = results;
    while (out->files.files_len < args->files.files_len &&
           answer_one(&reply, &args->files.files_val[out->files.files_len],
                      &out->files.files_val[out->files.files_len]))
        out->files.files_len++;
    if (reply.first)
        rpc_call_reply_from(call, reply.first);
    return OUTCOME_OK;
}

bool_t fsproc_download_many_1_svc(fs_download_many_args *args, fs_download_many_res *result,
                                  struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};

    memset(result, 0, sizeof *result);
    enum outcome outcome = download_many(call, args, &result->fs_download_many_res_u.many, &why);
    if (outcome != OUTCOME_OK)
        result->status = wire_failed(call, outcome, &why, &result->fs_download_many_res_u.failure.reason);
    return TRUE;
}
