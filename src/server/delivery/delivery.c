#include "server/delivery/delivery_inside.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/scoped.h"
#include "server/delivery/route.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    MS = 1000000,
    WAIT_MAX_MS = 5000,    /* the store's event_fd is a hint that may be lost */
    TROUBLE_FIRST_MS = 20, /* until a store that failed is asked again */
    TROUBLE_LAST_MS = 2000,
    LEASE_MARGIN_S = 2,
    AT_ONCE = 2, /* mailboxes that whoever made their events delivers to itself */
};

/* ---- what is the store's, as the callback side has it ---- */

static void copy_text(char *to, const char *from, size_t size)
{
    size_t count = strnlen(from, size - 1);
    memcpy(to, from, count);
    to[count] = '\0';
}

static void delivery_entry(const struct store_entry *from, struct event_entry *out)
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

static void wake(struct delivery *delivery)
{
    (void)eventfd_write(delivery->wake, 1);
}

/* ---- claims ---- */

/*
 * A lease outlasts every deadline the sender has. A claim that lapsed all the
 * same does no harm: the sender takes one batch of a mailbox at a time.
 */
static unsigned lease_seconds(const struct delivery *delivery)
{
    const struct sender_limits *limits = &delivery->options.limits;
    uint64_t ms = 2 * (uint64_t)limits->call_ms + 6 * (uint64_t)limits->connect_ms + limits->prove_wait_ms;
    return (unsigned)(ms / 1000) + LEASE_MARGIN_S;
}

