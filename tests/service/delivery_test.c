/*
 * Delivery on the real store, by real sockets: an upload wakes who waits, over
 * restarts, and only one process has a mailbox.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "callback/listener.h"
#include "place.h"
#include "rpc/client.h"
#include "server/procedures/service.h"

#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { SHOWN_MAX = 64, RETRY_FIRST_MS = 20, RETRY_LAST_MS = 200 };

#define must(call)                               \
    do {                                         \
        struct failure why = {0};                \
        if ((call) != OUTCOME_OK)                \
            fail_msg("%s: %s", #call, why.text); \
    } while (0)

static int64_t patience_ms(void)
{
    const char *slowness = getenv("FILESHARE_SLOWNESS");
    return 10000 * (slowness && atoi(slowness) > 0 ? atoi(slowness) : 1);
}

static int64_t now_ms(void)
{
    return clock_elapsed(clock_system()) / 1000000;
}

/* ---- the server, but for its main ---- */

struct house {
    char folder[64];
    struct store *store;
    struct service service;
    struct rpc_server *server;
    struct delivery *delivery;
    struct address address;
    struct store_faulty_plan plan; /* every 0: the store as it is */
};

static void closed(void *context, uint64_t connection)
{
    const struct service *service = context;
    delivery_connection_closed(service->delivery, connection);
}

static void house_begin(struct house *house)
{
    const struct store_limits limits = store_limits_default();
    const struct store_local_options store = {.folder = house->folder,
                                              .limits = limits,
                                              .clock = clock_system()};
    must(store_local_open(&store, &house->store, &why));
    if (house->plan.every > 0) {
        struct store *inner = house->store;
        must(store_faulty_new(inner, &house->plan, &house->store, &why));
    }
    must(service_init(&house->service, house->store, &limits, clock_system(), &why));
    const struct rpc_server_options server = {.program = service_program(),
                                              .limits = rpc_limits_default(),
                                              .clock = clock_system(),
                                              .name = "house",
                                              .closed = closed,
                                              .context = &house->service};
    must(rpc_server_new(&server, &house->server, &why));
    struct address any;
    must(address_ip("127.0.0.1", 0, &any, &why));
    must(rpc_server_listen(house->server, &any, &house->address, &why));
    struct delivery_options delivery = {.store = house->store,
                                        .server = house->server,
                                        .clock = clock_system(),
                                        .limits = sender_limits_default(),
                                        .retry_first_ms = RETRY_FIRST_MS,
                                        .retry_last_ms = RETRY_LAST_MS};
    delivery.limits.prove_wait_ms = 200;
    /* A claim whose answer was lost waits for its lease, which counts with these. */
    delivery.limits.connect_ms = delivery.limits.call_ms = (unsigned)(patience_ms() /
                                                                      (house->plan.every > 0 ? 100 : 40));
    must(delivery_new(&delivery, &house->delivery, &why));
    house->service.server = house->server;
    house->service.delivery = house->delivery;
    must(delivery_start(house->delivery, &why));
    must(rpc_server_start(house->server, &why));
}

static void house_end(struct house *house)
{
    rpc_server_stop(house->server, 5000);
    delivery_stop(house->delivery);
    delivery_free(house->delivery);
    rpc_server_free(house->server);
    service_fini(&house->service);
    house->store->acts->close(house->store);
}

static struct house *house_new(void)
{
    struct house *house = calloc(1, sizeof *house);
    assert_non_null(place_make(house->folder, place_on_disk(), "delivery"));
    house_begin(house);
    return house;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *where)
{
    (void)stat, (void)kind, (void)where;
    return remove(path);
}

