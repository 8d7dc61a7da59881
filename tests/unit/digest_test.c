/* The values are those that xxh128sum prints for the same bytes. */
#include "base/digest.h"

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

/* Sizes around every switch of the algorithm (16, 128, 240, 256, 1024), in pieces of every kind. */
static void test_streamed_equals_whole(void **state)
{
    (void)state;
    static const size_t sizes[] = { 0, 1, 3, 4, 8, 9, 16, 17, 128, 129, 240, 241, 255, 256, 257, 1023, 1024, 1025, 3000 };
    static const size_t pieces[] = { 1, 7, 64, 256, 257, 3000 };
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
        cmocka_unit_test(test_known_values),
        cmocka_unit_test(test_streamed_equals_whole),
        cmocka_unit_test(test_adding_goes_on_after_a_value),
        cmocka_unit_test(test_a_bit_changes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
