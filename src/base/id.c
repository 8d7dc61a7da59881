#include "base/id.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Up to 256 bytes come whole or not at all. */
enum { AT_ONCE = 256 / ID_SIZE };

static void fill(struct id *ids, size_t count)
{
    ssize_t got;
    do
        got = getrandom(ids, count * sizeof *ids, 0);
    while (got < 0 && errno == EINTR);
    /* Without them no id of ours is safe. */
    if (got != (ssize_t)(count * sizeof *ids))
        abort();
}

void id_random_many(struct id *ids, size_t count)
{
    for (size_t done = 0; done < count; done += AT_ONCE)
        fill(ids + done, count - done < AT_ONCE ? count - done : AT_ONCE);
    for (size_t i = 0; i < count; i++)
        while (id_is_none(&ids[i]))
            fill(&ids[i], 1);
}

struct id id_random(void)
{
    struct id id;
    id_random_many(&id, 1);
    return id;
}

bool id_is_none(const struct id *id)
{
    static const struct id none;
    return memcmp(id, &none, sizeof none) == 0;
}

bool id_equal(const struct id *a, const struct id *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool id_equal_secret(const struct id *a, const struct id *b)
{
    /* volatile: no compiler may leave the loop at the first difference. */
    volatile uint8_t difference = 0;
    for (size_t i = 0; i < ID_SIZE; i++)
        difference = difference | (a->octets[i] ^ b->octets[i]);
    return difference == 0;
}

char *id_text(const struct id *id, char text[ID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < ID_SIZE; i++) {
        text[2 * i] = digits[id->octets[i] >> 4];
        text[2 * i + 1] = digits[id->octets[i] & 15];
    }
    text[2 * ID_SIZE] = '\0';
    return text;
}

static int digit_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

enum outcome id_parse(const char *text, struct id *out, struct failure *why)
{
    size_t length = strnlen(text, ID_TEXT_SIZE);
    if (length != 2 * ID_SIZE)
        return failure_set(why, OUTCOME_INVALID, "an id has %d hex digits, no more and no fewer",
                           2 * ID_SIZE);
    struct id id;
    for (size_t i = 0; i < ID_SIZE; i++) {
        int high = digit_value(text[2 * i]), low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return failure_set(why, OUTCOME_INVALID, "an id has hex digits only; byte %zu is none",
                               2 * i + (high < 0 ? 0 : 1));
        id.octets[i] = (uint8_t)(high << 4 | low);
    }
    *out = id;
    return OUTCOME_OK;
}
