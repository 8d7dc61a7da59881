#include "callback/sender_dial.h"

#include "base/scoped.h"
#include "rpc/bulk.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REPLY_MAX = 4096,    /* of HELLO, NOTIFY and rpcbind; a verifier has at most 400 bytes */
    HEADER_SIZE = 64,    /* of a call with its mark, without credential */
    STRAYS_MAX = 16,     /* records a peer may send that answer nothing */
    KEEPALIVE_IDLE = 60, /* seconds after which a silent peer is asked whether it is there ... */
    KEEPALIVE_INTERVAL = 10,
    KEEPALIVE_COUNT = 3,
    DOUBT_PROBES = 5, /* of one in doubt, about; no more than one a second */
};

static bool set_option(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) == 0;
}

/* What is only good manners may fail. */
static void ask_peer(int fd, unsigned unanswered_ms, int idle, int interval, int count)
{
    (void)set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, (int)unanswered_ms);
    (void)set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, count);
    (void)set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval);
    (void)set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle); /* the last: the kernel counts anew from here */
}

static void ask_now_and_then(int fd, unsigned unanswered_ms)
{
    ask_peer(fd, unanswered_ms, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT);
}

void dial_doubt(struct dial *dial, unsigned answer_ms)
{
    const int seconds = (int)((answer_ms + 999) / 1000);
    const int interval = seconds < 2 * DOUBT_PROBES ? 1 : seconds / DOUBT_PROBES;
    int queued = 0;
    /* Bytes that wait for the peer's kernel ask it by themselves. Once more would ask too often. */
    if (dial->doubted || ioctl(dial->fd, SIOCOUTQ, &queued) != 0 || queued > 0)
        return;
    dial->doubted = true;
    /* Counted, since with TCP_USER_TIMEOUT the first lost packet counts as silence for as long as none was sent. */
    ask_peer(dial->fd, 0, 1, interval, (seconds + interval - 1) / interval);
}

static void trust(struct dial *dial)
{
    if (dial->doubted)
        ask_now_and_then(dial->fd, dial->unanswered_ms);
    dial->doubted = false;
}

static enum outcome bind_from(int fd, const struct dial_target *target, struct failure *why)
{
    struct address from = *target->from;
    if (from.size == 0)
        return OUTCOME_OK;
    address_set_port(&from, target->from_port);
    if (target->from_port != 0)
        (void)set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    else
        (void)set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    char text[ADDRESS_TEXT_SIZE];
    if (bind(fd, &from.any, from.size) != 0)
        return failure_system(why, OUTCOME_UNREACHABLE, errno, "can't call back from %s",
                              address_text(&from, text));
    return OUTCOME_OK;
}

static enum outcome connect_to(int fd, const struct dial_target *target, struct failure *why)
{
    char text[ADDRESS_TEXT_SIZE];
    if (connect(fd, &target->to->any, target->to->size) != 0 && errno != EINPROGRESS)
        return failure_system(why, OUTCOME_UNREACHABLE, errno, "can't connect to %s",
                              address_text(target->to, text));
    return OUTCOME_OK;
}

static enum outcome watch(struct dial *dial, int operation, bool wants_out, struct failure *why)
{
    struct epoll_event event = {.events = EPOLLIN | (wants_out ? EPOLLOUT : 0), .data.ptr = dial};
    if (epoll_ctl(dial->epoll, operation, dial->fd, &event) != 0)
        return failure_system(why, OUTCOME_NOMEM, errno, "can't watch a connection");
    dial->wants_out = wants_out;
    return OUTCOME_OK;
}

