/* What people write for a server, and the places it means. */
#include "client/lib/server_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct server_place places[SERVER_PLACES_MAX];
static size_t count;

static void expect_one(const char *text, bool local, const char *host, uint16_t port)
{
    struct failure why = {0};
    if (server_text_places(text, places, &count, &why) != OUTCOME_OK)
        fail_msg("%s: %s", text, why.text);
    assert_int_equal(count, 1);
    assert_int_equal(places[0].local, local);
    assert_false(places[0].optional);
    assert_string_equal(places[0].host, host);
    assert_int_equal(places[0].port, port);
}

static void expect_invalid(const char *text)
{
    struct failure why = {0};
    count = 77;
    assert_int_equal(server_text_places(text, places, &count, &why), OUTCOME_INVALID);
    assert_int_equal(count, 77);
    assert_int_not_equal(why.text[0], '\0');
}

static void test_forms(void **state)
{
    (void)state;
    expect_one("host", false, "host", 0);
    expect_one("host.example:1", false, "host.example", 1);
    expect_one("127.0.0.1:65535", false, "127.0.0.1", 65535);
    expect_one("[::1]:18003", false, "::1", 18003);
    expect_one("[fe80::1%lo]", false, "fe80::1%lo", 0);
    expect_one("::1", false, "::1", 0);
    expect_one("2001:db8::7", false, "2001:db8::7", 0);
    expect_one("unix:/run/x y", true, "/run/x y", 0);
}

static void test_nonsense(void **state)
{
    (void)state;
    const char *texts[] = {"", ":1", "host:", "host:0", "host:65536", "host:1x", "host:-1", "[::1", "[::1]x",
                           "[::1]:", "[::1]:0", "[]:1", "unix:",
                           /* 108 bytes of path: one more than there may be */
                           ("unix:/0123456789012345678901234567890123456789012345678901234567890123456789"
                            "0123456789012345678901234567890123456"),
                           "host: 1", "host:1 ", "[::1]1", "host:+12", "host:0x10",
                           "host:99999999999999999999"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect_invalid(texts[i]);
}

static void test_length(void **state)
{
    (void)state;
    char text[SERVER_HOST_SIZE + 8];
    memset(text, 'a', sizeof text);
    text[SERVER_HOST_SIZE - 1] = '\0';
    expect_one(text, false, text, 0);
    text[SERVER_HOST_SIZE - 1] = 'a';
    text[SERVER_HOST_SIZE] = '\0';
    expect_invalid(text);
}

static void test_reasons_are_printable(void **state)
{
    (void)state;
    struct failure why = {0};
    assert_int_equal(server_text_places("a\x1b[2J:x", places, &count, &why), OUTCOME_INVALID);
    assert_null(strchr(why.text, '\x1b'));
}

static void test_nothing_said(void **state)
{
    (void)state;
    struct failure why = {0};
    setenv("FILESHARE_SERVER", "there:7", 1);
    expect_one(NULL, false, "there", 7);
    setenv("FILESHARE_SERVER", "there:", 1);
    expect_invalid(NULL);

    setenv("FILESHARE_SERVER", "", 1);
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    assert_int_equal(server_text_places(NULL, places, &count, &why), OUTCOME_OK);
    assert_int_equal(count, 3);
    assert_string_equal(places[0].host, "/run/fileshare/socket");
    assert_true(places[0].local && places[0].optional);
    assert_string_equal(places[1].host, "/run/user/7/fileshare/socket");
    assert_true(places[1].local && places[1].optional);
    assert_string_equal(places[2].host, "localhost");
    assert_false(places[2].local || places[2].optional);
    assert_int_equal(places[2].port, 0);

    unsetenv("FILESHARE_SERVER");
    setenv("XDG_RUNTIME_DIR", "relative", 1); /* the specification says to ignore it */
    assert_int_equal(server_text_places(NULL, places, &count, &why), OUTCOME_OK);
    assert_int_equal(count, 2);
    assert_string_equal(places[1].host, "localhost");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_length),       cmocka_unit_test(test_reasons_are_printable),
        cmocka_unit_test(test_nothing_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
