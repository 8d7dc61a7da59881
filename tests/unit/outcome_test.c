/* Failures say what, on what and why, in one line that always fits. */
#include "base/outcome.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

static void test_names_are_distinct(void **state)
{
    (void)state;
    for (int a = OUTCOME_OK; a <= OUTCOME_FAULT; a++) {
        assert_string_not_equal(outcome_name((enum outcome)a), "no outcome");
        for (int b = a + 1; b <= OUTCOME_FAULT; b++)
            assert_string_not_equal(outcome_name((enum outcome)a), outcome_name((enum outcome)b));
    }
    assert_string_equal(outcome_name(OUTCOME_EXISTS), "exists");
    assert_string_equal(outcome_name((enum outcome)(OUTCOME_FAULT + 1)), "no outcome");
}

static void test_set_describes_and_returns(void **state)
{
    (void)state;
    struct failure why = { .outcome = OUTCOME_OK };
    assert_int_equal(failure_set(&why, OUTCOME_EXISTS, "%s is taken since %d", "a/b", 7), OUTCOME_EXISTS);
    assert_int_equal(why.outcome, OUTCOME_EXISTS);
    assert_string_equal(why.text, "a/b is taken since 7");
    assert_int_equal(failure_set(NULL, OUTCOME_STALE, "nobody reads this"), OUTCOME_STALE);
    assert_int_equal(failure_system(NULL, OUTCOME_LOCAL, EIO, "nor this"), OUTCOME_LOCAL);
    assert_int_equal(failure_system(NULL, OUTCOME_LOCAL, ENOSPC, "nor this"), OUTCOME_NOSPACE);
}

static void test_newlines_become_spaces(void **state)
{
    (void)state;
    struct failure why;
    assert_int_equal(failure_set(&why, OUTCOME_INVALID, "one\ntwo\r\nthree"), OUTCOME_INVALID);
    assert_string_equal(why.text, "one two  three");
}

static void test_words_may_be_added_to_the_same_failure(void **state)
{
    (void)state;
    struct failure why;
    assert_int_equal(failure_set(&why, OUTCOME_LOCAL, "no such thing"), OUTCOME_LOCAL);
    assert_int_equal(failure_set(&why, OUTCOME_LOCAL, "line %d: %s", 3, why.text), OUTCOME_LOCAL);
    assert_string_equal(why.text, "line 3: no such thing");
}

static void test_long_text_is_cut_between_characters(void **state)
{
    (void)state;
    char text[FAILURE_TEXT_MAX + 40];
    struct failure why;
    memset(text, 'x', sizeof text);

    text[FAILURE_TEXT_MAX - 1] = '\0'; /* fits to the byte */
    assert_int_equal(failure_set(&why, OUTCOME_FAULT, "%s", text), OUTCOME_FAULT);
    assert_int_equal(strlen(why.text), FAILURE_TEXT_MAX - 1);
    assert_string_equal(why.text, text);

    text[FAILURE_TEXT_MAX - 1] = 'x'; /* one more does not */
    text[FAILURE_TEXT_MAX] = '\0';
    assert_int_equal(failure_set(&why, OUTCOME_FAULT, "%s", text), OUTCOME_FAULT);
    assert_int_equal(strlen(why.text), FAILURE_TEXT_MAX - 1);

    memcpy(text + FAILURE_TEXT_MAX - 3, "\xe2\x82\xac", 4); /* a euro sign that does not fit whole */
    assert_int_equal(failure_set(&why, OUTCOME_FAULT, "%s", text), OUTCOME_FAULT);
    assert_int_equal(strlen(why.text), FAILURE_TEXT_MAX - 3);
}

static void test_system_errors_end_with_their_reason(void **state)
{
    (void)state;
    struct failure why;
    assert_int_equal(failure_system(&why, OUTCOME_LOCAL, EACCES, "cannot open %s", "/x"), OUTCOME_LOCAL);
    assert_string_equal(why.text, "cannot open /x: Permission denied");
    assert_int_equal(failure_system(&why, OUTCOME_LOCAL, 99999, "odd"), OUTCOME_LOCAL);
    assert_string_equal(why.text, "odd: error 99999");

    char text[2 * FAILURE_TEXT_MAX];
    memset(text, 'y', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(failure_system(&why, OUTCOME_LOCAL, EACCES, "%s", text), OUTCOME_LOCAL);
    assert_int_equal(strlen(why.text), FAILURE_TEXT_MAX - 1);
    assert_string_equal(why.text + FAILURE_TEXT_MAX - 1 - strlen("y: Permission denied"), "y: Permission denied");
}

static void test_full_disks_and_memory_speak_for_themselves(void **state)
{
    (void)state;
    struct failure why;
    assert_int_equal(failure_system(&why, OUTCOME_LOCAL, ENOSPC, "a"), OUTCOME_NOSPACE);
    assert_int_equal(why.outcome, OUTCOME_NOSPACE);
    assert_int_equal(failure_system(&why, OUTCOME_LOCAL, EDQUOT, "a"), OUTCOME_NOSPACE);
    assert_int_equal(failure_system(&why, OUTCOME_LOCAL, ENOMEM, "a"), OUTCOME_NOMEM);
    assert_int_equal(why.outcome, OUTCOME_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_distinct),
        cmocka_unit_test(test_set_describes_and_returns),
        cmocka_unit_test(test_newlines_become_spaces),
        cmocka_unit_test(test_words_may_be_added_to_the_same_failure),
        cmocka_unit_test(test_long_text_is_cut_between_characters),
        cmocka_unit_test(test_system_errors_end_with_their_reason),
        cmocka_unit_test(test_full_disks_and_memory_speak_for_themselves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
