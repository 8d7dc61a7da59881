/*
 * broken: transfers that are broken off at a chosen byte, and what it cost to go on. For tests.
 *
 * A real server, a relay before it that counts and cuts, and a listener that
 * counts arrivals. Offsets are those of the content: broken_up and broken_down
 * turn one into the byte of the connection at which so much of the content has
 * passed, from headers that were measured at the start.
 */
#pragma once

#include "client/daemon.h"
#include "client/proxy.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { CHUNK = 512 << 10, CHUNKS = 6, SIZE = CHUNKS * CHUNK + 4711, PLACES = 9 };

struct broken {
    struct daemon server;
    _Atomic pid_t serving; /* the server's pid, for the relay's threads */
    struct proxy *proxy;
    struct fileshare *session; /* straight to the server */
    struct fileshare *listener;
    uint8_t *bytes; /* SIZE of them */
    uint64_t seed, dice;
    bool real_client;
    uint64_t first[2],
        header[2]; /* bytes before the first of the content; between two chunks. To the server, from it */
    uint64_t greeting,
        answer;      /* of an upload: bytes from the server before the first answer to a chunk; of each */
    unsigned serial; /* of names */
    _Atomic pid_t client; /* that will be killed; 0: not known yet */
    char folder[128];     /* where clients work: the file is there as "large" */

    atomic_uint arrivals; /* that were told to the listener */
    unsigned owed;        /* that must be told */
};

/*
 * Prints the seed, which FILESHARE_FAULT_SEED sets. Who will be broken: the real
 * client, or sessions of broken_session; their connections begin differently.
 */
void broken_begin(struct broken *broken, bool real_client);
void broken_end(struct broken *broken);
/* Starts the server (again). */
void broken_serve(struct broken *broken);

/* The places: 0, 1, chunk-1, chunk, size-1, size, and three at random. */
uint64_t broken_place(struct broken *broken, unsigned number);

/* The byte of a connection with which `offset` bytes of the content have passed; a chunk's end with its padding. */
uint64_t broken_at(const struct broken *broken, int way, uint64_t offset);
/* Bytes of the content that the server answered for in so many bytes of one connection. */
uint64_t broken_answered(const struct broken *broken, uint64_t received);
/* The most that the server holds of it then: whole chunks. */
uint64_t broken_whole(uint64_t offset);
/* The most that a connection may move which moves these bytes of the content. */
uint64_t broken_cost(const struct broken *broken, int way, uint64_t content);

/* A name that was never used. */
const char *broken_name(struct broken *broken, char name[64]);
/* It is there, and our bytes; its arrival will be counted. */
void broken_expect(struct broken *broken, const char *name);
/* Each of those that were expected was told, once. */
void broken_expect_events(struct broken *broken);

/* Uploads it straight, so that it can be downloaded. */
void broken_publish(struct broken *broken, const char *name);

/* A real fileshare-client through the relay, in the folder; its standard error goes to the file "err". */
pid_t broken_client(struct broken *broken, const char *const *arguments);
/* Its exit status, or minus the signal. */
int broken_wait(pid_t pid);
/* `broken_client` and its end, which must be 0; "err" is shown otherwise. */
void broken_run(struct broken *broken, const char *const *arguments);
/* Whether the last client's standard error has these words. */
bool broken_said(const struct broken *broken, const char *words);
