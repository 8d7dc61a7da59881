#include "server/delivery/reports.h"

#include "base/fault.h"
#include "base/log.h"
#include "base/scoped.h"
#include "rpc/backoff.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

/* A store that is in trouble is asked again for about ten seconds; then the batch is delivered once more. */
enum { TRIES_MAX = 12, PAUSE_FIRST_MS = 10, PAUSE_LAST_MS = 2000 };

/* With so many batches out it pays to wait a moment for more results: a commit and two wake-ups serve all. */
enum { MANY_OUT = 32, MOMENT_NS = 3000000 };

enum outcome reports_init(struct reports *reports, struct store *store, unsigned limit, int wake,
                          struct failure *why)
{
    reports->store = store;
    reports->limit = limit;
    reports->wake = wake;
    pthread_mutex_init(&reports->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&reports->came, &monotonic);
    pthread_condattr_destroy(&monotonic);
    reports->flights = calloc(limit, sizeof *reports->flights);
    reports->results = calloc(limit, sizeof *reports->results);
    if (!reports->flights || !reports->results)
        return failure_set(why, OUTCOME_NOMEM, "no memory for %u deliveries", limit);
    for (unsigned i = 0; i < limit; i++)
        reports->flights[i].next_free = i + 1;
    return OUTCOME_OK;
}

void reports_fini(struct reports *reports)
{
    free(reports->flights);
    free(reports->results);
    pthread_cond_destroy(&reports->came);
    pthread_mutex_destroy(&reports->lock);
}

/* ---- flights ---- */

bool reports_is_full(struct reports *reports)
{
    scoped_lock(&reports->lock);
    return reports->flight_count == reports->limit;
}

unsigned reports_begin(struct reports *reports, const struct flight *flight)
{
    scoped_lock(&reports->lock);
    unsigned index = reports->first_free;
    reports->first_free = reports->flights[index].next_free;
    reports->flights[index] = *flight;
    reports->flight_count++;
    return index;
}

/* The lock is held. */
static void end_flight(struct reports *reports, unsigned index)
{
    bool was_full = reports->flight_count == reports->limit;
    reports->flights[index].next_free = reports->first_free;
    reports->first_free = index;
    reports->flight_count--;
    if (was_full)
        (void)eventfd_write(reports->wake, 1);
}

/* The lock is held. */
static void take(struct reports *reports, const struct sender_result *result)
{
    reports->results[(reports->results_at + reports->results_count++) % reports->limit] = *result;
    if (reports->wanted > 0 && reports->results_count >= reports->wanted)
        pthread_cond_signal(&reports->came);
}

void reports_refuse(struct reports *reports, unsigned index, enum outcome outcome)
{
    scoped_lock(&reports->lock);
    struct flight *flight = &reports->flights[index];
    flight->refused = outcome == OUTCOME_LIMIT || outcome == OUTCOME_HELD || outcome == OUTCOME_NOMEM;
    const struct sender_result result = {.mailbox = flight->mailbox, .token = index, .outcome = outcome};
    take(reports, &result);
}

void reports_take(void *context, const struct sender_result *result)
{
    struct reports *reports = context;
    scoped_lock(&reports->lock);
    take(reports, result);
}

/* ---- the store is told ---- */

void reports_complain(enum outcome outcome, const struct failure *why)
{
    /* Once while it lasts; and of trouble that comes and goes not without end. */
    static atomic_bool told;
    static struct log_limit limit;
    if (outcome == OUTCOME_OK)
        atomic_store(&told, false);
    else if (!atomic_exchange(&told, true) && log_allowed(&limit, 6))
        log_warning("delivery: %s", why->text);
}

/* How long to wait after so many tries in vain. */
static uint32_t pause_after(const struct reports *reports, uint32_t attempts)
{
    return backoff_after(reports->retry_first_ms, reports->retry_last_ms, attempts);
}

static bool is_stopping(struct reports *reports)
{
    scoped_lock(&reports->lock);
    return reports->stopping;
}

/* Whether the act is to be repeated, after a pause: the store could not, or does not know whether it did. */
static bool again(struct reports *reports, enum outcome outcome, uint32_t tries)
{
    bool passes = outcome == OUTCOME_UNAVAILABLE || outcome == OUTCOME_UNKNOWN ||
                  outcome == OUTCOME_NOSPACE || outcome == OUTCOME_NOMEM;
    if (!passes || tries == TRIES_MAX || is_stopping(reports))
        return false;
    uint32_t ms = backoff_after(PAUSE_FIRST_MS, PAUSE_LAST_MS, tries);
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
    return true;
}

/* `patient`: a store in trouble is asked again for a while. */
static enum outcome put_off(struct reports *reports, const struct id *mailbox, uint64_t token,
                            uint32_t milliseconds, bool patient)
{
    struct failure why;
    enum outcome outcome;
    uint32_t tries = 0;
    atomic_fetch_add(&reports->retries, 1);
    do
        outcome = reports->store->acts->pending_retry(reports->store, mailbox, token, milliseconds, &why);
    while (patient && again(reports, outcome, tries++));
    reports_complain(outcome, &why);
    return outcome;
}

static void retry(struct reports *reports, const struct flight *flight, uint32_t milliseconds)
{
    (void)put_off(reports, &flight->mailbox, flight->token, milliseconds, true);
}

