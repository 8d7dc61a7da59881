#include "service/store_conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct store_interest_add add_of(const struct id *mailbox, const char *pattern, bool glob, bool every)
{
    return (struct store_interest_add){
        .mailbox = *mailbox,
        .interest = id_random(),
        .glob = glob,
        .pattern = pattern,
        .seconds = 60,
        .every = every,
    };
}

static void wait_for(struct subject *s, const struct id *mailbox, const char *pattern, bool glob, bool every)
{
    struct store_interest_add add = add_of(mailbox, pattern, glob, every);
    struct store_registration made;
    assert_ok(interest(s, &alice, &add, NULL, 0, &made));
    assert_true(made.registered);
    assert_int_equal(made.seconds_left, 60);
    assert_int_equal(made.present, 0);
}

static size_t all_events(struct subject *s, const struct id *mailbox, struct store_event *found,
                         size_t capacity)
{
    bool more = true;
    size_t count = events(s, mailbox, 0, found, capacity, &more);
    assert_false(more);
    return count;
}

static void once_is_told_once(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_event found[4];
    struct store_entry entry;
    struct store_interest rows[2];
    wait_for(s, &box, "f", false, false);
    assert_ok(put(s, &bob, "other", "x", NULL));
    fan_out(s);
    assert_int_equal(all_events(s, &box, found, 4), 0);
    assert_ok(put(s, &bob, "f", "one", &entry));
    fan_out(s);
    assert_ok(replace(s, &bob, "f", "two", NULL));
    fan_out(s);
    fan_out(s);
    assert_int_equal(all_events(s, &box, found, 4), 1);
    assert_int_equal(found[0].kind, STORE_ARRIVED);
    assert_int_equal(found[0].happened, entry.arrival);
    assert_string_equal(found[0].pattern, "f");
    assert_string_equal(found[0].entry.name, "f");
    assert_string_equal(found[0].entry.owner, bob.principal);
    assert_int_equal(found[0].entry.size, 3);
    assert_memory_equal(&found[0].entry.version, &entry.version, sizeof entry.version);
    assert_memory_equal(&found[0].entry.digest, &entry.digest, sizeof entry.digest);
    assert_int_equal(interests(s, &box, rows, 2), 1);
    assert_int_equal(rows[0].state, STORE_MET);
    assert_int_equal(rows[0].arrivals, 1);
    assert_memory_equal(&rows[0].interest, &found[0].interest, sizeof found[0].interest);
}

static void every_is_told_each_time(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_event found[8];
    wait_for(s, &box, "f", false, true);
    assert_ok(put(s, &bob, "f", "1", NULL));
    assert_ok(replace(s, &bob, "f", "2", NULL));
    fan_out(s);
    assert_ok(put(s, &bob, "g", "3", NULL));
    assert_ok(rename_as(s, &bob,
                        &(struct store_rename){.op = id_random(),
                                               .source = "g",
                                               .target = "f",
                                               .condition = {.replace = true}},
                        NULL));
    fan_out(s);
    assert_int_equal(all_events(s, &box, found, 8), 3);
    for (int i = 1; i < 3; i++)
        assert_true(found[i].number > found[i - 1].number);
    /* read up to a number, they are gone for good */
    bool more;
    assert_int_equal(events(s, &box, found[1].number, found, 8, &more), 1);
    assert_int_equal(all_events(s, &box, found, 8), 1);
    assert_int_equal(events(s, &box, found[0].number, found, 8, &more), 0);
    struct id stranger = id_random();
    size_t count;
    assert_outcome(
        CERTAIN(s->acts->mailbox_events(s->store, &stranger, 0, found, 8, &count, &more, &store_why)),
        OUTCOME_ABSENT);
}

