/* The callback program, called as a server calls it, and as none should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "callback/listener.h"
#include "rpc/client.h"
#include "wire/peer.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { SHOWN_MAX = 256 };

/* A handler, and what it was shown. */
struct audience {
    uint64_t numbers[SHOWN_MAX];
    _Atomic unsigned count, calls;
    _Atomic unsigned at_once, most_at_once;
    uint64_t only_up_to;  /* 0: shows all */
    _Atomic bool holding; /* stays in the handler until it is false */
};

static uint64_t show(void *context, const struct event *events, size_t count, bool reversed)
{
    struct audience *audience = context;
    assert_false(reversed);
    atomic_fetch_add(&audience->calls, 1);
    unsigned now = atomic_fetch_add(&audience->at_once, 1) + 1;
    if (now > atomic_load(&audience->most_at_once))
        atomic_store(&audience->most_at_once, now);
    uint64_t shown = 0;
    for (size_t i = 0; i < count; i++) {
        if (audience->only_up_to != 0 && events[i].number > audience->only_up_to)
            break;
        shown = events[i].number;
        unsigned at = atomic_load(&audience->count);
        assert_true(at < SHOWN_MAX);
        audience->numbers[at] = shown;
        atomic_store(&audience->count, at + 1);
    }
    while (atomic_load(&audience->holding))
        poll(NULL, 0, 1);
    atomic_fetch_sub(&audience->at_once, 1);
    return shown;
}

static struct listener *listener(void)
{
    struct listener_options options = {.local = {.size = 0}, .without_rpcbind = true};
    struct listener *listener;
    struct failure why;
    assert_int_equal(listener_new(&options, &listener, &why), OUTCOME_OK);
    return listener;
}

static struct rpc_client *caller(const struct listener *listener)
{
    const struct rpc_client_options options = {.number = listener_number(listener),
                                               .version = 1,
                                               .anonymous = true,
                                               .call_ms = 10000 * slowness()};
    struct rpc_client *client;
    struct failure why;
    assert_int_equal(rpc_client_connect(listener_address(listener), &options, &client, &why), OUTCOME_OK);
    return client;
}

/* A NOTIFY of these numbers. */
static enum clnt_stat notify(struct rpc_client *client, const struct id *ticket, const uint64_t *numbers,
                             unsigned count, uint64_t *acknowledged)
{
    fs_event rows[FS_EVENTS_MAX] = {{.number = 0}};
    fs_notify_args args = {.rows = {count, rows}};
    fs_notify result = {.acknowledged = 0};
    memcpy(args.ticket.octets, ticket->octets, ID_SIZE);
    for (unsigned i = 0; i < count; i++)
        rows[i] = (fs_event){.number = numbers[i], .kind = FS_EXPIRED};
    enum clnt_stat stat = fscbproc_notify_1(&args, &result, rpc_client_handle(client));
    if (stat == RPC_SUCCESS)
        *acknowledged = result.acknowledged;
    return stat;
}

#define NOTIFY(client, ticket, acknowledged, ...)           \
    notify(client, ticket, (const uint64_t[]){__VA_ARGS__}, \
           sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t), acknowledged)

static void null_and_the_proof(void **state)
{
    (void)state;
    struct listener *program = listener();
    assert_true(listener_number(program) >= FS_TRANSIENT_MIN && listener_number(program) <= FS_TRANSIENT_MAX);
    assert_true(address_is_loopback(listener_address(program)));
    assert_true(address_port(listener_address(program)) >= 1024);
    assert_false(listener_is_registered(program));
    struct rpc_client *client = caller(program);
    fs_callback_hello_args args = {.instance = {.octets = {1}}};
    fs_callback_hello hello;
    char nothing;
    assert_int_equal(fscbproc_null_1(NULL, &nothing, rpc_client_handle(client)), RPC_SUCCESS);
    assert_int_equal(fscbproc_hello_1(&args, &hello, rpc_client_handle(client)), RPC_SUCCESS);
    assert_memory_equal(hello.proof.octets, listener_proof(program)->octets, ID_SIZE);
    rpc_client_close(client);
    listener_free(program);
}

