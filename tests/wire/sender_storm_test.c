/* Many threads at the sender at once, peers of all manners: each batch that it took is reported once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "callback/sender.h"
#include "wire/callback_peer.h"
#include "wire/peer.h"
#include "wire/sender_world.h"
#include "wire/small_program.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { PEERS = 6, THREADS = 4, MAILBOXES = 12, STORM_MS = 1500, TOKENS = 1 << 16 };

struct storm {
    struct sender *sender;
    struct callback_peer *peers[PEERS];
    struct id mailboxes[MAILBOXES];
    _Atomic unsigned next_token, taken, done, acknowledged;
    _Atomic unsigned char reports[TOKENS];
    int64_t until;
};

static void done(void *context, const struct sender_result *result)
{
    struct storm *storm = context;
    assert_true(result->token < TOKENS);
    atomic_fetch_add(&storm->reports[result->token], 1);
    atomic_fetch_add(&storm->done, 1);
    atomic_fetch_add(&storm->acknowledged, result->outcome == OUTCOME_OK && result->acknowledged > 0);
}

static struct sender_route some_route(struct storm *storm, unsigned *seed)
{
    const struct callback_peer *peer = storm->peers[rand_r(seed) % PEERS];
    struct sender_route route = world_route(peer);
    /* connections that nobody has: a reversed call over them fails */
    route.connection = (uint64_t)(rand_r(seed) % 4);
    if (rand_r(seed) % 8 == 0)
        route.program = 0;
    return route;
}

static void deliver(struct storm *storm, const struct id *mailbox)
{
    unsigned token = atomic_fetch_add(&storm->next_token, 1);
    struct event event = {.number = token + 1, .kind = EVENT_EXPIRED, .pattern = "p"};
    if (token < TOKENS && sender_deliver(storm->sender, mailbox, token, &event, 1, NULL) == OUTCOME_OK)
        atomic_fetch_add(&storm->taken, 1);
}

static void *rage(void *context)
{
    struct storm *storm = context;
    unsigned seed = (unsigned)(uintptr_t)pthread_self();
    while (now_ms() < storm->until) {
        const struct id *mailbox = &storm->mailboxes[rand_r(&seed) % MAILBOXES];
        struct sender_route route = some_route(storm, &seed);
        switch (rand_r(&seed) % 16) {
        case 0: sender_forget(storm->sender, mailbox); break;
        case 1:
        case 2: (void)!sender_prove(storm->sender, mailbox, &route, NULL); break;
        case 3: sender_connection_closed(storm->sender, route.connection); break;
        case 4: sender_state_of(storm->sender, mailbox); break;
        case 5: sender_is_living(storm->sender, mailbox); break;
        case 6:
            atomic_store(&storm->peers[rand_r(&seed) % PEERS]->on_hello,
                         rand_r(&seed) % (PEER_CALLS_BACK + 1));
            break;
        case 7:
            atomic_store(&storm->peers[rand_r(&seed) % PEERS]->on_notify,
                         rand_r(&seed) % (PEER_CALLS_BACK + 1));
            break;
        default: deliver(storm, mailbox); break;
        }
        poll(NULL, 0, rand_r(&seed) % 4 == 0);
    }
    return NULL;
}

static void each_batch_is_reported_once(void **state)
{
    (void)state;
    struct storm *storm = calloc(1, sizeof *storm);
    struct small_server small;
    small_server_start(&small, NULL);
    struct sender_options options = {.server = small.server,
                                     .clock = clock_system(),
                                     .instance = id_random(),
                                     .limits = world_limits(),
                                     .done = done,
                                     .context = storm};
    options.limits.connect_ms = options.limits.call_ms = 40;
    options.limits.prove_wait_ms = 5;
    options.limits.reprove_first_ms = 1;
    options.limits.reprove_last_ms = 20;
    options.limits.connections = 4;
    options.limits.mailboxes = MAILBOXES - 2;
    options.limits.deliveries = 6;
    assert_int_equal(sender_new(&options, &storm->sender, NULL), OUTCOME_OK);
    assert_int_equal(sender_start(storm->sender, NULL), OUTCOME_OK);
    for (int i = 0; i < PEERS; i++)
        storm->peers[i] = callback_peer_new(0);
    for (int i = 0; i < MAILBOXES; i++)
        storm->mailboxes[i] = id_random();
    storm->until = now_ms() + STORM_MS;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, rage, storm), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    sender_stop(storm->sender);
    print_message("%u batches taken, %u acknowledged\n", storm->taken, storm->acknowledged);
    assert_int_equal(storm->done, storm->taken);
    assert_true(storm->taken > 0 && storm->acknowledged > 0);
    for (unsigned i = 0; i < TOKENS; i++)
        assert_true(storm->reports[i] <= 1);
    sender_free(storm->sender);
    for (int i = 0; i < PEERS; i++)
        callback_peer_free(storm->peers[i]);
    small_server_stop(&small);
    free(storm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_batch_is_reported_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