static void what_is_present(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_entry there[4];
    struct store_registration made;
    struct store_event found[4];
    bool more;
    size_t count;
    assert_ok(put(s, &bob, "f", "one", NULL));
    struct store_interest_add add = add_of(&box, "f", false, false);
    add.present = true;
    assert_ok(interest(s, &alice, &add, there, 4, &made));
    assert_false(made.registered);
    assert_int_equal(made.present, 1);
    assert_string_equal(there[0].name, "f");
    /* nothing was registered: there is no mailbox even; the answer stays though the file goes */
    assert_outcome(CERTAIN(s->acts->mailbox_events(s->store, &box, 0, found, 4, &count, &more, &store_why)),
                   OUTCOME_ABSENT);
    assert_ok(remove_name(s, &bob, NULL, "f", NULL));
    memset(there, 0, sizeof there);
    assert_ok(interest(s, &alice, &add, there, 4, &made));
    assert_false(made.registered);
    assert_string_equal(there[0].name, "f");
    /* told what is there, and each that comes */
    assert_ok(put(s, &bob, "f", "two", NULL));
    struct store_interest_add every = add_of(&box, "f", false, true);
    every.present = true;
    assert_ok(interest(s, &alice, &every, there, 4, &made));
    assert_true(made.registered);
    assert_int_equal(made.present, 1);
    fan_out(s);
    assert_int_equal(all_events(s, &box, found, 4), 0);
    assert_ok(replace(s, &bob, "f", "three", NULL));
    fan_out(s);
    assert_int_equal(all_events(s, &box, found, 4), 1);
    /* not asked: only what comes later counts */
    struct id second = id_random();
    wait_for(s, &second, "f", false, false);
    fan_out(s);
    assert_int_equal(all_events(s, &second, found, 4), 0);
}

static void what_is_present_for_a_glob(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_entry there[4];
    struct store_registration made;
    struct store_event found[8];
    char name[32];
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "in/%d.txt", i);
        assert_ok(put(s, &bob, name, "x", NULL));
    }
    assert_ok(put(s, &bob, "in/none", "x", NULL));
    struct store_interest_add add = add_of(&box, "in/*.txt", true, true);
    add.present = true;
    assert_ok(interest(s, &alice, &add, there, 4, &made));
    assert_true(made.registered);
    assert_int_equal(made.present, 4);
    assert_true(made.more);
    for (int i = 0; i < 4; i++)
        assert_int_equal(there[i].name[3], '0' + i);
    assert_ok(put(s, &bob, "in/9.txt", "x", NULL));
    fan_out(s);
    assert_int_equal(all_events(s, &box, found, 8), 1);
    add = add_of(&box, "in/[0-3].txt", true, false);
    add.present = true;
    assert_ok(interest(s, &alice, &add, there, 4, &made));
    assert_false(made.registered);
    assert_int_equal(made.present, 4);
    assert_false(made.more);
    add = add_of(&box, "out/*", true, false);
    add.present = true;
    assert_ok(interest(s, &alice, &add, there, 4, &made));
    assert_true(made.registered);
    assert_int_equal(made.present, 0);
    add = add_of(&box, "bad[", true, false);
    assert_outcome(interest(s, &alice, &add, there, 4, &made), OUTCOME_INVALID);
}

static void globs_by_prefix_and_without(void **state)
{
    struct subject *s = *state;
    static const struct {
        const char *pattern;
        const char *wanted; /* one letter each of the names below */
    } cases[] = {
        {"*", "a"},     {"**", "abcdef"},   {"*.txt", ""},           {"**.txt", "cf"},
        {"in/*", "bc"}, {"in/**", "bcd"},   {"in/*.txt", "c"},       {"in/d/*", "d"},
        {"i*/?", "b"},  {"\xc3\xa9*", "e"}, {"\xc3\xa9/*.txt", "f"}, {"[!i]*", "a"},
    };
    static const char *const names[] = {"a", "in/b", "in/c.txt", "in/d/x", "\xc3\xa9/e", "\xc3\xa9/f.txt"};
    enum { CASES = sizeof cases / sizeof *cases };
    struct id boxes[CASES];
    for (size_t i = 0; i < CASES; i++) {
        boxes[i] = id_random();
        wait_for(s, &boxes[i], cases[i].pattern, true, true);
    }
    subject_restart(s);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_ok(put(s, &bob, names[i], "x", NULL));
    fan_out(s);
    for (size_t i = 0; i < CASES; i++) {
        struct store_event found[8];
        char told[8] = "";
        size_t count = all_events(s, &boxes[i], found, 8);
        for (size_t k = 0; k < count; k++)
            for (size_t n = 0; n < sizeof names / sizeof *names; n++)
                if (strcmp(found[k].entry.name, names[n]) == 0)
                    told[k] = (char)('a' + n);
        /* "é*" stops at the slash: it matches neither "é/e" nor "é/f.txt" */
        assert_string_equal(told, strcmp(cases[i].pattern, "\xc3\xa9*") == 0 ? "" : cases[i].wanted);
    }
}

