/*
 * service: what the procedures of FILESHARE_PROG serve: one store, its
 * deliveries, and what the server says of itself.
 *
 * Made by main before the engine starts, and given to it as the context of its
 * calls. Plain pointers, borrowed; all but the health board never change while
 * the engine runs.
 *
 * Trouble of the store (a disk that is full or fails) is told once when it
 * begins, by whoever meets it first, and once when it is over, by the upkeep.
 *
 * STATUS must answer even while the store is slow, so it reads the store's
 * health from a board that upkeep refreshes (service_note_health).
 */
#pragma once

#include "rpc/program.h"
#include "rpc/server.h"
#include "server/delivery/delivery.h"
#include "server/store/store.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum {
    SERVICE_HOST_SIZE = 256,
    SERVICE_QUIET_MS =
        10000, /* trouble is over once nothing was refused for so long: clients try again sooner */
};

struct service {
    struct store *store;
    struct delivery *delivery;
    struct rpc_server *server;
    const struct clock *clock;
    struct store_limits limits;
    int64_t started; /* elapsed */
    char host[SERVICE_HOST_SIZE];
    int poke_fd; /* eventfd: wakes the upkeep (service_poke) */

    atomic_bool troubled;        /* and it was told */
    _Atomic int64_t troubled_at; /* elapsed: when the store was last met in trouble */

    pthread_mutex_t health_lock; /* guards health; nothing is taken under it */
    struct store_health health;
};

/* `store` and `clock` must outlive it. LOCAL. */
must_check enum outcome service_init(struct service *service, struct store *store,
                                     const struct store_limits *limits, const struct clock *clock,
                                     struct failure *why);
void service_fini(struct service *service);

/* There is work for the upkeep now. Any thread. */
void service_poke(struct service *service);

void service_note_health(struct service *service, const struct store_health *health);
void service_health(struct service *service, struct store_health *out);

/* The store is in trouble just now. True: this is the first that is known of it, the log is to say so. */
bool service_trouble(struct service *service);
/* The store is well just now. True: it was in trouble, is no more, and the log is to say so. */
bool service_trouble_is_over(struct service *service);

/* The program, its table and dispatcher. Static. */
const struct rpc_program *service_program(void);
