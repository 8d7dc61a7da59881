/*
 * lines: reads a descriptor line by line; a signal or a reader's deadline does
 * not lose what came.
 *
 * Not stdio: whether a line is waiting must be known together with whether a
 * signal came (interrupt_fd), on whatever thread it was delivered.
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>

enum { LINES_MAX = 65536 }; /* bytes in a line, with its end */

struct lines {
    int fd;
    bool ended;
    size_t used;  /* bytes in `buffer` */
    size_t taken; /* of them in lines that were given out */
    char buffer[LINES_MAX + 1];
};

void lines_init(struct lines *lines, int fd); /* the descriptor stays the caller's */

/*
 * The next line without its newline, valid until the next call; the last one
 * need not have one. ABSENT at the end; STOPPED when a signal was noted; LIMIT for
 * a line too long; INVALID for one with a NUL; LOCAL.
 */
must_check enum outcome lines_next(struct lines *lines, const char **out, struct failure *why);
