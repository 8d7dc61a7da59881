/*
 * Runs one command in a network of its own, at the far end of a link.
 *
 *     link [-d MS] [-r MBIT] [-l PERCENT] [-q KIB] [-s SEED] [-c CONTROL] -- COMMAND...
 *
 * The near end is the network namespace that this is started in, which has to
 * have the address 10.203.0.1 (on lo); COMMAND is 10.203.0.2, and its status is
 * ours. Packets go through two TUN devices and this process, each way: they wait for their
 * turn at so many Mbit/s, in a queue of so many KiB (default: what the link
 * carries in one round trip, at least 256) that drops what does not fit; one in
 * so many is lost at random; then they are on their way for half of the round
 * trip of so many ms. Which are lost the seed says: of each way the first, the second,
 * and so on, whatever goes the other way. The congestion control is CONTROL at both
 * ends (default: as it is), and no connection learns from an earlier one. Where it may,
 * it runs before all that is no link: one that waits for a core looks like a queue to
 * TCP, which then leaves its slow start too early.
 *
 * With LINK_TELL in the environment it tells in the end what it carried, how late it was
 * at most, and how many bytes were under way at once, on standard error.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/route.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MTU = 1500, SLOTS = 1 << 15, AT_ONCE = 64 };

static const char NEAR[] = "10.203.0.1", FAR[] = "10.203.0.2";

struct packet {
    int64_t due; /* when it arrives */
    size_t size;
    uint8_t bytes[MTU];
};

/* One way. */
struct way {
    int from, to;
    uint64_t dice;          /* of its own: what comes the other way changes nothing */
    struct packet *packets; /* a ring of SLOTS */
    unsigned first, count;
    int64_t free_at; /* when what was sent before is through */
    uint64_t lost, dropped, carried;
    int64_t latest;                   /* ns after it was due, at most */
    size_t under_way, most_under_way; /* bytes */
};

struct link {
    int64_t delay; /* ns, one way */
    double rate;   /* bytes a ns; 0: any */
    double loss;   /* of 1 */
    double queue;  /* bytes */
    struct way there, back;
};

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* ---- devices ---- */

static struct sockaddr in(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr any;

    inet_pton(AF_INET, text, &in.sin_addr);
    memcpy(&any, &in, sizeof any);
    return any;
}

static void flags_up(int fd, const char *name)
{
    struct ifreq request = {0};

    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    if (ioctl(fd, SIOCGIFFLAGS, &request) != 0)
        err(1, "%s", name);
    request.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &request) != 0)
        err(1, "%s", name);
}

static void setting(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        warn("%s stays as it is", path);
    close(fd);
}

/* The congestion control of a route: the namespace's own default cannot be set to any that is there. */
static void control_by(const char *control, const char *other, const char *name)
{
    char command[256];

    snprintf(command, sizeof command, "ip route replace %s/32 dev %s congctl %s", other, name, control);
    if (system(command) != 0)
        warnx("no congestion control %s here: it stays as it is", control);
}

/* A TUN device of this namespace, with a route to the other end; `address`: its own, or NULL; `control`: or NULL. */
static int device(const char *name, const char *address, const char *other, const char *control)
{
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    char route_name[IFNAMSIZ];
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), end = socket(AF_INET, SOCK_DGRAM, 0);

    snprintf(request.ifr_name, IFNAMSIZ, "%s", name);
    if (fd < 0 || end < 0 || ioctl(fd, TUNSETIFF, &request) != 0)
        err(1, "cannot make a TUN device");
    request.ifr_qlen = 8192;
    ioctl(end, SIOCSIFTXQLEN, &request);
    if (address) {
        request.ifr_addr = in(address);
        if (ioctl(end, SIOCSIFADDR, &request) != 0)
            err(1, "%s", address);
    }
    flags_up(end, name);
    snprintf(route_name, sizeof route_name, "%s", name);
    struct rtentry route = {.rt_dst = in(other),
                            .rt_genmask = in("255.255.255.255"),
                            .rt_flags = RTF_UP | RTF_HOST,
                            .rt_dev = route_name};
    if (ioctl(end, SIOCADDRT, &route) != 0 && errno != EEXIST)
        err(1, "no route to %s", other);
    close(end);
    setting("/proc/sys/net/ipv4/tcp_no_metrics_save", "1");
    if (control)
        control_by(control, other, name);
    return fd;
}

/* ---- packets ---- */

static double dice(struct way *way)
{
    way->dice ^= way->dice << 13;
    way->dice ^= way->dice >> 7;
    way->dice ^= way->dice << 17;
    return (double)(way->dice >> 11) / (double)(UINT64_C(1) << 53);
}

static void seed(struct way *way, uint64_t seed)
{
    way->dice = UINT64_C(88172645463325252) ^ seed;
    for (int i = 0; i < 64; i++) /* seeds that are near each other part */
        dice(way);
}

static void take(struct link *link, struct way *way, int64_t at)
{
    for (int i = 0; i < AT_ONCE; i++) {
        struct packet spare,
            *packet = way->count < SLOTS ? &way->packets[(way->first + way->count) % SLOTS] : &spare;
        ssize_t got = read(way->from, packet->bytes, MTU);
        if (got <= 0)
            return;
        if (packet->bytes[0] >> 4 !=
            4) /* what the kernel says by itself to find IPv6 neighbours: no peer's */
            continue;
        if (way->free_at < at)
            way->free_at = at;
        if (packet == &spare || (link->rate > 0 && (double)(way->free_at - at) * link->rate > link->queue)) {
            way->dropped++;
            continue;
        }
        if (link->rate > 0)
            way->free_at += (int64_t)((double)got / link->rate);
        if (dice(way) < link->loss) { /* it took its time on the wire all the same */
            way->lost++;
            continue;
        }
        packet->size = (size_t)got;
        packet->due = way->free_at + link->delay;
        way->count++;
        way->under_way += packet->size;
        if (way->under_way > way->most_under_way)
            way->most_under_way = way->under_way;
    }
}

