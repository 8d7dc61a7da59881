/*
 * verdict: whether a store that a power cut left keeps what its callers were told.
 *
 * The store in `folder` (a tree that cut_make made of the history's first
 * `length` ops) is opened with the product's own code. Whatever was told by then
 * must be there; what was begun may be, as a whole. Then the callers come back:
 * what was begun is done again under the same ids, uploads are taken up where
 * they stopped, and it must be as if nothing had happened. At the end everything
 * is swept.
 */
#pragma once

#include "fault/power/history.h"

enum { VERDICT_NAMES = 64, VERDICT_TEXT = 512 };

/* A name: what made what is there. NULL: nothing is. */
struct name_state {
    const char *name;
    const struct deed *before; /* of what was told */
    const struct deed *after;  /* with what was begun */
};

struct verdict {
    const struct history *history;
    size_t length;
    const char *folder;
    struct clock clock;
    struct store *store;
    struct dice dice;
    struct name_state names[VERDICT_NAMES];
    size_t name_count;
    unsigned wrong;
    char text[VERDICT_TEXT]; /* the first thing that was */
};

/* The number of things wrong; the first of them in `verdict->text`. */
unsigned verdict_give(struct verdict *verdict, const struct history *history, size_t length,
                      const char *folder, uint64_t seed);

/* Between the parts of it. */
void verdict_wrong(struct verdict *verdict, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool verdict_was_told(const struct verdict *verdict, const struct deed *deed);
bool verdict_was_begun(const struct verdict *verdict, const struct deed *deed);
void verdict_read_ledger(struct verdict *verdict);
/* From now on the name is what this deed made of it. */
void verdict_name(struct verdict *verdict, const struct deed *made);
void verdict_on_uploads(struct verdict *verdict);
void verdict_on_waiting(struct verdict *verdict); /* before anything is done again */
void verdict_on_events(struct verdict *verdict);  /* after it */
void verdict_on_backups(struct verdict *verdict);
