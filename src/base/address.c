#include "base/address.h"

#include "base/name.h"

#include <arpa/inet.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_SIZE = INET6_ADDRSTRLEN + 1 + IF_NAMESIZE, SHOWN_SIZE = 160 };

static struct address make_in4(struct in_addr host, uint16_t port)
{
    struct address address = {.size = sizeof address.in4};
    address.in4.sin_family = AF_INET;
    address.in4.sin_addr = host;
    address.in4.sin_port = htons(port);
    return address;
}

/* IPv4 if it is mapped. */
static struct address make_in6(const struct in6_addr *host, uint32_t scope, uint16_t port)
{
    if (IN6_IS_ADDR_V4MAPPED(host)) {
        struct in_addr mapped;
        memcpy(&mapped, host->s6_addr + 12, sizeof mapped);
        return make_in4(mapped, port);
    }
    struct address address = {.size = sizeof address.in6};
    address.in6.sin6_family = AF_INET6;
    address.in6.sin6_addr = *host;
    address.in6.sin6_scope_id = scope;
    address.in6.sin6_port = htons(port);
    return address;
}

struct address address_of(const struct sockaddr *sockaddr, socklen_t size)
{
    struct address address = {.size = 0};
    if (size > sizeof address.storage)
        size = sizeof address.storage;
    if (size < sizeof sockaddr->sa_family)
        return address;
    memcpy(&address.storage, sockaddr, size);
    address.size = size;
    if (address.any.sa_family == AF_INET6 && size >= sizeof address.in6)
        return make_in6(&address.in6.sin6_addr, address.in6.sin6_scope_id, ntohs(address.in6.sin6_port));
    return address;
}

static bool parse_scope(const char *text, uint32_t *out)
{
    uint32_t index = if_nametoindex(text);
    if (index == 0) {
        if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
            return false;
        unsigned long number = strtoul(text, NULL, 10);
        if (number == 0 || number > UINT32_MAX)
            return false;
        index = (uint32_t)number;
    }
    *out = index;
    return true;
}

static bool parse_host(const char *host, uint16_t port, struct address *out)
{
    struct in_addr in4;
    if (inet_pton(AF_INET, host, &in4) == 1) {
        *out = make_in4(in4, port);
        return true;
    }
    char text[HOST_SIZE];
    size_t size = strlen(host);
    if (size >= sizeof text)
        return false;
    memcpy(text, host, size + 1);
    char *percent = strchr(text, '%');
    uint32_t scope = 0;
    if (percent) {
        *percent = '\0';
        if (!parse_scope(percent + 1, &scope))
            return false;
    }
    struct in6_addr in6;
    if (inet_pton(AF_INET6, text, &in6) != 1)
        return false;
    *out = make_in6(&in6, scope, port);
    return true;
}

static enum outcome refuse(const char *text, const char *wanted, struct failure *why)
{
    char shown[SHOWN_SIZE];
    return failure_set(why, OUTCOME_INVALID, "\"%s\" is not %s",
                       name_show(text, strlen(text), shown, sizeof shown), wanted);
}

enum outcome address_ip(const char *host, uint16_t port, struct address *out, struct failure *why)
{
    return parse_host(host, port, out) ? OUTCOME_OK : refuse(host, "an IPv4 or IPv6 address", why);
}

enum outcome address_local(const char *path, struct address *out, struct failure *why)
{
    struct address address = {.size = 0};
    size_t size = strlen(path);
    if (size == 0)
        return failure_set(why, OUTCOME_INVALID, "the path of a Unix socket is empty");
    if (size >= sizeof address.local.sun_path)
        return failure_set(why, OUTCOME_INVALID,
                           "the path of a Unix socket has %zu bytes, at most %zu may be", size,
                           sizeof address.local.sun_path - 1);
    address.local.sun_family = AF_UNIX;
    memcpy(address.local.sun_path, path, size + 1);
    address.size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + 1);
    *out = address;
    return OUTCOME_OK;
}

