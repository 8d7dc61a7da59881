/*
 * listener: an actor with a durable mailbox that is attached all the time.
 *
 * It has one interest in every arrival below a writer's names, and makes many of
 * one arrival each, some of which it renews, cancels before or after the arrival,
 * or lets run out. What the server answered says exactly which events are owed:
 * those come, each once, and no others.
 */
#pragma once

#include "fault/dropper.h"
#include "fault/roll.h"
#include "fault/world.h"
#include "fault/writer.h"

enum owed_kind { OWED_ARRIVAL, OWED_UNMET, OWED_NOTHING };

struct owed {
    enum owed_kind kind;
    struct fileshare_id interest, version; /* version with OWED_ARRIVAL alone */
};

struct listener {
    struct world *world;
    unsigned number;
    pthread_t thread;
    struct dice dice;
    struct dropper *relay;     /* with an odd number: its dial-back fails, and reversed calls tell it all */
    struct fileshare *session; /* holds the mailbox */
    struct fileshare_id every; /* the interest in all that the writer makes */
    unsigned serial;
    struct owed *owed; /* inside the gate, or by the audit */
    size_t owed_count, owed_room;
    pthread_mutex_t lock;        /* guards what follows */
    struct roll told, interests; /* (interest, version), none for one unmet; (interest, none) */
};

/* It hears of what `writer` makes; before that writer begins. */
void listener_begin(struct listener *listener, struct world *world, unsigned number);
void listener_end(struct listener *listener);

/*
 * The gate is closed: waits until all that is owed was told, the versions that
 * the writer made included; takes them from its list.
 */
void listener_audit(struct listener *listener, struct writer *writer);
