/*
 * Renewing, running out, cancelling and arriving at the same moment, from threads
 * that know nothing of each other: each interest has exactly one end, and who
 * renewed, who cancelled and the mailbox all say the same one.
 *
 *     FILESHARE_FAULT_SEED=N, FILESHARE_FAULT_ROUNDS=N
 *
 * A round has LANES interests, of a mailbox and a name each, that run out some
 * moments of a test clock later. Everybody notes when they began and ended what
 * they did, in ticks that order whatever did not overlap.
 */
#include "service/store_subject.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECONDS(count) ((int64_t)(count)*CLOCK_SECOND)

enum { LANES = 23, ARRIVALS = 3, EVENTS = ARRIVALS + 2, ROUNDS = 150, LIFE = 4, STEP_MS = 250 };

struct span {
    uint64_t began, ended; /* ticks; 0: not done */
};

struct lane {
    /* set before the round */
    struct id mailbox, interest, renew_op, cancel_op;
    char name[32], pattern[32];
    bool glob, every, renews, cancels, repeats;
    unsigned arrivals;
    int64_t registered; /* wall clock before it */

    /* each written by one thread, read when all are done */
    struct span renewed, cancelled, arrived[ARRIVALS];
    enum outcome renewal;
    int64_t renewed_at; /* wall clock before it */
    struct store_cancelled cancel;
    struct store_event seen[EVENTS]; /* in the mailbox right after it was cancelled */
    size_t seen_count;
    struct id versions[ARRIVALS];
};

struct race {
    struct subject *subject;
    uint64_t seed;
    unsigned round;
    atomic_uint_fast64_t tick;
    atomic_uint running;
    atomic_uint wrong;
    unsigned outcomes[5], renewals, late_renewals, repeats; /* by state: what became of them */
    struct lane lanes[LANES];
};

static uint32_t throw_below(uint64_t *dice, uint32_t below)
{
    uint64_t word = *dice += UINT64_C(0x9e3779b97f4a7c15);
    word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((word ^ (word >> 31)) % below);
}

static uint64_t now(struct race *race)
{
    return atomic_fetch_add(&race->tick, 1) + 1;
}

static void wrong(struct race *race, const struct lane *lane, const char *what)
{
    if (atomic_fetch_add(&race->wrong, 1) < 10)
        print_error("WRONG in round %u: %s%s %s: %s (renewed %s, cancelled %d)\n", race->round,
                    lane->every ? "every " : "", lane->glob ? "glob" : "name", lane->pattern, what,
                    lane->renewed.ended ? outcome_name(lane->renewal) : "not",
                    lane->cancelled.ended ? (int)lane->cancel.state : -1);
}

/* ---- who takes part ---- */

/* A thread of a round: goes through the lanes in an order and at a pace of its own. */
struct actor {
    struct race *race;
    void (*act)(struct race *race, struct lane *lane, uint64_t *dice);
    uint64_t dice;
    pthread_t thread;
};

static void pause_some(uint64_t *dice, uint32_t most_us)
{
    usleep(throw_below(dice, most_us));
}

static void *run_actor(void *argument)
{
    struct actor *actor = argument;
    /* LANES is a prime: any step goes through all of them */
    uint32_t step = 1 + throw_below(&actor->dice, LANES - 1), at = throw_below(&actor->dice, LANES);
    pause_some(&actor->dice, 3000);
    for (unsigned i = 0; i < LANES; i++, at = (at + step) % LANES) {
        actor->act(actor->race, &actor->race->lanes[at], &actor->dice);
        if (throw_below(&actor->dice, 3) == 0)
            pause_some(&actor->dice, 400);
    }
    atomic_fetch_sub(&actor->race->running, 1);
    return NULL;
}

static void act_renew(struct race *race, struct lane *lane, uint64_t *dice)
{
    struct store *store = race->subject->store;
    struct failure why;
    uint32_t left = 0, again = 0;
    if (!lane->renews)
        return;
    lane->renewed_at = clock_wall(&race->subject->clock);
    lane->renewed.began = now(race);
    lane->renewal = store->acts->interest_renew(store, &alice, &lane->renew_op, &lane->mailbox,
                                                &lane->interest, LIFE, &left, &why);
    lane->renewed.ended = now(race);
    if (lane->renewal == OUTCOME_OK && left != LIFE)
        wrong(race, lane, "it was renewed for another time");
    /* the reply was lost: asked again, it is the same, if it was done, whatever happened since */
    if (!lane->repeats || lane->renewal != OUTCOME_OK)
        return;
    pause_some(dice, 200);
    if (store->acts->interest_renew(store, &alice, &lane->renew_op, &lane->mailbox, &lane->interest, LIFE,
                                    &again, &why) != OUTCOME_OK ||
        again != left)
        wrong(race, lane, "a renewal that is repeated has another answer");
}

