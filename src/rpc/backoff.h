/*
 * backoff: how long to wait before the next try.
 *
 * Doubles from `first_ms` to `last_ms`, each time with up to a quarter of random
 * more, so that many who lost the same server do not come back at once. Owns
 * nothing; one thread.
 */
#pragma once

#include <stdint.h>

struct backoff {
    uint32_t first_ms, last_ms, next_ms;
};

void backoff_init(struct backoff *backoff, uint32_t first_ms, uint32_t last_ms);
uint32_t backoff_next(struct backoff *backoff); /* milliseconds to wait now */
void backoff_reset(struct backoff *backoff);    /* after a success */
/* The same as a function of how often was tried in vain (from 0). */
uint32_t backoff_after(uint32_t first_ms, uint32_t last_ms, uint32_t attempts);
