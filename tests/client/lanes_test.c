/* Several connections of one transfer, against a real server: how many, and what becomes of it when they are cut. */
#include "client/crowd.h"
#include "client/daemon.h"
#include "client/proxy.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/must.h"

enum {
    SIZE = (6 << 20) + 4711,
    LARGE = 48 << 20,
    MOST_HELD = 32 << 20, /* bytes that a client may have asked for, and not written yet */
    LANES = 4,
    ROUNDS = 4,
    SILENT_S = 1
};

static struct daemon server;
static struct proxy *proxy;
static uint8_t *bytes;
static uint64_t dice;

static uint64_t roll(uint64_t below)
{
    dice = dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (dice >> 33) % below;
}

static int begin(void **state)
{
    (void)state;
    const char *seed = getenv("FILESHARE_FAULT_SEED");
    dice = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    printf("# FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)dice);
    daemon_begin(&server);
    proxy = proxy_new(server.port);
    bytes = pattern_bytes(SIZE, 5);
    return 0;
}

static int end(void **state)
{
    (void)state;
    proxy_free(proxy);
    daemon_end(&server);
    free(bytes);
    return 0;
}

/* On the thread that transfers: a server that was killed comes back once it is missed. */
static void told(void *context, const struct fileshare_incident *incident)
{
    (void)context;
    if (incident->kind == FILESHARE_LOST && server.pid == 0)
        daemon_start(&server);
}

static struct fileshare *session_that_is_patient(unsigned connections, unsigned dead_seconds)
{
    char state[128];
    struct fileshare_error error = {0};
    struct fileshare *session = NULL;
    snprintf(state, sizeof state, "%s/state", server.folder);
    const struct fileshare_options options = {
        .server = proxy_address(proxy),
        .retry_seconds = 60 * (unsigned)slowness(),
        .connections = connections,
        .dead_seconds = dead_seconds,
        .without_rpcbind = true,
        .state_folder = state,
        .told = told,
    };
    must(fileshare_open(&options, &session, &error), error);
    return session;
}

static struct fileshare *session_of(unsigned connections)
{
    return session_that_is_patient(connections, 0);
}

/* How many connections a download of it took, besides the session's own. */
static unsigned more_for(unsigned connections)
{
    struct fileshare *session = session_of(connections);
    unsigned before = proxy_connections(proxy);
    get_ok(session, "there", bytes, SIZE);
    unsigned after = proxy_connections(proxy);
    fileshare_close(session);
    return after - before;
}

static void test_as_many_as_were_asked_for(void **state)
{
    (void)state;
    struct fileshare *session = session_of(1);
    put_ok(session, "there", bytes, SIZE);
    assert_int_equal(more_for(1), 0);
    assert_int_equal(more_for(0), 0); /* near by one is enough */
    assert_int_equal(more_for(2), 1);
    assert_int_equal(more_for(8), 7);
    assert_int_equal(more_for(900), 7);
    /* What is small needs no more than one. */
    put_ok(session, "little", bytes, 100000);
    struct fileshare *several = session_of(LANES);
    unsigned before = proxy_connections(proxy);
    get_ok(several, "little", bytes, 100000);
    assert_int_equal(proxy_connections(proxy), before);
    /* They are closed with each function, and opened for the next. */
    get_ok(several, "there", bytes, SIZE);
    get_ok(several, "there", bytes, SIZE);
    assert_int_equal(proxy_connections(proxy), before + 2 * (LANES - 1));
    fileshare_close(several);
    fileshare_close(session);
}

/* Pieces of an upload come by all of them, in any order, and none comes twice. */
static void test_upload(void **state)
{
    (void)state;
    struct fileshare *session = session_of(LANES);
    unsigned before = proxy_connections(proxy);
    uint64_t sent = proxy_sent(proxy);
    put_ok(session, "over-all", bytes, SIZE);
    assert_int_equal(proxy_connections(proxy), before + LANES - 1);
    assert_in_range(proxy_sent(proxy) - sent, SIZE, SIZE + SIZE / 20);
    get_ok(session, "over-all", bytes, SIZE);
    fileshare_close(session);
}

static void test_refused(void **state)
{
    (void)state;
    struct fileshare *session = session_of(LANES);
    proxy_shut(proxy, true); /* nobody takes them */
    get_ok(session, "there", bytes, SIZE);
    proxy_shut(proxy, false);
    fileshare_close(session);
}

static void test_download_with_cuts(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct fileshare *session = session_of(LANES);
        /* Whoever comes first: the session's own, or others. */
        proxy_plan(proxy, 1 + (unsigned)roll(LANES), 0, 1 + roll(SIZE / LANES));
        get_ok(session, "there", bytes, SIZE);
        proxy_plan(proxy, 0, 0, 0);
        fileshare_close(session);
    }
}

