/*
 * Interests of a real server that are renewed, run out, cancelled and met at the
 * same moment, each by a connection of its own, while calls and replies are lost
 * and the server is killed: what each was answered, and what the listener was
 * told, is one and the same end.
 *
 *     FILESHARE_FAULT_SEED=N, FILESHARE_FAULT_SECONDS=N
 *
 * service/store_races_test.c does it to the store alone, a thousand times as often.
 */
#include "fault/dropper.h"
#include "fault/program.h"
#include "fault/shift.h"
#include "fault/world.h"

#include "proto/fileshare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SECONDS(count) ((int64_t)(count)*CLOCK_SECOND)

enum {
    LANES = 23, /* a prime */
    LIFE = 4,
    LONGEST = 30, /* longer than a round can last by the server's clock, renewals included */
    ARRIVALS = 2,
    HEARD = 8, /* events of one interest: more than there can be */
    QUICK_SECONDS = 12,
    PATIENCE_SECONDS = 120,
    TOLD_WITHIN_MS = 10000,
    WAITS = 8,
    WAIT_ROUNDS = 3
};

struct span {
    uint64_t began, ended; /* ticks; 0: not done */
};

struct lane {
    struct fileshare_id id;
    char name[32], pattern[32];
    bool every, renews, cancels;
    unsigned arrivals;
    int64_t due; /* shift_now; by its registration */

    struct span renewed, cancelled, arrived[ARRIVALS];
    enum fileshare_status renewal;
    int64_t renewed_due;
    enum fileshare_interest_state cancel;
    struct fileshare_id versions[ARRIVALS];

    /* under the race's lock */
    struct fileshare_event heard[HEARD];
    int64_t heard_at[HEARD]; /* shift_now */
    unsigned heard_count;
};

enum side { RENEWS, CANCELS, PUBLISHES, SIDES };

static struct race {
    struct world world;
    struct shift shift;
    struct dropper *dropper;
    struct fileshare *listener, *sides[SIDES];
    struct dice dice;
    unsigned round, drops, outcomes[5], renewals, late_renewals;
    atomic_uint_fast64_t tick;
    pthread_mutex_t lock; /* guards what the lanes heard */
    struct lane lanes[LANES];
} race;

static uint64_t tick(void)
{
    return atomic_fetch_add(&race.tick, 1) + 1;
}

static void wrong(const struct lane *lane, const char *what)
{
    world_wrong(&race.world, "round %u: %s%s: %s (renewal %d, cancel %d, %u events)", race.round,
                lane->every ? "every " : "", lane->pattern, what,
                lane->renewed.ended ? (int)lane->renewal : -1, lane->cancelled.ended ? (int)lane->cancel : -1,
                lane->heard_count);
}

static bool hear(void *context, const struct fileshare_event *event)
{
    (void)context;
    bool known = false;
    pthread_mutex_lock(&race.lock);
    for (struct lane *lane = race.lanes; lane < race.lanes + LANES; lane++) {
        if (memcmp(&lane->id, &event->interest, sizeof lane->id) != 0)
            continue;
        known = true;
        if (lane->heard_count == HEARD)
            abort();
        lane->heard[lane->heard_count] = *event;
        lane->heard_at[lane->heard_count++] = shift_now(&race.shift);
    }
    pthread_mutex_unlock(&race.lock);
    if (!known)
        world_wrong(&race.world, "round %u: event %llu, %s, comes after the round of its interest",
                    race.round, (unsigned long long)event->number, event->pattern);
    race.world.events++;
    return true;
}

/* ---- who takes part ---- */

static void act_renew(struct lane *lane)
{
    struct fileshare_error error = {0};
    uint32_t left = 0;
    if (!lane->renews)
        return;
    lane->renewed_due = shift_now(&race.shift) + SECONDS(LIFE);
    lane->renewed.began = tick();
    lane->renewal = fileshare_renew(race.sides[RENEWS], &lane->id, LIFE, &left, &error);
    lane->renewed.ended = tick();
    if (lane->renewal == FILESHARE_OK && left != LIFE)
        wrong(lane, "it was renewed for another time");
}

