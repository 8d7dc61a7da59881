/*
 * sender_lookup: the question to a client's rpcbind on which port its callback
 * program listens.
 *
 *     dial_open to rpcbind's port -> CONNECTED: lookup_ask -> ANSWERED:
 *         lookup_answer
 *
 * IPv4: GETPORT (rpcbind version 2, RFC 1833 section 3). IPv6: GETADDR (version
 * 3), which says an address; only its port is believed. What rpcbind tells is
 * no more than a hint: the program must answer the proof.
 */
#pragma once

#include "base/outcome.h"
#include "callback/sender_dial.h"
#include "rpc/record.h"

#include <stdbool.h>
#include <stdint.h>

must_check enum outcome lookup_ask(struct dial *dial, bool ipv6, uint32_t program, uint32_t version,
                                   struct failure *why);

/* Takes the reply over. ABSENT: it does not know the program; PROTOCOL: no answer, or a port below 1024. */
must_check enum outcome lookup_answer(struct record *reply, bool ipv6, uint16_t *port, struct failure *why);
