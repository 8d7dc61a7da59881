/*
 * Messages that are lost on the way back, and of the calls that the library makes
 * seldom: the callback program's NOTIFY and HELLO, by dial-back and on the
 * client's own connection; ATTACH, EVENTS with its acknowledgement, DETACH that
 * forgets, UPLOAD_ABORT. Whatever is lost, each event is shown once, and nothing
 * that was acknowledged comes back.
 *
 * The client's connections come to the server from 127.0.0.2, where nobody
 * listens until a second dropper does: so the server's dial-back fails at first,
 * and then goes through that dropper.
 */
#include "fault/by_hand.h"
#include "fault/dropper.h"
#include "fault/hearing.h"
#include "fault/world.h"

#include "proto/fileshare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/must.h"

enum { SMALL = 1000, WITHIN_MS = 20000, PUTS = 5 };

static const char back_host[] = "127.0.0.2";

static struct stage {
    struct world world;
    struct dropper *through, *back; /* to the server; to the callback program, once there is one */
    struct fileshare *session, *witness;
    struct hearing hearing;
    unsigned serial, drops;
} stage;

static int begin(void **state)
{
    (void)state;
    world_begin(&stage.world);
    stage.through = dropper_between(
        &(struct dropper_way){.target_port = stage.world.server.port, .from = back_host});
    stage.session = world_client(&stage.world, dropper_address(stage.through), "through", 0);
    /* Names the same mailbox. */
    stage.witness = world_client(&stage.world, stage.world.server.tcp, "through", 0);
    hearing_begin(&stage.hearing, &stage.world, stage.session);
    hearing_wants(stage.witness, "**");
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(stage.session);
    fileshare_close(stage.witness);
    dropper_free(stage.through);
    dropper_free(stage.back);
    hearing_fini(&stage.hearing);
    print_message("%u messages lost\n", stage.drops);
    world_end(&stage.world);
    return 0;
}

/* ---- looking ---- */

static struct fileshare_entry put(void)
{
    return world_put_next(&stage.world, stage.witness, "back", &stage.serial);
}

/* Every event that the server keeps was acknowledged. */
static bool nothing_waits(void)
{
    return counted(stage.witness, "store.events") == 0;
}

static void pass_over(void *context, const struct fileshare_interest *interest)
{
    (void)context;
    (void)interest;
}

static bool dialled_back(void)
{
    const char *route = "";
    struct fileshare_error error = {0};
    must(fileshare_interests(stage.witness, pass_over, NULL, &route, &error), error);
    return strcmp(route, "dial-back") == 0;
}

#define until(condition) until_within(WITHIN_MS, condition)

/* What is put is told once and acknowledged, though a message is lost meanwhile. */
static void told_losing(struct dropper *dropper)
{
    struct fileshare_entry entries[PUTS];
    for (unsigned i = 0; i < PUTS; i++)
        entries[i] = put();
    until(dropper_dropped(dropper));
    for (unsigned i = 0; i < PUTS; i++)
        until(hearing_has(&stage.hearing, &entries[i]));
    until(nothing_waits());
    assert_int_equal(stage.world.wrong, 0);
    stage.drops++;
}

/* ---- the callback program ---- */

static void test_notify_reversed(void **state)
{
    (void)state;
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++)
        for (unsigned nth = 1; nth <= 2; nth++) {
            dropper_plan_reversed(stage.through, FSCBPROC_NOTIFY, lost, nth);
            if (nth > 1) { /* a batch of its own */
                struct fileshare_entry entry = put();
                until(hearing_has(&stage.hearing, &entry));
            }
            told_losing(stage.through);
            assert_true(hearing_came_by(&stage.hearing, "reversed"));
        }
}

