/*
 * compiled: globs that were asked for, compiled, kept for the next name: a place by
 * the pattern's hash, the newest stays; all go when they take too much memory.
 *
 * In the writer's turn only (no lock).
 */
#pragma once

#include "base/glob.h"
#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>

enum { COMPILED_SLOTS = 8192 };

struct compiled {
    struct {
        char *pattern;
        struct glob *glob;
    } slots[COMPILED_SLOTS];
    size_t bytes; /* about */
};

/* *compiled is all zeros before. `pattern`: one that glob_new takes. */
must_check enum outcome compiled_match(struct compiled *compiled, const char *pattern, const char *name,
                                       bool *matches, struct failure *why);
void compiled_fini(struct compiled *compiled); /* empty, and ready for more */
