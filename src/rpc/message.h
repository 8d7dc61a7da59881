/*
 * message: the headers of calls and replies (RFC 5531 section 9), in memory.
 *
 * A record that is to be sent begins with its record mark (one fragment), so
 * that it goes out with one write: message_begin_call or message_begin_reply
 * lay the mark and the header, the caller encodes arguments or results after
 * it, message_end sets the mark's length. A received record has no mark.
 */
#pragma once

#include "base/outcome.h"
#include "rpc/record.h"

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stdint.h>

/* The first words of any message. False if there are too few bytes. */
struct message_kind {
    uint32_t xid;
    bool is_call;
};
bool message_peek(const uint8_t *bytes, size_t size, struct message_kind *out);

/* What a call says of itself. The credential's body points into `bytes`. */
struct message_call {
    uint32_t xid, rpc_version, program, version, procedure;
    uint32_t flavor;               /* of the credential */
    const uint8_t *credential;
    uint32_t credential_size;      /* at most MAX_AUTH_BYTES */
    size_t arguments_at;           /* offset of the arguments */
};
/*
 * PROTOCOL if it is no call, or its header is cut off or malformed; `why` may be
 * NULL. Of a call whose rpc_version is not 2 nothing else than that and the xid
 * is known.
 */
must_check enum outcome message_parse_call(const uint8_t *bytes, size_t size, struct message_call *out,
                                           struct failure *why);

struct message_target {
    uint32_t program, version, procedure;
};

/*
 * Begins a call in `record`: mark and header, with the credential and verifier
 * that `auth` makes (NULL: AUTH_NONE). `xdrs` then stands where the arguments
 * go. NOMEM, FAULT.
 */
must_check enum outcome message_begin_call(struct record *record, XDR *xdrs, uint32_t xid,
                                           const struct message_target *target, AUTH *auth, struct failure *why);

/* Begins a reply in the same way; encodes `reply` as xdr_replymsg does, without its results. */
must_check enum outcome message_begin_reply(struct record *record, XDR *xdrs, struct rpc_msg *reply,
                                            struct failure *why);

/* Sets the record's size and mark from where `xdrs` stands. */
void message_end(struct record *record, XDR *xdrs);

/*
 * Reads a reply's header; `xdrs` then stands at the results. OK only for an
 * accepted, successful reply. Otherwise: DENIED (authentication; *low holds the
 * auth_stat), UNAVAILABLE (the program is not there), CHANGED (a version the
 * peer does not have: *low and *high are what it has), ABSENT (no such
 * procedure), INVALID (it could not decode the arguments), FAULT (its system
 * error), PROTOCOL. `low` and `high` may be NULL.
 */
must_check enum outcome message_parse_reply(const struct record *record, XDR *xdrs, uint32_t *low, uint32_t *high,
                                            struct failure *why);
