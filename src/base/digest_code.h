/*
 * digest_code: what each digest_KIND.c is made of; it includes this once, after
 * nothing else, and makes its table with DIGEST_KIND.
 */
#pragma once

/* The library's code, compiled here, all of it static. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/digest_kind.h"

_Static_assert(sizeof(XXH128_canonical_t) == DIGEST_SIZE, "XXH3-128 has sixteen bytes");

static inline struct digest_value digest_code_canonical(XXH128_hash_t hash)
{
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, hash);
    struct digest_value value;
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        value.octets[i] = bytes.digest[i];
    return value;
}

static void digest_code_add(void *state, const void *bytes, size_t count)
{
    XXH3_128bits_update(state, bytes, count);
}

static struct digest_value digest_code_of(const void *bytes, size_t count)
{
    return digest_code_canonical(XXH3_128bits(bytes, count));
}

#define DIGEST_KIND                                  \
    {                                                \
        .add = digest_code_add, .of = digest_code_of \
    }
