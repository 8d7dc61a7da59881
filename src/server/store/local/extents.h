/*
 * extents: which stretches of a file are there, a bounded set.
 *
 * Sorted, apart: two that touch or overlap are one. Plain data, empty when it is
 * zero; it owns nothing and belongs to one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { EXTENTS_MAX = 64 };

struct extent {
    uint64_t from, to; /* [from, to), not empty */
};

struct extents {
    unsigned count;
    struct extent at[EXTENTS_MAX];
};

/* Whether extents_add of the same would find room. */
bool extents_fit(const struct extents *extents, uint64_t from, uint64_t to);
/* [from, to) is there from now on, from < to. False, and nothing is changed, if that were one too many. */
bool extents_add(struct extents *extents, uint64_t from, uint64_t to);
/* Up to where all is there from `at` on; `at` itself if it is not. */
uint64_t extents_reach(const struct extents *extents, uint64_t at);
/* What lies before `at` is no longer in the set. */
void extents_cut(struct extents *extents, uint64_t at);
/* The bytes of all of them. */
uint64_t extents_bytes(const struct extents *extents);
