#include "rpc/server.h"

#include "base/scoped.h"
#include "rpc/engine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

void server_wake(struct rpc_server *server)
{
    const uint64_t one = 1;

    /* Edge-triggered: each write wakes one worker, nobody need read it. */
    (void)!write(server->wake, &one, sizeof one);
}

/* What may be received in all may be unsent in all, too. It opens again when a quarter is free. */
void server_judge_owed(struct rpc_server *server)
{
    size_t unsent = atomic_load(&server->unsent), bound = server->options.limits.in_flight_bytes;
    bool shut = atomic_load(&server->shut);

    if (shut ? unsent > bound - bound / 4 : unsent <= bound)
        return;
    atomic_store(&server->shut, !shut);
    permits_shut(&server->permits, !shut);
    if (shut)
        server_wake(server);
}

void server_owes(struct rpc_server *server, size_t more, size_t less)
{
    atomic_fetch_add(&server->unsent, more - less);
    server_judge_owed(server);
}

void server_forget(struct rpc_server *server, struct connection *connection)
{
    size_t charge = atomic_exchange(&connection->charge, 0);

    reversed_abandon(connection);
    atomic_store(&connection->record_since, 0);
    intake_give(&server->intake, &charge, 0);
    pause_resume_one(&server->memory_pause);
    if (connection->stalled) {
        struct job *job = connection->stalled;
        connection->stalled = NULL;
        job_free(job);
    }
    if (!roster_remove(&server->roster, connection))
        return;
    if (!atomic_load(&server->stopping))
        listeners_resume(server);
}

/* ---- birth ---- */

