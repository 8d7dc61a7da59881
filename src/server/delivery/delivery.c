#include "server/delivery/delivery.h"

#include "base/log.h"
#include "base/scoped.h"
#include "rpc/backoff.h"
#include "rpc/server.h"
#include "server/delivery/route.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    MS = 1000000,
    PORT_MIN = 1024,
    RESULTS_A_TURN = 16, /* reported before new mailboxes are claimed again: a report waits for the disk */
    WAIT_MAX_MS = 5000,  /* the store's event_fd is a hint that may be lost */
    TROUBLE_MS = 1000,   /* until a store that failed is asked again */
    LEASE_MARGIN_S = 30,
};

/* A mailbox that was claimed and given to the sender. */
struct flight {
    struct id mailbox;
    uint64_t token;
    uint64_t before, last; /* the batch's numbers lie after `before`, and `last` is one of them */
    uint32_t attempts;
    uint32_t count;
    unsigned next_free; /* in the list of free ones */
};

/*
 * attach_lock is held while a route is looked at and replaced, so that of two
 * processes one gets the mailbox. Order: attach_lock, then the sender's. The
 * results' lock is taken alone.
 */
struct delivery {
    struct delivery_options options;
    struct sender *sender;
    pthread_mutex_t attach_lock;
    int wake;
    _Atomic bool stopping;
    bool started;
    pthread_t thread;

    pthread_mutex_t results_lock; /* guards the ring; it has room for every flight */
    struct sender_result *results;
    size_t results_at, results_count;

    /* the thread's own, and delivery_stop's after it */
    struct flight *flights; /* limits.deliveries of them; a batch's token is its index */
    unsigned first_free, flight_count;
    struct store_event *claimed;
    struct event *events;

    _Atomic uint64_t batches, acknowledged, retries, dialback, reversed;
};

/* ---- what is the store's, as the callback side has it ---- */

static void copy_text(char *to, const char *from, size_t size)
{
    size_t count = strnlen(from, size - 1);
    memcpy(to, from, count);
    to[count] = '\0';
}

void delivery_entry(const struct store_entry *from, struct event_entry *out)
{
    *out = (struct event_entry){
        .size = from->size,
        .mtime = from->mtime,
        .arrival = from->arrival,
        .digest = from->digest,
        .version = from->version,
    };
    copy_text(out->name, from->name, sizeof out->name);
    copy_text(out->owner, from->owner, sizeof out->owner);
}

void delivery_event(const struct store_event *from, struct event *out)
{
    static const enum event_kind kinds[] =
        {[STORE_ARRIVED] = EVENT_ARRIVED, [STORE_EXPIRED] = EVENT_EXPIRED, [STORE_DROPPED] = EVENT_DROPPED};
    *out = (struct event){
        .number = from->number,
        .kind = kinds[from->kind],
        .interest = from->interest,
        .happened = from->happened,
        .dropped = from->dropped,
    };
    copy_text(out->pattern, from->pattern, sizeof out->pattern);
    if (from->kind == STORE_ARRIVED)
        delivery_entry(&from->entry, &out->entry);
}

/* ---- flights ---- */

static enum outcome make_flights(struct delivery *delivery, struct failure *why)
{
    unsigned count = delivery->options.limits.deliveries;
    delivery->flights = calloc(count, sizeof *delivery->flights);
    delivery->results = calloc(count, sizeof *delivery->results);
    delivery->claimed = calloc(FS_EVENTS_MAX, sizeof *delivery->claimed);
    delivery->events = calloc(FS_EVENTS_MAX, sizeof *delivery->events);
    if (!delivery->flights || !delivery->results || !delivery->claimed || !delivery->events)
        return failure_set(why, OUTCOME_NOMEM, "no memory for %u deliveries", count);
    for (unsigned i = 0; i < count; i++)
        delivery->flights[i].next_free = i + 1;
    return OUTCOME_OK;
}

static unsigned take_flight(struct delivery *delivery)
{
    unsigned taken = delivery->first_free;
    delivery->first_free = delivery->flights[taken].next_free;
    delivery->flight_count++;
    return taken;
}

static void give_flight(struct delivery *delivery, unsigned flight)
{
    delivery->flights[flight].next_free = delivery->first_free;
    delivery->first_free = flight;
    delivery->flight_count--;
}

