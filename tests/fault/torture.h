/*
 * torture: everything at once, for as long as it is told.
 *
 * A stage has a server and all who work at it: writers, listeners, waiters,
 * clients as processes that are killed and stopped, clients that listen, and
 * ruffians. It is at work (the gate is open) or quiet (the gate is closed, the
 * line good, the disk well); audits and measurements are taken when it is quiet.
 *
 *     stage_begin
 *         stage_work    for so long, under troubles of the kinds that are asked for
 *         stage_quiet, stage_audit, stage_settle, stage_measure ..., stage_go_on
 *         stage_renew   the server is ended; its store looked at; the next life
 *     stage_end         prints what was done; fails if anything was wrong
 *
 * The main thread alone.
 */
#pragma once

#include "fault/caller.h"
#include "fault/ear.h"
#include "fault/gauge.h"
#include "fault/listener.h"
#include "fault/ruffian.h"
#include "fault/trouble.h"
#include "fault/waiter.h"
#include "fault/writer.h"

#include <signal.h>

enum {
    STAGE_LISTENERS = 2,
    STAGE_EARS = 2,
    STAGE_WRITERS = STAGE_LISTENERS + STAGE_EARS, /* each is listened to */
    STAGE_WAITERS = 2,
    STAGE_CALLERS = 3,
    STAGE_RUFFIANS = 1,
};

struct stage {
    struct world world;
    struct trouble trouble;
    struct relay *relay;
    struct fileshare *auditor;
    struct writer writers[STAGE_WRITERS];
    struct listener listeners[STAGE_LISTENERS];
    struct ear ears[STAGE_EARS];
    struct waiter waiters[STAGE_WAITERS];
    struct caller callers[STAGE_CALLERS];
    struct ruffian ruffians[STAGE_RUFFIANS];
    struct history server;
    bool is_quiet;
    int64_t began, longest_quiet, longest_audit; /* ms */
    unsigned long partitions_before; /* as of the last audit */
    unsigned long periods, audits, inspections, measurements;
    struct store_size store, store_peak;
    uint64_t listed_bytes, listed_files; /* as of the last settling */
};

/* Set by Ctrl-C: what is under way is ended as it should. */
extern volatile sig_atomic_t stage_interrupted;

void stage_begin(struct stage *stage);
void stage_end(struct stage *stage);

void stage_work(struct stage *stage, int64_t ms, unsigned kinds, unsigned rough);
void stage_quiet(struct stage *stage);
void stage_go_on(struct stage *stage);

/* Names, bytes, events: both sides agree. */
void stage_audit(struct stage *stage);
/* Waits until what was given up is over: unfinished uploads, versions replaced; the store is as large as what is listed. */
void stage_settle(struct stage *stage);
/* Resident memory, threads, descriptors, against the base line of this life of the server. */
void stage_measure(struct stage *stage);
/* Ends the server, has fsck --deep and the store's own audit look, starts it: a new life. */
void stage_renew(struct stage *stage);

/* torture_report.c: the table. */
void stage_report(struct stage *stage);
