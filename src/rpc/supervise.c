#include "rpc/engine.h"

#include "base/log.h"
#include "base/scoped.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    TICK_MS = 100,
    PROBE_ANSWER_MS = 30000,
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
    if (rests || began ||
        (int64_t)(sight->moved - connection->moved_mark) >= (int64_t)limits->progress_bytes) {
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
            reversed_probe(connection,
                           limits->probe_ms < PROBE_ANSWER_MS ? limits->probe_ms : PROBE_ANSWER_MS);
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

/* What a connection holds of something that is short, and since when (0: it holds nothing). */
struct holding {
    size_t bytes;
    int64_t since;
};

/* In the roster's mutex, quickly: see roster_each. */
struct search {
    struct holding (*of)(const struct connection *connection);
    int64_t latest; /* who began later is left alone */
    size_t most;
    struct origin *origin;
    struct connection *found;
    int64_t since;
};

/* Of a record that does not end. Those that we do not read are not to blame. */
static struct holding half_received(const struct connection *connection)
{
    if (atomic_load_explicit(&connection->paused, memory_order_relaxed))
        return (struct holding){.bytes = 0};
    return (struct holding){.bytes = atomic_load_explicit(&connection->charge, memory_order_relaxed),
                            .since = atomic_load_explicit(&connection->record_since, memory_order_relaxed)};
}

/* Of replies that are not read. */
static struct holding unread(const struct connection *connection)
{
    return (struct holding){.bytes = atomic_load_explicit(&connection->owed, memory_order_relaxed),
                            .since = atomic_load_explicit(&connection->owed_since, memory_order_relaxed)};
}

static void forget(void *context, struct connection *connection)
{
    (void)context;
    connection->origin->held = 0;
}

static void add_up(void *context, struct connection *connection)
{
    struct search *search = context;
    struct origin *origin = connection->origin;
    struct holding holding = search->of(connection);

    if (holding.since == 0)
        return;
    origin->held += holding.bytes;
    if (origin->held > search->most) {
        search->most = origin->held;
        search->origin = origin;
    }
}

static void find_longest(void *context, struct connection *connection)
{
    struct search *search = context;
    struct holding holding = search->of(connection);

    if (connection->origin != search->origin || holding.bytes == 0 || holding.since == 0 ||
        holding.since > search->latest || (search->found && holding.since >= search->since))
        return;
    if (search->found)
        connection_unref(search->found);
    search->found = connection_ref(connection);
    search->since = holding.since;
}

/* Of the origin that holds most, the connection that has held it longest is cut, if that is long enough. */
static void relieve(struct rpc_server *server, struct holding (*of)(const struct connection *connection),
                    const char *reason)
{
    struct search search = {.of = of,
                            .latest = clock_elapsed(server->options.clock) - RELIEF_GRACE_MS * millisecond};

    if (atomic_exchange(&server->relieving, true))
        return;
    roster_each(&server->roster, forget, NULL);
    roster_each(&server->roster, add_up, &search);
    if (search.origin)
        roster_each(&server->roster, find_longest, &search);
    if (search.found) {
        cut(search.found, reason);
        connection_unref(search.found);
    }
    atomic_store(&server->relieving, false);
}

void supervise_relieve(struct rpc_server *server)
{
    int64_t now = clock_elapsed(server->options.clock);

    if (now - atomic_load(&server->relieved_at) < RELIEF_EVERY_MS * millisecond)
        return;
    atomic_store(&server->relieved_at, now);
    relieve(server, half_received, "it holds up others with a record that does not end");
}

/* Permits have been shut for a while, since replies are not read: somebody has to go. */
static void relieve_owed(struct rpc_server *server, int64_t now)
{
    server_judge_owed(server);
    if (!atomic_load(&server->shut))
        server->shut_since = 0;
    else if (server->shut_since == 0)
        server->shut_since = now;
    else if (now - server->shut_since >= RELIEF_GRACE_MS * millisecond)
        relieve(server, unread, "it holds up others with replies that it does not read");
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
    atomic_store_explicit(&server->now, now, memory_order_relaxed);
    reversed_expire(server);
    if (!atomic_load(&server->stopping))
        listeners_resume(server);
    if (atomic_load(&server->memory_pause.count) > 0) {
        supervise_relieve(server);
        pause_resume_all(&server->memory_pause);
    }
    pause_resume_all(&server->queue_pause);
    relieve_owed(server, now);
    if (now - server->supervised_at >= scan_period(&server->options.limits) * millisecond) {
        server->supervised_at = now;
        scan(server, now);
    }
    atomic_fetch_add_explicit(&server->ticks, 1, memory_order_release);
    arm_again(server);
}