static void take_state(void *context, const struct fileshare_interest *interest)
{
    ((struct lane *)context)->cancel = interest->state;
}

static void act_cancel(struct lane *lane)
{
    struct fileshare_error error = {0};
    if (!lane->cancels)
        return;
    lane->cancelled.began = tick();
    enum fileshare_status status = fileshare_cancel(race.sides[CANCELS], &lane->id, NULL, take_state, lane,
                                                    &error);
    lane->cancelled.ended = tick();
    if (status != FILESHARE_OK)
        wrong(lane, error.text);
}

static void act_publish(struct lane *lane)
{
    struct fileshare_entry entry = {0};
    struct fileshare_error error = {0};
    for (unsigned i = 0; i < lane->arrivals; i++) {
        lane->arrived[i].began = tick();
        if (world_put(&race.world, race.sides[PUBLISHES], lane->name, 100, race.round * 100 + i, true, &entry,
                      &error) != FILESHARE_OK)
            wrong(lane, error.text);
        lane->versions[i] = entry.version;
        lane->arrived[i].ended = tick();
    }
}

struct actor {
    void (*act)(struct lane *lane);
    struct dice dice;
    pthread_t thread;
};

static void *run_actor(void *argument)
{
    struct actor *actor = argument;
    uint32_t step = 1 + dice_throw(&actor->dice, LANES - 1), at = dice_throw(&actor->dice, LANES);
    for (unsigned i = 0; i < LANES; i++, at = (at + step) % LANES) {
        actor->act(&race.lanes[at]);
        usleep(dice_throw(&actor->dice, 8000));
    }
    return NULL;
}

/* ---- a round ---- */

static void begin_lane(struct lane *lane, unsigned number)
{
    struct fileshare_error error = {0};
    struct fileshare_registered registered;
    bool glob = dice_throw(&race.dice, 2);
    struct lane fresh = {.every = dice_throw(&race.dice, 2),
                         .renews = dice_throw(&race.dice, 3) > 0,
                         .cancels = dice_throw(&race.dice, 3) > 0,
                         .arrivals = dice_throw(&race.dice, ARRIVALS + 1)};
    snprintf(fresh.name, sizeof fresh.name, "r%u/%u/file", race.round, number);
    snprintf(fresh.pattern, sizeof fresh.pattern, "r%u/%u/%s", race.round, number, glob ? "f*" : "file");
    uint32_t seconds = 1 + dice_throw(&race.dice, LIFE);
    if (number == 0) { /* nobody touches this one */
        fresh.every = fresh.renews = fresh.cancels = false;
        fresh.arrivals = 0;
        seconds = LONGEST;
    }
    struct fileshare_register what = {.pattern = fresh.pattern,
                                      .glob = glob,
                                      .every = fresh.every,
                                      .seconds = seconds};
    fresh.due = shift_now(&race.shift) + SECONDS(seconds);
    enum fileshare_status status = fileshare_interest(race.listener, &what, NULL, NULL, &registered, &error);
    fresh.id = registered.id;
    if (status != FILESHARE_OK || !registered.registered)
        fail_msg("no interest: %s", error.text);
    pthread_mutex_lock(&race.lock);
    *lane = fresh;
    pthread_mutex_unlock(&race.lock);
}

/* Time goes on, and in every third round the server dies in the middle of it. */
static void let_it_happen(void)
{
    unsigned dies_at = dice_throw(&race.dice, 3) == 0 ? dice_throw(&race.dice, 20) : UINT32_MAX;
    for (unsigned i = 0; i < 20; i++) {
        usleep(dice_throw(&race.dice, 10000));
        shift_pass(&race.shift, dice_throw(&race.dice, 400) * INT64_C(1000000));
        if (i != dies_at)
            continue;
        daemon_stop(&race.world.server, SIGKILL);
        race.world.kills++;
        daemon_start(&race.world.server);
    }
}

static unsigned heard_by(struct lane *lane)
{
    pthread_mutex_lock(&race.lock);
    unsigned count = lane->heard_count;
    pthread_mutex_unlock(&race.lock);
    return count;
}

