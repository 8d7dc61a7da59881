/*
 * The numbers of events: whoever remembers the highest that it had hears all that
 * comes after, whatever happened to its mailbox, the store and the clocks meanwhile;
 * and how many events a mailbox holds is known from them, exactly.
 */
#include "fixture.h"
#include "server/store/local/database.h"
#include "service/store_conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MOST = 16, SECOND = 125000 /* in numbers */ };

static struct id box_with(struct subject *s, const char *pattern)
{
    const struct id box = id_random();
    alice_waits(s, &box, pattern, 10 * 86400, true);
    return box;
}

static void arrive(struct subject *s, const char *name)
{
    assert_ok(replace(s, &bob, name, "x", NULL));
    fan_out(s);
}

static size_t look(struct subject *s, const struct id *box, uint64_t since, struct store_event found[MOST])
{
    bool more;
    size_t count = events(s, box, since, found, MOST, &more);
    for (size_t i = 0; i < count; i++)
        assert_true(found[i].number > (i > 0 ? found[i - 1].number : since));
    return count;
}

/* One more arrival, into a mailbox that is empty: all before is acknowledged. Returns its number. */
static uint64_t next(struct subject *s, const struct id *box, uint64_t since)
{
    struct store_event found[MOST];
    assert_int_equal(look(s, box, since, found), 0);
    arrive(s, "f");
    assert_int_equal(look(s, box, since, found), 1);
    return found[0].number;
}

static void one_after_the_other_while_some_wait(void **state)
{
    struct subject *s = *state;
    struct store_event found[MOST];
    const struct id box = box_with(s, "f");
    for (int i = 0; i < 5; i++) {
        step(s, 1);
        arrive(s, "f");
    }
    assert_int_equal(look(s, &box, 0, found), 5);
    const uint64_t first = found[0].number;
    assert_int_equal(found[4].number, first + 4);
    assert_int_equal(look(s, &box, first + 1, found), 3);
    step(s, 1);
    arrive(s, "f");
    assert_int_equal(look(s, &box, first + 4, found), 1);
    assert_int_equal(found[0].number, first + 5);
    next(s, &box, first + 5);
}

/* Numbers go by the clock and not by what others are told; and never stand, though the clock does. */
static void others_are_not_counted(void **state)
{
    struct subject *s = *state;
    const struct id box = box_with(s, "f");
    box_with(s, "g");
    uint64_t before = next(s, &box, 0);
    for (int i = 0; i < 20; i++)
        arrive(s, "g");
    step(s, 1);
    uint64_t after = next(s, &box, before);
    assert_int_equal(after - before, SECOND);
    assert_true(next(s, &box, after) > after);
}

/* The store is closed while the mailbox is empty, and the wall clock is set back meanwhile. */
static void above_all_that_were(void **state)
{
    struct subject *s = *state;
    const struct id box = box_with(s, "f");
    uint64_t seen = 0;
    for (int days = -3; days <= 3; days++) {
        struct store_event found[MOST];
        seen = next(s, &box, seen);
        assert_int_equal(look(s, &box, seen, found), 0);
        clock_test_step_wall(&s->clock, days * 86400 * (int64_t)CLOCK_SECOND);
        subject_restart(s);
    }
    next(s, &box, seen);
}

/* The highest number was that of a mailbox that is gone. */
static void above_those_of_who_is_gone(void **state)
{
    struct subject *s = *state;
    struct id box = box_with(s, "f");
    uint64_t seen = next(s, &box, 0);
    assert_ok(s->acts->mailbox_forget(s->store, &box, &store_why));
    clock_test_step_wall(&s->clock, -400 * 86400 * (int64_t)CLOCK_SECOND);
    subject_restart(s);
    alice_waits(s, &box, "f", 60, true);
    next(s, &box, seen);
}

/* A copy of hours ago is put back, and the wall clock was set back meanwhile, by nearly as much. */
static void above_those_of_a_store_that_is_gone(void **state)
{
    struct subject *s = *state;
    struct store_backup done;
    const struct id box = box_with(s, "f");
    char copy[64];
    snprintf(copy, sizeof copy, "%.60s.b", s->folder);
    subject_restart(s);
    uint64_t seen = next(s, &box, 0);
    assert_ok(store_local_backup(s->folder, copy, true, &done, &store_why));
    step(s, 10 * 3600);
    seen = next(s, &box, seen);
    clock_test_step_wall(&s->clock, -8 * 3600 * (int64_t)CLOCK_SECOND);
    s->acts->close(s->store);
    subject_remove_folder(s->folder);
    assert_int_equal(rename(copy, s->folder), 0);
    subject_open(s);
    next(s, &box, seen);
}

