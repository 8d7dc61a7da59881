/*
 * Clients that were away: 10,000 events wait for one and come all, in order, once,
 * in a bounded time and memory; a mailbox that is bounded in count or age says how
 * many it dropped, to whoever comes: listen, prompt, wait.
 */
#include "fault/program.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    EVENTS = 10000,
    QUICK_INTERESTS = 20, /* so many of each arrival; heavy: one */
    TOLD_MS = 60000,
    CLIENT_MIB = 64, /* of resident memory, in a build that is not slow */
    BOUND = 8,
    AGE_SECONDS = 2,
    ROOM = EVENTS + 100
};

static struct program_line lines[ROOM];

struct stage {
    struct world world;
    struct fileshare *writer;
    char state[128], out[128], log[140];
    unsigned serial;
};

static void begin(struct stage *stage, const char *const *options)
{
    *stage = (struct stage){.serial = 0};
    daemon_prepare(&stage->world.server, place_in_memory());
    stage->world.server.options = options;
    daemon_start(&stage->world.server);
    stage->writer = world_session(&stage->world, "writer", 60);
    assert_non_null(stage->writer);
    snprintf(stage->state, sizeof stage->state, "%s/state", stage->world.server.folder);
    snprintf(stage->out, sizeof stage->out, "%s/out", stage->world.server.folder);
    snprintf(stage->log, sizeof stage->log, "%s.log", stage->out);
}

static void end(struct stage *stage)
{
    fileshare_close(stage->writer);
    assert_int_equal(stage->world.wrong, 0);
    daemon_end(&stage->world.server);
}

static void put(struct stage *stage, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[64];
        struct fileshare_entry entry;
        struct fileshare_error error = {0};
        snprintf(name, sizeof name, "n/%u", ++stage->serial);
        if (world_put(&stage->world, stage->writer, name, 10, stage->serial, false, &entry, &error) !=
            FILESHARE_OK)
            fail_msg("put of %s: %s", name, error.text);
    }
}

static struct program_plan plan_of(const struct stage *stage, const char *const *words)
{
    struct program_plan plan = {.server = stage->world.server.tcp, .state = stage->state, .out = stage->out};
    for (size_t i = 0; words && words[i]; i++)
        plan.words[i] = words[i];
    return plan;
}

/* `ways` interests in all that is put, of the mailbox that listen and the prompt hold. */
static void be_interested(struct stage *stage, unsigned ways)
{
    static const char *const patterns[] = {"n/*", "n/**", "*/*", "**", "[n]/*"};
    for (unsigned i = 0; i < ways; i++) {
        struct program program;
        struct program_plan plan = plan_of(
            stage, (const char *const[]){"interest", patterns[i % (sizeof patterns / sizeof *patterns)],
                                         "--every", "--for", "1d", NULL});
        char log[160];
        snprintf(log, sizeof log, "%s.command", stage->out);
        plan.out = log;
        program_start(&program, &plan);
        assert_true(program_ends(&program, (int64_t)TOLD_MS * slowness()));
        assert_int_equal(program.status, 0);
    }
}

static size_t lines_of(const struct stage *stage)
{
    return program_lines(stage->out, lines, ROOM);
}

static void until_told(struct stage *stage, size_t count)
{
    int64_t until = milliseconds() + (int64_t)TOLD_MS * slowness();
    while (lines_of(stage) < count) {
        if (milliseconds() > until)
            fail_msg("%zu of %zu lines were printed", lines_of(stage), count);
        usleep(10000);
    }
}

static void until_last_is(struct stage *stage, const char *name)
{
    int64_t until = milliseconds() + (int64_t)TOLD_MS * slowness();
    size_t count;
    while ((count = lines_of(stage)) == 0 || strcmp(lines[count - 1].name, name) != 0) {
        if (milliseconds() > until)
            fail_msg("%s was not told", name);
        usleep(10000);
    }
}

static void until_said(const char *path, const char *words)
{
    int64_t until = milliseconds() + (int64_t)TOLD_MS * slowness();
    while (!program_said(path, words)) {
        if (milliseconds() > until)
            fail_msg("%s does not say: %s", path, words);
        usleep(10000);
    }
}

static void until_dropped(const struct stage *stage, uint64_t count)
{
    int64_t until = milliseconds() + (int64_t)TOLD_MS * slowness();
    while (counted(stage->writer, "store.events-dropped") < count) {
        if (milliseconds() > until)
            fail_msg("%lu events were not dropped", (unsigned long)count);
        usleep(10000);
    }
}

/* ---- all of them ---- */

static void come_back(struct stage *stage, unsigned ways, const char *const *words, int signal)
{
    char name[64];
    struct program program;
    struct program_plan plan = plan_of(stage, words);
    int64_t began = milliseconds();
    struct rusage usage;
    program_start(&program, &plan);
    until_told(stage, EVENTS);
    int64_t took = milliseconds() - began;
    program_end(&program, signal);
    assert_int_equal(lines_of(stage), EVENTS);
    for (size_t i = 0; i < EVENTS; i++) {
        assert_string_equal(lines[i].kind, "arrived");
        if (i > 0 && lines[i].number != lines[i - 1].number + 1)
            fail_msg("event %lu comes after %lu", lines[i].number, lines[i - 1].number);
        /* Each arrival as often as there are interests in it, in the order of the arrivals. */
        snprintf(name, sizeof name, "n/%zu", i / ways + 1);
        assert_string_equal(lines[i].name, name);
    }
    /* The largest of the children so far, the server left out: it runs still. */
    assert_int_equal(getrusage(RUSAGE_CHILDREN, &usage), 0);
    print_message("%d events in %ld ms, the client held %ld MiB at most\n", EVENTS, (long)took,
                  usage.ru_maxrss / 1024);
    if (slowness() == 1)
        assert_true(usage.ru_maxrss / 1024 < CLIENT_MIB);
}

