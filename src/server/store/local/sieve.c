#include "server/store/local/sieve.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(64 * SIEVE_WORDS == 1 << 8, "bits of the hash");

/* 0 stands for either end. */
static void add_pair(struct sieve *sieve, unsigned char first, unsigned char second)
{
    uint32_t mixed = ((uint32_t)first << 8 | second) * UINT32_C(0x9e3779b1);
    unsigned bit = mixed >> 24; /* of 64 * SIEVE_WORDS */
    sieve->words[bit / 64] |= UINT64_C(1) << (bit % 64);
}

struct sieve sieve_of_name(const char *name)
{
    struct sieve sieve = {0};
    unsigned char before = 0;
    for (; *name; name++) {
        add_pair(&sieve, before, (unsigned char)*name);
        before = (unsigned char)*name;
    }
    add_pair(&sieve, before, 0);
    return sieve;
}

/* From after a '[' to after its ']'. */
static const char *after_set(const char *at)
{
    if (*at == '!' || *at == '^')
        at++;
    for (bool first = true; *at && (first || *at != ']'); first = false)
        at += at[0] == '\\' && at[1] ? 2 : 1;
    return *at ? at + 1 : at;
}

struct sieve sieve_of_glob(const char *pattern)
{
    struct sieve sieve = {0};
    unsigned char before = 0;
    bool known = true; /* `before` is what stands right before */
    while (*pattern) {
        char c = *pattern++;
        if (c == '*' || c == '?' || c == '[') {
            known = false;
            if (c == '[')
                pattern = after_set(pattern);
            continue;
        }
        if (c == '\\' && *pattern)
            c = *pattern++;
        if (known)
            add_pair(&sieve, before, (unsigned char)c);
        before = (unsigned char)c;
        known = true;
    }
    if (known)
        add_pair(&sieve, before, 0);
    return sieve;
}

/* ---- many ---- */

bool sieves_add(struct sieves *sieves, int64_t row, const char *pattern)
{
    while (sieves->count > 0 && sieves->rows[sieves->count - 1].row >= row)
        sieves->count--;
    if (sieves->count == sieves->room) {
        size_t room = sieves->room + sieves->room / 2 + 64;
        struct sieved *rows = realloc(sieves->rows, room * sizeof *rows);
        if (!rows)
            return false;
        sieves->rows = rows;
        sieves->room = room;
    }
    sieves->rows[sieves->count++] = (struct sieved){row, sieve_of_glob(pattern)};
    return true;
}

void sieves_fini(struct sieves *sieves)
{
    free(sieves->rows);
    *sieves = (struct sieves){0};
}

int64_t sieves_next(const struct sieves *sieves, const struct sieve *name, int64_t after)
{
    size_t low = 0, high = sieves->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sieves->rows[middle].row <= after)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < sieves->count; low++)
        if (sieve_passes(&sieves->rows[low].sieve, name))
            return sieves->rows[low].row;
    return 0;
}
