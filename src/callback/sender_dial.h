/*
 * sender_dial: one non-blocking connection that we made, with at most one call
 * on it at a time.
 *
 *     dial_open -> dial_step: CONNECTED -> dial_call -> dial_step: ANSWERED
 *         -> dial_call ... -> dial_close -> dial_free
 *
 * The socket is in the epoll given, with the dial as data.ptr; whoever waits
 * there gives its events to dial_step. Nothing here blocks, and nothing here has
 * a deadline: the owner counts the time. After BROKEN only dial_close is left.
 * dial_close takes the socket out of the epoll; events that were taken from it
 * before may still name the dial, so free it after they were looked at.
 *
 * Threads: the owner's lock guards it.
 */
#pragma once

#include "base/address.h"
#include "base/list.h"
#include "base/outcome.h"
#include "rpc/message.h"
#include "rpc/record.h"

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dial {
    struct list link; /* for the owner */
    void *owner;      /* for the owner; NULL once it was closed */
    int fd, epoll;
    bool connected;
    bool wants_out; /* what the epoll was told */
    uint32_t xid;   /* of the last call */
    bool calling;
    unsigned strays; /* records that answered nothing */
    unsigned unanswered_ms;
    bool doubted;
    struct record *out;
    size_t sent;
    struct record_reader reader;
};

struct dial_target {
    const struct address *to, *from; /* `from`: its host counts; size 0: any */
    uint16_t from_port;              /* 0: any */
    unsigned unanswered_ms; /* bytes that the peer's kernel does not acknowledge for so long break it */
};

enum dial_progress { DIAL_PENDING, DIAL_CONNECTED, DIAL_ANSWERED, DIAL_BROKEN };

/* UNREACHABLE; LIMIT (no descriptor is left); NOMEM. */
must_check enum outcome dial_open(int epoll, const struct dial_target *target, void *owner, struct dial **out,
                                  struct failure *why);

/* Events of the epoll. With ANSWERED the reply is yours; with BROKEN `why` says how. */
enum dial_progress dial_step(struct dial *dial, uint32_t events, struct record **reply, struct failure *why);

/* A connected dial without a call. `size`: at most so many bytes of arguments. UNREACHABLE, NOMEM, INVALID. */
must_check enum outcome dial_call(struct dial *dial, const struct message_target *target, xdrproc_t encode,
                                  void *arguments, size_t size, struct failure *why);

/*
 * A call is out: the peer's machine is asked whether it is still there, until the answer comes; if it is not heard of
 * for about answer_ms the dial breaks. A machine answers for a process that is busy or stopped. Again is fine.
 */
void dial_doubt(struct dial *dial, unsigned answer_ms);

void dial_close(struct dial *dial); /* owner becomes NULL */
void *dial_free(struct dial *dial); /* closed or not; NULL is fine; returns NULL */
