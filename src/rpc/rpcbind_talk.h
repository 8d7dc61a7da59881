/*
 * rpcbind_talk: one conversation with one rpcbind, through our own engine, so
 * that every question has a deadline; all of them together may take rpcbind twice as long.
 *
 * With the machine's own it goes over the Unix socket, where rpcbind learns from
 * the kernel who asks; entries belong to a uid. One thread.
 */
#pragma once

#include "base/address.h"
#include "base/outcome.h"

#include <rpc/rpc.h>
#include <rpc/rpcb_prot.h>
#include <stdbool.h>
#include <stdint.h>

struct rpcbind_talk;

/* This machine's. UNAVAILABLE: there is none. NOMEM. Once `stop_fd` (0: none) is readable all of it fails. */
must_check enum outcome rpcbind_talk_here(unsigned deadline_ms, int stop_fd, struct rpcbind_talk **out,
                                          struct failure *why);
/* `host`'s, at port 111. UNREACHABLE, TIMEOUT, NOMEM. */
must_check enum outcome rpcbind_talk_with(const struct address *host, unsigned deadline_ms, int stop_fd,
                                          struct rpcbind_talk **out, struct failure *why);
void *rpcbind_talk_end(struct rpcbind_talk *talk); /* NULL is fine; returns NULL */
int rpcbind_talk_stop_fd(const struct rpcbind_talk *talk);
bool rpcbind_talk_is_stopped(const struct rpcbind_talk *talk);

/* *out tells whether rpcbind did it; it does not say why not. */
must_check enum outcome rpcbind_talk_set(struct rpcbind_talk *talk, uint32_t program, uint32_t version,
                                         const struct address *address, bool *out, struct failure *why);
must_check enum outcome rpcbind_talk_unset(struct rpcbind_talk *talk, uint32_t program, uint32_t version,
                                           const char *netid, bool *out, struct failure *why);

/* All entries; yours: rpcbind_entries_free. */
must_check enum outcome rpcbind_talk_dump(struct rpcbind_talk *talk, rpcblist_ptr *out, struct failure *why);
void rpcbind_entries_free(rpcblist_ptr *entries);

/*
 * The TCP port of a program, for the netid. ABSENT if it does not know the
 * program. Of a version that is not registered it answers another version's.
 */
must_check enum outcome rpcbind_talk_port(struct rpcbind_talk *talk, uint32_t program, uint32_t version,
                                          const char *netid, uint16_t *out, struct failure *why);
