/*
 * daemon: the parts of a server put together, started in order, stopped in the
 * opposite one.
 *
 *     daemon_start -> (serves) -> daemon_stop
 *
 * Start: store, engine bound, delivery, procedures, engine's threads, upkeep,
 * rpcbind, and at last the address file: when it is there, the server answers.
 * Stop: rpcbind and the address file first, so that nobody finds a server that
 * is going; running calls finish, within a limit; deliveries end; the store is
 * closed. One thread calls both.
 */
#pragma once

#include "base/outcome.h"
#include "server/config.h"

struct daemon;

/* `config` (finished) must outlive the daemon. On failure nothing is left running. */
must_check enum outcome daemon_start(const struct config *config, struct daemon **out, struct failure *why);

/* Frees it too. NULL is fine. */
void daemon_stop(struct daemon *daemon);