static void test_upload_with_cuts(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char name[32];
        snprintf(name, sizeof name, "up%d", round);
        struct fileshare *session = session_of(LANES);
        proxy_plan(proxy, 1 + (unsigned)roll(LANES), 1 + roll(SIZE / LANES), 0);
        put_ok(session, name, bytes, SIZE);
        proxy_plan(proxy, 0, 0, 0);
        get_ok(session, name, bytes, SIZE);
        fileshare_close(session);
    }
}

static void test_many_with_cuts(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char prefix[32];
        struct fileshare_error error = {0};
        snprintf(prefix, sizeof prefix, "crowd%d", round);
        struct crowd *crowd = crowd_new(server.folder, prefix, 400, 61, 30000, 7);
        struct fileshare *session = session_of(LANES);
        proxy_plan(proxy, 1 + (unsigned)roll(LANES), 1 + roll(1 << 20), 0);
        must(crowd_put(crowd, session, &error), error);
        crowd_all(crowd, FILESHARE_OK);
        proxy_plan(proxy, 1 + (unsigned)roll(LANES), 0, 1 + roll(1 << 20));
        must(crowd_get(crowd, session, server.folder, &error), error);
        proxy_plan(proxy, 0, 0, 0);
        crowd_all(crowd, FILESHARE_OK);
        crowd_compare(crowd);
        crowd_free(crowd);
        fileshare_close(session);
    }
}

struct fetching {
    struct crowd *crowd;
    struct fileshare *session;
    struct fileshare_error error;
};

static void *fetch_all(void *context)
{
    struct fetching *fetching = context;
    crowd_get(fetching->crowd, fetching->session, server.folder, &fetching->error);
    return NULL;
}

/* Several calls are under way on each before the first answer: over a long way TCP shall have something to send. */
static void test_many_before_an_answer(void **state)
{
    (void)state;
    /* A name on the wire, and what goes with it; the first calls of each; files of one, as their sizes are not known. */
    enum { NAME = 56, EACH = 2, CALL = 32 };
    struct fetching fetching = {.session = session_of(2)};
    pthread_t thread;
    fetching.crowd = crowd_new(server.folder, "calls-before-any-answer-is-back", 300, 61, 30000, 11);
    must(crowd_put(fetching.crowd, fetching.session, &fetching.error), fetching.error);
    crowd_all(fetching.crowd, FILESHARE_OK);

    uint64_t before = proxy_sent(proxy), least = (uint64_t)NAME * 2 * EACH * CALL;
    int64_t deadline = milliseconds() + 10000 * slowness();
    daemon_freeze(&server);
    assert_int_equal(pthread_create(&thread, NULL, fetch_all, &fetching), 0);
    while (proxy_sent(proxy) - before < least && milliseconds() < deadline)
        usleep(1000);
    uint64_t sent = proxy_sent(proxy) - before;
    kill(server.pid, SIGCONT);
    pthread_join(thread, NULL);
    printf("# %llu bytes of calls before an answer, at least %llu are meant\n", (unsigned long long)sent,
           (unsigned long long)least);
    assert_in_range(sent, least, 3 * least);
    must(fetching.error.status, fetching.error);
    crowd_all(fetching.crowd, FILESHARE_OK);
    crowd_compare(fetching.crowd);
    crowd_free(fetching.crowd);
    fileshare_close(fetching.session);
}