static void wake(struct delivery *delivery)
{
    (void)eventfd_write(delivery->wake, 1);
}

/* Of the sender, on its thread: a report waits for the disk, so it is left to ours. */
static void take_result(void *context, const struct sender_result *result)
{
    struct delivery *delivery = context;
    {
        scoped_lock(&delivery->results_lock);
        size_t room = delivery->options.limits.deliveries;
        delivery->results[(delivery->results_at + delivery->results_count++) % room] = *result;
    }
    wake(delivery);
}

static bool next_result(struct delivery *delivery, struct sender_result *out)
{
    scoped_lock(&delivery->results_lock);
    if (delivery->results_count == 0)
        return false;
    *out = delivery->results[delivery->results_at];
    delivery->results_at = (delivery->results_at + 1) % delivery->options.limits.deliveries;
    delivery->results_count--;
    return true;
}

/* ---- reports to the store ---- */

static void complain(enum outcome outcome, const struct failure *why)
{
    static struct log_limit limit;
    if (outcome != OUTCOME_OK && log_allowed(&limit, 6))
        log_warning("delivery: %s", why->text);
}

static void retry(struct delivery *delivery, const struct id *mailbox, uint64_t token, uint32_t milliseconds)
{
    struct failure why;
    const struct store_acts *acts = delivery->options.store->acts;
    atomic_fetch_add(&delivery->retries, 1);
    complain(acts->pending_retry(delivery->options.store, mailbox, token, milliseconds, &why), &why);
}

static uint32_t pause_after(const struct delivery *delivery, uint32_t attempts)
{
    return backoff_after(delivery->options.retry_first_ms, delivery->options.retry_last_ms, attempts);
}

static void acknowledge(struct delivery *delivery, const struct flight *flight,
                        const struct sender_result *result)
{
    struct failure why;
    const struct store_acts *acts = delivery->options.store->acts;
    /* Numbers may have gaps: of a batch acknowledged in part no more is known. */
    uint64_t span = result->acknowledged - flight->before;
    bool whole = result->acknowledged == flight->last || span > flight->count;
    atomic_fetch_add(&delivery->acknowledged, whole ? flight->count : span);
    atomic_fetch_add(&delivery->batches, 1);
    atomic_fetch_add(result->route == SENDER_DIALBACK ? &delivery->dialback : &delivery->reversed, 1);
    complain(acts->pending_done(delivery->options.store, &flight->mailbox, flight->token,
                                result->acknowledged, &why),
             &why);
}

static void report(struct delivery *delivery, const struct sender_result *result)
{
    struct flight flight = delivery->flights[result->token];
    give_flight(delivery, (unsigned)result->token);
    if (result->outcome == OUTCOME_OK && result->acknowledged > flight.before)
        acknowledge(delivery, &flight, result);
    else if (result->outcome == OUTCOME_DENIED) /* nobody there wants this mailbox: an ATTACH will say so */
        retry(delivery, &flight.mailbox, flight.token, delivery->options.retry_last_ms);
    else if (result->outcome != OUTCOME_STOPPED) /* a claim lapses by itself */
        retry(delivery, &flight.mailbox, flight.token, pause_after(delivery, flight.attempts));
}

/* At most `limit`; returns whether there may be more. */
static bool report_some(struct delivery *delivery, unsigned limit)
{
    struct sender_result result;
    for (unsigned i = 0; i < limit; i++) {
        if (!next_result(delivery, &result))
            return false;
        report(delivery, &result);
    }
    return true;
}

/* ---- claims ---- */

/* A lease outlasts every deadline the sender has, so that no second claim runs beside the first. */
static unsigned lease_seconds(const struct delivery *delivery)
{
    const struct sender_limits *limits = &delivery->options.limits;
    uint64_t ms = 2 * (uint64_t)limits->call_ms + 6 * (uint64_t)limits->connect_ms + limits->prove_wait_ms;
    return (unsigned)(ms / 1000) + LEASE_MARGIN_S;
}

