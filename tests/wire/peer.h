/*
 * peer: a raw peer of a server under test, that can misbehave: it writes bytes as
 * they are, and reads records. Everything fails the test when it fails, or takes
 * longer than ten seconds.
 */
#pragma once

#include "base/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CALL_MAX = 1024, SILENT = -1, REPLY_HEADER = 24 };

/* Bounds of time and of deadlines are this many times longer with sanitizers. */
unsigned slowness(void);
/*
 * Times that a server is set to and that a test must keep, and its pauses: as many times longer. Slowness as far as
 * five: a test is to come to its end, too.
 */
unsigned pace(void);
bool is_heavy(void);
int64_t now_ms(void);

int peer_connect(const struct address *address);
void peer_send(int fd, const void *bytes, size_t count);
/* Sends `bytes` as one record of one fragment. */
void peer_send_record(int fd, const void *bytes, size_t count);
/* The next record, of up to `size` bytes; its size. */
size_t peer_receive(int fd, void *to, size_t size);
/* Whether the server has hung up (within ten seconds). */
bool peer_is_cut(int fd);

/* A call's message, without record mark. Arguments are `count` bytes. */
struct call_form {
    uint32_t xid, rpc_version, program, version, procedure;
    uint32_t flavor;
    const void *credential;
    uint32_t credential_size;
    const void *arguments;
    size_t arguments_size;
};
/* Of AUTH_NONE, for the program under test. */
struct call_form call_of(uint32_t program, uint32_t version, uint32_t procedure);
/* Returns its size. */
size_t call_encode(const struct call_form *form, uint8_t *to, size_t size);
/* A credential of AUTH_SYS of this uid. Returns its size. */
uint32_t credential_of(uint32_t uid, uint8_t to[64]);

/* Calls and waits for the reply: its words from the reply status on; their number. */
size_t peer_call(int fd, const struct call_form *form, uint32_t *words, size_t most);
/* A NULL call on a connection that is there. */
void peer_null(int fd, uint32_t program);
/* How long it takes to connect and have NULL answered, the slowest of `times`, in ms. */
int64_t slowest_null(const struct address *address, uint32_t program, unsigned times);
/*
 * Whether it is prompt: within NULL_MS times slowness, which is ten times what the engine promises. A machine that
 * others share pauses now and then, a server that is held up stays so: once of three times is enough.
 */
enum { NULL_MS = 500 };
bool null_is_prompt(const struct address *address, uint32_t program, unsigned times);
/* As slowest_null, until `until` (of now_ms) with a pause between. */
int64_t slowest_null_until(const struct address *address, uint32_t program, int64_t until);

/* Resident bytes of this process; CPU it has used, in ms. */
size_t resident_bytes(void);
/* Whether less than `most` was added since. Always, with tools that keep freed memory: they find leaks themselves. */
bool resident_grew_less(size_t before, size_t most);
int64_t cpu_ms(void);
