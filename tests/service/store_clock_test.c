/*
 * Everything in a store that runs out, while the clocks are stepped at random:
 * time passes, the machine sleeps, the wall clock is set by seconds or years, the
 * store is closed and opened, the process is killed, the machine starts anew.
 * Nothing goes before its time, nothing is there more than LATE after it.
 *
 *     FILESHARE_FAULT_SEED=N, FILESHARE_FAULT_ROUNDS=N
 *
 * The model's time is what store.h promises: elapsed time while the machine runs,
 * the wall clock while it does not, and never backwards.
 */
#include "service/store_subject.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECONDS(count) ((int64_t)(count)*CLOCK_SECOND)
#define LATE           SECONDS(10)
#define HOUR           3600
#define DAY            (24 * HOUR)
#define YEAR           (365 * DAY)
/* The mark of the clocks may be so old: what a killed machine whose clock went back cannot know. */
#define MARK_AGE       SECONDS(60)
/* A clock that was set by less is taken for one that runs a little fast or slow (timeline.c). */
#define WALL_SLACK     (SECONDS(1) / 10)
/* A longer absence counts as one so long (timeline.c). */
#define ABSENCE_MAX    SECONDS(367 * (int64_t)DAY)

enum { THINGS = 200, ROUNDS = 600 };

/* In the order in which one becomes the next. */
enum kind { INTEREST, MET_NOT, MAILBOX, UPLOAD, KEPT, ANSWER, EVENT, MARKER, KINDS };

static const char *const kind_names[KINDS] = {
    "interest", "interest that is over", "empty mailbox", "upload", "replaced version", "answer",
    "event",    "number of events lost",
};

struct thing {
    enum kind kind;
    int64_t due;    /* model time: it is there before, */
    int64_t late;   /* and not after due + late; */
    int64_t unsure; /* what a killed machine may not know of its clock, either way */
    struct id id, mailbox;
    char name[32];
    bool used;
};

struct model {
    struct subject *subject;
    uint64_t dice;
    int64_t now; /* model time */
    uint64_t boot;
    unsigned serial, ended[KINDS], crashes, boots, restarts, sets;
    struct thing things[THINGS];
};

static uint32_t throw_below(struct model *m, uint32_t below)
{
    uint64_t word = m->dice += UINT64_C(0x9e3779b97f4a7c15);
    word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((word ^ (word >> 31)) % below);
}

/* From milliseconds to `most` seconds, short ones as likely as long ones. */
static int64_t some_time(struct model *m, int64_t most)
{
    int64_t scales[] = {CLOCK_SECOND / 1000, CLOCK_SECOND, SECONDS(60),
                        SECONDS(HOUR),       SECONDS(DAY), SECONDS(YEAR)};
    int64_t time;
    do {
        time = scales[throw_below(m, 6)] * (1 + throw_below(m, 60));
    } while (time > SECONDS(most));
    return time;
}

/* ---- things that run out ---- */

static uint32_t add_interest(struct model *m, struct thing *thing)
{
    uint32_t seconds = 1 + (uint32_t)(some_time(m, 30 * DAY) / CLOCK_SECOND);
    struct store_interest_add add = {.mailbox = thing->mailbox,
                                     .interest = thing->id,
                                     .pattern = thing->name,
                                     .glob = throw_below(m, 2) == 0,
                                     .every = throw_below(m, 2) == 0,
                                     .seconds = seconds};
    struct store_registration made;
    assert_ok(interest(m->subject, &alice, &add, NULL, 0, &made));
    assert_int_equal(made.seconds_left, seconds);
    return seconds;
}

static uint32_t add_kept(struct model *m, struct thing *thing)
{
    struct store_entry old;
    assert_ok(put(m->subject, &alice, thing->name, "old", &old));
    assert_ok(replace(m->subject, &alice, thing->name, "new", NULL));
    thing->id = old.version;
    return m->subject->limits.kept_seconds;
}

static uint32_t add_event(struct model *m, struct thing *thing)
{
    struct store_interest_add add = {.mailbox = thing->mailbox,
                                     .interest = thing->id,
                                     .pattern = thing->name,
                                     .seconds = 1};
    struct store_registration made;
    assert_ok(interest(m->subject, &alice, &add, NULL, 0, &made));
    assert_ok(put(m->subject, &bob, thing->name, "x", NULL));
    fan_out(m->subject);
    return m->subject->limits.event_seconds;
}

