/*
 * pause: connections that are not read until something is free again (bytes in
 * flight, or a place in the queue for permits), first come first.
 *
 * A connection stands in one such list at most, which holds a reference to it.
 * Whoever frees something calls pause_resume_one; what was resumed tries again
 * and may come back. The tick resumes all, so a wake-up that came too early is
 * not lost for long.
 *
 * Any thread. The mutex is taken under no connection's mutex, and none is taken
 * under it.
 */
#pragma once

#include "base/list.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct connection;

struct pause {
    pthread_mutex_t mutex;
    struct list waiting;    /* connection.pause_link */
    _Atomic unsigned count; /* so that nobody takes the mutex for nothing */
};

void pause_init(struct pause *pause);
void pause_fini(struct pause *pause);

/* By whoever has the connection's turn, before the turn ends. */
void pause_add(struct pause *pause, struct connection *connection);
void pause_resume_one(struct pause *pause);
/* All that stand there now. */
void pause_resume_all(struct pause *pause);
