#include "rpc/bulk.h"

#include <string.h>

void bulk_attach(XDR *xdrs, struct bulk_source *source)
{
    xdrs->x_public = (char *)source;
}

/* XDR pads opaque bytes with zeros to a multiple of four (RFC 4506 section 4.10). */
static u_int padding(u_int count)
{
    return -count & 3;
}

/* Once; when the message is encoded anew, from where it is. */
static bool_t fill(struct bulk_source *source, char *to, u_int count)
{
    if (source->filled)
        memcpy(to, source->filled, count);
    else
        source->failed = !source->fill(source, to, count);
    source->filled = to;
    return !source->failed;
}

static bool_t encode(XDR *xdrs, const char *bytes, u_int count)
{
    /* The counts are below the limits of the .x, so the sum does not wrap. */
    char *to = (char *)XDR_INLINE(xdrs, (int)(count + padding(count)));
    struct bulk_source *source = (struct bulk_source *)xdrs->x_public;

    if (!to)
        return FALSE;
    memset(to + count, 0, padding(count));
    if (source && bytes == (const char *)source) {
        bulk_attach(xdrs, source->next);
        return fill(source, to, count);
    }
    memcpy(to, bytes, count);
    return TRUE;
}

static bool_t decode(XDR *xdrs, char **bytes, u_int count)
{
    char *from = (char *)XDR_INLINE(xdrs, (int)(count + padding(count)));

    if (!from)
        return FALSE;
    *bytes = from;
    return TRUE;
}

bool_t fs_xdr_bytes(XDR *xdrs, char **bytes, u_int *count, u_int limit)
{
    if (xdrs->x_op == XDR_FREE) {
        *bytes = NULL;
        return TRUE;
    }
    if (!xdr_u_int(xdrs, count) || *count > limit)
        return FALSE;
    if (*count == 0) {
        if (xdrs->x_op == XDR_DECODE)
            *bytes = NULL;
        return TRUE;
    }
    return xdrs->x_op == XDR_ENCODE ? encode(xdrs, *bytes, *count) : decode(xdrs, bytes, *count);
}
