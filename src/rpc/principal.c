#include "rpc/principal.h"

#include "base/scoped.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* RFC 5531 appendix A. */
enum { SYS_MACHINE_MAX = 255, SYS_GROUPS_MAX = 16 };

void peer_init(struct peer *peer, int fd, const struct address *address)
{
    struct sockaddr_storage local;
    socklen_t size = sizeof local;
    struct ucred credentials;
    socklen_t credentials_size = sizeof credentials;

    *peer = (struct peer){.peer = *address, .kind = PEER_REMOTE, .uid = -1};
    if (getsockname(fd, (struct sockaddr *)&local, &size) == 0)
        peer->local = address_of((const struct sockaddr *)&local, size);
    if (address_is_local(address)) {
        peer->kind = PEER_VOUCHED;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &credentials_size) == 0)
            atomic_store(&peer->uid, (int64_t)credentials.uid);
    } else if (address_is_loopback(address)) {
        peer->kind = PEER_LOOPBACK;
    }
}

/* Source and destination as the peer's own socket has them. */
static void fill_tuple(struct inet_diag_sockid *id, const struct address *source,
                       const struct address *target)
{
    id->idiag_sport = htons(address_port(source));
    id->idiag_dport = htons(address_port(target));
    if (source->any.sa_family == AF_INET) {
        memcpy(id->idiag_src, &source->in4.sin_addr, sizeof source->in4.sin_addr);
        memcpy(id->idiag_dst, &target->in4.sin_addr, sizeof target->in4.sin_addr);
    } else {
        memcpy(id->idiag_src, &source->in6.sin6_addr, sizeof source->in6.sin6_addr);
        memcpy(id->idiag_dst, &target->in6.sin6_addr, sizeof target->in6.sin6_addr);
    }
    id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
}

/*
 * A socket that its process has closed has no owner any more, and kernels call
 * it root's: it shows by having no inode. One that is still connecting is not
 * the one we talk to.
 */
static bool is_owned(const struct inet_diag_msg *answer)
{
    return answer->idiag_inode != 0 && answer->idiag_state != TCP_SYN_SENT &&
           answer->idiag_state != TCP_SYN_RECV && answer->idiag_state != TCP_TIME_WAIT;
}

/* Whose socket is at the other end of a loopback connection; -1 if the kernel cannot tell. */
static int64_t ask_kernel(const struct peer *peer)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
    } question = {
        .header = {.nlmsg_len = sizeof question,
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST},
        .body = {.sdiag_family = (uint8_t)peer->peer.any.sa_family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = ~0U},
    };
    union {
        struct nlmsghdr header;
        uint8_t bytes[1024];
    } answer;

    if (peer->local.any.sa_family != peer->peer.any.sa_family)
        return -1;
    scoped_fd int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd < 0)
        return -1;
    fill_tuple(&question.body.id, &peer->peer, &peer->local);
    if (send(fd, &question, sizeof question, 0) != (ssize_t)sizeof question)
        return -1;
    /* The kernel answers within send: nothing is waited for. */
    ssize_t size = recv(fd, &answer, sizeof answer, MSG_DONTWAIT);
    if (size < (ssize_t)NLMSG_LENGTH(sizeof(struct inet_diag_msg)) ||
        answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY)
        return -1;
    const struct inet_diag_msg *found = NLMSG_DATA(&answer.header);
    return is_owned(found) ? (int64_t)found->idiag_uid : -1;
}

/* The uid by the kernel's word, or -1. What it said once holds for the connection's life. */
static int64_t vouched_uid(struct peer *peer)
{
    int64_t uid = atomic_load(&peer->uid);

    if (uid < 0 && peer->kind == PEER_LOOPBACK) {
        uid = ask_kernel(peer);
        if (uid >= 0)
            atomic_store(&peer->uid, uid);
    }
    return uid;
}

struct words {
    const uint8_t *at;
    size_t left;
};

static bool word(struct words *words, uint32_t *out)
{
    if (words->left < 4)
        return false;
    *out = (uint32_t)words->at[0] << 24 | (uint32_t)words->at[1] << 16 | (uint32_t)words->at[2] << 8 |
           words->at[3];
    words->at += 4;
    words->left -= 4;
    return true;
}

static bool skip(struct words *words, size_t count)
{
    if (words->left < count)
        return false;
    words->at += count;
    words->left -= count;
    return true;
}

/* stamp, machine name, uid, gid, groups: nothing less, nothing more. */
static bool parse_sys(const uint8_t *credential, uint32_t size, uint32_t *uid)
{
    struct words words = {credential, size};
    uint32_t stamp, machine, claimed, group, groups;

    if (!word(&words, &stamp) || !word(&words, &machine) || machine > SYS_MACHINE_MAX ||
        !skip(&words, (machine + 3U) & ~3U) || !word(&words, &claimed) || !word(&words, &group) ||
        !word(&words, &groups) || groups > SYS_GROUPS_MAX || words.left != (size_t)groups * 4)
        return false;
    *uid = claimed;
    return true;
}

enum auth_stat principal_of(struct peer *peer, uint32_t flavor, const uint8_t *credential, uint32_t size,
                            struct rpc_principal *out)
{
    uint32_t claimed;
    char host[ADDRESS_TEXT_SIZE];

    out->text[0] = '\0';
    out->superior = false;
    if (flavor == AUTH_NONE)
        return size == 0 ? AUTH_OK : AUTH_BADCRED;
    if (flavor != AUTH_SYS)
        return AUTH_REJECTEDCRED;
    if (!parse_sys(credential, size, &claimed))
        return AUTH_BADCRED;
    if (peer->kind == PEER_REMOTE) {
        snprintf(out->text, sizeof out->text, "sys:%u@%.110s", claimed, address_host_text(&peer->peer, host));
        return AUTH_OK;
    }
    int64_t uid = vouched_uid(peer);
    if (uid < 0)
        return AUTH_TOOWEAK;
    snprintf(out->text, sizeof out->text, "unix:%u", (unsigned)uid);
    out->superior = uid == 0 || uid == (int64_t)geteuid();
    return AUTH_OK;
}
