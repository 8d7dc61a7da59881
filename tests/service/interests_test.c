/* Interests, mailboxes and events: procedures on the real store, with a test clock. */
#include "service/desk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct desk desk;

enum { MAILBOX = 500, OTHER_MAILBOX = 501 };

static int open_desk(void **state)
{
    (void)state;
    desk_open(&desk);
    return 0;
}

static int close_desk(void **state)
{
    (void)state;
    desk_close(&desk);
    return 0;
}

#define CALL(uid, PROC, args_type, res_type, args, res)                                                        \
    desk_call(&desk, uid, PROC, (xdrproc_t)xdr_##args_type, args, (xdrproc_t)xdr_##res_type, res)

struct interest {
    unsigned mailbox, id;
    fs_match match;
    const char *pattern;
    unsigned seconds;
    fs_repeat repeat;
    fs_present present;
};

/* The number of entries that were there already; the registration's flag in *registered. */
static unsigned register_interest(struct interest interest, bool *registered)
{
    fs_register_args args = {
        .mailbox = desk_id(interest.mailbox),
        .interest = desk_id(interest.id),
        .match = interest.match,
        .pattern = desk_name(interest.pattern),
        .seconds = interest.seconds,
        .repeat = interest.repeat,
        .present = interest.present,
    };
    fs_register_res res = {0};

    CALL(DESK_ALICE, FSPROC_REGISTER_INTEREST, fs_register_args, fs_register_res, &args, &res);
    assert_int_equal(res.status, FS_OK);
    unsigned present = res.fs_register_res_u.registration.present.present_len;
    *registered = res.fs_register_res_u.registration.registered;
    xdr_free((xdrproc_t)xdr_fs_register_res, (char *)&res);
    return present;
}

/* Events of a mailbox after `since`; the caller frees the result. */
static fs_events_res events(unsigned mailbox, uint64_t since)
{
    fs_events_args args = {.mailbox = desk_id(mailbox), .since = since};
    fs_events_res res = {0};

    CALL(DESK_ALICE, FSPROC_EVENTS, fs_events_args, fs_events_res, &args, &res);
    return res;
}

static unsigned count_events(unsigned mailbox, uint64_t since)
{
    fs_events_res res = events(mailbox, since);
    unsigned count = res.status == FS_OK ? res.fs_events_res_u.page.rows.rows_len : 0;

    xdr_free((xdrproc_t)xdr_fs_events_res, (char *)&res);
    return count;
}

static fs_interest_state cancel(unsigned op, unsigned mailbox, unsigned interest, const char *pattern, bool *event)
{
    fs_cancel_args args = {
        .op = desk_id(op),
        .mailbox = desk_id(mailbox),
        .interest = desk_id(interest),
        .pattern = desk_name(pattern),
    };
    fs_cancel_res res = {0};
    fs_interest_state state = FS_NEVER;

    CALL(DESK_ALICE, FSPROC_CANCEL_INTEREST, fs_cancel_args, fs_cancel_res, &args, &res);
    assert_int_equal(res.status, FS_OK);
    if (res.fs_cancel_res_u.cancel.rows.rows_len > 0) {
        state = res.fs_cancel_res_u.cancel.rows.rows_val[0].state;
        *event = res.fs_cancel_res_u.cancel.rows.rows_val[0].event != NULL;
    }
    xdr_free((xdrproc_t)xdr_fs_cancel_res, (char *)&res);
    return state;
}

static void sweep(void)
{
    bool left = true;
    int64_t next_due;

    while (left) {
        struct store_sweep swept;
        struct failure why = {0};
        left = false;
        if (desk.store->acts->sweep(desk.store, &swept, &left, &next_due, &why) != OUTCOME_OK)
            fail_msg("sweep: %s", why.text);
    }
}

static void an_arrival_is_told_once(void **state)
{
    bool registered = false;

    (void)state;
    assert_int_equal(register_interest((struct interest){MAILBOX, 1, FS_EXACT, "a", 60, FS_ONCE, FS_TELL}, &registered),
                     0);
    assert_true(registered);
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "a", "one", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_BOB, 11, "a", "two", FS_REPLACE), FS_OK);
    fs_events_res res = events(MAILBOX, 0);
    assert_int_equal(res.fs_events_res_u.page.rows.rows_len, 1);
    fs_event *event = &res.fs_events_res_u.page.rows.rows_val[0];
    assert_int_equal(event->kind, FS_ARRIVED);
    assert_memory_equal(event->interest.octets, desk_id(1).octets, FS_ID_SIZE);
    assert_non_null(event->entry);
    assert_int_equal(event->entry->size, 3);
    assert_memory_equal(event->entry->revision.octets, desk_id(10).octets, FS_ID_SIZE);
    uint64_t number = event->number;
    xdr_free((xdrproc_t)xdr_fs_events_res, (char *)&res);
    /* asking for what follows acknowledges it */
    assert_int_equal(count_events(MAILBOX, number), 0);
    assert_int_equal(count_events(MAILBOX, 0), 0);
}

