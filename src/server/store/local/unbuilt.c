#include "server/store/local/unbuilt.h"

/* Acts that are still to come. This file goes with the last of them. */

enum outcome unbuilt_sweep(struct store *store, struct store_sweep *out, bool *left, int64_t *next_due,
                           struct failure *why)
{
    (void)store;
    (void)out;
    (void)left;
    (void)next_due;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_health(struct store *store, struct store_health *out, struct failure *why)
{
    (void)store;
    (void)out;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_audit(struct store *store, bool deep, struct store_audit *out, struct failure *why)
{
    (void)store;
    (void)deep;
    (void)out;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}
