#include "client/cli/jobs.h"

#include "base/scoped.h"
#include "client/cli/interrupt.h"
#include "client/cli/progress.h"
#include "client/cli/translate.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What became of a row whose turn to be told has not come. */
struct held {
    enum fileshare_status status;
    bool stored, unchanged;
    uint64_t size;
    int64_t mtime, arrival;
    uint8_t digest[16];
    struct fileshare_id version;
    char texts[]; /* name and owner of what was stored; else the reason */
};

struct job {
    struct crew *crew;
    pthread_t thread; /* not the first's */
    bool started;
    bool leaves;               /* takes no more rows; the job's own */
    uint64_t moved;            /* in this transfer; the job's own */
    struct fileshare *session; /* guarded by crew.lock but for the job itself */
    bool connects;             /* guarded by crew.lock */
};

/* All jobs of one run. */
struct crew {
    const struct jobs *jobs;
    struct progress *progress;
    _Atomic uint64_t moved; /* by all */
    unsigned count;
    struct job rows[JOBS_MAX];

    pthread_mutex_t lock; /* guards the tree's `next`, and what follows; held while a row is told */
    pthread_cond_t moves; /* a row is done, or all end early */
    size_t told;          /* rows */
    struct held **held;   /* by row, with several jobs */
    size_t *before;       /* by row, with several jobs: the last one above it with the same key, or NONE */
    bool ends;            /* early: nobody takes any more */
    enum fileshare_status status;
    struct fileshare_error error; /* of that */
};

static const size_t NONE = SIZE_MAX;

/* ---- rows whose turn has not come ---- */

/* There was no memory to hold it: it was told out of turn. */
static struct held told_already;

/* Yours; NULL without memory. */
static struct held *hold(const struct fileshare_entry *entry, bool unchanged,
                         const struct fileshare_error *error)
{
    const char *first = entry ? entry->name : error->text, *second = entry ? entry->owner : "";
    size_t size = strlen(first) + 1;
    struct held *held = malloc(sizeof *held + size + strlen(second) + 1);
    if (!held)
        return NULL;
    *held = (struct held){.status = error->status, .stored = entry != NULL, .unchanged = unchanged};
    strcpy(held->texts, first);
    strcpy(held->texts + size, second);
    if (entry) {
        held->size = entry->size;
        held->mtime = entry->mtime;
        held->arrival = entry->arrival;
        held->version = entry->version;
        memcpy(held->digest, entry->digest, sizeof held->digest);
    }
    return held;
}

static void tell_held(const struct crew *crew, size_t row, const struct held *held)
{
    const struct jobs *jobs = crew->jobs;
    struct fileshare_error error = {.status = held->status};
    struct fileshare_entry entry = {.size = held->size,
                                    .mtime = held->mtime,
                                    .arrival = held->arrival,
                                    .version = held->version};
    if (held->stored) {
        snprintf(entry.name, sizeof entry.name, "%s", held->texts);
        snprintf(entry.owner, sizeof entry.owner, "%s", held->texts + strlen(held->texts) + 1);
        memcpy(entry.digest, held->digest, sizeof entry.digest);
    } else {
        snprintf(error.text, sizeof error.text, "%s", held->texts);
    }
    jobs->told(jobs->context, &jobs->tree->rows[row], held->stored ? &entry : NULL, held->unchanged, &error);
}

static void release(struct crew *crew, size_t row)
{
    struct held *held = crew->held[row];
    crew->held[row] = NULL;
    if (held == &told_already)
        return;
    tell_held(crew, row, held);
    free(held);
}

static bool is_done(const struct crew *crew, size_t row)
{
    return row < crew->told || crew->held[row];
}

