#include "server/store/local/pin.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <time.h>

enum { STEP_MS = 5 };

enum outcome pin_open(int folder_fd, int *out, struct failure *why)
{
    int fd = openat(folder_fd, "pin", O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "open the store's file pin");
    *out = fd;
    return OUTCOME_OK;
}

bool pin_hold(int folder_fd, int *out)
{
    *out = openat(folder_fd, "pin", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*out < 0)
        return false;
    /* A server that is stopped in mid-sweep must not stop us too. */
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000L};
    for (int waited = 0; waited < PIN_WAIT_MS; waited += STEP_MS) {
        if (flock(*out, LOCK_SH | LOCK_NB) == 0)
            return true;
        nanosleep(&step, NULL);
    }
    return false;
}

bool pin_try(int pin_fd)
{
    return flock(pin_fd, LOCK_EX | LOCK_NB) == 0;
}

void pin_pass(int pin_fd)
{
    flock(pin_fd, LOCK_UN);
}
