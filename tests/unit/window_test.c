/*
 * How many bytes may be under way: links made of numbers, of some bandwidth and
 * some length, whose window finds what fills them.
 */
#include "client/lib/window.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { CALL = 512 << 10, MILLISECOND = 1000 * 1000 };

#define SECOND (1000 * (int64_t)MILLISECOND)

/* ---- one answer ---- */

static void test_first(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, WINDOW_LEAST, WINDOW_MOST);
    assert_true(window_has_room(&window, 0));
    assert_true(window_has_room(&window, WINDOW_LEAST - 1));
    assert_false(window_has_room(&window, WINDOW_LEAST));
    window_init(&window, WINDOW_NEAR, 100);
    assert_true(window_has_room(&window, 99));
    assert_false(window_has_room(&window, 100));
}

static void test_widens_with_quick_answers(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, WINDOW_LEAST, WINDOW_MOST);
    window_heard(&window, CALL, MILLISECOND, 0);
    assert_int_equal(window.bytes, WINDOW_LEAST + CALL);
    window_heard(&window, CALL, 199 * (int64_t)MILLISECOND, 100 * (int64_t)MILLISECOND);
    assert_int_equal(window.bytes, WINDOW_LEAST + 2 * CALL);
    /* They waited: it is wide enough, but not too wide. */
    window_heard(&window, CALL, 300 * (int64_t)MILLISECOND, 100 * (int64_t)MILLISECOND);
    assert_int_equal(window.bytes, WINDOW_LEAST + 2 * CALL);
}

static void test_near_needs_little(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, WINDOW_LEAST, WINDOW_MOST);
    for (int i = 0; i < 1000; i++)
        window_heard(&window, CALL, MILLISECOND, 0);
    assert_int_equal(window.bytes, WINDOW_NEAR);
    for (int i = 0; i < 1000; i++)
        window_heard(&window, CALL, 2 * MILLISECOND, MILLISECOND);
    assert_in_range(window.bytes, WINDOW_NEAR + (1 << 20) - (100 << 10), WINDOW_NEAR + (1 << 20));
}

static void test_never_past_its_most(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, WINDOW_LEAST, 3 << 20);
    for (int i = 0; i < 1000; i++)
        window_heard(&window, CALL - 1, MILLISECOND, SECOND);
    assert_int_equal(window.bytes, 3 << 20);
    window_init(&window, WINDOW_LEAST, WINDOW_MOST);
    for (int i = 0; i < 1000; i++)
        window_heard(&window, CALL, MILLISECOND, INT64_C(1000000) * SECOND);
    assert_int_equal(window.bytes, WINDOW_MOST);
}

static void test_gives_back_after_long_waits(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, WINDOW_NEAR, WINDOW_MOST);
    for (int i = 0; i < 100; i++)
        window_heard(&window, CALL, 2 * SECOND, 0);
    assert_int_equal(window.bytes, WINDOW_LEAST);
    /* Bytes in vain narrow it further, down to one call at a time. */
    for (int i = 0; i < 100; i++)
        window_narrow(&window);
    assert_true(window.bytes > 0 && window.bytes < CALL);
    assert_false(window_has_room(&window, CALL));
    assert_true(window_has_room(&window, 0));
    window_heard(&window, CALL, 2 * SECOND, 0);
    assert_true(window.bytes < CALL);
}

/* ---- a link of numbers ---- */

struct link {
    double rate;       /* bytes a second */
    int64_t round_trip;
    int64_t free_at;   /* when what was sent before is through */
    int64_t now;
};

struct sent {
    int64_t begun, answered;
};

/* Bytes a second that come through, with calls begun as the window allows, and the oldest awaited. */
static double transfer(struct link *link, struct window *window, size_t calls)
{
    struct sent sent[64];
    size_t begun = 0, heard = 0;
    int64_t start = link->now;

    while (heard < calls) {
        while (begun < calls && begun - heard < 64 && window_has_room(window, (begun - heard) * CALL)) {
            if (link->free_at < link->now)
                link->free_at = link->now;
            link->free_at += (int64_t)(CALL / link->rate * (double)SECOND);
            sent[begun++ % 64] = (struct sent){link->now, link->free_at + link->round_trip};
        }
        const struct sent *oldest = &sent[heard++ % 64];
        if (oldest->answered > link->now)
            link->now = oldest->answered;
        window_heard(window, CALL, oldest->answered - oldest->begun, link->round_trip);
    }
    return (double)(calls * CALL) * (double)SECOND / (double)(link->now - start);
}

/* After a start of so many calls the link is full, and nothing waits in it for more than a few round trips. */
static void fills(double rate, int64_t round_trip, size_t start)
{
    struct link link = {.rate = rate, .round_trip = round_trip};
    struct window window;

    window_init(&window, WINDOW_LEAST, WINDOW_MOST);
    transfer(&link, &window, start);
    int64_t began = link.now;
    double reached = transfer(&link, &window, 1000);
    assert_true(link.now > began);
    if (reached < 0.9 * rate)
        fail_msg("%.0f of %.0f bytes a second over %lld ms", reached, rate,
                 (long long)(round_trip / MILLISECOND));
    double waits = (double)window.bytes / rate;
    double most = 5 * (double)round_trip / (double)SECOND + 1.1;
    if (window.bytes > WINDOW_LEAST && waits > most)
        fail_msg("%zu bytes under way at %.0f bytes a second", window.bytes, rate);
}

static void test_fills_links(void **state)
{
    const int64_t trips[] = {0, 50 * 1000, MILLISECOND, 20 * MILLISECOND, 100 * MILLISECOND};

    (void)state;
    for (size_t i = 0; i < sizeof trips / sizeof trips[0]; i++) {
        fills(125e6, trips[i], 200);
        fills(12e6, trips[i], 200);
        fills(1e6, trips[i], 200);
        fills(178e3, trips[i], 50);
    }
    fills(2.4e9, 50 * 1000, 200);
    fills(300e6, 60 * (int64_t)MILLISECOND, 200);
}

/* From one rate to another and back. */
static void test_follows(void **state)
{
    struct link link = {.rate = 1e6, .round_trip = 50 * MILLISECOND};
    struct window window;

    (void)state;
    window_init(&window, WINDOW_LEAST, WINDOW_MOST);
    transfer(&link, &window, 100);
    size_t slow = window.bytes;
    link.rate = 100e6;
    transfer(&link, &window, 200);
    assert_true(transfer(&link, &window, 500) > 90e6);
    assert_true(window.bytes > slow);
    link.rate = 1e6;
    transfer(&link, &window, 100);
    assert_true(window.bytes <= WINDOW_LEAST + CALL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first),
        cmocka_unit_test(test_widens_with_quick_answers),
        cmocka_unit_test(test_near_needs_little),
        cmocka_unit_test(test_never_past_its_most),
        cmocka_unit_test(test_gives_back_after_long_waits),
        cmocka_unit_test(test_fills_links),
        cmocka_unit_test(test_follows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