/* The sender knows the mailbox's route, or is told what the store kept of it. */
static enum outcome prepare_route(struct delivery *delivery, const struct store_claim *claim,
                                  struct failure *why)
{
    struct sender_route route;
    if (sender_route_of(delivery->sender, &claim->mailbox, NULL))
        return OUTCOME_OK;
    if (!route_decode(claim->route, claim->route_size, &route))
        return failure_set(why, OUTCOME_CORRUPT, "a mailbox's route is in a form of another release");
    if (route.program == 0)
        return failure_set(why, OUTCOME_ABSENT,
                           "the mailbox's connection is gone, and it had no other way back");
    scoped_lock(&delivery->attach_lock);
    if (sender_route_of(delivery->sender, &claim->mailbox, NULL))
        return OUTCOME_OK;
    return sender_prove(delivery->sender, &claim->mailbox, &route, why);
}

static void dispatch(struct delivery *delivery, const struct store_claim *claim)
{
    unsigned index = take_flight(delivery);
    delivery->flights[index] = (struct flight){
        .mailbox = claim->mailbox,
        .token = claim->token,
        .before = delivery->claimed[0].number - 1,
        .last = delivery->claimed[claim->count - 1].number,
        .attempts = claim->attempts,
        .count = (uint32_t)claim->count,
    };
    for (size_t i = 0; i < claim->count; i++)
        delivery_event(&delivery->claimed[i], &delivery->events[i]);
    struct failure why;
    enum outcome outcome = prepare_route(delivery, claim, &why);
    if (outcome == OUTCOME_OK)
        outcome = sender_deliver(delivery->sender, &claim->mailbox, index, delivery->events, claim->count,
                                 &why);
    if (outcome == OUTCOME_OK)
        return;
    log_debug("delivery: %s", why.text);
    give_flight(delivery, index);
    bool passes = outcome == OUTCOME_LIMIT || outcome == OUTCOME_HELD || outcome == OUTCOME_NOMEM;
    retry(delivery, &claim->mailbox, claim->token,
          passes ? delivery->options.retry_first_ms : pause_after(delivery, claim->attempts));
}

/* Claims until nothing is due or every flight is taken; returns how long there is nothing to do. */
static int claim_all(struct delivery *delivery)
{
    struct store *store = delivery->options.store;
    while (delivery->flight_count < delivery->options.limits.deliveries &&
           !atomic_load(&delivery->stopping)) {
        struct store_claim claim;
        struct failure why;
        int64_t due = INT64_MAX;
        enum outcome outcome = store->acts->pending_claim(store, lease_seconds(delivery), &claim,
                                                          delivery->claimed, FS_EVENTS_MAX, &due, &why);
        if (outcome == OUTCOME_OK && claim.count > 0) {
            dispatch(delivery, &claim);
            continue;
        }
        if (outcome != OUTCOME_ABSENT) {
            complain(outcome, &why);
            return TROUBLE_MS;
        }
        int64_t left = due == INT64_MAX ? INT64_MAX : due - clock_elapsed(delivery->options.clock);
        return left <= 0 ? 0 : left >= (int64_t)WAIT_MAX_MS * MS ? WAIT_MAX_MS : (int)((left + MS - 1) / MS);
    }
    return WAIT_MAX_MS;
}

/* ---- the thread ---- */

static void wait_for_news(struct delivery *delivery, int milliseconds)
{
    struct pollfd sources[] = {
        {.fd = delivery->wake, .events = POLLIN},
        {.fd = delivery->options.store->acts->event_fd(delivery->options.store), .events = POLLIN},
    };
    if (poll(sources, 2, milliseconds) <= 0)
        return;
    for (int i = 0; i < 2; i++) {
        eventfd_t count;
        if (sources[i].revents & POLLIN)
            (void)eventfd_read(sources[i].fd, &count);
    }
}

static void *run(void *context)
{
    struct delivery *delivery = context;
    while (!atomic_load(&delivery->stopping)) {
        int pause = claim_all(delivery);
        if (report_some(delivery, RESULTS_A_TURN))
            pause = 0;
        wait_for_news(delivery, pause);
    }
    return NULL;
}

