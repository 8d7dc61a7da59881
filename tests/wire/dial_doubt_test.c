/*
 * A peer that was called and does not answer: whether its machine is asked if it is
 * still there, how often, and that it ends with the answer. What happens when it is
 * not there is system/partition_moves'.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "callback/sender_dial.h"
#include "proto/fileshare.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { UNANSWERED_MS = 7000, PATIENCE_MS = 10000 };

struct line {
    int listening, peer, epoll;
    struct dial *dial;
};

static enum dial_progress await(struct line *line, struct record **reply)
{
    struct epoll_event event;
    struct failure why;
    assert_int_equal(epoll_wait(line->epoll, &event, 1, PATIENCE_MS), 1);
    assert_ptr_equal(event.data.ptr, line->dial);
    return dial_step(line->dial, event.events, reply, &why);
}

static int setup(void **state)
{
    struct line *line = calloc(1, sizeof *line);
    struct failure why;
    struct address any, at;
    line->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    line->epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(address_ip("127.0.0.1", 0, &any, &why), OUTCOME_OK);
    assert_int_equal(bind(line->listening, &any.any, any.size), 0);
    assert_int_equal(listen(line->listening, 1), 0);
    at = any;
    assert_int_equal(getsockname(line->listening, &at.any, &at.size), 0);
    const struct dial_target target = {.to = &at, .from = &any, .unanswered_ms = UNANSWERED_MS};
    assert_int_equal(dial_open(line->epoll, &target, line, &line->dial, &why), OUTCOME_OK);
    line->peer = accept4(line->listening, NULL, NULL, SOCK_CLOEXEC);
    assert_int_equal(await(line, NULL), DIAL_CONNECTED);
    *state = line;
    return 0;
}

static int teardown(void **state)
{
    struct line *line = *state;
    dial_free(line->dial);
    close(line->peer);
    close(line->listening);
    close(line->epoll);
    free(line);
    return 0;
}

static int option(const struct line *line, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    assert_int_equal(getsockopt(line->dial->fd, IPPROTO_TCP, name, &value, &size), 0);
    return value;
}

static int queued(const struct line *line)
{
    int bytes = -1;
    assert_int_equal(ioctl(line->dial->fd, SIOCOUTQ, &bytes), 0);
    return bytes;
}

static struct {
    u_int size;
    char bytes[1 << 20];
} opaque;

static bool_t xdr_opaque_bytes(XDR *xdrs, ...)
{
    char *bytes = opaque.bytes;
    return xdr_bytes(xdrs, &bytes, &opaque.size, sizeof opaque.bytes);
}

static void call(struct line *line, u_int size)
{
    const struct message_target target = {FILESHARE_CALLBACK_PROG, FILESHARE_CALLBACK_V1, FSCBPROC_NOTIFY};
    struct failure why;
    opaque.size = size;
    assert_int_equal(dial_call(line->dial, &target, xdr_opaque_bytes, NULL, size + 8, &why), OUTCOME_OK);
}

static void answer(struct line *line)
{
    const uint32_t words[] = {htonl(0x80000000U | 24), htonl(line->dial->xid), htonl(1), 0, 0, 0, 0};
    struct record *reply = NULL;
    assert_int_equal(send(line->peer, words, sizeof words, MSG_NOSIGNAL), sizeof words);
    assert_int_equal(await(line, &reply), DIAL_ANSWERED);
    record_free(reply);
}

static void expect(const struct line *line, int idle, int interval, int count, int unanswered)
{
    assert_int_equal(option(line, TCP_KEEPIDLE), idle);
    assert_int_equal(option(line, TCP_KEEPINTVL), interval);
    assert_int_equal(option(line, TCP_KEEPCNT), count);
    assert_int_equal(option(line, TCP_USER_TIMEOUT), unanswered);
}

static void it_is_asked_until_it_answers(void **state)
{
    struct line *line = *state;
    static const struct {
        unsigned answer_ms;
        int interval, count;
    } cases[] = {{300, 1, 1}, {5000, 1, 5}, {9999, 2, 5}, {30000, 6, 5}, {3600000, 720, 5}};
    const int idle = option(line, TCP_KEEPIDLE), interval = option(line, TCP_KEEPINTVL),
              count = option(line, TCP_KEEPCNT);
    assert_true(idle >= 10);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        call(line, 100);
        while (queued(line) > 0)
            poll(NULL, 0, 1);
        dial_doubt(line->dial, cases[i].answer_ms);
        expect(line, 1, cases[i].interval, cases[i].count, 0);
        dial_doubt(line->dial, 20000); /* once more changes nothing: it would ask too often */
        expect(line, 1, cases[i].interval, cases[i].count, 0);
        answer(line);
        expect(line, idle, interval, count, UNANSWERED_MS);
    }
}

/* Bytes that it does not take ask it by themselves, and TCP counts for how long. */
static void not_while_bytes_wait(void **state)
{
    struct line *line = *state;
    int small = 4096;
    assert_int_equal(setsockopt(line->peer, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    const int idle = option(line, TCP_KEEPIDLE), interval = option(line, TCP_KEEPINTVL),
              count = option(line, TCP_KEEPCNT);
    call(line, sizeof opaque.bytes);
    assert_true(queued(line) > 0);
    dial_doubt(line->dial, 1000);
    expect(line, idle, interval, count, UNANSWERED_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_asked_until_it_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(not_while_bytes_wait, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
