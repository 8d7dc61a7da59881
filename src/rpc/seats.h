/*
 * seats: how many workers wait in the epoll at once.
 *
 * While a worker is on its way to the event that woke it, each further segment of that
 * connection wakes one more who waits in the epoll, in vain: its wake-up is paid by the
 * sender, and with few cores it takes the place of those who have something to do. So
 * two wait there: the one who is woken, and one for what comes meanwhile. The others
 * stand by; one of them sits down when the last seat gets free.
 *
 *     seats_init; each worker, again and again: seats_take, epoll_wait, seats_leave, its work;
 *     seats_close when they shall go home; seats_fini when all have gone
 *
 * Any thread. The mutex is taken alone; nobody waits for events, or works, under it.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum { SEATS = 2 };

struct seats {
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    unsigned taken, standing;
    bool closed;
    _Atomic unsigned idle; /* who sit or stand: a look without the mutex, which may be late */
};

void seats_init(struct seats *seats);
void seats_fini(struct seats *seats);

/* Waits for a seat. False: they are closed, and none was taken. */
bool seats_take(struct seats *seats);
void seats_leave(struct seats *seats);

/* Whoever stands goes, and whoever comes. Those who sit are woken by what they wait for. */
void seats_close(struct seats *seats);

/* Whether there is somebody who has nothing to do. */
bool seats_have_idle(const struct seats *seats);
