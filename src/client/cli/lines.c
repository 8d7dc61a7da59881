#include "client/cli/lines.h"

#include "client/cli/interrupt.h"
#include "client/cli/translate.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

void lines_init(struct lines *lines, int fd)
{
    lines->fd = fd;
    lines->ended = false;
    lines->used = lines->taken = 0;
}

/* Waits until the descriptor is readable. STOPPED if a signal came first. */
static enum outcome await_bytes(const struct lines *lines, struct failure *why)
{
    struct pollfd polled[] = {{.fd = lines->fd, .events = POLLIN}, {.fd = interrupt_fd(), .events = POLLIN}};
    while (poll(polled, 2, -1) < 0) {
        if (errno != EINTR)
            return failure_system(why, OUTCOME_LOCAL, errno, _("cannot wait for a line"));
    }
    if (polled[1].revents != 0)
        return failure_set(why, OUTCOME_STOPPED, _("stopped"));
    return OUTCOME_OK;
}

static enum outcome fill(struct lines *lines, struct failure *why)
{
    memmove(lines->buffer, lines->buffer + lines->taken, lines->used - lines->taken);
    lines->used -= lines->taken;
    lines->taken = 0;
    if (lines->used == LINES_MAX)
        return failure_set(why, OUTCOME_LIMIT, _("the line is longer than %d bytes"), LINES_MAX - 1);
    enum outcome outcome = await_bytes(lines, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    ssize_t count = read(lines->fd, lines->buffer + lines->used, LINES_MAX - lines->used);
    if (count < 0 && errno != EINTR && errno != EAGAIN)
        return failure_system(why, OUTCOME_LOCAL, errno, _("cannot read a line"));
    lines->ended = count == 0;
    if (count > 0)
        lines->used += (size_t)count;
    return OUTCOME_OK;
}

/* The last line may come without a newline; it gets its NUL where one would stand. */
static enum outcome give(struct lines *lines, size_t size, const char **out, struct failure *why)
{
    char *line = lines->buffer + lines->taken;
    line[size] = '\0';
    lines->taken += size + 1;
    if (lines->taken > lines->used)
        lines->taken = lines->used;
    if (memchr(line, '\0', size))
        return failure_set(why, OUTCOME_INVALID, _("the line has a NUL byte"));
    *out = line;
    return OUTCOME_OK;
}

enum outcome lines_next(struct lines *lines, const char **out, struct failure *why)
{
    for (;;) {
        const char *start = lines->buffer + lines->taken;
        size_t left = lines->used - lines->taken;
        const char *newline = memchr(start, '\n', left);
        if (newline)
            return give(lines, (size_t)(newline - start), out, why);
        if (lines->ended && left == 0)
            return OUTCOME_ABSENT;
        if (lines->ended)
            return give(lines, left, out, why);
        enum outcome outcome = fill(lines, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
}