/* Events come in order: when the end of the one that lasts longest is told, all that is owed was. */
static void hear_it_out(void)
{
    int64_t until = milliseconds() + (int64_t)TOLD_WITHIN_MS * slowness();
    shift_pass(&race.shift, SECONDS(LONGEST));
    while (heard_by(&race.lanes[0]) == 0 && milliseconds() < until)
        usleep(2000);
}

static void run_round(void)
{
    struct actor actors[SIDES] = {{.act = act_renew}, {.act = act_cancel}, {.act = act_publish}};
    static const uint32_t procedures[] = {FSPROC_RENEW_INTEREST, FSPROC_CANCEL_INTEREST};
    for (unsigned i = 0; i < LANES; i++)
        begin_lane(&race.lanes[i], i);
    dropper_plan(race.dropper, procedures[race.round % 2], dice_throw(&race.dice, 2) ? LOST_CALL : LOST_REPLY,
                 1 + dice_throw(&race.dice, LANES / 2));
    for (unsigned i = 0; i < SIDES; i++) {
        actors[i].dice = dice_of(race.world.seed + race.round, 10 + i);
        assert_int_equal(pthread_create(&actors[i].thread, NULL, run_actor, &actors[i]), 0);
    }
    let_it_happen();
    for (unsigned i = 0; i < SIDES; i++)
        pthread_join(actors[i].thread, NULL);
    race.drops += dropper_dropped(race.dropper);
    hear_it_out();
}

/* ---- the audit ---- */

static unsigned times_told(const struct lane *lane, unsigned n)
{
    unsigned times = 0;
    for (unsigned i = 0; i < lane->heard_count; i++)
        times += lane->heard[i].kind == FILESHARE_ARRIVED &&
                 memcmp(&lane->heard[i].entry.version, &lane->versions[n], sizeof lane->versions[n]) == 0;
    return times;
}

static unsigned audit_events(const struct lane *lane, unsigned *unmet)
{
    bool prolonged = lane->renewed.ended && lane->renewal == FILESHARE_OK;
    int64_t due = prolonged ? lane->renewed_due : lane->due;
    unsigned arrived = 0, known = 0;
    for (unsigned i = 0; i < lane->heard_count; i++) {
        arrived += lane->heard[i].kind == FILESHARE_ARRIVED;
        *unmet += lane->heard[i].kind == FILESHARE_UNMET;
        if (lane->heard[i].kind == FILESHARE_UNMET && lane->heard_at[i] < due)
            wrong(lane, "it ended before its time");
    }
    for (unsigned n = 0; n < lane->arrivals; n++) {
        known += times_told(lane, n);
        if (times_told(lane, n) > 1)
            wrong(lane, "an arrival was told twice");
    }
    if (known != arrived)
        wrong(lane, "an arrival was told that there never was");
    return arrived;
}

static void audit_order(const struct lane *lane)
{
    bool gone = lane->cancelled.ended && lane->cancel == FILESHARE_CANCELLED;
    for (unsigned n = 0; n < lane->arrivals; n++) {
        const struct span *arrived = &lane->arrived[n];
        if (gone && (n == 0 || lane->every) && arrived->ended < lane->cancelled.began &&
            times_told(lane, n) == 0)
            wrong(lane, "it came before the cancel, and was not told");
        if (lane->cancelled.ended && arrived->began > lane->cancelled.ended && times_told(lane, n) > 0)
            wrong(lane, "it came after the cancel, and was told");
        if (lane->renewed.ended && lane->renewal == FILESHARE_EXPIRED &&
            arrived->began > lane->renewed.ended && times_told(lane, n) > 0)
            wrong(lane, "it came after who renewed was told that the time was over, and was told");
    }
}

