/* What a file may be called, each refusal with its reason and place, and how names are shown. */
#include "base/name.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void accepted_bytes(const char *bytes, size_t count)
{
    char out[NAME_BUFFER];
    struct failure why = {.text = ""};
    memset(out, 'Z', sizeof out);
    if (name_check(bytes, count, out, &why) != OUTCOME_OK)
        fail_msg("refused: %s", why.text);
    assert_memory_equal(out, bytes, count);
    assert_int_equal(out[count], '\0');
}

static void accepted(const char *name)
{
    accepted_bytes(name, strlen(name));
}

static void refused_bytes(const char *bytes, size_t count, const char *reason)
{
    char out[NAME_BUFFER] = "untouched";
    struct failure why = {.outcome = OUTCOME_OK};
    if (name_check(bytes, count, out, &why) != OUTCOME_INVALID)
        fail_msg("not refused (%s expected)", reason);
    assert_int_equal(why.outcome, OUTCOME_INVALID);
    assert_string_equal(why.text, reason);
    assert_string_equal(out, "untouched");
}

static void refused(const char *name, const char *reason)
{
    refused_bytes(name, strlen(name), reason);
}

static void test_what_is_fine(void **state)
{
    (void)state;
    accepted("a");
    accepted("a/b/c.txt");
    accepted("...");
    accepted(".hidden");
    accepted("..x/x..");
    accepted(" ");
    accepted("\\*?[]{}~$\"'<>|:");
    accepted("-rf");
    accepted("\xc2\xa0");                         /* U+00A0, right after C1 */
    accepted("\xdf\xbf\xe0\xa0\x80");             /* U+07FF, U+0800 */
    accepted("\xed\x9f\xbf\xee\x80\x80");         /* U+D7FF, U+E000: around the surrogates */
    accepted("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"); /* U+10000, U+10FFFF */
    accepted("e\xcc\x81");                        /* decomposed: kept byte for byte */
}

static void test_sizes(void **state)
{
    (void)state;
    char name[NAME_SIZE_MAX + 2];
    memset(name, 'x', sizeof name);
    accepted_bytes(name, NAME_PART_MAX);
    refused_bytes(name, NAME_PART_MAX + 1,
                  "the part of the name at byte 0 has 256 bytes, at most 255 may be");
    name[255] = name[511] = name[767] = '/';
    accepted_bytes(name, NAME_SIZE_MAX); /* four parts of 255 and three slashes */
    refused_bytes(name, NAME_SIZE_MAX + 1, "the name has 1024 bytes, at most 1023 may be");
    refused_bytes(name, 0, "the name is empty");
    name[511] = 'x';
    refused_bytes(name, NAME_SIZE_MAX, "the part of the name at byte 256 has 511 bytes, at most 255 may be");
}

static void test_slashes_and_dots(void **state)
{
    (void)state;
    refused("/", "the name begins with a slash");
    refused("/a", "the name begins with a slash");
    refused("a/", "the name ends with a slash, at byte 1");
    refused("a//b", "the name has an empty part (two slashes) at byte 2");
    refused(".", "the name has a part \".\" at byte 0");
    refused("..", "the name has a part \"..\" at byte 0");
    refused("a/./b", "the name has a part \".\" at byte 2");
    refused("a/..", "the name has a part \"..\" at byte 2");
    refused("../../etc/passwd", "the name has a part \"..\" at byte 0");
}

static void test_every_control_character(void **state)
{
    (void)state;
    char name[8], reason[80];
    for (unsigned code = 0; code <= 0x20; code++) {
        unsigned byte = code == 0x20 ? 0x7f : code;
        memcpy(name, "ab?cd", 5);
        name[2] = (char)byte;
        snprintf(reason, sizeof reason, "the name has a control character (U+%04X) at byte 2", byte);
        refused_bytes(name, 5, reason);
    }
    for (unsigned code = 0x80; code <= 0x9f; code++) {
        memcpy(name, "\xc3\xa4?\xc2?", 5);
        name[4] = (char)code;
        snprintf(reason, sizeof reason, "the name has a control character (U+%04X) at byte 3", code);
        refused_bytes(name, 5, reason);
    }
}