static void doubles_are_acknowledged_and_not_shown(void **state)
{
    (void)state;
    struct listener *program = listener();
    struct audience audience = {.count = 0};
    struct id ticket = id_random();
    uint64_t acknowledged = 0;
    assert_int_equal(listener_add(program, &ticket, 2, show, &audience, NULL), OUTCOME_OK);
    struct rpc_client *client = caller(program);

    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 1, 2), RPC_SUCCESS);
    assert_int_equal(acknowledged, 2);
    assert_int_equal(audience.calls, 0);
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 1, 2, 3, 7), RPC_SUCCESS);
    assert_int_equal(acknowledged, 7);
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 3, 7), RPC_SUCCESS);
    assert_int_equal(acknowledged, 7);
    /* an older batch once more is not answered with more than it holds */
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 3), RPC_SUCCESS);
    assert_int_equal(acknowledged, 3);
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 8), RPC_SUCCESS);
    assert_int_equal(acknowledged, 8);
    assert_int_equal(notify(client, &ticket, NULL, 0, &acknowledged), RPC_SUCCESS);
    assert_int_equal(acknowledged, 0);

    const uint64_t shown[] = {3, 7, 8};
    assert_int_equal(audience.count, 3);
    assert_memory_equal(audience.numbers, shown, sizeof shown);
    rpc_client_close(client);
    listener_free(program);
}

static void what_was_not_shown_is_not_acknowledged(void **state)
{
    (void)state;
    struct listener *program = listener();
    struct audience audience = {.only_up_to = 2};
    struct id ticket = id_random();
    uint64_t acknowledged = 99;
    assert_int_equal(listener_add(program, &ticket, 0, show, &audience, NULL), OUTCOME_OK);
    struct rpc_client *client = caller(program);
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 1, 2, 3, 4), RPC_SUCCESS);
    assert_int_equal(acknowledged, 2);
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 3, 4), RPC_SUCCESS);
    assert_int_equal(acknowledged, 2);
    audience.only_up_to = 0;
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 3, 4), RPC_SUCCESS);
    assert_int_equal(acknowledged, 4);
    assert_int_equal(audience.count, 4);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(audience.numbers[i], i + 1);
    rpc_client_close(client);
    listener_free(program);
}

static void a_wrong_ticket_is_bad_cred_and_shows_nothing(void **state)
{
    (void)state;
    struct listener *program = listener();
    struct audience audience = {.count = 0};
    struct id ticket = id_random(), wrong = ticket;
    uint64_t acknowledged = 0;
    wrong.octets[ID_SIZE - 1] ^= 1;
    assert_int_equal(listener_add(program, &ticket, 0, show, &audience, NULL), OUTCOME_OK);
    struct rpc_client *client = caller(program);
    struct rpc_err error;

    assert_int_equal(NOTIFY(client, &wrong, &acknowledged, 1), RPC_AUTHERROR);
    clnt_geterr(rpc_client_handle(client), &error);
    assert_int_equal(error.re_why, AUTH_BADCRED);
    listener_remove(program, &ticket);
    listener_remove(program, &ticket);
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 1), RPC_AUTHERROR);
    assert_int_equal(audience.calls, 0);
    assert_int_equal(acknowledged, 0);
    rpc_client_close(client);
    listener_free(program);
}

static void events_that_cannot_be_are_garbage(void **state)
{
    (void)state;
    struct listener *program = listener();
    struct audience audience = {.count = 0};
    struct id ticket = id_random();
    uint64_t acknowledged = 0;
    assert_int_equal(listener_add(program, &ticket, 0, show, &audience, NULL), OUTCOME_OK);
    struct rpc_client *client = caller(program);
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 2, 2), RPC_CANTDECODEARGS);
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 2, 1), RPC_CANTDECODEARGS);
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 0), RPC_CANTDECODEARGS);
    assert_int_equal(audience.calls, 0);
    /* and the mailbox is none the worse for it */
    assert_int_equal(NOTIFY(client, &ticket, &acknowledged, 1, 2), RPC_SUCCESS);
    assert_int_equal(acknowledged, 2);
    rpc_client_close(client);
    listener_free(program);
}

struct batch {
    struct listener *program;
    const struct id *ticket;
    uint64_t number, acknowledged;
    enum clnt_stat stat;
};

static void *send_batch(void *context)
{
    struct batch *batch = context;
    struct rpc_client *client = caller(batch->program);
    batch->stat = notify(client, batch->ticket, &batch->number, 1, &batch->acknowledged);
    rpc_client_close(client);
    return NULL;
}

static bool await_calls(struct audience *audience, unsigned count)
{
    int64_t until = now_ms() + (int64_t)10000 * slowness();
    while (atomic_load(&audience->calls) < count && now_ms() < until)
        poll(NULL, 0, 1);
    return atomic_load(&audience->calls) == count;
}

