/*
 * dropper: a relay between clients and a server that loses one message of choice, for tests.
 *
 * It takes whole records off both streams (RFC 5531 section 11). A message that
 * is to be lost is not sent on, and the connection it was on is cut, both ways:
 * over TCP nothing is lost otherwise. It may besides stand between a server and its reversed calls for good.
 * Any thread may call any of these.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum lost { LOST_CALL, LOST_REPLY };

struct dropper;

struct dropper *dropper_new(uint16_t target_port); /* aborts if there is no way */
/*
 * The same, with hosts of its own ("127.0.0.2"): it listens at `listen` (NULL: loopback; port 0: any), and
 * connects from `from` (NULL: whatever the kernel takes). A server dials back to `from`.
 */
struct dropper_way {
    uint16_t target_port, listen_port;
    const char *listen, *from;
};
struct dropper *dropper_between(const struct dropper_way *way);
void dropper_free(struct dropper *dropper);                 /* its connections are cut; NULL is fine */
const char *dropper_address(const struct dropper *dropper); /* "127.0.0.1:port" */

/* Loses the `nth` (from 1) call of that procedure from now on, or the reply to it. */
void dropper_plan(struct dropper *dropper, uint32_t procedure, enum lost lost, unsigned nth);
/* The same of calls that the other side makes, on the connections that it did not open. */
void dropper_plan_reversed(struct dropper *dropper, uint32_t procedure, enum lost lost, unsigned nth);
/*
 * What becomes, until it is told otherwise, of calls that the other side makes on connections that it did not
 * open: they pass; an ATTACH does not offer to take any; each is answered PROG_UNAVAIL; none comes out.
 */
enum reversed_calls { REVERSED_PASS, REVERSED_UNOFFERED, REVERSED_REFUSED, REVERSED_SWALLOWED };
void dropper_reversed(struct dropper *dropper, enum reversed_calls reversed);
/* Whether the plan came about. */
bool dropper_dropped(struct dropper *dropper);
