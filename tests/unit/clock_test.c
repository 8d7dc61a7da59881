#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static void test_the_system_clock_is_the_machines(void **state)
{
    (void)state;
    const struct clock *clock = clock_system();
    assert_ptr_equal(clock, clock_system());
    struct timespec before, after;
    clock_gettime(CLOCK_BOOTTIME, &before);
    int64_t elapsed = clock_elapsed(clock);
    clock_gettime(CLOCK_BOOTTIME, &after);
    assert_true(elapsed >= (int64_t)before.tv_sec * CLOCK_SECOND + before.tv_nsec);
    assert_true(elapsed <= (int64_t)after.tv_sec * CLOCK_SECOND + after.tv_nsec);

    int64_t wall = clock_wall(clock);
    clock_gettime(CLOCK_REALTIME, &after);
    assert_true(llabs(wall / CLOCK_SECOND - (int64_t)after.tv_sec) <= 60);
}

static void test_a_test_clock_moves_only_when_told(void **state)
{
    (void)state;
    struct clock clock;
    clock_test_init(&clock, 5, 1000);
    assert_int_equal(clock_elapsed(&clock), 5);
    assert_int_equal(clock_wall(&clock), 1000);
    clock_test_step(&clock, (int64_t)3600 * CLOCK_SECOND);
    assert_true(clock_elapsed(&clock) == 5 + (int64_t)3600 * CLOCK_SECOND);
    assert_true(clock_wall(&clock) == 1000 + (int64_t)3600 * CLOCK_SECOND);
    clock_test_step_wall(&clock, -(int64_t)7200 * CLOCK_SECOND);
    assert_true(clock_elapsed(&clock) == 5 + (int64_t)3600 * CLOCK_SECOND);
    assert_true(clock_wall(&clock) == 1000 - (int64_t)3600 * CLOCK_SECOND);
}

static void test_a_run_of_the_machine_has_a_name(void **state)
{
    (void)state;
    struct clock clock;
    assert_true(clock_boot(clock_system()) != 0);
    assert_true(clock_boot(clock_system()) == clock_boot(clock_system()));
    clock_test_init(&clock, 5, 1000);
    assert_true(clock_boot(&clock) == 0);
    clock_test_boot(&clock, 3, 7);
    assert_true(clock_boot(&clock) == 3);
    assert_int_equal(clock_elapsed(&clock), 7);
    assert_int_equal(clock_wall(&clock), 1000);
}

enum { STEPS = 2000 };

static void *watch(void *clock)
{
    int64_t last = 0;
    while (last < STEPS) {
        int64_t now = clock_elapsed(clock);
        if (now < last)
            return (void *)1;
        last = now;
    }
    return NULL;
}

static void test_it_may_be_stepped_and_read_at_once(void **state)
{
    (void)state;
    struct clock clock;
    clock_test_init(&clock, 0, 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch, &clock), 0);
    for (int i = 0; i < STEPS; i++)
        clock_test_step(&clock, 1);
    void *went_back;
    assert_int_equal(pthread_join(thread, &went_back), 0);
    assert_null(went_back);
    assert_int_equal(clock_wall(&clock), STEPS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_system_clock_is_the_machines),
        cmocka_unit_test(test_a_test_clock_moves_only_when_told),
        cmocka_unit_test(test_a_run_of_the_machine_has_a_name),
        cmocka_unit_test(test_it_may_be_stepped_and_read_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
