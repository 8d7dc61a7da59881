/* How many bundles may be under way: few near by, as many as the window has far away. */
#include "client/lib/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { CALL = 1 << 20, FAR_AWAY = 100 * 1000 * 1000 };

/* How many calls of so many bytes there is room for. */
static unsigned fill(struct pace *pace, size_t bytes)
{
    unsigned count = 0;
    for (; pace_has_room(pace); count++)
        pace_add(pace, bytes);
    return count;
}

static void drain(struct pace *pace, unsigned count, size_t bytes)
{
    while (count-- > 0)
        pace_end(pace, bytes);
    assert_int_equal(pace->count, 0);
    assert_int_equal(pace->bytes, 0);
}

static void test_near(void **state)
{
    struct pace pace;
    (void)state;
    pace_init(&pace);
    assert_int_equal(fill(&pace, 1), PACE_NEAR);
    drain(&pace, PACE_NEAR, 1);
    pace_on(&pace, PACE_FAR_FROM - 1);
    for (int i = 0; i < 100; i++)
        pace_heard(&pace, CALL, 1000);
    assert_int_equal(fill(&pace, CALL), PACE_NEAR);
}

static void test_far(void **state)
{
    struct pace pace;
    (void)state;
    pace_init(&pace);
    pace_on(&pace, PACE_FAR_FROM);
    assert_int_equal(fill(&pace, CALL), WINDOW_NEAR / CALL);
    drain(&pace, WINDOW_NEAR / CALL, CALL);
    /* Small ones are bounded by their number. */
    assert_int_equal(fill(&pace, 1), PACE_MOST);
    drain(&pace, PACE_MOST, 1);
}

static void test_widens_and_narrows(void **state)
{
    struct pace pace;
    (void)state;
    pace_init(&pace);
    pace_on(&pace, FAR_AWAY);
    for (int i = 0; i < 4; i++)
        pace_heard(&pace, CALL, FAR_AWAY);
    assert_int_equal(fill(&pace, CALL), WINDOW_NEAR / CALL + 4);
    drain(&pace, WINDOW_NEAR / CALL + 4, CALL);
    /* Answers that waited say that it is wide enough. */
    pace_heard(&pace, CALL, 4 * (int64_t)FAR_AWAY);
    assert_int_equal(fill(&pace, CALL), WINDOW_NEAR / CALL + 4);
    drain(&pace, WINDOW_NEAR / CALL + 4, CALL);
    for (int i = 0; i < 100; i++)
        pace_heard(&pace, CALL, FAR_AWAY);
    assert_int_equal(fill(&pace, CALL), PACE_MOST);
    drain(&pace, PACE_MOST, CALL);
    pace_narrow(&pace);
    assert_int_equal(fill(&pace, CALL), PACE_MOST / 2);
    /* One may always be under way. */
    drain(&pace, PACE_MOST / 2, CALL);
    for (int i = 0; i < 20; i++)
        pace_narrow(&pace);
    assert_int_equal(fill(&pace, CALL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_near),
        cmocka_unit_test(test_far),
        cmocka_unit_test(test_widens_and_narrows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
