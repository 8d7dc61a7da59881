#include "service/store_conformance.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEASE = 30 };

static void wait_for(struct subject *s, const struct id *mailbox, const char *pattern, bool every)
{
    struct store_interest_add add = {.mailbox = *mailbox,
                                     .interest = id_random(),
                                     .pattern = pattern,
                                     .seconds = 3600,
                                     .every = every};
    struct store_registration made;
    assert_ok(interest(s, &alice, &add, NULL, 0, &made));
}

static void route(struct subject *s, const struct id *mailbox, const char *text, struct store_mailbox *out)
{
    struct store_mailbox unused;
    assert_ok(CERTAIN(s->acts->mailbox_route(s->store, &alice, mailbox, text, strlen(text),
                                             out ? out : &unused, &store_why)));
}

static enum outcome claim(struct subject *s, struct store_claim *out, struct store_event *found,
                          size_t capacity, int64_t *next)
{
    int64_t unused;
    enum outcome outcome;
    do {
        outcome = s->acts->pending_claim(s->store, LEASE, out, found, capacity, next ? next : &unused,
                                         &store_why);
        /* a claim in doubt is nobody's until its lease is over */
        if (outcome == OUTCOME_UNKNOWN)
            step(s, LEASE);
    } while (outcome == OUTCOME_UNKNOWN || outcome == OUTCOME_UNAVAILABLE);
    return outcome;
}

static void done(struct subject *s, const struct store_claim *c, uint64_t up_to)
{
    assert_ok(CERTAIN(s->acts->pending_done(s->store, &c->mailbox, c->token, up_to, &store_why)));
}

static void arrive(struct subject *s, const char *name)
{
    assert_ok(replace(s, &bob, name, "x", NULL));
    fan_out(s);
}

static void claimed_and_done(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_claim c;
    struct store_event found[8];
    struct store_mailbox mailbox;
    int64_t next = 0;
    assert_outcome(claim(s, &c, found, 8, &next), OUTCOME_ABSENT);
    assert_true(next == INT64_MAX);
    wait_for(s, &box, "f", true);
    for (int i = 0; i < 5; i++)
        arrive(s, "f");
    /* without a route it waits */
    assert_outcome(claim(s, &c, found, 8, &next), OUTCOME_ABSENT);
    route(s, &box, "here", &mailbox);
    assert_int_equal(mailbox.waiting, 5);
    assert_ok(claim(s, &c, found, 3, NULL));
    /* while some wait, numbers follow one another */
    const uint64_t fifth = mailbox.newest;
    assert_true(fifth >= 5);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(found[i].number, fifth - 4 + i);
    assert_memory_equal(&c.mailbox, &box, sizeof box);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.newest, found[2].number);
    assert_int_equal(c.route_size, 4);
    assert_memory_equal(c.route, "here", 4);
    if (s->plan.every == 0) { /* a claim in doubt lets time pass */
        assert_outcome(claim(s, &(struct store_claim){0}, found, 8, &next), OUTCOME_ABSENT);
        assert_true(next != INT64_MAX);
    }
    done(s, &c, c.newest);
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.count, 2);
    assert_int_equal(found[0].number, fifth - 1);
    done(s, &c, fifth - 1);
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.count, 1);
    done(s, &c, c.newest);
    assert_outcome(claim(s, &c, found, 8, NULL), OUTCOME_ABSENT);
    arrive(s, "f");
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_true(found[0].number > fifth);
}

