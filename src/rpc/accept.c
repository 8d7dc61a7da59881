#include "base/scoped.h"
#include "rpc/engine.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    ACCEPTED_AT_ONCE = 64,
    BACKLOG = 1024,
    KEEPALIVE_IDLE_S = 60, /* then every ... */
    KEEPALIVE_EVERY_S = 15,
    KEEPALIVE_COUNT = 4
};

static void set(int fd, int level, int option, int value)
{
    /* What a kind of socket does not know it does not need. */
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

/* Whether a living server answers on this Unix socket. */
static bool is_living(const struct address *address)
{
    scoped_fd int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd >= 0 && (connect(fd, &address->any, address->size) == 0 || errno == EAGAIN);
}

/* Takes a dead server's socket away. */
static enum outcome clear_local(const struct address *address, struct failure *why)
{
    const char *path = address->local.sun_path;
    struct stat found;

    if (lstat(path, &found) != 0)
        return OUTCOME_OK;
    if (!S_ISSOCK(found.st_mode))
        return failure_set(why, OUTCOME_LOCAL, "%s is there already and is no socket", path);
    if (is_living(address))
        return failure_set(why, OUTCOME_HELD, "another server listens on %s", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot remove the dead socket %s", path);
    return OUTCOME_OK;
}

static enum outcome open_socket(int fd, const struct address *address, struct failure *why)
{
    char text[ADDRESS_TEXT_SIZE];

    set(fd, SOL_SOCKET, SO_REUSEADDR, !address_is_local(address));
    if (address->any.sa_family == AF_INET6)
        set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bind(fd, &address->any, address->size) != 0)
        return failure_system(why, errno == EADDRINUSE ? OUTCOME_HELD : OUTCOME_LOCAL, errno,
                              "cannot listen on %s", address_text(address, text));
    /* Who may do what goes by the peer's uid. */
    if (address_is_local(address) && chmod(address->local.sun_path, 0666) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot open %s to all users",
                              address->local.sun_path);
    if (listen(fd, BACKLOG) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot listen on %s", address_text(address, text));
    return OUTCOME_OK;
}

enum outcome listener_open(struct listener *listener, const struct address *address, struct failure *why)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    struct stat made;
    enum outcome outcome;

    if (address_is_local(address) && (outcome = clear_local(address, why)) != OUTCOME_OK)
        return outcome;
    scoped_fd int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot make a socket to listen on");
    if ((outcome = open_socket(fd, address, why)) != OUTCOME_OK)
        return outcome;
    if (getsockname(fd, (struct sockaddr *)&bound, &size) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot tell where we listen");

    *listener = (struct listener){.fd = take_fd(&fd), .bound = *address};
    pthread_mutex_init(&listener->mutex, NULL);
    if (!address_is_local(address))
        listener->bound = address_of((const struct sockaddr *)&bound, size);
    else if (lstat(address->local.sun_path, &made) == 0) {
        listener->device = made.st_dev;
        listener->inode = made.st_ino;
    }
    return OUTCOME_OK;
}

void listener_close(struct listener *listener)
{
    struct stat found;
    const char *path = listener->bound.local.sun_path;

    scoped_lock(&listener->mutex);
    if (listener->fd < 0)
        return;
    close(listener->fd);
    listener->fd = -1;
    /* Another server may have put its own there meanwhile. */
    if (address_is_local(&listener->bound) && lstat(path, &found) == 0 && found.st_dev == listener->device &&
        found.st_ino == listener->inode)
        unlink(path);
}

static void arm(struct rpc_server *server, struct listener *listener)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT,
                                .data.u64 = EVENT_LISTENER + (uint64_t)(listener - server->listeners)};

    if (listener->fd >= 0)
        epoll_ctl(server->epoll, EPOLL_CTL_MOD, listener->fd, &event);
}

/* A peer that may come in, if its origin has not enough already; takes the socket. */
static void welcome(struct rpc_server *server, int fd, const struct address *peer)
{
    set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EVERY_S);
    set(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);

    struct connection *connection = connection_new(server, fd, peer);
    if (!connection)
        return;
    if (roster_add(&server->roster, connection) != OUTCOME_OK) {
        atomic_fetch_add(&server->refused, 1);
    } else {
        atomic_fetch_add(&server->accepted, 1);
        if (!connection_watch(connection))
            connection_close(connection);
    }
    connection_unref(connection);
}

/* No descriptor, or no memory for one: those who are inside are served meanwhile. */
static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

/* False: there is nothing to take now; *shortage tells why. */
static bool accept_one(struct rpc_server *server, const struct listener *listener, bool *shortage)
{
    struct sockaddr_storage storage = {.ss_family = listener->bound.any.sa_family};
    socklen_t size = sizeof storage;

    if (roster_is_full(&server->roster))
        return *shortage = true, false;
    int fd = accept4(listener->fd, (struct sockaddr *)&storage, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        *shortage = is_shortage(errno);
        /* A peer that is gone already (ECONNABORTED and the like) is no reason to stop. */
        return !*shortage && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINVAL && errno != EBADF;
    }
    struct address peer = address_of((const struct sockaddr *)&storage, size);
    if (server->options.admits && !server->options.admits(server->options.context, &peer)) {
        atomic_fetch_add(&server->refused, 1);
        close(fd);
    } else {
        welcome(server, fd, &peer);
    }
    return true;
}

void listener_accept(struct rpc_server *server, struct listener *listener)
{
    bool shortage = false;

    scoped_lock(&listener->mutex);
    for (int i = 0; listener->fd >= 0 && i < ACCEPTED_AT_ONCE && accept_one(server, listener, &shortage); i++)
        continue;
    if (!shortage) {
        arm(server, listener);
    } else {
        atomic_fetch_add(&server->accept_pauses, 1);
        atomic_store(&listener->paused, true);
    }
}

void listeners_resume(struct rpc_server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        struct listener *listener = &server->listeners[i];
        if (!atomic_load(&listener->paused))
            continue;
        scoped_lock(&listener->mutex);
        if (atomic_exchange(&listener->paused, false))
            arm(server, listener);
    }
}
