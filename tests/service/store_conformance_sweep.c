#include "service/store_conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void expired_is_told(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_event found[8];
    struct store_interest rows[4];
    struct store_sweep gone;
    int64_t next;
    bool more;
    alice_waits(s, &box, "unmet", 10, false);
    alice_waits(s, &box, "unmet, every", 10, true);
    alice_waits(s, &box, "met", 10, true);
    alice_waits(s, &box, "later", 100, false);
    assert_ok(put(s, &bob, "met", "x", NULL));
    fan_out(s);
    step(s, 9);
    sweep(s, &gone, &next);
    assert_int_equal(gone.interests, 0);
    assert_int_equal(next, clock_elapsed(&s->clock) + CLOCK_SECOND);
    step(s, 1);
    sweep(s, &gone, &next);
    if (!s->plan.after)
        assert_int_equal(gone.interests, 3);
    assert_int_equal(next, clock_elapsed(&s->clock) + 90 * (int64_t)CLOCK_SECOND);
    assert_int_equal(events(s, &box, 0, found, 8, &more), 3);
    assert_int_equal(found[0].kind, STORE_ARRIVED);
    for (int i = 1; i < 3; i++) {
        assert_int_equal(found[i].kind, STORE_EXPIRED);
        assert_memory_equal(found[i].pattern, "unmet", 5);
        assert_int_equal(found[i].happened, clock_wall(&s->clock));
    }
    assert_int_equal(interests(s, &box, rows, 4), 4);
    int over = 0;
    for (int i = 0; i < 4; i++)
        over += rows[i].state == STORE_OVER && rows[i].seconds_left == 0;
    assert_int_equal(over, 3);
    /* what arrives now is nobody's */
    assert_ok(put(s, &bob, "unmet", "x", NULL));
    fan_out(s);
    assert_int_equal(events(s, &box, 0, found, 8, &more), 3);
}

/* Publish and expiry: whichever is committed first wins. */
static void arrival_before_expiry(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_event found[4];
    bool more;
    alice_waits(s, &box, "f", 10, false);
    assert_ok(put(s, &bob, "f", "x", NULL)); /* fan_out comes too late */
    step(s, 11);
    sweep(s, NULL, NULL);
    fan_out(s);
    assert_int_equal(events(s, &box, 0, found, 4, &more), 1);
    assert_int_equal(found[0].kind, STORE_ARRIVED);
}

static void renewing(void **state)
{
    struct subject *s = *state;
    struct id box = id_random(), op = id_random(), second = id_random(), third = id_random();
    uint32_t left = 0;
    struct store_event found[4];
    bool more;
    struct id f = alice_waits(s, &box, "f", 10, false);
    struct id g = alice_waits(s, &box, "g", 10, false);
    step(s, 8);
    assert_ok(renew(s, &alice, &op, &box, &f, 20, &left));
    assert_int_equal(left, 20);
    step(s, 8);
    sweep(s, NULL, NULL);
    left = 0;
    assert_ok(renew(s, &alice, &op, &box, &f, 20, &left)); /* a repeat: counts once */
    assert_int_equal(left, 20);
    assert_outcome(renew(s, &alice, &op, &box, &f, 21, &left), OUTCOME_INVALID);
    assert_outcome(renew(s, &alice, &second, &box, &g, 20, &left), OUTCOME_EXPIRED);
    step(s, 12);
    struct id h = alice_waits(s, &box, "h", 10, false);
    /* over, though no sweep came: who asks is told so, and it is final */
    assert_outcome(renew(s, &alice, &third, &box, &f, 20, &left), OUTCOME_EXPIRED);
    assert_ok(put(s, &bob, "f", "x", NULL));
    fan_out(s);
    assert_int_equal(events(s, &box, 0, found, 4, &more), 2);
    assert_int_equal(found[1].kind, STORE_EXPIRED);
    /* met, though no fan_out came */
    assert_ok(put(s, &bob, "h", "x", NULL));
    third = id_random();
    assert_outcome(renew(s, &alice, &third, &box, &h, 20, &left), OUTCOME_CHANGED);
    struct id nothing = id_random();
    third = id_random();
    assert_outcome(renew(s, &alice, &third, &box, &nothing, 20, &left), OUTCOME_ABSENT);
    struct store_interest_drop d = {.op = id_random(), .mailbox = box, .interest = g};
    struct store_cancelled rows[2];
    size_t count;
    assert_ok(drop(s, &alice, &d, rows, 2, &count, &more));
    assert_int_equal(rows[0].state, STORE_OVER);
}

