/* Two workers wait for events at a time; the others stand by, and are called when nobody is left there. */
#include "rpc/seats.h"

#include "base/scoped.h"

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

enum { WORKERS = 6, TURNS = 20000 };

struct room {
    struct seats seats;
    _Atomic unsigned seated, most, went, turns;
};

static unsigned standing(struct room *room)
{
    scoped_lock(&room->seats.mutex);
    return room->seats.standing;
}

static void await_standing(struct room *room, unsigned count)
{
    while (standing(room) != count)
        sched_yield(); /* the test's own time limit ends it */
}

static void *sit_once(void *context)
{
    struct room *room = context;
    if (seats_take(&room->seats))
        atomic_fetch_add(&room->seated, 1);
    else
        atomic_fetch_add(&room->went, 1);
    return NULL;
}

/* Takes a seat again and again, and sees how many sit beside. */
static void *sit_often(void *context)
{
    struct room *room = context;
    while (atomic_load(&room->turns) < TURNS && seats_take(&room->seats)) {
        unsigned sit = atomic_fetch_add(&room->seated, 1) + 1;
        unsigned most = atomic_load(&room->most);
        while (sit > most && !atomic_compare_exchange_weak(&room->most, &most, sit))
            continue;
        if (atomic_fetch_add(&room->turns, 1) % 8 == 0)
            sched_yield();
        atomic_fetch_sub(&room->seated, 1);
        seats_leave(&room->seats);
    }
    seats_close(&room->seats);
    return NULL;
}

static void start(struct room *room, pthread_t *threads, unsigned count, void *(*run)(void *context))
{
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run, room), 0);
}

static void join(pthread_t *threads, unsigned count)
{
    while (count > 0)
        pthread_join(threads[--count], NULL);
}

/* Two sit at once, four stand; one is called when both seats are free, not when one is. */
static void test_the_last_who_leaves_calls(void **state)
{
    (void)state;
    pthread_t threads[WORKERS];
    struct room room = {.seated = 0};
    seats_init(&room.seats);
    assert_false(seats_have_idle(&room.seats));
    start(&room, threads, WORKERS, sit_once);
    await_standing(&room, WORKERS - SEATS);
    assert_true(seats_have_idle(&room.seats));
    assert_int_equal(room.seats.taken, SEATS);
    seats_leave(&room.seats);
    const struct timespec while_somebody_might_come = {.tv_nsec = 50 * 1000 * 1000};
    nanosleep(&while_somebody_might_come, NULL);
    assert_int_equal(standing(&room), WORKERS - SEATS);
    for (unsigned left = WORKERS - SEATS; left > 0; left--) {
        seats_leave(&room.seats);
        await_standing(&room, left - 1);
    }
    join(threads, WORKERS);
    assert_int_equal(room.seated, WORKERS);
    assert_int_equal(room.went, 0);
    assert_true(seats_have_idle(&room.seats)); /* the last sits still */
    seats_leave(&room.seats);
    assert_false(seats_have_idle(&room.seats));
    seats_fini(&room.seats);
}

static void test_those_who_stand_go_home(void **state)
{
    (void)state;
    pthread_t threads[WORKERS];
    struct room room = {.seated = 0};
    seats_init(&room.seats);
    start(&room, threads, WORKERS, sit_once);
    await_standing(&room, WORKERS - SEATS);
    seats_close(&room.seats);
    join(threads, WORKERS);
    assert_int_equal(room.went, WORKERS - SEATS);
    assert_false(seats_take(&room.seats));
    seats_leave(&room.seats);
    seats_leave(&room.seats);
    assert_false(seats_have_idle(&room.seats));
    seats_fini(&room.seats);
}

static void test_never_more_and_never_none(void **state)
{
    (void)state;
    pthread_t threads[WORKERS];
    struct room room = {.seated = 0};
    seats_init(&room.seats);
    start(&room, threads, WORKERS, sit_often);
    join(threads, WORKERS); /* would wait for ever if the last one called nobody */
    assert_int_equal(room.most, SEATS);
    assert_true(room.turns >= TURNS);
    seats_fini(&room.seats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_last_who_leaves_calls),
        cmocka_unit_test(test_those_who_stand_go_home),
        cmocka_unit_test(test_never_more_and_never_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
