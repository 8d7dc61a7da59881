/*
 * distance: how far away the peer of a TCP connection is, whether its machine is
 * still there, and room for what is on its way from there.
 *
 * The kernel widens a receive buffer by what was read within a round trip, less
 * what was there and not read yet. Over a long way a reader that is a little late
 * waits many round trips for a window that is as wide as the way.
 *
 * Any thread; times are nanoseconds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
    DISTANCE_FAR = 2 * 1000 * 1000, /* what is nearer fills its link soon, however it begins */
    DISTANCE_ROOM = 4 << 20,        /* what kernels send at once, as they are set up (tcp_wmem) */
};

/* The shortest time that a byte took to the peer and its acknowledgement back; 0: not known, or no network. */
int64_t distance_of(int fd);

/*
 * Bytes are out, and for so many milliseconds the peer's machine has acknowledged nothing: it is gone, or the
 * way there. A machine that is there does so for a process that is busy or stopped. False: not so, or no network.
 */
bool distance_is_cut(int fd, unsigned milliseconds);

/* For so many milliseconds nothing came from there, no byte and no acknowledgement. False: not so, or no network. */
bool distance_is_silent(int fd, unsigned milliseconds);

/* What went over a connection, both ways. */
struct distance_moved {
    uint64_t bytes;
    uint64_t disorder; /* packets that were sent again, or came after one that was missing */
};
/* False: not known, or no network. */
bool distance_moved(int fd, struct distance_moved *out);

/*
 * So many bytes may come at once, as far as the machine allows (half of tcp_rmem). Unlike with SO_RCVBUF
 * the buffer is the kernel's to widen further. Nothing is lost where it can't be.
 */
void distance_make_room(int fd, int bytes);