/* Told by a renewal, an arrival is not told again by the fan_out that comes after it. */
static void told_by_a_renewal(void **state)
{
    struct subject *s = *state;
    struct id box = id_random(), op = id_random();
    struct store_event found[4];
    uint32_t left;
    bool more;
    struct id f = alice_waits(s, &box, "f", 10, true);
    assert_ok(put(s, &bob, "f", "1", NULL));
    assert_ok(replace(s, &bob, "f", "2", NULL));
    assert_ok(renew(s, &alice, &op, &box, &f, 20, &left));
    assert_int_equal(events(s, &box, 0, found, 4, &more), 2);
    events(s, &box, found[0].number, found, 4, &more);
    fan_out(s);
    assert_int_equal(events(s, &box, 0, found, 4, &more), 1);
    assert_int_equal(found[0].number, 2);
}

/* Time passes while the store is closed, and never goes back. */
static void time_over_a_restart(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_interest rows[2];
    alice_waits(s, &box, "f", 1000, false);
    /* a wall clock set while the store is open changes nothing, now or after */
    clock_test_step_wall(&s->clock, 5000 * (int64_t)CLOCK_SECOND);
    step(s, 100);
    assert_int_equal(interests(s, &box, rows, 2), 1);
    assert_int_equal(rows[0].seconds_left, 900);
    sweep(s, NULL, NULL); /* notes the time */
    subject_restart(s);
    interests(s, &box, rows, 2);
    assert_int_equal(rows[0].seconds_left, 900);
    /* closed for a while */
    s->acts->close(s->store);
    s->store = NULL;
    step(s, 300);
    subject_open(s);
    interests(s, &box, rows, 2);
    assert_int_equal(rows[0].seconds_left, 600);
    /* set back while it was closed: neither more nor less than was left */
    alice_waits(s, &box, "note the time", 5000, false);
    s->acts->close(s->store);
    s->store = NULL;
    clock_test_step_wall(&s->clock, -4000 * (int64_t)CLOCK_SECOND);
    subject_open(s);
    interests(s, &box, rows, 2);
    uint32_t least = rows[0].seconds_left < rows[1].seconds_left ? rows[0].seconds_left
                                                                 : rows[1].seconds_left;
    assert_int_equal(least, 600);
    step(s, 600);
    struct store_sweep gone;
    sweep(s, &gone, NULL);
    if (!s->plan.after)
        assert_int_equal(gone.interests, 1);
}

static void idle_upload_is_dropped(void **state)
{
    struct subject *s = *state;
    struct store_upload_begin b[2] = {{.upload = id_random(), .name = "f"},
                                      {.upload = id_random(), .name = "g"}};
    struct store_upload_state st;
    struct store_sweep gone;
    uint64_t held;
    assert_ok(begin(s, &alice, &b[0], &st));
    assert_ok(begin(s, &alice, &b[1], &st));
    step(s, s->limits.upload_idle_seconds - 1);
    assert_ok(upload_write(s, &alice, &b[1].upload, 0, "x", 1, &held));
    sweep(s, &gone, NULL);
    assert_int_equal(gone.uploads, 0);
    step(s, 2);
    sweep(s, &gone, NULL);
    if (!s->plan.after)
        assert_int_equal(gone.uploads, 1);
    assert_outcome(upload_write(s, &alice, &b[0].upload, 0, "x", 1, &held), OUTCOME_ABSENT);
    assert_ok(upload_write(s, &alice, &b[1].upload, 1, "x", 1, &held));
    subject_restart(s);
    assert_outcome(upload_write(s, &alice, &b[0].upload, 0, "x", 1, &held), OUTCOME_ABSENT);
    assert_ok(upload_write(s, &alice, &b[1].upload, 2, "x", 1, &held));
    /* Taken up again, the one holds what it held, the other begins with nothing. */
    assert_ok(begin(s, &alice, &b[1], &st));
    assert_int_equal(st.held, 3);
    assert_ok(begin(s, &alice, &b[0], &st));
    assert_int_equal(st.held, 0);
    assert_ok(upload_write(s, &alice, &b[0].upload, 0, "x", 1, &held));
}