enum outcome dial_open(int epoll, const struct dial_target *target, void *owner, struct dial **out,
                       struct failure *why)
{
    scoped_fd int fd = socket(target->to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return failure_system(why, errno == EMFILE || errno == ENFILE ? OUTCOME_LIMIT : OUTCOME_UNREACHABLE,
                              errno, "can't make a socket");
    (void)set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    (void)set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    ask_now_and_then(fd, target->unanswered_ms);
    enum outcome outcome = bind_from(fd, target, why);
    if (outcome == OUTCOME_OK)
        outcome = connect_to(fd, target, why);
    if (outcome != OUTCOME_OK)
        return outcome;

    scoped_free struct dial *dial = calloc(1, sizeof *dial);
    if (!dial)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a connection");
    list_init(&dial->link);
    dial->fd = fd;
    dial->epoll = epoll;
    dial->owner = owner;
    dial->unanswered_ms = target->unanswered_ms;
    record_reader_init(&dial->reader, REPLY_MAX, NULL, NULL);
    outcome = watch(dial, EPOLL_CTL_ADD, true, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    take_fd(&fd);
    *out = take_ptr(&dial);
    return OUTCOME_OK;
}

/* Writes what is left of the call. */
static enum outcome flush(struct dial *dial, struct failure *why)
{
    while (dial->out && dial->sent < dial->out->size) {
        ssize_t sent = send(dial->fd, dial->out->bytes + dial->sent, dial->out->size - dial->sent,
                            MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (sent < 0)
            return failure_system(why, OUTCOME_UNREACHABLE, errno, "the connection broke");
        dial->sent += (size_t)sent;
    }
    if (dial->out && dial->sent == dial->out->size)
        dial->out = record_free(dial->out);
    bool wants_out = dial->out != NULL;
    return wants_out == dial->wants_out ? OUTCOME_OK : watch(dial, EPOLL_CTL_MOD, wants_out, why);
}

enum outcome dial_call(struct dial *dial, const struct message_target *target, xdrproc_t encode,
                       void *arguments, size_t size, struct failure *why)
{
    struct record *record = record_new(HEADER_SIZE + size);
    if (!record)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a call");
    record_free(dial->out);
    dial->out = record;
    dial->sent = 0;

    XDR xdrs;
    enum outcome outcome = message_begin_call(record, &xdrs, ++dial->xid, target, NULL, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (!encode(&xdrs, arguments))
        return failure_set(why, OUTCOME_INVALID, "the arguments of a call do not fit into %zu bytes", size);
    message_end(record, &xdrs);
    dial->calling = true;
    dial->strays = 0;
    return flush(dial, why);
}

static ssize_t read_socket(void *context, void *to, size_t count)
{
    const struct dial *dial = context;
    return recv(dial->fd, to, count, 0);
}

/* A reader between records keeps no memory while the connection rests. */
static void rest(struct dial *dial)
{
    if (!record_reader_has_ahead(&dial->reader) && record_reader_held(&dial->reader) == 0 &&
        dial->reader.header_have == 0) {
        record_reader_fini(&dial->reader);
        record_reader_init(&dial->reader, REPLY_MAX, NULL, NULL);
    }
}

/* Whether this record is the answer that is waited for. */
static enum dial_progress judge(struct dial *dial, const struct record *record, struct failure *why)
{
    struct message_kind kind;
    if (message_peek(record->bytes, record->size, &kind) && !kind.is_call) {
        if (dial->calling && kind.xid == dial->xid)
            return DIAL_ANSWERED;
        if (++dial->strays <= STRAYS_MAX)
            return DIAL_PENDING;
    }
    failure_set(why, OUTCOME_PROTOCOL, "the peer sent what answers nothing");
    return DIAL_BROKEN;
}

static enum dial_progress receive(struct dial *dial, struct record **reply, struct failure *why)
{
    const struct record_source source = {.read = read_socket, .context = dial};
    for (;;) {
        struct record *record = NULL;
        enum outcome outcome = record_reader_next(&dial->reader, &source, &record, why);
        if (outcome == OUTCOME_UNAVAILABLE)
            return DIAL_PENDING;
        if (outcome == OUTCOME_ABSENT)
            failure_set(why, OUTCOME_UNREACHABLE, "the peer hung up");
        if (outcome != OUTCOME_OK)
            return DIAL_BROKEN;
        enum dial_progress progress = judge(dial, record, why);
        if (progress == DIAL_ANSWERED) {
            dial->calling = false;
            trust(dial);
            *reply = record;
            rest(dial);
            return progress;
        }
        record_free(record);
        if (progress == DIAL_BROKEN)
            return progress;
    }
}

/* The connect has come to its end, one way or the other. */
static enum dial_progress finish_connect(struct dial *dial, struct failure *why)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(dial->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error != 0) {
        failure_system(why, OUTCOME_UNREACHABLE, error, "can't connect");
        return DIAL_BROKEN;
    }
    dial->connected = true;
    return watch(dial, EPOLL_CTL_MOD, false, why) == OUTCOME_OK ? DIAL_CONNECTED : DIAL_BROKEN;
}

enum dial_progress dial_step(struct dial *dial, uint32_t events, struct record **reply, struct failure *why)
{
    if (!dial->connected)
        return events & (EPOLLOUT | EPOLLERR | EPOLLHUP) ? finish_connect(dial, why) : DIAL_PENDING;
    if (events & EPOLLOUT && flush(dial, why) != OUTCOME_OK)
        return DIAL_BROKEN;
    return receive(dial, reply, why);
}

void dial_close(struct dial *dial)
{
    dial->owner = NULL;
    if (dial->fd >= 0)
        close(dial->fd);
    dial->fd = -1;
    dial->out = record_free(dial->out);
    record_reader_fini(&dial->reader);
}

void *dial_free(struct dial *dial)
{
    if (dial) {
        dial_close(dial);
        free(dial);
    }
    return NULL;
}
