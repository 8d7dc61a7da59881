#include "rpc/backoff.h"

#include <sys/random.h>

/* Up to a quarter of `base` more. */
static uint32_t with_jitter(uint32_t base)
{
    uint32_t random = 0;

    /* Without randomness it is still a wait. */
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != (ssize_t)sizeof(random))
        random = 0;
    uint64_t waits = base + (uint64_t)random % (base / 4 + 1u);
    return waits < UINT32_MAX ? (uint32_t)waits : UINT32_MAX;
}

static uint32_t doubled(uint32_t value, uint32_t last_ms)
{
    return value < last_ms / 2 ? 2 * value : last_ms;
}

void backoff_init(struct backoff *backoff, uint32_t first_ms, uint32_t last_ms)
{
    *backoff = (struct backoff){.first_ms = first_ms, .last_ms = last_ms, .next_ms = first_ms};
}

uint32_t backoff_next(struct backoff *backoff)
{
    uint32_t waits = with_jitter(backoff->next_ms);

    backoff->next_ms = doubled(backoff->next_ms, backoff->last_ms);
    return waits;
}

void backoff_reset(struct backoff *backoff)
{
    backoff->next_ms = backoff->first_ms;
}

uint32_t backoff_after(uint32_t first_ms, uint32_t last_ms, uint32_t attempts)
{
    uint32_t base = first_ms < last_ms ? first_ms : last_ms;

    while (attempts-- > 0 && base < last_ms)
        base = doubled(base, last_ms);
    return with_jitter(base);
}
