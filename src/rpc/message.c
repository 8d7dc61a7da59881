#include "rpc/message.h"

#include "rpc/bulk.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

/* ---- reading words ---- */

/* A place in a message; `cut` once something was asked for that is not there. */
struct cursor {
    const uint8_t *bytes;
    size_t at, size;
    bool cut;
};

static uint32_t next_word(struct cursor *cursor)
{
    if (cursor->cut || cursor->size - cursor->at < 4) {
        cursor->cut = true;
        return 0;
    }
    const uint8_t *word = cursor->bytes + cursor->at;
    cursor->at += 4;
    return (uint32_t)word[0] << 24 | (uint32_t)word[1] << 16 | (uint32_t)word[2] << 8 | word[3];
}

/* A credential or verifier: flavor, count, bytes, padding. */
static const uint8_t *next_auth(struct cursor *cursor, uint32_t *flavor, uint32_t *count)
{
    *flavor = next_word(cursor);
    *count = next_word(cursor);
    uint32_t padded = (*count + 3) & ~(uint32_t)3;

    if (cursor->cut || *count > MAX_AUTH_BYTES || cursor->size - cursor->at < padded) {
        cursor->cut = true;
        return NULL;
    }
    const uint8_t *body = cursor->bytes + cursor->at;
    cursor->at += padded;
    return body;
}

bool message_peek(const uint8_t *bytes, size_t size, struct message_kind *out)
{
    struct cursor cursor = {.bytes = bytes, .size = size};
    uint32_t xid = next_word(&cursor), type = next_word(&cursor);

    if (cursor.cut)
        return false;
    *out = (struct message_kind){.xid = xid, .is_call = type == CALL};
    return true;
}

enum outcome message_parse_call(const uint8_t *bytes, size_t size, struct message_call *out,
                                struct failure *why)
{
    struct cursor cursor = {.bytes = bytes, .size = size};
    struct message_call call = {.xid = next_word(&cursor)};
    uint32_t type = next_word(&cursor), flavor, count;

    call.rpc_version = next_word(&cursor);
    if (cursor.cut || type != CALL)
        return failure_set(why, OUTCOME_PROTOCOL, "the peer sent a message that is no call");
    if (call.rpc_version == RPC_MSG_VERSION) {
        call.program = next_word(&cursor);
        call.version = next_word(&cursor);
        call.procedure = next_word(&cursor);
        call.credential = next_auth(&cursor, &call.flavor, &call.credential_size);
        next_auth(&cursor, &flavor, &count);
        if (cursor.cut)
            return failure_set(why, OUTCOME_PROTOCOL,
                               "the peer sent a call whose header is cut off or malformed");
    }
    call.arguments_at = cursor.at;
    *out = call;
    return OUTCOME_OK;
}

/* ---- writing ---- */

/* A stream over the record, after the room for its mark. */
static bool begin(struct record *record, XDR *xdrs)
{
    if (record->capacity <= RECORD_HEADER_SIZE || record->capacity > INT32_MAX)
        return false;
    xdrmem_create(xdrs, (char *)record->bytes + RECORD_HEADER_SIZE,
                  (u_int)(record->capacity - RECORD_HEADER_SIZE), XDR_ENCODE);
    bulk_attach(xdrs, NULL);
    return true;
}

/* A verifier and a credential of AUTH_NONE. */
static bool put_no_auth(XDR *xdrs)
{
    int32_t *words = XDR_INLINE(xdrs, 16);

    if (words)
        memset(words, 0, 16);
    return words;
}

enum outcome message_begin_call(struct record *record, XDR *xdrs, uint32_t xid,
                                const struct message_target *target, AUTH *auth, struct failure *why)
{
    const uint32_t header[] = {
        xid, CALL, RPC_MSG_VERSION, target->program, target->version, target->procedure};
    int32_t *words;

    if (!begin(record, xdrs) || !(words = XDR_INLINE(xdrs, (int)sizeof(header))))
        return failure_set(why, OUTCOME_NOMEM, "a record of %zu bytes has no room for a call",
                           record->capacity);
    for (size_t i = 0; i < sizeof(header) / sizeof(header[0]); i++)
        words[i] = (int32_t)htonl(header[i]);
    if (!(auth ? AUTH_MARSHALL(auth, xdrs) : put_no_auth(xdrs)))
        return failure_set(why, OUTCOME_FAULT, "the credential does not fit into the call");
    return OUTCOME_OK;
}

