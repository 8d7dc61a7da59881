#include "base/log.h"
#include "base/scoped.h"
#include "rpc/distance.h"
#include "rpc/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

/* How a turn's reading came to its end. */
enum turn {
    TURN_GOES_ON, /* it has not */
    TURN_DRAINED, /* the socket has no more for now */
    TURN_SPENT,   /* as much was served as one turn may */
    TURN_FULL,    /* too much is unsent or in service */
    TURN_PAUSED,  /* it waits for something of ours */
    TURN_OVER,    /* the peer ended, or was cut */
};

static const struct rpc_limits *limits_of(const struct connection *connection)
{
    return &connection->server->options.limits;
}

static struct page_caller page_caller_of(struct connection *connection)
{
    return (struct page_caller){
        .connection = connection->id,
        .peer = &connection->peer,
        .context = connection->server->options.context,
    };
}

/* ---- reading ---- */

/*
 * record_reader's source. A read that came back short has emptied the socket: the
 * next one in this turn is spared. But where so much came that more of a large
 * record is on its way, the next one finds it, most often; and as long as nobody
 * waits for the socket its segments wake nobody. While a worker is on its way to
 * what woke it, each segment wakes one more, in vain.
 */
static ssize_t read_some(void *context, void *to, size_t count)
{
    enum { MORE_COMES = 32 * 1024 };
    struct connection *connection = context;

    if (connection->drained) {
        errno = EAGAIN;
        return -1;
    }
    ssize_t got = connection->stream.kind->read(&connection->stream, to, count);
    if (got > 0) {
        connection->drained = (size_t)got < count && got < MORE_COMES;
        connection->turn_bytes += (size_t)got;
        atomic_fetch_add_explicit(&connection->moved, (uint64_t)got, memory_order_relaxed);
    }
    return got;
}

/* Whether the first bytes of a record show a caller who may send a large one. */
static bool may_be_large(struct connection *connection, const uint8_t *bytes, size_t count)
{
    struct message_call call;
    struct rpc_principal caller;

    if (connection->server->options.trust_anonymous)
        return true;
    return message_parse_call(bytes, count, &call, NULL) == OUTCOME_OK &&
           call.rpc_version == RPC_MSG_VERSION && call.program == connection->server->page.number &&
           principal_of(&connection->peer, call.flavor, call.credential, call.credential_size, &caller) ==
               AUTH_OK &&
           caller.text[0];
}

/* A large record begins: the peer may send more of them at once. */
static void make_room(struct connection *connection)
{
    if (!connection->has_room && distance_of(connection->stream.fd) >= DISTANCE_FAR)
        distance_make_room(connection->stream.fd, DISTANCE_ROOM);
    connection->has_room = true;
}

bool intake_hook(void *context, const uint8_t *bytes, size_t so_far, size_t size)
{
    struct connection *connection = context;
    struct rpc_server *server = connection->server;
    size_t charge = atomic_load_explicit(&connection->charge, memory_order_relaxed);

    if (size > server->intake.small_max && charge <= server->intake.small_max &&
        !may_be_large(connection, bytes, so_far)) {
        errno = 0;
        return false;
    }
    if (atomic_load_explicit(&connection->record_since, memory_order_relaxed) == 0)
        atomic_store_explicit(&connection->record_since, clock_elapsed(server->options.clock),
                              memory_order_relaxed);
    bool granted = intake_take(&server->intake, &charge, size);
    atomic_store_explicit(&connection->charge, charge, memory_order_relaxed);
    connection->put_off = !granted;
    if (granted && size > server->intake.small_max)
        make_room(connection);
    errno = EAGAIN;
    return granted;
}

/* The record that was on its way is complete: its charge goes with it. */
static size_t take_charge(struct connection *connection, const struct record *record)
{
    size_t charge = atomic_load_explicit(&connection->charge, memory_order_relaxed);

    atomic_store_explicit(&connection->charge, 0, memory_order_relaxed);
    atomic_store_explicit(&connection->record_since, 0, memory_order_relaxed);
    if (charge > record->capacity) {
        intake_give(&connection->server->intake, &charge, record->capacity);
        pause_resume_one(&connection->server->memory_pause);
    }
    return charge;
}

static void give_charge(struct rpc_server *server, size_t charge)
{
    intake_give(&server->intake, &charge, 0);
    pause_resume_one(&server->memory_pause);
}

/* ---- calls that may wait ---- */

void job_free(struct job *job)
{
    struct rpc_server *server = job->connection->server;

    record_free(job->record);
    give_charge(server, job->charge);
    connection_unref(job->connection);
    atomic_fetch_sub(&server->in_service, 1);
    free(job);
}

static struct job *job_new(struct connection *connection, const struct page_request *request,
                           struct record *record, size_t charge)
{
    struct job *job = malloc(sizeof *job);

    if (!job)
        return NULL;
    *job = (struct job){
        .permit = {.line = request->procedure->ordered ? &connection->line : NULL,
                   .bulky = page_is_bulky(&connection->server->page, request->header.procedure)},
        .connection = connection_ref(connection),
        .record = record,
        .charge = charge,
        .request = *request,
    };
    list_init(&job->permit.link);
    atomic_fetch_add(&connection->server->in_service, 1);
    connection_serve_later(connection, record->size);
    return job;
}

