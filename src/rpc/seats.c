#include "rpc/seats.h"

#include "base/scoped.h"

void seats_init(struct seats *seats)
{
    *seats = (struct seats){.taken = 0};
    pthread_mutex_init(&seats->mutex, NULL);
    pthread_cond_init(&seats->freed, NULL);
}

void seats_fini(struct seats *seats)
{
    pthread_cond_destroy(&seats->freed);
    pthread_mutex_destroy(&seats->mutex);
}

bool seats_take(struct seats *seats)
{
    scoped_lock(&seats->mutex);
    atomic_fetch_add_explicit(&seats->idle, 1, memory_order_relaxed);
    seats->standing++;
    while (seats->taken >= SEATS && !seats->closed)
        pthread_cond_wait(&seats->freed, &seats->mutex);
    seats->standing--;
    if (seats->closed)
        atomic_fetch_sub_explicit(&seats->idle, 1, memory_order_relaxed);
    else
        seats->taken++;
    return !seats->closed;
}

void seats_leave(struct seats *seats)
{
    scoped_lock(&seats->mutex);
    atomic_fetch_sub_explicit(&seats->idle, 1, memory_order_relaxed);
    seats->taken--;
    if (seats->taken == 0 && seats->standing > 0)
        pthread_cond_signal(&seats->freed);
}

void seats_close(struct seats *seats)
{
    scoped_lock(&seats->mutex);
    seats->closed = true;
    pthread_cond_broadcast(&seats->freed);
}

bool seats_have_idle(const struct seats *seats)
{
    return atomic_load_explicit(&seats->idle, memory_order_relaxed) > 0;
}
