/*
 * intake: the bytes of all records that are being received or served, bounded.
 *
 * A record is charged as it grows. Small ones (up to `small_max`) by the room
 * they have; one that wants more is charged the largest size there is, once, so
 * that whoever was let grow can finish: no number of half-received records can
 * block each other for ever. Small ones may use a reserve that large ones can't,
 * and the first few hundred bytes are always granted (they are bounded by the
 * number of connections).
 *
 * What is refused now may be granted when something is given back: the
 * connection waits (rpc/pause.h). Whoever holds bytes and does not go on is cut
 * by supervision (rpc/supervise.h).
 *
 * Any thread, no locks.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct intake {
    size_t limit, reserve;
    size_t small_max, record_max;
    _Atomic size_t held;
};

void intake_init(struct intake *intake, size_t limit, size_t reserve, size_t small_max, size_t record_max);

/* Raises *charge to what a record of `size` bytes costs. False: not now, nothing was changed. */
bool intake_take(struct intake *intake, size_t *charge, size_t size);
/* Lowers *charge to what `size` bytes really cost, for a record that is complete; 0 gives all back. */
void intake_give(struct intake *intake, size_t *charge, size_t size);
