/*
 * trouble: what is done to a server and its world while others work at it.
 *
 *     trouble_begin     before the server is started: a network, the shim below it
 *         trouble_make      one trouble of the kinds that are asked for; it is over when this returns
 *         trouble_end_all   nothing is broken any more, and the server runs
 *     trouble_end
 *
 * The main thread alone.
 */
#pragma once

#include "fault/crash_places.h"
#include "fault/private_net.h"
#include "fault/relay.h"
#include "fault/shim/shim.h"
#include "fault/world.h"

enum trouble_kinds {
    TROUBLE_DEATHS = 1, /* of the server: killed, killed at a named place, ended, started in vain */
    TROUBLE_OTHERS = 2, /* all in which it lives on */
};

struct trouble {
    struct world *world;
    struct dice dice;
    struct private_net net;
    struct relay *relay; /* set once the server's port is known */
    struct shim *shim;   /* NULL: none in this build */
    char shim_path[128], preload[600], shared[256];
    struct crash_places places;
    /* what was done */
    unsigned long crashes, ends, vain_starts, freezes, disk_calls, disk_spells, disk_failed;
    unsigned long rpcbind_kills, partitions, cuts, starts, passed_crashes;
};

void trouble_begin(struct trouble *trouble, struct world *world);
void trouble_end(struct trouble *trouble);

void trouble_make(struct trouble *trouble, unsigned kinds);
void trouble_end_all(struct trouble *trouble);
/* SIGTERM, and the exit code is 0. */
void trouble_stop_server(struct trouble *trouble);
void trouble_start_server(struct trouble *trouble);
