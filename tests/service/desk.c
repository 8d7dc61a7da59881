#include "place.h"
#include "service/desk.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { REPLY_MAX = FS_RECORD_MAX };

/* `call` fills in a struct failure that is called `why`. */
#define must(call)                               \
    do {                                         \
        struct failure why = {0};                \
        if ((call) != OUTCOME_OK)                \
            fail_msg("%s: %s", #call, why.text); \
    } while (0)

static void open_parts(struct desk *desk)
{
    const struct store_local_options store = {
        .folder = desk->folder,
        .limits = desk->limits,
        .clock = &desk->clock,
    };
    const struct rpc_server_options server = {
        .program = service_program(),
        .limits = rpc_limits_default(),
        .clock = &desk->clock,
        .name = "test",
        .context = &desk->service,
    };

    must(store_local_open(&store, &desk->store, &why));
    must(service_init(&desk->service, desk->store, &desk->limits, &desk->clock, &why));
    must(rpc_server_new(&server, &desk->server, &why));
    const struct delivery_options delivery = {
        .store = desk->store,
        .server = desk->server,
        .clock = &desk->clock,
        .limits = sender_limits_default(),
        .retry_first_ms = 1000,
        .retry_last_ms = 10000,
    };
    must(delivery_new(&delivery, &desk->delivery, &why));
    desk->service.server = desk->server;
    desk->service.delivery = desk->delivery;
    must(page_init(&desk->page, service_program(), 0, false, REPLY_MAX, &desk->clock, &why));
}

static void close_parts(struct desk *desk)
{
    desk->reply = record_free(desk->reply);
    page_fini(&desk->page);
    delivery_free(desk->delivery);
    rpc_server_free(desk->server);
    service_fini(&desk->service);
    desk->store->acts->close(desk->store);
}

void desk_open(struct desk *desk)
{
    *desk = (struct desk){.limits = store_limits_default()};
    /* In memory where that is at hand: it syncs often. */
    assert_non_null(place_make(desk->folder, place_in_memory(), "desk"));
    clock_test_init(&desk->clock, (int64_t)1000 * CLOCK_SECOND, (int64_t)1700000000 * CLOCK_SECOND);
    open_parts(desk);
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *where)
{
    (void)stat, (void)kind, (void)where;
    return remove(path);
}

void desk_close(struct desk *desk)
{
    close_parts(desk);
    nftw(desk->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void desk_reopen(struct desk *desk)
{
    close_parts(desk);
    open_parts(desk);
}

/* The call as a connection would have it: without its record mark. */
static struct record *encode_call(uint32_t procedure, int uid, xdrproc_t encode, void *arguments)
{
    const struct message_target target = {FILESHARE_PROG, FILESHARE_V1, procedure};
    struct record *record = record_new(FS_RECORD_MAX + RECORD_HEADER_SIZE);
    AUTH *auth = uid < 0 ? NULL : authunix_create((char[]){"desk"}, (uid_t)uid, (gid_t)uid, 0, NULL);
    XDR xdrs;

    assert_non_null(record);
    must(message_begin_call(record, &xdrs, 1, &target, auth, &why));
    assert_true(encode(&xdrs, arguments));
    message_end(record, &xdrs);
    if (auth)
        auth_destroy(auth);
    record->size -= RECORD_HEADER_SIZE;
    memmove(record->bytes, record->bytes + RECORD_HEADER_SIZE, record->size);
    return record;
}

static void take_reply(struct desk *desk, struct record *reply)
{
    reply->size -= RECORD_HEADER_SIZE;
    memmove(reply->bytes, reply->bytes + RECORD_HEADER_SIZE, reply->size);
    record_free(desk->reply);
    desk->reply = reply;
}

enum outcome desk_try(struct desk *desk, int uid, uint32_t procedure, xdrproc_t encode, void *arguments,
                      xdrproc_t decode, void *results)
{
    struct address here = {0};
    struct failure reason = {0};
    struct page_request request;
    XDR xdrs;

    must(address_local("/test", &here, &why));
    struct peer peer = {.peer = here, .local = here, .kind = PEER_VOUCHED, .uid = uid};
    const struct page_caller caller = {.connection = 1, .peer = &peer, .context = &desk->service};
    struct record *call = encode_call(procedure, uid, encode, arguments);
    if (desk->serving)
        desk->serving(true);
    page_read(&desk->page, call, &request);
    struct record *reply = page_serve(&desk->page, &caller, &request, call);
    if (desk->serving)
        desk->serving(false);
    record_free(call);
    if (!reply)
        return OUTCOME_UNREACHABLE; /* the connection would be cut */
    take_reply(desk, reply);

    enum outcome outcome = message_parse_reply(desk->reply, &xdrs, NULL, NULL, &reason);
    if (outcome == OUTCOME_OK && !decode(&xdrs, results))
        fail_msg("the result of procedure %u cannot be decoded", procedure);
    return outcome;
}

void desk_call(struct desk *desk, int uid, uint32_t procedure, xdrproc_t encode, void *arguments,
               xdrproc_t decode, void *results)
{
    enum outcome outcome = desk_try(desk, uid, procedure, encode, arguments, decode, results);

    if (outcome != OUTCOME_OK)
        fail_msg("procedure %u: %s", procedure, outcome_name(outcome));
}

fs_name desk_name(const char *text)
{
    return (fs_name){.fs_name_len = (u_int)strlen(text), .fs_name_val = (char *)(uintptr_t)text};
}

fs_data desk_data(const void *bytes, size_t count)
{
    return (fs_data){.fs_data_len = (u_int)count, .fs_data_val = (char *)(uintptr_t)bytes};
}

fs_id desk_id(unsigned number)
{
    fs_id id = {{0}};

    memcpy(id.octets, &number, sizeof number);
    return id;
}

fs_status desk_put(struct desk *desk, int uid, unsigned op, const char *name, const char *content,
                   fs_policy policy)
{
    fs_upload_args args = {
        .op = desk_id(op),
        .name = desk_name(name),
        .policy = policy,
        .content = desk_data(content, strlen(content)),
    };
    fs_entry_res res = {0};

    desk_call(desk, uid, FSPROC_UPLOAD, (xdrproc_t)xdr_fs_upload_args, &args, (xdrproc_t)xdr_fs_entry_res,
              &res);
    return res.status;
}