/* Until some minutes after the last read; and who has it open reads on. */
static void kept_versions_go(void **state)
{
    struct subject *s = *state;
    enum { SIZE = 50000 };
    char *text = calloc(1, SIZE + 1), *back = calloc(1, SIZE + 1);
    memset(text, 'a', SIZE);
    struct store_entry old, entry;
    assert_ok(put(s, &alice, "f", text, &old));
    assert_ok(replace(s, &alice, "f", "new", NULL));
    for (int i = 0; i < 4; i++) {
        step(s, s->limits.kept_seconds - 1);
        sweep(s, NULL, NULL);
        assert_ok(content(s, "f", &old.version, back, SIZE + 1));
    }
    assert_string_equal(back, text);
    struct store_read *read = NULL;
    assert_ok(CERTAIN(s->acts->read_open(s->store, "f", &old.version, &read, &entry, &store_why)));
    step(s, s->limits.kept_seconds * 2);
    sweep(s, NULL, NULL);
    assert_ok(CERTAIN(s->acts->read_at(read, SIZE - 10, back, 10, &store_why)));
    s->acts->read_close(read);
    step(s, s->limits.kept_seconds + 8); /* the row is moved in steps of some seconds */
    sweep(s, NULL, NULL);
    assert_outcome(content(s, "f", &old.version, back, SIZE + 1), OUTCOME_STALE);
    assert_ok(content(s, "f", NULL, back, SIZE + 1));
    assert_string_equal(back, "new");
    struct store_audit audit;
    assert_ok(CERTAIN(s->acts->audit(s->store, true, &audit, &store_why)));
    assert_int_equal(audit.entries, 1);
    assert_true(store_audit_is_sound(&audit));
    free(text);
    free(back);
}

static void kept_bytes_are_bounded(void **state)
{
    struct subject *s = *state;
    s->limits.kept_bytes = 100000;
    subject_restart(s);
    char *text = calloc(1, 40001), *back = calloc(1, 40001);
    struct store_entry versions[5];
    for (int i = 0; i < 5; i++) {
        memset(text, 'a' + i, 40000);
        assert_ok(replace(s, &alice, "f", text, &versions[i]));
        step(s, 1);
    }
    sweep(s, NULL, NULL);
    assert_outcome(content(s, "f", &versions[0].version, back, 40001), OUTCOME_STALE);
    assert_outcome(content(s, "f", &versions[1].version, back, 40001), OUTCOME_STALE);
    assert_ok(content(s, "f", &versions[2].version, back, 40001));
    assert_int_equal(back[39999], 'c');
    assert_ok(content(s, "f", &versions[3].version, back, 40001));
    assert_ok(content(s, "f", NULL, back, 40001));
    free(text);
    free(back);
}

/* The content of a renamed file lives as long as either version. */
static void shared_content(void **state)
{
    struct subject *s = *state;
    char *text = calloc(1, 40001), *back = calloc(1, 40001);
    memset(text, 'r', 40000);
    assert_ok(put(s, &alice, "a", text, NULL));
    struct store_rename r = {.op = id_random(), .source = "a", .target = "b"};
    assert_ok(rename_as(s, &alice, &r, NULL));
    step(s, s->limits.kept_seconds + 1);
    sweep(s, NULL, NULL);
    assert_ok(content(s, "b", NULL, back, 40001));
    assert_string_equal(back, text);
    assert_ok(remove_name(s, &alice, NULL, "b", NULL));
    step(s, 2 * s->limits.kept_seconds + 1);
    sweep(s, NULL, NULL);
    assert_outcome(content(s, "b", &r.op, back, 40001), OUTCOME_STALE);
    struct store_audit audit;
    assert_ok(CERTAIN(s->acts->audit(s->store, true, &audit, &store_why)));
    assert_int_equal(audit.orphan_blobs, 0);
    free(text);
    free(back);
}

