/*
 * stream: the bytes of one connection, behind a small table, so that TLS can
 * stand where a plain socket stands.
 *
 * All three work on a non-blocking socket and never raise SIGPIPE. A stream owns
 * what it needs besides the socket (nothing, for the plain one); the socket is
 * its connection's. read and handshake are called by whoever has the
 * connection's turn, writev by whoever flushes it: the two may run at once.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct stream;

struct stream_kind {
    /* As read(2): > 0 bytes, 0 at the end, -1 with errno (EAGAIN: none for now). */
    ssize_t (*read)(struct stream *stream, void *to, size_t count);
    /* As writev(2). */
    ssize_t (*writev)(struct stream *stream, const struct iovec *parts, int count);
    /* 0: done, bytes may flow; -1 with errno: EAGAIN wants another turn, all else is the end. */
    int (*handshake)(struct stream *stream);
};

struct stream {
    const struct stream_kind *kind;
    int fd;
};

/* Bytes as they are. */
void stream_plain(struct stream *stream, int fd);
