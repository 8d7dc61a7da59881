/*
 * Globs: what matches, what is refused and where, that time stays bounded by
 * pattern times name, and, over many small random cases, that the matcher
 * agrees with a plain recursive one.
 */
#include "base/glob.h"
#include "base/name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static struct glob *made(const char *pattern)
{
    struct glob *glob = NULL;
    struct failure why = { .text = "" };
    if (glob_new(pattern, &glob, &why) != OUTCOME_OK)
        fail_msg("%s: %s", pattern, why.text);
    return glob;
}

static void expect(const char *pattern, const char *name, bool matches)
{
    struct glob *glob = made(pattern);
    bool matched = glob_match(glob, name);
    glob_free(glob);
    if (matched != matches)
        fail_msg("'%s' %s '%s'", pattern, matches ? "does not match" : "matches", name);
}

static void yes(const char *pattern, const char *name)
{
    expect(pattern, name, true);
}

static void no(const char *pattern, const char *name)
{
    expect(pattern, name, false);
}

static void test_literals(void **state)
{
    (void)state;
    yes("a", "a");
    no("a", "A");
    no("a", "ab");
    no("ab", "a");
    no("a", "");
    yes("a/b", "a/b");
    yes("{a,b}", "{a,b}");
    yes("a]b", "a]b");
    yes("\xc3\xa4", "\xc3\xa4");
    no("\xc3\xa4", "a\xcc\x88"); /* composed and decomposed are different bytes */
}

static void test_star_stops_at_a_slash(void **state)
{
    (void)state;
    yes("*", "a");
    yes("*", "");
    no("*", "a/b");
    yes("*.txt", ".txt");
    yes("*.txt", "a.txt.txt");
    no("*.txt", "a/b.txt");
    yes("*/*", "a/b");
    no("*/*", "a/b/c");
    yes("a*b*c", "abc");
    yes("a*b*c", "aXbbYcZc");
    no("a*b*c", "aXbbYcZ");
    no("a*c", "ab/c");
    yes("a/*", "a/");
    yes("*\xc3\xa4*", "x\xc3\xa4y");
}

static void test_stars_cross_slashes(void **state)
{
    (void)state;
    yes("**", "a/b/c");
    yes("**", "");
    yes("***", "a/b/c");
    yes("a**c", "ab/c");
    yes("a/**", "a/b/c");
    no("a/**", "a");
    yes("a/**/z", "a/b/c/z");
    yes("a/**/z", "a//z");
    no("a/**/z", "a/z"); /* '**' is characters, not parts: both slashes are wanted */
    yes("**.txt", "a/b.txt");
    yes("**/x*y", "a/x/b/xy");
    no("**/x*y", "a/x/y");
    yes("**a*b", "a/ab");
    no("**a*b", "ab/a/b");
    yes("*b**d", "ab/c/d");
    no("*b**d", "a/bd");
}

static void test_question_is_one_character(void **state)
{
    (void)state;
    yes("?", "a");
    no("?", "");
    no("?", "ab");
    no("?", "/");
    yes("?", "\xc3\xa4");
    yes("?", "\xe2\x82\xac");
    yes("?", "\xf0\x9f\x98\x80");
    no("??", "\xf0\x9f\x98\x80");
    yes("a?c", "a\xe2\x82\xac"
               "c");
    no("a?c", "ac");
    yes("*?", "abc");
}

static void test_sets(void **state)
{
    (void)state;
    yes("[abc]", "b");
    no("[abc]", "d");
    no("[abc]", "ab");
    yes("[a-cx-z]", "y");
    no("[a-cx-z]", "d");
    no("[a-c]", "B");
    yes("[!a-c]", "d");
    yes("[^a-c]", "d");
    no("[!a-c]", "b");
    no("[!a-c]", "/"); /* never a slash, whatever it says */
    no("[/]", "/");
    no("[.-0]", "/"); /* the slash lies in this range */
    yes("[.-0]", ".");
    yes("[.-0]", "0");
    yes("[]]", "]");
    yes("[]a]", "a");
    yes("[!]]", "a");
    no("[!]]", "]");
    yes("[a-]", "-");
    yes("[-a]", "-");
    yes("[a!]", "!");
    yes("[\\]]", "]");
    yes("[\\!a]", "!");
    yes("[a\\-z]", "-");
    no("[a\\-z]", "m");
    yes("[*?[]", "[");
    yes("[\xc3\xa0-\xc3\xbc]", "\xc3\xa4");
    no("[\xc3\xa0-\xc3\xbc]", "a");
    yes("[!a]", "\xe2\x82\xac");
    yes("x[0-9]*.log", "x7y.log");
    yes("[[:]", ":");
}

static void test_escapes(void **state)
{
    (void)state;
    yes("\\*", "*");
    no("\\*", "a");
    yes("\\?\\[\\\\", "?[\\");
    yes("\\a", "a");
    yes("\\\xc3\xa4", "\xc3\xa4");
}

