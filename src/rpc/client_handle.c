#include "rpc/client_inside.h"

#include "base/scoped.h"

#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

/*
 * The CLIENT that rpcgen's stubs call. It may be shared by threads, so what a
 * call leaves behind is kept by thread: one small struct for each that ever
 * called, until the connection is closed.
 */

static struct rpc_client *client_of(CLIENT *handle)
{
    return handle->cl_private;
}

/* NULL when there is no memory. */
static struct client_caller *caller_of(struct rpc_client *client)
{
    scoped_lock(&client->mutex);
    list_each(at, &client->callers) {
        struct client_caller *caller = list_entry(at, struct client_caller, link);
        if (pthread_equal(caller->thread, pthread_self()))
            return caller;
    }
    struct client_caller *caller = calloc(1, sizeof(*caller));
    if (caller) {
        caller->thread = pthread_self();
        list_append(&client->callers, &caller->link);
    }
    return caller;
}

/* What a stub returns for an outcome of the reply. */
static enum clnt_stat stat_of_reply(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_OK: return RPC_SUCCESS;
    case OUTCOME_TIMEOUT: return RPC_TIMEDOUT;
    case OUTCOME_UNREACHABLE: return RPC_CANTRECV;
    case OUTCOME_DENIED: return RPC_AUTHERROR;
    case OUTCOME_UNAVAILABLE: return RPC_PROGUNAVAIL;
    case OUTCOME_CHANGED: return RPC_PROGVERSMISMATCH;
    case OUTCOME_ABSENT: return RPC_PROCUNAVAIL;
    case OUTCOME_INVALID: return RPC_CANTDECODEARGS;
    case OUTCOME_PROTOCOL: return RPC_CANTDECODERES;
    default: return RPC_SYSTEMERROR;
    }
}

static enum clnt_stat stat_of_sending(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_TIMEOUT: return RPC_TIMEDOUT;
    case OUTCOME_UNREACHABLE: return RPC_CANTSEND;
    case OUTCOME_INVALID: return RPC_CANTENCODEARGS;
    default: return RPC_SYSTEMERROR;
    }
}

static enum clnt_stat handle_call(CLIENT *handle, rpcproc_t procedure, xdrproc_t encode, void *arguments,
                                  xdrproc_t decode, void *results, struct timeval stub_limit)
{
    struct rpc_client *client = client_of(handle);
    struct client_caller *caller = caller_of(client);
    struct rpc_pending *pending = NULL;

    (void)stub_limit; /* the stubs' 25 s; our own limits hold */
    if (!caller)
        return RPC_SYSTEMERROR;
    caller->reply = record_free(caller->reply);
    enum outcome outcome = client_start(client, procedure, handle->cl_auth, encode, arguments, NULL, false,
                                        &pending, &caller->why);
    if (outcome != OUTCOME_OK)
        return caller->stat = stat_of_sending(outcome);

    outcome = rpc_client_await(client, pending, decode, results, &caller->why);
    caller->low = pending->low;
    caller->high = pending->high;
    if (outcome == OUTCOME_OK)
        caller->reply = take_ptr(&pending->reply);
    rpc_pending_free(client, pending);
    return caller->stat = stat_of_reply(outcome);
}

static void handle_abort(CLIENT *handle)
{
    (void)handle; /* a call ends at its deadline */
}

static void handle_error(CLIENT *handle, struct rpc_err *out)
{
    const struct client_caller *caller = caller_of(client_of(handle));

    memset(out, 0, sizeof(*out));
    out->re_status = caller ? caller->stat : RPC_SYSTEMERROR;
    if (out->re_status == RPC_AUTHERROR) {
        out->re_why = (enum auth_stat)caller->low;
    } else if (out->re_status == RPC_PROGVERSMISMATCH) {
        out->re_vers.low = caller->low;
        out->re_vers.high = caller->high;
    }
}

static bool_t handle_free_results(CLIENT *handle, xdrproc_t decode, void *results)
{
    struct client_caller *caller = caller_of(client_of(handle));

    xdr_free(decode, results);
    if (caller)
        caller->reply = record_free(caller->reply);
    return TRUE;
}

static void handle_destroy(CLIENT *handle)
{
    (void)handle; /* it is part of the client: rpc_client_close */
}

static void set_limit(struct rpc_client *client, const struct timeval *limit)
{
    scoped_lock(&client->mutex);
    client->call_ms = (unsigned)(limit->tv_sec * 1000 + limit->tv_usec / 1000);
}

static void get_limit(struct rpc_client *client, struct timeval *out)
{
    scoped_lock(&client->mutex);
    out->tv_sec = client->call_ms / 1000;
    out->tv_usec = (suseconds_t)(client->call_ms % 1000) * 1000;
}

static bool_t handle_control(CLIENT *handle, u_int request, void *info)
{
    struct rpc_client *client = client_of(handle);

    switch (request) {
    case CLSET_TIMEOUT: set_limit(client, info); return TRUE;
    case CLGET_TIMEOUT: get_limit(client, info); return TRUE;
    case CLGET_FD: *(int *)info = client->fd; return TRUE;
    case CLGET_PROG: *(rpcprog_t *)info = client->options.number; return TRUE;
    case CLGET_VERS: *(rpcvers_t *)info = client->options.version; return TRUE;
    default: return FALSE;
    }
}

void client_handle_init(struct rpc_client *client)
{
    /* libtirpc's struct wants it writable; nobody writes. */
    static struct clnt_ops operations = {
        .cl_call = handle_call,
        .cl_abort = handle_abort,
        .cl_geterr = handle_error,
        .cl_freeres = handle_free_results,
        .cl_destroy = handle_destroy,
        .cl_control = handle_control,
    };

    client->handle.cl_ops = &operations;
    client->handle.cl_private = client;
    client->handle.cl_auth = client->auth ? client->auth : authnone_create();
}

void client_handle_fini(struct rpc_client *client)
{
    list_each(at, &client->callers) {
        struct client_caller *caller = list_entry(at, struct client_caller, link);
        list_remove(at);
        record_free(caller->reply);
        free(caller);
    }
}

static enum outcome outcome_of(enum clnt_stat stat)
{
    switch (stat) {
    case RPC_SUCCESS: return OUTCOME_OK;
    case RPC_TIMEDOUT: return OUTCOME_TIMEOUT;
    case RPC_CANTSEND:
    case RPC_CANTRECV: return OUTCOME_UNREACHABLE;
    case RPC_AUTHERROR: return OUTCOME_DENIED;
    case RPC_PROGUNAVAIL: return OUTCOME_UNAVAILABLE;
    case RPC_PROGVERSMISMATCH: return OUTCOME_CHANGED;
    case RPC_PROCUNAVAIL: return OUTCOME_ABSENT;
    case RPC_CANTENCODEARGS:
    case RPC_CANTDECODEARGS: return OUTCOME_INVALID;
    case RPC_CANTDECODERES: return OUTCOME_PROTOCOL;
    default: return OUTCOME_FAULT;
    }
}

enum outcome rpc_client_outcome(struct rpc_client *client, enum clnt_stat stat, struct failure *why)
{
    if (stat == RPC_SUCCESS)
        return OUTCOME_OK;
    const struct client_caller *caller = caller_of(client);
    if (!caller || caller->stat != stat)
        return failure_set(why, outcome_of(stat), "the call to %s failed", client->peer_text);
    return failure_set(why, caller->why.outcome, "%s", caller->why.text);
}
