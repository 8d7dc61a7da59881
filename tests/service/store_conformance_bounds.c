/* Bounds of interests and mailboxes: at each one, one past it, after a restart, and what makes room again. */
#include "service/store_conformance.h"

#include <stdio.h>
#include <string.h>

static enum outcome add_for(struct subject *s, const struct store_caller *caller, const struct id *mailbox,
                            const char *pattern, uint32_t seconds, struct id *id)
{
    struct store_registration made;
    struct store_interest_add add = {.mailbox = *mailbox,
                                     .interest = id_random(),
                                     .pattern = pattern,
                                     .glob = strpbrk(pattern, "*?[") != NULL,
                                     .seconds = seconds};
    enum outcome outcome = interest(s, caller, &add, NULL, 0, &made);
    if (outcome == OUTCOME_OK && id)
        *id = add.interest;
    return outcome;
}

static enum outcome add_to(struct subject *s, const struct store_caller *caller, const struct id *mailbox,
                           const char *pattern, struct id *id)
{
    return add_for(s, caller, mailbox, pattern, 100, id);
}

static enum outcome add_anywhere(struct subject *s, const struct store_caller *caller, const char *pattern)
{
    struct id mailbox = id_random();
    return add_to(s, caller, &mailbox, pattern, NULL);
}

static void drop_one(struct subject *s, const struct store_caller *caller, const struct id *mailbox,
                     const struct id *id)
{
    struct store_interest_drop d = {.op = id_random(), .mailbox = *mailbox, .interest = *id};
    struct store_cancelled row;
    size_t count;
    bool more;
    assert_ok(drop(s, caller, &d, &row, 1, &count, &more));
    assert_int_equal(count, 1);
}

/* It is refused, before and after a restart, with words that say whose bound it is, and its number. */
static void refused(struct subject *s, const struct store_caller *caller, const struct id *mailbox,
                    const char *pattern, const char *words)
{
    for (int again = 0; again < 2; again++) {
        assert_outcome(add_to(s, caller, mailbox, pattern, NULL), OUTCOME_LIMIT);
        if (!strstr(store_why.text, words))
            fail_msg("\"%s\" does not say \"%s\"", store_why.text, words);
        subject_restart(s);
    }
}

/* Each way in which an interest ends gives its place back, and one place only. */
static void what_ends_makes_room(struct subject *s, const struct id *mailbox, const char *words)
{
    struct id id;
    for (int way = 0; way < 4; way++) {
        char name[16];
        snprintf(name, sizeof name, "way/%d", way);
        assert_ok(add_for(s, &alice, mailbox, name, 10, &id));
        refused(s, &alice, mailbox, "more", words);
        if (way == 0)
            drop_one(s, &alice, mailbox, &id);
        else if (way == 1)
            assert_ok(put(s, &bob, name, "x", NULL));
        else
            step(s, 11);
        fan_out(s);
        sweep(s, NULL, NULL);
    }
    step(s, 100);
    sweep(s, NULL, NULL);
}

static void of_a_mailbox(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    s->limits.interests_per_mailbox = 2;
    subject_restart(s);
    assert_ok(add_to(s, &alice, &box, "a", NULL));
    what_ends_makes_room(s, &box, "a mailbox may have 2 interests at most, and has as many; cancel some");
    assert_ok(add_to(s, &alice, &box, "b", NULL));
    assert_ok(add_to(s, &alice, &box, "c", NULL));
    refused(s, &bob, &box, "d", "a mailbox may have 2 interests");
    assert_ok(add_anywhere(s, &alice, "d"));
}

static void of_a_caller(void **state)
{
    struct subject *s = *state;
    s->limits.interests_per_principal = 4;
    subject_restart(s);
    struct id boxes[3];
    for (int i = 0; i < 3; i++) {
        boxes[i] = id_random();
        assert_ok(add_to(s, &alice, &boxes[i], "a", NULL));
    }
    struct id another = id_random();
    what_ends_makes_room(s, &another, "unix:1000 may have 4 interests at most, and has as many; cancel some");
    /* nor does a bound of hers hold others up; who registers pays, whose mailbox it may be */
    for (int i = 0; i < 4; i++)
        assert_ok(add_anywhere(s, &alice, "b"));
    struct id id;
    refused(s, &alice, &boxes[0], "c", "unix:1000 may have 4");
    assert_ok(add_to(s, &bob, &boxes[0], "c", &id));
    refused(s, &alice, &boxes[0], "d", "unix:1000 may have 4");
    drop_one(s, &alice, &boxes[0], &id); /* bob's place is free again, not hers */
    refused(s, &alice, &boxes[0], "d", "unix:1000 may have 4");
    for (int i = 0; i < 4; i++)
        assert_ok(add_anywhere(s, &bob, "e"));
    assert_outcome(add_anywhere(s, &bob, "e"), OUTCOME_LIMIT);
}

static void in_all(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    s->limits.interests = 3;
    subject_restart(s);
    assert_ok(add_anywhere(s, &bob, "a"));
    assert_ok(add_to(s, &alice, &box, "a", NULL));
    what_ends_makes_room(s, &box, "the server keeps 3 interests at most, and has as many; try again later");
}

