/*
 * utf8: one character at a time, as RFC 3629 has it.
 *
 * Refused: overlong forms, surrogates (U+D800..U+DFFF), anything past U+10FFFF,
 * sequences cut short. Nothing here needs a locale.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Reads the character at the start of `count` bytes into *out; returns its length, or 0 if there is none. */
static inline size_t utf8_read(const unsigned char *bytes, size_t count, uint32_t *out)
{
    if (count == 0)
        return 0;
    unsigned char first = bytes[0];
    if (first < 0x80) {
        *out = first;
        return 1;
    }
    size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || length > count)
        return 0;
    uint32_t code = first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (bytes[i] & 0x3fu);
    }
    static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
        return 0;
    *out = code;
    return length;
}

/* C0, DEL and C1. */
static inline int utf8_is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0);
}
