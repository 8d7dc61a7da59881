/* The durable mailbox: interests that outlive the process, events shown exactly once. */
#include "client/daemon.h"
#include "client/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct daemon server;

static int begin(void **state)
{
    (void)state;
    daemon_begin(&server);
    return 0;
}

static int end(void **state)
{
    (void)state;
    daemon_end(&server);
    return 0;
}

/* ---- who shows events ---- */

enum { SHOWN_MAX = 256 };

struct show {
    pthread_mutex_t lock;
    size_t count, refused;
    struct fileshare_event events[SHOWN_MAX];
    size_t refuse; /* so many are not taken */
};

static bool show_event(void *context, const struct fileshare_event *event)
{
    struct show *show = context;
    bool taken = false;
    pthread_mutex_lock(&show->lock);
    if (show->refuse > 0) {
        show->refuse--;
        show->refused++;
    } else if (show->count < SHOWN_MAX) {
        show->events[show->count++] = *event;
        taken = true;
    }
    pthread_mutex_unlock(&show->lock);
    return taken;
}

static size_t shown(struct show *show)
{
    pthread_mutex_lock(&show->lock);
    size_t count = show->count;
    pthread_mutex_unlock(&show->lock);
    return count;
}

static void until_shown(struct show *show, size_t count)
{
    int64_t deadline = milliseconds() + (int64_t)15000 * slowness();
    while (shown(show) < count) {
        if (milliseconds() > deadline)
            fail_msg("%zu of %zu events were shown", shown(show), count);
        usleep(2000);
    }
}

static struct fileshare *session_of(void)
{
    return daemon_session(&server, server.tcp, 30);
}