static void every_arrival_is_told_to_who_asked_for_every(void **state)
{
    bool registered = false;

    (void)state;
    register_interest((struct interest){MAILBOX, 1, FS_EXACT, "a", 60, FS_EVERY, FS_IGNORE}, &registered);
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "a", "one", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_BOB, 11, "a", "two", FS_REPLACE), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_BOB, 11, "a", "two", FS_REPLACE), FS_OK); /* a repeat is no arrival */
    assert_int_equal(count_events(MAILBOX, 0), 2);
}

static void what_is_there_is_told_at_once_and_nothing_registered(void **state)
{
    bool registered = true;

    (void)state;
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "a", "one", FS_FAIL), FS_OK);
    assert_int_equal(register_interest((struct interest){MAILBOX, 1, FS_EXACT, "a", 60, FS_ONCE, FS_TELL}, &registered),
                     1);
    assert_false(registered);
    assert_int_equal(register_interest((struct interest){MAILBOX, 2, FS_EXACT, "a", 60, FS_EVERY, FS_TELL}, &registered),
                     1);
    assert_true(registered);
    assert_int_equal(
        register_interest((struct interest){MAILBOX, 3, FS_EXACT, "a", 60, FS_ONCE, FS_IGNORE}, &registered), 0);
    assert_true(registered);
    assert_int_equal(count_events(MAILBOX, 0), 0);
}

static void globs_are_told_of_what_matches(void **state)
{
    bool registered = false;

    (void)state;
    register_interest((struct interest){MAILBOX, 1, FS_GLOB, "in/*.csv", 60, FS_EVERY, FS_TELL}, &registered);
    register_interest((struct interest){MAILBOX, 2, FS_GLOB, "**/x.csv", 60, FS_EVERY, FS_TELL}, &registered);
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "in/a.csv", "1", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_BOB, 11, "in/deep/a.csv", "1", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_BOB, 12, "in/x.csv", "1", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_BOB, 13, "out/x.csv", "1", FS_FAIL), FS_OK);
    assert_int_equal(count_events(MAILBOX, 0), 4); /* 1: in/a, in/x; 2: in/x, out/x */
}

static void a_rename_is_an_arrival(void **state)
{
    bool registered = false;
    fs_rename_args args = {.op = desk_id(11), .source = desk_name("part"), .target = desk_name("whole")};
    fs_entry_res res = {0};

    (void)state;
    register_interest((struct interest){MAILBOX, 1, FS_EXACT, "whole", 60, FS_ONCE, FS_TELL}, &registered);
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "part", "1", FS_FAIL), FS_OK);
    CALL(DESK_BOB, FSPROC_RENAME, fs_rename_args, fs_entry_res, &args, &res);
    assert_int_equal(count_events(MAILBOX, 0), 1);
}

static void an_interest_that_runs_out_unmet_is_told(void **state)
{
    bool registered = false, event = false;

    (void)state;
    register_interest((struct interest){MAILBOX, 1, FS_EXACT, "a", 60, FS_ONCE, FS_TELL}, &registered);
    clock_test_step(&desk.clock, (int64_t)59 * CLOCK_SECOND);
    sweep();
    assert_int_equal(count_events(MAILBOX, 0), 0);
    clock_test_step(&desk.clock, (int64_t)2 * CLOCK_SECOND);
    sweep();
    fs_events_res res = events(MAILBOX, 0);
    assert_int_equal(res.fs_events_res_u.page.rows.rows_len, 1);
    assert_int_equal(res.fs_events_res_u.page.rows.rows_val[0].kind, FS_EXPIRED);
    assert_int_equal(res.fs_events_res_u.page.rows.rows_val[0].pattern.fs_name_len, 1);
    assert_null(res.fs_events_res_u.page.rows.rows_val[0].entry);
    xdr_free((xdrproc_t)xdr_fs_events_res, (char *)&res);
    /* what comes now comes too late */
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "a", "1", FS_FAIL), FS_OK);
    assert_int_equal(count_events(MAILBOX, 0), 1);
    assert_int_equal(cancel(20, MAILBOX, 1, "", &event), FS_OVER);
}

