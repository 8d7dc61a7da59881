/*
 * Clients that nobody can call: the server's dial-back finds nobody at the address that they come from, and no
 * reversed call reaches them on their own connection, be it that none is offered, that each is refused, or that
 * none comes out. They live by EVENTS alone: sessions of the library, `listen` and `wait` have each event once, in
 * order, by asking, within the time that they ask in; also when a call of EVENTS or its answer is lost, when the
 * server is killed, and when they were away. And what is said of the way is so.
 */
#include "fault/dropper.h"
#include "fault/hearing.h"
#include "fault/program.h"
#include "fault/world.h"
#include "place.h"

#include "proto/fileshare.h"

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

#include "client/must.h"

enum {
    WITHIN_MS = 20000, /* ten times what is meant: a client without a way back asks every two seconds */
    PUTS = 3,
    LINES_MAX = 256,
    DEAD_SECONDS = 3, /* it asks every four seconds when it takes itself for called back */
    INTERRUPTED = 130
};

/* A session that listens; all of them want the same names. */
struct told {
    const char *who;
    enum reversed_calls reversed;
    struct dropper *through; /* comes to the server from where nobody listens */
    struct fileshare *session;
    struct hearing hearing;
    char name[FILESHARE_NAME_SIZE]; /* of the last event; under the lock of what is heard */
};

/* A fileshare-client. */
struct run {
    struct dropper *through;
    struct program program;
    struct program_plan plan;
    char state[128], out[128];
};

enum { SESSIONS = 3 };

static struct stage {
    struct world world;
    struct fileshare *witness;
    struct told told[SESSIONS];
    struct run listens, waits;
    unsigned put, waited, drops;
} stage = {.told = {{.who = "unoffered", .reversed = REVERSED_UNOFFERED},
                    {.who = "refused", .reversed = REVERSED_REFUSED},
                    {.who = "swallowed", .reversed = REVERSED_SWALLOWED}}};

static const char *const quick[] = {"--callback-answer", "1", NULL};

/* ---- sessions ---- */

static void look_at_event(void *context, const struct fileshare_event *event)
{
    struct told *told = context;
    if (strcmp(event->entry.name, told->name) <= 0)
        world_wrong(&stage.world, "event %llu of %s comes after that of %s",
                    (unsigned long long)event->number, event->entry.name, told->name);
    if (strcmp(event->route, "pull") != 0)
        world_wrong(&stage.world, "event %llu of %s came by %s", (unsigned long long)event->number, told->who,
                    event->route);
    snprintf(told->name, sizeof told->name, "%s", event->entry.name);
}

/* ---- looking ---- */

#define until(condition) until_within(WITHIN_MS, condition)

/* Names that grow; *first is the first of them. */
static void put_some(char first[32])
{
    for (unsigned i = 0; i < PUTS; i++) {
        struct fileshare_entry entry = world_put_next(&stage.world, stage.witness, "all", &stage.put);
        if (i == 0 && first)
            snprintf(first, 32, "%.31s", entry.name);
    }
}

static void pass_over(void *context, const struct fileshare_interest *interest)
{
    (void)context;
    (void)interest;
}

/* The way that the server says it has to that client's mailbox. */
static bool says_way(struct fileshare *session, const char *way)
{
    const char *route = "";
    struct fileshare_error error = {0};
    must(fileshare_interests(session, pass_over, NULL, &route, &error), error);
    return strcmp(route, way) == 0;
}

static bool calls_itself(struct fileshare *session, const char *way)
{
    struct fileshare_callback callback = {0};
    assert_true(fileshare_callback(session, &callback));
    return strcmp(callback.route, way) == 0;
}

static bool has_said(const struct run *run, const char *words)
{
    char path[160];
    snprintf(path, sizeof path, "%s.log", run->out);
    return program_said(path, words);
}

/* ---- programs ---- */

static void run_begin(struct run *run, const char *who, unsigned number, const char *const *words)
{
    const char *folder = stage.world.server.folder;
    snprintf(run->state, sizeof run->state, "%s/%s.state", folder, who);
    snprintf(run->out, sizeof run->out, "%s/%s%u.out", folder, who, number);
    run->plan = (struct program_plan){.server = dropper_address(run->through),
                                      .state = run->state,
                                      .out = run->out};
    for (size_t i = 0; words[i]; i++)
        run->plan.words[i] = words[i];
    program_start(&run->program, &run->plan);
}

static void expect_end(struct run *run, int code)
{
    until(program_ends(&run->program, 0));
    assert_true(WIFEXITED(run->program.status));
    assert_int_equal(WEXITSTATUS(run->program.status), code);
}

static void begin_listening(void)
{
    static const char *const words[] = {"listen", NULL};
    run_begin(&stage.listens, "listen", 0, words);
}

static void end_listening(void)
{
    int status = program_end(&stage.listens.program, SIGINT);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == INTERRUPTED);
}

static size_t lines_heard(void)
{
    static struct program_line lines[LINES_MAX];
    return program_lines(stage.listens.out, lines, LINES_MAX);
}

/* For the first name that is put next. */
static void begin_waiting(void)
{
    char name[32];
    const char *const words[] = {"wait", name, "--timeout", "5m", NULL};
    snprintf(name, sizeof name, "all/%05u", stage.put + 1);
    run_begin(&stage.waits, "wait", ++stage.waited, words);
    until(has_said(&stage.waits, "not called back: asking the server every 2 seconds"));
}

