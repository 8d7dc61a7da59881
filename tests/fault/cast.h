/*
 * cast: all actors of a fault test, and the audit of what they were told.
 *
 *     cast_begin       a world, its server, and the actors at work
 *         kill and start the server as the test pleases
 *         cast_audit   after each start
 *     cast_end         the last audit; fails the test if anything was wrong
 */
#pragma once

#include "fault/listener.h"
#include "fault/waiter.h"
#include "fault/world.h"
#include "fault/writer.h"

enum { CAST_WRITERS = 3, CAST_LISTENERS = 2, CAST_WAITERS = 1 };

enum cast_audit {
    CAST_FILES,  /* what is listed, and its bytes */
    CAST_EVENTS, /* and that all events owed were told */
    CAST_INSIDE  /* and the store from inside; the server is killed for that, and started */
};

struct cast {
    struct world world;
    struct dice dice;
    struct writer writers[CAST_WRITERS];
    struct listener listeners[CAST_LISTENERS];
    struct waiter waiters[CAST_WAITERS];
    struct fileshare *auditor;
};

void cast_begin(struct cast *cast);
/* The server runs, or has been killed: then it is started for those who take their leave. */
void cast_end(struct cast *cast);

/* kill -9, counted. */
void cast_kill(struct cast *cast);
/* The server runs; all actors pause. */
void cast_audit(struct cast *cast, enum cast_audit depth);
