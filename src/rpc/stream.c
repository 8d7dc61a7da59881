#include "rpc/stream.h"

#include <stdint.h>
#include <sys/socket.h>

static ssize_t plain_read(struct stream *stream, void *to, size_t count)
{
    return recv(stream->fd, to, count, MSG_DONTWAIT);
}

static ssize_t plain_writev(struct stream *stream, const struct iovec *parts, int count)
{
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)parts, .msg_iovlen = (size_t)count};

    return sendmsg(stream->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int plain_handshake(struct stream *stream)
{
    (void)stream;
    return 0;
}

static const struct stream_kind plain = {plain_read, plain_writev, plain_handshake};

void stream_plain(struct stream *stream, int fd)
{
    stream->kind = &plain;
    stream->fd = fd;
}
