/*
 * LIST, STAT, REMOVE, RENAME.
 */
#include "server/procedures/wire.h"

#include <string.h>

/* A page must fit into a record beside its header. */
enum { PAGE_BYTES = FS_DATA_MAX };

/* How many of `entries` fit into one reply. */
static size_t entries_that_fit(const struct store_entry *entries, size_t count)
{
    size_t bytes = 0, fit = 0;

    while (fit < count && bytes + wire_entry_size(&entries[fit]) <= PAGE_BYTES)
        bytes += wire_entry_size(&entries[fit++]);
    return fit;
}

static enum outcome page_out(struct rpc_call *call, const struct store_entry *entries,
                             const struct store_page *page, fs_list *out, struct failure *why)
{
    size_t count = entries_that_fit(entries, page->count);
    bool all = count == page->count;
    const char *cursor = all ? page->cursor : entries[count - 1].name;
    void *rows = NULL;
    enum outcome outcome = wire_room(call, count, sizeof(fs_entry), &rows, why);

    if (outcome != OUTCOME_OK)
        return outcome;
    out->entries.entries_val = rows;
    for (size_t i = 0; i < count; i++) {
        outcome = wire_entry_out(call, &entries[i], &out->entries.entries_val[i], why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    out->entries.entries_len = (u_int)count;
    out->more = !all || page->more;
    if (out->more) {
        void *text = NULL;
        size_t size = strlen(cursor);
        outcome = wire_room(call, 1, size, &text, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        memcpy(text, cursor, size);
        out->cursor = (fs_name){.fs_name_len = (u_int)size, .fs_name_val = text};
    }
    return OUTCOME_OK;
}

static enum outcome list(struct rpc_call *call, const fs_list_args *args, fs_list *out, struct failure *why)
{
    struct service *service = wire_service(call);
    char glob[NAME_BUFFER], cursor[NAME_BUFFER];
    size_t limit = args->limit == 0 || args->limit > FS_LIST_MAX ? FS_LIST_MAX : args->limit;
    struct store_list question = {.glob = glob, .cursor = cursor, .limit = limit};
    struct store_page page = {0};
    void *entries = NULL;
    enum outcome outcome = wire_glob(&args->glob, glob, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_cursor(&args->cursor, cursor, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, limit, sizeof(struct store_entry), &entries, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->list(service->store, &question, entries, &page, why);
    if (outcome == OUTCOME_OK)
        outcome = page_out(call, entries, &page, out, why);
    return outcome;
}

bool_t fsproc_list_1_svc(fs_list_args *args, fs_list_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};

    memset(result, 0, sizeof *result);
    enum outcome outcome = list(call, args, &result->fs_list_res_u.page, &why);
    if (outcome != OUTCOME_OK) {
        memset(result, 0, sizeof *result);
        result->status = wire_failed(call, outcome, &why, &result->fs_list_res_u.failure.reason);
    }
    return TRUE;
}

bool_t fsproc_stat_1_svc(fs_stat_args *args, fs_entry_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct service *service = wire_service(call);
    struct failure why = {0};
    struct store_entry entry;
    char name[NAME_BUFFER];
    enum outcome outcome = wire_name(&args->name, name, &why);

    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->stat(service->store, name, &entry, &why);
    return wire_answer_entry(call, outcome, &entry, &why, result);
}

bool_t fsproc_remove_1_svc(fs_remove_args *args, fs_done_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    struct id expected = wire_optional_id(&args->expected);
    struct failure why = {0};
    struct id op;
    char name[NAME_BUFFER];
    enum outcome outcome = wire_id(&args->op, "op id", &op, &why);

    if (outcome == OUTCOME_OK)
        outcome = wire_name(&args->name, name, &why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->remove(service->store, &caller, &op, name, &expected, &why);
    return wire_answer_done(call, outcome, &why, result);
}

static enum outcome rename_file(struct rpc_call *call, const fs_rename_args *args, struct store_entry *entry,
                                struct failure *why)
{
    struct service *service = wire_service(call);
    struct store_caller caller = wire_caller(call);
    const fs_id any = {{0}};
    char source[NAME_BUFFER], target[NAME_BUFFER];
    struct store_rename act = {
        .source = source,
        .target = target,
        .expected = wire_optional_id(&args->expected),
    };
    enum outcome outcome = wire_id(&args->op, "op id", &act.op, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_name(&args->source, source, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_name(&args->target, target, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_condition(args->policy, &any, &act.condition, why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->rename(service->store, &caller, &act, entry, why);
    if (outcome == OUTCOME_OK)
        wire_spread_news(service);
    return outcome;
}

bool_t fsproc_rename_1_svc(fs_rename_args *args, fs_entry_res *result, struct svc_req *request)
{
    struct rpc_call *call = rpc_call_of(request);
    struct failure why = {0};
    struct store_entry entry;

    return wire_answer_entry(call, rename_file(call, args, &entry, &why), &entry, &why, result);
}
