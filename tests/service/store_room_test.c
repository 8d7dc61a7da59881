/*
 * Room for what comes: what was removed or replaced makes it, the oldest first,
 * and nothing goes in vain.
 */
#include "service/disk/small_disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* ---- what was removed or replaced makes room ---- */

static void removed_then_put_again(void **state)
{
    struct subject *s = *state;
    for (int i = 0; i < 4; i++) {
        assert_ok(upload(s, "f", 5 * MIB, true));
        assert_ok(remove_name(s, &alice, NULL, "f", NULL));
        assert_ok(upload(s, "f", 5 * MIB, false));
        assert_ok(remove_name(s, &alice, NULL, "f", NULL));
        assert_ok(put_once(s, "f", 5 * MIB, false, NULL));
        assert_ok(remove_name(s, &alice, NULL, "f", NULL));
    }
}

static void replaced_again_and_again(void **state)
{
    struct subject *s = *state;
    struct store_entry versions[12];
    for (int i = 0; i < 12; i++) {
        assert_ok(put_once(s, "f", 3 * MIB, true, &versions[i]));
        step(s, 1);
    }
    assert_true(is_kept(s, &versions[10])); /* 6 of the 7 MiB: it is in nobody's way */
    assert_false(is_kept(s, &versions[9]));
}

enum { PARTS = 60, PART = 60000 };

static void put_parts(struct subject *s, unsigned round, unsigned count)
{
    struct store_put puts[PARTS];
    struct store_put_answer answers[PARTS];
    static char names[PARTS][32];
    uint8_t *bytes = malloc(PART);
    fill(bytes, PART, 3);
    for (unsigned i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%u/%u", round, i);
        puts[i] = (struct store_put){.op = id_random(), .name = names[i], .content = bytes, .size = PART};
    }
    assert_ok(s->acts->put_many(s->store, &alice, puts, count, answers, &store_why));
    for (unsigned i = 0; i < count; i++) {
        store_why = answers[i].why;
        assert_ok(answers[i].outcome);
    }
    free(bytes);
}

static void remove_parts(struct subject *s, unsigned round, unsigned count)
{
    char name[32];
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%u/%u", round, i);
        assert_ok(remove_name(s, &alice, NULL, name, NULL));
    }
}

static void many_small_ones(void **state)
{
    struct subject *s = *state;
    for (unsigned round = 0; round < 6; round++) {
        put_parts(s, round, PARTS); /* 3.4 MiB */
        remove_parts(s, round, PARTS);
    }
}

/* Of some the others are left: they are moved together. */
static void shared_content_is_condensed(void **state)
{
    struct subject *s = *state;
    char name[32], *back = malloc(PART + 1);
    uint8_t *bytes = malloc(PART);
    fill(bytes, PART, 3);
    put_parts(s, 0, PARTS);
    put_parts(s, 1, PARTS);
    remove_parts(s, 0, PARTS * 3 / 4);
    remove_parts(s, 1, PARTS * 3 / 4);
    assert_ok(upload(s, "f", 5 * MIB, true));
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = PARTS * 3 / 4; i < PARTS; i++) {
            snprintf(name, sizeof name, "%u/%u", round, i);
            assert_ok(content(s, name, NULL, back, PART + 1));
            assert_memory_equal(back, bytes, PART);
        }
    free(back);
    free(bytes);
}

static void oldest_first_and_no_more_than_needed(void **state)
{
    struct subject *s = *state;
    struct store_entry a, b, c;
    removed(s, "a", 2 * MIB, &a);
    removed(s, "b", 2 * MIB, &b);
    removed(s, "c", 2 * MIB, &c);
    assert_ok(put_once(s, "f", MIB, false, NULL));
    assert_true(is_kept(s, &a));
    step(s,
         1); /* that was no reading, but it was looked at: so it is the youngest now, unless within seconds */
    assert_ok(put_once(s, "g", 2 * MIB, false, NULL));
    assert_int_equal(is_kept(s, &a) + is_kept(s, &b) + is_kept(s, &c), 2);
    assert_true(is_kept(s, &c));
}