/* The same event by two ways at once is shown once; others' mailboxes and HELLO do not wait for it. */
static void one_batch_of_a_mailbox_at_a_time(void **state)
{
    (void)state;
    struct listener *program = listener();
    struct audience slow = {.holding = true}, quick = {.count = 0};
    struct id ticket = id_random(), other = id_random();
    assert_int_equal(listener_add(program, &ticket, 0, show, &slow, NULL), OUTCOME_OK);
    assert_int_equal(listener_add(program, &other, 0, show, &quick, NULL), OUTCOME_OK);
    struct batch first = {.program = program, .ticket = &ticket, .number = 1};
    struct batch beside = {.program = program, .ticket = &other, .number = 1};
    struct batch second = first;
    pthread_t a, b;
    assert_int_equal(pthread_create(&a, NULL, send_batch, &first), 0);
    assert_true(await_calls(&slow, 1));
    send_batch(&beside);
    assert_int_equal(beside.stat, RPC_SUCCESS);
    assert_int_equal(pthread_create(&b, NULL, send_batch, &second), 0);

    struct rpc_client *client = caller(program);
    fs_callback_hello_args args = {.instance = {.octets = {1}}};
    fs_callback_hello hello;
    assert_int_equal(fscbproc_hello_1(&args, &hello, rpc_client_handle(client)), RPC_SUCCESS);
    rpc_client_close(client);

    atomic_store(&slow.holding, false);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    assert_int_equal(first.stat, RPC_SUCCESS);
    assert_int_equal(second.stat, RPC_SUCCESS);
    assert_int_equal(first.acknowledged, 1);
    assert_int_equal(second.acknowledged, 1);
    assert_int_equal(slow.count, 1);
    assert_int_equal(slow.most_at_once, 1);
    listener_free(program);
}

static void *let_go_later(void *context)
{
    struct audience *audience = context;
    poll(NULL, 0, 50);
    atomic_store(&audience->holding, false);
    return NULL;
}

static void remove_waits_for_the_handler(void **state)
{
    (void)state;
    struct listener *program = listener();
    struct audience audience = {.holding = true};
    struct id ticket = id_random();
    assert_int_equal(listener_add(program, &ticket, 0, show, &audience, NULL), OUTCOME_OK);
    struct batch batch = {.program = program, .ticket = &ticket, .number = 1};
    pthread_t sending, waking;
    assert_int_equal(pthread_create(&sending, NULL, send_batch, &batch), 0);
    assert_true(await_calls(&audience, 1));
    assert_int_equal(pthread_create(&waking, NULL, let_go_later, &audience), 0);
    listener_remove(program, &ticket);
    assert_int_equal(atomic_load(&audience.at_once), 0);
    pthread_join(waking, NULL);
    pthread_join(sending, NULL);
    assert_int_equal(batch.stat, RPC_SUCCESS);
    listener_free(program);
}

static void tickets_are_bounded_and_once_each(void **state)
{
    (void)state;
    struct listener *program = listener();
    struct audience audience = {.count = 0};
    struct id ticket = id_random();
    struct failure why;
    assert_int_equal(listener_add(program, &ticket, 0, show, &audience, &why), OUTCOME_OK);
    assert_int_equal(listener_add(program, &ticket, 0, show, &audience, &why), OUTCOME_HELD);
    for (int i = 1; i < 256; i++) {
        struct id more = id_random();
        assert_int_equal(listener_add(program, &more, 0, show, &audience, &why), OUTCOME_OK);
    }
    struct id more = id_random();
    assert_int_equal(listener_add(program, &more, 0, show, &audience, &why), OUTCOME_LIMIT);
    listener_remove(program, &ticket);
    assert_int_equal(listener_add(program, &more, 0, show, &audience, &why), OUTCOME_OK);
    listener_free(program);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_and_the_proof),
        cmocka_unit_test(doubles_are_acknowledged_and_not_shown),
        cmocka_unit_test(what_was_not_shown_is_not_acknowledged),
        cmocka_unit_test(a_wrong_ticket_is_bad_cred_and_shows_nothing),
        cmocka_unit_test(events_that_cannot_be_are_garbage),
        cmocka_unit_test(one_batch_of_a_mailbox_at_a_time),
        cmocka_unit_test(remove_waits_for_the_handler),
        cmocka_unit_test(tickets_are_bounded_and_once_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