static void renewing_puts_the_end_off(void **state)
{
    bool registered = false;
    fs_renew_args args = {.op = desk_id(9), .mailbox = desk_id(MAILBOX), .interest = desk_id(1), .seconds = 100};
    fs_renew_res res = {0};

    (void)state;
    register_interest((struct interest){MAILBOX, 1, FS_EXACT, "a", 60, FS_ONCE, FS_TELL}, &registered);
    clock_test_step(&desk.clock, (int64_t)50 * CLOCK_SECOND);
    CALL(DESK_ALICE, FSPROC_RENEW_INTEREST, fs_renew_args, fs_renew_res, &args, &res);
    assert_int_equal(res.status, FS_OK);
    assert_int_equal(res.fs_renew_res_u.renewal.seconds_left, 100);
    clock_test_step(&desk.clock, (int64_t)90 * CLOCK_SECOND);
    sweep();
    assert_int_equal(count_events(MAILBOX, 0), 0);
    args.interest = desk_id(77);
    args.op = desk_id(10);
    CALL(DESK_ALICE, FSPROC_RENEW_INTEREST, fs_renew_args, fs_renew_res, &args, &res);
    assert_int_equal(res.status, FS_ABSENT);
}

static void cancelling_answers_what_became_of_it(void **state)
{
    bool registered = false, event = false;

    (void)state;
    register_interest((struct interest){MAILBOX, 1, FS_EXACT, "a", 60, FS_ONCE, FS_TELL}, &registered);
    register_interest((struct interest){MAILBOX, 2, FS_EXACT, "b", 60, FS_ONCE, FS_TELL}, &registered);
    assert_int_equal(cancel(20, MAILBOX, 1, "", &event), FS_CANCELLED);
    assert_int_equal(cancel(20, MAILBOX, 1, "", &event), FS_CANCELLED); /* the same call again */
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "a", "1", FS_FAIL), FS_OK);
    assert_int_equal(count_events(MAILBOX, 0), 0);
    assert_int_equal(desk_put(&desk, DESK_BOB, 11, "b", "1", FS_FAIL), FS_OK);
    assert_int_equal(cancel(21, MAILBOX, 2, "", &event), FS_MET);
    assert_true(event);
    assert_int_equal(cancel(22, MAILBOX, 3, "", &event), FS_NEVER);
}

static void cancelling_by_name_takes_all_of_the_mailbox(void **state)
{
    bool registered = false;
    fs_cancel_args args = {.op = desk_id(20), .mailbox = desk_id(MAILBOX), .pattern = desk_name("a")};
    fs_cancel_res res = {0};

    (void)state;
    register_interest((struct interest){MAILBOX, 1, FS_EXACT, "a", 60, FS_ONCE, FS_TELL}, &registered);
    register_interest((struct interest){MAILBOX, 2, FS_EXACT, "a", 60, FS_EVERY, FS_TELL}, &registered);
    register_interest((struct interest){MAILBOX, 3, FS_EXACT, "b", 60, FS_ONCE, FS_TELL}, &registered);
    register_interest((struct interest){OTHER_MAILBOX, 4, FS_EXACT, "a", 60, FS_ONCE, FS_TELL}, &registered);
    CALL(DESK_ALICE, FSPROC_CANCEL_INTEREST, fs_cancel_args, fs_cancel_res, &args, &res);
    assert_int_equal(res.fs_cancel_res_u.cancel.rows.rows_len, 2);
    xdr_free((xdrproc_t)xdr_fs_cancel_res, (char *)&res);
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "a", "1", FS_FAIL), FS_OK);
    assert_int_equal(count_events(MAILBOX, 0), 0);
    assert_int_equal(count_events(OTHER_MAILBOX, 0), 1);
}