/* An upload whose size nobody said finds its room as it goes on. */
static void as_the_bytes_come(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    disk.size = 24 * MIB;
    removed(s, "old", 12 * MIB, &old);
    assert_ok(upload(s, "f", 20 * MIB, false));
    assert_false(is_kept(s, &old));
    /* What an upload was promised it is not refused: to the last byte. */
    assert_ok(remove_name(s, &alice, NULL, "f", NULL));
    assert_ok(upload(s, "g", 23 * MIB, true));
    expect_refused(put_once(s, "h", PAGE, false, NULL), "4.0 KiB", "0 B");
}

/* ---- what does not go ---- */

static void nothing_kept(void **state)
{
    struct subject *s = *state;
    assert_ok(put_once(s, "f", 5 * MIB, false, NULL));
    expect_refused(upload(s, "g", 3 * MIB, true), "3.0 MiB", "2.0 MiB");
    expect_refused(put_once(s, "g", 3 * MIB, false, NULL), "3.0 MiB", "2.0 MiB");
}

/* Not even all of it would do: what could be had is said, and nothing goes in vain. */
static void not_in_vain(void **state)
{
    struct subject *s = *state;
    struct store_entry old, e;
    uint8_t *bytes = malloc(2 * MIB);
    fill(bytes, 2 * MIB, 2);
    removed(s, "old", 2 * MIB, &old);
    assert_ok(put_once(s, "f", 3 * MIB, false, NULL));
    expect_refused(upload(s, "g", 5 * MIB, true), "5.0 MiB", "4.0 MiB");
    expect_refused(put_once(s, "g", 5 * MIB, false, NULL), "5.0 MiB", "4.0 MiB");
    assert_true(is_kept(s, &old));
    /* nor for what needs no room: a repeat, or what is refused anyway */
    struct store_put p = {.op = id_random(), .name = "r", .content = bytes, .size = 2 * MIB};
    assert_ok(s->acts->put(s->store, &alice, &p, &e, &store_why));
    assert_ok(s->acts->put(s->store, &alice, &p, &e, &store_why));
    assert_outcome(put_once(s, "f", MIB, false, NULL), OUTCOME_EXISTS);
    assert_outcome(upload(s, "f", MIB, true), OUTCOME_EXISTS);
    assert_true(is_kept(s, &old));
    /* of many in one call, as many as there is room for with it */
    struct store_put puts[] = {
        {.op = id_random(), .name = "x", .content = bytes, .size = MIB},
        {.op = id_random(), .name = "y", .content = bytes, .size = 2 * MIB},
        {.op = id_random(), .name = "z", .content = bytes, .size = MIB},
    };
    struct store_put_answer answers[3];
    assert_ok(s->acts->put_many(s->store, &alice, puts, 3, answers, &store_why));
    assert_ok(answers[0].outcome);
    store_why = answers[1].why;
    expect_refused(answers[1].outcome, "3.0 MiB", "2.0 MiB");
    assert_ok(answers[2].outcome);
    assert_false(is_kept(s, &old));
    free(bytes);
}

static void a_download_goes_on(void **state)
{
    struct subject *s = *state;
    struct store_entry old, other;
    assert_ok(put_once(s, "old", 3 * MIB, false, &old));
    assert_ok(read_some(s, &old, 0, 1000)); /* begun before it was removed */
    assert_ok(remove_name(s, &alice, NULL, "old", NULL));
    step(s, 30);
    assert_ok(read_some(s, &old, 1000, MIB));
    removed(s, "other", 2 * MIB, &other);
    expect_refused(upload(s, "f", 5 * MIB, true), "5.0 MiB", "4.0 MiB");
    assert_true(is_kept(s, &other));
    assert_ok(put_once(s, "f", 3 * MIB, false, NULL));
    assert_false(is_kept(s, &other)); /* the younger one went */
    /* one of two who read it ends, in whatever order: the other one goes on */
    assert_ok(read_some(s, &old, 0, MIB));
    assert_ok(read_some(s, &old, 2 * MIB, MIB));
    assert_ok(read_some(s, &old, MIB, MIB));
    expect_refused(put_once(s, "g", 2 * MIB, false, NULL), "2.0 MiB", "1.0 MiB");
    assert_ok(read_some(s, &old, 1000 + MIB, 2 * MIB - 1000));
    assert_ok(put_once(s, "g", 2 * MIB, false, NULL));
    assert_false(is_kept(s, &old));
}

