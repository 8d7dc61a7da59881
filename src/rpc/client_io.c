#include "rpc/client_inside.h"

#include "base/scoped.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>

enum { PARTS_MAX = 16 };

int64_t client_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- those who sleep ---- */

void client_set(struct rpc_client *client, bool *flag)
{
    *flag = true;
    list_each(at, &client->waiters) {
        struct client_waiter *waiter = list_entry(at, struct client_waiter, link);
        if (waiter->flag == flag)
            pthread_cond_signal(&waiter->wake);
    }
}

void client_break(struct rpc_client *client, const struct failure *why)
{
    if (client->broken)
        return;
    client->broken = true;
    failure_set(&client->broken_why, OUTCOME_UNREACHABLE, "%s: %s", client->peer_text, why->text);
    shutdown(client->fd, SHUT_RDWR); /* whoever polls wakes */
    list_each(at, &client->waiters)
        pthread_cond_signal(&list_entry(at, struct client_waiter, link)->wake);
}

static void sleep_until(struct rpc_client *client, const bool *flag, int64_t deadline)
{
    struct client_waiter waiter = {.flag = flag, .wake = PTHREAD_COND_INITIALIZER};
    struct timespec until = {.tv_sec = deadline / 1000000000, .tv_nsec = deadline % 1000000000};

    list_append(&client->waiters, &waiter.link);
    pthread_cond_clockwait(&waiter.wake, &client->mutex, CLOCK_MONOTONIC, &until);
    list_remove(&waiter.link);
    pthread_cond_destroy(&waiter.wake);
}

/* The lead is free: somebody who sleeps takes it. */
static void hand_over(struct rpc_client *client)
{
    struct client_waiter *first = list_first(&client->waiters, struct client_waiter, link);

    if (!client->led && first)
        pthread_cond_signal(&first->wake);
}

static void wake_leader(struct rpc_client *client)
{
    uint64_t one = 1;

    /* It fails only if the counter is full: then the leader is woken as it is. */
    if (client->led && write(client->wake_fd, &one, sizeof(one)) < 0)
        return;
}

/* ---- writing ---- */

static int gather(struct rpc_client *client, struct iovec *parts)
{
    int count = 0;

    list_each(at, &client->outgoing) {
        struct client_outgoing *outgoing = list_entry(at, struct client_outgoing, link);
        if (count == PARTS_MAX)
            break;
        outgoing->busy = true;
        parts[count].iov_base = outgoing->record->bytes + outgoing->written;
        parts[count++].iov_len = outgoing->record->size - outgoing->written;
    }
    return count;
}

static void drop_outgoing(struct client_outgoing *outgoing)
{
    list_remove(&outgoing->link);
    record_free(outgoing->record);
    free(outgoing);
}

/* So many bytes of the first `parts` records went out. */
static void account(struct rpc_client *client, int parts, size_t written)
{
    list_each(at, &client->outgoing) {
        struct client_outgoing *outgoing = list_entry(at, struct client_outgoing, link);
        if (parts-- == 0)
            break;
        size_t left = outgoing->record->size - outgoing->written;
        size_t part = written < left ? written : left;
        outgoing->busy = false;
        outgoing->written += part;
        written -= part;
        if (part < left)
            continue;
        if (outgoing->sent)
            client_set(client, outgoing->sent);
        drop_outgoing(outgoing);
    }
}

void client_flush(struct rpc_client *client)
{
    bool full = false;

    if (client->writing)
        return;
    client->writing = true;
    client->held = 0;
    while (!full && !client->broken && !list_is_empty(&client->outgoing)) {
        struct iovec parts[PARTS_MAX];
        int count = gather(client, parts);
        pthread_mutex_unlock(&client->mutex);
        ssize_t written = client->stream.kind->writev(&client->stream, parts, count);
        int error = errno;
        pthread_mutex_lock(&client->mutex);
        account(client, count, written > 0 ? (size_t)written : 0);
        if (written < 0 && (error == EAGAIN || error == EWOULDBLOCK)) {
            full = true;
        } else if (written < 0 && error != EINTR) {
            struct failure why;
            failure_system(&why, OUTCOME_UNREACHABLE, error, "the connection broke");
            client_break(client, &why);
        }
    }
    client->writing = false;
    if (full)
        wake_leader(client);
}

struct client_outgoing *client_enqueue(struct rpc_client *client, struct record *record, bool *sent)
{
    struct client_outgoing *outgoing = malloc(sizeof(*outgoing));

    if (!outgoing) {
        record_free(record);
        return NULL;
    }
    *outgoing = (struct client_outgoing){.record = record, .sent = sent};
    list_append(&client->outgoing, &outgoing->link);
    return outgoing;
}

void client_forget(struct client_outgoing *outgoing)
{
    outgoing->sent = NULL;
    if (!outgoing->busy && outgoing->written == 0)
        drop_outgoing(outgoing);
}

void client_drop_outgoing(struct rpc_client *client)
{
    list_each(at, &client->outgoing)
        drop_outgoing(list_entry(at, struct client_outgoing, link));
}

/* ---- reading ---- */

/* record_reader's source: what the leader reads from, until it has what it waits for. */
struct reading {
    struct stream *stream;
    bool over;
};

