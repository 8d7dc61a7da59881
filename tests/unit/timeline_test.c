#include "server/store/local/timeline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECONDS(count) ((int64_t)(count)*CLOCK_SECOND)
#define YEARS(count)   ((count)*SECONDS(365 * 86400))

enum { BOOT = 7 };

/* Store time at an open, when the last mark was all 1000 s and now it is so. */
static int64_t opened(uint64_t boot, int64_t elapsed, int64_t wall)
{
    struct clock clock;
    struct timeline_mark seen = {.store = SECONDS(1000),
                                 .wall = SECONDS(1000),
                                 .elapsed = SECONDS(1000),
                                 .boot = BOOT};
    clock_test_init(&clock, 0, wall);
    clock_test_boot(&clock, boot, elapsed);
    struct timeline timeline = timeline_start(&clock, &seen);
    return timeline_now(&timeline);
}

static void test_on_the_same_run_of_the_machine_its_own_time_counts(void **state)
{
    (void)state;
    assert_true(opened(BOOT, SECONDS(1030), SECONDS(1030)) == SECONDS(1030));
    assert_true(opened(BOOT, SECONDS(1030), SECONDS(1)) == SECONDS(1030));
    assert_true(opened(BOOT, SECONDS(1030), YEARS(200)) == SECONDS(1030));
    assert_true(opened(BOOT, SECONDS(1000), SECONDS(5000)) == SECONDS(1000));
}

static void test_on_another_run_the_wall_clock_counts_but_never_backwards(void **state)
{
    (void)state;
    const uint64_t others[] = {BOOT + 1, 0};
    for (int i = 0; i < 2; i++) {
        assert_true(opened(others[i], SECONDS(5), SECONDS(1300)) == SECONDS(1300));
        assert_true(opened(others[i], SECONDS(9000), SECONDS(1300)) == SECONDS(1300));
        assert_true(opened(others[i], SECONDS(5), SECONDS(999)) == SECONDS(1000));
        assert_true(opened(others[i], SECONDS(5), 0) == SECONDS(1000));
        assert_true(opened(others[i], SECONDS(5), INT64_MIN) == SECONDS(1000));
    }
}

/* A snapshot of a machine has the same name for its run, and less time behind it. */
static void test_a_machine_set_back_is_another(void **state)
{
    (void)state;
    assert_true(opened(BOOT, SECONDS(999), SECONDS(1400)) == SECONDS(1400));
}

static void test_no_absence_takes_time_out_of_its_range(void **state)
{
    (void)state;
    struct clock clock;
    struct timeline_mark seen = {.store = SECONDS(1700000000), .wall = 0};
    clock_test_init(&clock, 0, INT64_MAX);
    for (int i = 0; i < 2000; i++) {
        struct timeline timeline = timeline_start(&clock, &seen);
        assert_true(timeline_now(&timeline) >= seen.store);
        seen.store = timeline_now(&timeline);
        seen.wall = INT64_MIN;
        /* the longest that anything lasts can still be added */
        assert_true(INT64_MAX - seen.store > timeline_seconds(UINT32_MAX) / 2);
    }
    clock_test_step(&clock, -SECONDS(1));
    struct timeline last = timeline_start(&clock, &seen);
    int64_t before = timeline_now(&last);
    clock_test_step(&clock, SECONDS(60));
    assert_true(timeline_now(&last) == before + SECONDS(60)); /* it goes on all the same */
}

static void test_when_a_new_mark_is_due(void **state)
{
    (void)state;
    struct clock clock;
    struct timeline_mark last, seen = {.store = SECONDS(1000), .wall = SECONDS(1000)};
    clock_test_init(&clock, SECONDS(5), SECONDS(1000));
    struct timeline timeline = timeline_start(&clock, &seen);
    last = timeline_mark(&timeline);
    assert_true(last.store == SECONDS(1000) && last.elapsed == SECONDS(5) && last.boot == 0);
    clock_test_step(&clock, SECONDS(59));
    struct timeline_mark now = timeline_mark(&timeline);
    assert_false(timeline_is_stale(&last, &now));
    assert_true(now.store == SECONDS(1059) && now.wall == SECONDS(1059));
    clock_test_step_wall(&clock, SECONDS(1));
    now = timeline_mark(&timeline);
    assert_true(timeline_is_stale(&last, &now));
    clock_test_step_wall(&clock, -SECONDS(2));
    now = timeline_mark(&timeline);
    assert_true(timeline_is_stale(&last, &now));
    last = now;
    clock_test_step(&clock, SECONDS(60));
    now = timeline_mark(&timeline);
    assert_true(timeline_is_stale(&last, &now));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_on_the_same_run_of_the_machine_its_own_time_counts),
        cmocka_unit_test(test_on_another_run_the_wall_clock_counts_but_never_backwards),
        cmocka_unit_test(test_a_machine_set_back_is_another),
        cmocka_unit_test(test_no_absence_takes_time_out_of_its_range),
        cmocka_unit_test(test_when_a_new_mark_is_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
