/*
 * bulk: opaque bytes on the wire, without a copy.
 *
 * rpcgen's XDR routines of our programs are compiled with xdr_bytes renamed to
 * fs_xdr_bytes (cmake/FileshareRpcgen.cmake). It works on memory streams only
 * (xdrmem_create), never on a stock transport:
 *
 *   decode  the pointer is set into the record itself; it lives as long as the
 *           record does, and is not NUL-ended. Nothing is allocated.
 *   encode  the bytes are copied into the record, or, if the pointer is that of
 *           a struct bulk_source, written there by its `fill` (a pread into the
 *           record: the only copy that file data sees).
 *   free    the pointer is forgotten. Whoever put it there owns the bytes.
 *
 * So an array of structs that holds opaque bytes is freed by xdr_free as usual,
 * the bytes themselves by their owner: the call's arena (rpc/call.h), or the
 * record.
 */
#pragma once

#include <rpc/rpc.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Content that is read into the record while it is encoded. Set the wire
 * struct's pointer to `(char *)source` and its length to the count, and hang the
 * source on the stream: rpc/reply and rpc/client do that when given one.
 * `fill` writes exactly `count` bytes to `to`, or returns false: then encoding
 * fails as a whole. It is called at most once, on the encoding thread.
 *
 * In a reply `mend` may make good of that: it changes the results to such as do
 * without the content, which are then encoded anew (the sources that are left
 * are asked again). NULL: the call is answered SYSTEM_ERR.
 *
 * A source is of one message alone, since it remembers what became of it; a reply's lies in the call's arena.
 *
 * Several in one message are linked, in the order in which they are encoded; of
 * those whose count is 0 none may be among them.
 */
struct bulk_source {
    bool (*fill)(struct bulk_source *source, void *to, size_t count);
    void (*mend)(struct bulk_source *source);
    struct bulk_source *next; /* NULL: the last */
    size_t count;             /* of bytes; 0: not known before. In a reply, for a buffer that is not too large */
    bool failed;              /* `fill` returned false */
    const void *filled;       /* where it filled, while that is there */
};

/*
 * Makes `source`, and those linked to it, known to the stream; XDR.x_public
 * holds the one that comes next. NULL: none. A stream that encodes must have
 * been here: xdrmem_create leaves x_public as it finds it.
 */
void bulk_attach(XDR *xdrs, struct bulk_source *source);

bool_t fs_xdr_bytes(XDR *xdrs, char **bytes, u_int *count, u_int limit);