static void house_free(struct house *house)
{
    house_end(house);
    nftw(house->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(house);
}

/* A new name, as another client would bring it. Repeated, as clients do, if the store is not sure. */
static void publish(struct house *house, const char *name)
{
    const struct store_caller caller = {.principal = "unix:1"};
    struct store_put put = {.op = id_random(), .name = name, .content = "content", .size = 7};
    struct store_entry entry;
    struct failure why = {0};
    enum outcome outcome = OUTCOME_UNKNOWN;
    for (int tries = 0; tries < 100 && (outcome == OUTCOME_UNKNOWN || outcome == OUTCOME_UNAVAILABLE);
         tries++)
        outcome = house->store->acts->put(house->store, &caller, &put, &entry, &why);
    if (outcome != OUTCOME_OK)
        fail_msg("%s", why.text);
    bool left = true;
    for (int tries = 0; tries < 100 && left; tries++)
        if (house->store->acts->fan_out(house->store, 100, &left, &why) != OUTCOME_OK)
            left = true;
    assert_false(left);
}

/* ---- a client process ---- */

enum ways { DIALLED = 1, REVERSED = 2 };

struct process {
    struct listener *listener;
    struct rpc_client *client;
    struct id ticket;
    pthread_mutex_t lock; /* guards what follows */
    char names[SHOWN_MAX][64];
    unsigned count;
    uint64_t last;
    bool in_order;
};

static uint64_t show(void *context, const struct event *events, size_t count, bool reversed)
{
    struct process *process = context;
    (void)reversed;
    pthread_mutex_lock(&process->lock);
    for (size_t i = 0; i < count && process->count < SHOWN_MAX; i++) {
        process->in_order = process->in_order && events[i].number > process->last;
        process->last = events[i].number;
        snprintf(process->names[process->count++], sizeof process->names[0], "%s%.40s",
                 events[i].kind == EVENT_ARRIVED ? "" : "over:",
                 events[i].kind == EVENT_ARRIVED ? events[i].entry.name : events[i].pattern);
    }
    pthread_mutex_unlock(&process->lock);
    return events[count - 1].number;
}

/* A client that gives no number of its own serves the one of the .x. */
static uint32_t reversed_number(const struct process *process, enum ways ways)
{
    return ways & DIALLED ? listener_number(process->listener) : FILESHARE_CALLBACK_PROG;
}

static void process_connect(struct process *process, const struct house *house, enum ways ways)
{
    const struct rpc_client_options options = {.number = FILESHARE_PROG,
                                               .version = FILESHARE_V1,
                                               .call_ms = (unsigned)patience_ms(),
                                               .reversed = listener_program(),
                                               .reversed_number = reversed_number(process, ways),
                                               .context = process->listener};
    must(rpc_client_connect(&house->address, &options, &process->client, &why));
}

static struct process *process_new(const struct house *house, enum ways ways)
{
    struct process *process = calloc(1, sizeof *process);
    const struct listener_options options = {.local = house->address, .without_rpcbind = true};
    pthread_mutex_init(&process->lock, NULL);
    process->in_order = true;
    process->ticket = id_random();
    must(listener_new(&options, &process->listener, &why));
    must(listener_add(process->listener, &process->ticket, 0, show, process, &why));
    process_connect(process, house, ways);
    return process;
}

static void process_free(struct process *process)
{
    rpc_client_close(process->client);
    listener_free(process->listener);
    pthread_mutex_destroy(&process->lock);
    free(process);
}

static unsigned await_shown(struct process *process, unsigned count)
{
    for (int64_t until = now_ms() + patience_ms();; poll(NULL, 0, 2)) {
        pthread_mutex_lock(&process->lock);
        unsigned have = process->count;
        pthread_mutex_unlock(&process->lock);
        if (have >= count || now_ms() > until)
            return have;
    }
}

static fs_id wire_id_of(const struct id *id)
{
    fs_id wire;
    memcpy(wire.octets, id->octets, ID_SIZE);
    return wire;
}

static fs_callback callback_of(const struct process *process, enum ways ways,
                               char universal[ADDRESS_TEXT_SIZE])
{
    static char netid[] = "tcp";
    fs_callback callback = {.ticket = wire_id_of(&process->ticket), .reversed = (ways & REVERSED) != 0};
    callback.proof = wire_id_of(listener_proof(process->listener));
    if (ways & DIALLED) {
        callback.prog = listener_number(process->listener);
        address_universal(listener_address(process->listener), universal);
        callback.netid = (fs_address){3, netid};
        callback.address = (fs_address){(u_int)strlen(universal), universal};
    }
    return callback;
}

static fs_status attach_as(struct process *process, const struct id *mailbox, fs_callback *callback,
                           fs_route *route)
{
    fs_attach_args args = {.mailbox = wire_id_of(mailbox), .callback = *callback};
    fs_attach_res res = {.status = FS_OK};
    assert_int_equal(fsproc_attach_1(&args, &res, rpc_client_handle(process->client)), RPC_SUCCESS);
    if (res.status == FS_OK)
        *route = res.fs_attach_res_u.attachment.route;
    fs_status status = res.status;
    clnt_freeres(rpc_client_handle(process->client), (xdrproc_t)xdr_fs_attach_res, (char *)&res);
    return status;
}

static fs_status attach(struct process *process, const struct id *mailbox, enum ways ways, fs_route *route)
{
    char universal[ADDRESS_TEXT_SIZE];
    fs_callback callback = callback_of(process, ways, universal);
    return attach_as(process, mailbox, &callback, route);
}

static void wait_for(struct process *process, const struct id *mailbox, const char *pattern, fs_repeat repeat,
                     unsigned seconds)
{
    struct id interest = id_random();
    fs_register_args args = {.mailbox = wire_id_of(mailbox),
                             .interest = wire_id_of(&interest),
                             .match = strchr(pattern, '*') ? FS_GLOB : FS_EXACT,
                             .pattern = {(u_int)strlen(pattern), (char *)(uintptr_t)pattern},
                             .seconds = seconds,
                             .repeat = repeat,
                             .present = FS_IGNORE};
    fs_register_res res = {.status = FS_UNAVAILABLE};
    for (int tries = 0; tries < 100 && (res.status == FS_UNAVAILABLE || res.status == FS_UNKNOWN); tries++) {
        memset(&res, 0, sizeof res);
        assert_int_equal(fsproc_register_interest_1(&args, &res, rpc_client_handle(process->client)),
                         RPC_SUCCESS);
        fs_status status = res.status;
        clnt_freeres(rpc_client_handle(process->client), (xdrproc_t)xdr_fs_register_res, (char *)&res);
        res.status = status;
    }
    assert_int_equal(res.status, FS_OK);
}

static fs_status detach(struct process *process, const struct id *mailbox, bool forget)
{
    fs_detach_args args = {.mailbox = wire_id_of(mailbox), .forget = forget};
    fs_done_res res = {.status = FS_OK};
    assert_int_equal(fsproc_detach_1(&args, &res, rpc_client_handle(process->client)), RPC_SUCCESS);
    fs_status status = res.status;
    clnt_freeres(rpc_client_handle(process->client), (xdrproc_t)xdr_fs_done_res, (char *)&res);
    return status;
}

static bool await_state(struct house *house, const struct id *mailbox, enum sender_state state)
{
    int64_t until = now_ms() + patience_ms();
    while (delivery_state(house->delivery, mailbox) != state && now_ms() < until)
        poll(NULL, 0, 2);
    return delivery_state(house->delivery, mailbox) == state;
}

/* All of the mailbox's events were acknowledged, and the store knows it. */
static bool await_empty(struct house *house, const struct id *mailbox)
{
    struct store_event event;
    size_t count = 1;
    bool more;
    for (int64_t until = now_ms() + patience_ms(); count > 0 && now_ms() < until; poll(NULL, 0, 2))
        must(house->store->acts->mailbox_events(house->store, mailbox, 0, &event, 1, &count, &more, &why));
    return count == 0;
}

/* ---- tests ---- */

static void by_either_way(void **state)
{
    (void)state;
    static const enum ways ways[] = {DIALLED, REVERSED, DIALLED | REVERSED};
    struct house *house = house_new();
    for (unsigned i = 0; i < 3; i++) {
        struct process *process = process_new(house, ways[i]);
        struct id mailbox = id_random();
        struct delivery_counters before, after;
        char names[3][16];
        fs_route route;
        delivery_count(house->delivery, &before);
        assert_int_equal(attach(process, &mailbox, ways[i], &route), FS_OK);
        assert_true(route == (ways[i] == REVERSED ? FS_ROUTE_REVERSED : FS_ROUTE_PROVING) ||
                    (ways[i] & DIALLED && route == FS_ROUTE_DIALBACK));
        wait_for(process, &mailbox, "w*", FS_EVERY, 60);
        assert_true(await_state(house, &mailbox, ways[i] == REVERSED ? SENDER_REVERSED : SENDER_DIALBACK));
        for (unsigned j = 0; j < 3; j++) {
            snprintf(names[j], sizeof names[j], "w%u.%u", i, j);
            publish(house, names[j]);
        }
        assert_int_equal(await_shown(process, 3), 3);
        assert_true(await_empty(house, &mailbox));
        assert_true(process->in_order);
        for (unsigned j = 0; j < 3; j++)
            assert_string_equal(process->names[j], names[j]);
        delivery_count(house->delivery, &after);
        assert_int_equal(after.events - before.events, 3);
        assert_true(ways[i] == REVERSED
                        ? after.reversed > before.reversed && after.dialback == before.dialback
                        : after.dialback > before.dialback && after.reversed == before.reversed);
        assert_int_equal(detach(process, &mailbox, true), FS_OK);
        process_free(process);
    }
    house_free(house);
}

/* The server goes and comes back; nobody attaches again; what came meanwhile is told by the route that was kept. */
static void a_kept_route_is_dialled_after_a_restart(void **state)
{
    (void)state;
    struct house *house = house_new();
    struct process *process = process_new(house, DIALLED | REVERSED);
    struct id mailbox = id_random();
    fs_route route;
    assert_int_equal(attach(process, &mailbox, DIALLED | REVERSED, &route), FS_OK);
    wait_for(process, &mailbox, "late", FS_ONCE, 60);
    process->client = rpc_client_close(process->client);
    delivery_stop(house->delivery);
    publish(house, "late");
    house_end(house);
    assert_int_equal(process->count, 0);
    house_begin(house);
    assert_int_equal(await_shown(process, 1), 1);
    assert_string_equal(process->names[0], "late");
    assert_true(await_empty(house, &mailbox));
    process_free(process);
    house_free(house);
}

/* The client goes and comes back, with another ticket and at another port. */
static void a_client_that_was_away_hears(void **state)
{
    (void)state;
    struct house *house = house_new();
    struct process *process = process_new(house, DIALLED | REVERSED);
    struct id mailbox = id_random();
    fs_route route;
    assert_int_equal(attach(process, &mailbox, DIALLED | REVERSED, &route), FS_OK);
    wait_for(process, &mailbox, "away", FS_ONCE, 60);
    assert_true(await_state(house, &mailbox, SENDER_DIALBACK));
    process_free(process);
    publish(house, "away");
    assert_true(await_state(house, &mailbox, SENDER_NONE));

    process = process_new(house, DIALLED | REVERSED);
    assert_int_equal(attach(process, &mailbox, DIALLED | REVERSED, &route), FS_OK);
    assert_int_equal(await_shown(process, 1), 1);
    assert_string_equal(process->names[0], "away");
    assert_true(await_empty(house, &mailbox));
    struct delivery_counters counters;
    delivery_count(house->delivery, &counters);
    assert_true(counters.retries > 0);
    process_free(process);
    house_free(house);
}

static void one_process_has_a_mailbox(void **state)
{
    (void)state;
    static const enum ways ways[] = {DIALLED, REVERSED};
    struct house *house = house_new();
    for (unsigned i = 0; i < 2; i++) {
        struct process *first = process_new(house, ways[i]), *second = process_new(house, ways[i]);
        struct id mailbox = id_random();
        fs_route route;
        assert_int_equal(attach(first, &mailbox, ways[i], &route), FS_OK);
        assert_true(await_state(house, &mailbox, ways[i] == DIALLED ? SENDER_DIALBACK : SENDER_REVERSED));
        /* it is asked whether it lives, which it does, however often and for longer than it may take to answer */
        for (int times = 0; times < 4; times++) {
            assert_int_equal(attach(second, &mailbox, ways[i], &route), FS_HELD);
            poll(NULL, 0, (int)(patience_ms() / 40 / 2));
        }
        const char *asked = i == 0 ? "asked.0" : "asked.1";
        wait_for(first, &mailbox, asked, FS_ONCE, 60);
        publish(house, asked);
        assert_int_equal(await_shown(first, 1), 1);
        /* the same process, by a new connection */
        struct rpc_client *old = first->client;
        process_connect(first, house, ways[i]);
        assert_int_equal(attach(first, &mailbox, ways[i], &route), FS_OK);
        rpc_client_close(old);
        assert_int_equal(attach(second, &mailbox, ways[i], &route), FS_HELD);
        /* it gives the mailbox up, and takes it again */
        assert_int_equal(detach(first, &mailbox, false), FS_OK);
        assert_int_equal(delivery_state(house->delivery, &mailbox), SENDER_NONE);
        assert_int_equal(attach(second, &mailbox, ways[i], &route), FS_OK);
        assert_true(await_state(house, &mailbox, ways[i] == DIALLED ? SENDER_DIALBACK : SENDER_REVERSED));
        assert_int_equal(attach(first, &mailbox, ways[i], &route), FS_HELD);
        /* or it dies */
        process_free(second);
        int64_t until = now_ms() + patience_ms();
        while (attach(first, &mailbox, ways[i], &route) == FS_HELD && now_ms() < until)
            poll(NULL, 0, 5);
        wait_for(first, &mailbox, i == 0 ? "mine.0" : "mine.1", FS_ONCE, 60);
        publish(house, i == 0 ? "mine.0" : "mine.1");
        assert_int_equal(await_shown(first, 2), 2);
        process_free(first);
    }
    house_free(house);
}

static void callbacks_that_are_refused(void **state)
{
    (void)state;
    static const struct {
        u_int program;
        const char *address;
        fs_status status;
    } cases[] = {
        {FS_TRANSIENT_MIN - 1, "127.0.0.1.160.0", FS_INVALID},
        {FS_TRANSIENT_MIN, "127.0.0.1.160.0", FS_OK},
        {FS_TRANSIENT_MAX, "127.0.0.1.160.0", FS_OK},
        {FS_TRANSIENT_MAX + 1, "127.0.0.1.160.0", FS_INVALID},
        {FS_TRANSIENT_MIN, "127.0.0.1.3.255", FS_INVALID},
        {FS_TRANSIENT_MIN, "127.0.0.1.4.0", FS_OK},
        {FS_TRANSIENT_MIN, "", FS_OK},
        {FS_TRANSIENT_MIN, "nonsense", FS_INVALID},
        {100000, "127.0.0.1.0.111", FS_INVALID},
    };
    struct house *house = house_new();
    struct process *process = process_new(house, DIALLED | REVERSED);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char universal[ADDRESS_TEXT_SIZE];
        fs_callback callback = callback_of(process, DIALLED, universal);
        struct id mailbox = id_random();
        fs_route route;
        strcpy(universal, cases[i].address);
        callback.prog = cases[i].program;
        callback.address.fs_address_len = (u_int)strlen(universal);
        assert_int_equal(attach_as(process, &mailbox, &callback, &route), cases[i].status);
    }
    process_free(process);
    house_free(house);
}

