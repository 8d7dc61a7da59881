/*
 * Decodes arbitrary bytes as each argument and result type of the contract.
 *
 * The first byte of the input says which type (wire/golden/types.h), the others
 * are the message. What decodes is encoded, and that decoded and encoded once
 * more: the two must be the same bytes. All else is for the sanitizers: a step
 * over the end of the record, memory that is not given back, too much of it.
 */
#include "rpc/bulk.h"
#include "wire/golden/types.h"

#include "proto/fileshare.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct message {
    char *bytes;
    size_t length;
};

static struct message encode(const struct wire_type *type, void *value, size_t room)
{
    struct message message = {malloc(room), 0};
    XDR xdrs;

    if (!message.bytes)
        abort();
    xdrmem_create(&xdrs, message.bytes, (u_int)room, XDR_ENCODE);
    bulk_attach(&xdrs, NULL);
    if (!type->xdr(&xdrs, value))
        abort(); /* what was decoded fits where it came from */
    message.length = xdr_getpos(&xdrs);
    return message;
}

/* Decodes and encodes again; no bytes: it did not decode. */
static struct message there_and_back(const struct wire_type *type, const char *bytes, size_t length)
{
    struct message message = {0};
    void *value = calloc(1, type->size);
    XDR xdrs;

    if (!value)
        abort();
    xdrmem_create(&xdrs, (char *)(uintptr_t)bytes, (u_int)length, XDR_DECODE);
    if (type->xdr(&xdrs, value))
        message = encode(type, value, length ? length : 1);
    xdr_free(type->xdr, value);
    free(value);
    return message;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t types;
    const struct wire_type *type = wire_types(&types);

    if (size < 1 || size > FS_RECORD_MAX)
        return 0;
    type += data[0] % types;

    /* A record of exactly this size, aligned as the engine's are. */
    char *record = malloc(size > 1 ? size - 1 : 1);
    if (!record)
        abort();
    memcpy(record, data + 1, size - 1);
    struct message first = there_and_back(type, record, size - 1);
    free(record);
    if (!first.bytes)
        return 0;

    struct message second = there_and_back(type, first.bytes, first.length);
    if (!second.bytes || second.length != first.length ||
        memcmp(first.bytes, second.bytes, first.length) != 0)
        abort();
    free(first.bytes);
    free(second.bytes);
    return 0;
}
