/*
 * The server dies while files come to it by the hundred, at places of the way of
 * an UPLOAD_MANY: the client goes on when it is back, and each file counts once.
 */
#include "client/crowd.h"
#include "client/daemon.h"
#include "fault/crash_places.h"
#include "place.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* Some are too large to share content with the others of their bundle. */
enum { FILES = 400, STEP = 997, MOST = 80000, DEAD_WITHIN_MS = 20000 };

static struct daemon server;

struct upload {
    struct crowd *crowd;
    struct fileshare *session;
    struct fileshare_error error;
    enum fileshare_status status;
};

static void *upload_run(void *argument)
{
    struct upload *upload = argument;
    upload->status = crowd_put(upload->crowd, upload->session, &upload->error);
    return NULL;
}

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

static void crash_at(const char *place, unsigned passes)
{
    char setting[64], prefix[32];
    const char *environment[] = {setting, NULL};
    struct upload upload = {.error = {.text = ""}};
    pthread_t thread;
    /* Opened while all is well: it comes back by itself, even if the place is passed at the start. */
    upload.session = daemon_session(&server, server.tcp, 120);
    daemon_stop(&server, SIGTERM);
    snprintf(setting, sizeof setting, "FILESHARE_CRASH_AT=%s:%u", place, passes);
    snprintf(prefix, sizeof prefix, "%.20s-%u", place, passes);
    server.environment = environment;
    daemon_launch(&server);
    server.environment = NULL;
    upload.crowd = crowd_new(server.folder, prefix, FILES, STEP, MOST, passes);
    assert_int_equal(pthread_create(&thread, NULL, upload_run, &upload), 0);
    await_death(place);
    daemon_start(&server);
    pthread_join(thread, NULL);
    if (upload.status != FILESHARE_OK)
        fail_msg("%s: %s", place, upload.error.text);
    crowd_all(upload.crowd, FILESHARE_OK);
    for (size_t n = 0; n < FILES; n++) {
        char name[64];
        struct fileshare_entry entry;
        assert_false(upload.crowd->unchanged[n]);
        snprintf(name, sizeof name, "%s/%zu", prefix, n);
        assert_int_equal(fileshare_stat(upload.session, name, &entry, &upload.error), FILESHARE_OK);
        assert_memory_equal(&entry.version, &upload.crowd->versions[n], sizeof entry.version);
    }
    assert_int_equal(crowd_get(upload.crowd, upload.session, server.folder, &upload.error), FILESHARE_OK);
    crowd_compare(upload.crowd);
    fileshare_close(upload.session);
    crowd_free(upload.crowd);
}

/* In the first bundle and in later ones; before its commit, after it, and after its reply was made. */
static const struct {
    const char *place;
    unsigned passes;
} rows[] = {
    {"blob-made", 3},        {"put-synced", 70},    {"many-written", 2}, {"many-synced", 4},
    {"many-made", 1},        {"many-made", 399},    {"reply-made", 4},   {"writer-before-commit", 2},
    {"writer-committed", 3}, {"many-committed", 2},
};

static const char *const condensing[] = {"many-condense-synced", "many-condense-committed"};

/* The server's own list: of those that many files alone pass, none is left out. */
static void test_places(void **state)
{
    (void)state;
    static struct crash_places all;
    unsigned count = 0;
    crash_places_list(&all, "fileshared");
    for (unsigned n = 0; n < all.count; n++) {
        const char *place = all.names[n];
        bool known = !crash_place_begins(place, "many-");
        count += !known;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            known |= strcmp(rows[i].place, place) == 0;
        for (size_t i = 0; i < sizeof condensing / sizeof *condensing; i++)
            known |= strcmp(condensing[i], place) == 0;
        if (!known)
            fail_msg("%s is passed by no test", place);
    }
    assert_true(count >= 6);
}

static void test_each_place(void **state)
{
    (void)state;
    daemon_begin(&server);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        crash_at(rows[i].place, rows[i].passes);
    daemon_end(&server);
}

/* ---- what is left of many, while it is put together anew ---- */

enum { LEFT_OF = 5 }; /* one of so many stays */

struct removing {
    struct fileshare *session;
    const char *prefix;
};

static void *remove_most(void *argument)
{
    const struct removing *removing = argument;
    struct fileshare_error error = {.text = ""};
    for (size_t n = 0; n < FILES; n++) {
        char name[64];
        snprintf(name, sizeof name, "%s/%zu", removing->prefix, n);
        if (n % LEFT_OF == 0)
            continue;
        enum fileshare_status status = fileshare_remove(removing->session, name, NULL, &error);
        if (status != FILESHARE_OK)
            fail_msg("remove of %s: %s", name, error.text);
    }
    return NULL;
}

static void expect_sound(void)
{
    char command[512];
    const char *build = getenv("FILESHARE_BUILD");
    snprintf(command, sizeof command, "'%s/fileshared' fsck --deep --store '%s/store' >/dev/null",
             build ? build : ".", server.folder);
    assert_int_equal(system(command), 0);
}

static void condensed(const char *place)
{
    static const char *const options[] = {"--kept", "0s", NULL};
    char setting[64];
    const char *environment[] = {setting, NULL};
    struct fileshare_error error = {.text = ""};
    pthread_t thread;
    snprintf(setting, sizeof setting, "FILESHARE_CRASH_AT=%s:2", place);
    daemon_prepare(&server, place_in_memory());
    server.options = options;
    server.environment = environment;
    daemon_start(&server);
    server.environment = NULL;
    struct removing removing = {.session = daemon_session(&server, server.tcp, 120), .prefix = "left"};
    struct crowd *crowd = crowd_new(server.folder, removing.prefix, FILES, STEP, MOST / 4, 7);
    assert_int_equal(crowd_put(crowd, removing.session, &error), FILESHARE_OK);
    assert_int_equal(pthread_create(&thread, NULL, remove_most, &removing), 0);
    await_death(place);
    daemon_start(&server);
    pthread_join(thread, NULL);
    for (size_t n = 0; n < FILES; n += LEFT_OF) {
        char name[64], path[256];
        snprintf(name, sizeof name, "%s/%zu", removing.prefix, n);
        int fd = open(crowd_path(crowd, crowd->folder, n, path), O_RDONLY | O_CLOEXEC);
        struct stat status;
        assert_int_equal(fstat(fd, &status), 0);
        uint8_t *all = malloc((size_t)status.st_size + 1);
        assert_int_equal(read(fd, all, (size_t)status.st_size), status.st_size);
        close(fd);
        get_ok(removing.session, name, all, (size_t)status.st_size);
        free(all);
    }
    fileshare_close(removing.session);
    crowd_free(crowd);
    daemon_stop(&server, SIGTERM);
    expect_sound();
    daemon_start(&server);
    daemon_end(&server);
}

static void test_condensed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof condensing / sizeof *condensing; i++)
        condensed(condensing[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_each_place),
        cmocka_unit_test(test_condensed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
