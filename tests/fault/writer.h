/*
 * writer: an actor that uploads, replaces, removes and renames names of its own,
 * one by one or all of them in one call.
 *
 * It keeps a ledger of what each name must hold. A patient act (its session
 * tries again) must end as the ledger says, however often the server dies: a
 * repeat that counted twice would answer EXISTS or ABSENT. An impatient one may
 * end in doubt; then the name must hold the old or the new, nothing else, and
 * the writer looks which.
 */
#pragma once

#include "fault/world.h"

enum { WRITER_NAMES = 10 };

struct held {
    bool there;
    struct fileshare_entry entry;
};

struct writer {
    struct world *world;
    unsigned number; /* its names are "w<number>/..." */
    pthread_t thread;
    struct dice dice;
    struct fileshare *patient, *impatient;
    /* What follows is the writer's inside the gate, the audit's when the gate is closed. */
    struct held held[WRITER_NAMES];
    unsigned serial;
    struct fileshare_entry *made; /* every version that it was told of, since the last audit took them */
    size_t made_count, made_room;
};

void writer_begin(struct writer *writer, struct world *world, unsigned number);
void writer_end(struct writer *writer); /* world->stopping is set */

/* The gate is closed: what is listed below the writer's names is its ledger, and can be had. */
void writer_audit(struct writer *writer, struct fileshare *session);
