#include "server/delivery/route.h"

#include <string.h>

enum { ROUTE_VERSION = 1, HOST_NONE = 0, HOST_IP4 = 4, HOST_IP6 = 6, IP4_SIZE = 4, IP6_SIZE = 16 };

/* A place in the bytes; `cut` once there were too few. */
struct place {
    uint8_t *at;
    size_t left;
    bool cut;
};

static void put(struct place *place, const void *from, size_t count)
{
    memcpy(place->at, from, count);
    place->at += count;
    place->left -= count;
}

static void put_number(struct place *place, uint32_t number, size_t count)
{
    for (size_t i = count; i > 0; i--) {
        uint8_t byte = (uint8_t)(number >> (8 * (i - 1)));
        put(place, &byte, 1);
    }
}

static void get(struct place *place, void *to, size_t count)
{
    place->cut = place->cut || place->left < count;
    if (place->cut) {
        memset(to, 0, count);
        return;
    }
    memcpy(to, place->at, count);
    place->at += count;
    place->left -= count;
}

static uint32_t get_number(struct place *place, size_t count)
{
    uint32_t number = 0;
    for (size_t i = 0; i < count; i++) {
        uint8_t byte;
        get(place, &byte, 1);
        number = number << 8 | byte;
    }
    return number;
}

static void put_address(struct place *place, const struct address *address)
{
    if (address->size != 0 && address->any.sa_family == AF_INET) {
        put_number(place, HOST_IP4, 1);
        put(place, &address->in4.sin_addr, IP4_SIZE);
    } else if (address->size != 0 && address->any.sa_family == AF_INET6) {
        put_number(place, HOST_IP6, 1);
        put(place, &address->in6.sin6_addr, IP6_SIZE);
        put_number(place, address->in6.sin6_scope_id, 4);
    } else {
        put_number(place, HOST_NONE, 1);
        return;
    }
    put_number(place, address_port(address), 2);
}

static struct address get_address(struct place *place)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in4;
        struct sockaddr_in6 in6;
    } made = {.in6 = {.sin6_family = AF_UNSPEC}};
    socklen_t size = 0;
    switch (get_number(place, 1)) {
    case HOST_IP4:
        made.in4.sin_family = AF_INET;
        size = sizeof made.in4;
        get(place, &made.in4.sin_addr, IP4_SIZE);
        break;
    case HOST_IP6:
        made.in6.sin6_family = AF_INET6;
        size = sizeof made.in6;
        get(place, &made.in6.sin6_addr, IP6_SIZE);
        made.in6.sin6_scope_id = get_number(place, 4);
        break;
    case HOST_NONE: return (struct address){.size = 0};
    default: place->cut = true; return (struct address){.size = 0};
    }
    struct address address = address_of(&made.any, size);
    address_set_port(&address, (uint16_t)get_number(place, 2));
    return address;
}

size_t route_encode(const struct sender_route *route, uint8_t bytes[ROUTE_SIZE_MAX])
{
    struct place place = {.at = bytes, .left = ROUTE_SIZE_MAX};
    put_number(&place, ROUTE_VERSION, 1);
    put_number(&place, route->program, 4);
    put_number(&place, route->ask_rpcbind, 1);
    put(&place, route->proof.octets, ID_SIZE);
    put(&place, route->ticket.octets, ID_SIZE);
    put_address(&place, &route->peer);
    put_address(&place, &route->local);
    return ROUTE_SIZE_MAX - place.left;
}

bool route_decode(const uint8_t *bytes, size_t size, struct sender_route *out)
{
    uint8_t copy[ROUTE_SIZE_MAX];
    if (size > sizeof copy)
        return false;
    memcpy(copy, bytes, size);
    struct place place = {.at = copy, .left = size};
    if (get_number(&place, 1) != ROUTE_VERSION)
        return false;
    struct sender_route route = {.program = get_number(&place, 4)};
    route.ask_rpcbind = get_number(&place, 1) != 0;
    get(&place, route.proof.octets, ID_SIZE);
    get(&place, route.ticket.octets, ID_SIZE);
    route.peer = get_address(&place);
    route.local = get_address(&place);
    if (place.cut || place.left != 0 || (route.program != 0 && route.peer.size == 0))
        return false;
    *out = route;
    return true;
}
