/*
 * proxy: a relay between a client and a server that cuts connections, for tests.
 *
 * It listens on loopback and relays each connection to the target with threads
 * of its own, until as many bytes went from the client as `cut_after` says; then
 * it cuts the connection both ways and counts a cut. proxy_plan may be called
 * from any thread at any time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct proxy;

struct proxy *proxy_new(uint16_t target_port);
void proxy_free(struct proxy *proxy);

const char *proxy_address(const struct proxy *proxy); /* "127.0.0.1:port" */

/* The next `cuts` connections are cut after so many bytes to the server, or from it; 0: not. */
void proxy_plan(struct proxy *proxy, unsigned cuts, uint64_t after_sent, uint64_t after_received);
unsigned proxy_cuts(struct proxy *proxy);
unsigned proxy_connections(struct proxy *proxy);
/* Inverts, once, the byte at this offset of what a connection sends to the server, or gets from it; 0: none. */
void proxy_spoil(struct proxy *proxy, uint64_t sent, uint64_t received);
/* Later connections are greeted with this `interest_seconds_max`. */
void proxy_shorten_interests(struct proxy *proxy, uint32_t seconds);
/* Cuts every connection there is now, and any that is made until it is told otherwise. */
void proxy_refuse(struct proxy *proxy, bool refuse);
/* Cuts every connection there is now. */
void proxy_cut_all(struct proxy *proxy);
