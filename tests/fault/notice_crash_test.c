/*
 * A client is killed before, in and after a notice: at each of its named places
 * (base/fault.h), and at random, the server with it now and then. Another takes its place, and what both printed is
 * one journal: every event is there, in order, once; but for the one event that was
 * printed and not yet recorded, which is printed again under its own number.
 *
 *     FILESHARE_FAULT_SEED=N, FILESHARE_FAULT_SECONDS=N   as in kill_test.c
 */
#include "fault/crash_places.h"
#include "fault/dropper.h"
#include "fault/program.h"

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

enum {
    AWAY = 3, /* events that wait when the client starts */
    LIVE = 3, /* and that come while it runs */
    PASSES = 3,
    LINES_MAX = 65536,
    DIES_MS = 10000,
    TOLD_MS = 20000,
    RANDOM_SECONDS = 4,
    RANDOM_LIFE_MS = 250,
    RANDOM_PAUSE_US = 8000,
    SERVER_TOO = 4 /* one time in so many the server is killed as well, before the client or after it */
};

enum form { LISTEN = 1, PROMPT = 2, REVERSED = 4, WAIT = 8, INTEREST = 16 };

static const struct place {
    const char *name;
    unsigned forms;
    bool repeats; /* the last event may come again */
    bool at_end;  /* passed when it is told to end */
    bool once;
    bool brisk; /* passed now and then while nothing happens: let that be often */
} places[] = {
    {"notice-received", LISTEN | PROMPT | REVERSED, .repeats = false},
    {"event-shown", LISTEN | PROMPT | REVERSED, .repeats = true},
    {"mailbox-written", LISTEN | PROMPT | REVERSED, .repeats = false},
    {"event-recorded", LISTEN | PROMPT | REVERSED, .repeats = false},
    {"reply-made", LISTEN | REVERSED, .repeats = false},
    {"reply-sent", LISTEN | PROMPT, .repeats = false},
    {"reversed-answered", REVERSED, .repeats = false},
    {"mailbox-attached", LISTEN | PROMPT, .once = true},
    {"mailbox-detached", LISTEN | PROMPT, .at_end = true, .once = true},
    {"events-pulled", LISTEN | PROMPT, .once = true, .brisk = true},
    {"mailbox-linked", INTEREST, .once = true},
    {"interest-made", WAIT, .repeats = false},
    {"arrival-heard", WAIT, .repeats = false},
    {"arrival-told", WAIT, .repeats = false},
    {"mailbox-forgotten", WAIT, .once = true},
};

static struct stage {
    struct world world;
    struct dice dice;
    struct dropper *relay; /* the server's dial-back to its clients fails */
    struct fileshare *writer;
    unsigned trials, kills, serial;
} stage;

static struct program_line lines[LINES_MAX];

static int begin(void **state)
{
    (void)state;
    world_begin(&stage.world);
    stage.dice = dice_of(stage.world.seed, 500);
    stage.relay = dropper_between(
        &(struct dropper_way){.target_port = stage.world.server.port, .from = "127.0.0.2"});
    stage.writer = world_session(&stage.world, "writer", 60);
    return stage.writer ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(stage.writer);
    dropper_free(stage.relay);
    print_message("%u trials, %u clients killed, %u wrong\n", stage.trials, stage.kills, stage.world.wrong);
    bool well = stage.world.wrong == 0 && stage.kills >= stage.trials;
    world_end(&stage.world);
    return well ? 0 : -1;
}

/* ---- one journal ---- */

struct trial {
    const char *label;
    char prefix[32], glob[40], state[128], out[128];
    unsigned put; /* names PREFIX/1 to this */
    struct program_plan plan;
};