static void read_mailbox(struct race *race, const struct lane *lane, struct store_event *events,
                         size_t *count)
{
    bool more;
    struct failure why;
    struct store *store = race->subject->store;
    enum outcome outcome = store->acts->mailbox_events(store, &lane->mailbox, 0, events, EVENTS, count, &more,
                                                       &why);
    if (outcome != OUTCOME_OK || more)
        wrong(race, lane, outcome == OUTCOME_OK ? "there are too many events" : why.text);
}

static void act_cancel(struct race *race, struct lane *lane, uint64_t *dice)
{
    struct store *store = race->subject->store;
    struct store_interest_drop drop = {.op = lane->cancel_op,
                                       .mailbox = lane->mailbox,
                                       .interest = lane->interest};
    struct store_cancelled again;
    struct failure why;
    size_t count = 0;
    bool more;
    if (!lane->cancels)
        return;
    if (throw_below(dice, 3) == 0) { /* by its name */
        drop.interest = (struct id){0};
        drop.pattern = lane->pattern;
    }
    lane->cancelled.began = now(race);
    enum outcome outcome = store->acts->interest_drop(store, &alice, &drop, &lane->cancel, 1, &count, &more,
                                                      &why);
    lane->cancelled.ended = now(race);
    if (outcome != OUTCOME_OK || count != 1 || more)
        wrong(race, lane, outcome == OUTCOME_OK ? "it is not one that is cancelled" : why.text);
    read_mailbox(race, lane, lane->seen, &lane->seen_count);
    if (!lane->repeats)
        return;
    outcome = store->acts->interest_drop(store, &alice, &drop, &again, 1, &count, &more, &why);
    if (outcome != OUTCOME_OK || count != 1 || again.state != lane->cancel.state ||
        again.has_event != lane->cancel.has_event || again.event.number != lane->cancel.event.number)
        wrong(race, lane, "a cancel that is repeated has another answer");
}

static void act_publish(struct race *race, struct lane *lane, uint64_t *dice)
{
    struct store *store = race->subject->store;
    struct store_entry entry;
    struct failure why;
    bool left = false;
    for (unsigned i = 0; i < lane->arrivals; i++) {
        struct store_put put = {.op = lane->versions[i],
                                .name = lane->name,
                                .condition.replace = true,
                                .content = &i,
                                .size = sizeof i};
        lane->arrived[i].began = now(race);
        if (store->acts->put(store, &bob, &put, &entry, &why) != OUTCOME_OK)
            wrong(race, lane, why.text);
        lane->arrived[i].ended = now(race);
        /* Most publishers spread the news themselves; some die before. */
        if (throw_below(dice, 3) > 0 && store->acts->fan_out(store, 64, &left, &why) != OUTCOME_OK)
            wrong(race, lane, why.text);
    }
}

/* Time goes on by a lane's worth of a quarter second, and upkeep comes by. */
static void act_upkeep(struct race *race, struct lane *lane, uint64_t *dice)
{
    struct store *store = race->subject->store;
    struct store_sweep swept;
    struct failure why;
    int64_t next;
    bool left = false;
    clock_test_step(&race->subject->clock, (int64_t)throw_below(dice, 2 * STEP_MS) * 1000000);
    if (throw_below(dice, 2) && store->acts->sweep(store, &swept, &left, &next, &why) != OUTCOME_OK)
        wrong(race, lane, why.text);
    if (throw_below(dice, 4) == 0 && store->acts->fan_out(store, 8, &left, &why) != OUTCOME_OK)
        wrong(race, lane, why.text);
}

/* ---- a round ---- */

static void begin_lane(struct race *race, struct lane *lane, unsigned number, uint64_t *dice)
{
    struct store_registration made;
    *lane = (struct lane){
        .mailbox = id_random(),
        .interest = id_random(),
        .renew_op = id_random(),
        .cancel_op = id_random(),
        .glob = throw_below(dice, 2),
        .every = throw_below(dice, 2),
        .renews = throw_below(dice, 3) > 0,
        .cancels = throw_below(dice, 3) > 0,
        .repeats = throw_below(dice, 2),
        .arrivals = throw_below(dice, ARRIVALS + 1),
    };
    for (int i = 0; i < ARRIVALS; i++)
        lane->versions[i] = id_random();
    snprintf(lane->name, sizeof lane->name, "r%u/%u/file", race->round, number);
    if (lane->glob && throw_below(dice, 8) == 0)
        snprintf(lane->pattern, sizeof lane->pattern, "*%u/%u/file", race->round, number);
    else
        snprintf(lane->pattern, sizeof lane->pattern, "r%u/%u/%s", race->round, number,
                 lane->glob ? "f*" : "file");
    lane->registered = clock_wall(&race->subject->clock);
    struct store_interest_add add = {.mailbox = lane->mailbox,
                                     .interest = lane->interest,
                                     .pattern = lane->pattern,
                                     .glob = lane->glob,
                                     .every = lane->every,
                                     .seconds = 1 + throw_below(dice, LIFE)};
    assert_ok(interest(race->subject, &alice, &add, NULL, 0, &made));
    lane->registered += SECONDS(add.seconds);
}

