/*
 * Which stretches of a file are there, held against a plain map of bytes.
 *
 *     FILESHARE_FAULT_SEED=N    the run of that seed again
 */
#include "server/store/local/extents.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

static void assert_extents(const struct extents *extents, const struct extent *expected, unsigned count)
{
    assert_int_equal(extents->count, count);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(extents->at[i].from, expected[i].from);
        assert_int_equal(extents->at[i].to, expected[i].to);
    }
}

static void test_apart(void **state)
{
    struct extents extents = {0};

    (void)state;
    assert_int_equal(extents_bytes(&extents), 0);
    assert_int_equal(extents_reach(&extents, 5), 5);
    assert_true(extents_add(&extents, 20, 30));
    assert_true(extents_add(&extents, 0, 10));
    assert_true(extents_add(&extents, 40, 50));
    assert_extents(&extents, (struct extent[]){{0, 10}, {20, 30}, {40, 50}}, 3);
    assert_int_equal(extents_bytes(&extents), 30);
    assert_int_equal(extents_reach(&extents, 0), 10);
    assert_int_equal(extents_reach(&extents, 9), 10);
    assert_int_equal(extents_reach(&extents, 10), 10);
    assert_int_equal(extents_reach(&extents, 45), 50);
}

static void test_touching(void **state)
{
    struct extents extents = {0};

    (void)state;
    assert_true(extents_add(&extents, 20, 30));
    assert_true(extents_add(&extents, 30, 31));
    assert_true(extents_add(&extents, 19, 20));
    assert_extents(&extents, (struct extent[]){{19, 31}}, 1);
    assert_true(extents_add(&extents, 19, 31)); /* again */
    assert_true(extents_add(&extents, 25, 26));
    assert_extents(&extents, (struct extent[]){{19, 31}}, 1);
    assert_true(extents_add(&extents, 40, 41));
    assert_true(extents_add(&extents, 50, 51));
    assert_true(extents_add(&extents, 60, 61));
    assert_true(extents_add(&extents, 31, 50)); /* closes one gap, covers one, touches the next */
    assert_extents(&extents, (struct extent[]){{19, 51}, {60, 61}}, 2);
    assert_true(extents_add(&extents, 0, 1000));
    assert_extents(&extents, (struct extent[]){{0, 1000}}, 1);
}

static void test_cut(void **state)
{
    struct extents extents = {0};

    (void)state;
    extents_cut(&extents, 7);
    assert_true(extents_add(&extents, 10, 20));
    assert_true(extents_add(&extents, 30, 40));
    extents_cut(&extents, 10);
    assert_extents(&extents, (struct extent[]){{10, 20}, {30, 40}}, 2);
    extents_cut(&extents, 15);
    assert_extents(&extents, (struct extent[]){{15, 20}, {30, 40}}, 2);
    extents_cut(&extents, 20);
    assert_extents(&extents, (struct extent[]){{30, 40}}, 1);
    extents_cut(&extents, UINT64_MAX);
    assert_int_equal(extents.count, 0);
}

static void test_full(void **state)
{
    struct extents extents = {0}, before;

    (void)state;
    for (uint64_t i = 0; i < EXTENTS_MAX; i++) {
        assert_true(extents_fit(&extents, i * 10, i * 10 + 5));
        assert_true(extents_add(&extents, i * 10, i * 10 + 5));
    }
    before = extents;
    assert_false(extents_fit(&extents, 7, 8));
    assert_false(extents_add(&extents, 7, 8));
    assert_false(extents_add(&extents, 10000, 10001));
    assert_memory_equal(&extents, &before, sizeof before);
    assert_true(extents_fit(&extents, 5, 6)); /* it touches one */
    assert_true(extents_add(&extents, 5, 10));
    assert_int_equal(extents.count, EXTENTS_MAX - 1);
    assert_true(extents_add(&extents, 10000, 10001));
    assert_false(extents_fit(&extents, 20000, 20001));
}

/* ---- at random ---- */

enum { SPAN = 700, ACTS = 20000 };

static uint64_t dice;

static uint64_t below(uint64_t bound)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (dice >> 33) % bound;
}

static void compare(const struct extents *extents, const bool map[SPAN])
{
    unsigned runs = 0;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < SPAN; i++) {
        bytes += map[i];
        runs += map[i] && (i == 0 || !map[i - 1]);
    }
    assert_int_equal(extents->count, runs);
    assert_int_equal(extents_bytes(extents), bytes);
    for (unsigned i = 0; i < extents->count; i++) {
        for (uint64_t at = extents->at[i].from; at < extents->at[i].to; at++)
            assert_true(map[at]);
        assert_true(i == 0 || extents->at[i - 1].to < extents->at[i].from);
    }
    uint64_t at = below(SPAN), end = at;
    while (end < SPAN && map[end])
        end++;
    assert_int_equal(extents_reach(extents, at), end);
}

static void test_random(void **state)
{
    struct extents extents = {0};
    bool map[SPAN] = {false};
    const char *given = getenv("FILESHARE_FAULT_SEED");

    (void)state;
    dice = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
    print_message("FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)dice);
    unsigned full = 0;
    for (unsigned i = 0; i < ACTS; i++) {
        uint64_t from = below(SPAN - 1), count = below(40) == 0 ? 1 + below(60) : 1 + below(2);
        uint64_t to = from + count < SPAN ? from + count : SPAN;
        if (below(200) == 0) {
            uint64_t cut = below(SPAN);
            extents_cut(&extents, cut);
            memset(map, 0, cut);
        } else {
            bool fits = extents_fit(&extents, from, to);
            assert_int_equal(extents_add(&extents, from, to), fits);
            full += !fits;
            if (fits)
                memset(map + from, 1, to - from);
        }
        compare(&extents, map);
    }
    assert_true(full > 0); /* it was full now and then */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_apart), cmocka_unit_test(test_touching), cmocka_unit_test(test_cut),
        cmocka_unit_test(test_full),  cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests_name("extents", tests, NULL, NULL);
}
