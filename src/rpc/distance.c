#include "rpc/distance.h"

/* The kernel's own: that of libc does not know the smallest round trip. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

/* What the kernel knows of it, all zeros beyond what this one tells. False: no TCP connection. */
static bool ask(int fd, struct tcp_info *about, socklen_t *told)
{
    *about = (struct tcp_info){.tcpi_unacked = 0};
    *told = sizeof *about;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, about, told) == 0;
}

int64_t distance_of(int fd)
{
    struct tcp_info about;
    socklen_t told;

    if (!ask(fd, &about, &told) ||
        told < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof about.tcpi_min_rtt ||
        about.tcpi_min_rtt == UINT32_MAX)
        return 0;
    return (int64_t)about.tcpi_min_rtt * 1000;
}

bool distance_is_cut(int fd, unsigned milliseconds)
{
    struct tcp_info about;
    socklen_t told;

    return ask(fd, &about, &told) && about.tcpi_unacked > 0 && about.tcpi_last_ack_recv >= milliseconds;
}

bool distance_is_silent(int fd, unsigned milliseconds)
{
    struct tcp_info about;
    socklen_t told;

    return ask(fd, &about, &told) && about.tcpi_last_ack_recv >= milliseconds &&
           about.tcpi_last_data_recv >= milliseconds;
}

bool distance_moved(int fd, struct distance_moved *out)
{
    struct tcp_info about;
    socklen_t told;

    if (!ask(fd, &about, &told) ||
        told < offsetof(struct tcp_info, tcpi_rcv_ooopack) + sizeof about.tcpi_rcv_ooopack)
        return false;
    *out = (struct distance_moved){.bytes = about.tcpi_bytes_acked + about.tcpi_bytes_received,
                                   .disorder = (uint64_t)about.tcpi_total_retrans + about.tcpi_rcv_ooopack};
    return true;
}

void distance_make_room(int fd, int bytes)
{
    const int soon = 1;

    /* Whoever asks to be woken late gets a buffer in which so much can gather, and keeps it. */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes) == 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &soon, sizeof soon);
}