/* It ends well, in time, and has said that one line. */
static void end_waiting(const char *name)
{
    char text[512] = "", expected[64];
    expect_end(&stage.waits, 0);
    assert_false(has_said(&stage.waits, "called back by"));
    FILE *file = fopen(stage.waits.out, "re");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    snprintf(expected, sizeof expected, "arrived\t%s\t", name);
    assert_int_equal(strncmp(text, expected, strlen(expected)), 0);
    assert_ptr_equal(strchr(text, '\n'), text + size - 1);
}

/* ---- life ---- */

static struct dropper *way_in(enum reversed_calls reversed)
{
    struct dropper *dropper = dropper_between(
        &(struct dropper_way){.target_port = stage.world.server.port, .from = "127.0.0.2"});
    dropper_reversed(dropper, reversed);
    return dropper;
}

static void told_begin(struct told *told)
{
    told->through = way_in(told->reversed);
    told->session = world_client(&stage.world, dropper_address(told->through), told->who, DEAD_SECONDS);
    told->hearing.also = look_at_event;
    told->hearing.context = told;
    hearing_wants(told->session, "all/*");
    hearing_begin(&told->hearing, &stage.world, told->session);
}

static int begin(void **state)
{
    (void)state;
    static const char *const words[] = {"-q", "interest", "all/*", "--every", "--for", "1h", NULL};
    world_prepare(&stage.world, place_in_memory());
    stage.world.server.options = quick;
    daemon_start(&stage.world.server);
    stage.witness = world_client(&stage.world, stage.world.server.tcp, "witness", DEAD_SECONDS);
    for (unsigned i = 0; i < SESSIONS; i++)
        told_begin(&stage.told[i]);
    stage.listens.through = way_in(REVERSED_UNOFFERED);
    stage.waits.through = way_in(REVERSED_UNOFFERED);
    run_begin(&stage.listens, "listen", 0, words);
    expect_end(&stage.listens, 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SESSIONS; i++) {
        fileshare_close(stage.told[i].session);
        dropper_free(stage.told[i].through);
        hearing_fini(&stage.told[i].hearing);
    }
    fileshare_close(stage.witness);
    dropper_free(stage.listens.through);
    dropper_free(stage.waits.through);
    print_message("%u events, %u messages lost, %u wrong\n", stage.put, stage.drops, stage.world.wrong);
    bool well = stage.world.wrong == 0;
    world_end(&stage.world);
    return well ? 0 : -1;
}

/* ---- what is tried ---- */

static void expect_all_told(void)
{
    for (unsigned i = 0; i < SESSIONS; i++)
        until(hearing_count(&stage.told[i].hearing) >= stage.put);
    until(lines_heard() >= stage.put);
    assert_int_equal(stage.world.wrong, 0);
}

static void restart(void)
{
    daemon_stop(&stage.world.server, SIGKILL);
    daemon_start(&stage.world.server);
}

static void test_told(void **state)
{
    (void)state;
    char name[32];
    begin_listening();
    begin_waiting();
    until(says_way(stage.told[0].session, "none"));
    until(calls_itself(stage.told[0].session, "none"));
    until(has_said(&stage.listens, "not called back for now; the server is asked instead"));
    put_some(name);
    end_waiting(name);
    expect_all_told();
    /* Two were offered, and came to nothing. */
    for (unsigned i = 1; i < SESSIONS; i++) {
        until(says_way(stage.told[i].session, "none"));
        until(calls_itself(stage.told[i].session, "none"));
    }
}

static void test_lost(void **state)
{
    (void)state;
    struct dropper *all[] = {stage.told[0].through, stage.told[1].through, stage.told[2].through,
                             stage.listens.through, stage.waits.through};
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        char name[32];
        begin_waiting();
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
            dropper_plan(all[i], FSPROC_EVENTS, lost, 1);
        put_some(name);
        for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
            until(dropper_dropped(all[i]));
            stage.drops++;
        }
        end_waiting(name);
        expect_all_told();
    }
}

static void test_killed(void **state)
{
    (void)state;
    char name[32];
    begin_waiting();
    end_listening(); /* it is away */
    put_some(name);  /* told before the server dies, or not: once in all */
    restart();
    begin_listening();
    put_some(NULL);
    end_waiting(name);
    expect_all_told();
}

/* The server closes a connection on which nothing is answered, each time before the client's time to ask has come. */
static void test_given_up(void **state)
{
    (void)state;
    static const char *const impatient[] = {"--probe", "1", "--progress", "1", NULL};
    stage.world.server.options = impatient;
    restart();
    put_some(NULL);
    expect_all_told();
}

/* Each that was put, in order, once, over all its lives; never by another way. And all were acknowledged. */
static void test_in_order(void **state)
{
    (void)state;
    static struct program_line lines[LINES_MAX];
    assert_int_equal(program_lines(stage.listens.out, lines, LINES_MAX), stage.put);
    for (unsigned i = 0; i < stage.put; i++) {
        char name[32];
        snprintf(name, sizeof name, "all/%05u", i + 1);
        assert_string_equal(lines[i].name, name);
        assert_string_equal(lines[i].kind, "arrived");
        assert_true(i == 0 || lines[i].number > lines[i - 1].number);
    }
    assert_false(has_said(&stage.listens, "by the route"));
    for (unsigned i = 0; i < SESSIONS; i++)
        assert_int_equal(hearing_count(&stage.told[i].hearing), stage.put);
    until(counted(stage.witness, "store.events") == 0);
    end_listening();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told),     cmocka_unit_test(test_lost),     cmocka_unit_test(test_killed),
        cmocka_unit_test(test_given_up), cmocka_unit_test(test_in_order),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
