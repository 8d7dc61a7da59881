/*
 * route: a mailbox's way back as the bytes that the store keeps.
 *
 * Begins with a version; bytes of another version, or cut, are no route (then
 * the client's next ATTACH writes them anew). The connection is not kept: it
 * does not outlive the server. Everything is big endian.
 */
#pragma once

#include "callback/sender.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ROUTE_SIZE_MAX = 128 };

size_t route_encode(const struct sender_route *route, uint8_t bytes[ROUTE_SIZE_MAX]);
bool route_decode(const uint8_t *bytes, size_t size, struct sender_route *out);
