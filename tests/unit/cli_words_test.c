/* A line into words as sh does it. */
#include "client/cli/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

/* `wanted`: the words with '|' behind each. */
static void check(const char *line, const char *wanted)
{
    struct words words = {.count = 0};
    struct failure why = {.text = ""};
    char joined[256] = "";
    assert_int_equal(words_split(line, &words, &why), OUTCOME_OK);
    for (size_t i = 0; i < words.count; i++) {
        strcat(joined, words.rows[i]);
        strcat(joined, "|");
    }
    assert_string_equal(joined, wanted);
    assert_null(words.rows[words.count]);
    words_fini(&words);
    words_fini(&words); /* twice is fine */
}

static void check_refused(const char *line)
{
    struct words words = {.count = 77};
    struct failure why = {.text = ""};
    assert_int_equal(words_split(line, &words, &why), OUTCOME_INVALID);
    assert_true(why.text[0] != '\0');
    assert_int_equal(words.count, 77);
}

static void blanks_part_words(void **state)
{
    (void)state;
    check("", "");
    check("  \t \r\n", "");
    check("a", "a|");
    check("put a  b\tc\r", "put|a|b|c|");
    check("  a ", "a|");
}

static void quotes_and_backslashes(void **state)
{
    (void)state;
    check("put 'two words' --as \"it's\"", "put|two words|--as|it's|");
    check("a\\ b", "a b|");
    check("'' \"\"", "||");
    check("x'y'\"z\"w", "xyzw|");
    check("'a\\b'", "a\\b|");
    check("\"a\\b\"", "a\\b|");
    check("\"\\\"\\\\\\$\\`\"", "\"\\$`|");
    check("\\'\\\"", "'\"|");
    check("\\\\", "\\|");
    check("$HOME * `x`", "$HOME|*|`x`|"); /* nothing is expanded */
}

static void comments_begin_at_a_word(void **state)
{
    (void)state;
    check("# all of it", "");
    check("  # all of it 'unclosed", "");
    check("ls # list", "ls|");
    check("ls a#b '#c' \\#d", "ls|a#b|#c|#d|");
}

static void what_is_open_is_refused(void **state)
{
    (void)state;
    check_refused("put 'a");
    check_refused("put \"a");
    check_refused("put \"a\\\"");
    check_refused("put \"a\\");
    check_refused("put a\\");
    check_refused("put a\\\n");
    check_refused("'");
}

static void as_many_words_as_fit(void **state)
{
    char line[2001];
    struct words words = {.count = 0};
    (void)state;
    for (size_t i = 0; i < 2000; i++)
        line[i] = i % 2 ? ' ' : 'x';
    line[2000] = '\0';
    assert_int_equal(words_split(line, &words, NULL), OUTCOME_OK);
    assert_int_equal(words.count, 1000);
    words_fini(&words);
    line[1999] = '\0'; /* the last word has no blank behind it */
    assert_int_equal(words_split(line, &words, NULL), OUTCOME_OK);
    assert_int_equal(words.count, 1000);
    words_fini(&words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_part_words),        cmocka_unit_test(quotes_and_backslashes),
        cmocka_unit_test(comments_begin_at_a_word), cmocka_unit_test(what_is_open_is_refused),
        cmocka_unit_test(as_many_words_as_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