enum outcome delivery_new(const struct delivery_options *options, struct delivery **out, struct failure *why)
{
    struct delivery *delivery = calloc(1, sizeof *delivery);
    if (!delivery)
        return failure_set(why, OUTCOME_NOMEM, "no memory for deliveries");
    delivery->options = *options;
    pthread_mutex_init(&delivery->attach_lock, NULL);
    pthread_mutex_init(&delivery->results_lock, NULL);
    delivery->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum outcome outcome = OUTCOME_OK;
    if (delivery->wake < 0)
        outcome = failure_system(why, OUTCOME_FAULT, errno, "can't make an eventfd");
    if (outcome == OUTCOME_OK)
        outcome = make_flights(delivery, why);
    const struct sender_options sender = {
        .server = options->server,
        .clock = options->clock,
        .instance = options->store->acts->instance(options->store),
        .limits = options->limits,
        .done = take_result,
        .context = delivery,
    };
    if (outcome == OUTCOME_OK)
        outcome = sender_new(&sender, &delivery->sender, why);
    if (outcome != OUTCOME_OK) {
        (void)delivery_free(delivery);
        return outcome;
    }
    *out = delivery;
    return OUTCOME_OK;
}

enum outcome delivery_start(struct delivery *delivery, struct failure *why)
{
    enum outcome outcome = sender_start(delivery->sender, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int error = pthread_create(&delivery->thread, NULL, run, delivery);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        sender_stop(delivery->sender);
        return failure_system(why, OUTCOME_FAULT, error, "can't start the delivery's thread");
    }
    pthread_setname_np(delivery->thread, "delivery");
    delivery->started = true;
    return OUTCOME_OK;
}

void delivery_stop(struct delivery *delivery)
{
    atomic_store(&delivery->stopping, true);
    wake(delivery);
    if (delivery->started)
        pthread_join(delivery->thread, NULL);
    delivery->started = false;
    sender_stop(delivery->sender);
    /* What was acknowledged up to now counts. */
    while (report_some(delivery, RESULTS_A_TURN))
        ;
}

void *delivery_free(struct delivery *delivery)
{
    if (!delivery)
        return NULL;
    delivery->sender = sender_free(delivery->sender);
    if (delivery->wake >= 0)
        close(delivery->wake);
    free(delivery->flights);
    free(delivery->results);
    free(delivery->claimed);
    free(delivery->events);
    pthread_mutex_destroy(&delivery->attach_lock);
    pthread_mutex_destroy(&delivery->results_lock);
    free(delivery);
    return NULL;
}

/* ---- routes ---- */

/* Whoever comes by a Unix socket is on this machine. */
static enum outcome dialled_address(const struct address *seen, uint16_t port, struct address *out,
                                    struct failure *why)
{
    *out = *seen;
    enum outcome outcome = address_is_local(seen) ? address_ip("127.0.0.1", 0, out, why) : OUTCOME_OK;
    if (outcome == OUTCOME_OK)
        address_set_port(out, port);
    return outcome;
}

static enum outcome make_route(const struct rpc_call *call, const struct delivery_callback *callback,
                               struct sender_route *out, struct failure *why)
{
    if (callback->program != 0 &&
        (callback->program < FS_TRANSIENT_MIN || callback->program > FS_TRANSIENT_MAX))
        return failure_set(why, OUTCOME_INVALID,
                           "callback program 0x%x is not in the transient range 0x%x to 0x%x",
                           callback->program, FS_TRANSIENT_MIN, FS_TRANSIENT_MAX);
    if (callback->program != 0 && callback->has_port && callback->port < PORT_MIN)
        return failure_set(why, OUTCOME_INVALID, "the callback port is %u, at least %d it must be",
                           callback->port, PORT_MIN);
    struct sender_route route = {
        .program = callback->program,
        .ask_rpcbind = callback->program != 0 && !callback->has_port,
        .proof = callback->proof,
        .ticket = callback->ticket,
        .connection = callback->reversed ? rpc_call_connection(call) : 0,
    };
    enum outcome outcome = OUTCOME_OK;
    if (route.program != 0)
        outcome = dialled_address(rpc_call_peer(call), callback->has_port ? callback->port : 0, &route.peer,
                                  why);
    if (outcome == OUTCOME_OK && route.program != 0)
        outcome = dialled_address(rpc_call_local(call), 0, &route.local, why);
    if (outcome == OUTCOME_OK)
        *out = route;
    return outcome;
}

/* The connection takes no more CALLs, unless another mailbox's go over it. */
static void leave_connection(struct delivery *delivery, uint64_t connection)
{
    if (connection != 0 && !sender_uses(delivery->sender, connection))
        rpc_server_detach(delivery->options.server, connection);
}

