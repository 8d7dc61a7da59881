/* waiter: an actor that waits for names (fileshare_wait) while another session brings them. */
#pragma once

#include "fault/world.h"

struct waiter {
    struct world *world;
    unsigned number;
    pthread_t thread;
    struct dice dice;
    struct fileshare *session, *bringer;
    unsigned serial;
    /* of the wait under way */
    char name[32];
    unsigned heard, delay;
    struct fileshare_entry heard_entry, brought;
};

void waiter_begin(struct waiter *waiter, struct world *world, unsigned number);
void waiter_end(struct waiter *waiter);
