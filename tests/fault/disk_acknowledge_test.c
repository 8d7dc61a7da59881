/*
 * The disk fails while a client acknowledges events: at each call, once; for a while; and for so long that the
 * server tells the client again. By EVENTS, and by the reply to a NOTIFY. A refusal means that they wait as before;
 * no event is lost, none is shown twice, and the mailbox goes on once the disk does.
 */
#include "fault/by_hand.h"
#include "fault/failing_disk.h"
#include "fault/hearing.h"
#include "fault/inspect.h"
#include "fault/world.h"
#include "client/lib/mailbox.h"
#include "place.h"

#include "proto/fileshare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/must.h"

enum { CALLS_MAX = 100, KILL_EVERY = 4, WITHIN_MS = 30000 };

static const int errors[] = {ENOSPC, EIO, EROFS};

static struct stage {
    struct world world;
    struct shim *shim;
    struct fileshare *session, *listener;
    struct id mailbox; /* the listener's */
    unsigned serial, faults, refusals;
    struct hearing hearing; /* its lock guards what follows */
    int nth, error;         /* the call after the next event is shown that fails; 0: none */
    bool lasts;
} stage;

/* From the moment that it returns nothing is written but what acknowledges. */
static void fail_from_now(void *context, const struct fileshare_event *event)
{
    (void)context;
    (void)event;
    if (stage.nth > 0)
        failing_disk_arm(stage.shim, stage.nth, stage.error, stage.lasts);
    stage.nth = 0;
}

static void open_session(void)
{
    stage.session = world_client(&stage.world, stage.world.server.tcp, "disk", 0);
}

static int begin(void **state)
{
    (void)state;
    stage.world.seed = 1; /* nothing here is random */
    daemon_prepare(&stage.world.server, place_in_memory());
    stage.shim = failing_disk_below(&stage.world.server);
    daemon_start(&stage.world.server);
    open_session();
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(stage.session);
    fileshare_close(stage.listener);
    daemon_stop(&stage.world.server, SIGKILL);
    inspect_swept(&stage.world);
    print_message("%u times the disk failed, %u calls were refused for it, %lu kills, %u wrong\n",
                  stage.faults, stage.refusals, stage.world.kills, stage.world.wrong);
    munmap(stage.shim, sizeof *stage.shim);
    hearing_fini(&stage.hearing);
    bool well = stage.world.wrong == 0 && stage.faults > 0 && stage.refusals > 0;
    daemon_end(&stage.world.server);
    return well ? 0 : -1;
}

static void kill_server(void)
{
    fileshare_close(stage.session);
    daemon_stop(&stage.world.server, SIGKILL);
    failing_disk_is_sound(stage.shim);
    stage.world.kills++;
    daemon_start(&stage.world.server);
    open_session();
}

static struct fileshare_entry put(const char *folder)
{
    return world_put_next(&stage.world, stage.session, folder, &stage.serial);
}

#define until(condition) until_within(WITHIN_MS, condition)

/* ---- EVENTS ---- */

enum { THREE = 3 };