static enum outcome take_connection(struct delivery *delivery, const struct sender_route *route,
                                    struct failure *why)
{
    if (route->connection == 0)
        return OUTCOME_OK;
    return rpc_server_attach(delivery->options.server, route->connection,
                             route->program != 0 ? route->program : FILESHARE_CALLBACK_PROG,
                             FILESHARE_CALLBACK_V1, why);
}

/* Of two processes one has the mailbox: the one that lives and was first. */
static enum outcome replace_route(struct delivery *delivery, const struct id *mailbox, uint64_t caller,
                                  const struct sender_route *route, struct sender_route *before,
                                  struct failure *why)
{
    scoped_lock(&delivery->attach_lock);
    bool known = sender_route_of(delivery->sender, mailbox, before);
    if (known && before->connection != caller && !id_equal_secret(&before->ticket, &route->ticket) &&
        sender_is_living(delivery->sender, mailbox))
        return failure_set(why, OUTCOME_HELD, "another process listens for this mailbox");
    if (route->program != 0 || route->connection != 0)
        return sender_prove(delivery->sender, mailbox, route, why);
    sender_forget(delivery->sender, mailbox);
    return OUTCOME_OK;
}

static enum outcome keep_route(struct delivery *delivery, const struct id *mailbox,
                               const struct sender_route *route, struct store_mailbox *out,
                               struct failure *why)
{
    uint8_t bytes[ROUTE_SIZE_MAX];
    bool leads = route->program != 0 || route->connection != 0;
    size_t size = leads ? route_encode(route, bytes) : 0;
    struct store *store = delivery->options.store;
    return store->acts->mailbox_route(store, mailbox, bytes, size, out, why);
}

enum outcome delivery_attach(struct delivery *delivery, const struct rpc_call *call, const struct id *mailbox,
                             const struct delivery_callback *callback, enum sender_state *state,
                             struct store_mailbox *out, struct failure *why)
{
    struct sender_route route, before = {.connection = 0};
    enum outcome outcome = make_route(call, callback, &route, why);
    if (outcome == OUTCOME_OK)
        outcome = take_connection(delivery, &route, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = replace_route(delivery, mailbox, rpc_call_connection(call), &route, &before, why);
    if (outcome != OUTCOME_OK) {
        leave_connection(delivery, route.connection);
        return outcome;
    }
    if (before.connection != route.connection)
        leave_connection(delivery, before.connection);
    /* It may have closed, or been left by another mailbox, before the sender knew it. */
    if (take_connection(delivery, &route, NULL) != OUTCOME_OK)
        sender_connection_closed(delivery->sender, route.connection);
    outcome = keep_route(delivery, mailbox, &route, out, why);
    if (outcome == OUTCOME_OK)
        *state = sender_state_of(delivery->sender, mailbox);
    return outcome;
}

enum outcome delivery_detach(struct delivery *delivery, const struct id *mailbox, bool forget,
                             struct failure *why)
{
    struct sender_route before = {.connection = 0};
    struct store *store = delivery->options.store;
    struct store_mailbox left;
    {
        scoped_lock(&delivery->attach_lock);
        (void)sender_route_of(delivery->sender, mailbox, &before);
        sender_forget(delivery->sender, mailbox);
    }
    leave_connection(delivery, before.connection);
    return forget ? store->acts->mailbox_forget(store, mailbox, why)
                  : store->acts->mailbox_route(store, mailbox, NULL, 0, &left, why);
}

enum sender_state delivery_state(struct delivery *delivery, const struct id *mailbox)
{
    return sender_state_of(delivery->sender, mailbox);
}

void delivery_connection_closed(void *delivery, uint64_t connection)
{
    sender_connection_closed(((struct delivery *)delivery)->sender, connection);
}

void delivery_count(struct delivery *delivery, struct delivery_counters *out)
{
    *out = (struct delivery_counters){
        .batches = atomic_load(&delivery->batches),
        .events = atomic_load(&delivery->acknowledged),
        .retries = atomic_load(&delivery->retries),
        .dialback = atomic_load(&delivery->dialback),
        .reversed = atomic_load(&delivery->reversed),
    };
}