static void tried_again_later(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_claim c, second;
    struct store_event found[8];
    int64_t next = 0;
    wait_for(s, &box, "f", true);
    route(s, &box, "here", NULL);
    arrive(s, "f");
    assert_ok(claim(s, &c, found, 8, NULL));
    uint32_t before = c.attempts;
    assert_ok(CERTAIN(s->acts->pending_retry(s->store, &box, c.token, 5000, &store_why)));
    if (s->plan.every == 0) {
        assert_outcome(claim(s, &c, found, 8, &next), OUTCOME_ABSENT);
        assert_int_equal(next, clock_elapsed(&s->clock) + 5 * (int64_t)CLOCK_SECOND);
    }
    arrive(s, "f"); /* what comes meanwhile does not make it due earlier */
    if (s->plan.every == 0)
        assert_outcome(claim(s, &c, found, 8, &next), OUTCOME_ABSENT);
    step(s, 5);
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.count, 2);
    assert_true(c.attempts > before);
    /* a lease that ran out */
    step(s, LEASE);
    assert_ok(claim(s, &second, found, 8, NULL));
    assert_true(second.token != c.token);
    assert_true(second.attempts > c.attempts);
    /* the old claim's answers end nothing of the new one's; what it says was received is */
    assert_ok(CERTAIN(s->acts->pending_retry(s->store, &box, c.token, 0, &store_why)));
    done(s, &c, found[0].number);
    if (s->plan.every == 0)
        assert_outcome(claim(s, &c, found, 8, NULL), OUTCOME_ABSENT);
    /* a new route is tried at once, from the start */
    route(s, &box, "there", NULL);
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.count, 1);
    if (s->plan.every == 0)
        assert_int_equal(c.attempts, 0);
    assert_memory_equal(c.route, "there", 5);
    done(s, &c, c.newest);
    assert_outcome(claim(s, &c, found, 8, NULL), OUTCOME_ABSENT);
}

static void notices_outlive_a_restart(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_claim c;
    struct store_event found[8];
    wait_for(s, &box, "f", true);
    route(s, &box, "here", NULL);
    arrive(s, "f");
    assert_ok(replace(s, &bob, "f", "not yet told",
                      NULL)); /* no fan_out: the publish may have told some, and need not */
    subject_restart(s);
    assert_ok(claim(s, &c, found, 8, NULL));
    fan_out(s);
    uint64_t before = found[0].number;
    done(s, &c, before);
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.count, 1);
    assert_true(found[0].number > before);
    assert_int_equal(found[0].entry.size, strlen("not yet told"));
}

/* However many a publish tells by itself: each is told once, across a restart as well. */
static void many_wait_for_one(void **state)
{
    enum { WAITING = 100 };
    struct subject *s = *state;
    struct id boxes[WAITING];
    bool told[WAITING] = {false};
    struct store_claim c;
    struct store_event found[8];
    for (int i = 0; i < WAITING; i++) {
        boxes[i] = id_random();
        wait_for(s, &boxes[i], "f", true);
        route(s, &boxes[i], "here", NULL);
    }
    assert_ok(replace(s, &bob, "f", "first", NULL));
    subject_restart(s);
    fan_out(s);
    for (int n = 0; n < WAITING; n++) {
        int i = 0;
        assert_ok(claim(s, &c, found, 8, NULL));
        while (i < WAITING && !id_equal(&c.mailbox, &boxes[i]))
            i++;
        assert_true(i < WAITING && !told[i]);
        told[i] = true;
        assert_int_equal(c.count, 1);
        assert_int_equal(c.newest, found[0].number);
        assert_int_equal(c.route_size, 4);
        assert_string_equal(found[0].entry.name, "f");
        assert_string_equal(found[0].pattern, "f");
        assert_int_equal(found[0].entry.size, strlen("first"));
        done(s, &c, c.newest);
    }
    assert_outcome(claim(s, &c, found, 8, NULL), OUTCOME_ABSENT);
}

