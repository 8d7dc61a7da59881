/* Every status has its exit code, and what several items come to. */
#include "client/cli/exit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void statuses_have_their_codes(void **state)
{
    static const struct {
        enum fileshare_status status;
        int code; /* figures, not names: scripts depend on them */
    } rows[] = {
        {FILESHARE_OK, 0},      {FILESHARE_EXISTS, 7},      {FILESHARE_ABSENT, 3},
        {FILESHARE_CHANGED, 7}, {FILESHARE_DENIED, 6},      {FILESHARE_INVALID, 2},
        {FILESHARE_NOSPACE, 8}, {FILESHARE_LIMIT, 8},       {FILESHARE_CORRUPT, 10},
        {FILESHARE_HELD, 9},    {FILESHARE_EXPIRED, 7},     {FILESHARE_UNAVAILABLE, 5},
        {FILESHARE_TIMEOUT, 4}, {FILESHARE_UNREACHABLE, 5}, {FILESHARE_PROTOCOL, 10},
        {FILESHARE_LOCAL, 9},   {FILESHARE_NOMEM, 9},       {FILESHARE_STOPPED, 130},
    };
    (void)state;
    assert_int_equal(sizeof rows / sizeof rows[0], FILESHARE_STOPPED + 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(exit_of_status(rows[i].status), rows[i].code);
}

static void one_item_keeps_its_code(void **state)
{
    struct tally tally = {.items = 0};
    (void)state;
    assert_int_equal(tally_code(&tally), 0);
    tally_add(&tally, EXIT_ABSENT);
    assert_int_equal(tally_code(&tally), 3);
}

static void some_of_several_is_1(void **state)
{
    struct tally tally = {.items = 0};
    (void)state;
    tally_add(&tally, EXIT_DONE);
    assert_int_equal(tally_code(&tally), 0);
    tally_add(&tally, EXIT_DENIED);
    assert_int_equal(tally_code(&tally), 1);
    tally = (struct tally){.items = 0};
    tally_add(&tally, EXIT_ABSENT);
    tally_add(&tally, EXIT_ABSENT);
    assert_int_equal(tally_code(&tally), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statuses_have_their_codes),
        cmocka_unit_test(one_item_keeps_its_code),
        cmocka_unit_test(some_of_several_is_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
