#include "base/duration.h"

#include "base/name.h"

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
