/*
 * The clocks of a real fileshared are stepped while it runs and over restarts:
 * time passes in jumps (the machine slept), the wall clock is set by seconds or
 * years either way, the server is stopped or killed, the machine starts anew.
 * What runs out is told to the client that waits: not early, not ten seconds late.
 *
 *     FILESHARE_FAULT_SEED=N, FILESHARE_FAULT_SECONDS=N
 *
 * service/store_clock_test.c does the same to each thing that the store keeps.
 */
#include "fault/program.h"
#include "fault/shift.h"
#include "fault/world.h"

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

#include "client/must.h"

#define SECONDS(count) ((int64_t)(count)*CLOCK_SECOND)
/* What a killed machine may not know: of its clock, and how much had passed if that was set back (timeline.c). */
#define WALL_SLACK     (SECONDS(1) / 10)
#define MARK_AGE       SECONDS(60)

enum {
    HOUR = 3600,
    DAY = 24 * HOUR,
    YEAR = 365 * DAY,
    THINGS = 64,
    HEARD = 4096,
    QUICK_SECONDS = 12,
    LATE_MS = 10000,
    SLOW = 400 /* seconds that the test itself may take between two steps of the clock */
};

struct heard {
    struct fileshare_id interest;
    int64_t at; /* shift_now */
    enum fileshare_event_kind kind;
    uint64_t dropped;
};

struct thing {
    struct fileshare_id id;
    int64_t due_first, due_last; /* it may be told from then on; it is due then */
    bool used;
};

static struct world world;
static struct shift shift;
static struct fileshare *session;
static struct dice dice;
static struct thing things[THINGS];
static unsigned serial, steps, sets, restarts, boots, ended;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct heard heard[HEARD];
static size_t heard_count;

/* ---- the client ---- */

static bool hear(void *context, const struct fileshare_event *event)
{
    (void)context;
    pthread_mutex_lock(&lock);
    if (heard_count == HEARD)
        abort();
    heard[heard_count++] = (struct heard){event->interest, shift_now(&shift), event->kind, event->dropped};
    pthread_mutex_unlock(&lock);
    world.events++;
    return true;
}

static unsigned times_heard(const struct fileshare_id *id, struct heard *last)
{
    unsigned times = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < heard_count; i++) {
        if (memcmp(&heard[i].interest, id, sizeof *id) != 0)
            continue;
        *last = heard[i];
        times++;
    }
    pthread_mutex_unlock(&lock);
    return times;
}

static int begin(void **state)
{
    (void)state;
    char path[96];
    struct fileshare_error error = {0};
    world_begin(&world);
    daemon_stop(&world.server, SIGTERM);
    snprintf(path, sizeof path, "%s/shift", world.server.folder);
    shift_begin(&shift, path);
    world.server.environment = shift.environment;
    daemon_start(&world.server);
    dice = dice_of(world.seed, 1);
    session = world_session(&world, "clock", 60);
    assert_non_null(session);
    must(fileshare_attach(session, hear, NULL, &error), error);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(session);
    world_end(&world);
    shift_end(&shift);
    return 0;
}

static struct fileshare_id interest_in(const char *pattern, bool every, uint32_t seconds)
{
    struct fileshare_register what = {.pattern = pattern,
                                      .glob = strchr(pattern, '*'),
                                      .every = every,
                                      .seconds = seconds};
    struct fileshare_registered registered;
    struct fileshare_error error = {0};
    must(fileshare_interest(session, &what, NULL, NULL, &registered, &error), error);
    assert_true(registered.registered);
    return registered.id;
}

static uint64_t counter(const char *label)
{
    return counted(session, label);
}

static int64_t in_time(void)
{
    return milliseconds() + (int64_t)LATE_MS * slowness();
}

/* In time, once: what "store." labels say is some seconds old, and after a start 0 until upkeep looked. */
static void expect_counter(const char *label, uint64_t amount)
{
    uint64_t was = counter(label);
    for (int64_t until = in_time(); was != amount && milliseconds() < until; was = counter(label))
        usleep(20000);
    assert_int_equal(was, amount);
}

