/* The sender's other ways: calls on the client's own connection, and ports that rpcbind tells. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "callback/listener.h"
#include "rpc/client.h"
#include "wire/callback_peer.h"
#include "wire/peer.h"
#include "wire/sender_world.h"
#include "wire/small_program.h"

#include <poll.h>
#include <rpc/pmap_prot.h>
#include <stdatomic.h>
#include <string.h>

/* A client process: its callback program, and its connection to the server that takes calls. */
struct process {
    struct listener *listener;
    struct rpc_client *client;
    struct id ticket;
    uint64_t connection;
    _Atomic unsigned shown;
    _Atomic unsigned reversed; /* batches that came on the client's own connection */
    _Atomic uint64_t last;
    _Atomic bool holding; /* the handler stays until it is false */
};

static uint64_t show(void *context, const struct event *events, size_t count, bool reversed)
{
    struct process *process = context;
    atomic_fetch_add(&process->reversed, reversed);
    for (size_t i = 0; i < count; i++) {
        assert_true(events[i].number > atomic_load(&process->last));
        atomic_store(&process->last, events[i].number);
    }
    atomic_fetch_add(&process->shown, (unsigned)count);
    while (atomic_load(&process->holding))
        poll(NULL, 0, 1);
    return events[count - 1].number;
}

static void connect_process(struct process *process, struct small_server *small)
{
    const struct rpc_client_options options = {
        .number = SMALL_PROGRAM,
        .version = 1,
        .program = &small_program,
        .call_ms = 10000 * slowness(),
        .reversed = listener_program(),
        .reversed_number = listener_number(process->listener),
        .context = process->listener,
    };
    struct failure why;
    struct rpc_pending *pending;
    assert_int_equal(rpc_client_connect(&small->tcp, &options, &process->client, &why), OUTCOME_OK);
    assert_int_equal(rpc_client_begin(process->client, SMALL_HELLO, (xdrproc_t)(void (*)(void))xdr_void, NULL,
                                      NULL, &pending, &why),
                     OUTCOME_OK);
    assert_int_equal(
        rpc_client_await(process->client, pending, (xdrproc_t)xdr_uint64_t, &process->connection, &why),
        OUTCOME_OK);
    rpc_pending_free(process->client, pending);
    assert_int_equal(
        rpc_server_attach(small->server, process->connection, listener_number(process->listener), 1, &why),
        OUTCOME_OK);
}

static struct process *process_new(struct small_server *small)
{
    struct process *process = calloc(1, sizeof *process);
    struct listener_options options = {.local = {.size = 0}, .without_rpcbind = true};
    struct failure why;
    assert_int_equal(listener_new(&options, &process->listener, &why), OUTCOME_OK);
    process->ticket = id_random();
    assert_int_equal(listener_add(process->listener, &process->ticket, 0, show, process, &why), OUTCOME_OK);
    connect_process(process, small);
    return process;
}

static void process_free(struct process *process)
{
    rpc_client_close(process->client);
    listener_free(process->listener);
    free(process);
}

/* Both ways, or the reversed one alone. */
static struct sender_route route_of(const struct process *process, bool dial)
{
    struct sender_route route = {.ticket = process->ticket, .connection = process->connection};
    if (dial) {
        route.program = listener_number(process->listener);
        route.proof = *listener_proof(process->listener);
        route.peer = *listener_address(process->listener);
        assert_int_equal(address_ip("127.0.0.1", 0, &route.local, NULL), OUTCOME_OK);
    }
    return route;
}

struct stage {
    struct small_server small;
    struct world *world;
    struct process *process; /* one client, */
    struct id mailbox;       /* and one of its mailboxes */
};

static void closed(void *context, uint64_t connection)
{
    struct stage *stage = context;
    if (stage->world)
        sender_connection_closed(stage->world->sender, connection);
}