static void test_names_that_are_not_utf8(void **state)
{
    (void)state;
    yes("*", "\xff");
    yes("a?b", "a\xff"
               "b");
    no("\xef\xbf\xbd", "\xff"); /* a bad byte is not U+FFFD */
    no("[a-\xf4\x8f\xbf\xbf]", "\xff");
}

static void refused(const char *pattern, const char *reason)
{
    struct glob *glob = NULL;
    struct failure why = { .outcome = OUTCOME_OK };
    if (glob_new(pattern, &glob, &why) != OUTCOME_INVALID)
        fail_msg("'%s' is not refused", pattern);
    assert_null(glob);
    assert_int_equal(why.outcome, OUTCOME_INVALID);
    if (!strstr(why.text, reason))
        fail_msg("'%s': \"%s\" does not say \"%s\"", pattern, why.text, reason);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    refused("", "is empty");
    refused("[", "'[' at byte 0 without its ']'");
    refused("ab[c", "'[' at byte 2 without its ']'");
    refused("a[]", "'[' at byte 1 without");
    refused("a[!]", "'[' at byte 1 without");
    refused("a[!", "'[' at byte 1 without");
    refused("a[b-", "'[' at byte 1 without");
    refused("a[b\\", "'[' at byte 1 without");
    refused("a[b-\\", "'[' at byte 1 without");
    refused("a[b\\]", "'[' at byte 1 without");
    refused("[z-a]", "'[' at byte 0 with a range that runs backwards");
    refused("x[[:alpha:]]", "'[' at byte 1 with a class");
    refused("abc\\", "lone '\\' at byte 3");
    refused("a\n", "control character (U+000A) at byte 1");
    refused("a\xc2\x85", "control character (U+0085) at byte 1");
    refused("a\xff", "not UTF-8 at byte 1");
    refused("a\xed\xa0\x80", "not UTF-8 at byte 1");
}

static void test_sizes(void **state)
{
    (void)state;
    char pattern[NAME_SIZE_MAX + 2], name[NAME_SIZE_MAX + 1];
    memset(pattern, '?', sizeof pattern);
    memset(name, 'x', sizeof name);
    name[NAME_SIZE_MAX] = '\0';
    pattern[NAME_SIZE_MAX + 1] = '\0';
    refused(pattern, "more than 1023 bytes");
    pattern[NAME_SIZE_MAX] = '\0';
    yes(pattern, name);
    no(pattern, name + 1);

    memset(pattern, 'x', NAME_SIZE_MAX); /* literals alone: all of it is prefix */
    struct glob *glob = made(pattern);
    assert_string_equal(glob_prefix(glob), name);
    assert_true(glob_match(glob, name));
    assert_null(glob_free(glob));

    for (size_t i = 0; i + 3 <= NAME_SIZE_MAX; i += 3) /* as many sets as there can be: 341 */
        memcpy(pattern + i, "[x]", 3);
    glob = made(pattern);
    assert_true(glob_match(glob, name + NAME_SIZE_MAX - 341));
    assert_false(glob_match(glob, name + NAME_SIZE_MAX - 342));
    glob_free(glob);
}

static void prefix_is(const char *pattern, const char *prefix)
{
    struct glob *glob = made(pattern);
    assert_string_equal(glob_prefix(glob), prefix);
    glob_free(glob);
}

static void test_prefixes(void **state)
{
    (void)state;
    prefix_is("*", "");
    prefix_is("[a]b", "");
    prefix_is("logs/2026-*", "logs/2026-");
    prefix_is("a\\*b?c", "a*b");
    prefix_is("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80*", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    prefix_is("all", "all");
    assert_null(glob_free(NULL));
}

static void test_what_looks_like_a_pattern(void **state)
{
    (void)state;
    assert_true(glob_is_pattern("a*"));
    assert_true(glob_is_pattern("?"));
    assert_true(glob_is_pattern("[a"));
    assert_true(glob_is_pattern("a\\b"));
    assert_false(glob_is_pattern("a]b{c}/d-e!"));
    assert_false(glob_is_pattern(""));
}

static double cpu_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/*
 * A match costs less than a tenth of a millisecond, under valgrind some. A
 * matcher that backtracks would take the square of that or far more.
 */
static void test_hostile_patterns_stay_cheap(void **state)
{
    (void)state;
    static const char *const pieces[] = { "*a", "**a", "*?", "*[a-b]", "**/", "*a**a", "?*a" };
    char pattern[NAME_SIZE_MAX + 1], name[NAME_SIZE_MAX + 1];
    double start = cpu_seconds();
    for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
        size_t wide = strlen(pieces[p]), size = 0;
        for (; size + wide <= NAME_SIZE_MAX - 1; size += wide)
            memcpy(pattern + size, pieces[p], wide);
        memcpy(pattern + size, "b", 2);
        memset(name, strchr(pieces[p], '/') ? '/' : 'a', NAME_SIZE_MAX);
        name[NAME_SIZE_MAX] = '\0';
        no(pattern, name);
        name[NAME_SIZE_MAX - 1] = 'b';
        yes(pattern, name);
    }
    assert_true(cpu_seconds() - start < 2);
}