static void detached_is_told_nothing(void **state)
{
    (void)state;
    struct house *house = house_new();
    struct process *process = process_new(house, REVERSED);
    struct id mailbox = id_random(), other = id_random();
    fs_route route;
    assert_int_equal(attach(process, &mailbox, REVERSED, &route), FS_OK);
    wait_for(process, &mailbox, "a", FS_ONCE, 60);
    assert_int_equal(detach(process, &mailbox, false), FS_OK);
    publish(house, "a");
    /* another mailbox of the same process goes on over the connection */
    assert_int_equal(attach(process, &other, REVERSED, &route), FS_OK);
    wait_for(process, &other, "b", FS_ONCE, 60);
    publish(house, "b");
    assert_int_equal(await_shown(process, 1), 1);
    assert_string_equal(process->names[0], "b");
    assert_true(await_empty(house, &other));
    assert_false(delivery_state(house->delivery, &mailbox) != SENDER_NONE);
    assert_int_equal(detach(process, &other, true), FS_OK);
    process_free(process);
    house_free(house);
}

/* A store that fails now and then: each event is shown, and once. */
static void a_faulty_store_loses_nothing(void **state)
{
    enum { COUNT = 6 };
    (void)state;
    for (unsigned after = 0; after < 2; after++) {
        struct house *house = house_new();
        struct process *process = process_new(house, DIALLED | REVERSED);
        struct id mailbox = id_random();
        fs_route route;
        assert_int_equal(attach(process, &mailbox, DIALLED | REVERSED, &route), FS_OK);
        house_end(house);
        house->plan = (struct store_faulty_plan){.every = 5, .after = after == 1};
        house_begin(house);
        rpc_client_close(process->client);
        process_connect(process, house, DIALLED | REVERSED);
        for (int tries = 0; tries < 10 && attach(process, &mailbox, DIALLED | REVERSED, &route) != FS_OK;
             tries++)
            ;
        wait_for(process, &mailbox, "f*", FS_EVERY, 60);
        for (unsigned i = 0; i < COUNT; i++) {
            char name[16];
            snprintf(name, sizeof name, "f%u", i);
            publish(house, name);
        }
        assert_int_equal(await_shown(process, COUNT), COUNT);
        house_end(house);
        house->plan.every = 0;
        house_begin(house);
        assert_true(await_empty(house, &mailbox));
        assert_int_equal(process->count, COUNT);
        assert_true(process->in_order);
        process_free(process);
        house_free(house);
    }
}

