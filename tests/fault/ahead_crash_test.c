/*
 * One upload over two connections, its pieces in any order. Then the server dies
 * at places of its way, with gaps in what it has: what it holds when it is back
 * is how the file begins, and the rest is sent again.
 *
 *     FILESHARE_FAULT_SEED=N    the orders of that run again, as far as the machine's timing allows
 */
#include "fault/by_hand.h"

#include "base/digest.h"
#include "client/daemon.h"
#include "fault/crash_places.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PIECES = 24, PIECE = 256 << 10, SIZE = PIECES * PIECE, LANES = 2, DEAD_WITHIN_MS = 20000 };

static struct daemon server;

struct carrier {
    struct fileshare *session;
    struct id upload;
    uint8_t *bytes;
    unsigned order[PIECES];
    unsigned count;
    bool broke;
    uint64_t held; /* as its last answer said */
    pthread_t thread;
};

static void *carrier_run(void *argument)
{
    struct carrier *carrier = argument;
    for (unsigned i = 0; i < carrier->count && !carrier->broke; i++) {
        fs_status status = FS_OK;
        carrier->broke = !by_hand_piece(carrier->session, &carrier->upload, carrier->bytes,
                                        (uint64_t)carrier->order[i] * PIECE, PIECE, &status, &carrier->held);
        assert_int_equal(status, FS_OK);
    }
    return NULL;
}

static void carrier_begin(struct carrier *carrier, const struct id *upload, uint8_t *bytes)
{
    *carrier = (struct carrier){.session = daemon_session(&server, server.tcp, 60),
                                .upload = *upload,
                                .bytes = bytes};
}

static void finish(struct carrier *carrier, const char *name)
{
    assert_int_equal(by_hand_commit(carrier->session, &carrier->upload, carrier->bytes, SIZE), FS_OK);
    get_ok(carrier->session, name, carrier->bytes, SIZE);
}

/* ---- two connections ---- */

static uint64_t dice;

static uint64_t below(uint64_t bound)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (dice >> 33) % bound;
}

/* All pieces but the first, dealt out at random; some are dealt to both. */
static void deal(struct carrier carriers[LANES])
{
    unsigned order[PIECES];
    for (unsigned i = 0; i < PIECES; i++) {
        unsigned j = (unsigned)below(i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (unsigned i = 0; i < PIECES; i++) {
        unsigned to = (unsigned)below(LANES + 1);
        for (unsigned n = 0; n < LANES && order[i] > 0; n++)
            if (to == n || to == LANES)
                carriers[n].order[carriers[n].count++] = order[i];
    }
}

static void test_two_connections(void **state)
{
    const char *given = getenv("FILESHARE_FAULT_SEED");
    (void)state;
    dice = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)dice);
    for (unsigned round = 0; round < 5; round++) {
        struct carrier carriers[LANES];
        struct id upload = id_random();
        uint8_t *bytes = pattern_bytes(SIZE, round + 1);
        char name[32];
        fs_status status;
        uint64_t held;
        snprintf(name, sizeof name, "lanes/%u", round);
        for (unsigned n = 0; n < LANES; n++)
            carrier_begin(&carriers[n], &upload, bytes);
        assert_int_equal(by_hand_open(carriers[0].session, &upload, name), 0);
        deal(carriers);
        for (unsigned n = 0; n < LANES; n++)
            assert_int_equal(pthread_create(&carriers[n].thread, NULL, carrier_run, &carriers[n]), 0);
        for (unsigned n = 0; n < LANES; n++) {
            pthread_join(carriers[n].thread, NULL);
            assert_false(carriers[n].broke);
            assert_int_equal(carriers[n].held, 0);
        }
        assert_int_equal(by_hand_commit(carriers[0].session, &upload, bytes, SIZE), FS_CHANGED);
        assert_true(by_hand_piece(carriers[1].session, &upload, bytes, 0, PIECE, &status, &held));
        assert_int_equal(status, FS_OK);
        assert_int_equal(held, SIZE);
        finish(&carriers[0], name);
        for (unsigned n = 0; n < LANES; n++)
            fileshare_close(carriers[n].session);
        free(bytes);
    }
}

/* ---- a server that dies ---- */

static void await_death(const char *place)
{
    int64_t until = milliseconds() + (int64_t)DEAD_WITHIN_MS * slowness();
    while (waitpid(server.pid, &server.status, WNOHANG) == 0) {
        if (milliseconds() > until)
            fail_msg("%s was not passed", place);
        usleep(2000);
    }
    server.pid = 0;
    assert_true(WIFSIGNALED(server.status) && WTERMSIG(server.status) == SIGKILL);
}

