/*
 * hearing: the events that one session is shown, held to what each session of these tests may be shown: arrivals
 * alone, each version once, under numbers that grow. What is not so goes to world_wrong.
 *
 * Threads: the library shows events on a thread of its own; the functions below may be called from any.
 */
#pragma once

#include "fault/roll.h"
#include "fault/world.h"

enum { HEARING_ROUTE_SIZE = 32 };

struct hearing {
    struct world *world;
    /* What else a test does with each event, before anything acknowledges it; under the lock. NULL: nothing. */
    void (*also)(void *context, const struct fileshare_event *event);
    void *context;
    pthread_mutex_t lock; /* guards what follows */
    struct roll heard;    /* (version, none) */
    size_t count;
    uint64_t last;                  /* number of the last event, */
    char route[HEARING_ROUTE_SIZE]; /* and by which it came */
};

/* Attaches the session, which is closed before hearing_fini; fails the test if it cannot be. `also` is set before. */
void hearing_begin(struct hearing *hearing, struct world *world, struct fileshare *session);
void hearing_fini(struct hearing *hearing);

/* An interest of that session's mailbox in every arrival that the glob matches, for an hour. */
void hearing_wants(struct fileshare *session, const char *glob);

bool hearing_has(struct hearing *hearing, const struct fileshare_entry *entry);
size_t hearing_count(struct hearing *hearing);
bool hearing_came_by(struct hearing *hearing, const char *route);