/* The callback program as the server sees it: at its port, of another host of this machine. */
static void open_way_back(void)
{
    struct fileshare_callback callback = {0};
    assert_true(fileshare_callback(stage.session, &callback));
    const char *colon = strrchr(callback.address, ':');
    assert_non_null(colon);
    uint16_t port = (uint16_t)atoi(colon + 1);
    stage.back = dropper_between(
        &(struct dropper_way){.target_port = port, .listen_port = port, .listen = back_host});
}

/* A HELLO that is lost proves nothing: events go the other way meanwhile, and the proof is asked for again. */
static void test_hello(void **state)
{
    (void)state;
    open_way_back();
    dropper_plan(stage.back, FSCBPROC_HELLO, LOST_CALL, 1);
    until(dropper_dropped(stage.back));
    stage.drops++;
    dropper_plan(stage.back, FSCBPROC_HELLO, LOST_REPLY, 1); /* before it is asked for again, in a second */
    told_losing(stage.back);
    until(dialled_back());
}

static void test_notify_dialled(void **state)
{
    (void)state;
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        until(dialled_back());
        struct fileshare_entry entry = put();
        until(hearing_has(&stage.hearing, &entry));
        assert_true(hearing_came_by(&stage.hearing, "dial-back"));
        dropper_plan(stage.back, FSCBPROC_NOTIFY, lost, 1);
        told_losing(stage.back);
    }
}

/* ---- calls by hand ---- */

static void plan(uint32_t procedure, enum lost lost)
{
    dropper_plan(stage.through, procedure, lost, 1);
}

static void expect_dropped(void)
{
    assert_true(dropper_dropped(stage.through));
    stage.drops++;
}

/* Asks for what follows `since`, and expects exactly the numbers `first` to `last`. */
static void expect_events(const struct id *mailbox, uint64_t since, uint64_t first, uint64_t last)
{
    uint64_t numbers[FS_EVENTS_MAX];
    size_t count = by_hand_events(stage.session, mailbox, since, numbers);
    assert_int_equal(count, last + 1 - first);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(numbers[i], first + i);
}

static void test_mailbox(void **state)
{
    (void)state;
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        struct id mailbox = id_random();
        by_hand_register(stage.session, &mailbox, "back/*");
        for (unsigned i = 0; i < PUTS; i++)
            put();
        uint64_t numbers[FS_EVENTS_MAX];
        assert_int_equal(by_hand_events(stage.session, &mailbox, 0, numbers), PUTS);
        const uint64_t newest = numbers[PUTS - 1];
        plan(FSPROC_ATTACH, lost);
        by_hand_attach(stage.session, &mailbox, PUTS);
        expect_dropped();
        /* Acknowledges all but two, and is told those, however often it is asked. */
        plan(FSPROC_EVENTS, lost);
        expect_events(&mailbox, newest - 2, newest - 1, newest);
        expect_dropped();
        /* Acknowledged is acknowledged; and to ask does not acknowledge what was answered. */
        expect_events(&mailbox, 0, newest - 1, newest);
        by_hand_attach(stage.session, &mailbox, 2);
        plan(FSPROC_DETACH, lost);
        by_hand_forget(stage.session, &mailbox);
        expect_dropped();
        by_hand_forget(stage.session, &mailbox);
        until(nothing_waits());
    }
}

static void test_upload_abort(void **state)
{
    (void)state;
    char bytes[SMALL] = "";
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        struct id upload = id_random();
        assert_int_equal(by_hand_open(stage.session, &upload, "given up"), 0);
        by_hand_data(stage.session, &upload, bytes, sizeof bytes);
        plan(FSPROC_UPLOAD_ABORT, lost);
        by_hand_abort(stage.session, &upload);
        expect_dropped();
        /* Nothing of it is held; the id begins anew. */
        assert_int_equal(by_hand_open(stage.session, &upload, "given up"), 0);
        by_hand_abort(stage.session, &upload);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_notify_reversed), cmocka_unit_test(test_hello),
        cmocka_unit_test(test_notify_dialled),  cmocka_unit_test(test_mailbox),
        cmocka_unit_test(test_upload_abort),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