/* An interest that runs out unmet is told too. */
static void time_that_ran_out_is_told(void **state)
{
    (void)state;
    struct house *house = house_new();
    struct process *process = process_new(house, DIALLED | REVERSED);
    struct id mailbox = id_random();
    fs_route route;
    assert_int_equal(attach(process, &mailbox, DIALLED, &route), FS_OK);
    wait_for(process, &mailbox, "never", FS_ONCE, 1);
    struct store_sweep sweep;
    bool left;
    int64_t due;
    for (int64_t until = now_ms() + patience_ms(); await_shown(process, 0) == 0 && now_ms() < until;
         poll(NULL, 0, 20))
        must(house->store->acts->sweep(house->store, &sweep, &left, &due, &why));
    assert_int_equal(await_shown(process, 1), 1);
    assert_string_equal(process->names[0], "over:never");
    process_free(process);
    house_free(house);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_either_way),
        cmocka_unit_test(a_kept_route_is_dialled_after_a_restart),
        cmocka_unit_test(a_client_that_was_away_hears),
        cmocka_unit_test(one_process_has_a_mailbox),
        cmocka_unit_test(callbacks_that_are_refused),
        cmocka_unit_test(detached_is_told_nothing),
        cmocka_unit_test(a_faulty_store_loses_nothing),
        cmocka_unit_test(time_that_ran_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
