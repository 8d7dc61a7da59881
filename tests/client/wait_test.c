/* fileshare_wait against a real server: at once, by arrival, in time, over a restart. */
#include "client/daemon.h"
#include "client/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct daemon server;
static struct fileshare *putter;

static int begin(void **state)
{
    (void)state;
    daemon_begin(&server);
    putter = daemon_session(&server, server.tcp, 30);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(putter);
    daemon_end(&server);
    return 0;
}

/* ---- a wait on a thread of its own ---- */

enum { HEARD_MAX = 32 };

struct waiter {
    struct fileshare *session;
    const char *patterns[4];
    bool globs[4];
    size_t count, wanted;
    uint32_t seconds;
    size_t stop_after; /* arrived answers false at this one; 0: never */

    pthread_t thread;
    enum fileshare_status status;
    struct fileshare_error error;
    size_t met;
    atomic_size_t heard_count;
    struct fileshare_event heard[HEARD_MAX];
    atomic_uint routes; /* notes that told of a way back */
    atomic_uint lost;   /* notes that told of a lost one */
    char note[256];
};

static bool hear(void *context, const struct fileshare_event *event)
{
    struct waiter *waiter = context;
    size_t count = atomic_load(&waiter->heard_count);
    if (count < HEARD_MAX)
        waiter->heard[count] = *event;
    atomic_store(&waiter->heard_count, count + 1);
    return waiter->stop_after == 0 || count + 1 < waiter->stop_after;
}

static void take_note(void *context, const char *note)
{
    struct waiter *waiter = context;
    snprintf(waiter->note, sizeof waiter->note, "%s", note);
    if (strstr(note, "called back by"))
        waiter->routes++;
    else if (strstr(note, "no way back"))
        waiter->lost++;
}

static void wait_here(struct waiter *waiter)
{
    struct fileshare_wait wait = {
        .patterns = waiter->patterns,
        .globs = waiter->globs,
        .count = waiter->count,
        .wanted = waiter->wanted,
        .seconds = waiter->seconds,
        .arrived = hear,
        .note = take_note,
        .context = waiter,
    };
    waiter->status = fileshare_wait(waiter->session, &wait, &waiter->met, &waiter->error);
}

static void *wait_run(void *argument)
{
    wait_here(argument);
    return NULL;
}

static void begin_wait(struct waiter *waiter)
{
    assert_int_equal(pthread_create(&waiter->thread, NULL, wait_run, waiter), 0);
}

static void end_wait(struct waiter *waiter, enum fileshare_status status, size_t met)
{
    pthread_join(waiter->thread, NULL);
    if (waiter->status != status)
        fail_msg("%d instead of %d: %s", waiter->status, status, waiter->error.text);
    assert_int_equal(waiter->met, met);
    assert_int_equal(waiter->heard_count, met);
}

static void until(atomic_uint *counter, unsigned least, const char *what)
{
    int64_t deadline = milliseconds() + (int64_t)10000 * slowness();
    while (atomic_load(counter) < least) {
        if (milliseconds() > deadline)
            fail_msg("%s did not happen", what);
        usleep(2000);
    }
}

static struct waiter waiter_for(const char *pattern, bool glob, uint32_t seconds)
{
    return (struct waiter){
        .session = daemon_session(&server, server.tcp, 30),
        .patterns = {pattern},
        .globs = {glob},
        .count = 1,
        .seconds = seconds,
    };
}

/* ---- */