/* The end of an interest is told, which is where a round of upkeep begins. */
static void upkeep_begins(void)
{
    char name[32];
    struct heard last;
    snprintf(name, sizeof name, "canary/%u", ++serial);
    struct fileshare_id id = interest_in(name, false, 1);
    shift_pass(&shift, SECONDS(1));
    for (int64_t until = in_time(); times_heard(&id, &last) == 0; usleep(5000))
        if (milliseconds() > until)
            fail_msg("upkeep does not come by");
}

/* A whole round since: whatever was due is gone, and the board shows it. It is over when the next one begins. */
static void upkeep_comes_by(void)
{
    upkeep_begins();
    upkeep_begins();
}

/* ---- at random ---- */

/* From milliseconds to `most` seconds, short ones as likely as long ones. */
static int64_t some_time(int64_t most)
{
    const int64_t scales[] = {CLOCK_SECOND / 1000, CLOCK_SECOND, SECONDS(60),
                              SECONDS(HOUR),       SECONDS(DAY), SECONDS(YEAR)};
    int64_t time;
    do {
        time = scales[dice_throw(&dice, 6)] * (1 + dice_throw(&dice, 60));
    } while (time > SECONDS(most));
    return time;
}

static uint32_t some_seconds(void)
{
    return 1 + (uint32_t)(some_time(30 * DAY) / CLOCK_SECOND);
}

static void add_thing(struct thing *thing)
{
    char name[32];
    uint32_t seconds = some_seconds();
    snprintf(name, sizeof name, "never/%u%s", ++serial, dice_throw(&dice, 2) ? "" : "*");
    thing->due_first = shift_now(&shift) + SECONDS(seconds);
    thing->id = interest_in(name, dice_throw(&dice, 2), seconds);
    thing->due_last = shift_now(&shift) + SECONDS(seconds);
    thing->used = true;
}

static void prolong(struct thing *thing)
{
    struct fileshare_error error = {0};
    uint32_t left, seconds = some_seconds();
    if (thing->due_first - shift_now(&shift) < SECONDS(5 * slowness()))
        return; /* it may end meanwhile */
    int64_t first = shift_now(&shift) + SECONDS(seconds);
    must(fileshare_renew(session, &thing->id, seconds, &left, &error), error);
    assert_int_equal(left, seconds);
    thing->due_first = first;
    thing->due_last = shift_now(&shift) + SECONDS(seconds);
}

static void look(struct thing *thing, int64_t until)
{
    struct heard last = {0};
    unsigned times = times_heard(&thing->id, &last);
    bool due = shift_now(&shift) >= thing->due_last;
    while (due && times == 0 && milliseconds() < until) {
        usleep(2000);
        times = times_heard(&thing->id, &last);
    }
    if (due && times == 0)
        fail_msg("the end of an interest was not told within ten seconds; it is due for %lld ms",
                 (long long)((shift_now(&shift) - thing->due_last) / 1000000));
    if (times > 0 && last.at < thing->due_first)
        fail_msg("an interest ended %lld ms early", (long long)((thing->due_first - last.at) / 1000000));
    if (times > 0 && last.kind != FILESHARE_UNMET)
        fail_msg("an interest that nothing met was told so: %d", (int)last.kind);
    ended += times > 0;
    thing->used = times == 0;
}

/* It may end just now; that is told as well, and nothing after it. */
static void cancel(struct thing *thing)
{
    struct fileshare_error error = {0};
    must(fileshare_cancel(session, &thing->id, NULL, NULL, NULL, &error), error);
    thing->used = false;
}

static void set_wall(void)
{
    int64_t by = some_time(20 * (int64_t)YEAR);
    int64_t wall = clock_wall(clock_system()) + shift.at->wall;
    bool back = wall > SECONDS(100 * (int64_t)YEAR) ||
                (wall > SECONDS(30 * (int64_t)YEAR) && dice_throw(&dice, 2));
    shift_set_wall(&shift, back ? -by : by);
    sets++;
}

