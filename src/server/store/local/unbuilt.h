/* unbuilt: acts that are still to come; goes with the last of them. */
#pragma once

#include "server/store/store.h"

enum outcome unbuilt_sweep(struct store *store, struct store_sweep *out, bool *left, int64_t *next_due,
                           struct failure *why) must_check;
enum outcome unbuilt_health(struct store *store, struct store_health *out, struct failure *why) must_check;
enum outcome unbuilt_audit(struct store *store, bool deep, struct store_audit *out, struct failure *why)
    must_check;
