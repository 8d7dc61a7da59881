#include "rpc/client_inside.h"

#include "base/scoped.h"
#include "rpc/distance.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

/*
 * One thread waits for several connections: polls all of them at once, then gives
 * each on which something happened its turn (client_turn), as its leader.
 */

bool rpc_client_is_made(struct rpc_client *client)
{
    scoped_lock(&client->mutex);
    struct pollfd polled = {.fd = client->fd, .events = POLLOUT};
    if (client->broken || !client->connecting)
        return !client->broken;
    if (poll(&polled, 1, 0) <= 0)
        return false;
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0 ||
        (polled.revents & (POLLERR | POLLHUP))) {
        struct failure why;
        failure_system(&why, OUTCOME_UNREACHABLE, error != 0 ? error : ECONNREFUSED, "cannot connect");
        client_break(client, &why);
        return false;
    }
    client->connecting = false;
    return true;
}

enum outcome rpc_client_post(struct rpc_client *client, uint32_t procedure, xdrproc_t encode,
                             const void *arguments, struct bulk_source *source, struct rpc_pending **out,
                             struct failure *why)
{
    return client_start(client, procedure, client->auth, encode, arguments, source, false, out, why);
}

bool rpc_client_has_unsent(struct rpc_client *client)
{
    scoped_lock(&client->mutex);
    return !list_is_empty(&client->outgoing);
}

/* What to poll it for; 0: nothing. *at_once: something is there already. */
static short interest_of(struct rpc_client *client, bool *at_once)
{
    scoped_lock(&client->mutex);
    if (client->broken || client->led)
        return 0;
    if (client->connecting)
        return POLLOUT;
    client_flush(client);
    *at_once |= record_reader_has_ahead(&client->reader);
    return (short)(POLLIN | (list_is_empty(&client->outgoing) ? 0 : POLLOUT));
}

void rpc_clients_hear(struct rpc_client *const *clients, size_t count, unsigned limit_ms)
{
    struct pollfd polled[RPC_CLIENTS_MAX + 1];
    bool at_once = false;

    if (count > RPC_CLIENTS_MAX)
        count = RPC_CLIENTS_MAX;
    for (size_t i = 0; i < count; i++) {
        polled[i] = (struct pollfd){.fd = clients[i]->fd, .events = interest_of(clients[i], &at_once)};
        if (polled[i].events == 0)
            polled[i].fd = -1;
    }
    polled[count] = (struct pollfd){.fd = -1, .events = POLLIN};
    for (size_t i = 0; i < count; i++)
        if (clients[i]->options.stop_fd > 0)
            polled[count].fd = clients[i]->options.stop_fd;
    if (poll(polled, (nfds_t)count + 1, at_once ? 0 : (int)limit_ms) < 0 && !at_once)
        return;
    for (size_t i = 0; i < count; i++)
        if (polled[i].fd >= 0 && (polled[i].revents || at_once || polled[count].revents))
            client_turn(clients[i]);
}

bool rpc_pending_is_answered(struct rpc_client *client, const struct rpc_pending *pending)
{
    scoped_lock(&client->mutex);
    return pending->answered;
}

bool rpc_pending_is_late(const struct rpc_pending *pending)
{
    return client_now() >= pending->deadline;
}

bool rpc_client_moved(const struct rpc_client *client, struct distance_moved *out)
{
    return distance_moved(client->fd, out);
}

bool rpc_client_is_silent(const struct rpc_client *client, unsigned milliseconds)
{
    return distance_is_silent(client->fd, milliseconds);
}
