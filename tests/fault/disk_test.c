/*
 * Every open, write, cut, sync and rename of an act fails once, with ENOSPC and
 * with EIO: the first, the second, and so on until the act meets no more. The
 * caller is told the right error, the server serves on, and nothing that was
 * acknowledged is lost. At last the disk hangs.
 */
#include "fault/failing_disk.h"
#include "fault/inspect.h"
#include "fault/world.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CALLS_MAX = 200, KILL_EVERY = 7, INTEREST_SECONDS = 3600 };

struct stage {
    struct world world;
    struct shim *shim;
    struct fileshare *session;
    unsigned serial, faults, refusals;
    struct fileshare_entry kept; /* acknowledged at the start, never touched */
};

static struct stage stage;

static void arm(int nth, int error)
{
    failing_disk_arm(stage.shim, nth, error, false);
}

static struct fileshare *open_session(void)
{
    struct fileshare *session = world_session(&stage.world, "disk", 0);
    assert_non_null(session);
    return session;
}

static int begin(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    stage.world.seed = 1; /* nothing here is random */
    daemon_prepare(&stage.world.server, place_in_memory());
    stage.shim = failing_disk_below(&stage.world.server);
    daemon_start(&stage.world.server);
    stage.session = open_session();
    assert_int_equal(world_put(&stage.world, stage.session, "kept", 300000, 1, false, &stage.kept, &error),
                     FILESHARE_OK);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(stage.session);
    daemon_stop(&stage.world.server, SIGKILL);
    inspect_deep(&stage.world);
    inspect_swept(&stage.world);
    print_message("%u calls failed, %u acts were refused for it, %lu kills, %u wrong\n", stage.faults,
                  stage.refusals, stage.world.kills, stage.world.wrong);
    munmap(stage.shim, sizeof *stage.shim);
    bool well = stage.world.wrong == 0 && stage.faults > 0 && stage.refusals > 0;
    daemon_end(&stage.world.server);
    return well ? 0 : -1;
}

/* ---- one act, before and after ---- */

struct trial {
    const char *what;
    size_t size;
    enum fileshare_status (*run)(const struct trial *trial, struct fileshare_error *error);
    bool interest; /* it makes no version */
};

static const char subject[] = "subject", target[] = "target";

static enum fileshare_status run_put(const struct trial *trial, struct fileshare_error *error)
{
    struct fileshare_entry entry;
    return world_put(&stage.world, stage.session, target, trial->size, ++stage.serial, false, &entry, error);
}

static enum fileshare_status run_replace(const struct trial *trial, struct fileshare_error *error)
{
    struct fileshare_entry entry;
    return world_put(&stage.world, stage.session, subject, trial->size, ++stage.serial, true, &entry, error);
}

static enum fileshare_status run_remove(const struct trial *trial, struct fileshare_error *error)
{
    (void)trial;
    return fileshare_remove(stage.session, subject, NULL, error);
}

static enum fileshare_status run_rename(const struct trial *trial, struct fileshare_error *error)
{
    struct fileshare_entry entry;
    (void)trial;
    return fileshare_rename(stage.session, subject, target, false, &entry, error);
}

static enum fileshare_status run_interest(const struct trial *trial, struct fileshare_error *error)
{
    struct fileshare_register what = {.pattern = "what does not come", .seconds = INTEREST_SECONDS};
    struct fileshare_registered registered;
    (void)trial;
    enum fileshare_status status = fileshare_interest(stage.session, &what, NULL, NULL, &registered, error);
    return status == FILESHARE_OK ? fileshare_cancel(stage.session, &registered.id, NULL, NULL, NULL, error)
                                  : status;
}

/* What the two names hold: versions, zeros for nothing. */
struct facts {
    struct fileshare_id subject, target;
};

static void look_at(const char *name, struct fileshare_id *out)
{
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    enum fileshare_status status = fileshare_stat(stage.session, name, &entry, &error);
    *out = (struct fileshare_id){0};
    if (status == FILESHARE_OK) {
        *out = entry.version;
        world_get(&stage.world, stage.session, &entry);
    } else if (status != FILESHARE_ABSENT) {
        world_wrong(&stage.world, "no answer about %s: %s", name, error.text);
    }
}

