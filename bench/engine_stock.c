/*
 * bench/engine's stock contender: libtirpc's svc_run and clnt_vc, with what stock
 * rpcgen makes of the same contract. One CLIENT carries one call at a time, so
 * calls in flight are threads with a connection each.
 */
#include "engine_work.h"

#include <netinet/in.h>
#include <proto/fileshare.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const xdrproc_t put_arguments = (xdrproc_t)xdr_fs_upload_data_args;
static const xdrproc_t put_results = (xdrproc_t)xdr_fs_upload_data_res;
static const xdrproc_t get_arguments = (xdrproc_t)xdr_fs_download_args;
static const xdrproc_t get_results = (xdrproc_t)xdr_fs_download_res;
static const struct timeval limit = {25, 0};

static const struct work *served; /* a dispatcher has no context */

static bool_t nothing(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

static void put(SVCXPRT *transport)
{
    fs_upload_data_args arguments = {0};
    fs_upload_data_res result = {0};
    char no_reason[] = "";

    if (!svc_getargs(transport, put_arguments, (char *)&arguments)) {
        svcerr_decode(transport);
        return;
    }
    work_write(served, arguments.content.fs_data_val, arguments.content.fs_data_len, arguments.offset);
    result.held = arguments.offset + arguments.content.fs_data_len;
    result.reason.fs_text_val = no_reason;
    svc_sendreply(transport, put_results, (char *)&result);
    svc_freeargs(transport, put_arguments, (char *)&arguments);
}

static void get(SVCXPRT *transport)
{
    static char content[WORK_CHUNK];
    fs_download_args arguments = {0};
    fs_download_res result = {0};

    if (!svc_getargs(transport, get_arguments, (char *)&arguments) || arguments.count > sizeof(content)) {
        svcerr_decode(transport);
        return;
    }
    work_read(served, content, arguments.count, arguments.offset);
    result.fs_download_res_u.download.content.fs_data_len = arguments.count;
    result.fs_download_res_u.download.content.fs_data_val = content;
    svc_sendreply(transport, get_results, (char *)&result);
    svc_freeargs(transport, get_arguments, (char *)&arguments);
}

static void dispatch(struct svc_req *request, SVCXPRT *transport)
{
    if (request->rq_proc == FSPROC_UPLOAD_DATA)
        put(transport);
    else if (request->rq_proc == FSPROC_DOWNLOAD)
        get(transport);
    else
        svc_sendreply(transport, nothing, NULL);
}

static void *run(void *unused)
{
    svc_run();
    return unused;
}

void contender_serve(const struct work *work)
{
    pthread_t thread;

    served = work;
    SVCXPRT *transport = svc_vc_create(work_listen(), 0, 0);
    if (!transport || !svc_reg(transport, FILESHARE_PROG, FILESHARE_V1, dispatch, NULL))
        work_fail("svc_vc_create");
    if (pthread_create(&thread, NULL, run, NULL) != 0)
        work_fail("thread");
}

static CLIENT *connected(const struct work *work)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct netbuf address = {.maxlen = sizeof(to), .len = sizeof(to), .buf = &to};

    to.sin_port = htons(work->port);
    CLIENT *client = clnt_vc_create(work_connect(work->port), &address, FILESHARE_PROG, FILESHARE_V1, 0, 0);
    if (!client)
        work_fail("clnt_vc_create");
    auth_destroy(client->cl_auth);
    client->cl_auth = authunix_create_default();
    return client;
}

void contender_put(const struct work *work)
{
    CLIENT *client = connected(work);
    char *content = malloc(WORK_CHUNK);

    for (uint64_t offset = 0; offset < work->amount; offset += WORK_CHUNK) {
        fs_upload_data_args arguments = {.offset = offset};
        fs_upload_data_res result = {0};
        work_read(work, content, WORK_CHUNK, offset);
        arguments.content.fs_data_len = WORK_CHUNK;
        arguments.content.fs_data_val = content;
        if (clnt_call(client, FSPROC_UPLOAD_DATA, put_arguments, (char *)&arguments, put_results,
                      (char *)&result, limit) != RPC_SUCCESS ||
            result.held != offset + WORK_CHUNK)
            work_fail("put");
        clnt_freeres(client, put_results, (char *)&result);
    }
    free(content);
    clnt_destroy(client);
}

void contender_get(const struct work *work)
{
    CLIENT *client = connected(work);

    for (uint64_t offset = 0; offset < work->amount; offset += WORK_CHUNK) {
        fs_download_args arguments = {.offset = offset, .count = WORK_CHUNK};
        fs_download_res result = {0};
        char none[] = "";
        arguments.name.fs_name_val = none;
        if (clnt_call(client, FSPROC_DOWNLOAD, get_arguments, (char *)&arguments, get_results,
                      (char *)&result, limit) != RPC_SUCCESS ||
            result.fs_download_res_u.download.content.fs_data_len != WORK_CHUNK)
            work_fail("get");
        work_write(work, result.fs_download_res_u.download.content.fs_data_val, WORK_CHUNK, offset);
        clnt_freeres(client, get_results, (char *)&result);
    }
    clnt_destroy(client);
}

static void *null_many(void *argument)
{
    const struct work *work = argument;
    CLIENT *client = connected(work);

    for (uint64_t i = 0; i < work->amount / work->flight; i++)
        if (clnt_call(client, FSPROC_NULL, nothing, NULL, nothing, NULL, limit) != RPC_SUCCESS)
            work_fail("null");
    clnt_destroy(client);
    return NULL;
}

void contender_connections(const struct work *work)
{
    pthread_t *threads = calloc(work->flight, sizeof(*threads));

    for (unsigned i = 0; i < work->flight; i++)
        if (pthread_create(&threads[i], NULL, null_many, (void *)(uintptr_t)work) != 0)
            work_fail("thread");
    for (unsigned i = 0; i < work->flight; i++)
        pthread_join(threads[i], NULL);
    free(threads);
}

void contender_null(const struct work *work)
{
    contender_connections(work);
}