static ssize_t read_stream(void *context, void *to, size_t count)
{
    const struct reading *reading = context;

    if (reading->over) {
        errno = EAGAIN;
        return -1;
    }
    return reading->stream->kind->read(reading->stream, to, count);
}

/* A record came: to whom it belongs. Takes it. */
static enum outcome deliver(struct rpc_client *client, struct record *record, struct failure *why)
{
    struct message_kind kind;

    if (!message_peek(record->bytes, record->size, &kind)) {
        record_free(record);
        return failure_set(why, OUTCOME_PROTOCOL, "the peer sent a record that is no message");
    }
    if (!kind.is_call) {
        scoped_lock(&client->mutex);
        client_take_reply(client, kind.xid, record);
        return OUTCOME_OK;
    }
    if (client->reversed)
        return client_reversed_take(client->reversed, record, why);
    record_free(record); /* nobody invited it */
    return OUTCOME_OK;
}

static bool is_over(struct rpc_client *client, const bool *flag)
{
    scoped_lock(&client->mutex);
    return *flag || client->broken;
}

/*
 * Reads and delivers what is there. Once the flag is set nothing more is read,
 * but what was read already is taken apart: others may wait for it, or the same
 * thread will.
 */
static void read_on(struct rpc_client *client, const bool *flag)
{
    struct reading reading = {.stream = &client->stream};
    const struct record_source source = {read_stream, &reading};
    enum outcome outcome = OUTCOME_OK;
    struct failure why;

    while (outcome == OUTCOME_OK) {
        struct record *record = NULL;
        outcome = record_reader_next(&client->reader, &source, &record, &why);
        if (outcome == OUTCOME_OK)
            outcome = deliver(client, record, &why);
        if (outcome == OUTCOME_OK && !reading.over)
            reading.over = is_over(client, flag);
    }
    if (outcome == OUTCOME_UNAVAILABLE)
        return;
    if (outcome == OUTCOME_ABSENT)
        failure_set(&why, OUTCOME_UNREACHABLE, "the peer closed the connection");
    scoped_lock(&client->mutex);
    client_break(client, &why);
}

static int poll_ms(int64_t deadline)
{
    int64_t left = deadline - client_now();

    if (left <= 0)
        return 0;
    return left / 1000000 >= INT_MAX ? INT_MAX : (int)(left / 1000000) + 1;
}

/* Whoever gave the client a stop_fd wants it to end. */
static void break_for_stop(struct rpc_client *client)
{
    struct failure why;

    failure_set(&why, OUTCOME_UNREACHABLE, "stopped");
    client_break(client, &why);
}

/* Held, let go meanwhile; `led` is ours. Waits for the socket once, then moves what can be moved. */
static void lead_once(struct rpc_client *client, const bool *flag, int64_t deadline)
{
    bool unsent = !list_is_empty(&client->outgoing) && !client->writing;
    struct pollfd polled[] = {
        {.fd = client->fd, .events = (short)(POLLIN | (unsent ? POLLOUT : 0))},
        {.fd = client->wake_fd, .events = POLLIN},
        {.fd = client->options.stop_fd > 0 ? client->options.stop_fd : -1, .events = POLLIN},
    };
    uint64_t count;

    pthread_mutex_unlock(&client->mutex);
    /* What an earlier leader read, but did not take apart, comes first. */
    if (record_reader_has_ahead(&client->reader))
        polled[0].revents = POLLIN;
    else if (poll(polled, 3, poll_ms(deadline)) <= 0)
        polled[0].revents = polled[1].revents = polled[2].revents = 0;
    if (polled[1].revents && read(client->wake_fd, &count, sizeof(count)) < 0)
        count = 0; /* somebody emptied it: only its waking counts */
    if (polled[0].revents & ~POLLOUT)
        read_on(client, flag);
    pthread_mutex_lock(&client->mutex);
    if (polled[0].revents & POLLOUT)
        client_flush(client);
    if (polled[2].revents)
        break_for_stop(client);
}

enum outcome client_wait(struct rpc_client *client, const bool *flag, int64_t deadline, struct failure *why)
{
    bool late = false;

    if (!*flag && client->held > 0)
        client_flush(client);
    while (!*flag && !client->broken && !late) {
        if (client->led) {
            sleep_until(client, flag, deadline);
        } else {
            client->led = true;
            lead_once(client, flag, deadline);
            client->led = false;
        }
        late = !*flag && client_now() >= deadline;
    }
    hand_over(client);
    if (*flag)
        return OUTCOME_OK;
    if (client->broken) {
        if (why)
            *why = client->broken_why;
        return OUTCOME_UNREACHABLE;
    }
    return OUTCOME_TIMEOUT;
}

void client_turn(struct rpc_client *client)
{
    const bool never = false;

    scoped_lock(&client->mutex);
    if (client->led || client->broken)
        return;
    client->led = true;
    lead_once(client, &never, 0);
    client->led = false;
    hand_over(client);
}

void client_lead_on(struct rpc_client *client)
{
    scoped_lock(&client->mutex);
    while (!client->broken)
        lead_once(client, &client->broken, INT64_MAX);
}
