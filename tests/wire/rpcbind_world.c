#include "wire/rpcbind_world.h"

#include "rpc/rpcbind_talk.h"
#include "wire/peer.h"

#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static pid_t rpcbind_pid;

static bool loopback_up(void)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags |= IFF_UP;
        ioctl(fd, SIOCSIFFLAGS, &request);
    }
    return close(fd) == 0 && request.ifr_flags & IFF_UP;
}

static bool make_world(void)
{
    return unshare(CLONE_NEWNET | CLONE_NEWNS) == 0 &&
           mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("tmpfs", "/run", "tmpfs", 0, NULL) == 0 && loopback_up();
}

void rpcbind_world_need(void)
{
    static int made = -1;

    if (made < 0)
        made = geteuid() == 0 && make_world();
    if (!made)
        skip();
}

pid_t rpcbind_world_pid(void)
{
    return rpcbind_pid;
}

static bool rpcbind_answers(void)
{
    struct rpcbind_talk *talk = NULL;
    rpcblist_ptr entries = NULL;
    enum outcome outcome = rpcbind_talk_here(1000, 0, &talk, NULL);

    if (outcome == OUTCOME_OK)
        outcome = rpcbind_talk_dump(talk, &entries, NULL);
    rpcbind_entries_free(&entries);
    rpcbind_talk_end(talk);
    return outcome == OUTCOME_OK;
}

void rpcbind_world_start(void)
{
    rpcbind_pid = fork();
    if (rpcbind_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execlp("rpcbind", "rpcbind", "-w", "-f", (char *)NULL);
        _exit(127);
    }
    int64_t until = now_ms() + 10000 * slowness();
    while (!rpcbind_answers()) {
        assert_true(now_ms() < until);
        usleep(10000);
    }
}

void rpcbind_world_kill(void)
{
    kill(rpcbind_pid, SIGKILL);
    waitpid(rpcbind_pid, NULL, 0);
}

int rpcbind_world_begin(void **state)
{
    (void)state;
    rpcbind_world_need();
    rpcbind_world_start();
    return 0;
}

int rpcbind_world_end(void **state)
{
    (void)state;
    rpcbind_world_kill();
    return 0;
}
