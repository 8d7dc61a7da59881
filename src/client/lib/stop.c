#include "client/lib/stop.h"

#include "base/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

enum outcome stop_init(struct stop *stop, struct failure *why)
{
    scoped_fd int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot make an eventfd");
    /* 0 means "none" to rpc_client_options.stop_fd. */
    int other = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (other < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot make an eventfd");
    stop->fd = other;
    atomic_init(&stop->asked, false);
    return OUTCOME_OK;
}

void stop_fini(struct stop *stop)
{
    if (stop->fd > 0)
        close(stop->fd);
    stop->fd = 0;
}

void stop_ask(struct stop *stop)
{
    int error = errno;
    uint64_t one = 1;
    atomic_store(&stop->asked, true);
    /* It fails only when the counter is full: then it is readable as it is. */
    ssize_t ignored = write(stop->fd, &one, sizeof one);
    (void)ignored;
    errno = error;
}

bool stop_is_asked(const struct stop *stop)
{
    return atomic_load(&stop->asked);
}

void stop_take(struct stop *stop)
{
    uint64_t count;
    ssize_t ignored = read(stop->fd, &count, sizeof count);
    (void)ignored;
    atomic_store(&stop->asked, false);
}

bool stop_wait(const struct stop *stop, uint32_t milliseconds)
{
    struct pollfd poll_one = {.fd = stop->fd, .events = POLLIN};
    if (!stop_is_asked(stop))
        poll(&poll_one, 1, milliseconds > INT32_MAX ? INT32_MAX : (int)milliseconds);
    return stop_is_asked(stop);
}

enum outcome stop_check(const struct stop *stop, struct failure *why)
{
    if (stop_is_asked(stop))
        return failure_set(why, OUTCOME_STOPPED, "stopped");
    return OUTCOME_OK;
}
