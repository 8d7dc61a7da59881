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
    struct failure *why;     /* of reading: one fails at a time, and is mended then */
    struct content *opened;  /* of the same call, before it */
};

/* With a failure of its own. */
struct alone {
    struct content content;
    struct failure why;
};

static bool fill(struct bulk_source *source, void *to, size_t count)
{
    struct content *content = (struct content *)source;
    const struct store_acts *acts = content->service->store->acts;

    return acts->read_at(content->read, content->offset, to, count, content->why) == OUTCOME_OK;
}

/* It could not be read: that is the answer then. */
static void mend(struct bulk_source *source)
{
    struct content *content = (struct content *)source;
    fs_download_res *result = content->result;

    memset(result, 0, sizeof *result);
    result->status = wire_failed(content->call, content->why->outcome, content->why,
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
        outcome = wire_room(call, 1, sizeof(struct alone), &room, why);
    if (outcome != OUTCOME_OK)
        return outcome;

    struct alone *alone = room;
    struct content *content = &alone->content;
    content->why = &alone->why;
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

/* The answers so far, in the call's arena. */
struct reply {
    struct rpc_call *call;
    size_t left; /* bytes */
    bool full;
    size_t answered;
    fs_download_res *results;
    struct bulk_source *first, **last; /* contents, in their order */
    struct content *opened;            /* all of them, to be closed */
    struct failure why;                /* of reading one */
};

/* False: it has no room for so many bytes. */
static bool reply_takes(struct reply *reply, size_t bytes)
{
    reply->full = bytes > reply->left;
    if (!reply->full)
        reply->left -= bytes;
    return !reply->full;
}

static void close_opened(void *thing)
{
    struct reply *reply = thing;

    for (struct content *content = reply->opened; content; content = content->opened)
        close_read(content);
}

/* Takes `read`: it is closed when the call ends, or at once if that cannot be. */
static enum outcome hold(struct reply *reply, struct store_read *read, struct content **out,
                         struct failure *why)
{
    struct service *service = wire_service(reply->call);
    void *room = NULL;
    enum outcome outcome = wire_room(reply->call, 1, sizeof **out, &room, why);

    if (outcome != OUTCOME_OK) {
        service->store->acts->read_close(read);
        return outcome;
    }
    struct content *content = room;
    content->source = (struct bulk_source){.fill = fill, .mend = mend};
    content->call = reply->call;
    content->service = service;
    content->read = read;
    content->why = &reply->why;
    content->opened = reply->opened;
    reply->opened = content;
    *out = content;
    return OUTCOME_OK;
}

/* Of a large one the entry alone: the caller asks for its content by itself. */
static bool is_whole(const struct store_entry *entry)
{
    return entry->size <= FS_DATA_MAX;
}

static enum outcome whole_file(struct reply *reply, const struct store_found *found, fs_download_res *result,
                               struct failure *why)
{
    fs_download *out = &result->fs_download_res_u.download;
    struct content *content = NULL;
    enum outcome outcome = hold(reply, found->read, &content, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_entry_out(reply->call, &found->entry, &out->entry, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->eof = is_whole(&found->entry);
    if (!out->eof || found->entry.size == 0)
        return OUTCOME_OK;
    content->result = result;
    content->source.count = (size_t)found->entry.size;
    out->content.fs_data_len = (u_int)found->entry.size;
    out->content.fs_data_val = (char *)&content->source;
    *reply->last = &content->source;
    reply->last = &content->source.next;
    return OUTCOME_OK;
}

static void decline(struct reply *reply, fs_download_res *result, enum outcome outcome,
                    const struct failure *why)
{
    memset(result, 0, sizeof *result);
    result->status = wire_failed(reply->call, outcome, why, &result->fs_download_res_u.failure.reason);
}

/* The store's `take`: the next answer. False: it does not fit any more. */
static bool answer_one(void *context, const struct store_found *found)
{
    enum { STATUS_EOF_COUNT = 12 };
    struct reply *reply = context;
    const struct store_entry *entry = &found->entry;
    fs_download_res *result = &reply->results[reply->answered];
    struct failure why = {0};
    bool is_there = found->outcome == OUTCOME_OK;
    size_t bytes = is_there ? STATUS_EOF_COUNT + wire_entry_size(entry) +
                                  (is_whole(entry) ? RNDUP((size_t)entry->size) : 0)
                            : 2 * BYTES_PER_XDR_UNIT + RNDUP(strlen(found->why.text));

    if (!reply_takes(reply, bytes))
        return false;
    reply->answered++;
    if (!is_there)
        return decline(reply, result, found->outcome, &found->why), true;
    enum outcome outcome = whole_file(reply, found, result, &why);
    if (outcome != OUTCOME_OK)
        decline(reply, result, outcome, &why); /* in the room that the entry would have had */
    return true;
}

/* How many of the next have good names, which go into `wanted`; `why` says what is bad about the one after them. */
static size_t good_names(struct reply *reply, const fs_download_many_args *args, struct store_wanted *wanted,
                         struct store_found *bad)
{
    size_t count = 0;

    bad->outcome = OUTCOME_OK;
    for (size_t at = reply->answered; at < args->files.files_len; at++, count++) {
        const fs_download_one *one = &args->files.files_val[at];
        char name[NAME_BUFFER];
        void *copy = NULL;
        bad->outcome = wire_name(&one->name, name, &bad->why);
        if (bad->outcome == OUTCOME_OK)
            bad->outcome = wire_room(reply->call, one->name.fs_name_len, 1, &copy, &bad->why);
        if (bad->outcome != OUTCOME_OK)
            break;
        memcpy(copy, name, one->name.fs_name_len); /* the room is zeroed, and has one more */
        wanted[count] = (struct store_wanted){.name = copy, .version = wire_optional_id(&one->revision)};
    }
    return count;
}

static void answer_all(struct reply *reply, const fs_download_many_args *args, struct store_wanted *wanted)
{
    const struct service *service = wire_service(reply->call);

    while (!reply->full && reply->answered < args->files.files_len) {
        struct store_found bad;
        size_t before = reply->answered, count = good_names(reply, args, wanted, &bad);
        const struct store_read_many many = {wanted, count, answer_one, reply};
        if (count > 0) {
            enum outcome outcome = service->store->acts->read_open_many(service->store, &many, &bad.why);
            if (outcome == OUTCOME_OK && reply->answered < before + count)
                return; /* as much as is good to have open: the caller asks again for the rest */
            if (outcome != OUTCOME_OK)
                bad.outcome = outcome;
        }
        if (bad.outcome != OUTCOME_OK && !reply->full && reply->answered < args->files.files_len)
            answer_one(reply, &bad);
    }
}

static enum outcome download_many(struct rpc_call *call, const fs_download_many_args *args,
                                  fs_download_many *out, struct failure *why)
{
    size_t count = args->files.files_len;
    void *room = NULL, *results = NULL, *wanted = NULL;
    enum outcome outcome = wire_room(call, 1, sizeof(struct reply), &room, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, count, sizeof(fs_download_res), &results, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, count, sizeof(struct store_wanted), &wanted, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct reply *reply = room;
    *reply = (struct reply){.call = call, .left = MANY_BYTES, .results = results, .last = &reply->first};
    if (!rpc_call_at_end(call, close_opened, reply))
        return failure_set(why, OUTCOME_NOMEM, "no memory for the reply");
    answer_all(reply, args, wanted);
    out->files.files_val = results;
    out->files.files_len = (u_int)reply->answered;
    if (reply->first)
        rpc_call_reply_from(call, reply->first);
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