static struct facts look(void)
{
    struct facts facts;
    look_at(subject, &facts.subject);
    look_at(target, &facts.target);
    return facts;
}

/* "subject" is there, "target" is not. */
static void prepare(void)
{
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    struct facts facts = look();
    static const struct fileshare_id none;
    if (memcmp(&facts.target, &none, sizeof none) != 0 &&
        fileshare_remove(stage.session, target, NULL, &error) != FILESHARE_OK)
        world_wrong(&stage.world, "remove of target: %s", error.text);
    if (memcmp(&facts.subject, &none, sizeof none) == 0 &&
        world_put(&stage.world, stage.session, subject, 100000, ++stage.serial, false, &entry, &error) !=
            FILESHARE_OK)
        world_wrong(&stage.world, "put of subject: %s", error.text);
}

static void restart(void)
{
    fileshare_close(stage.session);
    daemon_stop(&stage.world.server, SIGKILL);
    stage.world.kills++;
    daemon_start(&stage.world.server);
    stage.session = open_session();
}

static void judge(const struct trial *trial, int nth, int error, enum fileshare_status status,
                  const struct fileshare_error *said, const struct facts *before)
{
    bool may = status == FILESHARE_OK || status == FILESHARE_UNAVAILABLE ||
               (error == ENOSPC && status == FILESHARE_NOSPACE);
    if (!may)
        world_wrong(&stage.world, "%s: call %d fails with %s: answer %d: %s", trial->what, nth,
                    strerror(error), status, said->text);
    stage.refusals += status != FILESHARE_OK;
    struct facts after = look();
    bool changed = memcmp(before, &after, sizeof after) != 0;
    if (trial->interest ? changed : status == FILESHARE_OK && !changed)
        world_wrong(&stage.world, "%s: call %d fails with %s: what was acknowledged is not there",
                    trial->what, nth, strerror(error));
    if (status == FILESHARE_NOSPACE && changed)
        world_wrong(&stage.world, "%s: call %d fails with %s: refused, but done", trial->what, nth,
                    strerror(error));
    if (nth % KILL_EVERY == 0) {
        restart();
        struct facts later = look();
        if (memcmp(&later, &after, sizeof after) != 0)
            world_wrong(&stage.world, "%s: call %d fails with %s: a restart brings something else",
                        trial->what, nth, strerror(error));
        world_get(&stage.world, stage.session, &stage.kept);
    }
}

static void fail_each_call(const struct trial *trial, int error)
{
    bool met = true;
    for (int nth = 1; met && nth < CALLS_MAX && stage.world.wrong == 0; nth++) {
        struct fileshare_error said = {0};
        prepare();
        struct facts before = look();
        arm(nth, error);
        enum fileshare_status status = trial->run(trial, &said);
        met = stage.shim->failed > 0;
        failing_disk_is_sound(stage.shim);
        stage.faults += met;
        judge(trial, nth, error, status, &said, &before);
        if (!met && status != FILESHARE_OK)
            world_wrong(&stage.world, "%s: refused though nothing failed: %s", trial->what, said.text);
    }
    assert_false(met);
}

static const struct trial trials[] = {
    {.what = "put of 1000 bytes", .size = 1000, .run = run_put},
    {.what = "put of 300,000 bytes", .size = 300000, .run = run_put},
    {.what = "put of 2,500,000 bytes", .size = 2500000, .run = run_put},
    {.what = "replace", .size = 300000, .run = run_replace},
    {.what = "remove", .run = run_remove},
    {.what = "rename", .run = run_rename},
    {.what = "interest and cancel", .run = run_interest, .interest = true},
};

static void test_no_space(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++)
        fail_each_call(&trials[i], ENOSPC);
    assert_int_equal(stage.world.wrong, 0);
}

static void test_broken_disk(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++)
        fail_each_call(&trials[i], EIO);
    assert_int_equal(stage.world.wrong, 0);
}