static void test_at_once(void **state)
{
    (void)state;
    put_ok(putter, "once/a", "aa", 2);
    put_ok(putter, "once/b", "b", 1);
    struct waiter waiter = waiter_for("once/a", false, 0);
    waiter.patterns[1] = "once/*";
    waiter.globs[1] = true;
    waiter.count = 2;
    int64_t began = milliseconds();
    wait_here(&waiter);
    assert_int_equal(waiter.status, FILESHARE_OK);
    assert_true(milliseconds() - began < 1000 * slowness());
    assert_int_equal(waiter.met, 2); /* the name, and one of the glob */
    assert_string_equal(waiter.heard[0].entry.name, "once/a");
    assert_string_equal(waiter.heard[0].route, "present");
    assert_string_equal(waiter.heard[0].pattern, "once/a");
    assert_int_equal(waiter.heard[0].entry.size, 2);
    assert_string_equal(waiter.heard[1].pattern, "once/*");
    assert_int_equal(waiter.routes, 0); /* no callback program was needed */
    fileshare_close(waiter.session);
}

static void by_arrival(const char *address, const char *name)
{
    struct waiter waiter = waiter_for(name, false, 60);
    fileshare_close(waiter.session);
    waiter.session = daemon_session(&server, address, 0);
    begin_wait(&waiter);
    until(&waiter.routes, 1, "a way back");
    put_ok(putter, name, "it", 2);
    int64_t put_at = milliseconds();
    end_wait(&waiter, FILESHARE_OK, 1);
    assert_true(milliseconds() - put_at < 3000 * slowness());
    assert_string_equal(waiter.heard[0].entry.name, name);
    assert_int_equal(waiter.heard[0].kind, FILESHARE_ARRIVED);
    assert_true(strcmp(waiter.heard[0].route, "dial-back") == 0 ||
                strcmp(waiter.heard[0].route, "reversed") == 0);
    assert_non_null(strstr(waiter.note, "called back by dial-back to program 0x"));
    fileshare_close(waiter.session);
}

static void test_by_arrival(void **state)
{
    (void)state;
    by_arrival(server.tcp, "arrival/tcp");
    by_arrival(server.local, "arrival/local");
}

static void test_count_of_a_glob(void **state)
{
    (void)state;
    put_ok(putter, "count/0", "0", 1);
    struct waiter waiter = waiter_for("count/*", true, 60);
    waiter.patterns[1] = "count/?"; /* both match all: each arrival counts once */
    waiter.globs[1] = true;
    waiter.count = 2;
    waiter.wanted = 4;
    begin_wait(&waiter);
    until(&waiter.routes, 1, "a way back");
    put_ok(putter, "count/1", "1", 1);
    put_ok(putter, "elsewhere", "1", 1);
    put_ok(putter, "count/2", "2", 1);
    assert_int_equal(put_bytes(putter, "count/1", "new", 3, true, NULL, NULL), FILESHARE_OK);
    end_wait(&waiter, FILESHARE_OK, 4);
    assert_string_equal(waiter.heard[0].entry.name, "count/0");
    assert_string_equal(waiter.heard[1].entry.name, "count/1");
    assert_string_equal(waiter.heard[2].entry.name, "count/2");
    assert_string_equal(waiter.heard[3].entry.name, "count/1");
    assert_int_equal(waiter.heard[3].entry.size, 3);
    fileshare_close(waiter.session);
}

/* More is present than one registration tells. */
static void test_many_present(void **state)
{
    (void)state;
    enum { MANY = 100 };
    for (int i = 0; i < MANY; i++) {
        char name[32];
        snprintf(name, sizeof name, "many/%03d", i);
        put_ok(putter, name, "x", 1);
    }
    struct waiter waiter = waiter_for("many/*", true, 60);
    waiter.wanted = MANY;
    wait_here(&waiter);
    assert_int_equal(waiter.status, FILESHARE_OK);
    assert_int_equal(waiter.met, MANY);
    fileshare_close(waiter.session);
}