static void count(struct reports *reports, const struct flight *flight, const struct sender_result *result)
{
    /* Numbers may have gaps: of a batch acknowledged in part no more is known. */
    uint64_t span = result->acknowledged - flight->before;
    bool whole = result->acknowledged >= flight->last || span > flight->count;
    atomic_fetch_add(&reports->events, whole ? flight->count : span);
    atomic_fetch_add(&reports->batches, 1);
}

/* Results that are reported together, and the flights that they end. */
struct bundle {
    size_t count, done_count;
    struct flight flights[REPORTS_AT_ONCE];
    struct sender_result results[REPORTS_AT_ONCE];
    struct store_done dones[REPORTS_AT_ONCE]; /* of those that were acknowledged */
    bool acknowledged[REPORTS_AT_ONCE];
};

static void acknowledge(struct reports *reports, const struct bundle *bundle)
{
    struct failure why;
    enum outcome outcome;
    uint32_t tries = 0;
    FAULT_POINT("notice-answered");
    do
        outcome = reports->store->acts->pending_done_many(reports->store, bundle->dones, bundle->done_count,
                                                          &why);
    while (again(reports, outcome, tries++));
    reports_complain(outcome, &why);
    /* Whoever showed them acknowledges them again; the claim's lease would be a long time. */
    bool failed = outcome != OUTCOME_OK, patient = true;
    for (size_t i = 0; failed && i < bundle->count; i++) {
        const struct flight *flight = &bundle->flights[i];
        if (bundle->acknowledged[i])
            patient &= put_off(reports, &flight->mailbox, flight->token,
                               pause_after(reports, flight->attempts), patient) == OUTCOME_OK;
    }
}

/* What was not acknowledged is put off; what was stands in the bundle's dones. */
static void report(struct reports *reports, struct bundle *bundle, size_t at)
{
    const struct flight *flight = &bundle->flights[at];
    const struct sender_result *result = &bundle->results[at];
    atomic_fetch_add(&reports->dialback, result->route == SENDER_DIALBACK);
    atomic_fetch_add(&reports->reversed, result->route == SENDER_REVERSED);
    bundle->acknowledged[at] = result->outcome == OUTCOME_OK && result->acknowledged > flight->before;
    if (bundle->acknowledged[at]) {
        count(reports, flight, result);
        bundle->dones[bundle->done_count++] = (struct store_done){.mailbox = flight->mailbox,
                                                                  .token = flight->token,
                                                                  .acknowledged = result->acknowledged};
    } else if (flight->refused)
        retry(reports, flight, reports->retry_first_ms);
    else if (result->outcome == OUTCOME_DENIED) /* nobody there wants this mailbox: an ATTACH will say so */
        retry(reports, flight, reports->retry_last_ms);
    else if (result->outcome != OUTCOME_STOPPED) /* a claim lapses by itself */
        retry(reports, flight, pause_after(reports, flight->attempts));
}

/* The lock is held: until there is a result, or, where many are out, a moment longer. */
static void wait_for_results(struct reports *reports)
{
    reports->wanted = 1;
    while (reports->results_count == 0 && !reports->stopping)
        pthread_cond_wait(&reports->came, &reports->lock);
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += MOMENT_NS;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    reports->wanted = REPORTS_AT_ONCE;
    while (reports->results_count < REPORTS_AT_ONCE && !reports->stopping &&
           reports->flight_count - reports->results_count >= MANY_OUT)
        if (pthread_cond_timedwait(&reports->came, &reports->lock, &until) != 0)
            break;
    reports->wanted = 0;
}

/* The next results, and the flights that they end. False: there are none, and no more will come. */
static bool next_results(struct reports *reports, struct bundle *bundle)
{
    bundle->count = bundle->done_count = 0;
    scoped_lock(&reports->lock);
    wait_for_results(reports);
    while (reports->results_count > 0 && bundle->count < REPORTS_AT_ONCE) {
        const struct sender_result *result = &reports->results[reports->results_at];
        bundle->results[bundle->count] = *result;
        bundle->flights[bundle->count++] = reports->flights[result->token];
        end_flight(reports, (unsigned)result->token);
        reports->results_at = (reports->results_at + 1) % reports->limit;
        reports->results_count--;
    }
    return bundle->count > 0;
}

static void *run(void *context)
{
    struct reports *reports = context;
    struct bundle bundle;
    while (next_results(reports, &bundle)) {
        for (size_t i = 0; i < bundle.count; i++)
            report(reports, &bundle, i);
        if (bundle.done_count > 0)
            acknowledge(reports, &bundle);
    }
    return NULL;
}

enum outcome reports_start(struct reports *reports, struct failure *why)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int error = pthread_create(&reports->thread, NULL, run, reports);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    reports->started = error == 0;
    if (reports->started)
        pthread_setname_np(reports->thread, "reports");
    return error ? failure_system(why, OUTCOME_FAULT, error, "can't start a thread of the delivery")
                 : OUTCOME_OK;
}

void reports_stop(struct reports *reports)
{
    {
        scoped_lock(&reports->lock);
        reports->stopping = true;
        pthread_cond_broadcast(&reports->came);
    }
    if (reports->started)
        pthread_join(reports->thread, NULL);
    reports->started = false;
    run(reports); /* never started: what was taken is reported all the same */
}