/* Server and machine go, and come back; what that may cost in precision is on each thing's account. */
static void boot(bool killed)
{
    int64_t off = some_time(10 * DAY), set = dice_throw(&dice, 2) ? some_time(YEAR) : -some_time(YEAR);
    int64_t began = milliseconds();
    shift_boot(&shift, off, set);
    daemon_start(&world.server);
    int64_t took = (milliseconds() - began) * 1000000;
    for (struct thing *thing = things; thing < things + THINGS; thing++) {
        thing->due_first -= WALL_SLACK;
        thing->due_last += WALL_SLACK + (off + set >= 0 ? 0 : took + SECONDS(5) + (killed ? MARK_AGE : 0));
    }
    boots++;
}

static void restart(void)
{
    bool killed = dice_throw(&dice, 2), anew = dice_throw(&dice, 2);
    if (killed && anew)
        upkeep_begins(); /* a clock set just now is known */
    daemon_stop(&world.server, killed ? SIGKILL : SIGTERM);
    world.kills += killed;
    restarts++;
    if (anew) {
        boot(killed);
        return;
    }
    if (dice_throw(&dice, 2))
        set_wall();
    shift_pass(&shift, some_time(DAY));
    daemon_start(&world.server);
}

static void one_round(void)
{
    for (unsigned i = 0; i < 8; i++) {
        struct thing *thing = &things[dice_throw(&dice, THINGS)];
        if (!thing->used)
            add_thing(thing);
        else
            prolong(thing);
    }
    uint32_t what = dice_throw(&dice, 4);
    if (what == 0) {
        set_wall();
    } else if (what == 1) {
        restart();
    } else {
        shift_pass(&shift, some_time(DAY));
        steps++;
    }
    int64_t until = in_time();
    for (struct thing *thing = things; thing < things + THINGS; thing++)
        if (thing->used)
            look(thing, until);
}

struct waiting {
    pthread_t thread;
    struct fileshare *session;
    unsigned arrivals;
    enum fileshare_status status;
};

static bool take_arrival(void *context, const struct fileshare_event *event)
{
    struct waiting *waiting = context;
    waiting->arrivals++;
    return strcmp(event->entry.name, "at last") == 0;
}

/* Its interests run out at the server whenever that sleeps; it comes back with new ones. */
static void *wait_all_the_time(void *argument)
{
    struct waiting *waiting = argument;
    const char *pattern = "at last";
    struct fileshare_error error = {0};
    struct fileshare_wait wait = {
        .patterns = &pattern,
        .globs = (const bool[]){false},
        .count = 1,
        .arrived = take_arrival,
        .context = waiting,
    };
    waiting->status = fileshare_wait(waiting->session, &wait, NULL, &error);
    if (waiting->status != FILESHARE_OK)
        world_wrong(&world, "the wait ended with %d: %s", waiting->status, error.text);
    return NULL;
}

static void put_name(const char *name, bool replace, struct fileshare_entry *out)
{
    struct fileshare_error error = {0};
    must(world_put(&world, session, name, 1000, ++serial, replace, out, &error), error);
}

static void test_at_random(void **state)
{
    (void)state;
    struct waiting waiting = {.session = world_session(&world, "waits", 60)};
    struct fileshare_entry entry;
    assert_int_equal(pthread_create(&waiting.thread, NULL, wait_all_the_time, &waiting), 0);
    int64_t until = milliseconds() + (int64_t)world_seconds(QUICK_SECONDS) * 1000;
    while (milliseconds() < until)
        one_round();
    for (struct thing *thing = things; thing < things + THINGS; thing++)
        if (thing->used)
            cancel(thing);
    put_name("at last", false, &entry);
    pthread_join(waiting.thread, NULL);
    fileshare_close(waiting.session);
    assert_int_equal(waiting.arrivals, 1);
    assert_int_equal(world.wrong, 0);
    print_message("%u jumps, the clock set %u times, %u restarts, %lu kills, %u starts of the machine; %u "
                  "interests ended\n",
                  steps, sets, restarts, world.kills, boots, ended);
    assert_true(ended > 0);
}