static void run_round(struct race *race)
{
    uint64_t dice = race->seed + race->round * UINT64_C(1000003);
    struct actor actors[] = {
        {.race = race, .act = act_renew},
        {.race = race, .act = act_cancel},
        {.race = race, .act = act_publish},
        {.race = race, .act = act_upkeep},
    };
    enum { ACTORS = sizeof actors / sizeof *actors };
    for (unsigned i = 0; i < LANES; i++)
        begin_lane(race, &race->lanes[i], i, &dice);
    race->running = ACTORS;
    for (unsigned i = 0; i < ACTORS; i++) {
        actors[i].dice = dice + i * UINT64_C(7919);
        assert_int_equal(pthread_create(&actors[i].thread, NULL, run_actor, &actors[i]), 0);
    }
    for (unsigned i = 0; i < ACTORS; i++)
        pthread_join(actors[i].thread, NULL);
    /* Whatever waits still runs out. */
    step(race->subject, 2 * LIFE + 1);
    fan_out(race->subject);
    sweep(race->subject, NULL, NULL);
}

/* ---- the audit ---- */

struct told {
    struct store_event events[EVENTS];
    size_t count, arrived, unmet;
};

static bool is_arrival(const struct lane *lane, unsigned n, const struct store_event *event)
{
    return event->kind == STORE_ARRIVED && id_equal(&lane->versions[n], &event->entry.version);
}

static bool was_told(const struct lane *lane, unsigned n, const struct told *told)
{
    for (size_t i = 0; i < told->count; i++)
        if (is_arrival(lane, n, &told->events[i]))
            return true;
    return false;
}

/* Each event by itself: of this interest, an arrival that there was, once; an end not before its time. */
static void audit_events(struct race *race, const struct lane *lane, struct told *told)
{
    int64_t due = lane->registered;
    if (lane->renewed.ended && lane->renewal == OUTCOME_OK)
        due = lane->renewed_at + SECONDS(LIFE);
    read_mailbox(race, lane, told->events, &told->count);
    for (size_t i = 0; i < told->count; i++) {
        const struct store_event *event = &told->events[i];
        unsigned which = 0;
        while (which < lane->arrivals && !is_arrival(lane, which, event))
            which++;
        told->arrived += event->kind == STORE_ARRIVED;
        told->unmet += event->kind == STORE_EXPIRED;
        if (!id_equal(&event->interest, &lane->interest))
            wrong(race, lane, "an event is another interest's");
        if (event->kind == STORE_ARRIVED && which == lane->arrivals)
            wrong(race, lane, "an event tells of what never came");
        if (event->kind == STORE_EXPIRED && event->happened < due)
            wrong(race, lane, "it ended before its time");
        for (size_t j = 0; j < i; j++)
            if (event->kind == STORE_ARRIVED && is_arrival(lane, which, &told->events[j]))
                wrong(race, lane, "an arrival is told twice");
    }
}

/* One end, of which there is one event at most. */
static void audit_end(struct race *race, const struct lane *lane, const struct told *told)
{
    bool cancelled = lane->cancelled.ended && lane->cancel.state == STORE_CANCELLED;
    if (told->unmet > 1 || (told->unmet > 0 && told->arrived > 0))
        wrong(race, lane, "it ran out unmet, and it was met, or it did so twice");
    if (!lane->every && told->count > 1)
        wrong(race, lane, "once was told more than once");
    if (!cancelled && told->count == 0)
        wrong(race, lane, "neither an arrival nor the end was told");
    if (cancelled && told->unmet > 0)
        wrong(race, lane, "it was cancelled, and its end is told");
    if (cancelled && !lane->every && told->count > 0)
        wrong(race, lane, "it was cancelled, and it was met");
}

static void audit_cancel(struct race *race, const struct lane *lane, const struct told *told)
{
    const struct store_cancelled *cancel = &lane->cancel;
    if (!lane->cancelled.ended)
        return;
    if (cancel->state == STORE_NEVER || cancel->state == STORE_WAITING)
        wrong(race, lane, "an interest that there was is not known");
    if (cancel->state == STORE_MET && (lane->every || told->arrived != 1 || !cancel->has_event ||
                                       cancel->event.number != told->events[0].number))
        wrong(race, lane, "who cancelled was told that it was met by something else than the mailbox says");
    if (cancel->state == STORE_OVER && !lane->every && told->unmet != 1)
        wrong(race, lane, "who cancelled was told that it had run out, and the mailbox says something else");
    /* nothing more comes after the answer; where it was met or over, that was in the mailbox by then */
    if (told->count != lane->seen_count)
        wrong(race, lane, "an event came after the answer to the cancel");
}

