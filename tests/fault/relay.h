/*
 * relay: a bad line between clients and a server, for tests.
 *
 * It takes whole records off both streams (RFC 5531 section 11). While the line
 * is rough, a message now and then, in either direction, is lost, comes late, or
 * is cut in its middle. One that is lost or cut takes its connection with it:
 * over TCP nothing is lost otherwise. Which ones depends on the seed and on what
 * comes.
 *
 * Threads: one accepts, and each connection has one, CONNECTIONS_MAX at most
 * (more are closed at once). Any thread may call any of these.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct relay_counts {
    unsigned long connections, messages, calls_lost, replies_lost, late, cut;
    unsigned long replays; /* writing calls whose id came before: repeats of the same act */
};

struct relay;

struct relay *relay_new(uint16_t target_port, uint64_t seed); /* aborts if there is no way */
void relay_free(struct relay *relay);                         /* its connections are cut */
const char *relay_address(const struct relay *relay);         /* "127.0.0.1:port" */

/* So many messages of a thousand are lost or cut, and three times as many come late; 0: a good line. */
void relay_rough(struct relay *relay, unsigned per_mille);
/* All connections that there are now are cut. */
void relay_cut_all(struct relay *relay);
struct relay_counts relay_counts(struct relay *relay);
/* Connections that are open now. */
unsigned relay_open(const struct relay *relay);