static void open_globs(void **state)
{
    struct subject *s = *state;
    struct id box = id_random(), id;
    s->limits.open_globs_per_mailbox = 1;
    s->limits.open_globs_per_principal = 2;
    s->limits.open_globs = 3;
    subject_restart(s);
    assert_ok(add_to(s, &alice, &box, "*", &id));
    refused(s, &alice, &box, "?",
            "a mailbox may have 1 interests at most in globs that begin with a wildcard");
    assert_ok(add_to(s, &alice, &box, "a*", NULL)); /* begins with a letter */
    assert_ok(add_to(s, &alice, &box, "name", NULL));
    assert_ok(add_anywhere(s, &alice, "[ab]"));
    struct id other = id_random();
    refused(s, &alice, &other, "**", "unix:1000 may have 2 interests at most in globs");
    assert_ok(add_anywhere(s, &bob, "**/x"));
    refused(s, &bob, &other, "*", "the server keeps 3 interests at most in globs");
    assert_non_null(strstr(store_why.text, "put letters first"));
    drop_one(s, &alice, &box, &id);
    assert_ok(add_to(s, &alice, &box, "*x", NULL));
    step(s, 101);
    sweep(s, NULL, NULL);
    assert_ok(add_to(s, &alice, &box, "*y", NULL));
    refused(s, &alice, &box, "*z", "a mailbox may have 1");
}

static enum outcome route_of(struct subject *s, const struct store_caller *caller, const struct id *mailbox)
{
    struct store_mailbox unused;
    return CERTAIN(s->acts->mailbox_route(s->store, caller, mailbox, "route", 5, &unused, &store_why));
}

static uint64_t mailboxes(struct subject *s)
{
    struct store_health health;
    assert_ok(CERTAIN(s->acts->health(s->store, &health, &store_why)));
    return health.mailboxes;
}

/* However one comes into being, its maker pays. */
static void of_mailboxes(void **state)
{
    struct subject *s = *state;
    struct id one = id_random(), two = id_random(), three = id_random();
    s->limits.mailboxes = 3;
    s->limits.mailboxes_per_principal = 2;
    subject_restart(s);
    assert_ok(route_of(s, NULL, &one)); /* taking a route away makes none */
    assert_int_equal(mailboxes(s), 0);
    assert_ok(route_of(s, &alice, &one));
    assert_ok(add_to(s, &alice, &two, "a", NULL));
    for (int again = 0; again < 2; again++) {
        assert_outcome(route_of(s, &alice, &three), OUTCOME_LIMIT);
        assert_non_null(strstr(store_why.text, "unix:1000 may have 2 mailboxes at most, and has as many"));
        assert_outcome(add_anywhere(s, &alice, "b"), OUTCOME_LIMIT);
        assert_ok(route_of(s, &alice, &one));
        assert_ok(route_of(s, &bob, &one)); /* it is there: nobody pays again */
        subject_restart(s);
    }
    assert_int_equal(mailboxes(s), 2);
    assert_ok(route_of(s, &bob, &three));
    assert_outcome(add_anywhere(s, &bob, "b"), OUTCOME_LIMIT);
    assert_non_null(strstr(store_why.text, "the server keeps 3 mailboxes at most, and has as many"));
    assert_ok(CERTAIN(s->acts->mailbox_forget(s->store, &one, &store_why)));
    assert_ok(add_anywhere(s, &alice, "b"));
}

/* What is there stays when a bound is made smaller, and new ones wait until there is room. */
static void smaller_at_the_next_start(void **state)
{
    struct subject *s = *state;
    struct id box = id_random(), ids[3];
    struct store_interest rows[4];
    for (int i = 0; i < 3; i++)
        assert_ok(add_to(s, &alice, &box, "a", &ids[i]));
    s->limits.interests_per_principal = 2;
    subject_restart(s);
    assert_int_equal(interests(s, &box, rows, 4), 3);
    refused(s, &alice, &box, "b", "unix:1000 may have 2");
    drop_one(s, &alice, &box, &ids[0]);
    refused(s, &alice, &box, "b", "unix:1000 may have 2");
    drop_one(s, &alice, &box, &ids[1]);
    assert_ok(add_to(s, &alice, &box, "b", NULL));
    refused(s, &alice, &box, "c", "unix:1000 may have 2");
    /* a mailbox that goes gives all its places back */
    assert_ok(CERTAIN(s->acts->mailbox_forget(s->store, &box, &store_why)));
    assert_ok(add_to(s, &alice, &box, "a", NULL));
    assert_ok(add_to(s, &alice, &box, "b", NULL));
    refused(s, &alice, &box, "c", "unix:1000 may have 2");
}

/* A caller who has nothing but interests left is not forgotten with its old answers. */
static void long_after(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_registration made;
    s->limits.interests_per_principal = 1;
    subject_restart(s);
    assert_ok(route_of(s, &bob, &box)); /* his mailbox, her interest */
    struct store_interest_add add = {.mailbox = box,
                                     .interest = id_random(),
                                     .pattern = "a",
                                     .seconds = 30 * 86400};
    assert_ok(interest(s, &alice, &add, NULL, 0, &made));
    step(s, 3 * STORE_ANSWER_SECONDS);
    sweep(s, NULL, NULL);
    sweep(s, NULL, NULL);
    refused(s, &alice, &box, "b", "unix:1000 may have 1");
    drop_one(s, &alice, &box, &add.interest);
    assert_ok(add_to(s, &alice, &box, "b", NULL));
    refused(s, &alice, &box, "c", "unix:1000 may have 1");
}

static const struct CMUnitTest tests[] = {
    SUBJECT_TEST(of_a_mailbox), SUBJECT_TEST(of_a_caller),  SUBJECT_TEST(in_all),
    SUBJECT_TEST(open_globs),   SUBJECT_TEST(of_mailboxes), SUBJECT_TEST(smaller_at_the_next_start),
    SUBJECT_TEST(long_after),
};

const struct conformance conformance_bounds = {"store: bounds", tests, sizeof tests / sizeof *tests};
