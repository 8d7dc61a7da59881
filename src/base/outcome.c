#include "base/outcome.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *outcome_name(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_OK: return "ok";
    case OUTCOME_EXISTS: return "exists";
    case OUTCOME_ABSENT: return "absent";
    case OUTCOME_CHANGED: return "changed";
    case OUTCOME_STALE: return "stale";
    case OUTCOME_OFFSET: return "offset";
    case OUTCOME_EXPIRED: return "expired";
    case OUTCOME_DENIED: return "denied";
    case OUTCOME_INVALID: return "invalid";
    case OUTCOME_NOSPACE: return "nospace";
    case OUTCOME_LIMIT: return "limit";
    case OUTCOME_CORRUPT: return "corrupt";
    case OUTCOME_HELD: return "held";
    case OUTCOME_UNAVAILABLE: return "unavailable";
    case OUTCOME_UNKNOWN: return "unknown";
    case OUTCOME_TIMEOUT: return "timeout";
    case OUTCOME_UNREACHABLE: return "unreachable";
    case OUTCOME_PROTOCOL: return "protocol";
    case OUTCOME_LOCAL: return "local";
    case OUTCOME_NOMEM: return "nomem";
    case OUTCOME_STOPPED: return "stopped";
    case OUTCOME_FAULT: return "fault";
    }
    return "no outcome";
}

/* Shortens to at most `size` bytes, never inside a character. */
static void cut(char *text, size_t size)
{
    if (strlen(text) <= size)
        return;
    while (size > 0 && (text[size] & 0xc0) == 0x80)
        size--;
    text[size] = '\0';
}

/*
 * The text may hold words of `why` itself, so it is made beside it first. The
 * last `reserve` bytes are kept for what the caller appends.
 */
static void describe(struct failure *why, enum outcome outcome, size_t reserve, const char *format, va_list list)
    __attribute__((format(printf, 4, 0)));

static void describe(struct failure *why, enum outcome outcome, size_t reserve, const char *format, va_list list)
{
    char text[FAILURE_TEXT_MAX * 2];
    if (vsnprintf(text, sizeof text, format, list) < 0)
        text[0] = '\0';
    cut(text, FAILURE_TEXT_MAX - 1 - reserve);
    for (char *at = text; (at = strpbrk(at, "\r\n")) != NULL;)
        *at = ' ';
    why->outcome = outcome;
    memcpy(why->text, text, strlen(text) + 1);
}

enum outcome failure_set(struct failure *why, enum outcome outcome, const char *format, ...)
{
    if (why) {
        va_list list;
        va_start(list, format);
        describe(why, outcome, 0, format, list);
        va_end(list);
    }
    return outcome;
}

enum outcome failure_system(struct failure *why, enum outcome outcome, int error, const char *format, ...)
{
    if (error == ENOSPC || error == EDQUOT)
        outcome = OUTCOME_NOSPACE;
    else if (error == ENOMEM)
        outcome = OUTCOME_NOMEM;
    if (!why)
        return outcome;

    char reason[96];
    const char *known = strerrordesc_np(error);
    if (known)
        snprintf(reason, sizeof reason, ": %s", known);
    else
        snprintf(reason, sizeof reason, ": error %d", error);

    va_list list;
    va_start(list, format);
    describe(why, outcome, strlen(reason), format, list);
    va_end(list);
    strcat(why->text, reason);
    return outcome;
}
