/*
 * ear: a fileshare-client that listens, as a process.
 *
 * It has one interest in every arrival below a writer's names. One that stays
 * runs from beginning to end, and what it takes is measured; one that comes and
 * goes is ended (by SIGTERM or kill -9) and started again. Each line is an event
 * with its number: numbers grow; one that was killed between printing and
 * recording may print that one event again, with the same number; nothing else
 * comes twice, and all that is owed comes.
 */
#pragma once

#include "fault/gauge.h"
#include "fault/process.h"
#include "fault/writer.h"

struct heard {
    char name[32];
    uint64_t size;
    char digest[33];
    int balance; /* times owed, less times told */
};

struct ear {
    struct world *world;
    unsigned number;
    bool stays;
    char folder[128], server[64];
    pthread_t thread;
    struct dice dice;
    struct process process;
    struct history history;
    unsigned long starts, kills, told;
    /* Inside the gate, or the audit's. */
    bool may_repeat;  /* it was killed since the last line */
    bool disk_failed; /* since the last audit */
    uint64_t last;    /* number of the last event */
    size_t read;      /* bytes of its output that were looked at */
    struct heard *heard;
    size_t heard_count, heard_room;
};

/* It hears of what the writer of that number makes; before that writer begins. `server` as for the option. */
void ear_begin(struct ear *ear, struct world *world, unsigned number, bool stays, const char *server);
void ear_end(struct ear *ear); /* world->stopping is set */

/* The gate is closed: waits until all that the writer made was told, and takes that from its list. */
void ear_audit(struct ear *ear, struct writer *writer);
