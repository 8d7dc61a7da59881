#include "rpc/permits.h"

#include "base/scoped.h"

#include <assert.h>

void permits_init(struct permits *permits, unsigned count, unsigned waiting_max)
{
    *permits = (struct permits){.free = count, .waiting_max = waiting_max};
    pthread_mutex_init(&permits->mutex, NULL);
    list_init(&permits->ready);
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

enum permit_answer permits_ask(struct permits *permits, struct permit_job *job, bool now)
{
    struct permit_line *line = job->line;

    scoped_lock(&permits->mutex);
    bool behind = line && line->busy;
    if (now && !behind && !permits->shut && permits->free > 0 && list_is_empty(&permits->ready)) {
        permits->free--;
        if (line)
            line->busy = true;
        return PERMIT_YES;
    }
    if (permits->waiting >= permits->waiting_max)
        return PERMIT_FULL;
    permits->waiting++;
    list_append(behind ? &line->waiting : &permits->ready, &job->link);
    if (line)
        line->busy = true;
    return PERMIT_WAITS;
}

static struct permit_job *pop(struct permits *permits)
{
    struct permit_job *job = list_first(&permits->ready, struct permit_job, link);

    if (!job)
        return NULL;
    list_remove(&job->link);
    permits->waiting--;
    return job;
}

struct permit_job *permits_take(struct permits *permits)
{
    scoped_lock(&permits->mutex);
    struct permit_job *job = permits->free > 0 && !permits->shut ? pop(permits) : NULL;
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
        list_append(&permits->ready, &next->link);
    }
}

/* The permit goes to the next job, or back. */
static struct permit_job *pass_on(struct permits *permits)
{
    struct permit_job *next = permits->shut ? NULL : pop(permits);

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
    list_append(&permits->ready, &job->link);
}

void permits_shut(struct permits *permits, bool shut)
{
    scoped_lock(&permits->mutex);
    permits->shut = shut;
}

bool permits_have_work(struct permits *permits)
{
    scoped_lock(&permits->mutex);
    return permits->free > 0 && !permits->shut && !list_is_empty(&permits->ready);
}

unsigned permits_waiting(struct permits *permits)
{
    scoped_lock(&permits->mutex);
    return permits->waiting;
}

struct permit_job *permits_drop(struct permits *permits)
{
    scoped_lock(&permits->mutex);
    struct permit_job *job = pop(permits);
    if (job && job->line)
        advance(permits, job->line);
    return job;
}