/* A set of literals and ranges of ASCII, from after its '['; *out is what follows its ']'. */
static bool set_plainly(const char *set, char character, const char **out)
{
    bool negated = *set == '!', holds = false;
    for (set += negated; *set != ']'; set++) {
        char low = *set, high = low;
        if (set[1] == '-') {
            high = set[2];
            set += 2;
        }
        holds = holds || (character >= low && character <= high);
    }
    *out = set + 1;
    return character != '/' && character != '\0' && holds != negated;
}

/* The plain way, exponential at worst: for small ASCII patterns without escapes. */
static bool plainly(const char *pattern, const char *name)
{
    if (pattern[0] == '\0')
        return name[0] == '\0';
    if (pattern[0] == '*') {
        bool crosses = pattern[1] == '*';
        const char *rest = pattern + strspn(pattern, "*");
        for (const char *at = name;; at++) {
            if (plainly(rest, at))
                return true;
            if (*at == '\0' || (*at == '/' && !crosses))
                return false;
        }
    }
    const char *rest = pattern + 1;
    if (pattern[0] == '[') {
        if (!set_plainly(pattern + 1, name[0], &rest))
            return false;
    } else if (name[0] == '\0' || (pattern[0] == '?' ? name[0] == '/' : name[0] != pattern[0]))
        return false;
    return plainly(rest, name + 1);
}

static uint32_t draw(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

enum { DRAWN_MAX = 160 };

/* `pad` steps of '?' and some drawn ones after them; the pad moves those over the ends of the machine's words. */
static void draw_pattern(uint32_t *seed, size_t pad, char *pattern)
{
    static const char *const pieces[] = { "a", "b", "/", "?", "*", "*", "**", "[ab]", "[!a]", "[a-c]", "[!/-b]", "[.-0]" };
    memset(pattern, '?', pad);
    pattern[pad] = '\0';
    for (size_t count = 1 + draw(seed) % 7; count > 0; count--)
        strcat(pattern, pieces[draw(seed) % (sizeof pieces / sizeof pieces[0])]);
}

static unsigned matches_drawn(uint32_t *seed, size_t pad, int rounds)
{
    unsigned matched = 0;
    for (int round = 0; round < rounds; round++) {
        char pattern[DRAWN_MAX + 64], name[DRAWN_MAX + 16];
        draw_pattern(seed, pad, pattern);
        struct glob *glob = made(pattern);
        for (int i = 0; i < 12; i++) {
            size_t size = draw(seed) % 9;
            memset(name, 'x', pad);
            for (size_t at = pad; at < pad + size; at++)
                name[at] = "aabc./"[draw(seed) % 6];
            name[pad + size] = '\0';
            bool expected = plainly(pattern, name);
            if (glob_match(glob, name) != expected)
                fail_msg("'%s' and '%s': %d expected", pattern, name, expected);
            matched += expected;
        }
        glob_free(glob);
    }
    return matched;
}

static void test_it_agrees_with_the_plain_matcher(void **state)
{
    (void)state;
    uint32_t seed = 20260711;
    assert_true(matches_drawn(&seed, 0, 2000) > 1000); /* else the cases say little */
    for (size_t pad = 58; pad <= 66; pad++)
        assert_true(matches_drawn(&seed, pad, 120) > 50);
    for (size_t pad = 122; pad <= 130; pad++)
        assert_true(matches_drawn(&seed, pad, 120) > 50);
}

/* Every character of a plane against sets that begin and end all over it. */
static void test_sets_hold_what_lies_between(void **state)
{
    (void)state;
    struct glob *inside = made("[\xc2\xa1-\xdf\xbf\xe2\x82\xac]"); /* U+00A1 to U+07FF, and the euro */
    struct glob *outside = made("[!\xc2\xa1-\xdf\xbf\xe2\x82\xac]");
    for (unsigned code = 0x80; code < 0x3000; code++) {
        char name[4] = { (char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f)), '\0', '\0' };
        if (code >= 0x800) {
            name[0] = (char)(0xe0 | code >> 12);
            name[1] = (char)(0x80 | (code >> 6 & 0x3f));
            name[2] = (char)(0x80 | (code & 0x3f));
        }
        bool expected = (code >= 0xa1 && code <= 0x7ff) || code == 0x20ac;
        if (glob_match(inside, name) != expected || glob_match(outside, name) == expected)
            fail_msg("U+%04X", code);
    }
    glob_free(inside);
    glob_free(outside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),
        cmocka_unit_test(test_star_stops_at_a_slash),
        cmocka_unit_test(test_stars_cross_slashes),
        cmocka_unit_test(test_question_is_one_character),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_names_that_are_not_utf8),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_what_looks_like_a_pattern),
        cmocka_unit_test(test_hostile_patterns_stay_cheap),
        cmocka_unit_test(test_it_agrees_with_the_plain_matcher),
        cmocka_unit_test(test_sets_hold_what_lies_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
