/*
 * client_calls: a small program, its peer, and calls to it, for the tests of
 * rpc/client.h.
 */
#pragma once

#include "rpc/client.h"
#include "wire/scripted_peer.h"

enum {
    CALLS_PROGRAM = 0x20000077,
    CALLS_ECHO = 1,
    CALLS_BLOB = 2,
    CALLS_SILENT = 3,
    CALLS_CONTENT_MAX = 1048576
};

/* Its table: SILENT, which the peer never answers, has a limit of 200 ms. */
extern const struct rpc_program calls_program;

struct calls_blob {
    u_int count;
    char *bytes;
};

extern const xdrproc_t calls_word;
extern const xdrproc_t calls_blob;

int64_t calls_now_ms(void);

/* Fails the test if it cannot. */
struct rpc_client *calls_connected(struct scripted_peer *peer, unsigned call_ms);

enum clnt_stat calls_echo(struct rpc_client *client, uint32_t word, uint32_t *out);
void calls_assert_echo(struct rpc_client *client, uint32_t word);
struct rpc_pending *calls_begun(struct rpc_client *client, uint32_t procedure, uint32_t word);
enum outcome calls_awaited(struct rpc_client *client, struct rpc_pending *pending, uint32_t *word,
                           struct failure *why);

/* A script: answers ECHO with the word and one, BLOB with its bytes; all else never. */
void calls_serve(struct scripted_peer *peer, void *context);
