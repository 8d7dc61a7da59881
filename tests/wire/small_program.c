#include "wire/small_program.h"

#include "rpc/bulk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

struct opaque {
    char *bytes;
    u_int count;
};

static bool_t xdr_opaque_1m(XDR *xdrs, struct opaque *opaque)
{
    return fs_xdr_bytes(xdrs, &opaque->bytes, &opaque->count, 1 << 20);
}

static void echo(struct svc_req *request, SVCXPRT *transport)
{
    struct opaque argument = {NULL, 0};

    (void)request;
    if (!svc_getargs(transport, (xdrproc_t)xdr_opaque_1m, &argument))
        svcerr_decode(transport);
    else
        svc_sendreply(transport, (xdrproc_t)xdr_opaque_1m, (char *)&argument);
}

static bool fill(struct bulk_source *source, void *to, size_t count)
{
    (void)source;
    memset(to, 'g', count);
    return true;
}

static void give(struct svc_req *request, SVCXPRT *transport)
{
    struct bulk_source *source = rpc_call_alloc(rpc_call_of(request), sizeof *source);
    u_int count = 0;

    if (!svc_getargs(transport, (xdrproc_t)xdr_u_int, &count)) {
        svcerr_decode(transport);
        return;
    }
    if (!source) {
        svcerr_systemerr(transport);
        return;
    }
    *source = (struct bulk_source){.fill = fill};
    struct opaque result = {(char *)source, count};
    rpc_call_reply_from(rpc_call_of(request), source);
    if (!svc_sendreply(transport, (xdrproc_t)xdr_opaque_1m, (char *)&result))
        svcerr_systemerr(transport);
}

static void nap(unsigned ms)
{
    const struct timespec span = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&span, NULL);
}

static void sleep_for(struct svc_req *request, SVCXPRT *transport)
{
    u_int ms = 0;

    (void)request;
    if (!svc_getargs(transport, (xdrproc_t)xdr_u_int, &ms)) {
        svcerr_decode(transport);
        return;
    }
    nap(ms);
    svc_sendreply(transport, (xdrproc_t)(void (*)(void))xdr_void, NULL);
}

static void who(struct svc_req *request, SVCXPRT *transport)
{
    const struct rpc_principal *caller = rpc_call_principal(rpc_call_of(request));
    char *text = rpc_call_alloc(rpc_call_of(request), RPC_PRINCIPAL_SIZE + 8);

    strcpy(text, caller->text);
    strcat(text, caller->superior ? "+" : "-");
    struct opaque result = {text, (u_int)strlen(text)};
    svc_sendreply(transport, (xdrproc_t)xdr_opaque_1m, (char *)&result);
}

static void order(struct svc_req *request, SVCXPRT *transport)
{
    _Atomic unsigned *served = rpc_call_context(rpc_call_of(request)); /* small_server.served */
    u_int number = 0;

    if (!svc_getargs(transport, (xdrproc_t)xdr_u_int, &number)) {
        svcerr_decode(transport);
        return;
    }
    u_int result = atomic_load(served);
    nap(number > 0 ? number : 1);
    atomic_fetch_add(served, 1);
    svc_sendreply(transport, (xdrproc_t)xdr_u_int, (char *)&result);
}

static void hello(struct svc_req *request, SVCXPRT *transport)
{
    uint64_t number = rpc_call_connection(rpc_call_of(request));

    svc_sendreply(transport, (xdrproc_t)xdr_uint64_t, (char *)&number);
}

static void dispatch(struct svc_req *request, SVCXPRT *transport)
{
    switch (request->rq_proc) {
    case SMALL_NULL: svc_sendreply(transport, (xdrproc_t)(void (*)(void))xdr_void, NULL); break;
    case SMALL_ECHO: echo(request, transport); break;
    case SMALL_FETCH:
    case SMALL_GIVE: give(request, transport); break;
    case SMALL_SLEEP: sleep_for(request, transport); break;
    case SMALL_WHO: who(request, transport); break;
    case SMALL_ORDER: order(request, transport); break;
    case SMALL_HELLO: hello(request, transport); break;
    default: svcerr_noproc(transport);
    }
}

static const struct rpc_procedure procedures[SMALL_COUNT] = {
    [SMALL_NULL] = {.label = "null", .repeatable = true, .anonymous = true, .time_limit_ms = 1000},
    [SMALL_ECHO] = {.label = "echo"},
    [SMALL_GIVE] = {.label = "give"},
    [SMALL_FETCH] = {.label = "fetch", .may_wait = true},
    [SMALL_SLEEP] = {.label = "sleep", .may_wait = true},
    [SMALL_WHO] = {.label = "who"},
    [SMALL_ORDER] = {.label = "order", .may_wait = true, .ordered = true},
    [SMALL_HELLO] = {.label = "hello", .anonymous = true},
};

const struct rpc_program small_program = {.number = SMALL_PROGRAM,
                                          .version = 1,
                                          .procedures = procedures,
                                          .count = SMALL_COUNT,
                                          .dispatch = dispatch};

void small_server_start(struct small_server *small, void (*change)(struct rpc_limits *limits))
{
    struct address any;

    small->options = (struct rpc_server_options){.program = &small_program,
                                                 .limits = rpc_limits_default(),
                                                 .clock = clock_system(),
                                                 .name = "small",
                                                 .context = &small->served};
    atomic_store(&small->served, 0);
    if (change)
        change(&small->options.limits);
    assert_int_equal(rpc_server_new(&small->options, &small->server, NULL), OUTCOME_OK);
    assert_int_equal(address_ip("127.0.0.1", 0, &any, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(small->server, &any, &small->tcp, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_start(small->server, NULL), OUTCOME_OK);
}

void small_server_stop(struct small_server *small)
{
    rpc_server_stop(small->server, 5000);
    small->server = rpc_server_free(small->server);
}

struct rpc_server_counters small_server_count(struct small_server *small)
{
    struct rpc_server_counters counters;

    rpc_server_count(small->server, &counters);
    return counters;
}
