/*
 * digest_kind: the code of XXH3-128 for one kind of processor.
 *
 * xxhash.h brings the code of all kinds, and compiles the one that the compiler
 * is told of: each digest_KIND.c is compiled for its own (CMakeLists.txt), and
 * digest.c calls the best that the processor at hand has. All kinds give the
 * same values, and one goes on from another's state.
 */
#pragma once

#include "base/digest.h"

struct digest_kind {
    void (*add)(void *state, const void *bytes, size_t count); /* an XXH3_state_t */
    struct digest_value (*of)(const void *bytes, size_t count);
};

extern const struct digest_kind digest_plain; /* any processor that the rest is compiled for */
#ifdef FILESHARE_DIGEST_WIDE
extern const struct digest_kind digest_avx2;
extern const struct digest_kind digest_avx512;
#endif
