#include "callback/listener.h"

#include "base/fault.h"
#include "base/list.h"
#include "base/log.h"
#include "base/scoped.h"
#include "rpc/call.h"
#include "rpc/rpcbind.h"
#include "rpc/server.h"

#include <pthread.h>
#include <rpc/rpc.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUBSCRIBERS_MAX = 256,
    WORKERS = 4,
    PERMITS = 2,             /* handlers at once; HELLO and NULL answer all the while */
    CONNECTIONS_MAX = 64,    /* the server needs one a mailbox */
    RECORD_MAX = 256 * 1024, /* a NOTIFY of FS_EVENTS_MAX events at their longest fits */
    IN_FLIGHT_BYTES = 4 * 1024 * 1024,
    STOP_MS = 1000,
    NOTIFY_MS = 60 * 1000,
    HELLO_MS = 10 * 1000,
};

/* rpcgen's dispatcher, which it declares nowhere. */
void fileshare_callback_prog_1(struct svc_req *request, SVCXPRT *transport);

/* Whoever has a mailbox in this process. */
struct subscriber {
    struct list link;
    struct id ticket;
    uint64_t known; /* events up to this number were shown */
    listener_handler *handler;
    void *context;
    bool busy; /* its handler runs: the lock is not held meanwhile, and nobody frees it */
};

struct listener {
    struct rpc_server *server;
    struct rpcbind_registration *registration; /* NULL without rpcbind */
    uint32_t number;
    struct address address;
    struct id proof;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t idle;  /* a handler came back */
    struct list subscribers;
    unsigned subscriber_count;
};

/* ---- life ---- */

static struct rpc_limits limits(void)
{
    struct rpc_limits limits = rpc_limits_default();
    limits.workers = WORKERS;
    limits.permits = PERMITS;
    limits.connections = limits.connections_per_address = CONNECTIONS_MAX;
    limits.record_max = limits.record_anonymous_max = RECORD_MAX;
    limits.in_flight_bytes = limits.in_flight_reserve_bytes = IN_FLIGHT_BYTES;
    return limits;
}

static enum outcome listen_at(struct listener *listener, const struct address *local, struct failure *why)
{
    struct address address = *local;
    enum outcome outcome = OUTCOME_OK;
    if (local->size == 0 || address_is_local(local))
        outcome = address_ip("127.0.0.1", 0, &address, why);
    address_set_port(&address, 0);
    const struct rpc_server_options options = {
        .program = listener_program(),
        .number = listener->number,
        .limits = limits(),
        .clock = clock_system(),
        .name = "callback",
        .trust_anonymous = true,
        .context = listener,
    };
    if (outcome == OUTCOME_OK)
        outcome = rpc_server_new(&options, &listener->server, why);
    if (outcome == OUTCOME_OK)
        outcome = rpc_server_listen(listener->server, &address, &listener->address, why);
    return outcome;
}

/* Any number of the transient range will do where no rpcbind keeps the book. */
static uint32_t random_number(void)
{
    struct id random = id_random();
    uint32_t word;
    memcpy(&word, random.octets, sizeof word);
    return FS_TRANSIENT_MIN + word % (FS_TRANSIENT_MAX - FS_TRANSIENT_MIN + 1);
}

/* Not to be in rpcbind's book is no failure: the server is told the port as well. */
static void register_number(struct listener *listener, int stop_fd)
{
    struct failure why;
    uint32_t number;
    enum outcome outcome = rpcbind_register_transient(&listener->address, 1, FILESHARE_CALLBACK_V1, stop_fd,
                                                      &number, &listener->registration, &why);
    if (outcome == OUTCOME_OK) {
        listener->number = number;
        rpc_server_set_number(listener->server, number);
    } else
        log_debug("the callback program is not registered: %s", why.text);
}