/* One EVENTS, without any repeat: its status; how many came. */
static fs_status ask(const struct id *mailbox, uint64_t since, size_t *count)
{
    fs_events_args args = {.mailbox = translate_id(mailbox), .since = since, .limit = FS_EVENTS_MAX};
    fs_events_res res = {0};
    struct failure why = {.text = ""};
    struct session_call call = SESSION_CALL(FSPROC_EVENTS, fs_events_args, &args, fs_events_res, &res);
    if (session_try(stage.session, &call, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    fs_status status = res.status;
    *count = status == FS_OK ? res.fs_events_res_u.page.rows.rows_len : 0;
    session_call_end(&call);
    return status;
}

/* The numbers from numbers[from] on wait, and no others. */
static bool wait_from(const struct id *mailbox, const uint64_t numbers[FS_EVENTS_MAX], size_t from)
{
    uint64_t found[FS_EVENTS_MAX];
    size_t count = by_hand_events(stage.session, mailbox, 0, found);
    return count == THREE - from && memcmp(found, numbers + from, count * sizeof *found) == 0;
}

static void judge(const struct id *mailbox, const uint64_t numbers[FS_EVENTS_MAX], int error,
                  fs_status status, size_t count)
{
    bool refused = status == FS_UNAVAILABLE || (status == FS_NOSPACE && error == ENOSPC);
    if (!refused && status != FS_OK && status != FS_UNKNOWN)
        fail_msg("EVENTS on a disk that fails (%s) answers %d", strerror(error), status);
    stage.refusals += status != FS_OK;
    bool all = wait_from(mailbox, numbers, 0), one = wait_from(mailbox, numbers, THREE - 1);
    if (status == FS_OK ? !one || count != 1 : refused ? !all : !all && !one)
        fail_msg("EVENTS answers %d (%s), and %s", status, strerror(error),
                 all   ? "all wait"
                 : one ? "one waits"
                       : "it is neither what was there before nor after");
}

/* Acknowledges two of three while the nth call fails; false: it met none. */
static bool acknowledge_two(const struct id *mailbox, int nth, int error, bool lasts)
{
    uint64_t numbers[FS_EVENTS_MAX];
    size_t count;
    for (int i = 0; i < THREE; i++)
        put("hand");
    assert_int_equal(by_hand_events(stage.session, mailbox, 0, numbers), THREE);
    failing_disk_arm(stage.shim, nth, error, lasts);
    fs_status status = ask(mailbox, numbers[1], &count);
    bool met = stage.shim->failed > 0;
    if (lasts) /* what waits is told all the same */
        judge(mailbox, numbers, error, status, count);
    failing_disk_is_sound(stage.shim);
    stage.faults += met;
    judge(mailbox, numbers, error, status, count);
    if (!met)
        assert_int_equal(status, FS_OK);
    if (nth % KILL_EVERY == 0) {
        bool all = wait_from(mailbox, numbers, 0);
        kill_server();
        assert_true(wait_from(mailbox, numbers, all ? 0 : THREE - 1));
    }
    assert_int_equal(by_hand_events(stage.session, mailbox, numbers[1], numbers), 1);
    assert_int_equal(by_hand_events(stage.session, mailbox, numbers[0], numbers), 0);
    return met;
}

static void test_events(void **state)
{
    (void)state;
    struct id mailbox = id_random();
    by_hand_register(stage.session, &mailbox, "hand/*");
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        for (int lasts = 0; lasts <= 1; lasts++) {
            int nth = 1;
            while (acknowledge_two(&mailbox, nth, errors[i], lasts))
                assert_true(nth++ < CALLS_MAX);
            assert_true(nth > 1);
        }
    by_hand_forget(stage.session, &mailbox);
}

/* ---- NOTIFY ---- */

static bool nothing_waits(void)
{
    uint64_t numbers[FS_EVENTS_MAX];
    return by_hand_events(stage.session, &stage.mailbox, 0, numbers) == 0;
}

static void listen_to_told(void)
{
    struct failure why = {.text = ""};
    stage.listener = world_client(&stage.world, stage.world.server.tcp, "listener", 0);
    stage.hearing.also = fail_from_now;
    hearing_begin(&stage.hearing, &stage.world, stage.listener);
    if (mailbox_name(stage.listener->state_folder, &stage.listener->greeting.instance, &stage.mailbox,
                     &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    by_hand_register(stage.session, &stage.mailbox, "told/*");
    put("told");
    until(nothing_waits());
}

/* One event is shown, and the disk fails at the nth call from then on. */
static void tell_failing(int nth, int error, bool lasts)
{
    until(nothing_waits());
    stage.shim->failed = 0;
    pthread_mutex_lock(&stage.hearing.lock);
    stage.nth = nth;
    stage.error = error;
    stage.lasts = lasts;
    pthread_mutex_unlock(&stage.hearing.lock);
    struct fileshare_entry entry = put("told");
    until(hearing_has(&stage.hearing, &entry));
}

/* What comes afterwards is told; all is acknowledged. */
static void goes_on(void)
{
    failing_disk_is_sound(stage.shim);
    until(nothing_waits());
    struct fileshare_entry entry = put("told");
    until(hearing_has(&stage.hearing, &entry));
    until(nothing_waits());
    assert_int_equal(stage.world.wrong, 0);
}

static void test_notify(void **state)
{
    (void)state;
    listen_to_told();
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        bool met = true;
        for (int nth = 1; met; nth++) {
            assert_true(nth < CALLS_MAX);
            tell_failing(nth, errors[i], false);
            until(nothing_waits());
            met = stage.shim->failed > 0;
            stage.faults += met;
            goes_on();
        }
    }
}

/* The server asks its store again and again; then it is killed, or the disk comes back. */
static void test_notify_for_a_while(void **state)
{
    (void)state;
    enum { FAILED = 4 };
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        for (int kill = 0; kill <= 1; kill++) {
            tell_failing(1, errors[i], true);
            until(stage.shim->failed >= FAILED);
            assert_false(nothing_waits());
            stage.faults++;
            if (kill)
                kill_server();
            goes_on();
        }
}

/* Until its patience is over: then the client is told again, which does not show it again. */
static void test_notify_for_long(void **state)
{
    (void)state;
    uint64_t before = counted(stage.session, "delivery.retries");
    tell_failing(1, ENOSPC, true);
    until(counted(stage.session, "delivery.retries") > before);
    assert_false(nothing_waits());
    stage.faults++;
    goes_on();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_events), cmocka_unit_test(test_notify),
                                       cmocka_unit_test(test_notify_for_a_while),
                                       cmocka_unit_test(test_notify_for_long)};
    return cmocka_run_group_tests(tests, begin, end);
}
