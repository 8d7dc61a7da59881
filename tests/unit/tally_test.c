/* Which arrivals of a wait count, and when they are enough. */
#include "client/lib/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct id number(uint64_t value)
{
    struct id id = {{0}};
    value++; /* an id of zeros is none */
    memcpy(id.octets + 8, &value, sizeof value);
    return id;
}

static bool take(struct tally *tally, size_t pattern, uint64_t version)
{
    struct id id = number(version);
    bool counts = false;
    assert_int_equal(tally_take(tally, pattern, &id, &counts, NULL), OUTCOME_OK);
    return counts;
}

static void test_one_for_each(void **state)
{
    (void)state;
    struct tally tally;
    assert_int_equal(tally_init(&tally, 3, 0, NULL), OUTCOME_OK);
    assert_true(take(&tally, 1, 7));
    assert_false(take(&tally, 1, 7)); /* told twice */
    assert_false(take(&tally, 1, 8)); /* a second arrival of the same pattern */
    assert_true(take(&tally, 0, 7));  /* the same file for another pattern */
    assert_true(tally_is_met(&tally, 0));
    assert_false(tally_is_met(&tally, 2));
    assert_false(tally_is_done(&tally));
    assert_true(take(&tally, 2, 9));
    assert_true(tally_is_done(&tally));
    assert_false(take(&tally, 2, 10));
    assert_int_equal(tally.told, 3);
    tally_fini(&tally);
}

static void test_any(void **state)
{
    (void)state;
    struct tally tally;
    assert_int_equal(tally_init(&tally, 3, 1, NULL), OUTCOME_OK);
    assert_false(tally_is_done(&tally));
    assert_true(take(&tally, 2, 1));
    assert_true(tally_is_done(&tally));
    assert_true(tally_is_met(&tally, 0)); /* nothing more is wanted of any */
    assert_false(take(&tally, 0, 2));
    tally_fini(&tally);
}

static void test_a_version_counts_once(void **state)
{
    (void)state;
    struct tally tally;
    assert_int_equal(tally_init(&tally, 2, 3, NULL), OUTCOME_OK);
    assert_true(take(&tally, 0, 1));
    assert_false(take(&tally, 0, 1));
    assert_false(take(&tally, 1, 1)); /* matched by both */
    assert_true(take(&tally, 0, 2));
    assert_false(tally_is_met(&tally, 0));
    assert_true(take(&tally, 1, 3));
    assert_true(tally_is_done(&tally));
    tally_fini(&tally);
}

static void test_many(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    struct tally tally;
    assert_int_equal(tally_init(&tally, 1, MANY, NULL), OUTCOME_OK);
    for (uint64_t i = 0; i < MANY - 1; i++)
        assert_true(take(&tally, 0, i));
    for (uint64_t i = 0; i < MANY - 1; i++)
        assert_false(take(&tally, 0, i));
    assert_false(tally_is_done(&tally));
    assert_true(take(&tally, 0, MANY));
    assert_true(tally_is_done(&tally));
    tally_fini(&tally);
    tally_fini(&tally);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_for_each),
        cmocka_unit_test(test_any),
        cmocka_unit_test(test_a_version_counts_once),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
