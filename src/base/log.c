#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

_Static_assert(LOG_LEVEL_ERROR == LOG_ERR && LOG_LEVEL_DEBUG == LOG_DEBUG, "our levels are those of syslog");

/* Lines up to PIPE_BUF reach a pipe whole, though several processes write to it. */
enum { LINE_SIZE = 4096 };

/*
 * The sinks: the only globals there are. Set by log_open before there are
 * threads; the threshold is atomic so that a reload may change it.
 */
static const char *log_program = "fileshare";
static enum log_sink log_sink = LOG_SINK_STDERR;
static _Atomic int log_threshold = LOG_LEVEL_NOTICE;

void log_open(const char *program, enum log_sink sink, enum log_level threshold)
{
    if (log_sink == LOG_SINK_SYSLOG)
        closelog();
    log_program = program;
    log_sink = sink;
    if (sink == LOG_SINK_SYSLOG)
        openlog(program, LOG_PID, LOG_DAEMON);
    log_set_threshold(threshold);
}

void log_set_threshold(enum log_level threshold)
{
    atomic_store_explicit(&log_threshold, threshold, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_threshold, memory_order_relaxed);
}

static const char *level_word(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR: return "error";
    case LOG_LEVEL_WARNING: return "warning";
    case LOG_LEVEL_NOTICE: return "notice";
    case LOG_LEVEL_INFO: return "info";
    case LOG_LEVEL_DEBUG: return "debug";
    }
    return "log";
}

/* One line stays one line, whatever a text in it held. */
static void flatten(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
    }
}

static void write_line(const char *line, size_t count)
{
    while (count > 0) {
        ssize_t written = write(STDERR_FILENO, line, count);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* nobody reads: there is nowhere left to say so */
        line += written;
        count -= (size_t)written;
    }
}

void log_line(enum log_level level, const char *format, ...)
{
    if (!log_enabled(level))
        return;
    int saved = errno;
    char line[LINE_SIZE];
    int head = 0;
    if (log_sink == LOG_SINK_STDERR)
        head = snprintf(line, sizeof line / 2, "%s: %s: ", log_program, level_word(level));
    else if (log_sink == LOG_SINK_JOURNAL)
        head = snprintf(line, sizeof line / 2, "<%d>", (int)level);
    if (head < 0 || head >= (int)(sizeof line / 2))
        head = 0;

    /* one byte of the line is kept for its newline */
    size_t room = sizeof line - 1 - (size_t)head;
    va_list list;
    va_start(list, format);
    int wanted = vsnprintf(line + head, room, format, list);
    va_end(list);
    if (wanted < 0)
        line[head] = '\0';
    else if ((size_t)wanted >= room)
        memcpy(line + sizeof line - 5, "...", 4);
    flatten(line);
    if (log_sink == LOG_SINK_SYSLOG)
        syslog((int)level, "%s", line);
    else {
        size_t count = strlen(line);
        line[count++] = '\n';
        write_line(line, count);
    }
    errno = saved;
}

bool log_limit_take(struct log_limit *limit, unsigned per_minute, int64_t now, unsigned *out_left_out)
{
    /* The high half is when the minute began, in seconds and never 0; the low half how many had a yes in it. */
    uint64_t second = (uint64_t)(now / CLOCK_SECOND) + 1;
    unsigned long long seen = atomic_load(&limit->window);
    for (;;) {
        bool fresh = seen == 0 || second >= (seen >> 32) + 60;
        unsigned used = fresh ? 0 : (unsigned)(seen & UINT32_MAX);
        if (used >= per_minute) {
            atomic_fetch_add(&limit->left_out, 1);
            return false;
        }
        unsigned long long next = (fresh ? second << 32 : seen & ~(unsigned long long)UINT32_MAX) | (used + 1);
        if (atomic_compare_exchange_weak(&limit->window, &seen, next)) {
            *out_left_out = fresh ? atomic_exchange(&limit->left_out, 0) : 0;
            return true;
        }
    }
}

bool log_allowed(struct log_limit *limit, unsigned per_minute)
{
    unsigned left_out = 0;
    if (!log_limit_take(limit, per_minute, clock_elapsed(clock_system()), &left_out))
        return false;
    if (left_out > 0)
        log_notice("%u lines like the next one were left out", left_out);
    return true;
}