static void test_time_runs_out(void **state)
{
    (void)state;
    /* By then there is a way back, and the other one has come. */
    const int seconds = slowness() == 1 ? 2 : 5;
    struct waiter waiter = waiter_for("late/a", false, (uint32_t)seconds);
    waiter.patterns[1] = "late/b";
    waiter.count = 2;
    int64_t began = milliseconds();
    begin_wait(&waiter);
    until(&waiter.routes, 1, "a way back");
    put_ok(putter, "late/b", "b", 1);
    end_wait(&waiter, FILESHARE_TIMEOUT, 1);
    assert_true(milliseconds() - began >= seconds * 1000);
    assert_true(milliseconds() - began < (seconds + 2) * 1000 * slowness());
    /* Nothing is left behind that a later arrival would meet. */
    put_ok(putter, "late/a", "a", 1);
    fileshare_close(waiter.session);
}

static void test_enough_for_the_caller(void **state)
{
    (void)state;
    put_ok(putter, "enough/1", "1", 1);
    put_ok(putter, "enough/2", "2", 1);
    put_ok(putter, "enough/3", "3", 1);
    struct waiter waiter = waiter_for("enough/*", true, 60);
    waiter.wanted = 10;
    waiter.stop_after = 2;
    wait_here(&waiter);
    assert_int_equal(waiter.status, FILESHARE_OK);
    assert_int_equal(waiter.met, 2);
    assert_int_equal(waiter.heard_count, 2);
    fileshare_close(waiter.session);
}

static void test_stop(void **state)
{
    (void)state;
    struct waiter waiter = waiter_for("never", false, 0);
    struct fileshare_entry entry;
    begin_wait(&waiter);
    until(&waiter.routes, 1, "a way back");
    fileshare_stop(waiter.session);
    int64_t began = milliseconds();
    end_wait(&waiter, FILESHARE_STOPPED, 0);
    assert_true(milliseconds() - began < 3000 * slowness());
    assert_int_equal(fileshare_stat(waiter.session, "never", &entry, NULL), FILESHARE_ABSENT);
    fileshare_close(waiter.session);
}

/* Both ways at once: whatever wins, an arrival that the cancelling meets is told, none is told twice. */
static void test_stop_against_arrival(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        char name[32];
        struct fileshare_entry entry;
        snprintf(name, sizeof name, "race/%d", i);
        struct waiter waiter = waiter_for(name, false, 0);
        begin_wait(&waiter);
        until(&waiter.routes, 1, "a way back");
        daemon_freeze(&server);
        fileshare_stop(waiter.session);
        usleep((useconds_t)i * 1000);
        kill(server.pid, SIGCONT);
        assert_int_equal(put_bytes(putter, name, "x", 1, false, NULL, &entry), FILESHARE_OK);
        pthread_join(waiter.thread, NULL);
        assert_true(waiter.status == FILESHARE_OK || waiter.status == FILESHARE_STOPPED);
        assert_int_equal(waiter.heard_count, waiter.status == FILESHARE_OK ? 1 : 0);
        fileshare_close(waiter.session);
    }
}

static void over_a_restart(int signal, bool put_while_away)
{
    char name[32];
    snprintf(name, sizeof name, "restart/%d%d", signal, put_while_away);
    struct waiter waiter = waiter_for(name, false, 120);
    begin_wait(&waiter);
    until(&waiter.routes, 1, "a way back");
    daemon_stop(&server, signal);
    until(&waiter.lost, 1, "the loss");
    daemon_start(&server);
    if (!put_while_away)
        until(&waiter.routes, 2, "a way back again");
    put_ok(putter, name, "it", 2);
    end_wait(&waiter, FILESHARE_OK, 1);
    fileshare_close(waiter.session);
}

static void test_server_restarts(void **state)
{
    (void)state;
    over_a_restart(SIGTERM, false);
    over_a_restart(SIGKILL, true);
}

/* Only our own connection works: the server's calls come on it. */
static void test_connection_is_cut(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    struct waiter waiter = waiter_for("cut/wait", false, 120);
    fileshare_close(waiter.session);
    waiter.session = daemon_session(&server, proxy_address(proxy), 0);
    begin_wait(&waiter);
    until(&waiter.routes, 1, "a way back");
    for (unsigned i = 1; i <= 3; i++) {
        proxy_cut_all(proxy);
        until(&waiter.lost, i, "the loss");
        until(&waiter.routes, i + 1, "a way back again");
    }
    put_ok(putter, "cut/wait", "it", 2);
    end_wait(&waiter, FILESHARE_OK, 1);
    fileshare_close(waiter.session);
    proxy_free(proxy);
}

