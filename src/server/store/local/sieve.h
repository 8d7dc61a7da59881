/*
 * sieve: a quick no. Of most names and globs a few bits tell that they don't
 * match, long before the glob is compiled, or its interest read.
 *
 * A glob's sieve has a bit for each pair of bytes that stand side by side in it
 * without a wildcard between them (its two ends count as bytes, too): what
 * matches it has all these pairs. A name's has a bit for each pair that it has.
 * Several pairs share a bit, so that what passes may still not match.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SIEVE_WORDS = 4 };

struct sieve {
    uint64_t words[SIEVE_WORDS];
};

struct sieve sieve_of_name(const char *name);
/* `pattern`: one that glob_new takes. */
struct sieve sieve_of_glob(const char *pattern);

static inline bool sieve_passes(const struct sieve *glob, const struct sieve *name)
{
    for (unsigned i = 0; i < SIEVE_WORDS; i++)
        if (glob->words[i] & ~name->words[i])
            return false;
    return true;
}

/*
 * Interests by their rows, with the sieves of their globs: those that begin with
 * a wildcard, which no index finds. Ordered by row. What is here may be gone or
 * over in the database, or never have got there (its transaction was undone), but
 * never the other way round: so whoever finds one looks at its row.
 */
struct sieved {
    int64_t row;
    struct sieve sieve;
};

struct sieves {
    struct sieved *rows;
    size_t count, room;
    size_t tidy_at; /* so many: time to leave out what is gone */
};

/* False: no memory. A row is above all that are live: what is at or above it is not, and goes. */
bool sieves_add(struct sieves *sieves, int64_t row, const char *pattern);
void sieves_fini(struct sieves *sieves); /* empty, and ready for more */
/* The first row above `after` whose glob may match; 0 if there is none. */
int64_t sieves_next(const struct sieves *sieves, const struct sieve *name, int64_t after);
