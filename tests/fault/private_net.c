#include "fault/private_net.h"

#include "client/daemon.h"
#include "rpc/rpcbind.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ANSWERS_WITHIN_MS = 10000, ASK_MS = 2000 };

bool private_net_link(struct private_net *net, bool up)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool well = net->made && fd >= 0 && ioctl(fd, SIOCGIFFLAGS, &request) == 0;
    if (well) {
        request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
        well = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    }
    if (fd >= 0)
        close(fd);
    return well;
}

void private_net_begin(struct private_net *net)
{
    *net = (struct private_net){0};
    if (geteuid() != 0 || unshare(CLONE_NEWNET | CLONE_NEWNS) != 0)
        return;
    net->made = true;
    if (mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", "/run", "tmpfs", 0, NULL) != 0 || !private_net_link(net, true)) {
        perror("a network of the test's own");
        abort();
    }
    private_net_start_rpcbind(net);
}

void private_net_end(struct private_net *net)
{
    if (net->rpcbind != 0)
        private_net_kill_rpcbind(net);
}

void private_net_kill_rpcbind(struct private_net *net)
{
    kill(net->rpcbind, SIGKILL);
    waitpid(net->rpcbind, NULL, 0);
    net->rpcbind = 0;
}

/*
 * rpcbind changes its uid, and by that forgets that it was to die with its parent. So it has a keeper that
 * does not, the first process of a namespace: with that ends everything in it.
 */
static void keep_rpcbind(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    int nothing = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(nothing, fd);
    close_range(3, ~0U, 0);
    if (syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) == 0) {
        execlp("rpcbind", "rpcbind", "-w", "-f", (char *)NULL);
        _exit(127);
    }
    waitpid(-1, NULL, 0);
    _exit(0);
}

static enum outcome ask(uint32_t program, uint16_t *port)
{
    struct address here, found;
    struct failure why = {0};
    enum outcome outcome = address_ip("127.0.0.1", 1, &here, &why);
    if (outcome == OUTCOME_OK)
        outcome = rpcbind_find(&here, program, 1, ASK_MS, 0, &found, &why);
    if (outcome == OUTCOME_OK)
        *port = address_port(&found);
    return outcome;
}

void private_net_start_rpcbind(struct private_net *net)
{
    enum { RPCBIND_PROGRAM = 100000 };
    uint16_t port = 0;
    if (!net->made)
        return;
    net->rpcbind = (pid_t)syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, NULL, NULL, NULL, NULL);
    if (net->rpcbind == 0)
        keep_rpcbind();
    int64_t until = milliseconds() + (int64_t)ANSWERS_WITHIN_MS * slowness();
    while (ask(RPCBIND_PROGRAM, &port) != OUTCOME_OK && milliseconds() < until)
        usleep(10000);
}

bool private_net_tells(const struct private_net *net, uint32_t program, uint16_t port)
{
    uint16_t told = 0;
    return net->made && ask(program, &told) == OUTCOME_OK && told == port;
}