/* Serves it, or forgets it if nobody waits for the reply any more. The next job, with the same permit. */
static struct permit_job *serve_one(struct rpc_server *server, struct job *job)
{
    struct connection *connection = job->connection;
    const struct page_caller caller = page_caller_of(connection);
    struct record *reply = NULL;

    if (connection_park(connection, job))
        return permits_yield(&server->permits);
    if (!job->permit.bulky && atomic_load(&server->shut) &&
        page_is_bulky(&server->page, job->request.header.procedure)) {
        /* It has shown only since it came how large its replies are. */
        job->permit.bulky = true;
        permits_again(&server->permits, &job->permit);
        return permits_yield(&server->permits);
    }
    if (!connection_is_broken(connection) && !atomic_load(&server->quitting))
        reply = page_serve(&server->page, &caller, &job->request, job->record);
    atomic_store_explicit(&connection->active_at, clock_elapsed(server->options.clock), memory_order_relaxed);
    /* What is owed now is known before the permit goes on: else another large reply is made that should wait. */
    connection_served(connection, job->record->size, reply);
    struct permit_job *next = permits_done(&server->permits, &job->permit);
    pause_resume_one(&server->queue_pause);
    job_free(job);
    return next;
}

static void serve_job(struct rpc_server *server, struct job *job)
{
    while (job) {
        struct permit_job *next = serve_one(server, job);
        job = next ? list_entry(next, struct job, permit) : NULL;
    }
}

/* Serves what waits for a permit, if there is one; before that asks another to help with the rest. */
static void serve_waiting(struct rpc_server *server)
{
    struct permit_job *waiting = permits_take(&server->permits);

    if (!waiting)
        return;
    if (seats_have_idle(&server->seats) && permits_have_work(&server->permits))
        server_wake(server);
    serve_job(server, list_entry(waiting, struct job, permit));
}

/* ---- turns ---- */

/* What one turn has to do after it. */
struct turn_work {
    struct job *mine; /* has its permit */
    bool queued;      /* others wait in the queue */
    unsigned served;
};

/*
 * A large call of an ordered procedure is served at once, and the rest of the turn
 * goes on after it: what of its line follows could not be served beside it, and what
 * this worker has just read is in this core's cache.
 */
static bool is_served_in_turn(const struct job *job)
{
    enum { LARGE_MIN = 64 * 1024 };

    return job->permit.line && job->record->size >= LARGE_MIN;
}

/*
 * The reply waits for those of the same turn, which is over as soon as nothing more
 * is there to be read: each one that goes out by itself wakes the peer, whose core has
 * gone to sleep, and to wake a core costs as much as to write 64 KiB. But where the
 * store is slow it goes out before the next is served.
 */
static void serve_in_turn(struct connection *connection, struct job *job, struct turn_work *work)
{
    enum { SLOW = 2000 * 1000 };
    struct rpc_server *server = connection->server;
    int64_t begun = clock_elapsed(server->options.clock);
    struct permit_job *next = serve_one(server, job);

    work->mine = next ? list_entry(next, struct job, permit) : NULL;
    if (clock_elapsed(server->options.clock) - begun >= SLOW)
        connection_flush(connection);
}

/* Queues the job, serves it, or keeps it to be served after the turn; false if nothing of that can be, now. */
static bool submit(struct connection *connection, struct job *job, struct turn_work *work)
{
    struct rpc_server *server = connection->server;

    /* One call with a permit is served by this worker after its turn: others go through the queue. */
    switch (permits_ask(&server->permits, &job->permit, !work->mine)) {
    case PERMIT_YES:
        work->mine = job;
        if (is_served_in_turn(job))
            serve_in_turn(connection, job, work);
        return true;
    case PERMIT_WAITS: work->queued = true; return true;
    default: break;
    }
    connection->stalled = job;
    pause_add(&server->queue_pause, connection);
    return false;
}

/* A complete call: served at once, or submitted. */
static enum turn take_call(struct connection *connection, struct record *record, struct turn_work *work)
{
    struct rpc_server *server = connection->server;
    size_t charge = take_charge(connection, record);
    struct page_request request;

    page_read(&server->page, record, &request);
    if (request.procedure && request.procedure->may_wait) {
        struct job *job = job_new(connection, &request, record, charge);
        if (job)
            return submit(connection, job, work) ? TURN_GOES_ON : TURN_PAUSED;
    }
    const struct page_caller caller = page_caller_of(connection);
    struct record *reply = page_serve(&server->page, &caller, &request, record);
    record_free(record);
    give_charge(server, charge);
    if (!reply)
        return connection_break(connection), TURN_OVER;
    connection_send(connection, reply);
    return TURN_GOES_ON;
}

/* Why no record came: the peer ended, or broke a rule. */
static enum turn end_reading(struct connection *connection, enum outcome outcome, const struct failure *why)
{
    static struct log_limit told;
    char text[ADDRESS_TEXT_SIZE];

