#include "client/lib/lanes.h"

#include "base/clock.h"
#include "client/lib/session.h"
#include "rpc/distance.h"

enum {
    SILENT_MS = 15000, /* a lane from which nothing comes for so long, or dead_ms, is left out */
    LOOK_MS = 500,     /* how often that is looked at */
};

void lanes_init(struct lanes *lanes)
{
    *lanes = (struct lanes){.count = 0};
    list_init(&lanes->calls);
}

/* ---- opening ---- */

static bool is_far(const struct lanes *lanes)
{
    return lanes->round_trip >= DISTANCE_FAR;
}

/* The first round over this connection begins. */
static void begin(struct fileshare *session)
{
    struct lanes *lanes = &session->lanes;
    lanes->count = 1;
    lanes->rows[0] = (struct lane){.client = session->client};
    if (session->connections == 1 || session->back.reversed || address_is_local(&session->greeting.address))
        return;
    lanes->round_trip = rpc_client_round_trip(session->client);
    lanes->late = session->connections > 1 || is_far(lanes);
    if (!lanes->late)
        return;
    window_init(&lanes->rows[0].window, LANES_SHARE, WINDOW_MOST);
    lanes->since = clock_elapsed(clock_system());
    rpc_client_moved(session->client, &lanes->before);
}

enum outcome lanes_ready(struct fileshare *session, struct failure *why)
{
    const struct lanes *lanes = &session->lanes;
    if (session->client && rpc_client_is_broken(session->client) && !list_is_empty(&lanes->calls))
        return failure_set(why, OUTCOME_UNREACHABLE, "%s: the connection broke",
                           session->greeting.address_text);
    enum outcome outcome = session_ready(session, why);
    if (outcome == OUTCOME_OK && lanes->count == 0)
        begin(session);
    return outcome;
}

enum outcome lanes_ready_paced(struct fileshare *session, struct pace *pace, struct failure *why)
{
    enum outcome outcome = lanes_ready(session, why);
    if (outcome == OUTCOME_OK && pace->connection != session->generation) {
        pace->connection = session->generation;
        pace_on(pace, rpc_client_round_trip(session->client));
    }
    return outcome;
}

/*
 * Whether packets are lost on the way, and little moves. Where nothing gets lost but what
 * overflows a queue, a connection has got going by then, and more of them would only lose more.
 */
static bool loses(const struct lanes *lanes)
{
    struct distance_moved now;
    int64_t elapsed = clock_elapsed(clock_system()) - lanes->since;
    if (!rpc_client_moved(lanes->rows[0].client, &now) || now.disorder == lanes->before.disorder)
        return false;
    double round_trips = (double)elapsed / (double)lanes->round_trip;
    return (double)(now.bytes - lanes->before.bytes) < LANES_SLOW * round_trips;
}

static unsigned wanted(const struct fileshare *session)
{
    if (session->connections > 0)
        return session->connections < LANES_MOST ? session->connections : LANES_MOST;
    return is_far(&session->lanes) && loses(&session->lanes) ? LANES_MOST : 1;
}

/*
 * What may be under way on each at first. Enough for TCP to get going; no more of a small file than its share. Where
 * nobody knows what is left, it may be little: the lanes that stand first shall not take all of it.
 */
static size_t first_window(uint64_t left, unsigned lanes)
{
    uint64_t share = left == UINT64_MAX ? LANES_SHARE : left / (4 * lanes);
    return share < LANES_SHARE ? LANES_SHARE : share < LANES_BEGIN ? (size_t)share : LANES_BEGIN;
}

void lanes_widen(struct fileshare *session, uint64_t left)
{
    struct lanes *lanes = &session->lanes;
    if (!lanes->late || lanes->widened || left < LANES_FROM)
        return;
    const unsigned most = wanted(session);
    if (most == 1)
        return;
    lanes->widened = true;
    while (lanes->count < most) {
        struct rpc_client *client = NULL;
        struct failure ignored;
        if (reach_lane(&session->target, &session->greeting.address, session->call_ms, &session->stop,
                       &client, &ignored) != OUTCOME_OK)
            break;
        lanes->rows[lanes->count++] = (struct lane){.client = client};
    }
    for (unsigned i = 0; i < lanes->count; i++)
        window_init(&lanes->rows[i].window, first_window(left, lanes->count), WINDOW_MOST / lanes->count);
}

