#include "base/name.h"

#include "base/utf8.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* A part is what stands between two slashes: `size` bytes from byte `start` on. */
static enum outcome check_part(const unsigned char *bytes, size_t start, size_t size, struct failure *why)
{
    if (size == 0)
        return failure_set(why, OUTCOME_INVALID, "the name has an empty part (two slashes) at byte %zu",
                           start);
    if (size > NAME_PART_MAX)
        return failure_set(why, OUTCOME_INVALID,
                           "the part of the name at byte %zu has %zu bytes, at most %d may be", start, size,
                           NAME_PART_MAX);
    if (bytes[start] == '.' && (size == 1 || (size == 2 && bytes[start + 1] == '.')))
        return failure_set(why, OUTCOME_INVALID, "the name has a part \"%.*s\" at byte %zu", (int)size,
                           (const char *)bytes + start, start);
    return OUTCOME_OK;
}

/* How many bytes from here on are ASCII that can be shown; of most names all are. */
static size_t plain_run(const unsigned char *bytes, size_t count)
{
    size_t run = 0;
    while (run < count && bytes[run] >= 0x20 && bytes[run] < 0x7f)
        run++;
    return run;
}

static enum outcome check_characters(const unsigned char *bytes, size_t count, struct failure *why)
{
    for (size_t at = plain_run(bytes, count); at < count; at += plain_run(bytes + at, count - at)) {
        uint32_t code;
        size_t length = utf8_read(bytes + at, count - at, &code);
        if (length == 0)
            return failure_set(why, OUTCOME_INVALID, "the name is not UTF-8 at byte %zu", at);
        if (utf8_is_control(code))
            return failure_set(why, OUTCOME_INVALID, "the name has a control character (U+%04X) at byte %zu",
                               code, at);
        at += length;
    }
    return OUTCOME_OK;
}

enum outcome name_check(const void *name, size_t count, char out[NAME_BUFFER], struct failure *why)
{
    const unsigned char *bytes = name;
    if (count == 0)
        return failure_set(why, OUTCOME_INVALID, "the name is empty");
    if (count > NAME_SIZE_MAX)
        return failure_set(why, OUTCOME_INVALID, "the name has %zu bytes, at most %d may be", count,
                           NAME_SIZE_MAX);
    enum outcome outcome = check_characters(bytes, count, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (bytes[0] == '/')
        return failure_set(why, OUTCOME_INVALID, "the name begins with a slash");
    if (bytes[count - 1] == '/')
        return failure_set(why, OUTCOME_INVALID, "the name ends with a slash, at byte %zu", count - 1);
    for (size_t start = 0; start < count;) {
        const unsigned char *slash = memchr(bytes + start, '/', count - start);
        size_t end = slash ? (size_t)(slash - bytes) : count;
        outcome = check_part(bytes, start, end - start, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        start = end + 1;
    }
    memcpy(out, bytes, count);
    out[count] = '\0';
    return OUTCOME_OK;
}

/* Characters that turn the order of a line around, or break it. */
static bool misleads(uint32_t code)
{
    return code == 0x61c || code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

/* Writes one character, or one byte that is none, as it may be shown; at most 16 bytes and a NUL. */
static size_t show_character(const unsigned char *bytes, size_t count, bool words, char shown[17])
{
    uint32_t code = 0;
    size_t length = utf8_read(bytes, count, &code);
    if (length > 0 && !utf8_is_control(code) && !misleads(code)) {
        if (code == '\\' && !words)
            memcpy(shown, "\\\\", 3);
        else {
            memcpy(shown, bytes, length);
            shown[length] = '\0';
        }
        return length;
    }
    if (length == 0)
        length = 1;
    for (size_t i = 0; i < length; i++)
        snprintf(shown + 4 * i, 5, "\\x%02x", bytes[i]);
    return length;
}

static char *show(const void *name, size_t count, bool words, char *out, size_t size)
{
    static const char dots[] = "...";
    if (size == 0)
        return out;
    out[0] = '\0';
    if (count == 0)
        return out; /* `name` may be NULL */
    const unsigned char *bytes = name;
    if (count < size && plain_run(bytes, count) == count && (words || !memchr(bytes, '\\', count))) {
        memcpy(out, bytes, count);
        out[count] = '\0';
        return out;
    }
    size_t used = 0, last_fit = 0; /* last_fit: where the dots still have room */
    for (size_t at = 0; at < count;) {
        char shown[17];
        at += show_character(bytes + at, count - at, words, shown);
        size_t wide = strlen(shown);
        if (used + wide >= size) {
            size_t room = size - 1 - last_fit;
            used = last_fit;
            wide = room < sizeof dots - 1 ? room : sizeof dots - 1;
            memcpy(shown, dots, wide);
            at = count;
        }
        memcpy(out + used, shown, wide);
        used += wide;
        if (used + sizeof dots <= size)
            last_fit = used;
    }
    out[used] = '\0';
    return out;
}

char *name_show(const void *name, size_t count, char *out, size_t size)
{
    return show(name, count, false, out, size);
}

char *name_show_words(const void *words, size_t count, char *out, size_t size)
{
    return show(words, count, true, out, size);
}
