/*
 * words: a line of a batch or of the prompt, split into words as sh does it.
 *
 * Words end at spaces and tabs. '...' takes all as it is; "..." takes all but
 * \" \\ \$ \` (of which the backslash is dropped); outside of quotes a backslash
 * takes the next character as it is. '#' at the start of a word begins a comment.
 * Nothing is expanded. A line is one command: what is open at its end is an error.
 */
#pragma once

#include "base/outcome.h"

#include <stddef.h>

struct words {
    char **rows; /* `count` of them, and NULL */
    size_t count;
    char *text; /* what they point into */
};

/* INVALID says what is open; NOMEM. *out: words_fini. A line without words gives a count of 0. */
must_check enum outcome words_split(const char *line, struct words *out, struct failure *why);
void words_fini(struct words *words); /* { 0 } is fine */
