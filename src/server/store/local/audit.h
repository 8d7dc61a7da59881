/*
 * audit: how the store is, and whether it is sound.
 */
#pragma once

#include "server/store/store.h"

enum outcome local_health(struct store *store, struct store_health *out, struct failure *why) must_check;
enum outcome local_audit(struct store *store, bool deep, struct store_audit *out, struct failure *why)
    must_check;