/* What was dropped stays told for as long as an interest may bring more; then it grows old like an event. */
static void what_was_dropped_is_kept(void **state)
{
    struct subject *s = *state;
    enum { AGE = 100 };
    struct id box = id_random();
    struct store_event found[4];
    bool more;
    s->limits.event_seconds = AGE;
    subject_restart(s);
    alice_waits(s, &box, "f", 10 * AGE, true);
    assert_ok(put(s, &bob, "f", "x", NULL));
    fan_out(s);
    step(s, AGE + 1);
    sweep(s, NULL, NULL);
    step(s, AGE + 1);
    sweep(s, NULL, NULL);
    assert_ok(replace(s, &bob, "f", "y", NULL));
    fan_out(s);
    step(s, AGE + 1);
    sweep(s, NULL, NULL);
    assert_int_equal(events(s, &box, 0, found, 4, &more), 1);
    assert_int_equal(found[0].kind, STORE_DROPPED);
    assert_int_equal(found[0].dropped, 2);
    step(s, 7 * AGE); /* the interest is over */
    sweep(s, NULL, NULL);
    step(s, AGE + 1);
    sweep(s, NULL, NULL);
    step(s, AGE + 1);
    sweep(s, NULL, NULL);
    assert_int_equal(events(s, &box, 0, found, 4, &more), 0);
}

/*
 * A removal keeps two answers, its own and that of the act that made the file: half the bound of them may be
 * unanswered at once, of all that the caller does, and each counts once. Of more the oldest are taken for new ones.
 */
static void removals_unanswered_at_once(void **state)
{
    enum { BOUND = 20, MANY = BOUND / 2 + 1 };
    struct subject *s = *state;
    struct id ids[MANY], none = {0};
    char name[16];
    s->limits.answers_per_principal = BOUND;
    subject_restart(s);
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "f%d", i);
        assert_ok(put(s, &alice, name, "x", NULL));
    }
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "f%d", i);
        ids[i] = id_random();
        assert_ok(remove_name(s, &alice, &ids[i], name, &none));
    }
    for (int i = MANY - 1; i >= 0; i--) {
        snprintf(name, sizeof name, "f%d", i);
        assert_outcome(remove_name(s, &alice, &ids[i], name, &none), i > 0 ? OUTCOME_OK : OUTCOME_ABSENT);
    }
}

static void old_answers_and_events_go(void **state)
{
    struct subject *s = *state;
    struct id box = id_random();
    struct store_event found[4];
    struct store_sweep gone;
    struct store_entry entry;
    struct id id = id_random(), none = {0};
    bool more;
    size_t count;
    s->limits.answers_per_principal = 3;
    subject_restart(s);
    struct store_put first = {.op = id_random(), .name = "f0", .content = "x", .size = 1};
    assert_ok(put_as(s, &alice, &first, &entry));
    for (int i = 1; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        assert_ok(put(s, &alice, name, "x", NULL));
    }
    assert_ok(put_as(s, &alice, &first, &entry)); /* as long as its file is there, at least */
    assert_ok(remove_name(s, &alice, &id, "f0", &none));
    assert_ok(put_as(s, &alice, &first, &entry));
    for (int i = 1; i < 4; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        id = id_random();
        assert_ok(remove_name(s, &alice, &id, name, &none));
    }
    assert_outcome(put_as(s, &alice, &first, &entry), OUTCOME_INVALID); /* forgotten: three came after it */
    alice_waits(s, &box, "f", 100 * 24 * 3600, true);
    assert_ok(put(s, &bob, "f", "x", NULL));
    assert_ok(replace(s, &bob, "f", "y", NULL));
    fan_out(s);
    step(s, s->limits.event_seconds - 10);
    sweep(s, &gone, NULL);
    if (!s->plan.after)
        assert_true(gone.answers >= 4);
    assert_int_equal(events(s, &box, 0, found, 4, &more), 2);
    uint64_t last = found[1].number;
    step(s, 11);
    sweep(s, &gone, NULL);
    assert_int_equal(events(s, &box, 0, found, 4, &more), 1);
    assert_int_equal(found[0].kind, STORE_DROPPED);
    assert_int_equal(found[0].dropped, 2);
    assert_int_equal(found[0].number, last);
    /* once nothing waits in it, a mailbox goes too */
    step(s, 80 * 24 * 3600);
    sweep(s, NULL, NULL);
    events(s, &box, last, found, 4, &more);
    step(s, 25 * 3600);
    sweep(s, NULL, NULL);
    step(s, 25 * 3600);
    sweep(s, &gone, NULL);
    assert_outcome(CERTAIN(s->acts->mailbox_events(s->store, &box, 0, found, 4, &count, &more, &store_why)),
                   OUTCOME_ABSENT);
}

