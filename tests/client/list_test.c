/* fileshare_list over several pages, the next of which is asked for while one is shown. */
#include "client/crowd.h"
#include "client/daemon.h"
#include "client/proxy.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NAMES = 2600, FIRST_OF_PAGE_2 = 1024 };

static struct daemon server;
static struct proxy *proxy;
static struct fileshare *session;

static int begin(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    daemon_begin(&server);
    proxy = proxy_new(server.port);
    struct fileshare *direct = daemon_session(&server, server.tcp, 0);
    for (int half = 0; half < 2; half++) {
        struct crowd *crowd = crowd_new(server.folder, half == 0 ? "a" : "b", NAMES / 2, 1, 2, 7);
        assert_int_equal(crowd_put(crowd, direct, &error), FILESHARE_OK);
        crowd_all(crowd, FILESHARE_OK);
        crowd_free(crowd);
    }
    fileshare_close(direct);
    session = daemon_session(&server, proxy_address(proxy), 10);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(session);
    proxy_free(proxy);
    daemon_end(&server);
    return 0;
}

/* What is shown: each name once, in order; something happens at one of them. */
struct shown {
    size_t count, at; /* SIZE_MAX: nothing happens */
    bool (*happens)(struct shown *shown);
    char last[FILESHARE_NAME_SIZE];
};

static bool show(void *context, const struct fileshare_entry *entry)
{
    struct shown *shown = context;
    assert_true(strcmp(entry->name, shown->last) > 0);
    snprintf(shown->last, sizeof shown->last, "%s", entry->name);
    return shown->count++ != shown->at || shown->happens(shown);
}

static enum fileshare_status list(const char *glob, struct shown *shown)
{
    struct fileshare_error error = {0};
    enum fileshare_status status = fileshare_list(session, glob, show, shown, &error);
    if (status != FILESHARE_OK && status != FILESHARE_STOPPED)
        print_message("%s\n", error.text);
    return status;
}

static bool stop_here(struct shown *shown)
{
    (void)shown;
    return false;
}

static bool cut(struct shown *shown)
{
    (void)shown;
    proxy_cut_all(proxy);
    return true;
}

static bool ask_to_stop(struct shown *shown)
{
    (void)shown;
    fileshare_stop(session);
    return true;
}

static bool start_anew(struct shown *shown)
{
    (void)shown;
    daemon_stop(&server, SIGKILL);
    daemon_start(&server);
    return true;
}

static void test_each_once(void **state)
{
    (void)state;
    struct shown shown = {.at = SIZE_MAX};
    assert_int_equal(list(NULL, &shown), FILESHARE_OK);
    assert_int_equal(shown.count, NAMES);
    shown = (struct shown){.at = SIZE_MAX};
    assert_int_equal(list("**/*7", &shown), FILESHARE_OK);
    assert_int_equal(shown.count, NAMES / 10);
}

/* The connection goes while pages are shown, at their first, in between and at their last name. */
static void test_broken(void **state)
{
    (void)state;
    static const size_t places[] = {0, 500, FIRST_OF_PAGE_2 - 1, FIRST_OF_PAGE_2, 2000, NAMES - 1};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct shown shown = {.at = places[i], .happens = cut};
        assert_int_equal(list(NULL, &shown), FILESHARE_OK);
        assert_int_equal(shown.count, NAMES);
    }
}

static void test_server_started_anew(void **state)
{
    (void)state;
    struct shown shown = {.at = FIRST_OF_PAGE_2 / 2, .happens = start_anew};
    assert_int_equal(list(NULL, &shown), FILESHARE_OK);
    assert_int_equal(shown.count, NAMES);
}

/* With a page on its way the session is as good as before. */
static void test_ended_early(void **state)
{
    (void)state;
    for (size_t at = 0; at < 3; at++) {
        struct shown shown = {.at = at, .happens = stop_here};
        struct fileshare_entry entry;
        assert_int_equal(list(NULL, &shown), FILESHARE_OK);
        assert_int_equal(shown.count, at + 1);
        assert_int_equal(fileshare_stat(session, shown.last, &entry, NULL), FILESHARE_OK);
        assert_string_equal(entry.name, shown.last);
    }
}

static void test_stopped(void **state)
{
    (void)state;
    struct shown shown = {.at = 3, .happens = ask_to_stop};
    assert_int_equal(list(NULL, &shown), FILESHARE_STOPPED);
    assert_int_equal(shown.count, FIRST_OF_PAGE_2);
    shown = (struct shown){.at = SIZE_MAX};
    assert_int_equal(list(NULL, &shown), FILESHARE_OK);
    assert_int_equal(shown.count, NAMES);
}

/* So much the proxy has received once half of page two is there. */
static uint64_t half_of_page_2;

static bool wait_for_more(struct shown *shown)
{
    int64_t until = milliseconds() + 5000 * slowness();
    while (proxy_received(proxy) < half_of_page_2 && milliseconds() < until)
        usleep(1000);
    shown->at = proxy_received(proxy) >= half_of_page_2 ? SIZE_MAX : 0;
    return true;
}

/* It is asked for ahead: the server had sent page two when the first name of page one was shown, or soon after. */
static void test_ahead(void **state)
{
    (void)state;
    uint64_t before = proxy_received(proxy);
    struct shown shown = {.at = SIZE_MAX};
    assert_int_equal(list(NULL, &shown), FILESHARE_OK);
    uint64_t after = proxy_received(proxy);
    half_of_page_2 = after + (after - before) * (FIRST_OF_PAGE_2 + FIRST_OF_PAGE_2 / 2) / NAMES;
    shown = (struct shown){.at = 0, .happens = wait_for_more};
    assert_int_equal(list(NULL, &shown), FILESHARE_OK);
    assert_int_equal(shown.count, NAMES);
    assert_true(shown.at == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_once), cmocka_unit_test(test_ahead),
        cmocka_unit_test(test_broken),    cmocka_unit_test(test_ended_early),
        cmocka_unit_test(test_stopped),   cmocka_unit_test(test_server_started_anew),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
