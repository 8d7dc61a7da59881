/*
 * scoped: what is given back when its variable leaves the scope.
 *
 *     scoped_fd int fd = open(...);          closed, unless -1
 *     scoped_free char *text = strdup(...);  freed
 *     scoped_lock(&table->mutex);            held to the end of the block
 *
 * Hand-over is written out: `return take_fd(&fd);` or `take_ptr(&text)` empties
 * the variable. A close() or fsync() whose result matters is called by hand. No
 * function has both a goto and a scoped variable; ours have no goto.
 */
#pragma once

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* memcpy: the variable is some `thing *`, which may not be read as a `void *`. */
static inline void scoped_free_at(void *variable)
{
    void *memory;
    memcpy(&memory, variable, sizeof memory);
    free(memory);
}

static inline void scoped_fd_at(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline pthread_mutex_t *scoped_lock_take(pthread_mutex_t *mutex)
{
    pthread_mutex_lock(mutex);
    return mutex;
}

static inline void scoped_lock_at(pthread_mutex_t *const *mutex)
{
    pthread_mutex_unlock(*mutex);
}

static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

static inline void *take_ptr_at(void *variable)
{
    void *taken, *empty = NULL;
    memcpy(&taken, variable, sizeof taken);
    memcpy(variable, &empty, sizeof empty);
    return taken;
}

#define take_ptr(variable) ((__typeof__(*(variable)))take_ptr_at(variable))

#define scoped(function) __attribute__((cleanup(function)))
#define scoped_free      scoped(scoped_free_at)
#define scoped_fd        scoped(scoped_fd_at)

#define SCOPED_JOIN_(a, b) a##b
#define SCOPED_NAME_(line) SCOPED_JOIN_(scoped_lock_, line)
#define scoped_lock(mutex)                                                              \
    pthread_mutex_t *const SCOPED_NAME_(__LINE__) scoped(scoped_lock_at)                \
        __attribute__((unused)) = scoped_lock_take(mutex)
