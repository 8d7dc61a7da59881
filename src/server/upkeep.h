/*
 * upkeep: what a server does without being asked.
 *
 *     upkeep_new -> upkeep_start -> upkeep_stop -> upkeep_free
 *
 * One thread that, in turns: spreads the news that publishers left (fan_out),
 * expires and sweeps (sweep), refreshes the health board, and looks after the
 * server's entries in rpcbind, setting them again if rpcbind lost them. It is
 * woken by service_poke, by the next interest that runs out, and at least every
 * UPKEEP_PERIOD_MS.
 */
#pragma once

#include "base/outcome.h"
#include "rpc/rpcbind.h"
#include "server/procedures/service.h"

enum { UPKEEP_PERIOD_MS = 2000, UPKEEP_RPCBIND_MS = 10000 };

struct upkeep;

/* `registration` may be NULL: then rpcbind is left alone. Both must outlive the upkeep. */
must_check enum outcome upkeep_new(struct service *service, struct rpcbind_registration *registration,
                                   struct upkeep **out, struct failure *why);
/* Registers with rpcbind before it returns, if it can; then the thread runs. */
must_check enum outcome upkeep_start(struct upkeep *upkeep, struct failure *why);
/* Waits for what the thread does just then: one round of news or of the sweep; for rpcbind no longer. */
void upkeep_stop(struct upkeep *upkeep);
void *upkeep_free(struct upkeep *upkeep); /* stopped; NULL is fine; returns NULL */
