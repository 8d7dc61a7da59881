#include "base/digest.h"

#include <stdlib.h>

/* The state's layout is wanted here only to make one; the functions are the library's. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

struct digest {
    XXH3_state_t state; /* aligned to 64 bytes */
};

_Static_assert(sizeof(XXH128_canonical_t) == DIGEST_SIZE, "XXH3-128 has sixteen bytes");

struct digest *digest_new(void)
{
    struct digest *digest = aligned_alloc(_Alignof(struct digest), sizeof *digest);
    if (digest) {
        XXH3_INITSTATE(&digest->state);
        digest_reset(digest);
    }
    return digest;
}

void *digest_free(struct digest *digest)
{
    free(digest);
    return NULL;
}

void digest_reset(struct digest *digest)
{
    XXH3_128bits_reset(&digest->state);
}

void digest_add(struct digest *digest, const void *bytes, size_t count)
{
    if (count > 0)
        XXH3_128bits_update(&digest->state, bytes, count);
}

static struct digest_value canonical(XXH128_hash_t hash)
{
    XXH128_canonical_t bytes;
    XXH128_canonicalFromHash(&bytes, hash);
    struct digest_value value;
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        value.octets[i] = bytes.digest[i];
    return value;
}

struct digest_value digest_value(const struct digest *digest)
{
    return canonical(XXH3_128bits_digest(&digest->state));
}

struct digest_value digest_of(const void *bytes, size_t count)
{
    return canonical(XXH3_128bits(count > 0 ? bytes : "", count));
}

char *digest_text(const struct digest_value *value, char text[DIGEST_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        text[2 * i] = digits[value->octets[i] >> 4];
        text[2 * i + 1] = digits[value->octets[i] & 15];
    }
    text[2 * DIGEST_SIZE] = '\0';
    return text;
}