enum outcome listener_new(const struct listener_options *options, struct listener **out, struct failure *why)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the callback program");
    pthread_mutex_init(&listener->lock, NULL);
    pthread_cond_init(&listener->idle, NULL);
    list_init(&listener->subscribers);
    listener->proof = id_random();
    listener->number = random_number();
    enum outcome outcome = listen_at(listener, &options->local, why);
    if (outcome == OUTCOME_OK && !options->without_rpcbind)
        register_number(listener, options->stop_fd);
    if (outcome == OUTCOME_OK)
        outcome = rpc_server_start(listener->server, why);
    if (outcome != OUTCOME_OK) {
        (void)listener_free(listener);
        return outcome;
    }
    *out = listener;
    return OUTCOME_OK;
}

void *listener_free(struct listener *listener)
{
    if (!listener)
        return NULL;
    rpcbind_registration_free(listener->registration);
    if (listener->server)
        (void)rpc_server_stop(listener->server, STOP_MS);
    rpc_server_free(listener->server);
    list_each(at, &listener->subscribers) {
        list_remove(at);
        free(list_entry(at, struct subscriber, link));
    }
    pthread_cond_destroy(&listener->idle);
    pthread_mutex_destroy(&listener->lock);
    free(listener);
    return NULL;
}

uint32_t listener_number(const struct listener *listener)
{
    return listener->number;
}

const struct address *listener_address(const struct listener *listener)
{
    return &listener->address;
}

const struct id *listener_proof(const struct listener *listener)
{
    return &listener->proof;
}

bool listener_is_registered(const struct listener *listener)
{
    return listener->registration != NULL;
}

/* ---- who has a mailbox: the lock is held ---- */

/* Looks at all of them, so that the time it takes says nothing about the tickets. */
static struct subscriber *find(struct listener *listener, const struct id *ticket)
{
    struct subscriber *found = NULL;
    list_each(at, &listener->subscribers) {
        struct subscriber *subscriber = list_entry(at, struct subscriber, link);
        if (id_equal_secret(&subscriber->ticket, ticket))
            found = subscriber;
    }
    return found;
}

/* The one with this ticket once its handler rests; NULL if there is none (any more). */
static struct subscriber *find_idle(struct listener *listener, const struct id *ticket)
{
    struct subscriber *subscriber;
    while ((subscriber = find(listener, ticket)) != NULL && subscriber->busy)
        pthread_cond_wait(&listener->idle, &listener->lock);
    return subscriber;
}

enum outcome listener_add(struct listener *listener, const struct id *ticket, uint64_t since,
                          listener_handler *handler, void *context, struct failure *why)
{
    struct subscriber *subscriber = calloc(1, sizeof *subscriber);
    if (!subscriber)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a mailbox's ticket");
    *subscriber =
        (struct subscriber){.ticket = *ticket, .known = since, .handler = handler, .context = context};
    scoped_lock(&listener->lock);
    if (listener->subscriber_count >= SUBSCRIBERS_MAX || find(listener, ticket)) {
        bool held = listener->subscriber_count < SUBSCRIBERS_MAX;
        free(subscriber);
        return held ? failure_set(why, OUTCOME_HELD, "the ticket is in use already")
                    : failure_set(why, OUTCOME_LIMIT, "%d mailboxes listen in this process, more can't",
                                  SUBSCRIBERS_MAX);
    }
    list_append(&listener->subscribers, &subscriber->link);
    listener->subscriber_count++;
    return OUTCOME_OK;
}

void listener_remove(struct listener *listener, const struct id *ticket)
{
    scoped_lock(&listener->lock);
    struct subscriber *subscriber = find_idle(listener, ticket);
    if (subscriber) {
        list_remove(&subscriber->link);
        listener->subscriber_count--;
        free(subscriber);
        pthread_cond_broadcast(&listener->idle);
    }
}

/* ---- the program ---- */

/* Takes the subscriber for a batch, and says what it knows; NULL: nobody has this ticket. */
static struct subscriber *engage(struct listener *listener, const struct id *ticket, uint64_t *known)
{
    scoped_lock(&listener->lock);
    struct subscriber *subscriber = find_idle(listener, ticket);
    if (subscriber) {
        subscriber->busy = true;
        *known = subscriber->known;
    }
    return subscriber;
}

static void release(struct listener *listener, struct subscriber *subscriber, uint64_t known)
{
    scoped_lock(&listener->lock);
    subscriber->known = known;
    subscriber->busy = false;
    pthread_cond_broadcast(&listener->idle);
}

