#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "wire/callback_peer.h"

#include "rpc/message.h"

#include "proto/fileshare.h"
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 8, CALL_RECORD_MAX = 512 * 1024 };

static bool read_whole(int fd, void *to, size_t count)
{
    for (size_t have = 0; have < count;) {
        ssize_t got = recv(fd, (char *)to + have, count - have, 0);
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return true;
}

static void send_record(int fd, struct record *record)
{
    for (size_t sent = 0; sent < record->size;) {
        ssize_t count = send(fd, record->bytes + sent, record->size - sent, MSG_NOSIGNAL);
        if (count <= 0)
            break;
        sent += (size_t)count;
    }
    record_free(record);
}

static struct rpc_msg accepted(uint32_t xid)
{
    struct rpc_msg reply = {.rm_xid = xid, .rm_direction = REPLY};
    reply.rm_reply.rp_stat = MSG_ACCEPTED;
    reply.acpted_rply.ar_stat = SUCCESS;
    return reply;
}

static void answer(int fd, uint32_t xid, xdrproc_t encode, void *results)
{
    struct record *record = record_new(1024);
    struct rpc_msg reply = accepted(xid);
    XDR xdrs;
    assert_int_equal(message_begin_reply(record, &xdrs, &reply, NULL), OUTCOME_OK);
    assert_true(encode(&xdrs, results));
    message_end(record, &xdrs);
    send_record(fd, record);
}

static void refuse(int fd, uint32_t xid)
{
    struct record *record = record_new(1024);
    struct rpc_msg reply = {.rm_xid = xid, .rm_direction = REPLY};
    reply.rm_reply.rp_stat = MSG_DENIED;
    reply.rjcted_rply.rj_stat = AUTH_ERROR;
    reply.rjcted_rply.rj_why = AUTH_BADCRED;
    XDR xdrs;
    assert_int_equal(message_begin_reply(record, &xdrs, &reply, NULL), OUTCOME_OK);
    message_end(record, &xdrs);
    send_record(fd, record);
}

static void call_back(int fd, uint32_t xid)
{
    struct record *record = record_new(1024);
    const struct message_target target = {FILESHARE_CALLBACK_PROG, 1, 0};
    XDR xdrs;
    assert_int_equal(message_begin_call(record, &xdrs, xid, &target, NULL, NULL), OUTCOME_OK);
    message_end(record, &xdrs);
    send_record(fd, record);
}

static void hello(struct callback_peer *peer, int fd, uint32_t xid, bool lie)
{
    fs_callback_hello result;
    memcpy(result.proof.octets, peer->proof.octets, ID_SIZE);
    if (lie)
        result.proof.octets[ID_SIZE - 1] ^= 1;
    answer(fd, xid, (xdrproc_t)xdr_fs_callback_hello, &result);
}

static void notify(struct callback_peer *peer, int fd, struct record *record, const struct message_call *call,
                   enum callback_manner manner)
{
    fs_notify_args args = {.rows = {0, NULL}};
    XDR xdrs;
    xdrmem_create(&xdrs, (char *)record->bytes + call->arguments_at,
                  (u_int)(record->size - call->arguments_at), XDR_DECODE);
    assert_true(xdr_fs_notify_args(&xdrs, &args));
    uint64_t last = 0;
    unsigned count = atomic_load(&peer->event_count);
    for (u_int i = 0; i < args.rows.rows_len; i++) {
        last = args.rows.rows_val[i].number;
        if (count < PEER_EVENTS_MAX)
            peer->events[count++] = last;
    }
    atomic_store(&peer->event_count, count);
    xdr_free((xdrproc_t)xdr_fs_notify_args, (char *)&args);
    fs_notify result = {.acknowledged = manner == PEER_LIES                ? last + 1
                                        : manner == PEER_ACKNOWLEDGES_NONE ? 0
                                                                           : last};
    answer(fd, call->xid, (xdrproc_t)xdr_fs_notify, &result);
}

/* False: hang up. */
static bool serve(struct callback_peer *peer, int fd, struct record *record)
{
    struct message_call call;
    assert_int_equal(message_parse_call(record->bytes, record->size, &call, NULL), OUTCOME_OK);
    if (memmem(record->bytes, record->size, peer->ticket.octets, ID_SIZE))
        atomic_store(&peer->ticket_seen, true);
    bool is_hello = call.procedure == FSCBPROC_HELLO;
    atomic_fetch_add(is_hello ? &peer->hellos : &peer->notifies, 1);
    enum callback_manner manner = atomic_load(is_hello ? &peer->on_hello : &peer->on_notify);
    if (call.program != peer->program)
        manner = PEER_REFUSES;
    switch (manner) {
    case PEER_HANGS: return true;
    case PEER_HANGS_UP: return false;
    case PEER_REFUSES: refuse(fd, call.xid); return true;
    case PEER_CALLS_BACK: call_back(fd, call.xid); return true;
    default: break;
    }
    if (is_hello)
        hello(peer, fd, call.xid, manner == PEER_LIES);
    else
        notify(peer, fd, record, &call, manner);
    return true;
}

/* One record, which our sender sends as one fragment. */
static bool serve_next(struct callback_peer *peer, int fd)
{
    uint32_t mark;
    if (!read_whole(fd, &mark, sizeof mark))
        return false;
    size_t size = ntohl(mark) & ~(uint32_t)RECORD_LAST_FRAGMENT;
    struct record *record = size <= CALL_RECORD_MAX ? record_new(size) : NULL;
    if (!record)
        return false;
    record->size = size;
    bool stays = read_whole(fd, record->bytes, size) && serve(peer, fd, record);
    record_free(record);
    return stays;
}

static void accept_one(struct callback_peer *peer, struct pollfd *connections, nfds_t *count)
{
    struct address from = {.size = sizeof from.storage};
    int fd = accept4(peer->listening, &from.any, &from.size, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (*count == CONNECTIONS_MAX + 2) {
        close(fd);
        return;
    }
    peer->last_from = from;
    atomic_fetch_add(&peer->connections, 1);
    connections[(*count)++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void *run(void *context)
{
    struct callback_peer *peer = context;
    struct pollfd sources[CONNECTIONS_MAX + 2] = {{.fd = peer->wake, .events = POLLIN},
                                                  {.fd = peer->listening, .events = POLLIN}};
    nfds_t count = 2;
    while (poll(sources, count, -1) >= 0 && !(sources[0].revents & POLLIN)) {
        for (nfds_t i = count; i-- > 2;) {
            if (sources[i].revents == 0 || serve_next(peer, sources[i].fd))
                continue;
            close(sources[i].fd);
            sources[i] = sources[--count];
        }
        if (sources[1].revents & POLLIN)
            accept_one(peer, sources, &count);
    }
    while (count > 2)
        close(sources[--count].fd);
    return NULL;
}

struct callback_peer *callback_peer_new(uint16_t port)
{
    struct callback_peer *peer = calloc(1, sizeof *peer);
    assert_non_null(peer);
    peer->program = FS_TRANSIENT_MIN + 77;
    peer->proof = id_random();
    peer->ticket = id_random();
    struct address address;
    assert_int_equal(address_ip("127.0.0.1", port, &address, NULL), OUTCOME_OK);
    peer->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    setsockopt(peer->listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    assert_int_equal(bind(peer->listening, &address.any, address.size), 0);
    assert_int_equal(listen(peer->listening, 64), 0);
    address.size = sizeof address.storage;
    assert_int_equal(getsockname(peer->listening, &address.any, &address.size), 0);
    peer->port = address_port(&address);
    peer->wake = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(pthread_create(&peer->thread, NULL, run, peer), 0);
    return peer;
}

void callback_peer_free(struct callback_peer *peer)
{
    eventfd_write(peer->wake, 1);
    pthread_join(peer->thread, NULL);
    close(peer->listening);
    close(peer->wake);
    free(peer);
}

struct address callback_peer_address(const struct callback_peer *peer)
{
    struct address address = {.size = 0};
    assert_int_equal(address_ip("127.0.0.1", peer->port, &address, NULL), OUTCOME_OK);
    return address;
}
