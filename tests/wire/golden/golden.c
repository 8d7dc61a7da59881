#include "wire/golden/golden.h"

#include <string.h>

static const struct golden_family *const families[] = {
    &golden_hello, &golden_uploads, &golden_files, &golden_interests, &golden_mailboxes,
};

const struct golden_family *const *golden_families(size_t *count)
{
    *count = sizeof(families) / sizeof(families[0]);
    return families;
}

static int nibble(char digit)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = digit ? strchr(digits, digit) : NULL;

    return at ? (int)(at - digits) : -1;
}

bool_t golden_bytes(const char *hex, uint8_t *bytes, size_t room, size_t *length)
{
    size_t count = 0;

    while (*hex) {
        if (*hex == ' ') {
            hex++;
            continue;
        }
        int high = nibble(hex[0]);
        int low = nibble(hex[1]);
        if (high < 0 || low < 0 || count == room)
            return FALSE;
        bytes[count++] = (uint8_t)(high << 4 | low);
        hex += 2;
    }
    *length = count;
    return TRUE;
}