/* The odd ones over one connection, the others, and the first of all last, over the other: until it dies. */
static void send_until_it_dies(struct carrier carriers[LANES])
{
    for (unsigned i = 1; i < PIECES; i += 2)
        carriers[0].order[carriers[0].count++] = i;
    for (unsigned i = PIECES; i > 0; i -= 2)
        carriers[1].order[carriers[1].count++] = i - 2;
    carrier_run(&carriers[0]);
    if (!carriers[0].broke)
        carrier_run(&carriers[1]);
    assert_true(carriers[0].broke || carriers[1].broke);
}

/* What it holds is how the file begins; the last piece first, and then the rest. */
static void go_on(struct carrier *carrier, const char *name, uint64_t most)
{
    uint64_t held = by_hand_open(carrier->session, &carrier->upload, name);
    fs_status status;
    assert_true(held <= most);
    if (held < SIZE - PIECE) {
        assert_true(by_hand_piece(carrier->session, &carrier->upload, carrier->bytes, SIZE - PIECE, PIECE,
                                  &status, &held));
        assert_int_equal(status, FS_OK);
    }
    while (held < SIZE) {
        assert_true(by_hand_piece(carrier->session, &carrier->upload, carrier->bytes, held,
                                  SIZE - held < PIECE ? SIZE - held : PIECE, &status, &held));
        assert_int_equal(status, FS_OK);
    }
    finish(carrier, name); /* which has the digest of the file: what was held was its beginning */
}

static void crash_at(const char *place, unsigned passes, uint64_t most)
{
    char setting[64], name[64];
    const char *environment[] = {setting, NULL};
    struct carrier carriers[LANES];
    struct id upload = id_random();
    uint8_t *bytes = pattern_bytes(SIZE, passes + 7);
    snprintf(setting, sizeof setting, "FILESHARE_CRASH_AT=%s:%u", place, passes);
    snprintf(name, sizeof name, "%s/%u", place, passes);
    daemon_stop(&server, SIGTERM);
    server.environment = environment;
    daemon_start(&server);
    server.environment = NULL;
    for (unsigned n = 0; n < LANES; n++)
        carrier_begin(&carriers[n], &upload, bytes);
    assert_int_equal(by_hand_open(carriers[0].session, &upload, name), 0);
    send_until_it_dies(carriers);
    await_death(place);
    daemon_start(&server);
    go_on(&carriers[1], name, most);
    for (unsigned n = 0; n < LANES; n++)
        fileshare_close(carriers[n].session);
    free(bytes);
}

static const struct {
    const char *place;
    unsigned passes;
    uint64_t most; /* that may be held then */
} rows[] = {
    {"ahead-written", 1, 0},     {"ahead-written", 9, 0},      {"ahead-written", PIECES - 1, 0},
    {"upload-written", 1, SIZE}, {"ahead-caught-up", 1, SIZE},
};

/* The server's own list: of those that only pieces before their turn pass, none is left out. */
static void test_places(void **state)
{
    (void)state;
    static struct crash_places all;
    unsigned count = 0;
    crash_places_list(&all, "fileshared");
    for (unsigned n = 0; n < all.count; n++) {
        const char *place = all.names[n];
        bool known = !crash_place_begins(place, "ahead-");
        count += !known;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            known |= strcmp(rows[i].place, place) == 0;
        if (!known)
            fail_msg("%s is passed by no test", place);
    }
    assert_int_equal(count, 2);
}

static void test_each_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        crash_at(rows[i].place, rows[i].passes, rows[i].most);
    /* Nothing is left of any of them. */
    char command[512];
    const char *build = getenv("FILESHARE_BUILD");
    daemon_stop(&server, SIGTERM);
    snprintf(
        command, sizeof command,
        "'%s/fileshared' fsck --deep --store '%s/store' >/dev/null && test -z \"$(ls '%s/store/incoming')\"",
        build ? build : ".", server.folder, server.folder);
    assert_int_equal(system(command), 0);
    daemon_start(&server);
}

static int begin_server(void **state)
{
    (void)state;
    daemon_begin(&server);
    return 0;
}

static int end_server(void **state)
{
    (void)state;
    daemon_end(&server);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_connections),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_each_place),
    };
    return cmocka_run_group_tests_name("pieces before their turn, and crashes", tests, begin_server,
                                       end_server);
}