/* What was there before somebody asked counts; what came after the last word does not. */
static void audit_order(struct race *race, const struct lane *lane, const struct told *told)
{
    const struct span *cancelled = &lane->cancelled;
    bool gone = cancelled->ended && lane->cancel.state == STORE_CANCELLED;
    for (unsigned n = 0; n < lane->arrivals; n++) {
        const struct span *arrived = &lane->arrived[n];
        bool first = n == 0 || lane->every;
        if (gone && first && arrived->ended < cancelled->began && !was_told(lane, n, told))
            wrong(race, lane, "it came before the cancel, and was not told");
        if (cancelled->ended && arrived->began > cancelled->ended && was_told(lane, n, told))
            wrong(race, lane, "it came after the cancel, and was told");
        if (lane->renewed.ended && lane->renewal == OUTCOME_EXPIRED && arrived->began > lane->renewed.ended &&
            was_told(lane, n, told))
            wrong(race, lane, "it came after somebody was told that the time was over");
    }
}

static void audit_renewal(struct race *race, const struct lane *lane, const struct told *told)
{
    bool dropped_first = lane->cancelled.ended && lane->cancelled.began < lane->renewed.ended;
    if (!lane->renewed.ended || lane->renewal == OUTCOME_OK)
        return;
    if (lane->renewal == OUTCOME_ABSENT && !dropped_first)
        wrong(race, lane, "an interest that there was cannot be renewed");
    else if (lane->renewal == OUTCOME_EXPIRED && (told->unmet != 1 && !(lane->every && told->arrived > 0)))
        wrong(race, lane, "who renewed was told that it had run out, and the mailbox says something else");
    else if (lane->renewal == OUTCOME_CHANGED && (lane->every || told->arrived != 1))
        wrong(race, lane, "who renewed was told that it was met, and the mailbox says something else");
    else if (lane->renewal != OUTCOME_ABSENT && lane->renewal != OUTCOME_EXPIRED &&
             lane->renewal != OUTCOME_CHANGED)
        wrong(race, lane, "it could not be renewed");
    if (lane->renewal != OUTCOME_ABSENT && lane->cancelled.began > lane->renewed.ended &&
        lane->cancel.state == STORE_CANCELLED)
        wrong(race, lane, "it was over for who renewed, and cancelled after that");
}

static void audit_round(struct race *race)
{
    for (struct lane *lane = race->lanes; lane < race->lanes + LANES; lane++) {
        struct told told = {0};
        audit_events(race, lane, &told);
        audit_end(race, lane, &told);
        audit_cancel(race, lane, &told);
        audit_order(race, lane, &told);
        audit_renewal(race, lane, &told);
        race->outcomes[lane->cancelled.ended ? lane->cancel.state : told.unmet ? STORE_OVER : STORE_MET]++;
        race->renewals += lane->renewed.ended && lane->renewal == OUTCOME_OK;
        race->late_renewals += lane->renewed.ended && lane->renewal != OUTCOME_OK;
        race->repeats += lane->repeats;
        /* the mailbox goes, and with it the interest that may be remembered */
        assert_ok(race->subject->acts->mailbox_forget(race->subject->store, &lane->mailbox, &store_why));
    }
}

static void everybody_at_once(void **state)
{
    const char *seed = getenv("FILESHARE_FAULT_SEED"), *rounds = getenv("FILESHARE_FAULT_ROUNDS");
    struct race *race = calloc(1, sizeof *race);
    assert_non_null(race);
    race->subject = *state;
    race->seed = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    print_message("FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)race->seed);
    unsigned most = rounds ? (unsigned)atoi(rounds) : ROUNDS;
    for (race->round = 1; race->round <= most && race->wrong == 0; race->round++) {
        run_round(race);
        audit_round(race);
    }
    struct store_health health;
    assert_ok(race->subject->acts->health(race->subject->store, &health, &store_why));
    assert_int_equal(health.interests + health.mailboxes + health.events, 0);
    print_message("%u interests: %u cancelled, %u met, %u run out; %u renewed, %u too late; %u asked twice\n",
                  (race->round - 1) * LANES, race->outcomes[STORE_CANCELLED], race->outcomes[STORE_MET],
                  race->outcomes[STORE_OVER], race->renewals, race->late_renewals, race->repeats);
    assert_int_equal(race->wrong, 0);
    assert_true(race->outcomes[STORE_CANCELLED] && race->outcomes[STORE_MET] && race->outcomes[STORE_OVER]);
    assert_true(race->renewals && race->late_renewals);
    free(race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everybody_at_once, subject_setup, subject_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