static uint32_t touch_upload(struct model *m, const struct thing *thing)
{
    struct store_upload_begin b = {.upload = thing->id, .name = thing->name};
    struct store_upload_state state;
    uint64_t held;
    assert_ok(begin(m->subject, &alice, &b, &state));
    assert_ok(upload_write(m->subject, &alice, &thing->id, state.held, "x", 1, &held));
    return m->subject->limits.upload_idle_seconds;
}

static uint32_t add_answer(struct model *m, struct thing *thing)
{
    assert_ok(put(m->subject, &alice, thing->name, "x", NULL));
    assert_ok(remove_name(m->subject, &alice, &thing->id, thing->name, NULL));
    return STORE_ANSWER_SECONDS;
}

static void add_thing(struct model *m)
{
    static const enum kind kinds[] = {INTEREST, INTEREST, UPLOAD, KEPT, ANSWER, EVENT};
    struct thing *thing = m->things;
    while (thing < m->things + THINGS && thing->used)
        thing++;
    if (thing == m->things + THINGS)
        return;
    uint32_t seconds = 0;
    *thing = (struct thing){.kind = kinds[throw_below(m, sizeof kinds / sizeof *kinds)],
                            .late = LATE,
                            .used = true};
    thing->id = id_random();
    thing->mailbox = id_random();
    snprintf(thing->name, sizeof thing->name, "%u/thing", ++m->serial);
    switch (thing->kind) {
    case INTEREST: seconds = add_interest(m, thing); break;
    case UPLOAD: seconds = touch_upload(m, thing); break;
    case KEPT: seconds = add_kept(m, thing); break;
    case ANSWER: seconds = add_answer(m, thing); break;
    case EVENT: seconds = add_event(m, thing); break;
    default: fail();
    }
    thing->due = m->now + SECONDS(seconds);
}

static void prolong(struct model *m, struct thing *thing)
{
    struct id op = id_random();
    uint32_t left = 0, seconds = 1 + (uint32_t)(some_time(m, 30 * DAY) / CLOCK_SECOND);
    if (!thing->used || m->now >= thing->due || (thing->kind != INTEREST && thing->kind != UPLOAD))
        return;
    if (thing->kind == UPLOAD)
        seconds = touch_upload(m, thing);
    else
        assert_ok(renew(m->subject, &alice, &op, &thing->mailbox, &thing->id, seconds, &left));
    thing->due = m->now + SECONDS(seconds);
    thing->late = LATE;
    thing->unsure = 0;
}

/* ---- looking at them ---- */

static enum outcome mailbox_has(struct model *m, const struct thing *thing, uint64_t since,
                                struct store_event *event, size_t *count)
{
    bool more;
    return m->subject->acts->mailbox_events(m->subject->store, &thing->mailbox, since, event, 1, count, &more,
                                            &store_why);
}

/* An event of that kind is the first in its mailbox. */
static bool waits(struct model *m, const struct thing *thing, enum store_event_kind kind)
{
    struct store_event event;
    size_t count = 0;
    enum outcome outcome = mailbox_has(m, thing, 0, &event, &count);
    if (outcome != OUTCOME_ABSENT)
        assert_ok(outcome);
    return count == 1 && event.kind == kind;
}

static bool is_waiting(struct model *m, const struct thing *thing)
{
    struct store_interest row;
    size_t count = interests(m->subject, &thing->mailbox, &row, 1);
    bool told = waits(m, thing, STORE_EXPIRED);
    if (count == 1 && row.state == STORE_WAITING) {
        assert_false(told);
        int64_t left = (thing->due - m->now + CLOCK_SECOND - 1) / CLOCK_SECOND;
        if (thing->late == LATE && thing->unsure == 0 && row.seconds_left != left)
            fail_msg("an interest has %u seconds left, not %lld", row.seconds_left, (long long)left);
        return true;
    }
    assert_true(told);
    return false;
}

static bool is_remembered(struct model *m, const struct thing *thing)
{
    struct id op = id_random();
    uint32_t left;
    enum outcome outcome = renew(m->subject, &alice, &op, &thing->mailbox, &thing->id, 1, &left);
    if (outcome != OUTCOME_ABSENT)
        assert_outcome(outcome, OUTCOME_EXPIRED);
    return outcome == OUTCOME_EXPIRED;
}

