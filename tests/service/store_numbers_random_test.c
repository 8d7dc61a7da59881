/*
 * The numbers of events again, by what the acts are made of: acts that are undone beside
 * others that are not, lives of the store and its clocks at random; and what a full mailbox costs.
 */
#include "server/store/local/local.h"
#include "server/store/local/mailboxes.h"
#include "server/store/local/notices.h"
#include "service/store_conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LIMIT = 8, BOXES = 3, MOST = 64 };

static struct id made_box(struct subject *s, const struct id *secret)
{
    const struct id box = secret ? *secret : id_random();
    alice_waits(s, &box, "f", 300 * 86400, true);
    return box;
}

/* ---- an act that gives one mailbox events, and ends as it is told ---- */

struct giving {
    const struct id *box;
    unsigned count;
    enum outcome end;
};

static enum outcome give_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    const struct giving *giving = argument;
    struct mailbox mailbox;
    const struct id none = {.octets = {0}};
    enum outcome outcome = mailbox_find(db, giving->box, &mailbox, why);
    for (unsigned i = 0; i < giving->count && outcome == OUTCOME_OK; i++) {
        int64_t newest = 0;
        assert_ok(events_newest(db, mailbox.row, &newest, why));
        assert_ok(notices_make_place(local, db, mailbox.row, newest, why));
        const struct event_row row = {.mailbox = mailbox.row,
                                      .number = events_number(local, newest),
                                      .kind = STORE_EXPIRED,
                                      .interest = &none,
                                      .pattern = "f"};
        outcome = events_add(local, db, &row, why);
    }
    return outcome == OUTCOME_OK && giving->end != OUTCOME_OK ? failure_set(why, giving->end, "undone")
                                                              : outcome;
}

static void give(struct subject *s, struct giving *givings, size_t count)
{
    struct writer_act acts[4];
    struct failure why[4];
    for (size_t i = 0; i < count; i++)
        acts[i] = (struct writer_act){.run = give_run, .argument = &givings[i], .why = &why[i]};
    writer_do_all(&((struct local *)(void *)s->store)->writer, acts, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(acts[i].outcome, givings[i].end);
}

/* ---- a client that remembers ---- */

struct listener {
    struct id box;
    uint64_t seen;  /* the highest number */
    uint64_t owed;  /* events that came since it looked */
    uint64_t shown; /* at its last look, and not acknowledged yet */
    bool gap; /* the store was opened while some waited: then some that were shown may count as dropped */
};

/* All that is owed is told, by higher numbers than any before; `acknowledge`: it is gone then. */
static void look(struct subject *s, struct listener *of, bool acknowledge)
{
    struct store_event found[MOST];
    bool more;
    uint64_t told = 0;
    size_t count = events(s, &of->box, of->seen, found, MOST, &more);
    assert_false(more);
    assert_true(count <= LIMIT);
    for (size_t i = 0; i < count; i++) {
        assert_true(found[i].number > of->seen);
        of->seen = found[i].number;
        told += found[i].kind == STORE_DROPPED ? found[i].dropped : 1;
    }
    if (of->gap)
        assert_true(told >= of->owed && told <= of->owed + of->shown);
    else
        assert_int_equal(told, of->owed);
    of->shown = told;
    of->owed = 0;
    if (!acknowledge)
        return;
    assert_int_equal(events(s, &of->box, of->seen, found, MOST, &more), 0);
    of->shown = 0;
    of->gap = false;
}

static void reopen(struct subject *s, struct listener *all)
{
    clock_test_step_wall(&s->clock, (rand() % 7 - 4) * 86400 * (int64_t)CLOCK_SECOND);
    subject_restart(s);
    for (unsigned i = 0; i < BOXES; i++)
        all[i].gap |= all[i].owed + all[i].shown > 0;
}

/* One file for all who wait. */
static void arrive(struct subject *s, struct listener *all)
{
    assert_ok(replace(s, &bob, "f", "x", NULL));
    fan_out(s);
    for (unsigned i = 0; i < BOXES; i++)
        all[i].owed++;
}

/* Of three acts of one transaction some are undone, which had taken numbers. */
static void undo_some(struct subject *s, struct listener *all)
{
    struct giving of[3];
    for (unsigned i = 0; i < 3; i++) {
        struct listener *listener = &all[rand() % BOXES];
        of[i] = (struct giving){.box = &listener->box,
                                .count = 1 + (unsigned)rand() % 2,
                                .end = rand() % 2 ? OUTCOME_OK : OUTCOME_FAULT};
        listener->owed += of[i].end == OUTCOME_OK ? of[i].count : 0;
    }
    give(s, of, 3);
}

static void attach(struct subject *s, const struct listener *of)
{
    struct store_mailbox waits;
    struct store_event found[MOST];
    bool more;
    assert_ok(s->acts->mailbox_route(s->store, &alice, &of->box, "here", 4, &waits, &store_why));
    size_t count = events(s, &of->box, 0, found, MOST, &more);
    assert_int_equal(waits.waiting, count);
    assert_int_equal(waits.newest, count > 0 ? found[count - 1].number : 0);
}

/* The same mailbox again, for a client that remembers. */
static void forget(struct subject *s, struct listener *of)
{
    assert_ok(s->acts->mailbox_forget(s->store, &of->box, &store_why));
    made_box(s, &of->box);
    of->owed = of->shown = 0;
    of->gap = false;
}

/* ---- what is counted ---- */

static enum outcome compare_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    (void)argument;
    scoped_query struct query q = query_on(
        db, "SELECT mailbox, max(number), count(*) FROM event GROUP BY mailbox");
    enum outcome outcome = query_row(&q, why);
    for (; outcome == OUTCOME_OK; outcome = query_row(&q, why)) {
        int64_t mailbox = column_int(&q), newest = column_int(&q), count = 0;
        assert_ok(events_waiting(local, db, mailbox, newest, &count, why));
        assert_int_equal(count, column_int(&q));
        assert_true(newest <= local->event_numbers.last);
    }
    assert_outcome(outcome, OUTCOME_ABSENT);
    return OUTCOME_OK;
}

