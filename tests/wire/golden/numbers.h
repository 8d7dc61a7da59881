/* numbers: every name of proto/fileshare.x that stands for a number, with the number it was given. */
#pragma once

#include <stddef.h>

struct golden_number {
    const char *name;
    long long is;       /* as rpcgen's header has it */
    long long expected; /* as it was promised */
};

const struct golden_number *golden_numbers(size_t *count);

/* NULL: no such name. */
const struct golden_number *golden_number(const char *name);
