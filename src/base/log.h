/*
 * log: one line to the log, from whoever decides.
 *
 * Lower layers return failures and log nothing above debug; only the request
 * page, the sender, delivery, upkeep and the two mains do. A line names what,
 * on what, why. Text that came from a peer goes through name_show first.
 *
 * log_open once, before threads start; then any thread. Sinks: standard error
 * (each line "fileshared: <level>: text", or with a journal's "<N>" prefix) or
 * syslog(3).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_INFO = 6, LOG_LEVEL_DEBUG = 7 };

enum log_sink { LOG_SINK_STDERR, LOG_SINK_JOURNAL, LOG_SINK_SYSLOG };

/*
 * `program` must live as long as the process. Before it, lines of NOTICE and
 * above go to standard error as "fileshare: ...".
 */
void log_open(const char *program, enum log_sink sink, enum log_level threshold);
void log_set_threshold(enum log_level threshold); /* any thread, any time */
bool log_enabled(enum log_level level);

/* One line; control characters in it become spaces, past 4 KiB it is cut with "...". Leaves errno alone. */
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * Lines of one kind that a peer could cause without end: says yes at most
 * `per_minute` times in each minute (the first yes begins it), and logs, before
 * the first yes of the next, how many were left out. Static storage,
 * zero-initialised, one for each kind; any thread, no locks.
 */
struct log_limit {
    _Atomic unsigned long long window; /* when the minute began and how many had a yes, as one word */
    _Atomic unsigned left_out;
};
bool log_allowed(struct log_limit *limit, unsigned per_minute);

/* The same at the time `now` (ns, of an elapsed clock); *out_left_out is how many had a no since the last report. */
bool log_limit_take(struct log_limit *limit, unsigned per_minute, int64_t now, unsigned *out_left_out);
