/*
 * digest: XXH3-128 of content, as it streams.
 *
 *     digest_init; digest_add ... ; digest_value (as often as wanted, adding may
 *     go on after it)
 *
 * The sixteen bytes are in the canonical (big endian) order of the xxHash
 * specification, as `xxh128sum` prints them. It finds accidents, not
 * adversaries. A struct digest is about 600 bytes, owns nothing, and belongs to
 * one thread at a time.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { DIGEST_SIZE = 16, DIGEST_TEXT_SIZE = 33 };

struct digest_value {
    uint8_t octets[DIGEST_SIZE];
};

struct digest; /* opaque: digest_new, digest_free */

/* NULL when there is no memory. */
struct digest *digest_new(void);
void *digest_free(struct digest *digest); /* NULL is fine; returns NULL */

void digest_reset(struct digest *digest);
void digest_add(struct digest *digest, const void *bytes, size_t count);
struct digest_value digest_value(const struct digest *digest);

/* Of bytes that are all there. */
struct digest_value digest_of(const void *bytes, size_t count);

/* Lower-case hex and a NUL, into DIGEST_TEXT_SIZE bytes. Returns `text`. */
char *digest_text(const struct digest_value *value, char text[DIGEST_TEXT_SIZE]);