static void test_ten_thousand(void **state)
{
    (void)state;
    struct stage stage;
    struct program program;
    unsigned ways = getenv("FILESHARE_HEAVY") ? 1 : QUICK_INTERESTS;
    begin(&stage, NULL);
    be_interested(&stage, ways);
    put(&stage, EVENTS / ways);
    come_back(&stage, ways, (const char *const[]){"listen", NULL}, SIGINT);
    /* All were acknowledged: the next one, a prompt, is told what is new alone. */
    struct program_plan plan = plan_of(&stage, NULL);
    program_start(&program, &plan);
    put(&stage, 1);
    until_told(&stage, EVENTS + ways);
    program_end(&program, SIGTERM);
    assert_int_equal(lines_of(&stage), EVENTS + ways);
    end(&stage);
}

/* ---- bounds ---- */

static const char lost_text[] = "events were dropped, the oldest first";

static void expect_dropped(const struct stage *stage, unsigned dropped, size_t arrived)
{
    char line[64];
    assert_int_equal(lines_of(stage), arrived + (dropped > 0));
    if (dropped > 0) {
        assert_string_equal(lines[0].kind, "dropped");
        snprintf(line, sizeof line, "\tdropped\t-\t%u\t", dropped);
        assert_true(program_said(stage->out, line));
    }
    assert_string_equal(lines[dropped > 0].kind, "arrived");
}

/* What is dropped for lack of room is the oldest, and what stands for them takes the room of one. */
static void test_count(void **state)
{
    (void)state;
    struct stage stage;
    struct program program;
    char name[64], server_log[128];
    begin(&stage, (const char *const[]){"--events-per-mailbox", "8", NULL});
    snprintf(server_log, sizeof server_log, "%s/log", stage.world.server.folder);
    be_interested(&stage, 1);
    put(&stage, BOUND);
    struct program_plan listen = plan_of(&stage, (const char *const[]){"listen", NULL});
    program_start(&program, &listen);
    until_told(&stage, BOUND);
    program_end(&program, SIGINT);
    expect_dropped(&stage, 0, BOUND);
    assert_false(program_said(stage.log, lost_text));
    assert_false(program_said(server_log, lost_text));

    unlink(stage.out);
    put(&stage, BOUND + 1); /* one past it */
    snprintf(name, sizeof name, "n/%u", stage.serial);
    program_start(&program, &listen);
    until_last_is(&stage, name);
    until_said(stage.log, lost_text);
    program_end(&program, SIGINT);
    expect_dropped(&stage, 2, BOUND - 1);
    until_said(server_log, lost_text);

    unlink(stage.out);
    put(&stage, 10 * BOUND);
    snprintf(name, sizeof name, "n/%u", stage.serial);
    struct program_plan prompt = plan_of(&stage, NULL);
    program_start(&program, &prompt);
    until_last_is(&stage, name);
    program_end(&program, SIGTERM);
    expect_dropped(&stage, 9 * BOUND + 1, BOUND - 1);
    end(&stage);
}

static void test_age(void **state)
{
    (void)state;
    struct stage stage;
    struct program program;
    char name[64], server_log[128], age[16];
    snprintf(age, sizeof age, "%u", AGE_SECONDS * slowness());
    begin(&stage, (const char *const[]){"--event-age", age, NULL});
    snprintf(server_log, sizeof server_log, "%s/log", stage.world.server.folder);
    be_interested(&stage, 1);
    put(&stage, 3);
    until_dropped(&stage, 3); /* not necessarily at once */
    until_said(server_log, lost_text);
    put(&stage, 1);
    snprintf(name, sizeof name, "n/%u", stage.serial);
    struct program_plan listen = plan_of(&stage, (const char *const[]){"listen", NULL});
    program_start(&program, &listen);
    until_last_is(&stage, name);
    until_said(stage.log, lost_text);
    program_end(&program, SIGINT);
    expect_dropped(&stage, 3, 1);
    end(&stage);
}

/* A wait whose events were dropped looks at what is there: it would wait for ever otherwise. */
static void test_wait(void **state)
{
    (void)state;
    struct stage stage;
    struct program program;
    begin(&stage, (const char *const[]){"--events-per-mailbox", "2", NULL});
    struct program_plan plan = plan_of(
        &stage,
        (const char *const[]){"wait", "n/1", "n/2", "n/3", "n/4", "n/5", "n/[6]", "--timeout", "5m", NULL});
    program_start(&program, &plan);
    until_said(stage.log, "called back");
    program_freeze(&program);
    put(&stage, 6);
    kill(program.pid, SIGCONT);
    assert_true(program_ends(&program, (int64_t)TOLD_MS * slowness()));
    assert_int_equal(program.status, 0);
    for (unsigned i = 1; i <= 6; i++) {
        char line[64];
        snprintf(line, sizeof line, "arrived\tn/%u\t", i);
        assert_true(program_said(stage.out, line));
    }
    assert_true(program_said(stage.log, "the server dropped"));
    end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_age),
        cmocka_unit_test(test_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