/* The sender is told what the store kept of the mailbox's route, unless somebody did meanwhile. */
static enum outcome prepare_route(struct delivery *delivery, const struct store_claim *claim,
                                  struct failure *why)
{
    struct sender_route route;
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

/* With claim_lock. ABSENT: the sender knows no route. */
static enum outcome hand_over(struct delivery *delivery, const struct store_claim *claim, unsigned index,
                              struct failure *why)
{
    return sender_deliver(delivery->sender, &claim->mailbox, index, delivery->events, claim->count, why);
}

/* With claim_lock. */
static void dispatch(struct delivery *delivery, const struct store_claim *claim)
{
    const struct flight flight = {
        .mailbox = claim->mailbox,
        .token = claim->token,
        .before = delivery->claimed[0].number - 1,
        .last = delivery->claimed[claim->count - 1].number,
        .attempts = claim->attempts,
        .count = (uint32_t)claim->count,
    };
    unsigned index = reports_begin(&delivery->reports, &flight);
    for (size_t i = 0; i < claim->count; i++)
        delivery_event(&delivery->claimed[i], &delivery->events[i]);
    struct failure why;
    FAULT_POINT("notice-claimed");
    enum outcome outcome = hand_over(delivery, claim, index, &why);
    if (outcome == OUTCOME_ABSENT) {
        outcome = prepare_route(delivery, claim, &why);
        if (outcome == OUTCOME_OK)
            outcome = hand_over(delivery, claim, index, &why);
    }
    if (outcome == OUTCOME_OK)
        return;
    log_debug("delivery: %s", why.text);
    reports_refuse(&delivery->reports, index, outcome);
}

/* With claim_lock. The next mailbox that is due is on its way; ABSENT: none is, before *due. */
static enum outcome claim_one(struct delivery *delivery, int64_t *due, struct failure *why)
{
    struct store *store = delivery->options.store;
    struct store_claim claim;
    enum outcome outcome = store->acts->pending_claim(store, lease_seconds(delivery), &claim,
                                                      delivery->claimed, FS_EVENTS_MAX, due, why);
    if (outcome == OUTCOME_OK && claim.count > 0)
        dispatch(delivery, &claim);
    return outcome;
}

/*
 * store_acts.on_events. Whoever made events delivers the first of them itself: its core is awake, and waking
 * another thread for it may take longer than all the rest of the way. More are the thread's.
 */
static void deliver_at_once(void *context)
{
    struct delivery *delivery = context;
    enum outcome outcome = OUTCOME_OK;
    if (pthread_mutex_trylock(&delivery->claim_lock) == 0) {
        int64_t due;
        struct failure why;
        for (int i = 0; i < AT_ONCE && outcome == OUTCOME_OK && !reports_is_full(&delivery->reports) &&
                        !atomic_load(&delivery->stopping);
             i++)
            outcome = claim_one(delivery, &due, &why);
        pthread_mutex_unlock(&delivery->claim_lock);
    }
    if (outcome != OUTCOME_ABSENT)
        wake(delivery);
}

/* Claims until nothing is due or every flight is taken; returns how long there is nothing to do. */
static int claim_all(struct delivery *delivery)
{
    while (!reports_is_full(&delivery->reports) && !atomic_load(&delivery->stopping)) {
        struct failure why;
        int64_t due = INT64_MAX;
        enum outcome outcome;
        {
            scoped_lock(&delivery->claim_lock);
            outcome = claim_one(delivery, &due, &why);
        }
        if (outcome == OUTCOME_OK)
            continue;
        if (outcome != OUTCOME_ABSENT) {
            reports_complain(outcome, &why);
            return (int)backoff_next(&delivery->trouble);
        }
        backoff_reset(&delivery->trouble);
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
    while (!atomic_load(&delivery->stopping))
        wait_for_news(delivery, claim_all(delivery));
    return NULL;
}

static enum outcome make_room(struct delivery *delivery, struct failure *why)
{
    const struct delivery_options *options = &delivery->options;
    delivery->claimed = calloc(FS_EVENTS_MAX, sizeof *delivery->claimed);
    delivery->events = calloc(FS_EVENTS_MAX, sizeof *delivery->events);
    delivery->reports.retry_first_ms = options->retry_first_ms;
    delivery->reports.retry_last_ms = options->retry_last_ms;
    enum outcome outcome = reports_init(&delivery->reports, options->store, options->limits.deliveries,
                                        delivery->wake, why);
    if (outcome == OUTCOME_OK && (!delivery->claimed || !delivery->events))
        outcome = failure_set(why, OUTCOME_NOMEM, "no memory for deliveries");
    return outcome;
}

enum outcome delivery_new(const struct delivery_options *options, struct delivery **out, struct failure *why)
{
    struct delivery *delivery = calloc(1, sizeof *delivery);
    if (!delivery)
        return failure_set(why, OUTCOME_NOMEM, "no memory for deliveries");
    delivery->options = *options;
    backoff_init(&delivery->trouble, TROUBLE_FIRST_MS, TROUBLE_LAST_MS);
    pthread_mutex_init(&delivery->claim_lock, NULL);
    pthread_mutex_init(&delivery->attach_lock, NULL);
    delivery->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum outcome outcome = OUTCOME_OK;
    if (delivery->wake < 0)
        outcome = failure_system(why, OUTCOME_FAULT, errno, "can't make an eventfd");
    if (outcome == OUTCOME_OK)
        outcome = make_room(delivery, why);
    const struct sender_options sender = {
        .server = options->server,
        .clock = options->clock,
        .instance = options->store->acts->instance(options->store),
        .limits = options->limits,
        .done = reports_take,
        .context = &delivery->reports,
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

static enum outcome start_thread(struct delivery *delivery, struct failure *why)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int error = pthread_create(&delivery->thread, NULL, run, delivery);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return failure_system(why, OUTCOME_FAULT, error, "can't start the delivery's thread");
    pthread_setname_np(delivery->thread, "delivery");
    delivery->started = true;
    return OUTCOME_OK;
}

void delivery_stop(struct delivery *delivery)
{
    struct store *store = delivery->options.store;
    store->acts->on_events(store, NULL, NULL);
    atomic_store(&delivery->stopping, true);
    wake(delivery);
    if (delivery->started)
        pthread_join(delivery->thread, NULL);
    delivery->started = false;
    sender_stop(delivery->sender);
    reports_stop(&delivery->reports); /* what was acknowledged up to now counts */
}

enum outcome delivery_start(struct delivery *delivery, struct failure *why)
{
    struct store *store = delivery->options.store;
    enum outcome outcome = reports_start(&delivery->reports, why);
    if (outcome == OUTCOME_OK)
        outcome = sender_start(delivery->sender, why);
    if (outcome == OUTCOME_OK)
        outcome = start_thread(delivery, why);
    if (outcome == OUTCOME_OK)
        store->acts->on_events(store, deliver_at_once, delivery);
    else
        delivery_stop(delivery);
    return outcome;
}

void *delivery_free(struct delivery *delivery)
{
    if (!delivery)
        return NULL;
    delivery->sender = sender_free(delivery->sender);
    if (delivery->wake >= 0)
        close(delivery->wake);
    reports_fini(&delivery->reports);
    free(delivery->claimed);
    free(delivery->events);
    pthread_mutex_destroy(&delivery->attach_lock);
    pthread_mutex_destroy(&delivery->claim_lock);
    free(delivery);
    return NULL;
}

void delivery_count(struct delivery *delivery, struct delivery_counters *out)
{
    *out = (struct delivery_counters){
        .batches = atomic_load(&delivery->reports.batches),
        .events = atomic_load(&delivery->reports.events),
        .retries = atomic_load(&delivery->reports.retries),
        .dialback = atomic_load(&delivery->reports.dialback),
        .reversed = atomic_load(&delivery->reports.reversed),
    };
}