/* One that falls silent, but is not cut: its bytes come over the others, long before a call's time is over. */
static void test_stalled_lane(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    struct crowd *crowd = crowd_new(server.folder, "still", 300, 61, 30000, 9);
    struct fileshare *session = session_that_is_patient(LANES, SILENT_S);
    unsigned stalls = proxy_stalls(proxy);
    int64_t begun = milliseconds();

    proxy_stall(proxy, (unsigned)roll(LANES - 1), 0, 1 + roll(SIZE / 100));
    get_ok(session, "there", bytes, SIZE);
    assert_int_equal(proxy_stalls(proxy), stalls + 1);
    proxy_stall(proxy, (unsigned)roll(LANES - 1), 1 + roll(SIZE / 100), 0);
    put_ok(session, "still-there", bytes, SIZE);
    assert_int_equal(proxy_stalls(proxy), stalls + 2);
    proxy_stall(proxy, (unsigned)roll(LANES - 1), 1 + roll(50000), 0);
    must(crowd_put(crowd, session, &error), error);
    assert_int_equal(proxy_stalls(proxy), stalls + 3);
    crowd_all(crowd, FILESHARE_OK);
    assert_in_range(milliseconds() - begun, 3000 * SILENT_S, 30000 * SILENT_S * slowness());

    proxy_stall(proxy, 0, 0, 0);
    must(crowd_get(crowd, session, server.folder, &error), error);
    crowd_all(crowd, FILESHARE_OK);
    crowd_compare(crowd);
    get_ok(session, "still-there", bytes, SIZE);
    crowd_free(crowd);
    fileshare_close(session);
}

/* What came from the server, and is not written yet. */
struct holding {
    uint64_t before, most;
};

static void look_what_is_held(void *context, uint64_t moved, uint64_t total)
{
    struct holding *holding = context;
    uint64_t came = proxy_received(proxy) - holding->before;
    (void)total;
    if (came > moved && came - moved > holding->most)
        holding->most = came - moved;
}

/* While the oldest bytes are waited for, others come, but not without end. */
static void test_memory_behind_a_stalled_lane(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    uint8_t *large = pattern_bytes(LARGE, 11);
    struct fileshare *session = session_that_is_patient(LANES, SILENT_S);
    put_ok(session, "large", large, LARGE);
    int fd = file_of("", 0);
    struct holding holding = {.before = proxy_received(proxy)};
    const struct fileshare_get get = {.name = "large",
                                      .fd = fd,
                                      .progress = look_what_is_held,
                                      .context = &holding};
    proxy_stall(proxy, 1, 0, 100000);
    must(fileshare_get(session, &get, NULL, &error), error);
    proxy_stall(proxy, 0, 0, 0);
    expect_file(fd, large, LARGE);
    printf("# held at most %llu bytes\n", (unsigned long long)holding.most);
    assert_in_range(holding.most, MOST_HELD / 4, MOST_HELD + MOST_HELD / 16);
    close(fd);
    fileshare_close(session);
    free(large);
}

/* Kills the server, once, when so much was moved. */
struct killing {
    uint64_t at;
    bool done;
};

static void kill_at(void *context, uint64_t moved, uint64_t total)
{
    struct killing *killing = context;
    (void)total;
    if (killing->done || moved < killing->at)
        return;
    killing->done = true;
    daemon_stop(&server, SIGKILL);
}

static void test_killed_server(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char name[32];
        struct fileshare_error error = {0};
        struct killing up = {.at = 1 + roll(SIZE)}, down = {.at = 1 + roll(SIZE)};
        struct fileshare *session = session_of(LANES);
        snprintf(name, sizeof name, "killed%d", round);
        int fd = file_of(bytes, SIZE);
        const struct fileshare_put put = {.name = name,
                                          .fd = fd,
                                          .mtime = INT64_MIN,
                                          .progress = kill_at,
                                          .context = &up};
        must(fileshare_put(session, &put, NULL, NULL, &error), error);
        close(fd);
        fd = file_of("", 0);
        const struct fileshare_get get = {.name = name, .fd = fd, .progress = kill_at, .context = &down};
        if (server.pid == 0)
            daemon_start(&server);
        must(fileshare_get(session, &get, NULL, &error), error);
        if (server.pid == 0)
            daemon_start(&server);
        assert_true(up.done && down.done);
        expect_file(fd, bytes, SIZE);
        close(fd);
        fileshare_close(session);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_many_as_were_asked_for),
        cmocka_unit_test(test_upload),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_download_with_cuts),
        cmocka_unit_test(test_upload_with_cuts),
        cmocka_unit_test(test_many_with_cuts),
        cmocka_unit_test(test_many_before_an_answer),
        cmocka_unit_test(test_stalled_lane),
        cmocka_unit_test(test_memory_behind_a_stalled_lane),
        cmocka_unit_test(test_killed_server),
    };

    return cmocka_run_group_tests_name("lanes", tests, begin, end);
}