/* Delivers what is due; when the next one is, or `other` if that is earlier. */
static int64_t deliver(struct way *way, int64_t at, int64_t other)
{
    while (way->count > 0) {
        const struct packet *packet = &way->packets[way->first];
        if (packet->due > at)
            return packet->due < other ? packet->due : other;
        if (at - packet->due > way->latest)
            way->latest = at - packet->due;
        if (write(way->to, packet->bytes, packet->size) < 0)
            way->dropped++;
        else
            way->carried++;
        way->under_way -= packet->size;
        way->first = (way->first + 1) % SLOTS;
        way->count--;
    }
    return other;
}

static int forward(struct link *link, int child, int signals)
{
    struct pollfd polled[] = {{.fd = link->there.from, .events = POLLIN},
                              {.fd = link->back.from, .events = POLLIN},
                              {.fd = signals, .events = POLLIN}};
    int status;

    for (;;) {
        int64_t at = now(), next = at + 1000000000;
        next = deliver(&link->there, at, next);
        next = deliver(&link->back, at, next);
        at = now();
        struct timespec left = {.tv_sec = next > at ? (next - at) / 1000000000 : 0,
                                .tv_nsec = next > at ? (next - at) % 1000000000 : 0};
        if (ppoll(polled, 3, &left, NULL) <= 0)
            continue;
        at = now();
        if (polled[0].revents)
            take(link, &link->there, at);
        if (polled[1].revents)
            take(link, &link->back, at);
        if (polled[2].revents && waitpid(child, &status, WNOHANG) == child)
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

/* Not inherited by the command. */
static void go_first(void)
{
    const struct sched_param least = {.sched_priority = 1};

    if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &least) != 0)
        warn("waits for a core like all others");
}

static double number(const char *text, double most)
{
    char *end;
    double value = strtod(text, &end);

    if (*end || end == text || value < 0 || value > most)
        errx(2, "\"%s\" is no number from 0 to %g", text, most);
    return value;
}

/* "There" is from the near end to the far one. */
static void tell(const struct link *link)
{
    int64_t latest = link->there.latest > link->back.latest ? link->there.latest : link->back.latest;

    fprintf(stderr,
            "link: %llu packets there, %llu back, %llu lost there, %llu back, %llu dropped,"
            " %.1f ms late; at most %zu bytes there, %zu back\n",
            (unsigned long long)link->there.carried, (unsigned long long)link->back.carried,
            (unsigned long long)link->there.lost, (unsigned long long)link->back.lost,
            (unsigned long long)(link->there.dropped + link->back.dropped), (double)latest / 1e6,
            link->there.most_under_way, link->back.most_under_way);
}

int main(int count, char **words)
{
    struct link link = {0};
    const char *control = NULL;
    uint64_t losses = 0;
    double queue = 0;
    sigset_t ended;
    int option;

    while ((option = getopt(count, words, "+d:r:l:q:s:c:")) != -1)
        switch (option) {
        case 'd': link.delay = (int64_t)(number(optarg, 10000) * 1e6 / 2); break;
        case 'r': link.rate = number(optarg, 100000) / 8e3; break;
        case 'l': link.loss = number(optarg, 100) / 100; break;
        case 'q': queue = number(optarg, 1 << 20) * 1024; break;
        case 's': losses = (uint64_t)number(optarg, 1e9); break;
        case 'c': control = optarg; break;
        default: return 2;
        }
    if (optind == count)
        errx(2, "which command?");
    seed(&link.there, losses << 20);
    seed(&link.back, losses << 20 | 1);
    link.queue = queue > 0 ? queue : link.rate * 2 * (double)link.delay;
    if (queue <= 0 && link.queue < 256 * 1024)
        link.queue = 256 * 1024;
    link.there.packets = calloc(SLOTS, sizeof *link.there.packets);
    link.back.packets = calloc(SLOTS, sizeof *link.back.packets);
    if (!link.there.packets || !link.back.packets)
        errx(1, "no memory");

    link.back.to = link.there.from = device("fslink0", NULL, FAR, control);
    if (unshare(CLONE_NEWNET) != 0)
        err(1, "cannot make a network namespace");
    link.there.to = link.back.from = device("fslink1", FAR, NEAR, control);
    int end = socket(AF_INET, SOCK_DGRAM, 0);
    flags_up(end, "lo");
    close(end);

    sigemptyset(&ended);
    sigaddset(&ended, SIGCHLD);
    sigprocmask(SIG_BLOCK, &ended, NULL);
    int signals = signalfd(-1, &ended, SFD_CLOEXEC);
    int child = fork();
    if (child == 0) {
        sigprocmask(SIG_UNBLOCK, &ended, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execvp(words[optind], words + optind);
        err(127, "%s", words[optind]);
    }
    if (child < 0 || signals < 0)
        err(1, "cannot start %s", words[optind]);
    go_first();
    int status = forward(&link, child, signals);
    if (getenv("LINK_TELL"))
        tell(&link);
    free(link.there.packets);
    free(link.back.packets);
    return status;
}