static void trial_begin(struct trial *trial, const char *label, bool reversed)
{
    unsigned number = ++stage.trials;
    *trial = (struct trial){.label = label};
    snprintf(trial->prefix, sizeof trial->prefix, "t%u", number);
    snprintf(trial->glob, sizeof trial->glob, "t%u/*", number);
    snprintf(trial->state, sizeof trial->state, "%s/state%u", stage.world.server.folder, number);
    snprintf(trial->out, sizeof trial->out, "%s/out%u", stage.world.server.folder, number);
    trial->plan = (struct program_plan){
        .server = reversed ? dropper_address(stage.relay) : stage.world.server.tcp,
        .state = trial->state,
        .out = trial->out,
    };
}

static void name_of(const struct trial *trial, unsigned number, char name[64])
{
    snprintf(name, 64, "%s/%u", trial->prefix, number);
}

static void put_next(struct trial *trial)
{
    char name[64];
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    name_of(trial, ++trial->put, name);
    if (world_put(&stage.world, stage.writer, name, 100, ++stage.serial, false, &entry, &error) !=
        FILESHARE_OK)
        fail_msg("put of %s: %s", name, error.text);
}

static bool is_told(const struct trial *trial, unsigned number)
{
    char name[64];
    name_of(trial, number, name);
    size_t count = program_lines(trial->out, lines, LINES_MAX);
    while (count > 0)
        if (strcmp(lines[--count].name, name) == 0)
            return true;
    return false;
}

static bool told_within(const struct trial *trial, unsigned number, int64_t limit_ms)
{
    int64_t until = milliseconds() + limit_ms;
    while (!is_told(trial, number)) {
        if (milliseconds() > until)
            return false;
        usleep(3000);
    }
    return true;
}

/* All names in their order; `repeats` events may stand twice, each right behind itself. */
static void audit(const struct trial *trial, unsigned repeats)
{
    size_t count = program_lines(trial->out, lines, LINES_MAX);
    unsigned next = 1, repeated = 0;
    uint64_t last = 0;
    char name[64];
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && lines[i].number == last && strcmp(lines[i].name, lines[i - 1].name) == 0) {
            repeated++;
            continue;
        }
        name_of(trial, next++, name);
        if (strcmp(lines[i].kind, "arrived") != 0 || strcmp(lines[i].name, name) != 0 ||
            lines[i].number <= last)
            world_wrong(&stage.world, "%s: line %zu is event %lu of %s instead of %s", trial->label, i + 1,
                        lines[i].number, lines[i].name, name);
        last = lines[i].number;
    }
    if (next != trial->put + 1)
        world_wrong(&stage.world, "%s: %u of %u events were told", trial->label, next - 1, trial->put);
    if (repeated > repeats)
        world_wrong(&stage.world, "%s: %u events were told twice, %u may be", trial->label, repeated,
                    repeats);
}

static void run_command(struct trial *trial, const char *crash, const char *const *words)
{
    struct program program;
    struct program_plan plan = trial->plan;
    char log[160];
    snprintf(log, sizeof log, "%s.command", trial->out);
    memset(plan.words, 0, sizeof plan.words);
    for (size_t i = 0; words[i]; i++)
        plan.words[i] = words[i];
    plan.out = log;
    plan.crash = crash;
    program_start(&program, &plan);
    if (!program_ends(&program, (int64_t)DIES_MS * slowness())) {
        program_end(&program, SIGKILL);
        fail_msg("%s: %s does not end", trial->label, words[0]);
    }
    if (crash ? !WIFSIGNALED(program.status) : program.status != 0)
        fail_msg("%s: %s ended with status %x", trial->label, words[0], (unsigned)program.status);
    stage.kills += crash != NULL;
}

static void register_glob(struct trial *trial, const char *crash)
{
    run_command(trial, crash, (const char *const[]){"interest", trial->glob, "--every", "--for", "1h", NULL});
}

static void ends_well(struct program *program, bool prompt)
{
    int status = program_end(program, prompt ? SIGTERM : SIGINT);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != (prompt ? 143 : 130))
        world_wrong(&stage.world, "a client that was told to end ended with %x", (unsigned)status);
}