static void attach_ok(struct fileshare *session, struct show *show)
{
    struct fileshare_error error = {0};
    if (fileshare_attach(session, show_event, show, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
}

static struct fileshare_registered interest(struct fileshare *session, const char *pattern, bool glob,
                                            bool every, uint32_t seconds)
{
    struct fileshare_register what = {.pattern = pattern, .glob = glob, .every = every, .seconds = seconds};
    struct fileshare_registered out = {0};
    struct fileshare_error error = {0};
    if (fileshare_interest(session, &what, NULL, NULL, &out, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
    return out;
}

/* ---- interests ---- */

struct rows {
    size_t count;
    struct fileshare_interest last;
};

static void count_row(void *context, const struct fileshare_interest *row)
{
    struct rows *rows = context;
    rows->count++;
    rows->last = *row;
}

static void note_present(void *context, const struct fileshare_entry *entry)
{
    snprintf(context, 64, "%.63s", entry->name);
}

static void test_interests(void **state)
{
    (void)state;
    server.state = "test_interests"; /* a mailbox of its own */
    struct fileshare *session = session_of();
    struct rows rows = {0};
    struct fileshare_error error = {0};
    const char *route = NULL;
    char present[64] = "";
    assert_int_equal(fileshare_interests(session, count_row, &rows, &route, &error), FILESHARE_OK);
    assert_int_equal(rows.count, 0);
    assert_string_equal(route, "none");

    put_ok(session, "there", "x", 1);
    struct fileshare_register what = {.pattern = "there", .seconds = 60};
    struct fileshare_registered registered = {.registered = true};
    assert_int_equal(fileshare_interest(session, &what, note_present, present, &registered, &error),
                     FILESHARE_OK);
    assert_false(registered.registered);
    assert_string_equal(present, "there");
    what.every = true;
    assert_int_equal(fileshare_interest(session, &what, NULL, NULL, &registered, &error), FILESHARE_OK);
    assert_true(registered.registered);

    struct fileshare_registered glob = interest(session, "q/*", true, false, 100);
    assert_in_range(glob.seconds_left, 98, 100);
    assert_int_equal(fileshare_interests(session, count_row, &rows, &route, &error), FILESHARE_OK);
    assert_int_equal(rows.count, 2);
    uint32_t left = 0;
    assert_int_equal(fileshare_renew(session, &glob.id, 5000, &left, &error), FILESHARE_OK);
    assert_in_range(left, 4990, 5000);
    struct fileshare_id nobody = {{1}};
    assert_int_equal(fileshare_renew(session, &nobody, 5, &left, &error), FILESHARE_ABSENT);

    rows.count = 0;
    assert_int_equal(fileshare_cancel(session, NULL, "q/*", count_row, &rows, &error), FILESHARE_OK);
    assert_int_equal(rows.count, 1);
    assert_int_equal(rows.last.state, FILESHARE_CANCELLED);
    assert_string_equal(rows.last.pattern, "q/*");
    assert_memory_equal(&rows.last.id, &glob.id, sizeof glob.id);
    assert_int_equal(fileshare_cancel(session, NULL, "q/*", count_row, &rows, &error), FILESHARE_ABSENT);
    assert_int_equal(fileshare_cancel(session, &nobody, NULL, NULL, NULL, &error), FILESHARE_ABSENT);
    assert_int_equal(fileshare_cancel(session, &registered.id, NULL, NULL, NULL, &error), FILESHARE_OK);
    what = (struct fileshare_register){.pattern = "a//b", .seconds = 5};
    assert_int_equal(fileshare_interest(session, &what, NULL, NULL, NULL, &error), FILESHARE_INVALID);
    fileshare_close(session);
}

/* ---- events ---- */

static void test_shown_as_they_come(void **state)
{
    (void)state;
    server.state = "test_shown_as_they_come"; /* a mailbox of its own */
    static struct show show = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct fileshare *session = session_of();
    struct fileshare_callback callback;
    assert_false(fileshare_callback(session, &callback));
    interest(session, "live/*", true, true, 600);
    attach_ok(session, &show);
    assert_int_equal(fileshare_attach(session, show_event, &show, NULL), FILESHARE_HELD);
    assert_true(fileshare_callback(session, &callback));
    assert_in_range(callback.program, 0x40000000, 0x5fffffff);
    assert_int_not_equal(callback.address[0], '\0');
    assert_false(callback.registered);
    for (size_t i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "live/%02zu", i);
        put_ok(session, name, "x", 1);
    }
    until_shown(&show, 20);
    for (size_t i = 0; i < 20; i++) {
        char name[32];
        snprintf(name, sizeof name, "live/%02zu", i);
        assert_string_equal(show.events[i].entry.name, name);
        assert_string_equal(show.events[i].pattern, "live/*");
        assert_int_equal(show.events[i].kind, FILESHARE_ARRIVED);
        if (i > 0)
            assert_true(show.events[i].number > show.events[i - 1].number);
    }
    fileshare_detach(session);
    fileshare_detach(session);
    assert_false(fileshare_callback(session, &callback));
    assert_int_equal(fileshare_cancel(session, NULL, "live/*", NULL, NULL, NULL), FILESHARE_OK);
    fileshare_close(session);
    assert_int_equal(shown(&show), 20);
}

/* What came while nobody was attached is told by the next, once; an interest that ran out as well. */
static void test_kept_for_the_next(void **state)
{
    (void)state;
    server.state = "test_kept_for_the_next"; /* a mailbox of its own */
    static struct show show = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct fileshare *session = session_of();
    interest(session, "kept/a", false, false, 600);
    interest(session, "kept/never", false, false, 1);
    fileshare_close(session);

    session = session_of();
    put_ok(session, "kept/a", "aa", 2);
    attach_ok(session, &show);
    until_shown(&show, 2);
    assert_string_equal(show.events[0].entry.name, "kept/a");
    assert_int_equal(show.events[1].kind, FILESHARE_UNMET);
    assert_string_equal(show.events[1].pattern, "kept/never");
    fileshare_close(session);

    session = session_of();
    attach_ok(session, &show);
    interest(session, "kept/b", false, false, 600);
    put_ok(session, "kept/b", "b", 1);
    until_shown(&show, 3);
    assert_string_equal(show.events[2].entry.name, "kept/b"); /* and none of the others again */
    fileshare_close(session);
}

static void test_refused_is_told_again(void **state)
{
    (void)state;
    server.state = "test_refused_is_told_again"; /* a mailbox of its own */
    static struct show show = {.lock = PTHREAD_MUTEX_INITIALIZER, .refuse = 2};
    struct fileshare *session = session_of();
    interest(session, "again/*", true, true, 600);
    attach_ok(session, &show);
    put_ok(session, "again/1", "x", 1);
    put_ok(session, "again/2", "x", 1);
    until_shown(&show, 2);
    assert_int_equal(show.refused, 2);
    assert_string_equal(show.events[0].entry.name, "again/1");
    assert_string_equal(show.events[1].entry.name, "again/2");
    fileshare_close(session);
}

static void test_over_restarts_of_the_server(void **state)
{
    (void)state;
    server.state = "test_over_restarts_of_the_server"; /* a mailbox of its own */
    static struct show show = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct fileshare *session = session_of();
    interest(session, "server/*", true, true, 600);
    attach_ok(session, &show);
    for (size_t i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "server/%zu", i);
        daemon_stop(&server, i % 2 ? SIGKILL : SIGTERM);
        daemon_start(&server);
        put_ok(session, name, "x", 1);
        until_shown(&show, i + 1);
        assert_string_equal(show.events[i].entry.name, name);
    }
    fileshare_close(session);
    assert_int_equal(shown(&show), 3);
}

/* ---- processes that are killed ---- */

struct said {
    uint64_t number;
    char name[64];
};

static int said_to = -1;

static bool say_event(void *context, const struct fileshare_event *event)
{
    struct said said = {.number = event->number};
    (void)context;
    snprintf(said.name, sizeof said.name, "%.63s", event->entry.name);
    return write(said_to, &said, sizeof said) == sizeof said;
}

/* A process that attaches and says what it shows until it is killed. */
static pid_t fork_listener(int to)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct fileshare_error error = {0};
    struct fileshare *session = session_of();
    said_to = to;
    enum fileshare_status status = fileshare_attach(session, say_event, NULL, &error);
    struct said said = {.number = status == FILESHARE_OK ? 0 : UINT64_MAX};
    if (write(to, &said, sizeof said) != sizeof said)
        _exit(1);
    for (;;)
        pause();
}

static struct said hear(int from)
{
    struct said said;
    struct pollfd polled = {.fd = from, .events = POLLIN};
    if (poll(&polled, 1, 15000 * slowness()) != 1)
        fail_msg("nothing was said");
    assert_int_equal(read(from, &said, sizeof said), sizeof said);
    return said;
}

static void kill_listener(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/*
 * The next event. Left out: a listener's word that it is attached, and the event
 * said last, once, by a listener whose forerunner was killed before it could
 * record it.
 */
static struct said hear_next(int from, uint64_t *last, bool *may_repeat)
{
    for (;;) {
        struct said said = hear(from);
        if (said.number == 0)
            continue;
        if (said.number == *last && *may_repeat) {
            *may_repeat = false;
            continue;
        }
        assert_true(said.number != UINT64_MAX && said.number > *last);
        *last = said.number;
        return said;
    }
}

static void put_one(struct fileshare *session, const char *kind, size_t number, char name[64])
{
    snprintf(name, 64, "killed/%s%zu", kind, number);
    put_ok(session, name, "x", 1);
}

static void test_listener_killed(void **state)
{
    (void)state;
    server.state = "test_listener_killed"; /* a mailbox of its own */
    int pipes[2];
    uint64_t last = 0;
    char name[64];
    assert_int_equal(pipe(pipes), 0);
    struct fileshare *session = session_of();
    interest(session, "killed/*", true, true, 600);
    for (size_t i = 0; i < 6; i++) {
        bool may_repeat = i > 0;
        pid_t pid = fork_listener(pipes[1]);
        if (i > 0) /* what came while nobody was there */
            assert_string_equal(hear_next(pipes[0], &last, &may_repeat).name, name);
        put_one(session, "live", i, name);
        assert_string_equal(hear_next(pipes[0], &last, &may_repeat).name, name);
        usleep((useconds_t)i * 300); /* recorded, acknowledged, or not yet */
        kill_listener(pid);
        put_one(session, "away", i, name);
    }
    assert_int_equal(fileshare_cancel(session, NULL, "killed/*", NULL, NULL, NULL), FILESHARE_OK);
    fileshare_close(session);
    close(pipes[0]);
    close(pipes[1]);
}

static void test_held_by_another(void **state)
{
    (void)state;
    server.state = "test_held_by_another"; /* a mailbox of its own */
    static struct show show = {.lock = PTHREAD_MUTEX_INITIALIZER};
    int pipes[2];
    char words[64];
    struct fileshare_error error = {0};
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork_listener(pipes[1]);
    assert_int_equal(hear(pipes[0]).number, 0);
    struct fileshare *session = session_of();
    assert_int_equal(fileshare_attach(session, show_event, &show, &error), FILESHARE_HELD);
    snprintf(words, sizeof words, "process %d", (int)pid);
    assert_non_null(strstr(error.text, words));
    /* Registering only names the mailbox: the other one is told. */
    interest(session, "held/a", false, false, 60);
    put_ok(session, "held/a", "x", 1);
    assert_string_equal(hear(pipes[0]).name, "held/a");
    kill_listener(pid);
    attach_ok(session, &show);
    fileshare_close(session);
    close(pipes[0]);
    close(pipes[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interests),
        cmocka_unit_test(test_listener_killed),
        cmocka_unit_test(test_held_by_another),
        cmocka_unit_test(test_shown_as_they_come),
        cmocka_unit_test(test_kept_for_the_next),
        cmocka_unit_test(test_refused_is_told_again),
        cmocka_unit_test(test_over_restarts_of_the_server),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