static void expect_left(struct subject *s, uint64_t mailboxes, uint64_t interests, uint64_t events)
{
    struct store_health health;
    sweep(s, NULL, NULL);
    assert_ok(CERTAIN(s->acts->health(s->store, &health, &store_why)));
    assert_int_equal(health.mailboxes, mailboxes);
    assert_int_equal(health.interests, interests);
    assert_int_equal(health.events, events);
}

/* Of a client that does not come back, as a `wait` that was killed, nothing stays for ever. */
static void what_a_lost_client_left_goes(void **state)
{
    struct subject *s = *state;
    enum { INTEREST = 600, MARGIN = 10, HOUR = 3600 };
    struct id box = id_random();
    struct store_mailbox mailbox;
    alice_waits(s, &box, "f", INTEREST, false);
    assert_ok(CERTAIN(s->acts->mailbox_route(s->store, &alice, &box, "away", 4, &mailbox, &store_why)));
    expect_left(s, 1, 1, 0);
    step(s, INTEREST + 1);
    expect_left(s, 1, 0, 1); /* that it ran out */
    step(s, s->limits.event_seconds - MARGIN);
    expect_left(s, 1, 0, 1);
    step(s, 2 * MARGIN);
    expect_left(s, 1, 0, 1); /* that one event was lost */
    step(s, s->limits.event_seconds - MARGIN);
    expect_left(s, 1, 0, 1);
    step(s, HOUR);
    expect_left(s, 0, 0, 0);
}

static void counts(void **state)
{
    struct subject *s = *state;
    struct store_health health;
    struct id box = id_random();
    struct store_upload_begin b = {.upload = id_random(), .name = "up"};
    struct store_upload_state st;
    assert_ok(put(s, &alice, "a", "12345", NULL));
    assert_ok(put(s, &alice, "b", "123", NULL));
    assert_ok(replace(s, &alice, "b", "1", NULL));
    assert_ok(remove_name(s, &alice, NULL, "a", NULL));
    assert_ok(begin(s, &alice, &b, &st));
    alice_waits(s, &box, "f", 10, true);
    alice_waits(s, &box, "g", 10, false);
    assert_ok(put(s, &alice, "g", "", NULL));
    fan_out(s);
    assert_ok(CERTAIN(s->acts->health(s->store, &health, &store_why)));
    assert_int_equal(health.files, 2);
    assert_int_equal(health.bytes, 1);
    assert_int_equal(health.uploads, 1);
    assert_int_equal(health.interests, 1);
    assert_int_equal(health.mailboxes, 1);
    assert_int_equal(health.events, 1);
    assert_true(health.free_bytes > 0);
    assert_true(health.writable);
    assert_string_equal(health.trouble, "");
}

static const struct CMUnitTest tests[] = {
    SUBJECT_TEST(expired_is_told),
    SUBJECT_TEST(arrival_before_expiry),
    SUBJECT_TEST(renewing),
    SUBJECT_TEST(told_by_a_renewal),
    SUBJECT_TEST(time_over_a_restart),
    SUBJECT_TEST(what_was_dropped_is_kept),
    SUBJECT_TEST(idle_upload_is_dropped),
    SUBJECT_TEST(kept_versions_go),
    SUBJECT_TEST(kept_bytes_are_bounded),
    SUBJECT_TEST(shared_content),
    SUBJECT_TEST(removals_unanswered_at_once),
    SUBJECT_TEST(old_answers_and_events_go),
    SUBJECT_TEST(what_a_lost_client_left_goes),
    SUBJECT_TEST(counts),
};

const struct conformance conformance_sweep = {"store: sweep", tests, sizeof tests / sizeof *tests};
