/*
 * callback_commits: when a server's commits became durable, shared with
 * bench/callback through a file (callback_commits.c).
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum { COMMITS_KEPT = 256 };

struct commits {
    _Atomic uint64_t count;
    _Atomic int64_t at[COMMITS_KEPT]; /* CLOCK_MONOTONIC, ns; the latest of them, in a ring */
};