static void audit_answers(const struct lane *lane, unsigned arrived, unsigned unmet)
{
    bool cancelled = lane->cancelled.ended && lane->cancel == FILESHARE_CANCELLED;
    bool over = unmet == 1 || (lane->every && arrived > 0);
    if (unmet + (arrived > 0) > 1 || (!lane->every && arrived > 1))
        wrong(lane, "it has more than one end");
    if (!cancelled && arrived + unmet == 0)
        wrong(lane, "it has no end");
    if (cancelled && unmet + (lane->every ? 0 : arrived) > 0)
        wrong(lane, "it was cancelled, and has another end");
    if (lane->cancelled.ended && lane->cancel == FILESHARE_MET && (lane->every || arrived != 1))
        wrong(lane, "who cancelled was told that it was met");
    if (lane->cancelled.ended && lane->cancel == FILESHARE_OVER && !over)
        wrong(lane, "who cancelled was told that it had run out");
    if (!lane->renewed.ended || lane->renewal == FILESHARE_OK)
        return;
    bool gone = lane->cancelled.ended && lane->cancelled.began < lane->renewed.ended;
    if (lane->renewal != FILESHARE_EXPIRED && lane->renewal != FILESHARE_CHANGED &&
        lane->renewal != FILESHARE_ABSENT)
        wrong(lane, "it could not be renewed");
    if ((lane->renewal == FILESHARE_EXPIRED && !over) || (lane->renewal == FILESHARE_ABSENT && !gone) ||
        (lane->renewal == FILESHARE_CHANGED && (lane->every || arrived != 1)))
        wrong(lane, "who renewed was told something else");
}

static void audit_round(void)
{
    pthread_mutex_lock(&race.lock);
    for (const struct lane *lane = race.lanes; lane < race.lanes + LANES; lane++) {
        unsigned unmet = 0, arrived = audit_events(lane, &unmet);
        audit_order(lane);
        audit_answers(lane, arrived, unmet);
        race.outcomes[lane->cancelled.ended ? lane->cancel : unmet ? FILESHARE_OVER : FILESHARE_MET]++;
        race.renewals += lane->renewed.ended && lane->renewal == FILESHARE_OK;
        race.late_renewals += lane->renewed.ended && lane->renewal != FILESHARE_OK;
    }
    pthread_mutex_unlock(&race.lock);
}

/* ---- the tests ---- */

