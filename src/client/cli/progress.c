#include "client/cli/progress.h"

#include "base/clock.h"
#include "base/duration.h"
#include "base/name.h"
#include "client/cli/translate.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum { TICK_MS = 250, FIRST_TICKS = 2, RATE_SHARE = 8, COLUMNS = 80 };

struct progress {
    struct client *client;
    const char *name;
    _Atomic uint64_t moved, total; /* the transfer's thread tells, ours reads */
    _Atomic uint64_t start;        /* the first that was told: what an earlier run moved is not our speed */

    pthread_t thread;
    pthread_mutex_t lock; /* of ends */
    pthread_cond_t wake;
    bool ends;

    /* the drawing thread's own */
    unsigned ticks;
    bool begun;
    uint64_t last;  /* moved, a tick ago */
    double rate;    /* bytes a second, smoothed */
    unsigned still; /* ticks without a byte */
};

/* Cuts `text` after so many characters. */
static void cut(char *text, unsigned columns)
{
    unsigned count = 0;
    for (; *text; text++) {
        if (((unsigned char)*text & 0xc0) != 0x80 && count++ == columns) {
            *text = '\0';
            return;
        }
    }
}

char *progress_line(const struct progress_state *state, unsigned columns, char line[PROGRESS_LINE_SIZE])
{
    char name[128], moved[DURATION_TEXT_SIZE], total[DURATION_TEXT_SIZE], rate[DURATION_TEXT_SIZE];
    char left[DURATION_TEXT_SIZE], tail[192];
    name_show(state->name, strlen(state->name), name, sizeof name);
    size_text(state->moved, moved);
    size_text(state->rate, rate);
    bool known = state->total != UINT64_MAX && state->total >= state->moved;
    if (state->still >= PROGRESS_STALLED_SECONDS)
        snprintf(tail, sizeof tail, _("nothing moves for %s"), duration_text(state->still, left));
    else if (known && state->rate > 0)
        snprintf(tail, sizeof tail, _("%s/s, %s left"), rate,
                 duration_text((state->total - state->moved) / state->rate, left));
    else
        snprintf(tail, sizeof tail, "%s/s", rate);
    if (known)
        snprintf(line, PROGRESS_LINE_SIZE, _("%s: %3u%%, %s of %s, %s"), name,
                 state->total > 0 ? (unsigned)((double)state->moved / (double)state->total * 100) : 100,
                 moved, size_text(state->total, total), tail);
    else
        snprintf(line, PROGRESS_LINE_SIZE, "%s: %s, %s", name, moved, tail);
    cut(line, columns);
    return line;
}

static unsigned terminal_columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1U : COLUMNS - 1;
}

static void measure(struct progress *progress, uint64_t moved)
{
    /* What the other side lost moves again. */
    uint64_t more = moved > progress->last ? moved - progress->last : 0;
    double rate = (double)more * 1000 / TICK_MS;
    progress->rate = progress->ticks <= 1 ? rate : progress->rate + (rate - progress->rate) / RATE_SHARE;
    progress->still = moved == progress->last ? progress->still + 1 : 0;
    progress->last = moved;
}

static void draw(struct progress *progress)
{
    uint64_t moved = atomic_load(&progress->moved);
    char line[PROGRESS_LINE_SIZE];
    progress->ticks++;
    if (!progress->begun && moved > 0) {
        progress->begun = true;
        progress->last = atomic_load(&progress->start);
    }
    measure(progress, moved);
    if (progress->ticks < FIRST_TICKS)
        return;
    const struct progress_state state = {
        .name = progress->name,
        .moved = moved,
        .total = atomic_load(&progress->total),
        .rate = (uint64_t)progress->rate,
        .still = progress->still * TICK_MS / 1000,
    };
    progress_line(&state, terminal_columns(), line);
    pthread_mutex_lock(&progress->client->screen);
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    progress->client->bar_is_drawn = true;
    pthread_mutex_unlock(&progress->client->screen);
}

/* Sleeps a tick, less if it ends. */
static bool tick(struct progress *progress)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TICK_MS * 1000000L;
    if (until.tv_nsec >= CLOCK_SECOND) {
        until.tv_nsec -= CLOCK_SECOND;
        until.tv_sec++;
    }
    pthread_mutex_lock(&progress->lock);
    int error = 0;
    while (!progress->ends && error != ETIMEDOUT)
        error = pthread_cond_timedwait(&progress->wake, &progress->lock, &until);
    bool ends = progress->ends;
    pthread_mutex_unlock(&progress->lock);
    return !ends;
}

static void *run(void *context)
{
    struct progress *progress = context;
    while (tick(progress))
        draw(progress);
    return NULL;
}

static void progress_free(struct progress *progress)
{
    pthread_cond_destroy(&progress->wake);
    pthread_mutex_destroy(&progress->lock);
    free(progress);
}

/* Signals are for the others. */
static int start_thread(struct progress *progress)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&progress->thread, NULL, run, progress);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct progress *progress_start(struct client *client, const char *name)
{
    if (client->quiet || !isatty(STDERR_FILENO))
        return NULL;
    struct progress *progress = calloc(1, sizeof *progress);
    if (!progress)
        return NULL;
    progress->client = client;
    progress->name = name;
    atomic_store(&progress->total, UINT64_MAX);
    atomic_store(&progress->start, UINT64_MAX);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&progress->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&progress->lock, NULL);
    if (start_thread(progress) == 0)
        return progress;
    progress_free(progress);
    return NULL;
}

void progress_moved(void *context, uint64_t moved, uint64_t total)
{
    struct progress *progress = context;
    if (!progress)
        return;
    atomic_store(&progress->total, total);
    if (atomic_load(&progress->start) == UINT64_MAX)
        atomic_store(&progress->start, moved);
    atomic_store(&progress->moved, moved);
}

void progress_end(struct progress *progress)
{
    if (!progress)
        return;
    pthread_mutex_lock(&progress->lock);
    progress->ends = true;
    pthread_cond_signal(&progress->wake);
    pthread_mutex_unlock(&progress->lock);
    pthread_join(progress->thread, NULL);
    client_screen_begin(progress->client);
    client_screen_end(progress->client);
    progress_free(progress);
}
