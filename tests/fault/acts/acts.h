/*
 * acts: every act of the store, done again and again while something breaks.
 *
 * For N from 1 on: the act is prepared, the Nth call at what may break fails (an
 * allocation, the disk), and the act is judged:
 *
 *   - its answer is one that the breakage allows, with words;
 *   - refused, it is not done, neither now nor for who opens the database as a
 *     kill would leave it just then; in doubt (UNKNOWN) it is done or not, as a
 *     whole in either case;
 *   - repeated with the same id it is done, once;
 *   - nothing is lost (LeakSanitizer, where it is built in), and when the store
 *     is closed not a block more is held than before it was opened.
 *
 * Until the act meets no more that fails. One thread.
 */
#pragma once

#include "service/store_subject.h"

#include <stdbool.h>

/* What breaks. */
struct breakage {
    const char *name;
    void (*begin)(unsigned nth, bool lasting);
    unsigned (*end)(void);             /* all is well again; how many calls failed */
    bool (*may)(enum outcome outcome); /* answer so, besides OK and UNKNOWN */
    bool lasting;                      /* the Nth and all after it, else it alone */
    bool cold;                         /* the store has just been opened: nothing is prepared or cached */
    unsigned stride;                   /* N grows by 1, and by N / stride if that is more; 0: by 1 alone */
    unsigned stride_alike;             /* the same for acts that make many calls of one kind */
};

/* Every act under this breakage; fails the test if anything is wrong. Prints what was tried. */
void acts_break(const struct breakage *breakage);