/* Without a crash: tells what is left, and one more. */
static void finish(struct trial *trial, bool prompt, unsigned repeats)
{
    struct program program;
    trial->plan.crash = NULL;
    program_start(&program, &trial->plan);
    put_next(trial);
    if (!told_within(trial, trial->put, (int64_t)TOLD_MS * slowness()))
        world_wrong(&stage.world, "%s: the last event was not told", trial->label);
    ends_well(&program, prompt);
    audit(trial, repeats);
}

/* ---- at each place ---- */

static void crash_in_notice(const struct place *place, enum form form)
{
    struct trial trial;
    struct program program;
    char crash[64];
    unsigned passes = place->once ? 1 : 1 + dice_throw(&stage.dice, PASSES);
    trial_begin(&trial, place->name, form == REVERSED);
    register_glob(&trial, NULL);
    for (unsigned i = 0; i < AWAY; i++)
        put_next(&trial);
    snprintf(crash, sizeof crash, "%s:%u", place->name, passes);
    trial.plan.crash = crash;
    size_t words = 0;
    if (place->brisk) {
        trial.plan.words[words++] = "--dead-after";
        trial.plan.words[words++] = "1";
    }
    if (form != PROMPT)
        trial.plan.words[words] = "listen";
    program_start(&program, &trial.plan);
    bool dead = false;
    for (unsigned i = 0; i < LIVE && !dead; i++) {
        while (!(dead = program_ends(&program, 0)) && !is_told(&trial, trial.put))
            usleep(3000);
        put_next(&trial);
    }
    if (place->at_end && told_within(&trial, trial.put, (int64_t)TOLD_MS * slowness()))
        kill(program.pid, form == PROMPT ? SIGTERM : SIGINT);
    if (!dead && !program_ends(&program, (int64_t)DIES_MS * slowness())) {
        world_wrong(&stage.world, "%s was not passed %u times", place->name, passes);
        program_end(&program, SIGKILL);
    } else if (!WIFSIGNALED(program.status) || WTERMSIG(program.status) != SIGKILL)
        world_wrong(&stage.world, "at %s the client ended with %x", place->name, (unsigned)program.status);
    stage.kills++;
    finish(&trial, form == PROMPT, place->repeats);
}

/* The first file of all: another run makes it, or takes the one that is there. */
static void crash_at_first(const struct place *place)
{
    struct trial trial;
    trial_begin(&trial, place->name, false);
    register_glob(&trial, place->name);
    register_glob(&trial, NULL);
    trial.plan.words[0] = "listen";
    put_next(&trial);
    finish(&trial, false, 0);
}

static void until_called_back(const struct trial *trial)
{
    char log[160], line[512];
    int64_t until = milliseconds() + (int64_t)TOLD_MS * slowness();
    bool called = false;
    snprintf(log, sizeof log, "%s.log", trial->out);
    while (!called) {
        if (milliseconds() > until)
            fail_msg("%s: the wait is not called back", trial->label);
        FILE *file = fopen(log, "re");
        while (file && fgets(line, sizeof line, file))
            called = called || strstr(line, "called back by") != NULL;
        if (file)
            fclose(file);
        usleep(3000);
    }
}

/* A wait that was killed is begun again: what came by then is there, and is told once more by that one. */
static void crash_in_wait(const struct place *place)
{
    struct trial trial;
    struct program program;
    char crash[64], one[64], other[64];
    trial_begin(&trial, place->name, false);
    name_of(&trial, 1, one);
    name_of(&trial, 2, other);
    snprintf(crash, sizeof crash, "%s:%u", place->name, place->once ? 1 : 1 + dice_throw(&stage.dice, 2));
    trial.plan.crash = crash;
    const char *const words[] = {"--json", "wait", one, other, "--timeout", "1m"};
    memcpy(trial.plan.words, words, sizeof words);
    program_start(&program, &trial.plan);
    if (place->once)
        until_called_back(&trial); /* what is told as present alone leaves nothing to forget */
    else
        usleep(dice_throw(&stage.dice, 60000)); /* told as present, or called back */
    put_next(&trial);
    put_next(&trial);
    if (!program_ends(&program, (int64_t)DIES_MS * slowness())) {
        world_wrong(&stage.world, "%s was not passed", crash);
        program_end(&program, SIGKILL);
    } else if (!WIFSIGNALED(program.status))
        world_wrong(&stage.world, "at %s the wait ended with %x", crash, (unsigned)program.status);
    stage.kills++;
    run_command(&trial, NULL, (const char *const[]){"wait", one, other, "--timeout", "20", NULL});
}

