/*
 * callback_peer: a callback program of the tests' own, that does as it is told, also
 * what none should.
 *
 * Loopback, any port, one thread. What it saw can be read while it runs.
 */
#pragma once

#include "base/address.h"
#include "base/id.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { PEER_EVENTS_MAX = 256 };

/* What it does with a call. */
enum callback_manner {
    PEER_ANSWERS,
    PEER_HANGS, /* never answers */
    PEER_HANGS_UP,
    PEER_REFUSES,           /* AUTH_BADCRED */
    PEER_LIES,              /* another proof; more acknowledged than was told */
    PEER_ACKNOWLEDGES_NONE, /* NOTIFY: number 0 */
    PEER_CALLS_BACK,        /* sends a CALL instead of a reply */
};

struct callback_peer {
    uint16_t port;
    uint32_t program;
    struct id proof, ticket;
    _Atomic enum callback_manner on_hello, on_notify;
    _Atomic unsigned connections, hellos, notifies;
    _Atomic bool ticket_seen; /* in any bytes that came */
    _Atomic unsigned event_count;
    uint64_t events[PEER_EVENTS_MAX]; /* numbers, as they came; read after event_count */
    struct address last_from;

    int listening, wake;
    unsigned long thread;
};

/* Any port if `port` is 0. The test fails if it can't. */
struct callback_peer *callback_peer_new(uint16_t port);
void callback_peer_free(struct callback_peer *peer);
struct address callback_peer_address(const struct callback_peer *peer);
