/*
 * content: the local bytes that are uploaded, by offset, and their digest.
 *
 *     content_open -> content_peek, content_copy ... (offsets may go back)
 *         -> content_settle -> content_digest -> content_close
 *
 * Offset 0 is where the descriptor stood. A regular file is read at any offset,
 * straight to where its bytes are wanted. Of a pipe the last CONTENT_KEPT bytes
 * are kept, so that what is not known to have arrived can be sent again. Nothing
 * more is held in memory. The digest is of all bytes from 0 to the highest ever
 * copied, each counted once.
 *
 * One thread. The descriptor stays the caller's.
 */
#pragma once

#include "base/digest.h"
#include "base/outcome.h"
#include "client/lib/stop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

enum { CONTENT_KEPT = 8 << 20 };

struct content;

/* `label` (kept, not copied) is what the failures call it. LOCAL, NOMEM. */
must_check enum outcome content_open(int fd, const char *label, const struct stop *stop, struct content **out,
                                     struct failure *why);
void *content_close(struct content *content); /* NULL is fine; returns NULL */

/* Whether it may be read again from any offset; then its size is known. */
bool content_is_file(const struct content *content);
/* Of a file; of a pipe once its end was seen; else UINT64_MAX. */
uint64_t content_size(const struct content *content);

/* Which file it is, and how it was when it was opened, or renewed: the same again means the same bytes. */
struct content_identity {
    uint64_t device, inode, start, size; /* start: where the descriptor stood */
    int64_t mtime;                       /* ns */
};

/* False of a pipe. */
bool content_identity(const struct content *content, struct content_identity *out);
bool content_identity_equal(const struct content_identity *one, const struct content_identity *other);
/* The path that the file has now, into `path`; false if it has none any more, or no file ever was. */
bool content_path(const struct content *content, char *path, size_t size);

/*
 * Looks at the file again. *changed: it is another than it was, and from now on this one is uploaded, from its
 * first byte. Never of a pipe. LOCAL.
 */
must_check enum outcome content_renew(struct content *content, bool *changed, struct failure *why);

/*
 * *available = how many bytes from `offset` on can be copied now, up to `want`
 * (at most CONTENT_KEPT / 2); fewer only at the end. A pipe is read for them,
 * waiting at most `wait_ms`: TIMEOUT if they did not come (what did is kept).
 * LOCAL: also for bytes of a pipe that are no longer kept.
 */
must_check enum outcome content_peek(struct content *content, uint64_t offset, size_t want, uint32_t wait_ms,
                                     size_t *available, struct failure *why);

/* `count` bytes that content_peek found. CHANGED if the file became shorter. */
must_check enum outcome content_copy(struct content *content, uint64_t offset, void *to, size_t count,
                                     struct failure *why);

/*
 * The digest of [0, size), of a file: read anew. The running digest goes on from
 * there. CHANGED, LOCAL, STOPPED.
 */
must_check enum outcome content_digest_to(struct content *content, uint64_t size, struct digest_value *out,
                                          struct failure *why);

/* All was copied: whether the file is still as it was when it was opened. CHANGED if not. */
must_check enum outcome content_settle(struct content *content, struct failure *why);

/* Of all that was copied. */
struct digest_value content_digest(const struct content *content);

/* A pipe: reads it to its end, or past `limit` bytes, whatever comes first; then content_size and content_digest tell. */
must_check enum outcome content_drain(struct content *content, uint64_t limit, struct failure *why);

/*
 * A file of known size without a struct content: all its bytes, from where the
 * descriptor stands, in one go; CHANGED if it is not as `begun` (its fstat) says.
 * `to` has room for one byte more than its size.
 */
must_check enum outcome content_take(int fd, const char *label, const struct stat *begun, void *to,
                                     struct failure *why);
