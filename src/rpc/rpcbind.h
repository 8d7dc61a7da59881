/*
 * rpcbind: telling the machine's rpcbind about a program, and asking others'.
 *
 * A server's entries (tcp and tcp6, each its own):
 *
 *     rpcbind_registration_new -> rpcbind_register (again on a timer)
 *         -> rpcbind_registration_free, which unsets what is ours
 *
 * All questions go through our own engine, under a deadline (libtirpc's may hang
 * for minutes): those to this machine's rpcbind over /run/rpcbind.sock, where it
 * learns from the kernel whose entry it is; without rpcbind they fail at once.
 *
 * An entry is dead if nobody takes a connection at its address, or whoever does
 * has another program there. One that takes the connection and does not answer
 * (a stopped process, a hung one) is not dead. One thread at a time.
 *
 * A hung rpcbind is waited for some seconds: 12 when registering, 6 for a question, 4 at the end. The first two
 * give way once `stop_fd` (0: none) is readable, and fail.
 */
#pragma once

#include "base/address.h"
#include "base/outcome.h"

#include <stdbool.h>
#include <stdint.h>

struct rpcbind_registration;

/* NOMEM. `addresses`: TCP ones that are bound; copied. */
must_check enum outcome rpcbind_registration_new(uint32_t program, uint32_t version,
                                                 const struct address *addresses, unsigned count,
                                                 struct rpcbind_registration **out, struct failure *why);

/*
 * Sets what is missing. An entry of ours stays; a dead predecessor's (a NULL
 * call to its address fails) is taken over; a living one's is HELD (says where and whose);
 * another uid's that cannot be unset is DENIED. UNAVAILABLE: no rpcbind here.
 */
must_check enum outcome rpcbind_register(struct rpcbind_registration *registration, int stop_fd,
                                         struct failure *why);

/* Unsets the entries that are still ours. NULL is fine; returns NULL. */
void *rpcbind_registration_free(struct rpcbind_registration *registration);

/*
 * A free program number of the transient range, registered at `addresses`,
 * starting at random; dead entries of our own uid in that range are removed
 * first. UNAVAILABLE: no rpcbind here (then any number will do, unregistered).
 */
must_check enum outcome rpcbind_register_transient(const struct address *addresses, unsigned count,
                                                   uint32_t version, int stop_fd, uint32_t *program,
                                                   struct rpcbind_registration **out, struct failure *why);

/*
 * Where `program` is, as the rpcbind of `host` (its port is not looked at) tells
 * for netid "tcp" or "tcp6" by the host's family: *out is `host` with that port. ABSENT: it
 * does not know the program; UNREACHABLE, TIMEOUT: no rpcbind there. rpcbind tells
 * another version's port if it has not this one: ask whoever is there.
 */
must_check enum outcome rpcbind_find(const struct address *host, uint32_t program, uint32_t version,
                                     unsigned deadline_ms, int stop_fd, struct address *out,
                                     struct failure *why);

/* Whether a NULL call of the program at `address` is answered in time. */
bool rpcbind_is_alive(const struct address *address, uint32_t program, uint32_t version,
                      unsigned deadline_ms);
