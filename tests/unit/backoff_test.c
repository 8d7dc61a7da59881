/* How long to wait before the next try: rpc/backoff.h. */
#include "rpc/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_doubles_to_the_last(void **state)
{
    static const uint32_t bases[] = {100, 200, 400, 800, 1000, 1000, 1000};
    struct backoff backoff;

    (void)state;
    backoff_init(&backoff, 100, 1000);
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        assert_in_range(backoff_next(&backoff), bases[i], bases[i] + bases[i] / 4);
        assert_in_range(backoff_after(100, 1000, (uint32_t)i), bases[i], bases[i] + bases[i] / 4);
    }
    backoff_reset(&backoff);
    assert_in_range(backoff_next(&backoff), 100, 125);
}

static void test_is_not_always_the_same(void **state)
{
    uint32_t least = UINT32_MAX, most = 0;

    (void)state;
    for (int i = 0; i < 200; i++) {
        uint32_t waits = backoff_after(1000, 1000, 0);
        least = waits < least ? waits : least;
        most = waits > most ? waits : most;
    }
    assert_true(most - least > 50);
}

static void test_extremes(void **state)
{
    (void)state;
    assert_int_equal(backoff_after(0, 0, 5), 0);
    assert_true(backoff_after(1, UINT32_MAX, UINT32_MAX) >= UINT32_MAX - 1);
    assert_in_range(backoff_after(500, 100, 3), 100, 125);
    assert_in_range(backoff_after(7, 7, UINT32_MAX), 7, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doubles_to_the_last),
        cmocka_unit_test(test_is_not_always_the_same),
        cmocka_unit_test(test_extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