/* What is known in memory of a mailbox's only event does not outlive what changes it. */
static void changed_before_claimed(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_claim c;
    struct store_event found[8];
    size_t count;
    bool more;
    wait_for(s, &box, "f", true);
    route(s, &box, "here", NULL);
    arrive(s, "f");
    route(s, &box, "there", NULL);
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.route_size, 5);
    assert_memory_equal(c.route, "there", 5);
    done(s, &c, c.newest);
    /* a second one, before the first is claimed */
    arrive(s, "f");
    arrive(s, "f");
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.count, 2);
    assert_true(found[0].number < found[1].number);
    assert_int_equal(c.newest, found[1].number);
    done(s, &c, found[0].number);
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.count, 1);
    done(s, &c, c.newest);
    /* one that was taken by asking is not brought as well */
    arrive(s, "f");
    assert_ok(CERTAIN(s->acts->mailbox_events(s->store, &box, 0, found, 8, &count, &more, &store_why)));
    assert_int_equal(count, 1);
    uint64_t last = found[0].number;
    assert_ok(CERTAIN(s->acts->mailbox_events(s->store, &box, last, found, 8, &count, &more, &store_why)));
    assert_int_equal(count, 0);
    assert_outcome(claim(s, &c, found, 8, NULL), OUTCOME_ABSENT);
    /* a mailbox without a route is nobody's */
    arrive(s, "f");
    route(s, &box, "", NULL);
    assert_outcome(claim(s, &c, found, 8, NULL), OUTCOME_ABSENT);
}

static void forgotten_mailbox(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_claim c;
    struct store_event found[8];
    struct store_interest rows[2];
    wait_for(s, &box, "f", true);
    route(s, &box, "here", NULL);
    arrive(s, "f");
    arrive(s, "f");
    assert_ok(claim(s, &c, found, 8, NULL));
    const uint64_t newest = c.newest;
    assert_ok(CERTAIN(s->acts->mailbox_forget(s->store, &box, &store_why)));
    assert_ok(CERTAIN(s->acts->mailbox_forget(s->store, &box, &store_why)));
    done(s, &c, c.newest);
    assert_outcome(claim(s, &c, found, 8, NULL), OUTCOME_ABSENT);
    assert_int_equal(interests(s, &box, rows, 2), 0);
    arrive(s, "f");
    /* made again, its numbers go on: who remembers what it saw must not miss the new ones */
    wait_for(s, &box, "f", true);
    arrive(s, "f");
    route(s, &box, "here", NULL);
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.count, 1);
    assert_true(found[0].number > newest);
}

/* A mailbox that nobody empties: the oldest go, and one event counts them. */
static void overflow(void **state)
{
    struct subject *s = *state;
    s->limits.events_per_mailbox = 4;
    subject_restart(s);
    struct id box = id_random();
    struct store_event found[8];
    bool more;
    wait_for(s, &box, "f", true);
    for (int i = 0; i < 4; i++)
        arrive(s, "f");
    assert_int_equal(events(s, &box, 0, found, 8, &more), 4);
    assert_int_equal(found[0].kind, STORE_ARRIVED);
    uint64_t fourth = found[3].number;
    arrive(s, "f"); /* one past the bound */
    size_t first = events(s, &box, 0, found, 8, &more);
    assert_int_equal(found[0].kind, STORE_DROPPED);
    assert_int_equal(found[0].dropped + first - 1, 5);
    for (int i = 0; i < 5; i++)
        arrive(s, "f");
    size_t count = events(s, &box, 0, found, 8, &more);
    assert_true(count <= 5);
    assert_int_equal(found[0].kind, STORE_DROPPED);
    assert_int_equal(found[0].dropped + count - 1, 10);
    assert_true(found[count - 1].number >= fourth + 6);
    for (size_t i = 1; i < count; i++) {
        assert_int_equal(found[i].kind, STORE_ARRIVED);
        assert_true(found[i].number > found[i - 1].number);
    }
}

/* What was on its way when it was dropped, and came, is not counted as lost. */
static void told_while_dropped(void **state)
{
    struct subject *s = *state;
    s->limits.events_per_mailbox = 4;
    subject_restart(s);
    struct id box = id_random();
    struct store_claim c;
    struct store_event found[8];
    bool more;
    wait_for(s, &box, "f", true);
    route(s, &box, "here", NULL);
    for (int i = 0; i < 4; i++)
        arrive(s, "f");
    assert_ok(claim(s, &c, found, 8, NULL));
    assert_int_equal(c.count, 4);
    for (int i = 0; i < 4; i++)
        arrive(s, "f");
    events(s, &box, 0, found, 8, &more);
    assert_int_equal(found[0].kind, STORE_DROPPED);
    uint64_t last_lost = found[0].number;
    assert_true(last_lost > c.newest);
    done(s, &c, c.newest);
    size_t count = events(s, &box, c.newest, found, 8, &more);
    assert_int_equal(found[0].kind, STORE_DROPPED);
    assert_int_equal(found[0].number, last_lost);
    assert_int_equal(found[0].dropped, last_lost - c.newest);
    assert_int_equal(found[0].dropped + count - 1, 4);
}

