/*
 * gauge: what a process and a store take, and whether that returns to where it began.
 *
 * A history is the life of one process: the first reading (after it has warmed
 * up) is the base line, each later one, taken when all is quiet again, is held
 * against it. What rises a little every time is found by its trend: once there
 * are enough readings, each third of them lies above the one before, and it does
 * not flatten out. One thread.
 */
#pragma once

#include "fault/world.h"

struct gauge {
    unsigned long resident, anonymous; /* KiB */
    unsigned threads, sockets, files, others;
};

/* False if there is no such process. */
bool gauge_read(pid_t pid, struct gauge *out);
static inline unsigned gauge_descriptors(const struct gauge *gauge)
{
    return gauge->sockets + gauge->files + gauge->others;
}

enum { HISTORY_MAX = 64 };

struct history {
    const char *whose;
    struct gauge readings[HISTORY_MAX]; /* of the last ones */
    unsigned count, before;  /* before: of the life before; they stay until this one overwrites them */
    struct gauge base, last; /* of this life, or the one before */
    struct gauge peak;       /* of all lives */
    unsigned checked;        /* readings that were held against a base line */
};

/* A new life: the next reading is the base line. */
void history_begin(struct history *history, const char *whose);
/* Reads, compares, and writes down what is wrong. */
void history_add(struct history *history, struct world *world, pid_t pid);
/* Takes a reading for the peak alone, under load. */
void history_peak(struct history *history, pid_t pid);

struct store_size {
    uint64_t content, incoming, database; /* bytes */
    unsigned contents, uploads;           /* files */
};

/* Of the store in that folder, by looking at its files. */
void store_measure(const char *folder, struct store_size *out);