/* ---- interests are short, and renewed ---- */

static void until_counted(const char *label, uint64_t least)
{
    int64_t deadline = milliseconds() + (int64_t)15000 * slowness();
    while (counted(putter, label) < least) {
        if (milliseconds() > deadline)
            fail_msg("%s did not come to %llu", label, (unsigned long long)least);
        usleep(20000);
    }
}

/* Through a proxy that makes the interests short. */
static struct waiter short_waiter(struct proxy *proxy, const char *name, uint32_t interest_seconds)
{
    struct waiter waiter = waiter_for(name, false, 0);
    fileshare_close(waiter.session);
    proxy_shorten_interests(proxy, interest_seconds);
    waiter.session = daemon_session(&server, proxy_address(proxy), 30);
    return waiter;
}

static void test_renewed(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    /* A renewal that is a little late is not too late. */
    struct waiter waiter = short_waiter(proxy, "renewed", slowness() == 1 ? 3 : 6);
    uint64_t registered = counted(putter, "calls.register_interest"),
             renewed = counted(putter, "calls.renew_interest");
    begin_wait(&waiter);
    until_counted("calls.renew_interest", renewed + 4); /* longer than the interest lives */
    assert_int_equal(counted(putter, "calls.register_interest"), registered + 1);
    put_ok(putter, "renewed", "x", 1);
    end_wait(&waiter, FILESHARE_OK, 1);
    assert_string_not_equal(waiter.heard[0].route, "present");
    fileshare_close(waiter.session);
    proxy_free(proxy);
}

/* The interest runs out while nobody can renew it; what came by then is told, too. */
static void run_out(const char *name, bool put_meanwhile)
{
    struct proxy *proxy = proxy_new(server.port);
    struct waiter waiter = short_waiter(proxy, name, 1);
    begin_wait(&waiter);
    until(&waiter.routes, 1, "a way back");
    uint64_t registered = counted(putter, "calls.register_interest");
    proxy_refuse(proxy, true);
    until(&waiter.lost, 1, "the loss");
    sleep(2);
    if (put_meanwhile)
        put_ok(putter, name, "x", 1);
    proxy_refuse(proxy, false);
    until_counted("calls.register_interest", registered + 1);
    if (!put_meanwhile)
        put_ok(putter, name, "x", 1);
    end_wait(&waiter, FILESHARE_OK, 1);
    fileshare_close(waiter.session);
    proxy_free(proxy);
}

static void test_run_out(void **state)
{
    (void)state;
    run_out("out/after", false);
    run_out("out/meanwhile", true);
}

static void test_nonsense(void **state)
{
    (void)state;
    struct waiter waiter = waiter_for("a//b", false, 1);
    wait_here(&waiter);
    assert_int_equal(waiter.status, FILESHARE_INVALID);
    waiter.patterns[0] = "[a";
    waiter.globs[0] = true;
    wait_here(&waiter);
    assert_int_equal(waiter.status, FILESHARE_INVALID);
    waiter.count = 0;
    wait_here(&waiter);
    assert_int_equal(waiter.status, FILESHARE_INVALID);
    fileshare_close(waiter.session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_once),
        cmocka_unit_test(test_by_arrival),
        cmocka_unit_test(test_count_of_a_glob),
        cmocka_unit_test(test_many_present),
        cmocka_unit_test(test_time_runs_out),
        cmocka_unit_test(test_enough_for_the_caller),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_against_arrival),
        cmocka_unit_test(test_server_restarts),
        cmocka_unit_test(test_connection_is_cut),
        cmocka_unit_test(test_renewed),
        cmocka_unit_test(test_run_out),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