/* Some wait while the store is opened anew: the gap in their numbers is no events. */
static void a_gap_is_not_counted(void **state)
{
    enum { LIMIT = 6 };
    struct subject *s = *state;
    struct store_event found[MOST];
    s->limits.events_per_mailbox = LIMIT;
    subject_restart(s);
    const struct id box = box_with(s, "f");
    for (int i = 0; i < LIMIT; i++) {
        if (i == 2 || i == 3) {
            step(s, 1);
            subject_restart(s);
        }
        arrive(s, "f");
        assert_int_equal(look(s, &box, 0, found), i + 1);
    }
    assert_true(found[LIMIT - 1].number - found[0].number >= LIMIT);
    assert_int_equal(found[0].kind, STORE_ARRIVED);
    arrive(s, "f");
    assert_int_equal(look(s, &box, 0, found), LIMIT);
    assert_int_equal(found[0].kind, STORE_DROPPED);
    assert_int_equal(found[0].dropped, 2);
    /* and the full one, emptied by half, has room for as many */
    assert_int_equal(look(s, &box, found[2].number, found), LIMIT - 3);
    for (int i = 0; i < 3; i++)
        arrive(s, "f");
    assert_int_equal(look(s, &box, 0, found), LIMIT);
    assert_int_equal(found[0].kind, STORE_ARRIVED);
}

/* What was shown is not lost, though it was dropped before it was acknowledged: by EVENTS, which come next. */
static void what_was_shown_is_not_counted(void **state)
{
    enum { LIMIT = 4, MORE = 6 };
    struct subject *s = *state;
    struct store_event found[MOST];
    s->limits.events_per_mailbox = LIMIT;
    subject_restart(s);
    const struct id box = box_with(s, "f");
    for (int i = 0; i < LIMIT; i++)
        arrive(s, "f");
    assert_int_equal(look(s, &box, 0, found), LIMIT);
    const uint64_t seen = found[LIMIT - 1].number;
    for (int i = 0; i < MORE; i++)
        arrive(s, "f");
    for (int again = 0; again < 2; again++) {
        assert_int_equal(look(s, &box, seen, found), LIMIT);
        assert_int_equal(found[0].kind, STORE_DROPPED);
        assert_int_equal(found[0].dropped, MORE - (LIMIT - 1));
    }
}

/* As the release before had them: each mailbox's in its own row. */
static void above_those_of_an_older_form(void **state)
{
    enum { FAR = 9000000 };
    struct subject *s = *state;
    char path[256], *statements = fixture_store(4);
    assert_non_null(statements);
    s->acts->close(s->store);
    subject_remove_folder(s->folder);
    assert_int_equal(mkdir(s->folder, 0700), 0);
    snprintf(path, sizeof path, "%s/fileshare.db", s->folder);
    struct database *db = NULL;
    assert_ok(database_open(path, true, &db, &store_why));
    assert_ok(database_execute(db, statements, &store_why));
    free(statements);
    const uint64_t floor = (uint64_t)clock_wall(&s->clock) / 1000000 * 1024;
    char text[96];
    snprintf(text, sizeof text, "UPDATE mailbox SET number = %llu", (unsigned long long)floor + FAR);
    assert_ok(database_execute(db, text, &store_why));
    database_close(db);
    subject_open(s);
    struct store_event found[MOST];
    const struct id box = {.octets = {1}};
    arrive(s, "reports/a.csv");
    assert_int_equal(look(s, &box, 0, found), 1);
    assert_true(found[0].number > floor + FAR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SUBJECT_TEST(one_after_the_other_while_some_wait),
        SUBJECT_TEST(others_are_not_counted),
        SUBJECT_TEST(above_all_that_were),
        SUBJECT_TEST(above_those_of_who_is_gone),
        SUBJECT_TEST(above_those_of_a_store_that_is_gone),
        SUBJECT_TEST(a_gap_is_not_counted),
        SUBJECT_TEST(what_was_shown_is_not_counted),
        SUBJECT_TEST(above_those_of_an_older_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
