#include "rpc/engine.h"

#include "base/log.h"
#include "base/scoped.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    TICK_MS = 100,
    PERIOD_MIN_MS = 20,
    SCAN_MS = 1000,
    RELIEF_EVERY_MS = 20,
    RELIEF_GRACE_MS = 1000 /* a record that began later is not in anybody's way yet */
};

static const int64_t millisecond = 1000000;

/* A limit is checked at least four times in its span. */
static unsigned scan_period(const struct rpc_limits *limits)
{
    unsigned least = SCAN_MS * 4;

    if (limits->idle_ms < least)
        least = limits->idle_ms;
    if (limits->progress_ms < least)
        least = limits->progress_ms;
    if (limits->probe_ms < least)
        least = limits->probe_ms;
    return least / 4 > PERIOD_MIN_MS ? least / 4 : PERIOD_MIN_MS;
}

unsigned supervise_period(const struct rpc_limits *limits)
{
    unsigned period = scan_period(limits);

    return period < TICK_MS ? period : TICK_MS;
}

static void cut(struct connection *connection, const char *reason)
{
    char text[ADDRESS_TEXT_SIZE];

    atomic_fetch_add(&connection->server->cut, 1);
    if (log_enabled(LOG_LEVEL_DEBUG))
        log_debug("connection from %s is cut: %s", address_text(&connection->peer.peer, text), reason);
    connection_break(connection);
}

/* What supervision wants to know of a connection, at one moment. */
struct sight {
    uint64_t moved; /* bytes that the peer sent, or took */
    bool owes;      /* replies are unsent */
    bool half;      /* a record is half received, and we read on */
    bool at_rest;   /* nothing is owed or in service */
    bool attached;
    bool broken;
};

static struct sight look(struct connection *connection)
{
    int64_t since = atomic_load_explicit(&connection->record_since, memory_order_relaxed);
    int queued = 0;

    scoped_lock(&connection->mutex);
    bool reads = connection->armed & EPOLLIN;
    /* What the kernel has still in its queue the peer has not taken; and it asks for more only in large steps. */
    if (!connection->closed && ioctl(connection->stream.fd, SIOCOUTQ, &queued) != 0)
        queued = 0;
    return (struct sight){
        .moved = atomic_load_explicit(&connection->moved, memory_order_relaxed) - (uint64_t)queued,
        .owes = connection->unsent_first,
        .half = since != 0 && reads,
        .at_rest = !connection->unsent_first && connection->in_service_records == 0 && !connection->in_turn,
        .attached = connection->attached,
        .broken = connection->broken,
    };
}

/* A peer in mid-record, or that is owed replies, must move bytes. */
static bool makes_progress(struct connection *connection, const struct sight *sight, int64_t now)
{
    const struct rpc_limits *limits = &connection->server->options.limits;
    int64_t since = atomic_load_explicit(&connection->record_since, memory_order_relaxed);

    bool rests = !sight->owes && !sight->half;
    bool began = !sight->owes && since > connection->moved_at; /* another record than the last time */
    if (rests || began || (int64_t)(sight->moved - connection->moved_mark) >= (int64_t)limits->progress_bytes) {
        connection->moved_mark = sight->moved;
        connection->moved_at = now;
    }
    return now - connection->moved_at < limits->progress_ms * millisecond;
}

static void supervise(struct connection *connection, int64_t now)
{
    const struct rpc_limits *limits = &connection->server->options.limits;
    struct sight sight = look(connection);
    int64_t active = atomic_load_explicit(&connection->active_at, memory_order_relaxed);

    if (sight.broken)
        return;
    if (!makes_progress(connection, &sight, now))
        return cut(connection, "it does not send what it began, or does not read what it asked for");
    if (sight.attached) {
        if (now - connection->probed_at >= limits->probe_ms * millisecond) {
            connection->probed_at = now;
            reversed_probe(connection);
        }
    } else if (sight.at_rest && !sight.half && now - active >= limits->idle_ms * millisecond) {
        cut(connection, "it was idle for too long");
    }
}

static void scan(struct rpc_server *server, int64_t now)
{
    unsigned used = roster_used(&server->roster);

    for (unsigned slot = 0; slot < used; slot++) {
        struct connection *connection = roster_at(&server->roster, slot);
        if (!connection)
            continue;
        supervise(connection, now);
        connection_unref(connection);
    }
}

/* ---- who is in the way ---- */

/* In the roster's mutex, quickly: see roster_each. */
struct search {
    int64_t latest; /* records that began later are left alone */
    size_t most;
    struct origin *origin;
    struct connection *found;
    int64_t since;
};

static size_t half_received(const struct connection *connection)
{
    if (atomic_load_explicit(&connection->paused, memory_order_relaxed) ||
        atomic_load_explicit(&connection->record_since, memory_order_relaxed) == 0)
        return 0;
    return atomic_load_explicit(&connection->charge, memory_order_relaxed);
}

static void forget(void *context, struct connection *connection)
{
    (void)context;
    connection->origin->half_received = 0;
}

static void add_up(void *context, struct connection *connection)
{
    struct search *search = context;
    struct origin *origin = connection->origin;

    origin->half_received += half_received(connection);
    if (origin->half_received > search->most) {
        search->most = origin->half_received;
        search->origin = origin;
    }
}

static void find_longest(void *context, struct connection *connection)
{
    struct search *search = context;
    int64_t since = atomic_load_explicit(&connection->record_since, memory_order_relaxed);

    if (connection->origin != search->origin || half_received(connection) == 0 || since > search->latest ||
        (search->found && since >= search->since))
        return;
    if (search->found)
        connection_unref(search->found);
    search->found = connection_ref(connection);
    search->since = since;
}

void supervise_relieve(struct rpc_server *server)
{
    int64_t now = clock_elapsed(server->options.clock);
    struct search search = {.latest = now - RELIEF_GRACE_MS * millisecond};

    if (now - atomic_load(&server->relieved_at) < RELIEF_EVERY_MS * millisecond ||
        atomic_exchange(&server->relieving, true))
        return;
    atomic_store(&server->relieved_at, now);
    roster_each(&server->roster, forget, NULL);
    roster_each(&server->roster, add_up, &search);
    if (search.origin)
        roster_each(&server->roster, find_longest, &search);
    if (search.found) {
        cut(search.found, "it holds up others with a record that does not end");
        connection_unref(search.found);
    }
    atomic_store(&server->relieving, false);
}

/* ---- the tick ---- */

static void arm_again(struct rpc_server *server)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = EVENT_TICK};

    epoll_ctl(server->epoll, EPOLL_CTL_MOD, server->timer, &event);
}

void supervise_tick(struct rpc_server *server)
{
    int64_t now = clock_elapsed(server->options.clock);
    uint64_t expirations;

    (void)!read(server->timer, &expirations, sizeof expirations);
    (void)atomic_load_explicit(&server->ticks, memory_order_acquire);
    reversed_expire(server);
    if (!atomic_load(&server->stopping))
        listeners_resume(server);
    if (atomic_load(&server->memory_pause.count) > 0) {
        supervise_relieve(server);
        pause_resume_all(&server->memory_pause);
    }
    pause_resume_all(&server->queue_pause);
    if (now - server->supervised_at >= scan_period(&server->options.limits) * millisecond) {
        server->supervised_at = now;
        scan(server, now);
    }
    atomic_fetch_add_explicit(&server->ticks, 1, memory_order_release);
    arm_again(server);
}