static struct stage *stage_with(const struct sender_limits *limits)
{
    struct stage *stage = calloc(1, sizeof *stage);
    const struct rpc_server_options options = {.program = &small_program,
                                               .limits = rpc_limits_default(),
                                               .clock = clock_system(),
                                               .name = "stage",
                                               .closed = closed,
                                               .context = stage};
    struct address any;
    assert_int_equal(address_ip("127.0.0.1", 0, &any, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_new(&options, &stage->small.server, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(stage->small.server, &any, &stage->small.tcp, NULL), OUTCOME_OK);
    stage->world = world_new(limits, stage->small.server);
    assert_int_equal(rpc_server_start(stage->small.server, NULL), OUTCOME_OK);
    stage->process = process_new(&stage->small);
    stage->mailbox = id_random();
    return stage;
}

static struct stage *stage_new(void)
{
    const struct sender_limits limits = world_limits();
    return stage_with(&limits);
}

static struct stage *stage_with_call_ms(int64_t call_ms)
{
    struct sender_limits limits = world_limits();
    limits.call_ms = call_ms;
    return stage_with(&limits);
}

static void stage_free(struct stage *stage)
{
    process_free(stage->process);
    small_server_stop(&stage->small);
    if (stage->world)
        world_free(stage->world);
    free(stage);
}

static void set_route(struct stage *stage, const struct id *mailbox, const struct sender_route *route)
{
    struct failure why;
    assert_int_equal(sender_prove(stage->world->sender, mailbox, route, &why), OUTCOME_OK);
}

/* The process gives its mailbox both ways, or the reversed one alone. */
static void give_route(struct stage *stage, bool dial)
{
    struct sender_route route = route_of(stage->process, dial);
    set_route(stage, &stage->mailbox, &route);
}

/* Both ways, but nobody listens at the port. */
static void give_dead_port(struct stage *stage)
{
    struct sender_route route = route_of(stage->process, true);
    struct callback_peer *gone = callback_peer_new(0);
    address_set_port(&route.peer, gone->port);
    callback_peer_free(gone);
    set_route(stage, &stage->mailbox, &route);
}

/* Delivers `count` events from `number` on to the process's mailbox, and takes what became of it. */
static struct sender_result delivered(struct stage *stage, uint64_t number, unsigned count)
{
    assert_int_equal(world_deliver(stage->world, &stage->mailbox, number, count), OUTCOME_OK);
    return world_result(stage->world);
}

static enum sender_state state_of(const struct stage *stage)
{
    return sender_state_of(stage->world->sender, &stage->mailbox);
}

static void until_shown(const struct process *process, unsigned count)
{
    int64_t until = now_ms() + (int64_t)10000 * slowness();
    while (atomic_load(&process->shown) < count && now_ms() < until)
        poll(NULL, 0, 1);
    assert_int_equal(atomic_load(&process->shown), count);
}

static void by_the_clients_own_connection(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    struct process *process = stage->process;
    give_route(stage, false);
    assert_int_equal(state_of(stage), SENDER_REVERSED);
    for (uint64_t i = 0; i < 3; i++) {
        struct sender_result result = delivered(stage, 1 + i * 20, 20);
        assert_int_equal(result.outcome, OUTCOME_OK);
        assert_int_equal(result.acknowledged, 20 + i * 20);
        assert_int_equal(result.route, SENDER_REVERSED);
    }
    assert_int_equal(atomic_load(&process->shown), 60);
    assert_int_equal(atomic_load(&process->reversed), 3);
    stage_free(stage);
}

static void a_wrong_ticket_is_denied(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    struct process *process = stage->process;
    struct sender_route route = route_of(process, false);
    route.ticket = id_random();
    set_route(stage, &stage->mailbox, &route);
    assert_int_equal(delivered(stage, 1, 1).outcome, OUTCOME_DENIED);
    assert_int_equal(atomic_load(&process->shown), 0);
    stage_free(stage);
}

/* Dial-back first; where nobody listens, the same delivery goes by the connection at once. */
static void from_dial_back_to_reversed_within_one_delivery(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    struct process *process = stage->process;
    give_route(stage, true);
    assert_true(world_await_state(stage->world, &stage->mailbox, SENDER_DIALBACK));
    assert_int_equal(delivered(stage, 1, 1).route, SENDER_DIALBACK);

    give_dead_port(stage);
    struct sender_result result = delivered(stage, 2, 1);
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(result.route, SENDER_REVERSED);
    assert_int_equal(state_of(stage), SENDER_REVERSED);

    /* and back, once it is proved again */
    give_route(stage, true);
    assert_true(world_await_state(stage->world, &stage->mailbox, SENDER_DIALBACK));
    assert_int_equal(delivered(stage, 3, 1).route, SENDER_DIALBACK);
    assert_int_equal(atomic_load(&process->last), 3);
    stage_free(stage);
}

/* While the proof is out a delivery waits a moment for it, no longer. */
static void a_proof_that_does_not_come_is_not_waited_for(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    limits.connect_ms = 60000;
    limits.prove_wait_ms = 150 * slowness();
    struct stage *stage = stage_with(&limits);
    struct process *process = stage->process;
    struct callback_peer *hung = callback_peer_new(0);
    atomic_store(&hung->on_hello, PEER_HANGS);
    hung->program = listener_number(process->listener);
    struct sender_route route = route_of(process, true);
    route.peer = callback_peer_address(hung);
    int64_t began = now_ms();
    set_route(stage, &stage->mailbox, &route);
    assert_int_equal(state_of(stage), SENDER_PROVING);
    struct sender_result result = delivered(stage, 1, 1);
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(result.route, SENDER_REVERSED);
    assert_true(now_ms() - began >= 149);
    assert_true(now_ms() - began < (int64_t)10000 * slowness());
    assert_int_equal(state_of(stage), SENDER_REVERSED);
    assert_false(atomic_load(&hung->ticket_seen));
    callback_peer_free(hung);
    stage_free(stage);
}

/* The connection goes: dial-back stays; without it the route is none, and a new connection takes over. */
static void the_connection_goes_and_comes_back(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    struct process *process = stage->process;
    struct id alone = id_random(), both = id_random();
    struct sender_route route = route_of(process, false), dialled = route_of(process, true);
    set_route(stage, &alone, &route);
    set_route(stage, &both, &dialled);
    assert_true(sender_uses(stage->world->sender, process->connection));
    assert_true(sender_is_living(stage->world->sender, &alone));
    assert_true(world_await_state(stage->world, &both, SENDER_DIALBACK));

    rpc_client_close(process->client);
    assert_true(world_await_state(stage->world, &alone, SENDER_NONE));
    assert_false(sender_is_living(stage->world->sender, &alone));
    assert_false(sender_uses(stage->world->sender, process->connection));
    assert_int_equal(sender_state_of(stage->world->sender, &both), SENDER_DIALBACK);
    assert_int_equal(world_deliver(stage->world, &alone, 1, 1), OUTCOME_OK);
    assert_int_equal(world_result(stage->world).outcome, OUTCOME_UNREACHABLE);

    connect_process(process, &stage->small);
    route = route_of(process, false);
    set_route(stage, &alone, &route);
    assert_int_equal(world_deliver(stage->world, &alone, 1, 1), OUTCOME_OK);
    assert_int_equal(world_result(stage->world).outcome, OUTCOME_OK);
    stage_free(stage);
}

/* Whoever asks is told the truth, so that the client asks for its events: until one is taken, or it comes anew. */
static void in_vain_it_is_no_way(void **state)
{
    (void)state;
    struct stage *stage = stage_new();
    struct process *process = stage->process;
    give_route(stage, false);
    for (unsigned i = 0; i < 2; i++) {
        /* not answered in time */
        atomic_store(&process->holding, true);
        assert_int_equal(delivered(stage, 1 + i, 1).outcome, OUTCOME_TIMEOUT);
        assert_int_equal(state_of(stage), SENDER_NONE);
        assert_true(sender_is_living(stage->world->sender, &stage->mailbox));
        atomic_store(&process->holding, false);
        if (i == 0) {
            assert_int_equal(delivered(stage, 1, 1).outcome, OUTCOME_OK);
            assert_int_equal(state_of(stage), SENDER_REVERSED);
        }
    }
    give_route(stage, false); /* the same connection: no better than it was */
    assert_int_equal(state_of(stage), SENDER_NONE);
    struct rpc_client *first = process->client;
    connect_process(process, &stage->small);
    give_route(stage, false);
    assert_int_equal(state_of(stage), SENDER_REVERSED);
    /* refused: another program is called there */
    assert_int_equal(rpc_server_attach(stage->small.server, process->connection,
                                       listener_number(process->listener) + 1, 1, NULL),
                     OUTCOME_OK);
    assert_int_equal(delivered(stage, 3, 1).outcome, OUTCOME_PROTOCOL);
    assert_int_equal(state_of(stage), SENDER_NONE);
    rpc_client_close(first);
    stage_free(stage);
}

/* The connection breaks while the client is at it: the batch is reported, the double is not shown. */
static void a_call_that_loses_its_connection(void **state)
{
    (void)state;
    struct stage *stage = stage_with_call_ms(60000);
    struct process *process = stage->process;
    give_dead_port(stage); /* so all goes by the connection */
    atomic_store(&process->holding, true);
    assert_int_equal(world_deliver(stage->world, &stage->mailbox, 1, 1), OUTCOME_OK);
    until_shown(process, 1);

    /* the process comes by another connection, and gives a port that answers */
    struct rpc_client *first = process->client;
    connect_process(process, &stage->small);
    give_route(stage, true);
    atomic_store(&process->holding, false);
    struct sender_result result = world_result(stage->world);
    assert_int_equal(result.outcome, OUTCOME_OK);
    assert_int_equal(result.acknowledged, 1);
    assert_int_equal(atomic_load(&process->shown), 1);
    rpc_client_close(first);
    stage_free(stage);
}

/* The sender is gone before a reversed call is answered: the answer finds nobody, and nothing leaks. */
static void an_answer_after_the_sender_was_freed(void **state)
{
    (void)state;
    struct stage *stage = stage_with_call_ms(60000);
    struct process *process = stage->process;
    give_route(stage, false);
    atomic_store(&process->holding, true);
    assert_int_equal(world_deliver(stage->world, &stage->mailbox, 1, 1), OUTCOME_OK);
    until_shown(process, 1);
    sender_stop(stage->world->sender);
    assert_int_equal(world_result(stage->world).outcome, OUTCOME_STOPPED);
    rpc_server_detach(stage->small.server, process->connection);
    struct world *world = stage->world;
    stage->world = NULL;
    world_free(world);
    atomic_store(&process->holding, false);
    stage_free(stage);
}

/* ---- rpcbind ---- */

static _Atomic unsigned told_port;

static void portmapper(struct svc_req *request, SVCXPRT *transport)
{
    struct pmap asked;
    u_int port = atomic_load(&told_port);
    assert_int_equal(request->rq_proc, PMAPPROC_GETPORT);
    assert_true(svc_getargs(transport, (xdrproc_t)xdr_pmap, &asked));
    assert_int_equal(asked.pm_prot, IPPROTO_TCP);
    assert_true(asked.pm_prog >= FS_TRANSIENT_MIN);
    svc_sendreply(transport, (xdrproc_t)xdr_u_int, (char *)&port);
}

static struct rpc_server *portmapper_new(uint16_t *port)
{
    static const struct rpc_procedure rows[] = {{.label = "null", .anonymous = true},
                                                {.label = "set"},
                                                {.label = "unset"},
                                                {.label = "getport", .anonymous = true}};
    static const struct rpc_program program = {.number = PMAPPROG,
                                               .version = PMAPVERS,
                                               .procedures = rows,
                                               .count = 4,
                                               .dispatch = portmapper};
    const struct rpc_server_options options = {.program = &program,
                                               .limits = rpc_limits_default(),
                                               .clock = clock_system(),
                                               .name = "pmap",
                                               .trust_anonymous = true};
    struct rpc_server *server;
    struct address any, bound;
    assert_int_equal(address_ip("127.0.0.1", 0, &any, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_new(&options, &server, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(server, &any, &bound, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_start(server, NULL), OUTCOME_OK);
    *port = address_port(&bound);
    return server;
}

static void the_port_is_what_rpcbind_tells(void **state)
{
    (void)state;
    static const struct {
        unsigned port; /* 1: the peer's */
        enum outcome outcome;
    } cases[] = {{1, OUTCOME_OK}, {0, OUTCOME_ABSENT}, {1023, OUTCOME_PROTOCOL}, {65536, OUTCOME_PROTOCOL}};
    struct sender_limits limits = world_limits();
    struct rpc_server *rpcbind = portmapper_new(&limits.rpcbind_port);
    struct world *world = world_new(&limits, NULL);
    struct callback_peer *peer = callback_peer_new(0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        atomic_store(&told_port, cases[i].port == 1 ? peer->port : cases[i].port);
        struct sender_route route = world_route(peer);
        route.ask_rpcbind = true;
        address_set_port(&route.peer, 0);
        struct id mailbox = id_random();
        assert_int_equal(sender_prove(world->sender, &mailbox, &route, NULL), OUTCOME_OK);
        assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_OK);
        assert_int_equal(world_result(world).outcome, cases[i].outcome);
    }
    assert_int_equal(atomic_load(&peer->notifies), 1);
    world_free(world);
    callback_peer_free(peer);
    rpc_server_stop(rpcbind, 1000);
    rpc_server_free(rpcbind);
}

/* A silent rpcbind holds up nobody, and its client no longer than the deadline. */
static void a_silent_rpcbind_has_a_deadline(void **state)
{
    (void)state;
    struct sender_limits limits = world_limits();
    struct callback_peer *silent = callback_peer_new(0), *peer = callback_peer_new(0);
    atomic_store(&silent->on_notify, PEER_HANGS); /* GETPORT looks like any call but HELLO */
    silent->program = PMAPPROG;
    limits.rpcbind_port = silent->port;
    struct world *world = world_new(&limits, NULL);
    struct sender_route route = world_route(peer);
    route.ask_rpcbind = true;
    struct id mailbox = id_random();
    int64_t began = now_ms();
    assert_int_equal(sender_prove(world->sender, &mailbox, &route, NULL), OUTCOME_OK);
    assert_int_equal(world_deliver(world, &mailbox, 1, 1), OUTCOME_OK);
    assert_int_equal(world_result(world).outcome, OUTCOME_TIMEOUT);
    assert_true(now_ms() - began < (int64_t)10000 * slowness());
    assert_int_equal(atomic_load(&peer->connections), 0);
    world_free(world);
    callback_peer_free(silent);
    callback_peer_free(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_the_clients_own_connection),
        cmocka_unit_test(a_wrong_ticket_is_denied),
        cmocka_unit_test(from_dial_back_to_reversed_within_one_delivery),
        cmocka_unit_test(a_proof_that_does_not_come_is_not_waited_for),
        cmocka_unit_test(the_connection_goes_and_comes_back),
        cmocka_unit_test(in_vain_it_is_no_way),
        cmocka_unit_test(a_call_that_loses_its_connection),
        cmocka_unit_test(an_answer_after_the_sender_was_freed),
        cmocka_unit_test(the_port_is_what_rpcbind_tells),
        cmocka_unit_test(a_silent_rpcbind_has_a_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
