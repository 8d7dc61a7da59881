#include "callback/sender_inside.h"

#include "rpc/bulk.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* An event at its longest: each text full, an entry, padding, and some more. */
enum { EVENT_WIRE_MAX = 2 * NAME_BUFFER + EVENT_PRINCIPAL_SIZE + 256 };

/* Of the type that svc and CLIENT want: (XDR *, void *). */
bool_t xdr_notify_arguments(XDR *xdrs, ...)
{
    va_list list;
    va_start(list, xdrs);
    struct notify_arguments *arguments = va_arg(list, struct notify_arguments *);
    va_end(list);
    if (xdrs->x_op != XDR_ENCODE)
        return xdrs->x_op == XDR_FREE;
    /* The rows are whole words already: no padding is added to them. */
    char *rows;
    const uint8_t *from = arguments->rows;
    memcpy(&rows, &from, sizeof rows);
    return xdr_opaque(xdrs, (char *)arguments->ticket.octets, ID_SIZE) &&
           xdr_opaque(xdrs, rows, (u_int)arguments->size);
}

/* Encodes the events as fs_notify_args.rows; returns the size, 0 if they do not fit. */
static size_t encode_rows(const struct event *events, size_t count, uint8_t *to, size_t room)
{
    XDR xdrs;
    u_int rows = (u_int)count;
    xdrmem_create(&xdrs, (char *)to, (u_int)room, XDR_ENCODE);
    bulk_attach(&xdrs, NULL);
    if (!xdr_u_int(&xdrs, &rows))
        return 0;
    for (size_t i = 0; i < count; i++) {
        fs_entry entry;
        fs_event event;
        event_to_wire(&events[i], &entry, &event);
        if (!xdr_fs_event(&xdrs, &event))
            return 0;
    }
    return xdr_getpos(&xdrs);
}

enum outcome batch_new(const struct id *mailbox, uint64_t token, const struct event *events, size_t count,
                       struct sender_batch **out, struct failure *why)
{
    if (count == 0 || count > FS_EVENTS_MAX)
        return failure_set(why, OUTCOME_INVALID, "a batch has 1 to %d events, not %zu", (int)FS_EVENTS_MAX,
                           count);
    size_t room = sizeof(uint32_t) + count * EVENT_WIRE_MAX;
    struct sender_batch *batch = malloc(sizeof *batch + room);
    if (!batch)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a batch of %zu events", count);
    *batch = (struct sender_batch){
        .result = {.mailbox = *mailbox, .token = token, .outcome = OUTCOME_UNREACHABLE},
        .last = events[count - 1].number,
    };
    list_init(&batch->link);
    batch->size = encode_rows(events, count, batch->rows, room);
    if (batch->size == 0) {
        free(batch);
        return failure_set(why, OUTCOME_INVALID, "an event has no form on the wire");
    }
    /* Most events are far from their longest. If this fails the longer block serves as well. */
    struct sender_batch *shorter = realloc(batch, sizeof *batch + batch->size);
    if (shorter) {
        batch = shorter;
        list_init(&batch->link);
    }
    *out = batch;
    return OUTCOME_OK;
}

/* The results of a reply, which is freed. What no peer of ours answers becomes PROTOCOL. */
static enum outcome decode_reply(struct record *reply, xdrproc_t decode, void *results, struct failure *why)
{
    XDR xdrs;
    enum outcome outcome = message_parse_reply(reply, &xdrs, NULL, NULL, why);
    if (outcome == OUTCOME_OK && !decode(&xdrs, results))
        outcome = failure_set(why, OUTCOME_PROTOCOL, "the callback program's answer is cut off");
    record_free(reply);
    return outcome == OUTCOME_OK || outcome == OUTCOME_DENIED ? outcome : OUTCOME_PROTOCOL;
}

enum outcome hello_answer(struct record *reply, const struct id *proof, struct failure *why)
{
    fs_callback_hello hello;
    enum outcome outcome = decode_reply(reply, (xdrproc_t)xdr_fs_callback_hello, &hello, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct id answered;
    memcpy(answered.octets, hello.proof.octets, ID_SIZE);
    if (!id_equal_secret(&answered, proof))
        return failure_set(why, OUTCOME_PROTOCOL, "the program there does not answer the proof");
    return OUTCOME_OK;
}

enum outcome notify_answer(struct record *reply, uint64_t last, uint64_t *acknowledged, struct failure *why)
{
    fs_notify notify;
    enum outcome outcome = decode_reply(reply, (xdrproc_t)xdr_fs_notify, &notify, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (notify.acknowledged > last)
        return failure_set(why, OUTCOME_PROTOCOL, "the callback program acknowledges more than it was told");
    *acknowledged = notify.acknowledged;
    return OUTCOME_OK;
}