static void add_repeated(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_interest_add add = add_of(&box, "f", false, true);
    struct store_registration made;
    struct store_event found[4];
    struct store_interest rows[4];
    for (int i = 0; i < 3; i++)
        assert_ok(interest(s, &alice, &add, NULL, 0, &made));
    assert_int_equal(interests(s, &box, rows, 4), 1);
    assert_ok(put(s, &bob, "f", "x", NULL));
    fan_out(s);
    assert_int_equal(all_events(s, &box, found, 4), 1);
    assert_outcome(interest(s, &bob, &add, NULL, 0, &made), OUTCOME_INVALID);
    add.pattern = "g";
    assert_outcome(interest(s, &alice, &add, NULL, 0, &made), OUTCOME_INVALID);
}

/* An arrival that was committed first counts first, though fan_out has not run. */
static void cancel_after_the_arrival(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_interest_drop d = {.op = id_random(), .mailbox = box, .pattern = "f"};
    struct store_cancelled rows[4];
    struct store_event found[4];
    size_t count;
    bool more;
    wait_for(s, &box, "f", false, false);
    assert_ok(put(s, &bob, "f", "one", NULL));
    assert_ok(drop(s, &alice, &d, rows, 4, &count, &more));
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].state, STORE_MET);
    assert_true(rows[0].has_event);
    assert_string_equal(rows[0].event.entry.name, "f");
    fan_out(s);
    assert_int_equal(all_events(s, &box, found, 4), 1);
    assert_int_equal(found[0].number, rows[0].event.number);
    /* a repeat says the same */
    memset(rows, 0, sizeof rows);
    assert_ok(drop(s, &alice, &d, rows, 4, &count, &more));
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].state, STORE_MET);
    assert_string_equal(rows[0].event.entry.name, "f");
    /* registered after the arrival, before it is told: not for this one */
    assert_ok(put(s, &bob, "g", "one", NULL));
    struct id late = id_random(), early = id_random();
    wait_for(s, &early, "g", false, true);
    assert_ok(replace(s, &bob, "g", "two", NULL));
    wait_for(s, &late, "g", false, true);
    fan_out(s);
    assert_int_equal(all_events(s, &early, found, 4), 1);
    assert_int_equal(all_events(s, &late, found, 4), 0);
}

static void cancelling(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_cancelled rows[4];
    struct store_event found[4];
    size_t count;
    bool more;
    struct store_interest_add add = add_of(&box, "f", false, false);
    struct store_registration made;
    assert_ok(interest(s, &alice, &add, NULL, 0, &made));
    struct store_interest_drop d = {.op = id_random(), .mailbox = box, .interest = add.interest};
    assert_ok(drop(s, &alice, &d, rows, 4, &count, &more));
    assert_int_equal(count, 1);
    assert_int_equal(rows[0].state, STORE_CANCELLED);
    assert_memory_equal(&rows[0].interest, &add.interest, sizeof add.interest);
    assert_ok(put(s, &bob, "f", "one", NULL));
    fan_out(s);
    assert_int_equal(all_events(s, &box, found, 4), 0);
    assert_ok(drop(s, &alice, &d, rows, 4, &count, &more));
    assert_int_equal(rows[0].state, STORE_CANCELLED);
    d.op = id_random();
    assert_ok(drop(s, &alice, &d, rows, 4, &count, &more));
    assert_int_equal(rows[0].state, STORE_NEVER);
    /* all with one pattern, a page at a time */
    for (int i = 0; i < 5; i++)
        wait_for(s, &box, "many", false, false);
    wait_for(s, &box, "many*", true, false);
    size_t total = 0;
    more = true;
    for (int pages = 0; more; pages++) {
        d = (struct store_interest_drop){.op = id_random(), .mailbox = box, .pattern = "many"};
        assert_ok(drop(s, &alice, &d, rows, 2, &count, &more));
        total += count;
        assert_true(pages < 3);
    }
    assert_int_equal(total, 5);
    struct store_interest left[4];
    assert_int_equal(interests(s, &box, left, 4), 1);
    assert_string_equal(left[0].pattern, "many*");
    d = (struct store_interest_drop){.op = id_random(), .mailbox = id_random(), .interest = add.interest};
    assert_ok(drop(s, &alice, &d, rows, 2, &count, &more));
    assert_int_equal(rows[0].state, STORE_NEVER);
}

