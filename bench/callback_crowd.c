#include "callback_crowd.h"

#include "callback/listener.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PROGRAM_SHARE = 40, /* mailboxes of one callback program: it takes 64 connections */
    READY_S = 60,
    TOLD_S = 30,
    INTEREST_S = 3600,
};

int64_t bench_now(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

void bench_fail(const char *what)
{
    fprintf(stderr, "bench_callback: %s\n", what);
    exit(1);
}

void bench_expect(enum outcome outcome, const struct failure *why)
{
    if (outcome != OUTCOME_OK)
        bench_fail(why->text);
}

static void nap(int milliseconds)
{
    const struct timespec span = {.tv_nsec = milliseconds * 1000000L};
    nanosleep(&span, NULL);
}

/* ---- the board ---- */

struct board *board_new(void)
{
    struct board *board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                               0);
    if (board == MAP_FAILED || (board->told = eventfd(0, EFD_CLOEXEC)) < 0)
        bench_fail("no memory for what is heard");
    return board;
}

void board_expect(struct board *board, unsigned count)
{
    atomic_store(&board->heard, 0);
    atomic_store(&board->since_arrival, 0);
    atomic_store(&board->expected, count);
}

void board_wait(struct board *board)
{
    struct pollfd told = {.fd = board->told, .events = POLLIN};
    eventfd_t count;
    if (poll(&told, 1, TOLD_S * 1000) != 1 || eventfd_read(board->told, &count) != 0)
        bench_fail("not all who wait have heard");
}

static void raise_to(_Atomic int64_t *value, int64_t at_least)
{
    int64_t now = atomic_load(value);
    while (now < at_least && !atomic_compare_exchange_weak(value, &now, at_least))
        continue;
}

/* listener_handler. The clocks are read before anything else is done. */
static uint64_t hear(void *context, const struct event *events, size_t count, bool reversed)
{
    struct board *board = context;
    int64_t wall = bench_now(CLOCK_REALTIME), now = bench_now(CLOCK_MONOTONIC);
    const struct event *last = &events[count - 1];
    (void)reversed;
    atomic_store(&board->last_heard, now);
    raise_to(&board->since_arrival, wall - last->entry.arrival);
    if (atomic_fetch_add(&board->heard, 1) + 1 == atomic_load(&board->expected))
        (void)eventfd_write(board->told, 1);
    return last->number;
}

/* ---- one process of those who wait ---- */

struct rpc_client *bench_connect(uint16_t port, struct listener *reversed)
{
    const struct rpc_client_options options = {
        .number = FILESHARE_PROG,
        .version = FILESHARE_V1,
        .reversed = reversed ? listener_program() : NULL, /* under the number in the contract */
        .context = reversed,
    };
    struct address address;
    struct rpc_client *client = NULL;
    struct failure why;
    bench_expect(address_ip("127.0.0.1", port, &address, &why), &why);
    bench_expect(rpc_client_connect(&address, &options, &client, &why), &why);
    return client;
}

fs_name bench_name(const char *name)
{
    return (fs_name){.fs_name_len = (u_int)strlen(name), .fs_name_val = (char *)(uintptr_t)name};
}

static fs_id wire_id(const struct id *id)
{
    fs_id out;
    memcpy(out.octets, id->octets, sizeof out.octets);
    return out;
}

static fs_id random_id(void)
{
    struct id id = id_random();
    return wire_id(&id);
}

/* The way back, as ATTACH takes it; `universal` holds its address. */
static fs_callback way_back(const struct crowd_options *options, const struct listener *listener,
                            const struct id *ticket, char universal[ADDRESS_TEXT_SIZE])
{
    fs_callback callback = {
        .proof = wire_id(listener_proof(listener)),
        .ticket = wire_id(ticket),
        .reversed = options->reversed,
    };
    if (options->reversed) /* by no other way: without an address to dial */
        return callback;
    address_universal(listener_address(listener), universal);
    callback.prog = listener_number(listener);
    callback.netid.fs_address_val = (char *)(uintptr_t)address_netid(listener_address(listener));
    callback.netid.fs_address_len = (u_int)strlen(callback.netid.fs_address_val);
    callback.address.fs_address_val = universal;
    callback.address.fs_address_len = (u_int)strlen(universal);
    return callback;
}

