/* The values are those that xxh128sum prints for the same bytes. */
#include "base/digest_kind.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { BUFFER_SIZE = 3000 };

static void is(struct digest_value value, const char *expected)
{
    char text[DIGEST_TEXT_SIZE];
    assert_ptr_equal(digest_text(&value, text), text);
    assert_string_equal(text, expected);
}

static void test_known_values(void **state)
{
    (void)state;
    is(digest_of("", 0), "99aa06d3014798d86001c324468d497f");
    is(digest_of(NULL, 0), "99aa06d3014798d86001c324468d497f");
    is(digest_of("abc", 3), "06b05ab6733a618578af5f94892f3950");
}

static void fill(unsigned char bytes[BUFFER_SIZE])
{
    for (size_t i = 0; i < BUFFER_SIZE; i++)
        bytes[i] = (unsigned char)(i * 131 >> 3);
}

/* The code for each kind of processor that this one can run, whichever digest.c takes. */
static void is_right(const struct digest_kind *kind)
{
    static const struct {
        size_t size;
        const char *value;
    } known[] = {
        {16, "900c8f13bef2a56ac7feb457dbb27a83"},   {240, "f14fd7ef8ce713be9aec11ed1bb8c728"},
        {241, "7165b5dfadecd5502de42aed8d7c80d8"},  {1024, "c6de5c16f70e8e2a4129bc6deea0cf5a"},
        {1025, "b37af895dce3aa3a2e3244100e08d07a"}, {3000, "876f8cf5180762624ebff2687006985a"},
    };
    unsigned char bytes[BUFFER_SIZE];
    fill(bytes);
    struct digest *digest = digest_new();
    assert_non_null(digest);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        is(kind->of(bytes, known[i].size), known[i].value);
        /* A struct digest is the state. What one kind begins another goes on with. */
        digest_reset(digest);
        digest_plain.add(digest, bytes, 7);
        kind->add(digest, bytes + 7, known[i].size - 8);
        digest_add(digest, bytes + known[i].size - 1, 1);
        is(digest_value(digest), known[i].value);
    }
    digest_free(digest);
}

static void test_all_kinds_give_the_same(void **state)
{
    (void)state;
    is_right(&digest_plain);
#ifdef FILESHARE_DIGEST_WIDE
    if (__builtin_cpu_supports("avx2"))
        is_right(&digest_avx2);
    if (__builtin_cpu_supports("avx512f"))
        is_right(&digest_avx512);
#endif
}

/* Sizes around every switch of the algorithm (16, 128, 240, 256, 1024), in pieces of every kind. */
static void test_streamed_equals_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,   1,   3,   4,   8,   9,    16,   17,   128, 129,
                                   240, 241, 255, 256, 257, 1023, 1024, 1025, 3000};
    static const size_t pieces[] = {1, 7, 64, 256, 257, 3000};
    unsigned char bytes[BUFFER_SIZE];
    fill(bytes);
    struct digest *digest = digest_new();
    assert_non_null(digest);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct digest_value whole = digest_of(bytes, sizes[s]);
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++) {
            digest_reset(digest);
            for (size_t at = 0; at < sizes[s];) {
                size_t piece = sizes[s] - at < pieces[p] ? sizes[s] - at : pieces[p];
                digest_add(digest, bytes + at, piece);
                at += piece;
            }
            struct digest_value streamed = digest_value(digest);
            assert_memory_equal(streamed.octets, whole.octets, DIGEST_SIZE);
        }
    }
    assert_null(digest_free(digest));
}

static void test_adding_goes_on_after_a_value(void **state)
{
    (void)state;
    unsigned char bytes[BUFFER_SIZE];
    fill(bytes);
    struct digest *digest = digest_new();
    assert_non_null(digest);
    for (size_t at = 0; at < BUFFER_SIZE; at += 100) {
        struct digest_value now = digest_value(digest), whole = digest_of(bytes, at);
        assert_memory_equal(now.octets, whole.octets, DIGEST_SIZE);
        digest_add(digest, bytes + at, 100);
        digest_add(digest, NULL, 0);
    }
    digest_free(digest);
}

static void test_a_bit_changes_it(void **state)
{
    (void)state;
    unsigned char bytes[BUFFER_SIZE];
    fill(bytes);
    struct digest_value before = digest_of(bytes, BUFFER_SIZE);
    bytes[BUFFER_SIZE - 1] ^= 1;
    struct digest_value after = digest_of(bytes, BUFFER_SIZE);
    assert_memory_not_equal(before.octets, after.octets, DIGEST_SIZE);
    assert_null(digest_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_values),          cmocka_unit_test(test_all_kinds_give_the_same),
        cmocka_unit_test(test_streamed_equals_whole), cmocka_unit_test(test_adding_goes_on_after_a_value),
        cmocka_unit_test(test_a_bit_changes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
