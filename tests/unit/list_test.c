#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct thing {
    int number;
    struct list link;
};

/* The numbers of the list as decimal digits, first to last. */
static int digits(const struct list *head)
{
    int all = 0;
    for (const struct list *at = head->next; at != head; at = at->next)
        all = all * 10 + ((const struct thing *)(const void *)((const char *)at - offsetof(struct thing, link)))->number;
    return all;
}

static void test_things_stay_in_order(void **state)
{
    (void)state;
    struct list head;
    struct thing things[4] = { { .number = 1 }, { .number = 2 }, { .number = 3 }, { .number = 4 } };
    list_init(&head);
    assert_true(list_is_empty(&head));
    assert_null(list_first(&head, struct thing, link));
    for (size_t i = 0; i < 4; i++)
        list_append(&head, &things[i].link);
    assert_false(list_is_empty(&head));
    assert_int_equal(digits(&head), 1234);
    assert_ptr_equal(list_first(&head, struct thing, link), &things[0]);

    list_remove(&things[1].link);
    assert_int_equal(digits(&head), 134);
    list_remove(&things[1].link); /* stands in no list: nothing happens */
    assert_true(list_is_empty(&things[1].link));
    list_append(&head, &things[1].link);
    assert_int_equal(digits(&head), 1342);
}

static void test_a_body_may_remove_what_it_is_at(void **state)
{
    (void)state;
    struct list head;
    struct thing things[5] = { { .number = 1 }, { .number = 2 }, { .number = 3 }, { .number = 4 }, { .number = 5 } };
    list_init(&head);
    for (size_t i = 0; i < 5; i++)
        list_append(&head, &things[i].link);
    list_each(at, &head)
    {
        if (list_entry(at, struct thing, link)->number % 2)
            list_remove(at);
    }
    assert_int_equal(digits(&head), 24);
    list_each(at, &head)
        list_remove(at);
    assert_true(list_is_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_things_stay_in_order),
        cmocka_unit_test(test_a_body_may_remove_what_it_is_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
