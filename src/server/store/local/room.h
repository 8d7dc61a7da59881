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
 * Makes it if need be: the caller waits for the sweep, and up to a second for the disk, so it holds no lock and no
 * reader. NOSPACE if it cannot be made: then *has is what could be had (it is not to be looked at else). UNAVAILABLE:
 * so much had to go that there is more; or enough went, and is not seen, or others took it; or the disk does not say
 * how much it has. Who asks again goes on from there.
 */
must_check enum outcome room_make(struct local *local, uint64_t size, uint64_t *has, struct failure *why);

/* NOSPACE, in words. */
enum outcome room_refusal(uint64_t size, uint64_t has, struct failure *why);

/* The sweep's, with its lock and the pin: kept content also goes, a batch of it, for a reserve that others took from. */
must_check enum outcome room_restore(struct local *local, struct store_sweep *out, bool *left,
                                     struct failure *why);
