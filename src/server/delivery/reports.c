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

enum outcome reports_init(struct reports *reports, struct store *store, unsigned limit, int wake,
                          struct failure *why)
{
    reports->store = store;
    reports->limit = limit;
    reports->wake = wake;
    pthread_mutex_init(&reports->lock, NULL);
    pthread_cond_init(&reports->came, NULL);
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

void reports_drop(struct reports *reports, unsigned index)
{
    scoped_lock(&reports->lock);
    end_flight(reports, index);
}

void reports_take(void *context, const struct sender_result *result)
{
    struct reports *reports = context;
    scoped_lock(&reports->lock);
    reports->results[(reports->results_at + reports->results_count++) % reports->limit] = *result;
    pthread_cond_signal(&reports->came);
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

uint32_t reports_pause(const struct reports *reports, uint32_t attempts)
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

void reports_retry(struct reports *reports, const struct id *mailbox, uint64_t token, uint32_t milliseconds)
{
    struct failure why;
    enum outcome outcome;
    uint32_t tries = 0;
    atomic_fetch_add(&reports->retries, 1);
    do
        outcome = reports->store->acts->pending_retry(reports->store, mailbox, token, milliseconds, &why);
    while (again(reports, outcome, tries++));
    reports_complain(outcome, &why);
}

static void count(struct reports *reports, const struct flight *flight, const struct sender_result *result)
{
    /* Numbers may have gaps: of a batch acknowledged in part no more is known. */
    uint64_t span = result->acknowledged - flight->before;
    bool whole = result->acknowledged >= flight->last || span > flight->count;
    atomic_fetch_add(&reports->events, whole ? flight->count : span);
    atomic_fetch_add(&reports->batches, 1);
}

static void acknowledge(struct reports *reports, const struct flight *flight,
                        const struct sender_result *result)
{
    struct failure why;
    enum outcome outcome;
    uint32_t tries = 0;
    count(reports, flight, result);
    FAULT_POINT("notice-answered");
    do
        outcome = reports->store->acts->pending_done(reports->store, &flight->mailbox, flight->token,
                                                     result->acknowledged, &why);
    while (again(reports, outcome, tries++));
    reports_complain(outcome, &why);
    /* Whoever showed them acknowledges them again; the claim's lease would be a long time. */
    if (outcome != OUTCOME_OK)
        reports_retry(reports, &flight->mailbox, flight->token, reports_pause(reports, flight->attempts));
}

static void report(struct reports *reports, const struct flight *flight, const struct sender_result *result)
{
    atomic_fetch_add(&reports->dialback, result->route == SENDER_DIALBACK);
    atomic_fetch_add(&reports->reversed, result->route == SENDER_REVERSED);
    if (result->outcome == OUTCOME_OK && result->acknowledged > flight->before)
        acknowledge(reports, flight, result);
    else if (result->outcome == OUTCOME_DENIED) /* nobody there wants this mailbox: an ATTACH will say so */
        reports_retry(reports, &flight->mailbox, flight->token, reports->retry_last_ms);
    else if (result->outcome != OUTCOME_STOPPED) /* a claim lapses by itself */
        reports_retry(reports, &flight->mailbox, flight->token, reports_pause(reports, flight->attempts));
}

/* The next result, and the flight that it ends. False: there is none, and no more will come. */
static bool next_result(struct reports *reports, struct flight *flight, struct sender_result *result)
{
    scoped_lock(&reports->lock);
    while (reports->results_count == 0 && !reports->stopping)
        pthread_cond_wait(&reports->came, &reports->lock);
    if (reports->results_count == 0)
        return false;
    *result = reports->results[reports->results_at];
    reports->results_at = (reports->results_at + 1) % reports->limit;
    reports->results_count--;
    *flight = reports->flights[result->token];
    end_flight(reports, (unsigned)result->token);
    return true;
}

static void *run(void *context)
{
    struct reports *reports = context;
    struct flight flight;
    struct sender_result result;
    while (next_result(reports, &flight, &result))
        report(reports, &flight, &result);
    return NULL;
}

enum outcome reports_start(struct reports *reports, struct failure *why)
{
    sigset_t all, before;
    int error = 0;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    while (error == 0 && reports->thread_count < REPORTS_THREADS) {
        error = pthread_create(&reports->threads[reports->thread_count], NULL, run, reports);
        if (error == 0)
            pthread_setname_np(reports->threads[reports->thread_count++], "reports");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
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
    while (reports->thread_count > 0)
        pthread_join(reports->threads[--reports->thread_count], NULL);
    run(reports); /* never started: what was taken is reported all the same */
}