static bool is_there(struct model *m, struct thing *thing)
{
    char text[8];
    struct store_event event;
    size_t count;
    enum outcome outcome;
    switch (thing->kind) {
    case INTEREST: return is_waiting(m, thing);
    case MET_NOT: return is_remembered(m, thing);
    case EVENT: return waits(m, thing, STORE_ARRIVED);
    case MARKER: return waits(m, thing, STORE_DROPPED);
    case MAILBOX: return mailbox_has(m, thing, UINT64_MAX, &event, &count) == OUTCOME_OK;
    case ANSWER: return remove_name(m->subject, &alice, &thing->id, thing->name, NULL) == OUTCOME_OK;
    case KEPT:
        outcome = content(m->subject, thing->name, &thing->id, text, sizeof text);
        if (outcome == OUTCOME_OK)
            assert_string_equal(text, "old");
        else
            assert_outcome(outcome, OUTCOME_STALE);
        return outcome == OUTCOME_OK;
    default: fail(); return false;
    }
}

/* It is gone; what comes of it is looked at next. */
static void become(struct model *m, struct thing *thing)
{
    struct store_event event;
    size_t count;
    m->ended[thing->kind]++;
    thing->late = LATE;
    thing->unsure = 0;
    if (thing->kind == INTEREST) {
        assert_ok(mailbox_has(m, thing, UINT64_MAX, &event, &count)); /* acknowledged */
        thing->kind = MET_NOT;
        thing->due = m->now + SECONDS(DAY);
    } else if (thing->kind == MET_NOT) {
        thing->kind = MAILBOX; /* used a day ago at the latest; it may be gone already */
        thing->due = m->now;
        thing->late = LATE + SECONDS(HOUR);
    } else if (thing->kind == EVENT) {
        thing->kind = MARKER;
        thing->due = m->now + SECONDS(m->subject->limits.event_seconds);
    } else {
        thing->used = false;
    }
}

static void look(struct model *m, struct thing *thing)
{
    bool there = is_there(m, thing);
    if (!there && m->now < thing->due - thing->unsure)
        fail_msg("the %s %s went %lld ms early", kind_names[thing->kind], thing->name,
                 (long long)((thing->due - m->now) / 1000000));
    if (there && m->now > thing->due + thing->late + thing->unsure)
        fail_msg("the %s %s is late by %lld ms", kind_names[thing->kind], thing->name,
                 (long long)((m->now - thing->due) / 1000000));
    if (!there)
        become(m, thing);
    if (there && (thing->kind == KEPT || thing->kind == MAILBOX)) { /* looking is using it */
        thing->due = m->now + SECONDS(thing->kind == KEPT ? m->subject->limits.kept_seconds : DAY);
        thing->late = LATE + (thing->kind == KEPT ? 0 : SECONDS(HOUR));
        thing->unsure = 0;
    }
}

/* Which uploads there are cannot be asked without touching them; how many can. */
static void look_at_uploads(struct model *m)
{
    struct store_health health;
    uint64_t least = 0, most = 0;
    assert_ok(m->subject->acts->health(m->subject->store, &health, &store_why));
    for (struct thing *thing = m->things; thing < m->things + THINGS; thing++) {
        if (!thing->used || thing->kind != UPLOAD)
            continue;
        least += m->now < thing->due - thing->unsure;
        most += m->now <= thing->due + thing->late + thing->unsure;
        if (m->now > thing->due + thing->late + thing->unsure)
            become(m, thing);
    }
    if (health.uploads < least || health.uploads > most)
        fail_msg("%llu uploads are there, not %llu to %llu", (unsigned long long)health.uploads,
                 (unsigned long long)least, (unsigned long long)most);
}

/* When it becomes the next must be known; others are used by looking, and left in peace now and then. */
static bool is_followed(const struct thing *thing)
{
    return thing->kind == INTEREST || thing->kind == EVENT;
}

/* Upkeep comes by; then each thing is, or is not, what it should be. */
static void look_at_all(struct model *m)
{
    sweep(m->subject, NULL, NULL);
    look_at_uploads(m);
    for (struct thing *thing = m->things; thing < m->things + THINGS; thing++)
        if (thing->used && thing->kind != UPLOAD && (is_followed(thing) || throw_below(m, 3) > 0))
            look(m, thing);
}

/* ---- what happens to the clocks ---- */

static void pass(struct model *m, int64_t time)
{
    clock_test_step(&m->subject->clock, time);
    m->now += time;
}

