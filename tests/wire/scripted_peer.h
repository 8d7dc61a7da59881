/*
 * scripted_peer: the other end of a connection, as a test wants it to behave.
 *
 * A listening socket on loopback, and plain blocking reads and writes of whole
 * messages on what it accepts; a thread runs the script. Everything fails the
 * process by abort() if the other side does what the script does not expect.
 */
#pragma once

#include "base/address.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct scripted_peer {
    int listening, fd;
    struct address address;
    pthread_t thread;
    void (*script)(struct scripted_peer *peer, void *context);
    void *context;
};

/* Listens, and runs the script in a thread once somebody connects. */
void scripted_peer_start(struct scripted_peer *peer,
                         void (*script)(struct scripted_peer *peer, void *context), void *context);
/* Waits for the script's end, closes. */
void scripted_peer_finish(struct scripted_peer *peer);

struct scripted_call {
    uint32_t xid, procedure;
    uint8_t *arguments; /* yours */
    size_t size;
};
/* The next CALL; false at the end of the connection. */
bool scripted_read_call(struct scripted_peer *peer, struct scripted_call *out);
/* The next REPLY: its xid and its results (yours). */
uint32_t scripted_read_reply(struct scripted_peer *peer, uint8_t **results, size_t *size);

/* An accepted, successful reply with these results. */
void scripted_reply(struct scripted_peer *peer, uint32_t xid, const void *results, size_t size);
void scripted_reply_word(struct scripted_peer *peer, uint32_t xid, uint32_t word);
/* A call with AUTH_NONE. */
void scripted_call(struct scripted_peer *peer, uint32_t xid, uint32_t program, uint32_t procedure,
                   const void *arguments, size_t size);
/* Any words, as one record. */
void scripted_words(struct scripted_peer *peer, const uint32_t *words, size_t count);
void scripted_bytes(struct scripted_peer *peer, const void *bytes, size_t size);

uint32_t scripted_word_at(const uint8_t *bytes);