static void interests_and_events_outlive_a_restart(void **state)
{
    bool registered = false;
    fs_interests_args args = {.mailbox = desk_id(MAILBOX)};
    fs_interests_res res = {0};

    (void)state;
    register_interest((struct interest){MAILBOX, 1, FS_EXACT, "a", 60, FS_ONCE, FS_TELL}, &registered);
    register_interest((struct interest){MAILBOX, 2, FS_GLOB, "b*", 60, FS_EVERY, FS_TELL}, &registered);
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "b1", "1", FS_FAIL), FS_OK);
    desk_reopen(&desk);
    CALL(DESK_ALICE, FSPROC_LIST_INTERESTS, fs_interests_args, fs_interests_res, &args, &res);
    assert_int_equal(res.status, FS_OK);
    assert_int_equal(res.fs_interests_res_u.page.rows.rows_len, 2);
    assert_int_equal(res.fs_interests_res_u.page.rows.rows_val[0].state, FS_WAITING);
    assert_int_equal(res.fs_interests_res_u.page.rows.rows_val[1].arrivals, 1);
    assert_int_equal(res.fs_interests_res_u.page.route, FS_ROUTE_NONE);
    xdr_free((xdrproc_t)xdr_fs_interests_res, (char *)&res);
    assert_int_equal(desk_put(&desk, DESK_BOB, 11, "a", "1", FS_FAIL), FS_OK);
    assert_int_equal(count_events(MAILBOX, 0), 2);
}

static void a_mailbox_forgotten_is_gone(void **state)
{
    bool registered = false;
    fs_detach_args args = {.mailbox = desk_id(MAILBOX), .forget = TRUE};
    fs_done_res done = {0};

    (void)state;
    register_interest((struct interest){MAILBOX, 1, FS_EXACT, "a", 60, FS_ONCE, FS_TELL}, &registered);
    CALL(DESK_ALICE, FSPROC_DETACH, fs_detach_args, fs_done_res, &args, &done);
    assert_int_equal(done.status, FS_OK);
    fs_events_res res = events(MAILBOX, 0);
    assert_int_equal(res.status, FS_ABSENT);
    assert_int_equal(desk_put(&desk, DESK_BOB, 10, "a", "1", FS_FAIL), FS_OK);
}

