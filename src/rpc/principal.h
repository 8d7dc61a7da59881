/*
 * principal: who calls, and how we know.
 *
 * On a Unix socket the kernel has told who connected (SO_PEERCRED). On loopback
 * TCP it is asked whose the peer's socket is (sock_diag); if it cannot tell,
 * nobody is identified: a claim is not believed there. Elsewhere the caller is
 * who its AUTH_SYS credential claims, at the address it comes from.
 *
 * A struct peer is made at accept and belongs to its connection; principal_of
 * may be called from any number of threads at once.
 */
#pragma once

#include "base/address.h"
#include "rpc/call.h"

#include <rpc/rpc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

enum peer_kind {
    PEER_VOUCHED,  /* a Unix socket: `uid` is the kernel's word */
    PEER_LOOPBACK, /* the kernel is asked at the first credential */
    PEER_REMOTE,   /* says who it is */
};

struct peer {
    struct address peer, local;
    enum peer_kind kind;
    _Atomic int64_t uid; /* of PEER_VOUCHED and PEER_LOOPBACK; -1: not known yet */
};

/* Of a connected socket; `peer` as accept gave it. */
void peer_init(struct peer *peer, int fd, const struct address *address);

/*
 * AUTH_OK: *out is the caller; its text is "" for AUTH_NONE. AUTH_BADCRED: the
 * credential is malformed. AUTH_REJECTEDCRED: a flavor that is not known.
 * AUTH_TOOWEAK: the kernel cannot tell who is at the other end of this loopback.
 */
enum auth_stat principal_of(struct peer *peer, uint32_t flavor, const uint8_t *credential, uint32_t size,
                            struct rpc_principal *out);
