/* bench/engine's own contender: rpc/server.h and rpc/client.h, as the product uses them. */
#include "engine_work.h"

#include "proto/fileshare.h"
#include "rpc/call.h"
#include "rpc/client.h"
#include "rpc/server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const xdrproc_t put_arguments = (xdrproc_t)xdr_fs_upload_data_args;
static const xdrproc_t put_results = (xdrproc_t)xdr_fs_upload_data_res;
static const xdrproc_t get_arguments = (xdrproc_t)xdr_fs_download_args;
static const xdrproc_t get_results = (xdrproc_t)xdr_fs_download_res;

static bool_t nothing(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

/* The chunk at `offset`, read into the record. */
struct chunk {
    struct bulk_source source;
    const struct work *work;
    uint64_t offset;
};

static bool fill(struct bulk_source *source, void *to, size_t count)
{
    const struct chunk *chunk = (const struct chunk *)source;

    work_read(chunk->work, to, count, chunk->offset);
    return true;
}

/* ---- the server ---- */

static void put(struct svc_req *request, SVCXPRT *transport)
{
    const struct work *work = rpc_call_context(rpc_call_of(request));
    fs_upload_data_args arguments = {0};
    fs_upload_data_res result = {0};

    if (!svc_getargs(transport, put_arguments, &arguments)) {
        svcerr_decode(transport);
        return;
    }
    work_write(work, arguments.content.fs_data_val, arguments.content.fs_data_len, arguments.offset);
    result.held = arguments.offset + arguments.content.fs_data_len;
    svc_sendreply(transport, put_results, &result);
    svc_freeargs(transport, put_arguments, &arguments);
}

static void get(struct svc_req *request, SVCXPRT *transport)
{
    struct chunk chunk = {.source = {.fill = fill}, .work = rpc_call_context(rpc_call_of(request))};
    fs_download_args arguments = {0};
    fs_download_res result = {0};

    if (!svc_getargs(transport, get_arguments, &arguments)) {
        svcerr_decode(transport);
        return;
    }
    chunk.offset = arguments.offset;
    result.fs_download_res_u.download.content.fs_data_len = arguments.count;
    result.fs_download_res_u.download.content.fs_data_val = (char *)&chunk.source;
    rpc_call_reply_from(rpc_call_of(request), &chunk.source);
    svc_sendreply(transport, get_results, &result);
    svc_freeargs(transport, get_arguments, &arguments);
}

static void dispatch(struct svc_req *request, SVCXPRT *transport)
{
    if (request->rq_proc == FSPROC_UPLOAD_DATA)
        put(request, transport);
    else if (request->rq_proc == FSPROC_DOWNLOAD)
        get(request, transport);
    else
        svc_sendreply(transport, nothing, NULL);
}

static const struct rpc_procedure procedures[FSPROC_DOWNLOAD + 1] = {
    [FSPROC_NULL] = {.label = "null", .anonymous = true},
    [FSPROC_UPLOAD_DATA] = {.label = "upload_data", .writes = true, .may_wait = true, .ordered = true},
    [FSPROC_DOWNLOAD] = {.label = "download", .may_wait = true, .ordered = true},
};
static const struct rpc_program program = {FILESHARE_PROG, FILESHARE_V1, procedures, FSPROC_DOWNLOAD + 1,
                                           dispatch};

static struct address loopback(uint16_t port)
{
    struct address address;

    if (address_ip("127.0.0.1", port, &address, NULL) != OUTCOME_OK)
        work_fail("address");
    return address;
}

void contender_serve(const struct work *work)
{
    struct rpc_server_options options = {.program = &program,
                                         .limits = rpc_limits_default(),
                                         .clock = clock_system(),
                                         .name = "bench",
                                         .context = (void *)(uintptr_t)work};
    struct address any = loopback(0), bound;
    struct rpc_server *server = NULL;
    struct failure why;

    if (rpc_server_new(&options, &server, &why) != OUTCOME_OK ||
        rpc_server_listen(server, &any, &bound, &why) != OUTCOME_OK ||
        rpc_server_start(server, &why) != OUTCOME_OK)
        work_fail(why.text);
    printf("%u\n", address_port(&bound));
    fflush(stdout);
}

/* ---- the client ---- */

static struct rpc_client *connected(const struct work *work)
{
    const struct rpc_client_options options = {.number = FILESHARE_PROG, .version = FILESHARE_V1};
    struct address address = loopback(work->port);
    struct rpc_client *client = NULL;
    struct failure why;

    if (rpc_client_connect(&address, &options, &client, &why) != OUTCOME_OK)
        work_fail(why.text);
    return client;
}

static void expect(enum outcome outcome, const struct failure *why)
{
    if (outcome != OUTCOME_OK)
        work_fail(why->text);
}

static struct rpc_pending *begin_put(struct rpc_client *client, const struct work *work, uint64_t offset)
{
    struct chunk chunk = {{.fill = fill}, work, offset};
    fs_upload_data_args arguments = {.offset = offset};
    struct rpc_pending *pending = NULL;
    struct failure why;

    arguments.content.fs_data_len = WORK_CHUNK;
    arguments.content.fs_data_val = (char *)&chunk.source;
    expect(rpc_client_begin(client, FSPROC_UPLOAD_DATA, put_arguments, &arguments, &chunk.source, &pending,
                            &why),
           &why);
    return pending;
}

static void end_put(struct rpc_client *client, const struct work *work, struct rpc_pending *pending,
                    uint64_t offset)
{
    fs_upload_data_res result = {0};
    struct failure why;

    (void)work;
    expect(rpc_client_await(client, pending, put_results, &result, &why), &why);
    if (result.held != offset + WORK_CHUNK)
        work_fail("held");
    rpc_pending_free(client, pending);
}

static struct rpc_pending *begin_get(struct rpc_client *client, const struct work *work, uint64_t offset)
{
    fs_download_args arguments = {.offset = offset, .count = WORK_CHUNK};
    struct rpc_pending *pending = NULL;
    struct failure why;

    (void)work;
    expect(rpc_client_begin(client, FSPROC_DOWNLOAD, get_arguments, &arguments, NULL, &pending, &why), &why);
    return pending;
}

static void end_get(struct rpc_client *client, const struct work *work, struct rpc_pending *pending,
                    uint64_t offset)
{
    fs_download_res result = {0};
    struct failure why;

    expect(rpc_client_await(client, pending, get_results, &result, &why), &why);
    if (result.fs_download_res_u.download.content.fs_data_len != WORK_CHUNK)
        work_fail("short");
    work_write(work, result.fs_download_res_u.download.content.fs_data_val, WORK_CHUNK, offset);
    rpc_pending_free(client, pending);
}

typedef struct rpc_pending *begin_chunk(struct rpc_client *client, const struct work *work, uint64_t offset);
typedef void end_chunk(struct rpc_client *client, const struct work *work, struct rpc_pending *pending,
                       uint64_t offset);

static void move(const struct work *work, begin_chunk *begin, end_chunk *end)
{
    struct rpc_client *client = connected(work);
    struct rpc_pending *pendings[WORK_WINDOW];
    uint64_t count = work->amount / WORK_CHUNK, window = WORK_WINDOW;

    for (uint64_t i = 0; i < count + window; i++) {
        if (i >= window)
            end(client, work, pendings[i % window], (i - window) * WORK_CHUNK);
        if (i < count)
            pendings[i % window] = begin(client, work, i * WORK_CHUNK);
    }
    rpc_client_close(client);
}

void contender_put(const struct work *work)
{
    move(work, begin_put, end_put);
}

void contender_get(const struct work *work)
{
    move(work, begin_get, end_get);
}

static void null_one(struct rpc_client *client, uint64_t count)
{
    struct timeval limit = {25, 0};

    while (count-- > 0)
        if (clnt_call(rpc_client_handle(client), FSPROC_NULL, nothing, NULL, nothing, NULL, limit) !=
            RPC_SUCCESS)
            work_fail("null");
}

static void *null_in_thread(void *argument)
{
    const struct work *work = argument;
    struct rpc_client *client = connected(work);

    null_one(client, work->amount / work->flight);
    rpc_client_close(client);
    return NULL;
}

/* As the stock contender does it: a connection for each call in flight. */
void contender_connections(const struct work *work)
{
    pthread_t *threads = calloc(work->flight, sizeof(*threads));

    for (unsigned i = 0; i < work->flight; i++)
        if (pthread_create(&threads[i], NULL, null_in_thread, (void *)(uintptr_t)work) != 0)
            work_fail("thread");
    for (unsigned i = 0; i < work->flight; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

void contender_null(const struct work *work)
{
    struct rpc_client *client = connected(work);
    struct rpc_pending **pendings = calloc(work->flight, sizeof(struct rpc_pending *));
    struct failure why;

    if (work->flight == 1)
        null_one(client, work->amount);
    for (uint64_t i = 0; work->flight > 1 && i < work->amount + work->flight; i++) {
        struct rpc_pending **at = &pendings[i % work->flight];
        if (i >= work->flight) {
            expect(rpc_client_await(client, *at, nothing, NULL, &why), &why);
            rpc_pending_free(client, *at);
        }
        if (i < work->amount)
            expect(rpc_client_begin(client, FSPROC_NULL, nothing, NULL, NULL, at, &why), &why);
    }
    free(pendings);
    rpc_client_close(client);
}
