/*
 * engine_work: what every contender of bench/engine does, and how it is told.
 *
 * A contender is a program of its own, so that stock and own XDR routines never
 * meet:
 *
 *     CONTENDER serve DIGEST SOURCE SINK
 *         prints the port it listens on, serves until its standard input ends
 *     CONTENDER put|get|null|connections DIGEST SOURCE SINK PORT AMOUNT FLIGHT
 *         moves AMOUNT MiB, or makes AMOUNT calls of NULL with FLIGHT in flight: on
 *         one connection if it can (null), or on a connection and in a thread each
 *         (connections); prints the seconds it took and its own CPU seconds
 *
 * SOURCE and SINK are files of WORK_FILE bytes that are there already, read and
 * rewritten again and again: fresh memory would cost more than what is measured.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORK_CHUNK = 1048576, WORK_FILE = 256 * 1048576, WORK_WINDOW = 8 };

struct work {
    int source, sink;
    bool digest; /* of every chunk, at both ends */
    uint16_t port;
    uint64_t amount; /* bytes, or calls */
    unsigned flight;
};

/* Reads the chunk at `offset` of the endless content to `to`; digests it. */
void work_read(const struct work *work, void *to, size_t count, uint64_t offset);
/* Digests and writes it. */
void work_write(const struct work *work, const void *bytes, size_t count, uint64_t offset);

/* A listening socket of 127.0.0.1; tells its port. */
int work_listen(void);
/* A connected one. */
int work_connect(uint16_t port);

/* What a contender supplies. They end the process if anything fails. */
void contender_serve(
    const struct work *work); /* starts; returns when it serves (or serves for ever in a thread) */
void contender_put(const struct work *work);
void contender_get(const struct work *work);
void contender_null(const struct work *work);
void contender_connections(const struct work *work);

void work_fail(const char *what) __attribute__((noreturn));