/* Of the type that xdr_replymsg calls. */
static bool_t put_no_results(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

enum outcome message_begin_reply(struct record *record, XDR *xdrs, struct rpc_msg *reply, struct failure *why)
{
    struct rpc_msg header = *reply;

    if (header.rm_reply.rp_stat == MSG_ACCEPTED && header.acpted_rply.ar_stat == SUCCESS) {
        header.acpted_rply.ar_results.where = NULL;
        header.acpted_rply.ar_results.proc = put_no_results;
    }
    if (!begin(record, xdrs))
        return failure_set(why, OUTCOME_NOMEM, "a record of %zu bytes has no room for a reply",
                           record->capacity);
    if (!xdr_replymsg(xdrs, &header))
        return failure_set(why, OUTCOME_FAULT, "the reply's header cannot be encoded");
    return OUTCOME_OK;
}

void message_end(struct record *record, XDR *xdrs)
{
    uint32_t size = xdr_getpos(xdrs);
    uint32_t mark = htonl((uint32_t)RECORD_LAST_FRAGMENT | size);

    memcpy(record->bytes, &mark, sizeof(mark));
    record->size = RECORD_HEADER_SIZE + size;
}

/* ---- replies ---- */

static void put_range(struct cursor *cursor, uint32_t *low, uint32_t *high)
{
    uint32_t from = next_word(cursor), to = next_word(cursor);

    if (low)
        *low = from;
    if (high)
        *high = to;
}

static enum outcome malformed(struct failure *why)
{
    return failure_set(why, OUTCOME_PROTOCOL, "the peer sent a malformed reply");
}

static enum outcome parse_denied(struct cursor *cursor, uint32_t *low, uint32_t *high, struct failure *why)
{
    uint32_t kind = next_word(cursor);

    if (kind == RPC_MISMATCH && !cursor->cut) {
        put_range(cursor, NULL, NULL);
        return failure_set(why, OUTCOME_PROTOCOL, "the peer does not speak version 2 of RPC");
    }
    uint32_t reason = next_word(cursor);
    if (cursor->cut || kind != AUTH_ERROR)
        return malformed(why);
    if (low)
        *low = reason;
    if (high)
        *high = 0;
    return failure_set(why, OUTCOME_DENIED, "the peer refuses the credential (%s)",
                       reason == AUTH_TOOWEAK        ? "it wants a stronger one"
                       : reason == AUTH_BADCRED      ? "it is not valid"
                       : reason == AUTH_REJECTEDCRED ? "it asks to begin a new session"
                                                     : "authentication failed");
}

static enum outcome parse_accepted(struct cursor *cursor, uint32_t *low, uint32_t *high, struct failure *why)
{
    uint32_t flavor, count;

    next_auth(cursor, &flavor, &count);
    uint32_t status = next_word(cursor);
    if (cursor->cut)
        return malformed(why);
    switch (status) {
    case SUCCESS: return OUTCOME_OK;
    case PROG_UNAVAIL: return failure_set(why, OUTCOME_UNAVAILABLE, "the peer does not have this program");
    case PROG_MISMATCH: {
        uint32_t from = 0, to = 0;
        put_range(cursor, &from, &to);
        if (low)
            *low = from;
        if (high)
            *high = to;
        if (cursor->cut)
            return malformed(why);
        return failure_set(why, OUTCOME_CHANGED,
                           "the peer has versions %" PRIu32 " to %" PRIu32 " of this program, not ours", from,
                           to);
    }
    case PROC_UNAVAIL: return failure_set(why, OUTCOME_ABSENT, "the peer does not have this procedure");
    case GARBAGE_ARGS: return failure_set(why, OUTCOME_INVALID, "the peer could not decode the arguments");
    /* What it made of the call before it failed nobody knows: a server without memory for its reply says so. */
    case SYSTEM_ERR: return failure_set(why, OUTCOME_UNKNOWN, "the peer failed to serve the call");
    default: return malformed(why);
    }
}

enum outcome message_parse_reply(const struct record *record, XDR *xdrs, uint32_t *low, uint32_t *high,
                                 struct failure *why)
{
    struct cursor cursor = {.bytes = record->bytes, .size = record->size};
    enum outcome outcome;

    next_word(&cursor); /* the xid: whoever reads has matched it */
    uint32_t type = next_word(&cursor), status = next_word(&cursor);
    if (cursor.cut || type != REPLY || status > MSG_DENIED)
        return malformed(why);
    outcome = status == MSG_DENIED ? parse_denied(&cursor, low, high, why)
                                   : parse_accepted(&cursor, low, high, why);
    if (outcome == OUTCOME_OK) {
        xdrmem_create(xdrs, (char *)record->bytes + cursor.at, (u_int)(record->size - cursor.at), XDR_DECODE);
        bulk_attach(xdrs, NULL);
    }
    return outcome;
}
