/*
 * stop: a request to give up what is going on, made from anywhere.
 *
 * stop_ask may be called from any thread and from signal handlers. Whoever waits
 * polls stop_fd besides what it waits for, or sleeps with stop_wait; whoever
 * answers "stopped" takes the request away with stop_take, so that the next thing
 * to be done is not stopped by it.
 */
#pragma once

#include "base/outcome.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct stop {
    int fd;            /* an eventfd: readable while asked; never 0 */
    atomic_bool asked; /* the same as a word; set before, taken after the eventfd */
};

must_check enum outcome stop_init(struct stop *stop, struct failure *why);
void stop_fini(struct stop *stop); /* one that is all zeros is fine */

void stop_ask(struct stop *stop);
bool stop_is_asked(const struct stop *stop);
void stop_take(struct stop *stop);

/* Sleeps, but not when asked: returns whether it is asked. */
bool stop_wait(const struct stop *stop, uint32_t milliseconds);

/* STOPPED, described, if it is asked; else OK. */
must_check enum outcome stop_check(const struct stop *stop, struct failure *why);
