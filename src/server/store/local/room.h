/*
 * room: whether the disk has room for what comes, and making it.
 *
 * Free are the bytes beyond the reserve and beyond what live uploads were
 * promised. Where they are too few, kept content (kept.h) makes room, as much of
 * it as is needed; where even all of it would not do, none of it goes.
 */
#pragma once

#include "base/outcome.h"
#include "server/store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct local;

/* As things stand. NOSPACE. Any locks. */
must_check enum outcome room_look(struct local *local, uint64_t size, struct failure *why);

/*
 * Makes it if need be: the caller waits for the sweep, and for the disk, so it holds no lock and no reader. NOSPACE if
 * it cannot be made: then *has is what could be had. UNAVAILABLE: much had to go, and there is more; it goes on when asked
 * again, and that has an end, since each time something went.
 */
must_check enum outcome room_make(struct local *local, uint64_t size, uint64_t *has, struct failure *why);

/* NOSPACE, in words. */
enum outcome room_refusal(uint64_t size, uint64_t has, struct failure *why);

/* The sweep's, with its lock and the pin: kept content also goes, a batch of it, for a reserve that others took from. */
must_check enum outcome room_restore(struct local *local, struct store_sweep *out, bool *left,
                                     struct failure *why);