/* ---- one by one ---- */

/* Events of a client that is away: neither by a wall clock that jumps nor before their time are they dropped. */
static void test_events_of_who_is_away(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    struct heard last = {0};
    const struct fileshare_id none = {0};
    struct fileshare_id id = interest_in("away/*", true, 100 * DAY);
    fileshare_detach(session);
    expect_counter("store.events", 0); /* the board that says it is some seconds old */
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "away/%d", i);
        put_name(name, false, &entry);
    }
    shift_set_wall(&shift, SECONDS(YEAR));
    daemon_stop(&world.server, SIGKILL);
    daemon_start(&world.server);
    shift_pass(&shift, SECONDS(29 * DAY));
    expect_counter("store.events", 3); /* so that the 0 below is of later */
    must(fileshare_attach(session, hear, NULL, &error), error);
    for (int64_t until = in_time(); times_heard(&id, &last) < 3 && milliseconds() < until;)
        usleep(5000);
    assert_int_equal(times_heard(&id, &last), 3);
    expect_counter("store.events", 0); /* the server knows that they were heard */
    fileshare_detach(session);
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "away/%d", i);
        put_name(name, true, &entry);
    }
    expect_counter("store.events", 3); /* the board may have shown one while the others were on their way */
    shift_set_wall(&shift, -SECONDS(2 * YEAR));
    shift_pass(&shift, SECONDS(31 * DAY));
    expect_counter("store.events", 1);
    must(fileshare_attach(session, hear, NULL, &error), error);
    for (int64_t until = in_time(); times_heard(&none, &last) == 0 && milliseconds() < until;)
        usleep(5000);
    assert_int_equal(times_heard(&none, &last), 1);
    assert_int_equal(last.kind, FILESHARE_DROPPED);
    assert_int_equal(last.dropped, 3);
    assert_int_equal(times_heard(&id, &last), 3);
    must(fileshare_cancel(session, &id, NULL, NULL, NULL, &error), error);
}

static void start_client(struct program *program, const char *first, const char *second, const char *third,
                         const char *fourth)
{
    char out[96];
    snprintf(out, sizeof out, "%s/client.out", world.server.folder);
    struct program_plan plan = {.server = world.server.tcp,
                                .state = world.server.folder,
                                .out = out,
                                .words = {first, second, third, fourth}};
    program_start(program, &plan);
}

static bool client_printed(const char *word)
{
    char path[96];
    snprintf(path, sizeof path, "%s/client.out", world.server.folder);
    return program_said(path, word);
}

static void test_uploads_nobody_goes_on_with(void **state)
{
    (void)state;
    struct program uploader;
    static uint8_t bytes[1 << 16];
    expect_counter("store.uploads", 0);
    start_client(&uploader, "put", "-", "--as", "unfinished");
    for (int i = 0; i < 64; i++) /* 4 MiB: more than goes in one call */
        assert_int_equal(write(uploader.in, bytes, sizeof bytes), sizeof bytes);
    for (int64_t until = in_time(); counter("store.uploads") == 0; usleep(20000))
        if (milliseconds() > until)
            fail_msg("no upload began");
    program_end(&uploader, SIGKILL);
    shift_set_wall(&shift, SECONDS(3 * YEAR));
    shift_pass(&shift, SECONDS(12 * HOUR));
    daemon_stop(&world.server, SIGKILL);
    shift_pass(&shift, SECONDS(11 * HOUR));
    daemon_start(&world.server);
    upkeep_comes_by();
    expect_counter("store.uploads", 1);
    shift_set_wall(&shift, -SECONDS(5 * YEAR));
    shift_pass(&shift, SECONDS(HOUR - SLOW));
    upkeep_comes_by();
    expect_counter("store.uploads", 1);
    shift_pass(&shift, SECONDS(SLOW + 6)); /* as exactly as its row knows when it was touched (uploads.h) */
    expect_counter("store.uploads", 0);
}