static void many_waiters_of_one_name(void **state)
{
    struct subject *s = *state;
    enum { MANY = 700 };
    struct id *boxes = calloc(MANY, sizeof *boxes);
    struct store_event found[2];
    bool more;
    for (int i = 0; i < MANY; i++) {
        boxes[i] = id_random();
        wait_for(s, &boxes[i], "f", false);
    }
    assert_ok(put(s, &bob, "f", "one", NULL));
    assert_ok(replace(s, &bob, "f", "two", NULL));
    bool left = false;
    assert_ok(CERTAIN(s->acts->fan_out(s->store, 1, &left, &store_why)));
    fan_out(s);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(events(s, &boxes[i], 0, found, 2, &more), 1);
        assert_int_equal(found[0].entry.size, 3);
    }
    free(boxes);
}

static void event_fd_wakes(void **state)
{
    struct subject *s = *state;
    struct pollfd fd = {.fd = s->acts->event_fd(s->store), .events = POLLIN};
    struct id box = id_random();
    wait_for(s, &box, "f", true);
    route(s, &box, "here", NULL);
    uint64_t ignored;
    assert_int_equal(poll(&fd, 1, 0), 1);
    assert_int_equal(read(fd.fd, &ignored, sizeof ignored), sizeof ignored);
    assert_int_equal(poll(&fd, 1, 0), 0);
    assert_ok(put(s, &bob, "other", "x", NULL));
    fan_out(s);
    assert_int_equal(poll(&fd, 1, 0), 0);
    arrive(s, "f");
    assert_int_equal(poll(&fd, 1, 0), 1);
}

static void count_one(void *context)
{
    (*(unsigned *)context)++;
}

/* Whoever is told instead of event_fd is told once an act's events are there, and event_fd is silent. */
static void told_instead_of_event_fd(void **state)
{
    struct subject *s = *state;
    struct pollfd fd = {.fd = s->acts->event_fd(s->store), .events = POLLIN};
    struct id box = id_random();
    unsigned told = 0;
    uint64_t ignored;
    wait_for(s, &box, "f", true);
    route(s, &box, "here", NULL);
    assert_int_equal(read(fd.fd, &ignored, sizeof ignored), sizeof ignored);
    s->acts->on_events(s->store, count_one, &told);
    assert_ok(put(s, &bob, "other", "x", NULL));
    fan_out(s);
    assert_int_equal(told, 0);
    arrive(s, "f");
    assert_int_not_equal(told, 0);
    assert_int_equal(poll(&fd, 1, 0), 0);
    s->acts->on_events(s->store, NULL, NULL);
    unsigned before = told;
    assert_ok(replace(s, &bob, "f", "again", NULL));
    fan_out(s);
    assert_int_equal(told, before);
    assert_int_equal(poll(&fd, 1, 0), 1);
}

static const struct CMUnitTest tests[] = {
    SUBJECT_TEST(claimed_and_done),
    SUBJECT_TEST(tried_again_later),
    SUBJECT_TEST(notices_outlive_a_restart),
    SUBJECT_TEST(many_wait_for_one),
    SUBJECT_TEST(changed_before_claimed),
    SUBJECT_TEST(forgotten_mailbox),
    SUBJECT_TEST(overflow),
    SUBJECT_TEST(told_while_dropped),
    SUBJECT_TEST(many_waiters_of_one_name),
    SUBJECT_TEST(event_fd_wakes),
    SUBJECT_TEST(told_instead_of_event_fd),
};

const struct conformance conformance_notices = {"store: notices", tests, sizeof tests / sizeof *tests};
