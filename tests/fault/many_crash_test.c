/*
 * The server dies while files come to it by the hundred, at places of the way of
 * an UPLOAD_MANY: the client goes on when it is back, and each file counts once.
 */
#include "client/crowd.h"
#include "client/daemon.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILES = 400, STEP = 997, MOST = 40000, DEAD_WITHIN_MS = 20000 };

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

static void test_each_place(void **state)
{
    (void)state;
    /* In the first bundle and in later ones; before its commit, after it, and after its reply was made. */
    static const struct {
        const char *place;
        unsigned passes;
    } rows[] = {
        {"blob-made", 3},  {"put-synced", 90},          {"publish-made", 1},     {"publish-made", 399},
        {"reply-made", 4}, {"writer-before-commit", 2}, {"writer-committed", 3}, {"put-committed", 2},
    };
    daemon_begin(&server);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        crash_at(rows[i].place, rows[i].passes);
    daemon_end(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
