/*
 * Arbitrary bytes as a stream of records (rpc/record.h) and as messages
 * (rpc/message.h).
 *
 * Two readers get the same stream: one gets all that is there at each read, the
 * other the bytes in pieces that the input's own bytes cut. Both must come to the
 * same records and the same end. Each record is then read as a call and as a
 * reply; what a call says of itself must lie within the record.
 *
 * The first byte of the input chooses the limit of a record, the second how the
 * stream is cut.
 */
#include "rpc/message.h"
#include "rpc/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct stream {
    const uint8_t *bytes;
    size_t at, size;
    uint8_t cut; /* 0: not cut */
    bool tired;  /* the next read has nothing for now */
};

static ssize_t stream_read(void *context, void *to, size_t count)
{
    struct stream *stream = context;
    size_t left = stream->size - stream->at;

    if (stream->cut) {
        size_t piece = 1 + stream->bytes[stream->at < stream->size ? stream->at : 0] % stream->cut;
        stream->tired = !stream->tired;
        if (stream->tired) {
            errno = EAGAIN;
            return -1;
        }
        if (count > piece)
            count = piece;
    }
    if (count > left)
        count = left;
    memcpy(to, stream->bytes + stream->at, count);
    stream->at += count;
    return (ssize_t)count;
}

static enum outcome next(struct record_reader *reader, struct stream *stream, struct record **out)
{
    struct record_source source = {stream_read, stream};
    enum outcome outcome;

    do
        outcome = record_reader_next(reader, &source, out, NULL);
    while (outcome == OUTCOME_UNAVAILABLE);
    return outcome;
}

static void read_as_message(const struct record *record)
{
    struct message_kind kind;
    struct message_call call;
    uint32_t low, high;
    XDR xdrs;

    if (!message_peek(record->bytes, record->size, &kind) && record->size >= 8)
        abort();
    if (message_parse_call(record->bytes, record->size, &call, NULL) == OUTCOME_OK && call.rpc_version == 2) {
        if (call.arguments_at > record->size || call.credential_size > MAX_AUTH_BYTES)
            abort();
        if (call.credential_size && (call.credential < record->bytes ||
                                     call.credential + call.credential_size > record->bytes + record->size))
            abort();
    }
    if (message_parse_reply(record, &xdrs, &low, &high, NULL) == OUTCOME_OK &&
        xdr_getpos(&xdrs) > record->size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct record_reader whole_reader, cut_reader;

    if (size < 3)
        return 0;
    size_t limit = 16 + data[0] * 16u;
    struct stream whole = {.bytes = data + 2, .size = size - 2};
    struct stream cut = {.bytes = data + 2, .size = size - 2, .cut = (uint8_t)(data[1] | 1)};
    record_reader_init(&whole_reader, limit, NULL, NULL);
    record_reader_init(&cut_reader, limit, NULL, NULL);

    enum outcome outcome;
    do {
        struct record *record = NULL, *other = NULL;
        outcome = next(&whole_reader, &whole, &record);
        if (next(&cut_reader, &cut, &other) != outcome)
            abort();
        if (outcome == OUTCOME_OK) {
            if (record->size > limit || other->size != record->size ||
                memcmp(record->bytes, other->bytes, record->size) != 0)
                abort();
            read_as_message(record);
        }
        record_free(record);
        record_free(other);
    } while (outcome == OUTCOME_OK);
    record_reader_fini(&whole_reader);
    record_reader_fini(&cut_reader);
    return 0;
}