/*
 * The events of the batch, checked; NULL if one of them can't be or their
 * numbers do not grow. Yours to free.
 */
static struct event *take_events(const fs_notify_args *args)
{
    scoped_free struct event *events = calloc(args->rows.rows_len, sizeof *events);
    struct failure why;
    for (u_int i = 0; events && i < args->rows.rows_len; i++) {
        if (event_from_wire(&args->rows.rows_val[i], &events[i], &why) != OUTCOME_OK) {
            log_debug("%s", why.text);
            return NULL;
        }
        if (i > 0 && events[i].number <= events[i - 1].number)
            return NULL;
    }
    return take_ptr(&events);
}

/* Shows what is new of them; returns up to which number they are known now. */
static uint64_t show(const struct subscriber *subscriber, uint64_t known, const struct event *events,
                     size_t count, bool reversed)
{
    size_t first = 0;
    while (first < count && events[first].number <= known)
        first++;
    if (first == count)
        return known;
    uint64_t shown = subscriber->handler(subscriber->context, events + first, count - first, reversed);
    if (shown > events[count - 1].number)
        shown = events[count - 1].number;
    return shown > known ? shown : known;
}

bool_t fscbproc_null_1_svc(void *args, void *result, struct svc_req *request)
{
    (void)args;
    (void)result;
    (void)request;
    return TRUE;
}

bool_t fscbproc_hello_1_svc(fs_callback_hello_args *args, fs_callback_hello *result, struct svc_req *request)
{
    (void)args;
    const struct listener *listener = rpc_call_context(rpc_call_of(request));
    memcpy(result->proof.octets, listener->proof.octets, ID_SIZE);
    return TRUE;
}

bool_t fscbproc_notify_1_svc(fs_notify_args *args, fs_notify *result, struct svc_req *request)
{
    const struct rpc_call *call = rpc_call_of(request);
    struct listener *listener = rpc_call_context(call);
    struct id ticket;
    uint64_t known = 0;
    memcpy(ticket.octets, args->ticket.octets, ID_SIZE);
    result->acknowledged = 0;
    struct subscriber *subscriber = engage(listener, &ticket, &known);
    if (!subscriber) {
        svcerr_auth(request->rq_xprt, AUTH_BADCRED);
        return FALSE;
    }
    FAULT_POINT("notice-received");
    u_int count = args->rows.rows_len;
    scoped_free struct event *events = count > 0 ? take_events(args) : NULL;
    if (events)
        known = show(subscriber, known, events, count, rpc_call_connection(call) == 0);
    release(listener, subscriber, known);
    if (count > 0 && !events) {
        svcerr_decode(request->rq_xprt);
        return FALSE;
    }
    /* Never more than was sent. */
    uint64_t last = count > 0 ? events[count - 1].number : 0;
    result->acknowledged = known < last ? known : last;
    return TRUE;
}

/* Results hold no memory. */
int fileshare_callback_prog_1_freeresult(SVCXPRT *transport, xdrproc_t encode, caddr_t result)
{
    (void)transport;
    (void)encode;
    (void)result;
    return TRUE;
}

const struct rpc_program *listener_program(void)
{
    static const struct rpc_procedure procedures[] = {
        [FSCBPROC_NULL] = {.label = "null", .repeatable = true, .anonymous = true, .time_limit_ms = HELLO_MS},
        [FSCBPROC_HELLO] = {.label = "hello",
                            .repeatable = true,
                            .anonymous = true,
                            .time_limit_ms = HELLO_MS},
        [FSCBPROC_NOTIFY] = {.label = "notify",
                             .writes = true,
                             .may_wait = true,
                             .repeatable = true,
                             .anonymous = true,
                             .time_limit_ms = NOTIFY_MS},
    };
    static const struct rpc_program program = {
        .number = FILESHARE_CALLBACK_PROG,
        .version = FILESHARE_CALLBACK_V1,
        .procedures = procedures,
        .count = sizeof procedures / sizeof procedures[0],
        .dispatch = fileshare_callback_prog_1,
    };
    return &program;
}