static unsigned log_lines(void)
{
    char path[128], line[1024];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/log", stage.world.server.folder);
    FILE *log = fopen(path, "re");
    assert_non_null(log);
    while (fgets(line, sizeof line, log))
        count++;
    fclose(log);
    return count;
}

/* For as long as nothing can be written: writers are refused, readers served, the log is not filled. */
static void outlast(int error)
{
    enum { TRIES = 30, LINES = 6 };
    struct fileshare_error said = {0};
    int64_t ns;
    prepare();
    struct facts before = look();
    unsigned lines = log_lines();
    stage.shim->error = error;
    stage.shim->lasting = 1;
    for (unsigned i = 0; i < TRIES; i++) {
        enum fileshare_status status = trials[i % 6].run(&trials[i % 6], &said);
        if (status != FILESHARE_UNAVAILABLE && !(error == ENOSPC && status == FILESHARE_NOSPACE))
            world_wrong(&stage.world, "%s on a disk that fails (%s): answer %d: %s", trials[i % 6].what,
                        strerror(error), status, said.text);
        assert_int_equal(fileshare_ping(stage.session, &ns, &said), FILESHARE_OK);
        world_get(&stage.world, stage.session, &stage.kept);
    }
    struct facts during = look();
    assert_memory_equal(&during, &before, sizeof before);
    stage.shim->lasting = 0;
    stage.refusals += TRIES;
    if (log_lines() - lines > LINES) {
        daemon_show_log(&stage.world.server);
        fail_msg("%u lines of log for %d refusals", log_lines() - lines, TRIES);
    }
    for (size_t i = 0; i < sizeof trials / sizeof trials[0]; i++) {
        prepare();
        enum fileshare_status status = trials[i].run(&trials[i], &said);
        if (status != FILESHARE_OK)
            world_wrong(&stage.world, "%s once the disk is well again: %s", trials[i].what, said.text);
    }
    assert_int_equal(stage.world.wrong, 0);
}

static void test_lasting(void **state)
{
    (void)state;
    outlast(ENOSPC);
    outlast(EIO);
    outlast(EROFS);
}

static void *put_meanwhile(void *context)
{
    const struct trial *trial = context;
    struct fileshare_error said;
    if (trial->run(trial, &said) == FILESHARE_OK)
        world_wrong(&stage.world, "put: acknowledged, and nothing can be written");
    return NULL;
}

/* A disk that does not answer any more: told to stop, the server ends all the same, and as well as by a kill. */
static void test_hanging(void **state)
{
    (void)state;
    enum { STOP_SECONDS = 1, GRACE_SECONDS = 10, LATE_SECONDS = 10 };
    static const char *const options[] = {"--stop-seconds", "1", NULL};
    struct daemon *server = &stage.world.server;
    pthread_t thread;
    server->options = options;
    restart();
    prepare();
    struct facts before = look();
    arm(0, 0);
    stage.shim->hangs = 1;
    assert_int_equal(pthread_create(&thread, NULL, put_meanwhile, (void *)(uintptr_t)&trials[2]), 0);
    int64_t began = milliseconds();
    while (stage.shim->failed == 0)
        assert_true(milliseconds() - began < 20000);
    began = milliseconds();
    kill(server->pid, SIGTERM);
    while (waitpid(server->pid, &server->status, WNOHANG) == 0) {
        if (milliseconds() - began > (STOP_SECONDS + GRACE_SECONDS + LATE_SECONDS) * 1000)
            fail_msg("fileshared does not end on a disk that hangs");
        usleep(20000);
    }
    server->pid = 0;
    assert_true(WIFEXITED(server->status) && WEXITSTATUS(server->status) == 1);
    stage.shim->hangs = 0;
    pthread_join(thread, NULL);
    restart();
    struct facts after = look();
    assert_memory_equal(&after, &before, sizeof before);
    world_get(&stage.world, stage.session, &stage.kept);
    assert_int_equal(stage.world.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_space), cmocka_unit_test(test_broken_disk),
                                       cmocka_unit_test(test_lasting), cmocka_unit_test(test_hanging)};
    return cmocka_run_group_tests(tests, begin, end);
}