unsigned lanes_count(const struct fileshare *session)
{
    unsigned count = 0;
    for (unsigned i = 0; i < session->lanes.count; i++)
        count += !session->lanes.rows[i].out;
    return count > 0 ? count : 1;
}

void lanes_narrow(struct fileshare *session)
{
    struct lanes *lanes = &session->lanes;
    lanes_close(lanes);
    lanes->count = 1;
    lanes->rows[0].client = session->client;
}

void lanes_close(struct lanes *lanes)
{
    for (unsigned i = 1; i < lanes->count; i++)
        rpc_client_close(lanes->rows[i].client);
    lanes_init(lanes);
}

static size_t widest(const struct lanes *lanes)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < lanes->count; i++)
        if (!lanes->rows[i].out && lanes->rows[i].window.bytes > bytes)
            bytes = lanes->rows[i].window.bytes;
    return bytes;
}

/* Where several share what is left, and nobody knows how much: small pieces, until much moves. */
static size_t piece_of_many(const struct lanes *lanes)
{
    size_t piece = widest(lanes) / 4 / LANES_PIECE * LANES_PIECE;
    return piece < LANES_SHARE ? piece : LANES_SHARE;
}

size_t lanes_piece(const struct fileshare *session, uint64_t left, size_t most)
{
    const struct lanes *lanes = &session->lanes;
    uint64_t piece = most;
    if (lanes->late && lanes->count == 1)
        piece = lanes->rows[0].window.bytes / 4 / LANES_PIECE * LANES_PIECE;
    else if (lanes->late)
        piece = left == UINT64_MAX ? piece_of_many(lanes)
                                   : left / (8 * lanes_count(session)) / LANES_PIECE * LANES_PIECE;
    if (piece < LANES_PIECE)
        piece = LANES_PIECE;
    if (piece > most)
        piece = most;
    return left < piece ? (size_t)left : (size_t)piece;
}

/* ---- calls ---- */

/* It is no longer under way. */
static void settle(struct lane_call *call)
{
    if (!call->lane)
        return;
    call->lane->bytes -= call->bytes;
    call->lane = NULL;
    list_remove(&call->link);
}

void lanes_end(struct lane_call *call)
{
    settle(call);
    if (call->pending)
        call->pending = rpc_pending_free(call->client, call->pending);
    call->lost = false;
}

/* Replies that came by it still belong to its connection, which stays until all are closed. */
static void leave_out(struct lanes *lanes, struct lane *lane)
{
    lane->out = true;
    list_each(at, &lanes->calls) {
        struct lane_call *call = list_entry(at, struct lane_call, link);
        if (call->lane != lane)
            continue;
        lanes_end(call);
        call->lost = true;
    }
}

static bool is_own(const struct lanes *lanes, const struct lane *lane)
{
    return lane == &lanes->rows[0];
}

/*
 * As long as there is one, it has under way twice what came before, so that TCP gets going as it would if all of it
 * were asked for at once.
 */
static void heard(const struct lanes *lanes, const struct lane_call *call)
{
    struct window *window = &call->lane->window;
    if (lanes->count > 1 || window->bytes >= WINDOW_NEAR)
        window_heard(window, call->bytes, rpc_pending_took(call->pending), lanes->round_trip);
    else
        window->bytes = WINDOW_NEAR - window->bytes < 2 * call->bytes ? WINDOW_NEAR
                                                                      : window->bytes + 2 * call->bytes;
}

/* Takes note of what was answered, and leaves out lanes that broke. */
static void look(struct lanes *lanes)
{
    list_each(at, &lanes->calls) {
        struct lane_call *call = list_entry(at, struct lane_call, link);
        if (!rpc_pending_is_answered(call->client, call->pending))
            continue;
        heard(lanes, call);
        settle(call);
    }
    for (unsigned i = 1; i < lanes->count; i++)
        if (!lanes->rows[i].out && rpc_client_is_broken(lanes->rows[i].client))
            leave_out(lanes, &lanes->rows[i]);
}