static bool watch(struct rpc_server *server, int fd, uint32_t events, uint64_t what)
{
    struct epoll_event event = {.events = events, .data.u64 = what};

    return epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool start_timer(struct rpc_server *server)
{
    unsigned period = supervise_period(&server->options.limits);
    struct timespec span = {.tv_sec = period / 1000, .tv_nsec = (long)(period % 1000) * 1000000};
    struct itimerspec timer = {.it_interval = span, .it_value = span};

    return timerfd_settime(server->timer, 0, &timer, NULL) == 0;
}

static enum outcome open_descriptors(struct rpc_server *server, struct failure *why)
{
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (server->epoll < 0 || server->wake < 0 || server->timer < 0 ||
        !watch(server, server->wake, EPOLLIN | EPOLLET, EVENT_WAKE) ||
        !watch(server, server->timer, EPOLLIN | EPOLLONESHOT, EVENT_TICK) || !start_timer(server))
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot set up the server's epoll");
    return OUTCOME_OK;
}

static enum outcome build(struct rpc_server *server, struct failure *why)
{
    const struct rpc_server_options *options = &server->options;
    const struct rpc_limits *limits = &options->limits;
    enum outcome outcome;

    if ((outcome = limits_resolve(&server->options.limits, why)) != OUTCOME_OK ||
        (outcome = page_init(&server->page, options->program, options->number, options->trust_anonymous,
                             limits->record_max + RECORD_HEADER_SIZE, options->clock, why)) != OUTCOME_OK ||
        (outcome = roster_init(&server->roster, limits->connections, limits->connections_per_address, why)) !=
            OUTCOME_OK)
        return outcome;
    intake_init(&server->intake, limits->in_flight_bytes, limits->in_flight_reserve_bytes,
                limits->record_anonymous_max, limits->record_max);
    permits_init(&server->permits, limits->permits, limits->waiting_records);
    server->supervised_at = clock_elapsed(options->clock);
    atomic_init(&server->now, server->supervised_at);
    return open_descriptors(server, why);
}

enum outcome rpc_server_new(const struct rpc_server_options *options, struct rpc_server **out,
                            struct failure *why)
{
    struct rpc_server *server = calloc(1, sizeof *server);

    if (!server)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a server");
    server->options = *options;
    server->epoll = server->wake = server->timer = -1;
    pthread_mutex_init(&server->roster.mutex, NULL);
    permits_init(&server->permits, 0, 0);
    pause_init(&server->memory_pause);
    pause_init(&server->queue_pause);
    reversed_init(&server->reversed);
    seats_init(&server->seats);
    enum outcome outcome = build(server, why);
    if (outcome == OUTCOME_OK)
        *out = server;
    else
        rpc_server_free(server);
    return outcome;
}

enum outcome rpc_server_listen(struct rpc_server *server, const struct address *address,
                               struct address *bound, struct failure *why)
{
    if (server->listener_count == LISTENERS_MAX)
        return failure_set(why, OUTCOME_LIMIT, "a server listens on %d addresses at most", LISTENERS_MAX);
    struct listener *listener = &server->listeners[server->listener_count];
    enum outcome outcome = listener_open(listener, address, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    server->listener_count++;
    if (bound)
        *bound = listener->bound;
    return OUTCOME_OK;
}

/* ---- life ---- */

static enum outcome start_workers(struct rpc_server *server, struct failure *why)
{
    unsigned count = server->options.limits.workers;
    char name[16];
    sigset_t all, before;
    int error = 0;

    server->threads = calloc(count, sizeof *server->threads);
    if (!server->threads)
        return failure_set(why, OUTCOME_NOMEM, "no memory for %u workers", count);
    /* Signals are main's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; server->thread_count < count; server->thread_count++) {
        error = pthread_create(&server->threads[server->thread_count], NULL, worker_run, server);
        if (error)
            break;
        snprintf(name, sizeof name, "%.8s-%u", server->options.name ? server->options.name : "rpc",
                 server->thread_count);
        pthread_setname_np(server->threads[server->thread_count], name);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error ? failure_system(why, OUTCOME_LOCAL, error, "cannot start a worker") : OUTCOME_OK;
}

void rpc_server_set_number(struct rpc_server *server, uint32_t number)
{
    server->page.number = number;
}

enum outcome rpc_server_start(struct rpc_server *server, struct failure *why)
{
    enum outcome outcome = start_workers(server, why);

    for (unsigned i = 0; outcome == OUTCOME_OK && i < server->listener_count; i++)
        if (!watch(server, server->listeners[i].fd, EPOLLIN | EPOLLONESHOT, EVENT_LISTENER + i))
            outcome = failure_system(why, OUTCOME_LOCAL, errno, "cannot watch a socket to listen on");
    if (outcome != OUTCOME_OK)
        rpc_server_stop(server, 0);
    return outcome;
}

/* ---- end ---- */

static void each_connection(struct rpc_server *server, void (*act)(struct connection *connection))
{
    unsigned used = roster_used(&server->roster);

    for (unsigned slot = 0; slot < used; slot++) {
        struct connection *connection = roster_at(&server->roster, slot);
        if (!connection)
            continue;
        act(connection);
        connection_unref(connection);
    }
}

static bool is_quiet(struct rpc_server *server)
{
    unsigned used = roster_used(&server->roster);
    bool quiet = atomic_load(&server->in_service) == 0;

    for (unsigned slot = 0; quiet && slot < used; slot++) {
        struct connection *connection = roster_at(&server->roster, slot);
        if (!connection)
            continue;
        quiet = connection_is_quiet(connection);
        connection_unref(connection);
    }
    return quiet;
}

/* Running calls end and replies go out, or the time is over. */
static void drain(struct rpc_server *server, unsigned limit_ms)
{
    const struct timespec nap = {.tv_nsec = 2000000};
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t end = now.tv_sec * 1000LL + now.tv_nsec / 1000000 + limit_ms;
    while (!is_quiet(server) && now.tv_sec * 1000LL + now.tv_nsec / 1000000 < end) {
        nanosleep(&nap, NULL);
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
}

unsigned rpc_server_stop(struct rpc_server *server, unsigned limit_ms)
{
    atomic_store(&server->stopping, true);
    for (unsigned i = 0; i < server->listener_count; i++)
        listener_close(&server->listeners[i]);
    each_connection(server, connection_rearm);
    if (server->thread_count > 0)
        drain(server, limit_ms);
    unsigned left = atomic_load(&server->in_service);

    atomic_store(&server->quitting, true);
    server_wake(server);
    while (server->thread_count > 0)
        pthread_join(server->threads[--server->thread_count], NULL);
    free(server->threads);
    server->threads = NULL;

    pause_resume_all(&server->memory_pause);
    pause_resume_all(&server->queue_pause);
    each_connection(server, connection_close);
    struct permit_job *waiting;
    while ((waiting = permits_drop(&server->permits)))
        job_free(list_entry(waiting, struct job, permit));
    return left;
}

void *rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return NULL;
    rpc_server_stop(server, 0);
    const int descriptors[] = {server->epoll, server->wake, server->timer};
    for (size_t i = 0; i < sizeof descriptors / sizeof descriptors[0]; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    seats_fini(&server->seats);
    reversed_fini(&server->reversed);
    pause_fini(&server->queue_pause);
    pause_fini(&server->memory_pause);
    permits_fini(&server->permits);
    roster_fini(&server->roster);
    page_fini(&server->page);
    free(server);
    return NULL;
}

/* ---- what it did ---- */

void rpc_server_count(struct rpc_server *server, struct rpc_server_counters *out)
{
    *out = (struct rpc_server_counters){
        .connections = atomic_load(&server->accepted),
        .connections_open = roster_count(&server->roster),
        .connections_refused = atomic_load(&server->refused),
        .connections_cut = atomic_load(&server->cut),
        .calls_refused = atomic_load(&server->page.refused),
        .calls_late = atomic_load(&server->page.late),
        .bytes_in = atomic_load(&server->bytes_in),
        .bytes_out = atomic_load(&server->bytes_out),
        .in_flight_bytes = atomic_load(&server->intake.held),
        .unsent_bytes = atomic_load(&server->unsent),
        .waiting_records = permits_waiting(&server->permits),
        .accept_pauses = atomic_load(&server->accept_pauses),
    };
    for (uint32_t i = 0; i < server->options.program->count; i++)
        out->calls += page_calls(&server->page, i);
}

uint64_t rpc_server_calls(struct rpc_server *server, uint32_t procedure)
{
    return page_calls(&server->page, procedure);
}

size_t rpc_server_record_max(const struct rpc_server *server)
{
    return server->options.limits.record_max;
}
