/* roll: how often each pair of ids was written down. One thread's, or under the owner's lock. */
#pragma once

#include "fileshare/fileshare.h"

struct roll_row {
    struct fileshare_id first, second;
    unsigned times; /* 0: an empty place */
};

struct roll {
    struct roll_row *rows; /* open addressing; `room` is a power of two */
    size_t count, room;
};

void roll_fini(struct roll *roll);
/* Writes it down once more; how often that is now. */
unsigned roll_add(struct roll *roll, const struct fileshare_id *first, const struct fileshare_id *second);
unsigned roll_times(const struct roll *roll, const struct fileshare_id *first,
                    const struct fileshare_id *second);
