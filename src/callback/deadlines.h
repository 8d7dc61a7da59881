/*
 * deadlines: which of many is due first.
 *
 * A binary heap of struct deadline, each part of the thing that has one (found
 * again by list_entry's arithmetic). Room is reserved when the thing is made, so
 * that setting a deadline never fails. Times are those of one elapsed clock. No
 * locks: the owner's lock guards it.
 *
 *     deadlines_reserve (once a thing) -> deadline_init -> deadlines_set ...
 *         -> deadlines_clear
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct deadline {
    int64_t at;   /* ns */
    size_t place; /* in the heap, from 1; 0: in none */
};

struct deadlines {
    struct deadline **heap;
    size_t count, capacity;
};

void deadlines_init(struct deadlines *deadlines);
void deadlines_fini(struct deadlines *deadlines); /* all are cleared by now */

/* Room for `count` in all. False when there is no memory. */
bool deadlines_reserve(struct deadlines *deadlines, size_t count);

void deadline_init(struct deadline *deadline);
void deadlines_set(struct deadlines *deadlines, struct deadline *deadline,
                   int64_t at);                                               /* INT64_MAX: clears it */
void deadlines_clear(struct deadlines *deadlines, struct deadline *deadline); /* no harm if it is not set */

/* The earliest, or NULL. */
struct deadline *deadlines_first(const struct deadlines *deadlines);