/* Named places are in test builds alone. */
static void want_places(void)
{
#ifndef FILESHARE_FAULTS
    skip();
#endif
}

static void test_each_place(void **state)
{
    (void)state;
    want_places();
    for (size_t i = 0; i < sizeof places / sizeof places[0] && stage.world.wrong == 0; i++)
        for (unsigned form = LISTEN; form <= INTEREST; form <<= 1) {
            if (!(places[i].forms & form))
                continue;
            if (form == INTEREST)
                crash_at_first(&places[i]);
            else if (form == WAIT)
                crash_in_wait(&places[i]);
            else
                crash_in_notice(&places[i], (enum form)form);
        }
    assert_int_equal(stage.world.wrong, 0);
}

static bool is_known(const char *name)
{
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (strcmp(places[i].name, name) == 0)
            return true;
    return false;
}

static bool has(const struct crash_places *all, const char *name)
{
    for (unsigned i = 0; i < all->count; i++)
        if (strcmp(all->names[i], name) == 0)
            return true;
    return false;
}

/* Every place that we go through is there: one that was renamed would test nothing. And there is no other. */
static void test_names(void **state)
{
    (void)state;
    want_places();
    static struct crash_places all;
    crash_places_list(&all, "fileshare-client");
    for (unsigned i = 0; i < all.count; i++)
        if (!is_known(all.names[i]))
            fail_msg("%s is passed by no test", all.names[i]);
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (!has(&all, places[i].name))
            fail_msg("there is no place %s", places[i].name);
}

/* ---- at random ---- */

static void test_killed_at_random(void **state)
{
    (void)state;
    struct trial trial;
    struct program program;
    unsigned kills = 0;
    trial_begin(&trial, "at random", dice_throw(&stage.dice, 2) == 0);
    register_glob(&trial, NULL);
    trial.plan.words[0] = "listen";
    int64_t until = milliseconds() + (int64_t)world_seconds(RANDOM_SECONDS) * 1000;
    while (milliseconds() < until && trial.put < LINES_MAX / 2) {
        program_start(&program, &trial.plan);
        int64_t dies = milliseconds() + dice_throw(&stage.dice, RANDOM_LIFE_MS);
        while (milliseconds() < dies && trial.put < LINES_MAX / 2) {
            put_next(&trial);
            usleep(dice_throw(&stage.dice, RANDOM_PAUSE_US));
        }
        if (dice_throw(&stage.dice, SERVER_TOO) == 0) {
            daemon_stop(&stage.world.server, SIGKILL);
            stage.world.kills++;
            if (dice_throw(&stage.dice, 2) == 0)
                program_end(&program, SIGKILL);
            daemon_start(&stage.world.server);
        }
        if (program.pid != 0 && dice_throw(&stage.dice, SERVER_TOO) != 0) {
            put_next(&trial);
            usleep(dice_throw(&stage.dice, RANDOM_PAUSE_US));
        }
        if (program.pid != 0)
            program_end(&program, SIGKILL);
        kills++;
    }
    stage.kills += kills;
    print_message("%u kills at random, %lu of the server, %u events\n", kills, stage.world.kills, trial.put);
    finish(&trial, false, kills);
    assert_int_equal(stage.world.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_each_place),
        cmocka_unit_test(test_killed_at_random),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
