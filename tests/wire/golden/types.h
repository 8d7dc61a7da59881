/*
 * types: every argument and result type of proto/fileshare.x, in a fixed order.
 * New ones go to the end: an input that fuzz/ once found names its type by the
 * place in this list.
 */
#pragma once

#include <rpc/rpc.h>
#include <stddef.h>

struct wire_type {
    const char *name; /* as the .x calls it */
    xdrproc_t xdr;
    size_t size; /* of the C type */
};

const struct wire_type *wire_types(size_t *count);

/* The place of a type in the list; the count, if it is not there. */
size_t wire_type_place(const char *name);
