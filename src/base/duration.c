#include "base/duration.h"

#include "base/name.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static uint64_t unit_seconds(const char *unit)
{
    if (unit[0] == '\0' || strcmp(unit, "s") == 0)
        return 1;
    if (strcmp(unit, "m") == 0)
        return 60;
    if (strcmp(unit, "h") == 0)
        return 3600;
    if (strcmp(unit, "d") == 0)
        return 86400;
    return 0;
}

enum outcome duration_parse(const char *text, uint32_t *out_seconds, struct failure *why)
{
    char shown[64];
    name_show(text, strlen(text), shown, sizeof shown);
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (uint64_t)(*at - '0');
        if (number > UINT32_MAX)
            return failure_set(why, OUTCOME_INVALID, "\"%s\" is too long a duration", shown);
    }
    uint64_t unit = unit_seconds(at);
    if (at == text || unit == 0)
        return failure_set(why, OUTCOME_INVALID, "\"%s\" is not a duration, as 30, 30s, 5m, 2h, 1d", shown);
    if (number * unit > UINT32_MAX)
        return failure_set(why, OUTCOME_INVALID, "\"%s\" is too long a duration", shown);
    *out_seconds = (uint32_t)(number * unit);
    return OUTCOME_OK;
}

char *duration_text(uint64_t seconds, char text[DURATION_TEXT_SIZE])
{
    static const struct {
        uint64_t seconds;
        char letter;
    } units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
    size_t large = 0;
    while (large < 3 && seconds < units[large].seconds)
        large++;
    unsigned long long first = seconds / units[large].seconds, second = 0;
    if (large < 3)
        second = seconds % units[large].seconds / units[large + 1].seconds;
    if (second > 0)
        snprintf(text, DURATION_TEXT_SIZE, "%llu%c %llu%c", first, units[large].letter, second,
                 units[large + 1].letter);
    else
        snprintf(text, DURATION_TEXT_SIZE, "%llu%c", first, units[large].letter);
    return text;
}

char *size_text(uint64_t bytes, char text[DURATION_TEXT_SIZE])
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned unit = 0;
    while (unit < 6 && bytes >> (10 * unit) >= 1024)
        unit++;
    unsigned shift = 10 * unit;
    uint64_t whole = bytes >> shift, rest = bytes - (whole << shift);
    if (unit == 0) {
        snprintf(text, DURATION_TEXT_SIZE, "%u B", (unsigned)whole);
        return text;
    }
    uint64_t half = (uint64_t)1 << (shift - 1);
    uint64_t tenths = (rest * 10 + half) >> shift;
    if (whole < 10 && (whole < 9 || tenths < 10)) {
        if (tenths == 10) {
            whole++;
            tenths = 0;
        }
        snprintf(text, DURATION_TEXT_SIZE, "%u.%u %s", (unsigned)whole, (unsigned)tenths, units[unit]);
        return text;
    }
    whole += rest >= half;
    if (whole == 1024 && unit < 6)
        snprintf(text, DURATION_TEXT_SIZE, "1.0 %s", units[unit + 1]);
    else
        snprintf(text, DURATION_TEXT_SIZE, "%u %s", (unsigned)whole, units[unit]);
    return text;
}

/* How far a number before `unit` is shifted; -1 if it is none. */
static int unit_shift(const char *unit)
{
    static const char letters[] = "KkMmGgTt";
    if (unit[0] == '\0')
        return 0;
    const char *letter = strchr(letters, unit[0]);
    return letter && unit[1] == '\0' ? 10 * (int)((letter - letters) / 2 + 1) : -1;
}

enum outcome size_parse(const char *text, uint64_t *out_bytes, struct failure *why)
{
    char shown[64];
    name_show(text, strlen(text), shown, sizeof shown);
    size_t digits = strspn(text, "0123456789");
    int shift = unit_shift(text + digits);
    if (digits == 0 || shift < 0)
        return failure_set(why, OUTCOME_INVALID, "\"%s\" is not a size, as 512, 64K, 2M, 1G", shown);
    uint64_t number = 0;
    bool fits = true;
    for (size_t i = 0; i < digits; i++)
        fits = fits && !__builtin_mul_overflow(number, (uint64_t)10, &number) &&
               !__builtin_add_overflow(number, (uint64_t)(text[i] - '0'), &number);
    if (!fits || number > UINT64_MAX >> shift)
        return failure_set(why, OUTCOME_INVALID, "\"%s\" is too large a size", shown);
    *out_bytes = number << shift;
    return OUTCOME_OK;
}
