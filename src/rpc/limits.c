#include "rpc/engine.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    DESCRIPTORS_SPARED = 256, /* for files, rpcbind, calls back */
    CONNECTIONS_MAX = 1 << ROSTER_SLOT_BITS,
    WORKERS_MIN = 8,
    WORKERS_MAX = 64,
    WORKERS_FREE = 2 /* never wait for the store */
};

/* Calls that wait for the disk want more threads than there are cores. */
static unsigned workers_default(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    long workers = cores * 4;

    return workers < WORKERS_MIN ? WORKERS_MIN : workers > WORKERS_MAX ? WORKERS_MAX : (unsigned)workers;
}

struct rpc_limits rpc_limits_default(void)
{
    unsigned workers = workers_default();

    return (struct rpc_limits){
        .workers = workers,
        .permits = workers - WORKERS_FREE,
        .connections = 0,
        .connections_per_address = 0,
        .record_max = 1114112,
        .record_anonymous_max = 65536,
        .in_flight_bytes = 32 << 20,
        .in_flight_reserve_bytes = 16 << 20,
        .spare_files = DESCRIPTORS_SPARED,
        .turn_records = 16,
        .turn_bytes = 2 << 20,
        .unsent_records = 64,
        .unsent_bytes = 2 << 20,
        .waiting_records = 4096,
        .idle_ms = 300000,
        .progress_bytes = 60 * 1024,
        .progress_ms = 60000,
        .probe_ms = 60000,
    };
}

/* All descriptors that we may have; what is left of them for connections. */
static unsigned connections_possible(unsigned spare)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 512;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > CONNECTIONS_MAX)
        return CONNECTIONS_MAX;
    return limit.rlim_cur > 2 * (rlim_t)spare ? (unsigned)limit.rlim_cur - spare : (unsigned)(limit.rlim_cur + 1) / 2;
}

#define FILL(member)                          \
    do {                                      \
        if (limits->member == 0)              \
            limits->member = defaults.member; \
    } while (0)

static void fill(struct rpc_limits *limits)
{
    const struct rpc_limits defaults = rpc_limits_default();

    FILL(workers);
    FILL(spare_files);
    FILL(record_max);
    FILL(record_anonymous_max);
    FILL(in_flight_bytes);
    FILL(in_flight_reserve_bytes);
    FILL(turn_records);
    FILL(turn_bytes);
    FILL(unsent_records);
    FILL(unsent_bytes);
    FILL(waiting_records);
    FILL(idle_ms);
    FILL(progress_bytes);
    FILL(progress_ms);
    FILL(probe_ms);
}

enum outcome limits_resolve(struct rpc_limits *limits, struct failure *why)
{
    fill(limits);
    unsigned possible = connections_possible(limits->spare_files);

    if (limits->permits == 0)
        limits->permits = limits->workers > WORKERS_FREE ? limits->workers - WORKERS_FREE : 1;
    if (limits->connections == 0 || limits->connections > CONNECTIONS_MAX)
        limits->connections = possible;
    if (limits->connections_per_address == 0)
        limits->connections_per_address = (limits->connections + 3) / 4;
    if (limits->workers < 2 || limits->permits >= limits->workers)
        return failure_set(
            why, OUTCOME_INVALID,
            "%u workers with %u permits: at least one worker must be without a permit, use fewer permits",
            limits->workers, limits->permits);
    if (limits->record_anonymous_max > limits->record_max)
        limits->record_anonymous_max = limits->record_max;
    if (limits->in_flight_bytes < limits->record_max)
        return failure_set(why, OUTCOME_INVALID,
                           "%zu bytes in flight have no room for one record of %zu bytes",
                           limits->in_flight_bytes, limits->record_max);
    return OUTCOME_OK;
}
