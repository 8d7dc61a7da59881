#include "base/digest_code.h"

#include <stdlib.h>

struct digest {
    XXH3_state_t state; /* aligned to 64 bytes */
};

const struct digest_kind digest_plain = DIGEST_KIND;

/* The processor was asked before main: this is a look at what it said. */
static const struct digest_kind *best_kind(void)
{
#ifdef FILESHARE_DIGEST_WIDE
    if (__builtin_cpu_supports("avx512f"))
        return &digest_avx512;
    if (__builtin_cpu_supports("avx2"))
        return &digest_avx2;
#endif
    return &digest_plain;
}

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
        best_kind()->add(&digest->state, bytes, count);
}

struct digest_value digest_value(const struct digest *digest)
{
    return digest_code_canonical(XXH3_128bits_digest(&digest->state));
}

struct digest_value digest_of(const void *bytes, size_t count)
{
    return best_kind()->of(count > 0 ? bytes : "", count);
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
