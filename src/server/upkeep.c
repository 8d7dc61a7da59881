#include "server/upkeep.h"

#include "base/log.h"
#include "base/scoped.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Outbox rows in one act: others' acts go between. */
enum { FAN_OUT_ROWS = 256 };

struct upkeep {
    struct service *service;
    struct rpcbind_registration *registration;
    pthread_t thread;
    atomic_bool stopping;
    int stop_fd; /* eventfd: readable once it is to stop, so that rpcbind is waited for no longer */

    /* The thread's own. */
    int64_t rpcbind_due;        /* elapsed */
    enum outcome rpcbind_state; /* of the last try: told once, when it changes */
    uint64_t events_dropped;    /* told so far */
};

/* One line when trouble comes and when it goes; none while it stays, whatever form it takes. */
static void note_trouble(struct upkeep *upkeep, const char *trouble)
{
    if (trouble[0] && service_trouble(upkeep->service))
        log_error("store: %s", trouble);
    else if (!trouble[0] && service_trouble_is_over(upkeep->service))
        log_notice("store: all is well again");
}

/* Each client is told its own number when it comes; here is what all of them lost. */
static void note_dropped(struct upkeep *upkeep, uint64_t dropped)
{
    static struct log_limit limit;
    if (dropped == upkeep->events_dropped || !log_allowed(&limit, 1))
        return;
    log_warning("%llu events were dropped, the oldest first: of clients that are away too many waited,"
                " or for too long (events-per-mailbox, event-age)",
                (unsigned long long)(dropped - upkeep->events_dropped));
    upkeep->events_dropped = dropped;
}

/* What is left when the server stops, the next start does. */
static enum outcome spread_news(struct upkeep *upkeep, struct failure *why)
{
    struct service *service = upkeep->service;
    bool left = true;
    enum outcome outcome = OUTCOME_OK;

    while (left && outcome == OUTCOME_OK && !atomic_load(&upkeep->stopping)) {
        left = false;
        outcome = service->store->acts->fan_out(service->store, FAN_OUT_ROWS, &left, why);
    }
    return outcome;
}

static void log_sweep(const struct store_sweep *swept)
{
    if (swept->uploads + swept->blobs + swept->interests + swept->mailboxes + swept->events > 0)
        log_debug("swept: %llu uploads, %llu contents, %llu interests over, %llu mailboxes, %llu events",
                  (unsigned long long)swept->uploads, (unsigned long long)swept->blobs,
                  (unsigned long long)swept->interests, (unsigned long long)swept->mailboxes,
                  (unsigned long long)swept->events);
}

static enum outcome sweep(struct upkeep *upkeep, int64_t *next_due, struct failure *why)
{
    struct service *service = upkeep->service;
    bool left = true;
    enum outcome outcome = OUTCOME_OK;

    while (left && outcome == OUTCOME_OK && !atomic_load(&upkeep->stopping)) {
        struct store_sweep swept = {0};

        left = false;
        outcome = service->store->acts->sweep(service->store, &swept, &left, next_due, why);
        log_sweep(&swept);
    }
    return outcome;
}

/* *next_due: elapsed time of the next interest that runs out. */
static void look_after_store(struct upkeep *upkeep, int64_t *next_due)
{
    struct service *service = upkeep->service;
    struct store_health health = {0};
    struct failure why = {0};
    enum outcome outcome = spread_news(upkeep, &why);

    if (outcome == OUTCOME_OK)
        outcome = sweep(upkeep, next_due, &why);
    if (outcome == OUTCOME_OK)
        outcome = service->store->acts->health(service->store, &health, &why);
    if (outcome != OUTCOME_OK) {
        service_health(service, &health);
        health.writable = false;
        service_note_health(service, &health);
        note_trouble(upkeep, why.text);
        return;
    }
    service_note_health(service, &health);
    note_dropped(upkeep, health.events_dropped);
    note_trouble(upkeep, health.trouble);
}

static void look_after_rpcbind(struct upkeep *upkeep)
{
    struct failure why = {0};
    int64_t now = clock_elapsed(upkeep->service->clock);

    if (!upkeep->registration || now < upkeep->rpcbind_due)
        return;
    upkeep->rpcbind_due = now + (int64_t)UPKEEP_RPCBIND_MS * 1000000;
    enum outcome outcome = rpcbind_register(upkeep->registration, upkeep->stop_fd, &why);
    if (atomic_load(&upkeep->stopping))
        return;
    if (outcome == upkeep->rpcbind_state)
        return;
    upkeep->rpcbind_state = outcome;
    if (outcome == OUTCOME_OK)
        log_notice("rpcbind: registered");
    else
        log_warning("rpcbind: %s; clients find the server by its port alone", why.text);
}

/* Sleeps until something is to do. */
static void doze(struct upkeep *upkeep, int64_t next_due)
{
    struct service *service = upkeep->service;
    int64_t ms = UPKEEP_PERIOD_MS;
    struct pollfd poke = {.fd = service->poke_fd, .events = POLLIN};
    eventfd_t count;

    if (next_due != INT64_MAX) {
        /* A little past it, so that the sweep finds it over. */
        int64_t left = (next_due - clock_elapsed(service->clock)) / 1000000 + 1;
        ms = left < 0 ? 0 : left < ms ? left : ms;
    }
    if (poll(&poke, 1, (int)ms) > 0)
        (void)eventfd_read(service->poke_fd, &count);
}

static void *upkeep_run(void *argument)
{
    struct upkeep *upkeep = argument;

    pthread_setname_np(pthread_self(), "upkeep");
    while (!atomic_load(&upkeep->stopping)) {
        int64_t next_due = INT64_MAX;

        look_after_store(upkeep, &next_due);
        look_after_rpcbind(upkeep);
        if (!atomic_load(&upkeep->stopping))
            doze(upkeep, next_due);
    }
    return NULL;
}

enum outcome upkeep_new(struct service *service, struct rpcbind_registration *registration,
                        struct upkeep **out, struct failure *why)
{
    struct upkeep *upkeep = calloc(1, sizeof *upkeep);

    if (!upkeep)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the upkeep");
    upkeep->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (upkeep->stop_fd < 0) {
        free(upkeep);
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot make an eventfd");
    }
    upkeep->service = service;
    upkeep->registration = registration;
    upkeep->rpcbind_state = OUTCOME_FAULT; /* none yet: the first try is told whatever it is */
    *out = upkeep;
    return OUTCOME_OK;
}

enum outcome upkeep_start(struct upkeep *upkeep, struct failure *why)
{
    /* Here and now, so that a server that says it is ready can be found. */
    look_after_rpcbind(upkeep);

    int error = pthread_create(&upkeep->thread, NULL, upkeep_run, upkeep);

    if (error != 0)
        return failure_system(why, OUTCOME_FAULT, error, "cannot start the upkeep thread");
    return OUTCOME_OK;
}

void upkeep_stop(struct upkeep *upkeep)
{
    atomic_store(&upkeep->stopping, true);
    (void)eventfd_write(upkeep->stop_fd, 1);
    service_poke(upkeep->service);
    pthread_join(upkeep->thread, NULL);
}

void *upkeep_free(struct upkeep *upkeep)
{
    if (upkeep)
        close(upkeep->stop_fd);
    free(upkeep);
    return NULL;
}