void job_told(struct job *job, const struct tree_row *row, const struct fileshare_entry *entry,
              bool unchanged, const struct fileshare_error *error)
{
    struct crew *crew = job->crew;
    const struct jobs *jobs = crew->jobs;
    size_t n = (size_t)(row - jobs->tree->rows);
    bool is_gone = error->status == FILESHARE_UNREACHABLE || error->status == FILESHARE_TIMEOUT;
    /* It has tried for as long as it may; another connection may still be well. */
    job->leaves = job->leaves || (is_gone && job != crew->rows);
    scoped_lock(&crew->lock);
    struct held *held = n == crew->told ? NULL : hold(entry, unchanged, error);
    if (!held)
        jobs->told(jobs->context, row, entry, unchanged, error);
    if (n != crew->told)
        crew->held[n] = held ? held : &told_already;
    else
        crew->told++;
    for (; crew->held && crew->told < jobs->tree->count && crew->held[crew->told]; crew->told++)
        release(crew, crew->told);
    pthread_cond_broadcast(&crew->moves);
}

/* After an early end: what is done is told, whatever is not. */
static void tell_rest(struct crew *crew)
{
    for (size_t n = crew->told; crew->held && n < crew->jobs->tree->count; n++)
        if (crew->held[n])
            release(crew, n);
}

/* ---- the queue ---- */

void *job_context(const struct job *job)
{
    return job->crew->jobs->context;
}

static bool is_over(const struct crew *crew)
{
    return crew->ends || crew->jobs->tree->next == crew->jobs->tree->count;
}

/* Whether the next row stands in the way of another one of its key. */
static bool is_blocked(const struct crew *crew)
{
    size_t next = crew->jobs->tree->next;
    return crew->before && crew->before[next] != NONE && !is_done(crew, crew->before[next]);
}

struct tree_row *job_next(struct job *job)
{
    struct crew *crew = job->crew;
    struct tree *tree = crew->jobs->tree;
    scoped_lock(&crew->lock);
    if (job->leaves || is_over(crew) || is_blocked(crew))
        return NULL;
    return &tree->rows[tree->next++];
}

/* Waits until there is a row to take. Only who has none under way may: somebody else has the one that is waited for. */
static bool await_row(struct job *job)
{
    struct crew *crew = job->crew;
    scoped_lock(&crew->lock);
    while (!job->leaves && !is_over(crew) && is_blocked(crew))
        pthread_cond_wait(&crew->moves, &crew->lock);
    return !job->leaves && !is_over(crew);
}

static void end_early(struct crew *crew, enum fileshare_status status, const struct fileshare_error *error)
{
    scoped_lock(&crew->lock);
    if (!crew->ends) {
        crew->status = status;
        crew->error = *error;
    }
    crew->ends = true;
    pthread_cond_broadcast(&crew->moves);
}

void job_moved(void *context, uint64_t moved, uint64_t total)
{
    struct job *job = context;
    struct crew *crew = job->crew;
    uint64_t more = moved - job->moved; /* what was lost moves again: it wraps, and comes out right */
    (void)total;
    job->moved = moved;
    progress_moved(crew->progress, atomic_fetch_add(&crew->moved, more) + more, UINT64_MAX);
}

static void work(struct job *job)
{
    while (await_row(job)) {
        struct fileshare_error error = {.text = ""};
        job->moved = 0;
        enum fileshare_status status = job->crew->jobs->transfer(job, job->session, &error);
        if (status != FILESHARE_OK) {
            end_early(job->crew, status, &error);
            return;
        }
    }
}

/* ---- the other jobs ---- */

static void set_session(struct job *job, struct fileshare *session)
{
    scoped_lock(&job->crew->lock);
    job->session = session;
    job->connects = session != NULL;
}

/* Whether there is a connection for it now. */
static bool connect_job(struct job *job)
{
    struct crew *crew = job->crew;
    struct client *client = crew->jobs->client;
    struct fileshare_options options = client->options;
    struct fileshare *session = NULL;
    struct fileshare_error error = {.text = ""};
    int64_t ns;
    options.connect_later = true;
    enum fileshare_status status = fileshare_open(&options, &session, &error);
    if (status == FILESHARE_OK) {
        set_session(job, session);
        interrupt_add(session);
        /* A signal that came before could not stop it. */
        status = interrupt_noted() != 0 ? FILESHARE_STOPPED : fileshare_ping(session, &ns, &error);
    }
    bool is_missed = status != FILESHARE_OK && status != FILESHARE_STOPPED;
    {
        scoped_lock(&crew->lock);
        job->connects = false;
        is_missed = is_missed && !is_over(crew);
    }
    if (is_missed)
        client_note(client, _("a connection less than --jobs says: %s"), error.text);
    return status == FILESHARE_OK;
}

