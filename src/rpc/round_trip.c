#include "rpc/client_inside.h"

/* The kernel's own: that of libc does not know the smallest round trip. */
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/socket.h>

int64_t rpc_client_round_trip(const struct rpc_client *client)
{
    struct tcp_info about;
    socklen_t size = sizeof about;

    if (getsockopt(client->fd, IPPROTO_TCP, TCP_INFO, &about, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_min_rtt) + sizeof about.tcpi_min_rtt ||
        about.tcpi_min_rtt == UINT32_MAX)
        return 0;
    return (int64_t)about.tcpi_min_rtt * 1000;
}