static void callbacks_that_cannot_be_are_refused(void **state)
{
    static const struct {
        unsigned program;
        const char *netid, *address;
    } rows[] = {
        {100003, "tcp", "127.0.0.1.160.11"},     /* outside of the transient range */
        {0x60000000, "tcp", "127.0.0.1.160.11"},
        {0x40000001, "tcp", "127.0.0.1.3.255"},  /* port 1023 */
        {0x40000001, "tcp", "127.0.0.1"},
        {0x40000001, "udp", "127.0.0.1.160.11"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fs_attach_args args = {
            .mailbox = desk_id(MAILBOX),
            .callback = {.prog = rows[i].program, .proof = desk_id(1), .ticket = desk_id(2)},
        };
        fs_attach_res res = {0};
        fs_name netid = desk_name(rows[i].netid), address = desk_name(rows[i].address);
        args.callback.netid = (fs_address){netid.fs_name_len, netid.fs_name_val};
        args.callback.address = (fs_address){address.fs_name_len, address.fs_name_val};
        CALL(DESK_ALICE, FSPROC_ATTACH, fs_attach_args, fs_attach_res, &args, &res);
        if (res.status != FS_INVALID)
            fail_msg("row %zu was answered %d", i, (int)res.status);
    }
}

static fs_status attach(unsigned mailbox)
{
    fs_attach_args args = {
        .mailbox = desk_id(mailbox),
        .callback = {.prog = 0x40000001, .proof = desk_id(1), .ticket = desk_id(2)},
    };
    fs_attach_res res = {0};
    fs_name netid = desk_name("tcp"), address = desk_name("127.0.0.1.160.11");
    args.callback.netid = (fs_address){netid.fs_name_len, netid.fs_name_val};
    args.callback.address = (fs_address){address.fs_name_len, address.fs_name_val};
    CALL(DESK_ALICE, FSPROC_ATTACH, fs_attach_args, fs_attach_res, &args, &res);
    return res.status;
}

static enum sender_state route_of(unsigned mailbox)
{
    struct id id;
    fs_id wire = desk_id(mailbox);
    memcpy(id.octets, wire.octets, sizeof id.octets);
    return delivery_state(desk.delivery, &id);
}

/* Who makes mailboxes by attaching them is bounded like who makes interests; of what is refused nothing is kept. */
static void mailboxes_beyond_the_bound_are_refused(void **state)
{
    fs_detach_args args = {.mailbox = desk_id(MAILBOX)};
    fs_done_res done = {0};

    (void)state;
    desk.limits.mailboxes_per_principal = 1;
    desk_reopen(&desk);
    assert_int_equal(attach(MAILBOX), FS_OK);
    for (unsigned other = OTHER_MAILBOX; other < OTHER_MAILBOX + 5; other++) {
        assert_int_equal(attach(other), FS_LIMIT);
        assert_int_equal(route_of(other), SENDER_NONE);
        assert_int_equal(events(other, 0).status, FS_ABSENT);
    }
    assert_int_not_equal(route_of(MAILBOX), SENDER_NONE);
    assert_int_equal(attach(MAILBOX), FS_OK);
    args.forget = TRUE;
    CALL(DESK_ALICE, FSPROC_DETACH, fs_detach_args, fs_done_res, &args, &done);
    assert_int_equal(done.status, FS_OK);
    assert_int_equal(attach(OTHER_MAILBOX), FS_OK);
}

/* Taking a way back away makes no mailbox. */
static void detaching_makes_nothing(void **state)
{
    fs_detach_args args = {.mailbox = desk_id(MAILBOX)};
    fs_done_res done = {0};

    (void)state;
    CALL(DESK_ALICE, FSPROC_DETACH, fs_detach_args, fs_done_res, &args, &done);
    assert_int_equal(done.status, FS_OK);
    assert_int_equal(events(MAILBOX, 0).status, FS_ABSENT);
}

static void arguments_out_of_range_are_refused(void **state)
{
    fs_register_args args = {.mailbox = desk_id(1), .interest = desk_id(2), .pattern = desk_name("a"), .seconds = 60};
    const fs_register_args good = args;
    fs_register_res res = {0};

    (void)state;
#define REFUSED(field, value)                                                                                   \
    do {                                                                                                        \
        args = good;                                                                                            \
        args.field = value;                                                                                     \
        CALL(DESK_ALICE, FSPROC_REGISTER_INTEREST, fs_register_args, fs_register_res, &args, &res);             \
        assert_int_equal(res.status, FS_INVALID);                                                               \
    } while (0)
    REFUSED(mailbox, desk_id(0));
    REFUSED(interest, desk_id(0));
    REFUSED(match, (fs_match)7);
    REFUSED(repeat, (fs_repeat)7);
    REFUSED(present, (fs_present)7);
    REFUSED(seconds, 0);
    REFUSED(seconds, FS_INTEREST_SECONDS_MAX + 1);
    REFUSED(pattern, desk_name(""));
    REFUSED(pattern, desk_name("a//b"));
}

#define ON_DESK(test) cmocka_unit_test_setup_teardown(test, open_desk, close_desk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DESK(an_arrival_is_told_once),
        ON_DESK(every_arrival_is_told_to_who_asked_for_every),
        ON_DESK(what_is_there_is_told_at_once_and_nothing_registered),
        ON_DESK(globs_are_told_of_what_matches),
        ON_DESK(a_rename_is_an_arrival),
        ON_DESK(an_interest_that_runs_out_unmet_is_told),
        ON_DESK(renewing_puts_the_end_off),
        ON_DESK(cancelling_answers_what_became_of_it),
        ON_DESK(cancelling_by_name_takes_all_of_the_mailbox),
        ON_DESK(interests_and_events_outlive_a_restart),
        ON_DESK(a_mailbox_forgotten_is_gone),
        ON_DESK(callbacks_that_cannot_be_are_refused),
        ON_DESK(mailboxes_beyond_the_bound_are_refused),
        ON_DESK(detaching_makes_nothing),
        ON_DESK(arguments_out_of_range_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
