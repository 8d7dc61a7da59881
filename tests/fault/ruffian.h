/*
 * ruffian: an actor that is no client: connections that say nothing, garbage,
 * records that end in their middle, calls with arguments that make no sense,
 * callers that do not read, connections that are reset. It expects nothing; that
 * the others fare well is what is tested.
 */
#pragma once

#include "fault/world.h"

struct ruffian {
    struct world *world;
    pthread_t thread;
    struct dice dice;
    unsigned long idle, garbage, halves, nonsense, deaf, resets;
};

void ruffian_begin(struct ruffian *ruffian, struct world *world, unsigned number);
void ruffian_end(struct ruffian *ruffian); /* world->stopping is set */