    if (outcome == OUTCOME_UNAVAILABLE) {
        if (!connection->put_off)
            return TURN_DRAINED;
        pause_add(&connection->server->memory_pause, connection);
        supervise_relieve(connection->server);
        return TURN_PAUSED;
    }
    if (outcome == OUTCOME_ABSENT) {
        connection_has_ended(connection);
        return TURN_OVER;
    }
    atomic_fetch_add(&connection->server->cut, 1);
    if (outcome != OUTCOME_UNREACHABLE && log_allowed(&told, 10))
        log_info("connection from %s is cut: %s", address_text(&connection->peer.peer, text), why->text);
    connection_break(connection);
    return TURN_OVER;
}

/* The next complete record, if there is one, and what it is. */
static enum turn take_record(struct connection *connection, struct turn_work *work)
{
    struct record_source source = {.read = read_some, .context = connection};
    struct record *record;
    struct message_kind kind;
    struct failure why;

    connection->put_off = false;
    enum outcome outcome = record_reader_next(&connection->reader, &source, &record, &why);
    if (outcome != OUTCOME_OK)
        return end_reading(connection, outcome, &why);
    work->served++;
    if (message_peek(record->bytes, record->size, &kind) && !kind.is_call) {
        give_charge(connection->server, take_charge(connection, record));
        reversed_reply(connection, record);
        return TURN_GOES_ON;
    }
    return take_call(connection, record, work);
}

/* A call that found the queue full is tried again before anything else is read. */
static bool unstall(struct connection *connection, struct turn_work *work)
{
    struct job *job = connection->stalled;

    connection->stalled = NULL;
    return !job || submit(connection, job, work);
}

static enum turn read_and_serve(struct connection *connection, struct turn_work *work)
{
    const struct rpc_limits *limits = limits_of(connection);

    connection->drained = false;
    connection->turn_bytes = 0;
    work->served = 0;
    while (work->served < limits->turn_records && connection->turn_bytes < limits->turn_bytes) {
        if (!connection_may_read(connection))
            return TURN_FULL;
        if (connection->stalled && !unstall(connection, work))
            return TURN_PAUSED;
        enum turn end = take_record(connection, work);
        if (end != TURN_GOES_ON)
            return end;
    }
    return TURN_SPENT;
}

/* Whether some connection waits to be served, and how: *event is set. */
static bool others_wait(struct rpc_server *server, struct epoll_event *event)
{
    return epoll_wait(server->epoll, event, 1, 0) > 0;
}

/*
 * One connection's turn, and further ones as long as it has more and nobody else
 * is ready. True if *event is set: somebody was.
 */
static bool take_turns(struct connection *connection, struct epoll_event *event)
{
    struct rpc_server *server = connection->server;
    struct turn_work work = {.mine = NULL};
    bool found = false;
    enum turn end;

    do {
        end = read_and_serve(connection, &work);
        atomic_fetch_add_explicit(&server->bytes_in, connection->turn_bytes, memory_order_relaxed);
        if (work.served > 0)
            atomic_store_explicit(&connection->active_at, clock_elapsed(server->options.clock),
                                  memory_order_relaxed);
        connection_flush(connection);
        if (end == TURN_FULL && connection_may_read(connection))
            end = TURN_SPENT;
    } while (end == TURN_SPENT && !work.mine && !work.queued && !permits_have_work(&server->permits) &&
             !(found = others_wait(server, event)));

    if (end == TURN_SPENT || end == TURN_FULL)
        connection_has_more(connection);
    connection_end_turn(connection);
    if (work.queued && work.mine && seats_have_idle(&server->seats) && permits_have_work(&server->permits))
        server_wake(server);
    if (work.mine)
        serve_job(server, work.mine);
    return found;
}

/* Serves one event; true if *event is another one to serve. */
static bool serve_event(struct rpc_server *server, struct epoll_event *event)
{
    uint64_t id = event->data.u64;
    uint32_t events = event->events;
    bool found = false;

    if (id == EVENT_WAKE)
        return false;
    if (id == EVENT_TICK)
        return supervise_tick(server), false;
    if (id < EVENT_LISTENER + LISTENERS_MAX)
        return listener_accept(server, &server->listeners[id - EVENT_LISTENER]), false;

    struct connection *connection = roster_take(&server->roster, id);
    if (!connection)
        return false;
    if (connection_begin_turn(connection)) {
        if (events & (EPOLLHUP | EPOLLERR))
            connection_break(connection);
        found = take_turns(connection, event);
    }
    connection_unref(connection);
    return found;
}

void *worker_run(void *context)
{
    struct rpc_server *server = context;
    struct epoll_event event;

    while (!atomic_load(&server->quitting) && seats_take(&server->seats)) {
        int ready = epoll_wait(server->epoll, &event, 1, -1);
        seats_leave(&server->seats);
        while (ready > 0 && serve_event(server, &event) && !atomic_load(&server->quitting))
            continue;
        serve_waiting(server);
    }
    seats_close(&server->seats);
    server_wake(server); /* the next one goes home, too */
    return NULL;
}