/* Within the years that a clock can show. */
static int64_t set_wall(struct model *m)
{
    int64_t by = throw_below(m, 2) ? some_time(m, 20 * (int64_t)YEAR) : -some_time(m, 20 * (int64_t)YEAR);
    int64_t wall = clock_wall(&m->subject->clock) + by;
    if (wall < 0 || wall > SECONDS(150 * (int64_t)YEAR))
        by = SECONDS(50 * (int64_t)YEAR) - clock_wall(&m->subject->clock);
    clock_test_step_wall(&m->subject->clock, by);
    m->sets++;
    return by;
}

/* What the disk holds now is what the next start finds: the open store is taken away from under it. */
static void kill_store(struct model *m)
{
    struct subject *s = m->subject;
    char command[256];
    snprintf(command, sizeof command, "cp -a %s %s.killed", s->folder, s->folder);
    assert_int_equal(system(command), 0);
    s->acts->close(s->store);
    s->store = NULL;
    subject_remove_folder(s->folder);
    snprintf(command, sizeof command, "mv %s.killed %s", s->folder, s->folder);
    assert_int_equal(system(command), 0);
    m->crashes++;
}

/* The machine is off for `off`, and its wall clock is set by `set`. */
static void boot(struct model *m, int64_t off, int64_t set, bool killed)
{
    clock_test_step_wall(&m->subject->clock, off);
    clock_test_boot(&m->subject->clock, m->boot == 0 ? 0 : ++m->boot, some_time(m, HOUR));
    int64_t passed = off + set;
    for (struct thing *thing = m->things; killed && thing < m->things + THINGS; thing++) {
        thing->unsure += WALL_SLACK;
        thing->late += passed < 0 ? MARK_AGE : 0;
    }
    passed = passed < 0 ? 0 : passed > ABSENCE_MAX ? ABSENCE_MAX : passed;
    m->now += passed;
    m->boots++;
}

static void restart(struct model *m)
{
    bool killed = throw_below(m, 2) == 0, anew = throw_below(m, 2) == 0;
    int64_t off = some_time(m, 10 * DAY), set = 0;
    if (killed) {
        kill_store(m);
    } else {
        m->subject->acts->close(m->subject->store);
        m->subject->store = NULL;
    }
    if (throw_below(m, 2) == 0)
        set = set_wall(m);
    if (anew || m->boot == 0)
        boot(m, off, set, killed);
    else
        pass(m, off);
    subject_open(m->subject);
    m->restarts++;
}

static void one_round(struct model *m)
{
    uint32_t what = throw_below(m, 100);
    if (what < 35)
        add_thing(m);
    else if (what < 50)
        prolong(m, &m->things[throw_below(m, THINGS)]);
    else if (what < 75)
        pass(m, some_time(m, 2 * DAY)); /* or the machine slept */
    else if (what < 90)
        set_wall(m);
    else
        restart(m);
    look_at_all(m);
}

static void run_model(bool boots_known)
{
    const char *seed = getenv("FILESHARE_FAULT_SEED"), *rounds = getenv("FILESHARE_FAULT_ROUNDS");
    struct model *m = calloc(1, sizeof *m);
    assert_non_null(m);
    m->dice = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    print_message("FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)m->dice);
    m->boot = boots_known;
    m->subject = subject_new();
    m->subject->limits.event_seconds = 7 * DAY;
    m->subject->limits.upload_idle_seconds = DAY;
    clock_test_boot(&m->subject->clock, m->boot, SECONDS(5));
    subject_open(m->subject);
    for (int left = rounds ? atoi(rounds) : ROUNDS; left > 0; left--)
        one_round(m);
    print_message("%u restarts, %u after a kill, %u of the machine; the clock set %u times; ended:",
                  m->restarts, m->crashes, m->boots, m->sets);
    for (int kind = 0; kind < KINDS; kind++) {
        print_message(" %u of %s%s", m->ended[kind], kind_names[kind], kind + 1 < KINDS ? "," : "\n");
        assert_true(rounds || m->ended[kind] > 0);
    }
    subject_free(m->subject);
    free(m);
}

static void clocks_at_random(void **state)
{
    (void)state;
    run_model(true);
}

/* Where the machine does not tell one run from the next. */
static void clocks_without_boots(void **state)
{
    (void)state;
    run_model(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_at_random),
        cmocka_unit_test(clocks_without_boots),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