/* A socket without a name (most clients) is "local", one of the abstract name space "@name". */
static char *local_text(const struct address *address, char text[ADDRESS_TEXT_SIZE])
{
    size_t head = offsetof(struct sockaddr_un, sun_path);
    size_t size = address->size > head ? address->size - head : 0;
    const char *path = address->local.sun_path;
    if (size > sizeof address->local.sun_path)
        size = sizeof address->local.sun_path;
    if (size == 0)
        snprintf(text, ADDRESS_TEXT_SIZE, "local");
    else if (path[0] == '\0') {
        text[0] = '@';
        name_show(path + 1, size - 1, text + 1, ADDRESS_TEXT_SIZE - 1);
    } else
        snprintf(text, ADDRESS_TEXT_SIZE, "%.*s", (int)size, path);
    return text;
}

char *address_host_text(const struct address *address, char text[ADDRESS_TEXT_SIZE])
{
    text[0] = '\0';
    if (address->any.sa_family == AF_INET)
        inet_ntop(AF_INET, &address->in4.sin_addr, text, ADDRESS_TEXT_SIZE);
    else if (address->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->in6.sin6_addr, text, ADDRESS_TEXT_SIZE);
        uint32_t scope = address->in6.sin6_scope_id;
        char name[IF_NAMESIZE];
        size_t used = strlen(text);
        if (scope != 0 && if_indextoname(scope, name))
            snprintf(text + used, ADDRESS_TEXT_SIZE - used, "%%%s", name);
        else if (scope != 0)
            snprintf(text + used, ADDRESS_TEXT_SIZE - used, "%%%u", scope);
    } else
        snprintf(text, ADDRESS_TEXT_SIZE, "%s", address_is_local(address) ? "local" : "unknown");
    return text;
}

char *address_text(const struct address *address, char text[ADDRESS_TEXT_SIZE])
{
    if (address_is_local(address))
        return local_text(address, text);
    char host[ADDRESS_TEXT_SIZE];
    address_host_text(address, host);
    if (address->any.sa_family == AF_INET6)
        snprintf(text, ADDRESS_TEXT_SIZE, "[%.*s]:%u", HOST_SIZE, host, address_port(address));
    else if (address->any.sa_family == AF_INET)
        snprintf(text, ADDRESS_TEXT_SIZE, "%.*s:%u", HOST_SIZE, host, address_port(address));
    else
        snprintf(text, ADDRESS_TEXT_SIZE, "unknown");
    return text;
}

uint16_t address_port(const struct address *address)
{
    if (address->any.sa_family == AF_INET)
        return ntohs(address->in4.sin_port);
    if (address->any.sa_family == AF_INET6)
        return ntohs(address->in6.sin6_port);
    return 0;
}

void address_set_port(struct address *address, uint16_t port)
{
    if (address->any.sa_family == AF_INET)
        address->in4.sin_port = htons(port);
    else if (address->any.sa_family == AF_INET6)
        address->in6.sin6_port = htons(port);
}

bool address_is_local(const struct address *address)
{
    return address->any.sa_family == AF_UNIX;
}

bool address_is_loopback(const struct address *address)
{
    if (address->any.sa_family == AF_INET)
        return ntohl(address->in4.sin_addr.s_addr) >> 24 == 127;
    return address->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address->in6.sin6_addr);
}

bool address_same_host(const struct address *a, const struct address *b)
{
    if (a->any.sa_family != b->any.sa_family)
        return false;
    switch (a->any.sa_family) {
    case AF_INET: return a->in4.sin_addr.s_addr == b->in4.sin_addr.s_addr;
    case AF_INET6:
        return IN6_ARE_ADDR_EQUAL(&a->in6.sin6_addr, &b->in6.sin6_addr) &&
               a->in6.sin6_scope_id == b->in6.sin6_scope_id;
    case AF_UNIX: return true;
    default: return false;
    }
}

const char *address_netid(const struct address *address)
{
    if (address_is_local(address))
        return "local";
    return address->any.sa_family == AF_INET6 ? "tcp6" : "tcp";
}

/* 0 to 255 in decimal, from `text` to its end, without leading zeros; or -1. */
static int parse_octet(const char *text)
{
    size_t size = strspn(text, "0123456789");
    if (size == 0 || size > 3 || text[size] != '\0' || (size > 1 && text[0] == '0'))
        return -1;
    int value = atoi(text);
    return value <= 255 ? value : -1;
}

