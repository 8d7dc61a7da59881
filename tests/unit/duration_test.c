#include "base/duration.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void parses(const char *text, uint32_t expected)
{
    uint32_t seconds = 77;
    struct failure why = { .text = "" };
    if (duration_parse(text, &seconds, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    assert_int_equal(seconds, expected);
}

static void refused(const char *text, const char *reason)
{
    uint32_t seconds = 77;
    struct failure why = { .text = "" };
    assert_int_equal(duration_parse(text, &seconds, &why), OUTCOME_INVALID);
    assert_int_equal(seconds, 77);
    if (!strstr(why.text, reason))
        fail_msg("\"%s\" does not say \"%s\"", why.text, reason);
}

static void test_units(void **state)
{
    (void)state;
    parses("0", 0);
    parses("30", 30);
    parses("30s", 30);
    parses("5m", 300);
    parses("2h", 7200);
    parses("1d", 86400);
    parses("007", 7);
}

static void test_the_limit_and_one_past_it(void **state)
{
    (void)state;
    parses("4294967295", UINT32_MAX);
    parses("4294967295s", UINT32_MAX);
    refused("4294967296", "too long");
    parses("71582788m", 4294967280u);
    refused("71582789m", "too long");
    parses("1193046h", 4294965600u);
    refused("1193047h", "too long");
    parses("49710d", 4294944000u);
    refused("49711d", "too long");
    refused("18446744073709551616", "too long");
    refused("99999999999999999999999999999999999999d", "too long");
}

static void test_what_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = { "",    "s",   "-1",   "+1",   " 1",  "1 ",  "1 s", "1x",  "1S",
                                         "1sm", "1h2", "0x10", "1.5h", "1e3", "1w", "inf", "m5" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        refused(texts[i], "is not a duration");
    refused("soon", "\"soon\"");
    refused("1\n", "\"1\\x0a\"");
}

static void shows(uint64_t seconds, const char *expected)
{
    char text[DURATION_TEXT_SIZE];
    assert_ptr_equal(duration_text(seconds, text), text);
    assert_string_equal(text, expected);
}

static void test_durations_for_people(void **state)
{
    (void)state;
    shows(0, "0s");
    shows(45, "45s");
    shows(59, "59s");
    shows(60, "1m");
    shows(61, "1m 1s");
    shows(3599, "59m 59s");
    shows(3600, "1h");
    shows(5400, "1h 30m");
    shows(5459, "1h 30m");
    shows(86399, "23h 59m");
    shows(86400, "1d");
    shows(2 * 86400 + 3 * 3600 + 59, "2d 3h");
    shows(UINT64_MAX, "213503982334601d 7h");
}

static void sized(uint64_t bytes, const char *expected)
{
    char text[DURATION_TEXT_SIZE];
    assert_ptr_equal(size_text(bytes, text), text);
    assert_string_equal(text, expected);
}

static void test_sizes_for_people(void **state)
{
    (void)state;
    sized(0, "0 B");
    sized(812, "812 B");
    sized(1023, "1023 B");
    sized(1024, "1.0 KiB");
    sized(1536, "1.5 KiB");
    sized(10188, "9.9 KiB");
    sized(10189, "10 KiB"); /* 9.9502: one decimal would say 10.0 */
    sized(10240, "10 KiB");
    sized(1023 * 1024 + 511, "1023 KiB");
    sized(1023 * 1024 + 512, "1.0 MiB");
    sized(1048576, "1.0 MiB");
    sized(4509715660, "4.2 GiB");
    sized((uint64_t)5 << 40, "5.0 TiB");
    sized(UINT64_MAX, "16 EiB");
}

static void size_parses(const char *text, uint64_t expected)
{
    uint64_t bytes = 77;
    struct failure why = { .text = "" };
    if (size_parse(text, &bytes, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    assert_true(bytes == expected);
}

static void size_refused(const char *text, const char *reason)
{
    uint64_t bytes = 77;
    struct failure why = { .text = "" };
    assert_int_equal(size_parse(text, &bytes, &why), OUTCOME_INVALID);
    assert_int_equal(bytes, 77);
    if (!strstr(why.text, reason))
        fail_msg("\"%s\" does not say \"%s\"", why.text, reason);
}

static void test_sizes_of_people(void **state)
{
    (void)state;
    size_parses("0", 0);
    size_parses("512", 512);
    size_parses("64K", 65536);
    size_parses("64k", 65536);
    size_parses("2M", 2097152);
    size_parses("1G", 1073741824);
    size_parses("3t", (uint64_t)3 << 40);
    size_parses("18446744073709551615", UINT64_MAX);
    size_refused("18446744073709551616", "too large");
    size_refused("99999999999999999999999", "too large");
    size_parses("16777215T", (uint64_t)16777215 << 40);
    size_refused("16777216T", "too large");
    static const char *const texts[] = { "", "K", "-1", "+1", "1 K", " 1", "1KK", "1KiB", "1B", "1.5G", "1P", "0x1" };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        size_refused(texts[i], "is not a size");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_the_limit_and_one_past_it),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_durations_for_people),
        cmocka_unit_test(test_sizes_for_people),
        cmocka_unit_test(test_sizes_of_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
