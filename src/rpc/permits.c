#include "rpc/permits.h"

#include "base/scoped.h"

#include <assert.h>

void permits_init(struct permits *permits, unsigned count, unsigned waiting_max)
{
    *permits = (struct permits){.free = count, .waiting_max = waiting_max};
    pthread_mutex_init(&permits->mutex, NULL);
    list_init(&permits->ready);
    list_init(&permits->ready_bulky);
}

void permits_fini(struct permits *permits)
{
    assert(permits->waiting == 0);
    pthread_mutex_destroy(&permits->mutex);
}

void permit_line_init(struct permit_line *line)
{
    line->busy = false;
    list_init(&line->waiting);
}

static void enqueue(struct permits *permits, struct permit_job *job)
{
    job->number = permits->queued++;
    list_append(job->bulky ? &permits->ready_bulky : &permits->ready, &job->link);
}

/* The first in the queue of those that may have a permit now; `all`: of all. NULL: there is none. */
static struct permit_job *first(const struct permits *permits, bool all)
{
    struct permit_job *small = list_first(&permits->ready, struct permit_job, link);
    struct permit_job *bulky = list_first(&permits->ready_bulky, struct permit_job, link);

    if (!bulky || (permits->shut && !all))
        return small;
    return small && small->number < bulky->number ? small : bulky;
}

enum permit_answer permits_ask(struct permits *permits, struct permit_job *job, bool now)
{
    struct permit_line *line = job->line;

    scoped_lock(&permits->mutex);
    bool behind = line && line->busy;
    bool may = permits->free > 0 && !(permits->shut && job->bulky) && !first(permits, false);
    if (now && !behind && may) {
        permits->free--;
        if (line)
            line->busy = true;
        return PERMIT_YES;
    }
    if (permits->waiting >= permits->waiting_max)
        return PERMIT_FULL;
    permits->waiting++;
    if (behind)
        list_append(&line->waiting, &job->link);
    else
        enqueue(permits, job);
    if (line)
        line->busy = true;
    return PERMIT_WAITS;
}

static struct permit_job *pop(struct permits *permits, bool all)
{
    struct permit_job *job = first(permits, all);

    if (!job)
        return NULL;
    list_remove(&job->link);
    permits->waiting--;
    return job;
}

struct permit_job *permits_take(struct permits *permits)
{
    scoped_lock(&permits->mutex);
    struct permit_job *job = permits->free > 0 ? pop(permits, false) : NULL;
    if (job)
        permits->free--;
    return job;
}

/* The next of the line, if there is one, stands in the queue now, behind the others. */
static void advance(struct permits *permits, struct permit_line *line)
{
    struct permit_job *next = list_first(&line->waiting, struct permit_job, link);

    line->busy = next;
    if (next) {
        list_remove(&next->link);
        enqueue(permits, next);
    }
}

/* The permit goes to the next job, or back. */
static struct permit_job *pass_on(struct permits *permits)
{
    struct permit_job *next = pop(permits, false);

    if (!next)
        permits->free++;
    return next;
}

struct permit_job *permits_done(struct permits *permits, struct permit_job *job)
{
    scoped_lock(&permits->mutex);
    if (job->line)
        advance(permits, job->line);
    return pass_on(permits);
}

struct permit_job *permits_yield(struct permits *permits)
{
    scoped_lock(&permits->mutex);
    return pass_on(permits);
}

void permits_again(struct permits *permits, struct permit_job *job)
{
    scoped_lock(&permits->mutex);
    permits->waiting++;
    enqueue(permits, job);
}

void permits_shut(struct permits *permits, bool shut)
{
    scoped_lock(&permits->mutex);
    permits->shut = shut;
}

bool permits_have_work(struct permits *permits)
{
    scoped_lock(&permits->mutex);
    return permits->free > 0 && first(permits, false);
}

unsigned permits_waiting(struct permits *permits)
{
    scoped_lock(&permits->mutex);
    return permits->waiting;
}

struct permit_job *permits_drop(struct permits *permits)
{
    scoped_lock(&permits->mutex);
    struct permit_job *job = pop(permits, true);
    if (job && job->line)
        advance(permits, job->line);
    return job;
}
