#include "rpc/client_inside.h"

#include "base/clock.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "rpc/page.h"

#include <signal.h>
#include <stdlib.h>

/*
 * Calls that the server sends on our connection. The reader thread queues them,
 * the serving thread takes one after the other through the page, so a handler
 * may call the server and await its reply: the reader goes on reading.
 *
 * `mutex` is taken alone: nothing is called under it.
 */
struct client_reversed {
    struct rpc_client *client;
    struct page page;
    struct peer peer;
    pthread_t reader, server;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct list waiting; /* struct waiting_call */
    unsigned count;
    bool stopping;
};

struct waiting_call {
    struct list link;
    struct record *record;
};

enum outcome client_reversed_take(struct client_reversed *reversed, struct record *record,
                                  struct failure *why)
{
    struct waiting_call *call = malloc(sizeof(*call));

    if (!call) {
        record_free(record);
        return failure_set(why, OUTCOME_NOMEM, "no memory for a call of the server's");
    }
    call->record = record;
    scoped_lock(&reversed->mutex);
    list_append(&reversed->waiting, &call->link);
    pthread_cond_signal(&reversed->changed);
    if (++reversed->count <= CLIENT_REVERSED_MAX)
        return OUTCOME_OK;
    return failure_set(why, OUTCOME_LIMIT, "the server sends more calls than are served here");
}

/* The next call to serve; NULL at the end. */
static struct record *next_call(struct client_reversed *reversed)
{
    scoped_lock(&reversed->mutex);
    while (list_is_empty(&reversed->waiting) && !reversed->stopping)
        pthread_cond_wait(&reversed->changed, &reversed->mutex);
    if (reversed->stopping)
        return NULL;
    struct waiting_call *call = list_first(&reversed->waiting, struct waiting_call, link);
    struct record *record = call->record;
    list_remove(&call->link);
    free(call);
    reversed->count--;
    return record;
}

/* A reply that cannot be sent in time is dropped: the server's own deadline tells it. */
static void send_reply(struct rpc_client *client, struct record *reply)
{
    bool sent = false;

    scoped_lock(&client->mutex);
    int64_t deadline = client_now() + (int64_t)client->call_ms * 1000000;
    struct client_outgoing *outgoing = client_enqueue(client, reply, &sent);
    if (!outgoing)
        return;
    client_flush(client);
    if (!sent && client_wait(client, &sent, deadline, NULL) != OUTCOME_OK)
        client_forget(outgoing);
}

static void *serve(void *argument)
{
    struct client_reversed *reversed = argument;
    const struct page_caller caller = {.peer = &reversed->peer, .context = reversed->client->options.context};
    struct record *record;

    while ((record = next_call(reversed))) {
        struct page_request request;
        page_read(&reversed->page, record, &request);
        struct record *reply = page_serve(&reversed->page, &caller, &request, record);
        if (reply)
            send_reply(reversed->client, reply);
        FAULT_POINT("reversed-answered");
        record_free(record);
    }
    return NULL;
}

static bool is_closing(struct rpc_client *client)
{
    scoped_lock(&client->mutex);
    return client->closing;
}

static void *read_all(void *argument)
{
    struct rpc_client *client = argument;

    client_lead_on(client);
    if (client->options.broken && !is_closing(client))
        client->options.broken(client->options.broken_context);
    return NULL;
}

/* The process's signals are its main thread's. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *argument, const char *name)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        pthread_setname_np(*thread, name);
    return error;
}

static void drop_waiting(struct client_reversed *reversed)
{
    list_each(at, &reversed->waiting) {
        struct waiting_call *call = list_entry(at, struct waiting_call, link);
        list_remove(at);
        record_free(call->record);
        free(call);
    }
}

static void reversed_free(struct client_reversed *reversed)
{
    drop_waiting(reversed);
    page_fini(&reversed->page);
    pthread_cond_destroy(&reversed->changed);
    pthread_mutex_destroy(&reversed->mutex);
    free(reversed);
}

static void stop_serving(struct client_reversed *reversed)
{
    pthread_mutex_lock(&reversed->mutex);
    reversed->stopping = true;
    pthread_cond_signal(&reversed->changed);
    pthread_mutex_unlock(&reversed->mutex);
    pthread_join(reversed->server, NULL);
}

enum outcome client_reversed_start(struct rpc_client *client, struct failure *why)
{
    struct client_reversed *reversed = calloc(1, sizeof(*reversed));
    int error;

    if (!reversed)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a connection");
    reversed->client = client;
    pthread_mutex_init(&reversed->mutex, NULL);
    pthread_cond_init(&reversed->changed, NULL);
    list_init(&reversed->waiting);
    peer_init(&reversed->peer, client->fd, &client->peer);
    enum outcome outcome = page_init(&reversed->page, client->options.reversed,
                                     client->options.reversed_number, true,
                                     client->options.record_max + RECORD_HEADER_SIZE, clock_system(), why);
    if (outcome == OUTCOME_OK && (error = start_thread(&reversed->server, serve, reversed, "rpc-serve")) != 0)
        outcome = failure_system(why, OUTCOME_LOCAL, error, "cannot start a thread");
    if (outcome != OUTCOME_OK) {
        reversed_free(reversed);
        return outcome;
    }
    /* Both are set before the reader is there, and nobody else knows the client yet. */
    client->led = true;
    client->reversed = reversed;
    if ((error = start_thread(&reversed->reader, read_all, client, "rpc-read")) != 0) {
        client->reversed = NULL;
        stop_serving(reversed);
        reversed_free(reversed);
        return failure_system(why, OUTCOME_LOCAL, error, "cannot start a thread");
    }
    return OUTCOME_OK;
}

void client_reversed_stop(struct rpc_client *client)
{
    struct client_reversed *reversed = client->reversed;

    stop_serving(reversed);
    pthread_join(reversed->reader, NULL);
    reversed_free(reversed);
    client->reversed = NULL;
}