static enum fileshare_status get_version(const struct fileshare_entry *entry)
{
    int fd = file_of("", 0);
    struct fileshare_get get = {.name = entry->name, .version = entry->version, .fd = fd};
    struct fileshare_entry got;
    struct fileshare_error error = {0};
    enum fileshare_status status = fileshare_get(session, &get, &got, &error);
    close(fd);
    return status;
}

static void test_versions_that_were_replaced(void **state)
{
    (void)state;
    struct fileshare_entry old, entry;
    put_name("kept", false, &old);
    put_name("kept", true, &entry);
    for (int i = 0; i < 3; i++) {
        shift_set_wall(&shift, (i % 2 ? -1 : 1) * SECONDS(YEAR));
        shift_pass(&shift, SECONDS(600 - SLOW / 2)); /* twice that would be too long */
        upkeep_comes_by();
        if (i == 1) {
            daemon_stop(&world.server, SIGKILL);
            daemon_start(&world.server);
        }
        assert_int_equal(get_version(&old), FILESHARE_OK);
    }
    shift_pass(&shift, SECONDS(600 + 6));
    upkeep_comes_by();
    assert_int_equal(get_version(&old), FILESHARE_CHANGED);
    assert_int_equal(get_version(&entry), FILESHARE_OK);
}

/* Deadlines of calls back count while the machine sleeps: a client that hangs is given up, and tried again. */
static void test_a_delivery_over_a_sleep(void **state)
{
    (void)state;
    struct program waiter;
    struct fileshare_entry entry;
    expect_counter("store.interests", 0);
    uint64_t retries = counter("delivery.retries");
    start_client(&waiter, "wait", "awake", "sleepy", NULL);
    expect_counter("store.interests", 2);
    put_name("awake", false, &entry);
    until_within(LATE_MS, client_printed("awake")); /* it was called: its way back stands */
    program_freeze(&waiter);
    put_name("sleepy", false, &entry);
    /* callback-answer is 30 seconds: it has passed again and again while the call is under way */
    for (int64_t until = in_time() + LATE_MS; counter("delivery.retries") < retries + 2; usleep(500000)) {
        shift_pass(&shift, SECONDS(31));
        if (milliseconds() > until)
            fail_msg("the server does not notice that a client hangs");
    }
    kill(waiter.pid, SIGCONT);
    shift_pass(&shift, SECONDS(HOUR)); /* whatever the pause is */
    assert_true(program_ends(&waiter, (int64_t)LATE_MS * slowness()));
    assert_int_equal(waiter.status, 0);
}

/* The client's own clocks: what it was told to wait counts while its machine sleeps, and no clock that is set does. */
static void test_a_client_that_sleeps(void **state)
{
    (void)state;
    char path[96];
    struct program waiter;
    struct shift own;
    snprintf(path, sizeof path, "%s/client.shift", world.server.folder);
    shift_begin(&own, path);
    expect_counter("store.interests", 0);
    setenv("FILESHARE_TEST_CLOCK", path, 1);
    start_client(&waiter, "wait", "nobody comes", "--timeout", "1h");
    unsetenv("FILESHARE_TEST_CLOCK");
    expect_counter("store.interests", 1);
    shift_set_wall(&own, SECONDS(YEAR));
    assert_false(program_ends(&waiter, 500));
    shift_set_wall(&own, -SECONDS(5 * YEAR));
    assert_false(program_ends(&waiter, 500));
    shift_pass(&own, SECONDS(HOUR - SLOW));
    assert_false(program_ends(&waiter, 500));
    shift_pass(&own, SECONDS(SLOW));
    assert_true(program_ends(&waiter, (int64_t)LATE_MS * slowness()));
    assert_int_equal(WEXITSTATUS(waiter.status), 4);
    shift_end(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_random),
        cmocka_unit_test(test_events_of_who_is_away),
        cmocka_unit_test(test_uploads_nobody_goes_on_with),
        cmocka_unit_test(test_versions_that_were_replaced),
        cmocka_unit_test(test_a_delivery_over_a_sleep),
        cmocka_unit_test(test_a_client_that_sleeps),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
