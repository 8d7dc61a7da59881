#include "base/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct id counted = { { 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xff, 0x10, 0x20, 0x30,
                                     0x40, 0x50, 0x60 } };
static const char counted_text[] = "000123456789abcdefff102030405060";

static void test_random_ids_differ_and_are_some(void **state)
{
    (void)state;
    struct id ids[64];
    for (size_t i = 0; i < 64; i++) {
        ids[i] = id_random();
        assert_false(id_is_none(&ids[i]));
        for (size_t j = 0; j < i; j++)
            assert_false(id_equal(&ids[i], &ids[j]));
    }
}

static void test_each_byte_counts_when_compared(void **state)
{
    (void)state;
    struct id none = { { 0 } };
    assert_true(id_is_none(&none));
    for (size_t i = 0; i < ID_SIZE; i++) {
        struct id other = counted, one = none;
        other.octets[i] ^= 0x80;
        one.octets[i] = 1;
        assert_false(id_equal(&other, &counted));
        assert_false(id_equal_secret(&other, &counted));
        assert_false(id_is_none(&one));
    }
    struct id same = counted;
    assert_true(id_equal(&same, &counted));
    assert_true(id_equal_secret(&same, &counted));
}

static void test_text_goes_round(void **state)
{
    (void)state;
    char text[ID_TEXT_SIZE];
    struct id id;
    assert_ptr_equal(id_text(&counted, text), text);
    assert_string_equal(text, counted_text);
    assert_int_equal(id_parse(text, &id, NULL), OUTCOME_OK);
    assert_true(id_equal(&id, &counted));
    assert_int_equal(id_parse("000123456789ABCDEFFF102030405060", &id, NULL), OUTCOME_OK);
    assert_true(id_equal(&id, &counted));
}

static void refused(const char *text, const char *reason)
{
    struct failure why = { .outcome = OUTCOME_OK };
    struct id id = counted;
    assert_int_equal(id_parse(text, &id, &why), OUTCOME_INVALID);
    assert_int_equal(why.outcome, OUTCOME_INVALID);
    if (!strstr(why.text, reason))
        fail_msg("\"%s\" does not say \"%s\"", why.text, reason);
    assert_true(id_equal(&id, &counted));
}

static void test_other_texts_are_refused(void **state)
{
    (void)state;
    refused("", "32 hex digits");
    refused("000123456789abcdefff10203040506", "32 hex digits");
    refused("000123456789abcdefff1020304050600", "32 hex digits");
    refused("g00123456789abcdefff102030405060", "byte 0");
    refused("000123456789abcdefff10203040506 ", "byte 31");
    refused("0x0123456789abcdefff102030405060", "byte 1");
    refused("000123456789abcdeff\xc3\xa4"
            "02030405060",
            "byte 19");
}

/* More than one call of the kernel's gives, and not a multiple of it. */
static void many_differ(void **state)
{
    enum { COUNT = 3 * 16 + 5 };
    struct id ids[COUNT + 1] = {0};
    (void)state;
    id_random_many(ids, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_false(id_is_none(&ids[i]));
        for (size_t j = 0; j < i; j++)
            assert_false(id_equal(&ids[i], &ids[j]));
    }
    assert_true(id_is_none(&ids[COUNT]));
    id_random_many(ids + COUNT, 0);
    assert_true(id_is_none(&ids[COUNT]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_ids_differ_and_are_some),
        cmocka_unit_test(many_differ),
        cmocka_unit_test(test_each_byte_counts_when_compared),
        cmocka_unit_test(test_text_goes_round),
        cmocka_unit_test(test_other_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
