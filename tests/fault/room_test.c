/*
 * A small disk, a real server on it, real clients: what was removed or replaced
 * makes room for what comes. In a mount namespace of this process's own.
 */
#include "fault/inspect.h"
#include "fault/world.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { MIB = 1 << 20, HALF = 30 * MIB, SMALL = 20000, SMALL_COUNT = 600 };

static struct {
    struct world world;
    struct fileshare *session;
    bool mounted;
    unsigned serial;
} stage;

static void store_path(char out[128])
{
    snprintf(out, 128, "%s/store", stage.world.server.folder);
}

static int begin(void **state)
{
    (void)state;
    static const char *const options[] = {"--reserve", "4M", NULL};
    char folder[128];
    memset(&stage, 0, sizeof stage);
    stage.world.seed = 1; /* nothing here is random */
    daemon_prepare(&stage.world.server, place_on_disk());
    stage.world.server.options = options;
    store_path(folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    stage.mounted = unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
                    mount("tmpfs", folder, "tmpfs", 0, "size=64m,mode=0700") == 0;
    if (!stage.mounted)
        print_message("no mounts of its own: %s\n", strerror(errno));
    return 0;
}

static int end(void **state)
{
    (void)state;
    char folder[128];
    store_path(folder);
    fileshare_close(stage.session);
    if (stage.world.server.pid != 0)
        daemon_stop(&stage.world.server, SIGTERM);
    if (stage.mounted) {
        inspect_deep(&stage.world);
        inspect_swept(&stage.world);
        umount(folder);
    }
    daemon_end(&stage.world.server);
    return stage.world.wrong == 0 ? 0 : -1;
}

static void serve(void)
{
    if (!stage.mounted)
        skip();
    daemon_start(&stage.world.server);
    stage.session = world_session(&stage.world, "room", 0);
    assert_non_null(stage.session);
}

static enum fileshare_status put(const char *name, size_t size, bool replace, struct fileshare_error *error)
{
    struct fileshare_entry entry;
    return world_put(&stage.world, stage.session, name, size, ++stage.serial, replace, &entry, error);
}

static void put_well(const char *name, size_t size, bool replace)
{
    struct fileshare_error error = {0};
    enum fileshare_status status = put(name, size, replace, &error);
    if (status == FILESHARE_OK)
        return;
    daemon_show_log(&stage.world.server);
    fail_msg("%s: %d, %s", name, status, error.text);
}

static void remove_well(const char *name)
{
    struct fileshare_error error = {0};
    if (fileshare_remove(stage.session, name, NULL, &error) != FILESHARE_OK)
        fail_msg("removal of %s: %s", name, error.text);
}

/* `fileshare-client WORDS`, and what follows. */
static void client_line(char *out, size_t size, const char *words)
{
    snprintf(out, size, "LC_ALL=C XDG_STATE_HOME=%s %s/fileshare-client --server %s --no-rpcbind %s",
             stage.world.server.folder, getenv("FILESHARE_BUILD"), stage.world.server.tcp, words);
}

static void test_removed(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    serve();
    for (unsigned i = 0; i < 4; i++) {
        put_well("f", HALF + i * MIB, false);
        remove_well("f");
    }
    /* With nothing kept that could go it is said at once. */
    put_well("f", HALF, false);
    int64_t before = milliseconds();
    assert_int_equal(put("g", HALF, false, &error), FILESHARE_NOSPACE);
    if (!strstr(error.text, "out of space (needs 30 MiB, has 2"))
        fail_msg("%s", error.text);
    assert_true(milliseconds() - before < 10000 * (int64_t)slowness());
}

static void test_replaced(void **state)
{
    (void)state;
    serve();
    for (unsigned i = 0; i < 8; i++)
        put_well("f", 12 * MIB, true);
}

/* A folder of small ones, whose names are the same each time. */
static void test_many(void **state)
{
    (void)state;
    char path[128], words[384], line[768], name[64];
    uint8_t *bytes = pattern_bytes(SMALL, 1);
    serve();
    snprintf(path, sizeof path, "%s/many", stage.world.server.folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (unsigned i = 0; i < SMALL_COUNT; i++) {
        char file[160];
        snprintf(file, sizeof file, "%s/%u", path, i);
        FILE *out = fopen(file, "we");
        assert_non_null(out);
        assert_int_equal(fwrite(bytes, SMALL, 1, out), 1);
        assert_int_equal(fclose(out), 0);
    }
    free(bytes);
    snprintf(words, sizeof words, "put -r %s >/dev/null 2>%s.said", path, path);
    client_line(line, sizeof line, words);
    for (unsigned round = 0; round < 6; round++) {
        if (system(line) != 0) {
            snprintf(line, sizeof line,
                     "tail -3 %s.said >&2; ls -lR %s/store | grep -v '^d'|tail -40 >&2; df %s/store >&2",
                     path, stage.world.server.folder, stage.world.server.folder);
            (void)!system(line);
            daemon_show_log(&stage.world.server);
            fail_msg("round %u", round);
        }
        for (unsigned i = 0; i < SMALL_COUNT; i++) {
            snprintf(name, sizeof name, "many/%u", i);
            remove_well(name);
        }
    }
}

/* Who downloads what was removed goes on, and is done before it makes room. */
static void test_download(void **state)
{
    (void)state;
    char line[640], step[4096];
    struct fileshare_error error = {0};
    size_t got = 0, count;
    serve();
    put_well("f", HALF, false);
    client_line(line, sizeof line, "get f -o -");
    FILE *client = popen(line, "r");
    assert_non_null(client);
    got += fread(step, 1, sizeof step, client);
    remove_well("f"); /* its pipe is full, and it waits */
    assert_int_equal(put("g", HALF, false, &error), FILESHARE_NOSPACE);
    put_well("g", 8 * MIB, false);
    while ((count = fread(step, 1, sizeof step, client)) > 0)
        got += count;
    assert_int_equal(got, HALF);
    assert_int_equal(pclose(client), 0);
    put_well("h", HALF, false);
}

/* Killed when the rows are gone and the content is not: the next start removes it, and nothing else is missing. */
static void test_killed(void **state)
{
    (void)state;
    static const char *const environment[] = {"FILESHARE_CRASH_AT=care-kept-ended", NULL};
    char line[256];
    struct fileshare_error error = {0};
    snprintf(line, sizeof line, "FILESHARE_CRASH_AT=list %s/fileshared --version | grep -qx care-kept-ended",
             getenv("FILESHARE_BUILD"));
    if (system(line) != 0)
        skip(); /* no places to die at in this build */
    stage.world.server.environment = environment;
    serve();
    stage.world.server.environment = NULL;
    put_well("stays", MIB, false);
    put_well("f", HALF, false);
    remove_well("f");
    assert_int_not_equal(put("g", HALF, false, &error), FILESHARE_OK);
    int status;
    assert_int_equal(waitpid(stage.world.server.pid, &status, 0), stage.world.server.pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    stage.world.server.pid = 0;
    fileshare_close(stage.session);
    serve();
    int64_t until = milliseconds() + 60000 * (int64_t)slowness();
    while (put("g", HALF, false, &error) !=
           FILESHARE_OK) { /* the first look through all content goes on beside */
        if (milliseconds() > until)
            fail_msg("no room: %s", error.text);
        usleep(20000);
    }
    struct fileshare_entry entry;
    assert_int_equal(fileshare_stat(stage.session, "stays", &entry, &error), FILESHARE_OK);
    world_get(&stage.world, stage.session, &entry);
}

#define ROOM_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOM_TEST(test_removed),  ROOM_TEST(test_replaced), ROOM_TEST(test_many),
        ROOM_TEST(test_download), ROOM_TEST(test_killed),
    };
    return cmocka_run_group_tests_name("room", tests, NULL, NULL);
}