static int begin(void **state)
{
    (void)state;
    char path[96];
    struct fileshare_error error = {0};
    world_begin(&race.world);
    daemon_stop(&race.world.server, SIGTERM);
    snprintf(path, sizeof path, "%s/shift", race.world.server.folder);
    shift_begin(&race.shift, path);
    race.world.server.environment = race.shift.environment;
    daemon_start(&race.world.server);
    race.dice = dice_of(race.world.seed, 1);
    pthread_mutex_init(&race.lock, NULL);
    race.dropper = dropper_new(race.world.server.port);
    race.listener = world_session(&race.world, "race", PATIENCE_SECONDS);
    for (int i = 0; i < SIDES; i++)
        race.sides[i] = i == PUBLISHES ? world_session(&race.world, "race", PATIENCE_SECONDS)
                                       : world_session_by(&race.world, dropper_address(race.dropper), "race",
                                                          PATIENCE_SECONDS);
    if (fileshare_attach(race.listener, hear, NULL, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(race.listener);
    for (int i = 0; i < SIDES; i++)
        fileshare_close(race.sides[i]);
    dropper_free(race.dropper);
    pthread_mutex_destroy(&race.lock);
    world_end(&race.world);
    shift_end(&race.shift);
    return 0;
}

static void test_everybody_at_once(void **state)
{
    (void)state;
    int64_t until = milliseconds() + (int64_t)world_seconds(QUICK_SECONDS) * 1000;
    for (race.round = 1; milliseconds() < until && race.world.wrong == 0; race.round++) {
        run_round();
        audit_round();
    }
    print_message(
        "%u interests: %u cancelled, %u met, %u run out; %u renewed, %u too late; %u messages lost, "
        "%lu kills, %lu events\n",
        (race.round - 1) * LANES, race.outcomes[FILESHARE_CANCELLED], race.outcomes[FILESHARE_MET],
        race.outcomes[FILESHARE_OVER], race.renewals, race.late_renewals, race.drops, race.world.kills,
        race.world.events);
    assert_int_equal(race.world.wrong, 0);
    assert_true(race.outcomes[FILESHARE_CANCELLED] && race.outcomes[FILESHARE_MET] &&
                race.outcomes[FILESHARE_OVER]);
    assert_true(race.renewals && race.late_renewals);
}

/* One `fileshare-client wait` whose time runs out about when its file comes. */
struct waiting {
    struct program program;
    char name[32], out[96];
    int64_t started; /* ms; it cannot have begun to count before */
    uint32_t delay;  /* ms */
    int64_t put_began, put_ended;
};

static void start_waiting(struct waiting *waiting, unsigned number)
{
    snprintf(waiting->name, sizeof waiting->name, "edge/%u", number);
    snprintf(waiting->out, sizeof waiting->out, "%s/wait.%u", race.world.server.folder, number);
    struct program_plan plan = {.server = race.world.server.tcp,
                                .state = race.world.server.folder,
                                .out = waiting->out,
                                .words = {"wait", waiting->name, "--timeout", "1"}};
    waiting->started = milliseconds();
    program_start(&waiting->program, &plan);
}

/* How long one takes for which nothing comes: it ends at the edge. */
static uint32_t measure_edge(void)
{
    struct waiting nothing;
    start_waiting(&nothing, 1000);
    assert_true(program_ends(&nothing.program, (int64_t)TOLD_WITHIN_MS * slowness()));
    assert_int_equal(WEXITSTATUS(nothing.program.status), 4);
    return (uint32_t)(milliseconds() - nothing.started);
}

static void *bring(void *argument)
{
    struct waiting *waiting = argument;
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    struct fileshare *session = world_session(&race.world, "bring", PATIENCE_SECONDS);
    int64_t left = waiting->started + waiting->delay - milliseconds();
    if (left > 0)
        usleep((useconds_t)left * 1000);
    waiting->put_began = milliseconds();
    if (world_put(&race.world, session, waiting->name, 100, 1, false, &entry, &error) != FILESHARE_OK)
        world_wrong(&race.world, "put of %s: %s", waiting->name, error.text);
    waiting->put_ended = milliseconds();
    fileshare_close(session);
    return NULL;
}

/* The exit status says what was printed; and what came in time was. */
static bool audit_waiting(struct waiting *waiting, int64_t ended)
{
    char text[256] = "";
    FILE *file = fopen(waiting->out, "re");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    if (file)
        fclose(file);
    bool told = size > 0 && strstr(text, waiting->name), once = strchr(text, '\n') == text + size - 1;
    int status = WIFEXITED(waiting->program.status) ? WEXITSTATUS(waiting->program.status) : -1;
    if (status != 0 && status != 4)
        world_wrong(&race.world, "wait ended with %d", status);
    if ((status == 0) != told || (told && !once))
        world_wrong(&race.world, "wait ended with %d, and had printed \"%s\"", status, text);
    if (status == 4 && waiting->put_ended < waiting->started + 1000)
        world_wrong(&race.world, "wait ended with 4, and its file had come before its time was over");
    if (status == 0 && waiting->put_began > ended)
        world_wrong(&race.world, "wait told of what came after it");
    return told;
}

static void test_waits_that_end_as_files_come(void **state)
{
    (void)state;
    unsigned met = 0, number = 0;
    uint32_t edge = measure_edge();
    for (unsigned round = 0; round < WAIT_ROUNDS; round++) {
        struct waiting waits[WAITS];
        pthread_t bringers[WAITS];
        for (unsigned i = 0; i < WAITS; i++) {
            waits[i].delay = edge - (edge - 900) / 2 + dice_throw(&race.dice, edge - 900);
            start_waiting(&waits[i], number++);
            assert_int_equal(pthread_create(&bringers[i], NULL, bring, &waits[i]), 0);
        }
        for (unsigned i = 0; i < WAITS; i++) {
            assert_true(program_ends(&waits[i].program, (int64_t)TOLD_WITHIN_MS * slowness()));
            int64_t ended = milliseconds();
            pthread_join(bringers[i], NULL);
            met += audit_waiting(&waits[i], ended);
        }
    }
    print_message("%u waits: %u met, %u too late\n", number, met, number - met);
    assert_int_equal(race.world.wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everybody_at_once),
        cmocka_unit_test(test_waits_that_end_as_files_come),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
