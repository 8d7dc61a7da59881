/*
 * The server dies at each of its named places (base/fault.h), under the same load
 * and the same audit as in kill_test.c. Every place is passed: one that no load
 * reaches would test nothing.
 */
#include "fault/cast.h"
#include "fault/crash_places.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* What is held of an upload is recorded only now and then: this place wants one of more than 64 MiB. */
static const char far_place[] = "upload-recorded";

enum { FAR_SIZE = 72 << 20 };

/* A publish tells the first who wait by itself: this place wants more of them. */
static const char crowd_place[] = "fan-out-committed";

enum { CROWD = 40, CROWD_TOLD_MS = 20000 };

enum { PASSED_WITHIN_MS = 20000, PASSES = 4 };

static struct crash_places all;
static const char *names[CRASH_PLACES_MAX];
static unsigned names_count;

/* Of clients: notices_crash_test.c passes it; what it stands in is a part of the server, too. */
static const char clients_place[] = "reversed-answered";

/* The server's own list, but for what is passed in care_test.c, in many_crash_test.c, and in ahead_crash_test.c. */
static int list_names(void **state)
{
    (void)state;
    crash_places_list(&all, "fileshared");
    for (unsigned i = 0; i < all.count; i++) {
        const char *name = all.names[i];
        if (strcmp(name, clients_place) != 0 && !crash_place_begins(name, "care-") &&
            !crash_place_begins(name, "many-") && !crash_place_begins(name, "ahead-"))
            names[names_count++] = name;
    }
    return 0;
}

static void test_names(void **state)
{
    (void)state;
    assert_true(names_count >= 25);
    for (unsigned i = 0; i < names_count; i++)
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(names[i], names[j]);
}

/* Runs it with the crash planned until it is dead; false if it passed the place too seldom. */
static bool crash_at(struct cast *cast, const char *name, unsigned passes)
{
    char setting[128];
    const char *environment[] = {setting, NULL};
    struct daemon *server = &cast->world.server;
    snprintf(setting, sizeof setting, "FILESHARE_CRASH_AT=%s:%u", name, passes);
    server->environment = environment;
    daemon_launch(server);
    server->environment = NULL;
    int64_t until = milliseconds() + (int64_t)PASSED_WITHIN_MS * slowness();
    pid_t dead = 0;
    while (dead == 0 && milliseconds() < until) {
        usleep(2000);
        dead = waitpid(server->pid, &server->status, WNOHANG);
    }
    if (dead == 0)
        return false;
    server->pid = 0;
    cast->world.kills++;
    if (!WIFSIGNALED(server->status) || WTERMSIG(server->status) != SIGKILL)
        world_wrong(&cast->world, "at %s the server ended with status %x", name, (unsigned)server->status);
    return true;
}

struct far {
    struct world *world;
    struct fileshare *session;
    pthread_t thread;
};

static void *put_far(void *argument)
{
    struct far *far = argument;
    struct world *world = far->world;
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    if (world_put(world, far->session, far_place, FAR_SIZE, 1, true, &entry, &error) == FILESHARE_OK)
        world_get(world, far->session, &entry);
    else
        world_wrong(world, "put of %d bytes: %s", FAR_SIZE, error.text);
    return NULL;
}

static void crowd_name(unsigned n, char name[32])
{
    snprintf(name, 32, "crowd/%u", n);
}

static void wait_in_crowds(struct far *far)
{
    for (unsigned i = 0; i < PASSES * CROWD; i++) {
        char name[32];
        struct fileshare_error error = {0};
        struct fileshare_registered registered;
        struct fileshare_register what = {.pattern = name, .seconds = 3600};
        crowd_name(i % PASSES, name);
        if (fileshare_interest(far->session, &what, NULL, NULL, &registered, &error) != FILESHARE_OK)
            fail_msg("interest in %s: %s", name, error.text);
    }
}

static void *put_for_crowds(void *argument)
{
    struct far *far = argument;
    for (unsigned n = 0; n < PASSES; n++) {
        char name[32];
        struct fileshare_entry entry;
        struct fileshare_error error = {0};
        crowd_name(n, name);
        if (world_put(far->world, far->session, name, 100, n, false, &entry, &error) != FILESHARE_OK)
            world_wrong(far->world, "put of %s: %s", name, error.text);
    }
    return NULL;
}

static bool count_one(void *context, const struct fileshare_event *event)
{
    (void)event;
    atomic_fetch_add((atomic_uint *)context, 1);
    return true;
}

/* Each who waited is told, once. */
static void expect_crowds_told(struct far *far)
{
    atomic_uint heard = 0;
    struct fileshare_error error = {0};
    int64_t until = milliseconds() + (int64_t)CROWD_TOLD_MS * slowness();
    if (fileshare_attach(far->session, count_one, &heard, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
    while (heard < PASSES * CROWD && milliseconds() < until)
        usleep(2000);
    fileshare_detach(far->session);
    if (heard != PASSES * CROWD)
        world_wrong(far->world, "%u of %d who waited in crowds were told", heard, PASSES * CROWD);
}

/* Crash, start, audit. */
static void crash_once(struct cast *cast, const char *name)
{
    struct far far = {.world = &cast->world};
    bool is_crowd = strcmp(name, crowd_place) == 0, is_far = is_crowd || strcmp(name, far_place) == 0;
    unsigned passes = is_far && !is_crowd ? 1 : 1 + dice_throw(&cast->dice, PASSES);
    unsigned wrong = cast->world.wrong;
    if (is_far) {
        far.session = world_session(&cast->world, "far", 120);
        assert_non_null(far.session);
    }
    if (is_crowd)
        wait_in_crowds(&far);
    cast_kill(cast);
    if (is_far)
        assert_int_equal(pthread_create(&far.thread, NULL, is_crowd ? put_for_crowds : put_far, &far), 0);
    if (!crash_at(cast, name, passes)) {
        world_wrong(&cast->world, "%s was not passed %u times", name, passes);
        cast_kill(cast);
    }
    daemon_start(&cast->world.server);
    if (is_far)
        pthread_join(far.thread, NULL);
    if (is_crowd)
        expect_crowds_told(&far);
    fileshare_close(far.session);
    cast_audit(cast, dice_throw(&cast->dice, 4) == 0 ? CAST_EVENTS : CAST_FILES);
    if (cast->world.wrong > wrong)
        print_error("that was after a crash at %s:%u\n", name, passes);
}

static void test_each_name(void **state)
{
    (void)state;
    static struct cast cast;
    cast_begin(&cast);
    for (unsigned i = 0; i < names_count && cast.world.wrong == 0; i++)
        crash_once(&cast, names[i]);
    print_message("%u places\n", names_count);
    cast_end(&cast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_each_name)};
    return cmocka_run_group_tests(tests, list_names, NULL);
}
