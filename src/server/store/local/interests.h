/*
 * interests: who waits for what.
 *
 * EXACT: looking and registering are one transaction. GLOB: all names are looked
 * through first, on a reader's connection, remembering the number of the newest
 * arrival before that; then one transaction looks at what arrived since, and
 * registers. Either way nothing arrives unseen between looking and registering,
 * and what was told as present is not told again as an event.
 */
#pragma once

#include "server/store/store.h"

enum outcome local_interest_add(struct store *store, const struct store_caller *caller,
                                const struct store_interest_add *add, struct store_entry *entries,
                                size_t capacity, struct store_registration *out, struct failure *why)
    must_check;
enum outcome local_interest_renew(struct store *store, const struct store_caller *caller, const struct id *op,
                                  const struct id *mailbox, const struct id *interest, uint32_t seconds,
                                  uint32_t *seconds_left, struct failure *why) must_check;
enum outcome local_interest_drop(struct store *store, const struct store_caller *caller,
                                 const struct store_interest_drop *drop, struct store_cancelled *rows,
                                 size_t capacity, size_t *count, bool *more, struct failure *why) must_check;
enum outcome local_interest_list(struct store *store, const struct id *mailbox, const struct id *cursor,
                                 struct store_interest *rows, size_t capacity, size_t *count, bool *more,
                                 struct failure *why) must_check;
