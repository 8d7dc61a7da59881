/*
 * caller: an actor that calls fileshare-client, a process for each act: uploads
 * (from a file and from a pipe), downloads, waits, lists. Some are killed in the
 * middle of it, some are stopped for a while.
 *
 * What a killed upload made of its name is open until all is quiet: the old, or
 * the new, whole. So a name has a list of contents that it may hold; the audit
 * finds which, and clears the list.
 */
#pragma once

#include "base/digest.h"
#include "fault/process.h"

enum { CALLER_NAMES = 5, CALLER_MAY = 40 };

struct may {
    bool there;
    uint64_t size;
    struct digest_value digest;
};

struct caller {
    struct world *world;
    unsigned number; /* its names are "c<number>/..." */
    char folder[128], relayed[64];
    pthread_t thread;
    struct dice dice;
    struct fileshare *session; /* brings what it waits for */
    unsigned serial;
    unsigned long runs, kills, stops, bytes;
    /* Inside the gate, or the audit's. */
    struct may may[CALLER_NAMES][CALLER_MAY];
    unsigned may_count[CALLER_NAMES];
};

/* `relayed`: the address of a relay, which every second process takes. */
void caller_begin(struct caller *caller, struct world *world, unsigned number, const char *relayed);
void caller_end(struct caller *caller); /* world->stopping is set */

/* The gate is closed. */
void caller_audit(struct caller *caller, struct fileshare *session);
