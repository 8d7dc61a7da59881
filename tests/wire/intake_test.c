/* Bytes in flight, at each bound and one past it; the server's limits when they are filled in. */
#include "rpc/engine.h"
#include "rpc/intake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>

#include <cmocka.h>

enum { KIB = 1024, SMALL = 64 * KIB, LARGE = 1000 * KIB, LIMIT = 2000 * KIB, RESERVE = 128 * KIB };

static struct intake intake;

static int set_up(void **state)
{
    (void)state;
    intake_init(&intake, LIMIT, RESERVE, SMALL, LARGE);
    return 0;
}

/* A large record is charged whole from its first byte past the small size, once. */
static void test_large(void **state)
{
    size_t first = 0, second = 0, third = 0;

    (void)state;
    assert_true(intake_take(&intake, &first, SMALL));
    assert_int_equal(first, SMALL);
    assert_true(intake_take(&intake, &first, SMALL + 1));
    assert_int_equal(first, LARGE);
    assert_true(intake_take(&intake, &first, LARGE));
    assert_int_equal(intake.held, LARGE);
    assert_true(intake_take(&intake, &second, LARGE));
    assert_int_equal(intake.held, LIMIT);

    /* All is taken: no large one more, not even by a byte; small ones from the reserve. */
    assert_false(intake_take(&intake, &third, SMALL + 1));
    assert_int_equal(third, 0);
    assert_int_equal(intake.held, LIMIT);
    intake_give(&intake, &second, 0);
    assert_int_equal(second, 0);
    assert_true(intake_take(&intake, &third, SMALL + 1));
    intake_give(&intake, &first, 0);
    intake_give(&intake, &third, 0);
    assert_int_equal(intake.held, 0);
}

static void test_reserve(void **state)
{
    size_t large[2] = {0}, small[3] = {0}, tiny = 0;

    (void)state;
    assert_true(intake_take(&intake, &large[0], LARGE) && intake_take(&intake, &large[1], LARGE));
    assert_true(intake_take(&intake, &small[0], SMALL) && intake_take(&intake, &small[1], SMALL));
    assert_int_equal(intake.held, LIMIT + RESERVE);
    assert_false(intake_take(&intake, &small[2], SMALL));
    assert_int_equal(small[2], 0);
    /* A first few hundred bytes are always granted: NULL never waits. */
    assert_true(intake_take(&intake, &tiny, 4096));
    assert_false(intake_take(&intake, &tiny, 4097));
    assert_int_equal(tiny, 4096);
    /* Growth that is no growth is always granted. */
    assert_true(intake_take(&intake, &small[0], 1));
    assert_int_equal(small[0], SMALL);
}

/* A record that is complete costs what it is. */
static void test_give(void **state)
{
    size_t charge = 0;

    (void)state;
    assert_true(intake_take(&intake, &charge, LARGE));
    intake_give(&intake, &charge, 100);
    assert_int_equal(charge, 100);
    assert_int_equal(intake.held, 100);
    intake_give(&intake, &charge, 200); /* never more */
    assert_int_equal(charge, 100);
    intake_give(&intake, &charge, 0);
    assert_int_equal(intake.held, 0);
}

static void test_limits(void **state)
{
    struct rpc_limits limits = {0};
    struct failure why;
    struct rlimit descriptors;

    (void)state;
    assert_int_equal(limits_resolve(&limits, NULL), OUTCOME_OK);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &descriptors), 0);
    assert_int_equal(descriptors.rlim_cur, descriptors.rlim_max);
    assert_true(limits.connections > 0 && limits.connections < descriptors.rlim_cur);
    assert_int_equal(limits.connections_per_address, (limits.connections + 3) / 4);
    assert_int_equal(limits.permits, limits.workers - 2);
    assert_int_equal(limits.in_flight_bytes, 32 << 20);
    assert_int_equal(limits.unsent_records, 64);

    limits.permits = limits.workers;
    assert_int_equal(limits_resolve(&limits, &why), OUTCOME_INVALID);
    limits.permits = limits.workers - 1;
    assert_int_equal(limits_resolve(&limits, NULL), OUTCOME_OK);
    limits.in_flight_bytes = limits.record_max - 1;
    assert_int_equal(limits_resolve(&limits, &why), OUTCOME_INVALID);
    limits.in_flight_bytes = limits.record_max;
    assert_int_equal(limits_resolve(&limits, NULL), OUTCOME_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_large, set_up),
        cmocka_unit_test_setup(test_reserve, set_up),
        cmocka_unit_test_setup(test_give, set_up),
        cmocka_unit_test(test_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