static void interest_limits(void **state)
{
    struct subject *s = *state;
    s->limits.interests = 5;
    s->limits.interests_per_mailbox = 3;
    s->limits.open_globs = 2;
    s->limits.open_globs_per_mailbox = 1;
    s->limits.mailboxes = 3;
    s->limits.mailboxes_per_principal = 2;
    subject_restart(s);
    struct id box = id_random(), second = id_random(), third = id_random(), fourth = id_random();
    struct store_registration made;
    struct store_interest_add add = add_of(&box, "*", true, false);
    assert_ok(interest(s, &alice, &add, NULL, 0, &made));
    add = add_of(&box, "?", true, false);
    assert_outcome(interest(s, &alice, &add, NULL, 0, &made), OUTCOME_LIMIT);
    wait_for(s, &box, "a*", true, false);
    wait_for(s, &box, "a", false, false);
    add = add_of(&box, "b", false, false);
    assert_outcome(interest(s, &alice, &add, NULL, 0, &made), OUTCOME_LIMIT);
    wait_for(s, &second, "*", true, false);
    add = add_of(&third, "b", false, false);
    assert_outcome(interest(s, &alice, &add, NULL, 0, &made), OUTCOME_LIMIT);
    add.mailbox = third;
    add.interest = id_random();
    assert_ok(interest(s, &bob, &add, NULL, 0, &made));
    add = add_of(&third, "c", false, false);
    assert_outcome(interest(s, &bob, &add, NULL, 0, &made), OUTCOME_LIMIT);
    /* one that is over makes room */
    struct store_interest_drop d = {.op = id_random(), .mailbox = box, .pattern = "*"};
    struct store_cancelled rows[4];
    size_t count;
    bool more;
    assert_ok(drop(s, &alice, &d, rows, 4, &count, &more));
    add = add_of(&third, "**", true, false);
    assert_ok(interest(s, &bob, &add, NULL, 0, &made));
    add = add_of(&fourth, "d", false, false);
    assert_outcome(interest(s, &root, &add, NULL, 0, &made), OUTCOME_LIMIT);
}

static void interests_in_pages(void **state)
{
    struct subject *s = *state;
    struct id box = id_random(), cursor = {0};
    for (int i = 0; i < 7; i++)
        wait_for(s, &box, i % 2 ? "f" : "f*", i % 2 == 0, i % 3 == 0);
    step(s, 20);
    struct store_interest rows[3];
    size_t total = 0, count = 0;
    bool more = true;
    while (more) {
        assert_ok(
            CERTAIN(s->acts->interest_list(s->store, &box, &cursor, rows, 3, &count, &more, &store_why)));
        for (size_t i = 0; i < count; i++) {
            assert_true(memcmp(&rows[i].interest, &cursor, sizeof cursor) > 0);
            cursor = rows[i].interest;
            assert_int_equal(rows[i].seconds_left, 40);
            assert_int_equal(rows[i].glob, rows[i].pattern[1] == '*');
        }
        total += count;
    }
    assert_int_equal(total, 7);
}

static const struct CMUnitTest tests[] = {
    SUBJECT_TEST(once_is_told_once),
    SUBJECT_TEST(every_is_told_each_time),
    SUBJECT_TEST(what_is_present),
    SUBJECT_TEST(what_is_present_for_a_glob),
    SUBJECT_TEST(globs_by_prefix_and_without),
    SUBJECT_TEST(add_repeated),
    SUBJECT_TEST(cancel_after_the_arrival),
    SUBJECT_TEST(cancelling),
    SUBJECT_TEST(interest_limits),
    SUBJECT_TEST(interests_in_pages),
};

const struct conformance conformance_interests = {"store: interests", tests, sizeof tests / sizeof *tests};
