/*
 * crowds: many globs of one literal prefix, as sieves (sieve.h) in memory, so that
 * only what passes is looked up in the database.
 *
 * Those that begin with a wildcard, whose prefix is empty, are one always: read by
 * crowds_load. Others become one once many were looked at in vain (crowds_want),
 * and are read in steps by crowds_tidy, between transactions; of several that are
 * wanted one takes the place of another. What has not been read as a whole is not
 * found here: the index has it. All of it within bounds of memory.
 *
 * In the writer's turn only (no lock).
 */
#pragma once

#include "server/store/local/database.h"
#include "server/store/local/sieve.h"
#include "server/store/store.h"

enum {
    CROWDS = 8,
    CROWD_LEAST = 256, /* fewer are no crowd: the index does */
};

struct crowd {
    char *prefix; /* NULL: none */
    bool whole;   /* all of them were read: it may be asked */
    struct sieves sieves;
};

struct crowds {
    struct crowd of[CROWDS]; /* the first: of the empty prefix */
    unsigned next;           /* the one that makes room for another */
    bool wanted;
    char wanted_prefix[NAME_BUFFER];
};

/* *crowds is all zeros before. Reads the globs that begin with a wildcard; what there was stays if it fails. */
must_check enum outcome crowds_load(struct crowds *crowds, struct database *db, struct failure *why);
void crowds_fini(struct crowds *crowds);
/* A glob was written to this row, in this transaction. NOMEM: it must be undone. */
must_check enum outcome crowds_note_glob(struct crowds *crowds, int64_t row, const char *prefix,
                                         const char *pattern, struct failure *why);
/* Outside of transactions, now and then: what is wanted is read, and what is over is left out of memory. */
void crowds_tidy(struct crowds *crowds, struct database *db);
/* Whether that would do anything. */
bool crowds_are_untidy(const struct crowds *crowds);

/* That of the first `size` bytes of `text`; NULL: the index alone has these globs. Until the next call of others. */
const struct crowd *crowds_find(struct crowds *crowds, const char *text, size_t size);
/* Whether any glob may begin with a wildcard. */
bool crowds_has_open(const struct crowds *crowds);
/* Many of this prefix, the first `size` bytes of `text`, were looked at in vain. */
void crowds_want(struct crowds *crowds, const char *text, size_t size);