/* `next`: the least that one more call adds. */
static bool has_room(const struct lane *lane, size_t share, size_t next)
{
    size_t bytes = lane->bytes > 0 ? lane->bytes + next : 0;
    return !lane->out && lane->bytes < share && window_has_room(&lane->window, bytes) &&
           rpc_client_is_made(lane->client) && !rpc_client_has_unsent(lane->client);
}

struct lane *lanes_pick(struct fileshare *session, uint64_t left)
{
    struct lanes *lanes = &session->lanes;
    struct lane *own = &lanes->rows[0], *best = NULL;
    if (!lanes->late)
        return own;
    look(lanes);
    if (rpc_client_is_broken(own->client) || list_is_empty(&lanes->calls))
        return own;
    /* As long as there is one, its window is its share. */
    uint64_t share = left == UINT64_MAX || lanes->count == 1 ? SIZE_MAX : left / (2 * lanes_count(session));
    size_t next = lanes->count > 1 && left == UINT64_MAX ? LANES_PIECE / 2 : 0;
    for (unsigned i = 0; i < lanes->count; i++) {
        struct lane *lane = &lanes->rows[i];
        if ((!best || lane->bytes < best->bytes) &&
            has_room(lane, share > LANES_SHARE ? (size_t)share : LANES_SHARE, next))
            best = lane;
    }
    return best;
}

bool lanes_have_room(struct fileshare *session, const struct pace *pace)
{
    if (!session->lanes.late)
        return pace_has_room(pace);
    return pace->count < PACE_MOST && lanes_pick(session, UINT64_MAX);
}

enum outcome lanes_begin(struct fileshare *session, struct lane *lane, struct lane_call *call,
                         uint32_t procedure, xdrproc_t encode, const void *arguments,
                         struct bulk_source *source, size_t bytes, struct failure *why)
{
    struct lanes *lanes = &session->lanes;
    struct rpc_pending *pending = NULL;
    /* With several lanes nobody waits for one of them until its call is out. */
    enum outcome outcome = lanes->late ? rpc_client_post(lane->client, procedure, encode, arguments, source,
                                                         &pending, why)
                                       : rpc_client_begin(lane->client, procedure, encode, arguments, source,
                                                          &pending, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    *call = (struct lane_call){.lane = lane, .client = lane->client, .pending = pending, .bytes = bytes};
    list_append(&lanes->calls, &call->link);
    lane->bytes += bytes;
    return OUTCOME_OK;
}

static void hear(const struct lanes *lanes)
{
    struct rpc_client *clients[LANES_MOST];
    size_t count = 0;
    for (unsigned i = 0; i < lanes->count; i++)
        if (!lanes->rows[i].out)
            clients[count++] = lanes->rows[i].client;
    rpc_clients_hear(clients, count, LOOK_MS);
}

static bool is_lost_to_us(const struct fileshare *session, const struct lane_call *call)
{
    unsigned dead_ms = session->target.dead_ms;
    return rpc_pending_is_late(call->pending) ||
           rpc_client_is_silent(call->client, dead_ms < SILENT_MS ? dead_ms : SILENT_MS);
}

bool lanes_wait(struct fileshare *session, struct lane_call *call)
{
    struct lanes *lanes = &session->lanes;
    if (!lanes->late)
        return true;
    bool was_begun = call->pending != NULL;
    look(lanes);
    if (!was_begun ||
        (call->pending && call->lane && !(is_own(lanes, call->lane) && rpc_client_is_broken(call->client)))) {
        hear(lanes);
        look(lanes);
    }
    if (!call->pending || !call->lane)
        return call->pending != NULL;
    if (is_own(lanes, call->lane))
        return rpc_client_is_broken(call->client) || rpc_pending_is_late(call->pending);
    if (is_lost_to_us(session, call))
        leave_out(lanes, call->lane);
    return false;
}

enum outcome lanes_await(struct lane_call *call, xdrproc_t decode, void *results, struct failure *why)
{
    enum outcome outcome = rpc_client_await(call->client, call->pending, decode, results, why);
    settle(call);
    return outcome;
}
