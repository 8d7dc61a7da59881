/*
 * Room on disks that do not do as they are told, and for many at once.
 */
#include "service/disk/small_disk.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- disks that do not do as they are told ---- */

/* Content that cannot be removed: no room, said at once, whoever asks and how often; it comes with the disk. */
static void content_that_stays(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    removed(s, "old", 4 * MIB, &old);
    disk.holds = true;
    for (int i = 0; i < 5; i++)
        expect_refused(put_once(s, "f", 4 * MIB, false, NULL), "4.0 MiB", "3.0 MiB");
    assert_in_range(disk.tries, 1, 5);
    disk.holds = false;
    sweep(s, NULL, NULL);
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
}

/* Freed space that is seen only later is waited for; if it never comes, who asks again is told so. */
static void space_that_comes_late(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    removed(s, "old", 4 * MIB, &old);
    disk.late = 5;
    assert_ok(put_once(s, "f", 4 * MIB, true, NULL));
    removed(s, "old", 2 * MIB, &old);
    disk.late = UINT32_MAX;
    assert_outcome(put_once(s, "g", 3 * MIB, false, NULL), OUTCOME_UNAVAILABLE);
    expect_refused(put_once(s, "g", 3 * MIB, false, NULL), "3.0 MiB", "1.0 MiB");
    disk.late = 0;
    assert_ok(put_once(s, "g", 3 * MIB, false, NULL));
}

/* Takes room as soon as there is some, and removes something when the disk is looked at next. */
static struct guest {
    struct subject *s;
    bool has_room;
} guest;

static void guest_acts(void)
{
    if (guest.has_room) {
        disk.looked = NULL;
        assert_ok(remove_name(guest.s, &alice, NULL, "removed", NULL));
    } else if (left_on_disk() >= RESERVE + MIB) {
        disk.looked = NULL; /* his own looks are as usual */
        assert_ok(put_once(guest.s, "taken", MIB, false, NULL));
        disk.looked = guest_acts;
        guest.has_room = true;
    }
}

/* Whose room another one took has room made again, of what is kept since then. */
static void somebody_is_faster(void **state)
{
    struct subject *s = *state;
    struct store_entry old, later;
    assert_ok(put_once(s, "removed", MIB, false, &later));
    assert_ok(put_once(s, "much", 4 * MIB, false, NULL));
    removed(s, "old", 2 * MIB, &old);
    guest = (struct guest){.s = s};
    disk.looked = guest_acts;
    assert_ok(put_once(s, "f", 2 * MIB, false, NULL));
    assert_null(disk.looked);
    assert_false(is_kept(s, &old));
    assert_false(is_kept(s, &later));
    expect_refused(put_once(s, "g", MIB, false, NULL), "1.0 MiB", "0 B");
}

/* A reserve that others took from is the database's again, without anybody who stores something. */
static void the_reserve(void **state)
{
    struct subject *s = *state;
    struct store_entry a, b, reading;
    removed(s, "reading", 2 * MIB, &reading);
    removed(s, "a", 2 * MIB, &a);
    removed(s, "b", 2 * MIB, &b);
    assert_ok(read_some(s, &reading, 0, 1000));
    sweep(s, NULL, NULL);
    assert_int_equal(left_on_disk(), 2 * MIB);
    disk.size = 6 * MIB + 1000;
    sweep(s, NULL, NULL);
    assert_int_equal(left_on_disk(), 2 * MIB + 1000);
    assert_false(is_kept(s, &a));
    assert_true(is_kept(s, &b));
    disk.size = 2 * MIB;
    sweep(s, NULL, NULL);
    assert_false(is_kept(s, &b));
    assert_true(is_kept(s, &reading));
}

/* ---- many at once ---- */

enum { WRITERS = 4, TURNS = 15 };

struct writing {
    struct subject *s;
    unsigned number;
    struct failure refused; /* the last time */
};

static void *replace_in_turn(void *argument)
{
    struct writing *writing = argument;
    struct subject *s = writing->s;
    struct failure why;
    struct store_entry entry;
    uint8_t *bytes = calloc(1, MIB);
    char name[16];
    snprintf(name, sizeof name, "%u", writing->number);
    for (unsigned i = 0; i < TURNS; i++) {
        struct store_put p = {.op = id_random(), .name = name, .content = bytes, .size = MIB};
        p.condition.replace = true;
        if (s->acts->put(s->store, &alice, &p, &entry, &why) != OUTCOME_OK)
            writing->refused = why;
    }
    free(bytes);
    return NULL;
}

static void *sweep_in_turn(void *argument)
{
    struct subject *s = argument;
    struct failure why;
    struct store_sweep out;
    bool left;
    int64_t next;
    for (unsigned i = 0; i < TURNS; i++)
        if (s->acts->sweep(s->store, &out, &left, &next, &why) != OUTCOME_OK)
            return s;
    return NULL;
}

static void many_at_once(void **state)
{
    struct subject *s = *state;
    pthread_t threads[WRITERS + 1];
    struct writing writings[WRITERS];
    void *wrong;
    disk.size = (2 * WRITERS + 1) * MIB + RESERVE; /* what is there, what comes, and one more */
    for (unsigned i = 0; i < WRITERS; i++) {
        writings[i] = (struct writing){.s = s, .number = i};
        pthread_create(&threads[i], NULL, replace_in_turn, &writings[i]);
    }
    pthread_create(&threads[WRITERS], NULL, sweep_in_turn, s);
    for (unsigned i = 0; i <= WRITERS; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        store_why = writings[i].refused;
        assert_ok(store_why.outcome);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOM_TEST(content_that_stays), ROOM_TEST(space_that_comes_late), ROOM_TEST(somebody_is_faster),
        ROOM_TEST(the_reserve),        ROOM_TEST(many_at_once),
    };
    return cmocka_run_group_tests_name("store: room, late", tests, NULL, NULL);
}
