/*
 * world: what the actors of a fault test share: the server, a gate, what went wrong, what was counted.
 *
 * Actors are threads that work at a real fileshared, each with sessions of its
 * own and a ledger of what it was told. An act is done inside the gate. The
 * audit closes the gate: then no act is under way and every ledger says exactly
 * what must be there. What goes wrong on an actor's thread is only written down
 * (world_wrong): cmocka's own failures belong to the main thread.
 *
 * Threads: anything here may be called from any thread, but world_begin, _end
 * and _settle, which are the main thread's.
 */
#pragma once

#include "client/daemon.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Random numbers that depend on their seed alone; one thread's. */
struct dice {
    uint64_t state;
};
struct dice dice_of(uint64_t seed, uint64_t who);
uint32_t dice_throw(struct dice *dice, uint32_t below);

struct world {
    struct daemon server;
    uint64_t seed;
    pthread_rwlock_t gate;
    atomic_bool stopping;
    atomic_uint wrong;                        /* how many; the first ones are printed */
    atomic_ulong kills, acts, doubts, events; /* doubts: acts whose client gave up before it was told */
    atomic_ulong refusals;  /* acts that were refused for a disk without space, and repeated */
    atomic_bool disk_fails; /* the test makes it: such a refusal is no wonder */
    const char *way;        /* where sessions connect to; NULL: straight to the server */
};

/* Takes FILESHARE_FAULT_SEED or one of the clock's, and prints it. The server is started. */
void world_begin(struct world *world);
void world_end(struct world *world);

/* FILESHARE_FAULT_SECONDS, or so many. */
unsigned world_seconds(unsigned otherwise);

/* The same, but the server is not started yet: its environment and options are the caller's to set. */
void world_prepare(struct world *world, const char *parent);

/* False once the actors are to end; else world_leave gives the gate back. */
bool world_enter(struct world *world);
void world_leave(struct world *world);

void world_wrong(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Whether the act was refused for want of space, by a disk that is made to fail: then nothing was done,
 * and it is to be done again, as a new act.
 */
bool world_refused(struct world *world, enum fileshare_status status);

/* A session of an actor whose mailboxes are its own; NULL was written down. */
struct fileshare *world_session(struct world *world, const char *who, unsigned retry_seconds);
/* The same, by a relay's address. */
struct fileshare *world_session_by(struct world *world, const char *address, const char *who,
                                   unsigned retry_seconds);

/*
 * A session for the test's own thread, which fails if there is none: its state is in the folder `who` of the
 * server's. `dead_seconds` as in the options.
 */
struct fileshare *world_client(struct world *world, const char *address, const char *who,
                               unsigned dead_seconds);

/* Uploads `size` bytes that depend on `serial`; their digest is compared with what the server says. */
enum fileshare_status world_put(struct world *world, struct fileshare *session, const char *name, size_t size,
                                unsigned serial, bool replace, struct fileshare_entry *out,
                                struct fileshare_error *error);
/* The same with 1,000 bytes, under the next name in `folder`; names grow. Fails the test's own thread if refused. */
struct fileshare_entry world_put_next(struct world *world, struct fileshare *session, const char *folder,
                                      unsigned *serial);
/* Downloads a version and has its digest compared; what is wrong is written down. */
void world_get(struct world *world, struct fileshare *session, const struct fileshare_entry *entry);