static void await_route(struct rpc_client *client, const fs_id *mailbox, fs_route route)
{
    int64_t until = bench_now(CLOCK_MONOTONIC) + READY_S * INT64_C(1000000000);
    fs_interests_args args = {.mailbox = *mailbox};
    for (;;) {
        fs_interests_res res = {0};
        if (fsproc_list_interests_1(&args, &res, rpc_client_handle(client)) != RPC_SUCCESS ||
            res.status != FS_OK)
            bench_fail("the way back is not told");
        bool there = res.fs_interests_res_u.page.route == route;
        clnt_freeres(rpc_client_handle(client), (xdrproc_t)xdr_fs_interests_res, (caddr_t)&res);
        if (there)
            return;
        if (bench_now(CLOCK_MONOTONIC) > until)
            bench_fail("a way back was not proved");
        nap(5);
    }
}

/* One mailbox with one interest and a way back. */
static fs_id wait_for_name(const struct crowd_options *options, struct rpc_client *client,
                           struct listener *listener, struct board *board)
{
    struct id ticket = id_random();
    struct failure why;
    char universal[ADDRESS_TEXT_SIZE];
    fs_callback callback;
    bench_expect(listener_add(listener, &ticket, 0, hear, board, &why), &why);
    callback = way_back(options, listener, &ticket, universal);
    fs_register_args args = {
        .mailbox = random_id(),
        .interest = random_id(),
        .match = FS_EXACT,
        .pattern = bench_name(options->name),
        .seconds = INTEREST_S,
        .repeat = FS_EVERY,
        .present = FS_IGNORE,
        .callback = &callback,
    };
    fs_register_res res = {0};
    if (fsproc_register_interest_1(&args, &res, rpc_client_handle(client)) != RPC_SUCCESS ||
        res.status != FS_OK)
        bench_fail("an interest was not registered");
    clnt_freeres(rpc_client_handle(client), (xdrproc_t)xdr_fs_register_res, (caddr_t)&res);
    return args.mailbox;
}

static struct listener *new_listener(void)
{
    struct listener_options options = {.without_rpcbind = true};
    struct listener *listener = NULL;
    struct failure why;
    bench_expect(address_ip("127.0.0.1", 0, &options.local, &why), &why);
    bench_expect(listener_new(&options, &listener, &why), &why);
    return listener;
}

static void crowd_run(const struct crowd_options *options, struct board *board)
{
    struct rpc_client *client = bench_connect(options->port, NULL);
    struct listener *listener = NULL;
    fs_id *mailboxes = calloc(options->count, sizeof *mailboxes);
    fs_route route = options->reversed ? FS_ROUTE_REVERSED : FS_ROUTE_DIALBACK;
    for (unsigned i = 0; mailboxes && i < options->count; i++) {
        if (i % PROGRAM_SHARE == 0)
            listener = new_listener();
        struct rpc_client *own = options->reversed ? bench_connect(options->port, listener) : client;
        mailboxes[i] = wait_for_name(options, own, listener, board);
    }
    for (unsigned i = 0; mailboxes && i < options->count; i++)
        await_route(client, &mailboxes[i], route);
    atomic_fetch_add(&board->ready, options->count);
    for (;;)
        pause();
}

pid_t crowd_start(const struct crowd_options *options, struct board *board)
{
    int64_t until = bench_now(CLOCK_MONOTONIC) + READY_S * INT64_C(1000000000);
    unsigned ready = atomic_load(&board->ready) + options->count;
    pid_t pid = fork();
    if (pid < 0)
        bench_fail("cannot fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        crowd_run(options, board);
    }
    while (atomic_load(&board->ready) < ready) {
        if (waitpid(pid, NULL, WNOHANG) == pid || bench_now(CLOCK_MONOTONIC) > until)
            bench_fail("those who wait could not begin to");
        nap(5);
    }
    return pid;
}

void crowd_end(pid_t pid)
{
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}