static void compare(struct subject *s)
{
    assert_ok(writer_do(&((struct local *)(void *)s->store)->writer, compare_run, NULL, &store_why));
}

static void one_step(struct subject *s, struct listener *all)
{
    struct listener *one = &all[rand() % BOXES];
    switch (rand() % 16) {
    case 0: reopen(s, all); break;
    case 1: forget(s, one); break;
    case 10: attach(s, one); break;
    case 2: step(s, (unsigned)rand() % 100000); break;
    case 3:
    case 4: look(s, one, true); break;
    case 5:
    case 6: look(s, one, false); break;
    case 7:
    case 8:
    case 9: undo_some(s, all); break;
    default: arrive(s, all); break;
    }
    compare(s);
}

static void whatever_happens(void **state)
{
    enum { STEPS = 2000 };
    struct subject *s = *state;
    struct listener all[BOXES] = {0};
    struct store_audit found;
    s->limits.events_per_mailbox = LIMIT;
    s->limits.event_seconds = 300 * 86400;
    subject_restart(s);
    const char *text = getenv("FILESHARE_FAULT_SEED");
    unsigned seed = text ? (unsigned)strtoul(text, NULL, 0) : (unsigned)time(NULL);
    print_message("FILESHARE_FAULT_SEED=%u\n", seed);
    srand(seed);
    for (unsigned i = 0; i < BOXES; i++)
        all[i].box = made_box(s, NULL);
    for (unsigned i = 0; i < STEPS; i++)
        one_step(s, all);
    assert_ok(s->acts->audit(s->store, false, &found, &store_why));
    assert_true(store_audit_is_sound(&found));
}

/* ---- what it costs ---- */

/* Of the processor, an arrival; the best of some rounds. */
static int64_t cost_of_arrivals(struct subject *s)
{
    enum { ROUNDS = 10, ARRIVALS = 20 };
    int64_t best = INT64_MAX;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct timespec from, to;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        for (unsigned n = 0; n < ARRIVALS; n++)
            assert_ok(replace(s, &bob, "f", "x", NULL));
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        int64_t took = (to.tv_sec - from.tv_sec) * CLOCK_SECOND + to.tv_nsec - from.tv_nsec;
        if (took < best)
            best = took;
    }
    return best / ARRIVALS;
}

/* Nobody pays for those who do not look after their mailboxes: that one is full is seen without a look at all it holds. */
static void full_ones_cost_no_more(void **state)
{
    enum { MANY = 10000, FULL = 4 };
    struct subject *s = *state;
    struct id boxes[FULL];
    s->limits.events_per_mailbox = MANY;
    subject_restart(s);
    for (unsigned i = 0; i < FULL; i++)
        boxes[i] = made_box(s, NULL);
    const int64_t empty = cost_of_arrivals(s);
    for (unsigned i = 0; i < FULL; i++)
        give(s, &(struct giving){.box = &boxes[i], .count = MANY}, 1);
    const int64_t full = cost_of_arrivals(s);
    step(s, 1);
    subject_restart(s);
    assert_ok(replace(s, &bob, "f", "x", NULL));
    const int64_t older = cost_of_arrivals(s);
    print_message("an arrival: %lld ns, with %d full mailboxes %lld, opened anew %lld\n", (long long)empty,
                  FULL, (long long)full, (long long)older);
    assert_true(full < 3 * empty);
    assert_true(older < 3 * empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SUBJECT_TEST(whatever_happens),
        SUBJECT_TEST(full_ones_cost_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