/* Cuts ".p" off the end of `text`; -1 if there is none. */
static int cut_octet(char *text)
{
    char *dot = strrchr(text, '.');
    if (!dot)
        return -1;
    *dot = '\0';
    return parse_octet(dot + 1);
}

enum outcome address_from_universal(const char *netid, const char *universal, struct address *out,
                                    struct failure *why)
{
    if (strcmp(netid, "local") == 0) {
        if (address_local(universal, out, NULL) == OUTCOME_OK)
            return OUTCOME_OK;
        return refuse(universal, "the path of a Unix socket", why);
    }
    bool tcp6 = strcmp(netid, "tcp6") == 0;
    if (!tcp6 && strcmp(netid, "tcp") != 0)
        return refuse(netid, "a netid we know (tcp, tcp6, local)", why);

    char host[HOST_SIZE + 8];
    size_t size = strlen(universal);
    if (size >= sizeof host)
        return refuse(universal, "a universal address", why);
    memcpy(host, universal, size + 1);
    int low = cut_octet(host);
    int high = low < 0 ? -1 : cut_octet(host);
    bool has_colon = strchr(host, ':') != NULL;
    struct address address;
    if (high < 0 || has_colon != tcp6 || !parse_host(host, (uint16_t)(high << 8 | low), &address))
        return refuse(universal, tcp6 ? "a universal address of tcp6" : "a universal address of tcp", why);
    *out = address;
    return OUTCOME_OK;
}

char *address_universal(const struct address *address, char text[ADDRESS_TEXT_SIZE])
{
    if (address_is_local(address))
        return local_text(address, text);
    address_host_text(address, text);
    size_t used = strlen(text);
    unsigned port = address_port(address);
    snprintf(text + used, ADDRESS_TEXT_SIZE - used, ".%u.%u", port >> 8, port & 255);
    return text;
}

/* The bytes that a block is about, and how many bits they are. */
static const unsigned char *host_octets(const struct address *address, unsigned *out_bits)
{
    if (address->any.sa_family == AF_INET) {
        *out_bits = 32;
        return (const unsigned char *)&address->in4.sin_addr;
    }
    *out_bits = 128;
    return address->in6.sin6_addr.s6_addr;
}

/* Whether all bits of `octets` from `from` up to `to` are those of `other` (zeros if NULL). */
static bool same_bits(const unsigned char *octets, const unsigned char *other, unsigned from, unsigned to)
{
    for (unsigned bit = from; bit < to; bit++) {
        unsigned difference = octets[bit / 8] ^ (other ? other[bit / 8] : 0u);
        if (difference >> (7 - bit % 8) & 1)
            return false;
    }
    return true;
}

enum outcome address_block_parse(const char *text, struct address_block *out, struct failure *why)
{
    static const char wanted[] = "an address or a block of them, as 10.0.0.0/8";
    char host[HOST_SIZE];
    const char *slash = strchrnul(text, '/');
    size_t size = (size_t)(slash - text);
    if (size >= sizeof host || memchr(text, '%', size))
        return refuse(text, wanted, why);
    memcpy(host, text, size);
    host[size] = '\0';

    struct address_block block;
    unsigned width;
    if (!parse_host(host, 0, &block.base))
        return refuse(text, wanted, why);
    const unsigned char *octets = host_octets(&block.base, &width);
    bool mapped = width == 32 && strchr(host, ':');
    block.bits = width;
    if (*slash) {
        int bits = parse_octet(slash + 1);
        if (mapped)
            bits -= 96;
        if (bits < 0 || bits > (int)width)
            return refuse(text, wanted, why);
        block.bits = (unsigned)bits;
    }
    if (!same_bits(octets, NULL, block.bits, width))
        return refuse(text, "a block: it has bits set after its prefix", why);
    *out = block;
    return OUTCOME_OK;
}

bool address_block_holds(const struct address_block *block, const struct address *address)
{
    if (block->base.any.sa_family != address->any.sa_family || address_is_local(address))
        return false;
    unsigned width;
    const unsigned char *base = host_octets(&block->base, &width);
    return same_bits(base, host_octets(address, &width), 0, block->bits);
}
