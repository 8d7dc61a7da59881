/*
 * address: where a peer is, in the forms that people and rpcbind write.
 *
 * A struct address is a socket address of IPv4, IPv6 or a Unix socket path, with
 * its length. IPv4-mapped IPv6 addresses (::ffff:a.b.c.d) are turned into IPv4 by
 * every function that makes one. It owns nothing; copy it freely.
 */
#pragma once

#include "base/outcome.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { ADDRESS_TEXT_SIZE = 140 };

struct address {
    socklen_t size;
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
        struct sockaddr_un local;
        struct sockaddr_storage storage;
    };
};

/* Of what accept(), getsockname() and the like told; size 0 (family AF_UNSPEC) if that is nothing. */
struct address address_of(const struct sockaddr *sockaddr, socklen_t size);

/* Numeric "a.b.c.d" or "v6" (with %scope, a name or number; without brackets), and a port. INVALID otherwise. */
must_check enum outcome address_ip(const char *host, uint16_t port, struct address *out, struct failure *why);
/* A Unix socket path. INVALID if it is empty, or longer than sun_path takes (107 bytes). */
must_check enum outcome address_local(const char *path, struct address *out, struct failure *why);

/*
 * "127.0.0.1:80", "[::1]:80", "/run/x" (byte for byte), "@name" for an abstract
 * socket (as name_show has it), "local" for one without a name. Returns `text`.
 */
char *address_text(const struct address *address, char text[ADDRESS_TEXT_SIZE]);
/* The host alone, without port ("127.0.0.1", "::1"); "local" for a Unix socket. Returns `text`. */
char *address_host_text(const struct address *address, char text[ADDRESS_TEXT_SIZE]);

uint16_t address_port(const struct address *address); /* 0 for a Unix socket */
void address_set_port(struct address *address, uint16_t port);
bool address_is_local(const struct address *address);    /* a Unix socket */
bool address_is_loopback(const struct address *address); /* 127/8, ::1 */
/* Ports aside; scopes count; all Unix sockets are of one host, which no IP address is. */
bool address_same_host(const struct address *a, const struct address *b);

/* "tcp", "tcp6" or "local". Static. */
const char *address_netid(const struct address *address);

/*
 * Universal addresses (RFC 5665 section 5.2.3): "127.0.0.1.160.11" of "tcp",
 * "::1.160.11" of "tcp6", a path of "local". INVALID if it is none, or the
 * netid another.
 */
must_check enum outcome address_from_universal(const char *netid, const char *universal, struct address *out,
                                               struct failure *why);
char *address_universal(const struct address *address, char text[ADDRESS_TEXT_SIZE]);

/*
 * "10.0.0.0/8", "fe80::/10", or a single address. Scopes have no place in it.
 * INVALID also for "10.0.0.1/8": who writes bits after the prefix means
 * something else. A block of IPv4 holds no IPv6 address, one of IPv6 no IPv4,
 * and none holds a Unix socket.
 */
struct address_block {
    struct address base;
    unsigned bits;
};
must_check enum outcome address_block_parse(const char *text, struct address_block *out, struct failure *why);
bool address_block_holds(const struct address_block *block, const struct address *address);
