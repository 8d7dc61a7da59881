#include "wire/client_calls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static const struct rpc_procedure procedures[] = {
    {.label = "null"},
    {.label = "echo"},
    {.label = "blob"},
    {.label = "silent", .time_limit_ms = 200},
};
const struct rpc_program calls_program = {CALLS_PROGRAM, 1, procedures, 4, NULL};

static bool_t xdr_blob(XDR *xdrs, struct calls_blob *blob)
{
    return fs_xdr_bytes(xdrs, &blob->bytes, &blob->count, CALLS_CONTENT_MAX);
}

const xdrproc_t calls_word = (xdrproc_t)xdr_u_int;
const xdrproc_t calls_blob = (xdrproc_t)xdr_blob;

int64_t calls_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct rpc_client *calls_connected(struct scripted_peer *peer, unsigned call_ms)
{
    struct rpc_client_options options = {.number = CALLS_PROGRAM,
                                         .version = 1,
                                         .program = &calls_program,
                                         .call_ms = call_ms};
    struct rpc_client *client = NULL;
    struct failure why = {0};

    if (rpc_client_connect(&peer->address, &options, &client, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    return client;
}

enum clnt_stat calls_echo(struct rpc_client *client, uint32_t word, uint32_t *out)
{
    struct timeval stub_limit = {25, 0};

    *out = 0;
    return clnt_call(rpc_client_handle(client), CALLS_ECHO, calls_word, (caddr_t)&word, calls_word,
                     (caddr_t)out, stub_limit);
}

void calls_assert_echo(struct rpc_client *client, uint32_t word)
{
    uint32_t got;

    assert_int_equal(calls_echo(client, word, &got), RPC_SUCCESS);
    assert_int_equal(got, word + 1);
}

struct rpc_pending *calls_begun(struct rpc_client *client, uint32_t procedure, uint32_t word)
{
    struct rpc_pending *pending = NULL;
    struct failure why = {0};

    if (rpc_client_begin(client, procedure, calls_word, &word, NULL, &pending, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    return pending;
}

enum outcome calls_awaited(struct rpc_client *client, struct rpc_pending *pending, uint32_t *word,
                           struct failure *why)
{
    *word = 0;
    enum outcome outcome = rpc_client_await(client, pending, calls_word, word, why);
    assert_null(rpc_pending_free(client, pending));
    return outcome;
}

void calls_serve(struct scripted_peer *peer, void *context)
{
    struct scripted_call call;

    (void)context;
    while (scripted_read_call(peer, &call)) {
        if (call.procedure == CALLS_ECHO)
            scripted_reply_word(peer, call.xid, scripted_word_at(call.arguments) + 1);
        else if (call.procedure == CALLS_BLOB)
            scripted_reply(peer, call.xid, call.arguments, call.size);
        free(call.arguments);
    }
}