/* Who does not come back for a minute holds nobody up, and is told. */
static void a_download_that_pauses(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    removed(s, "old", 4 * MIB, &old);
    assert_ok(read_some(s, &old, 0, MIB));
    assert_outcome(put_once(s, "f", 4 * MIB, false, NULL), OUTCOME_NOSPACE);
    step(s, 59);
    assert_outcome(put_once(s, "f", 4 * MIB, false, NULL), OUTCOME_NOSPACE);
    assert_ok(read_some(s, &old, MIB, MIB));
    step(s, 61);
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
    assert_outcome(read_some(s, &old, 2 * MIB, MIB), OUTCOME_STALE);
}

/* Who has it open at this moment reads on; what is read in one go counts for no longer than that. */
static void open_just_now(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    struct store_read *read = NULL;
    char bytes[1000];
    removed(s, "old", 4 * MIB, &old);
    assert_ok(open_version(s, &old, &read));
    assert_outcome(put_once(s, "f", 4 * MIB, false, NULL), OUTCOME_NOSPACE);
    assert_ok(s->acts->read_at(read, MIB, bytes, sizeof bytes, &store_why));
    s->acts->read_close(read);
    assert_ok(read_some(s, &old, 3 * MIB, MIB));
    assert_ok(read_some(s, &old, 0, 4 * MIB));
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
}

/* What a rename left shares its content with what is there. */
static void content_of_a_live_file(void **state)
{
    struct subject *s = *state;
    assert_ok(put_once(s, "a", 4 * MIB, false, NULL));
    struct store_rename r = {.op = id_random(), .source = "a", .target = "b"};
    assert_ok(rename_as(s, &alice, &r, NULL));
    expect_refused(put_once(s, "f", 4 * MIB, false, NULL), "4.0 MiB", "3.0 MiB");
    assert_ok(remove_name(s, &alice, NULL, "b", NULL));
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
}

static void pinned(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    char path[128];
    removed(s, "old", 4 * MIB, &old);
    snprintf(path, sizeof path, "%s/pin", s->folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), 0);
    expect_refused(put_once(s, "f", 4 * MIB, false, NULL), "4.0 MiB", "3.0 MiB");
    expect_refused(upload(s, "f", 4 * MIB, true), "4.0 MiB", "3.0 MiB");
    assert_true(is_kept(s, &old));
    close(fd);
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
    /* once room for what stays is short, a backup must do without */
    disk.size = 10 * MIB;
    removed(s, "old", 4 * MIB + MIB / 2, &old);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), 0);
    assert_ok(put_once(s, "g", 4 * MIB, false, NULL));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOM_TEST(removed_then_put_again),
        ROOM_TEST(replaced_again_and_again),
        ROOM_TEST(many_small_ones),
        ROOM_TEST(shared_content_is_condensed),
        ROOM_TEST(oldest_first_and_no_more_than_needed),
        ROOM_TEST(as_the_bytes_come),
        ROOM_TEST(nothing_kept),
        ROOM_TEST(not_in_vain),
        ROOM_TEST(a_download_goes_on),
        ROOM_TEST(a_download_that_pauses),
        ROOM_TEST(open_just_now),
        ROOM_TEST(content_of_a_live_file),
        ROOM_TEST(pinned),
    };
    return cmocka_run_group_tests_name("store: room", tests, NULL, NULL);
}