static void test_what_is_not_utf8(void **state)
{
    (void)state;
    static const char *const tails[] = {
        "\x80",                     /* a continuation without its head */
        "\xc0\x80",                 /* overlong NUL */
        "\xc0\xaf",                 /* overlong slash */
        "\xc1\xbf",                 /* overlong U+007F */
        "\xe0\x80\xaf",             /* overlong slash, three bytes */
        "\xe0\x9f\xbf",             /* overlong U+07FF */
        "\xf0\x80\x80\xaf",         /* overlong slash, four bytes */
        "\xf0\x8f\xbf\xbf",         /* overlong U+FFFF */
        "\xed\xa0\x80",             /* first surrogate */
        "\xed\xbf\xbf",             /* last surrogate */
        "\xed\xa0\xbd\xed\xb8\x80", /* a pair of them (CESU-8) */
        "\xf4\x90\x80\x80",         /* U+110000 */
        "\xf5\x80\x80\x80",         /* past every character */
        "\xfe",
        "\xff",
        "\xf8\x88\x80\x80\x80", /* five bytes */
        "\xc3",                 /* cut short at the end */
        "\xe2\x82",
        "\xf0\x9f\x98",
        "\xe2\x28\xa1",
        "\xc3(",
    };
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char name[16];
        snprintf(name, sizeof name, "a/%s", tails[i]);
        refused(name, "the name is not UTF-8 at byte 2");
    }
}

/* Every code point goes round; the reader takes nothing that is shorter than it says. */
static void test_each_character_is_read(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code += code < 0x3000 ? 1 : 97) {
        unsigned char bytes[4];
        size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
        bytes[0] = (unsigned char)(heads[length] | code >> 6 * (length - 1));
        for (size_t i = 1; i < length; i++)
            bytes[i] = (unsigned char)(0x80 | (code >> 6 * (length - 1 - i) & 0x3f));
        uint32_t got = UINT32_MAX;
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        assert_int_equal(utf8_read(bytes, length, &got), surrogate ? 0 : length);
        if (!surrogate)
            assert_int_equal(got, code);
        assert_int_equal(utf8_read(bytes, length - 1, &got), 0);
    }
}

static void shown(const char *bytes, size_t count, size_t size, const char *expected)
{
    char out[64];
    memset(out, 'Z', sizeof out);
    assert_ptr_equal(name_show(bytes, count, out, size), out);
    assert_string_equal(out, expected);
    for (size_t i = size; i < sizeof out; i++)
        assert_int_equal(out[i], 'Z');
}

static void test_names_are_shown_harmlessly(void **state)
{
    (void)state;
    shown("plain/\xc3\xa4", 8, 60, "plain/\xc3\xa4");
    shown("", 0, 60, "");
    shown("a\0b", 3, 60, "a\\x00b");
    shown("\x1b[2J", 4, 60, "\\x1b[2J");
    shown("\x7f", 1, 60, "\\x7f");
    shown("\xc2\x9b", 2, 60, "\\xc2\\x9b"); /* C1 CSI */
    shown("a\\b", 3, 60, "a\\\\b");
    shown("\xff\xfe", 2, 60, "\\xff\\xfe");
    shown("\xe2\x80\xae", 3, 60, "\\xe2\\x80\\xae"); /* right-to-left override */
    shown("\xe2\x81\xa6", 3, 60, "\\xe2\\x81\\xa6"); /* left-to-right isolate */
    shown("\xe2\x80\xaf", 3, 60, "\xe2\x80\xaf");    /* the one after the overrides: a space */
    shown("\xe2\x82", 2, 60, "\\xe2\\x82");
}

static void test_words_keep_their_backslashes(void **state)
{
    (void)state;
    char out[64];
    assert_string_equal(name_show_words("write \\[ for\n\x1b", 14, out, sizeof out),
                        "write \\[ for\\x0a\\x1b");
    assert_string_equal(name_show_words("a\\b", 3, out, 3), "..");
}

static void test_long_names_are_cut_with_dots(void **state)
{
    (void)state;
    shown("12345678", 8, 9, "12345678");
    shown("123456789", 9, 9, "12345...");
    shown("1234\xe2\x82\xac\xe2\x82\xac", 10, 9, "1234..."); /* never inside a character */
    shown("1234\n567", 8, 9, "1234...");                     /* nor inside an escape */
    shown("1\n", 2, 6, "1\\x0a");
    shown("1\n", 2, 5, "1...");
    shown("123456", 6, 4, "...");
    shown("123456", 6, 3, "..");
    shown("123456", 6, 1, "");
    char untouched = 'Z';
    char out[8];
    name_show("1", 1, &untouched, 0);
    assert_string_equal(name_show(NULL, 0, out, sizeof out), "");
    assert_string_equal(name_show_words(NULL, 0, out, sizeof out), "");
    assert_int_equal(untouched, 'Z');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_fine),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_slashes_and_dots),
        cmocka_unit_test(test_every_control_character),
        cmocka_unit_test(test_what_is_not_utf8),
        cmocka_unit_test(test_each_character_is_read),
        cmocka_unit_test(test_names_are_shown_harmlessly),
        cmocka_unit_test(test_words_keep_their_backslashes),
        cmocka_unit_test(test_long_names_are_cut_with_dots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
