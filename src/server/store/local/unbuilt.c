#include "server/store/local/unbuilt.h"

/* Acts that are still to come. This file goes with the last of them. */

enum outcome unbuilt_interest_add(struct store *store, const struct store_caller *caller,
                                  const struct store_interest_add *add, struct store_entry *entries,
                                  size_t capacity, struct store_registration *out, struct failure *why)
{
    (void)store;
    (void)caller;
    (void)add;
    (void)entries;
    (void)capacity;
    (void)out;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_interest_renew(struct store *store, const struct store_caller *caller,
                                    const struct id *op, const struct id *mailbox, const struct id *interest,
                                    uint32_t seconds, uint32_t *seconds_left, struct failure *why)
{
    (void)store;
    (void)caller;
    (void)op;
    (void)mailbox;
    (void)interest;
    (void)seconds;
    (void)seconds_left;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_interest_drop(struct store *store, const struct store_caller *caller,
                                   const struct store_interest_drop *drop, struct store_cancelled *rows,
                                   size_t capacity, size_t *count, bool *more, struct failure *why)
{
    (void)store;
    (void)caller;
    (void)drop;
    (void)rows;
    (void)capacity;
    (void)count;
    (void)more;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_interest_list(struct store *store, const struct id *mailbox, const struct id *cursor,
                                   struct store_interest *rows, size_t capacity, size_t *count, bool *more,
                                   struct failure *why)
{
    (void)store;
    (void)mailbox;
    (void)cursor;
    (void)rows;
    (void)capacity;
    (void)count;
    (void)more;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_mailbox_route(struct store *store, const struct id *mailbox, const void *route,
                                   size_t size, struct store_mailbox *out, struct failure *why)
{
    (void)store;
    (void)mailbox;
    (void)route;
    (void)size;
    (void)out;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_mailbox_forget(struct store *store, const struct id *mailbox, struct failure *why)
{
    (void)store;
    (void)mailbox;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_mailbox_events(struct store *store, const struct id *mailbox, uint64_t since,
                                    struct store_event *events, size_t capacity, size_t *count, bool *more,
                                    struct failure *why)
{
    (void)store;
    (void)mailbox;
    (void)since;
    (void)events;
    (void)capacity;
    (void)count;
    (void)more;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_fan_out(struct store *store, size_t limit, bool *left, struct failure *why)
{
    (void)store;
    (void)limit;
    (void)left;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_pending_claim(struct store *store, unsigned lease_seconds, struct store_claim *out,
                                   struct store_event *events, size_t capacity, int64_t *next_due,
                                   struct failure *why)
{
    (void)store;
    (void)lease_seconds;
    (void)out;
    (void)events;
    (void)capacity;
    (void)next_due;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_pending_done(struct store *store, const struct id *mailbox, uint64_t token,
                                  uint64_t acknowledged, struct failure *why)
{
    (void)store;
    (void)mailbox;
    (void)token;
    (void)acknowledged;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

enum outcome unbuilt_pending_retry(struct store *store, const struct id *mailbox, uint64_t token,
                                   uint32_t milliseconds, struct failure *why)
{
    (void)store;
    (void)mailbox;
    (void)token;
    (void)milliseconds;
    return failure_set(why, OUTCOME_FAULT, "not built yet");
}

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
