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
#include <stddef.h>
#include <stdint.h>

struct proxy;

struct proxy *proxy_new(uint16_t target_port);
void proxy_free(struct proxy *proxy);

const char *proxy_address(const struct proxy *proxy); /* "127.0.0.1:port" */

/*
 * The next `cuts` connections are cut after so many bytes to the server, or from
 * it, to the byte; 0: not. What was moved until then arrives.
 */
void proxy_plan(struct proxy *proxy, unsigned cuts, uint64_t after_sent, uint64_t after_received);
/* Called, from another thread, when that comes to pass, before the connection is cut. NULL: nothing. */
void proxy_on_cut(struct proxy *proxy, void (*hook)(void *context), void *context);
/* Where in a connection these bytes (at most 16) pass first from now on: to the server (0), or from it (1). */
void proxy_mark(struct proxy *proxy, int way, const void *bytes, size_t count);
uint64_t proxy_marked(struct proxy *proxy); /* 0: not yet */
/* What all connections together had moved the other way by then. */
uint64_t proxy_marked_back(struct proxy *proxy);
/* Bytes of all connections so far. */
uint64_t proxy_sent(struct proxy *proxy);
uint64_t proxy_received(struct proxy *proxy);
unsigned proxy_cuts(struct proxy *proxy);
unsigned proxy_connections(struct proxy *proxy);
/* Inverts, once, the byte at this offset of what a connection sends to the server, or gets from it; 0: none. */
void proxy_spoil(struct proxy *proxy, uint64_t sent, uint64_t received);
/* Later connections are greeted with this `interest_seconds_max`. */
void proxy_shorten_interests(struct proxy *proxy, uint32_t seconds);
/* Cuts every connection there is now, and any that is made until it is told otherwise. */
void proxy_refuse(struct proxy *proxy, bool refuse);
/*
 * The connection that comes after `skip` others, counted from now, moves nothing any more once it moved so many
 * bytes to the server, or from it, and stays open; 0: not.
 */
void proxy_stall(struct proxy *proxy, unsigned skip, uint64_t after_sent, uint64_t after_received);
unsigned proxy_stalls(struct proxy *proxy); /* how many came to that */
/* Takes no connection until it is told otherwise. */
void proxy_shut(struct proxy *proxy, bool shut);
/* Cuts every connection there is now. */
void proxy_cut_all(struct proxy *proxy);
