/*
 * LIST, STAT, REMOVE, RENAME.
 */
#include "server/procedures/wire.h"

#include <string.h>

/* A page must fit into a record beside its header. */
enum { PAGE_BYTES = FS_DATA_MAX };

/* A page that is made. */
struct paging {
    struct rpc_call *call;
    fs_list *out;
    size_t left; /* bytes */
    enum outcome outcome;
    struct failure *why;
};

static bool take_entry(void *context, const struct store_entry *entry)
{
    struct paging *paging = context;
    fs_list *out = paging->out;
    size_t size = wire_entry_size(entry);

    if (size > paging->left)
        return false;
    paging->outcome = wire_entry_out(paging->call, entry, &out->entries.entries_val[out->entries.entries_len],
                                     paging->why);
    if (paging->outcome != OUTCOME_OK)
        return false;
    paging->left -= size;
    out->entries.entries_len++;
    return true;
}

static enum outcome cursor_out(struct rpc_call *call, const struct store_page *page, fs_list *out,
                               struct failure *why)
{
    void *text = NULL;
    size_t size = strlen(page->cursor);

    out->more = page->more;
    if (!page->more)
        return OUTCOME_OK;
    enum outcome outcome = wire_room(call, 1, size, &text, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    memcpy(text, page->cursor, size);
    out->cursor = (fs_name){.fs_name_len = (u_int)size, .fs_name_val = text};
    return OUTCOME_OK;
}

static enum outcome list(struct rpc_call *call, const fs_list_args *args, fs_list *out, struct failure *why)
{
    struct service *service = wire_service(call);
    char glob[NAME_BUFFER], cursor[NAME_BUFFER];
    size_t limit = args->limit == 0 || args->limit > FS_LIST_MAX ? FS_LIST_MAX : args->limit;
    struct paging paging = {.call = call, .out = out, .left = PAGE_BYTES, .why = why};
    struct store_list question = {.glob = glob,
                                  .cursor = cursor,
                                  .limit = limit,
                                  .take = take_entry,
                                  .context = &paging};
    struct store_page page = {0};
    void *rows = NULL;
    enum outcome outcome = wire_glob(&args->glob, glob, why);

    if (outcome == OUTCOME_OK)
        outcome = wire_cursor(&args->cursor, cursor, why);
    if (outcome == OUTCOME_OK)
        outcome = wire_room(call, limit, sizeof(fs_entry), &rows, why);
    out->entries.entries_val = rows;
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->list(service->store, &question, &page, why);
    if (outcome == OUTCOME_OK)
        outcome = paging.outcome;
    if (outcome == OUTCOME_OK)
        outcome = cursor_out(call, &page, out, why);
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
