/* deadlines: the earliest of many, whatever was done to them before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "callback/deadlines.h"

enum { COUNT = 200, ROUNDS = 20000 };

static struct deadline *earliest(struct deadline *all)
{
    struct deadline *found = NULL;
    for (int i = 0; i < COUNT; i++)
        if (all[i].place != 0 && (!found || all[i].at < found->at))
            found = &all[i];
    return found;
}

static void against_a_plain_search(void **state)
{
    (void)state;
    struct deadlines deadlines;
    struct deadline all[COUNT];
    deadlines_init(&deadlines);
    assert_null(deadlines_first(&deadlines));
    for (int i = 0; i < COUNT; i++) {
        assert_true(deadlines_reserve(&deadlines, (size_t)i + 1));
        deadline_init(&all[i]);
    }
    srandom(7);
    for (int round = 0; round < ROUNDS; round++) {
        struct deadline *one = &all[random() % COUNT];
        long kind = random() % 4;
        if (kind == 0)
            deadlines_clear(&deadlines, one);
        else
            deadlines_set(&deadlines, one, kind == 1 ? INT64_MAX : random() % 1000);
        assert_true(kind > 1 ? one->place != 0 : one->place == 0);
        struct deadline *wanted = earliest(all);
        struct deadline *first = deadlines_first(&deadlines);
        assert_int_equal(wanted != NULL, first != NULL);
        if (wanted)
            assert_int_equal(wanted->at, first->at);
    }
    int64_t before = INT64_MIN;
    for (struct deadline *first; (first = deadlines_first(&deadlines)) != NULL;) {
        assert_true(first->at >= before);
        before = first->at;
        deadlines_clear(&deadlines, first);
    }
    deadlines_fini(&deadlines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(against_a_plain_search)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