static void *run(void *context)
{
    struct job *job = context;
    if (connect_job(job))
        work(job);
    struct fileshare *session = job->session;
    set_session(job, NULL);
    client_close(session);
    return NULL;
}

/* Signals are for the first. */
static void start(struct crew *crew)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 1; i < crew->count; i++)
        crew->rows[i].started = pthread_create(&crew->rows[i].thread, NULL, run, &crew->rows[i]) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Nothing is left to be taken: who has no connection yet needs none any more. */
static void join(struct crew *crew)
{
    for (unsigned i = 1; i < crew->count; i++) {
        scoped_lock(&crew->lock);
        if (crew->rows[i].connects)
            fileshare_stop(crew->rows[i].session);
    }
    for (unsigned i = 1; i < crew->count; i++)
        if (crew->rows[i].started)
            pthread_join(crew->rows[i].thread, NULL);
}

/* ---- all of it ---- */

static int by_key(const void *a, const void *b, void *context)
{
    const struct jobs *jobs = context;
    size_t first = *(const size_t *)a, second = *(const size_t *)b;
    int order = strcmp(jobs->key(&jobs->tree->rows[first]), jobs->key(&jobs->tree->rows[second]));
    return order != 0 ? order : first < second ? -1 : first > second;
}

/* False without memory. */
static bool find_keys(struct crew *crew)
{
    struct jobs jobs = *crew->jobs;
    size_t count = jobs.tree->count;
    size_t *sorted = calloc(count, sizeof *sorted);
    crew->before = calloc(count, sizeof *crew->before);
    crew->held = calloc(count, sizeof(struct held *));
    if (!sorted || !crew->before || !crew->held) {
        free(sorted);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = i;
    qsort_r(sorted, count, sizeof *sorted, by_key, &jobs);
    for (size_t i = 0; i < count; i++) {
        bool again = i > 0 && strcmp(jobs.key(&jobs.tree->rows[sorted[i - 1]]),
                                     jobs.key(&jobs.tree->rows[sorted[i]])) == 0;
        crew->before[sorted[i]] = again ? sorted[i - 1] : NONE;
    }
    free(sorted);
    return true;
}

static void crew_init(struct crew *crew, const struct jobs *jobs)
{
    *crew = (struct crew){.jobs = jobs, .count = jobs->most > 0 ? jobs->most : 1};
    if (crew->count > JOBS_MAX)
        crew->count = JOBS_MAX;
    if (crew->count > jobs->tree->count)
        crew->count = jobs->tree->count > 0 ? (unsigned)jobs->tree->count : 1;
    for (unsigned i = 0; i < crew->count; i++)
        crew->rows[i].crew = crew;
    crew->rows[0].session = jobs->client->session;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->moves, NULL);
}

static void crew_fini(struct crew *crew)
{
    pthread_cond_destroy(&crew->moves);
    pthread_mutex_destroy(&crew->lock);
    free(crew->held);
    free(crew->before);
}

enum exit_code jobs_run(struct jobs *jobs)
{
    struct crew crew;
    enum exit_code code = EXIT_DONE;
    crew_init(&crew, jobs);
    if (crew.count > 1 && !find_keys(&crew)) {
        code = client_complain(jobs->client, EXIT_LOCAL, NULL, _("no memory for so many files"));
    } else {
        crew.progress = progress_start(jobs->client, jobs->title);
        start(&crew);
        work(&crew.rows[0]);
        join(&crew);
        progress_end(crew.progress);
        tell_rest(&crew);
        code = client_told(jobs->client, NULL, crew.status, &crew.error);
    }
    crew_fini(&crew);
    return code;
}
