/* event: to the wire and back, and what a peer may not say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "callback/event.h"
#include "rpc/bulk.h"

#include <stdio.h>
#include <string.h>

static struct event_entry sample_entry(void)
{
    struct event_entry entry = {
        .name = "reports/2026 \xc3\xa4.txt",
        .owner = "unix:1000",
        .size = UINT64_C(5000000000),
        .mtime = -1,
        .arrival = INT64_C(1700000000123456789),
        .version = id_random(),
    };
    for (int i = 0; i < DIGEST_SIZE; i++)
        entry.digest.octets[i] = (uint8_t)i;
    return entry;
}

static struct event sample_event(enum event_kind kind)
{
    struct event event = {.number = UINT64_C(1) << 40, .kind = kind, .interest = id_random(), .happened = 42};
    strcpy(event.pattern, "reports/**");
    if (kind == EVENT_ARRIVED)
        event.entry = sample_entry();
    if (kind == EVENT_DROPPED)
        event.dropped = 17;
    return event;
}

static void assert_same_entry(const struct event_entry *a, const struct event_entry *b)
{
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->owner, b->owner);
    assert_int_equal(a->size, b->size);
    assert_int_equal(a->mtime, b->mtime);
    assert_int_equal(a->arrival, b->arrival);
    assert_memory_equal(&a->digest, &b->digest, sizeof a->digest);
    assert_true(id_equal(&a->version, &b->version));
}

static void over_the_wire_and_back(void **state)
{
    (void)state;
    for (enum event_kind kind = EVENT_ARRIVED; kind <= EVENT_DROPPED; kind++) {
        struct event before = sample_event(kind), after;
        fs_entry room;
        fs_event out, in = {0};
        event_to_wire(&before, &room, &out);

        _Alignas(8) char bytes[8192];
        XDR xdrs;
        xdrmem_create(&xdrs, bytes, sizeof bytes, XDR_ENCODE);
        bulk_attach(&xdrs, NULL);
        assert_true(xdr_fs_event(&xdrs, &out));
        u_int size = xdr_getpos(&xdrs);
        xdrmem_create(&xdrs, bytes, size, XDR_DECODE);
        assert_true(xdr_fs_event(&xdrs, &in));

        struct failure why;
        assert_int_equal(event_from_wire(&in, &after, &why), OUTCOME_OK);
        xdr_free((xdrproc_t)xdr_fs_event, (char *)&in);
        assert_int_equal(before.number, after.number);
        assert_int_equal(before.kind, after.kind);
        assert_int_equal(before.happened, after.happened);
        assert_int_equal(before.dropped, after.dropped);
        assert_true(id_equal(&before.interest, &after.interest));
        assert_string_equal(before.pattern, after.pattern);
        if (kind == EVENT_ARRIVED)
            assert_same_entry(&before.entry, &after.entry);
    }
}

static void times_keep_their_nanoseconds(void **state)
{
    (void)state;
    static const int64_t times[] = {0,           1,           -1,        999999999, 1000000000,
                                    -1000000000, -1000000001, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        fs_time wire = event_time_to_wire(times[i]);
        assert_true(wire.nanoseconds < 1000000000);
        /* The least of all needs a second that does not fit in ns: it saturates to itself. */
        assert_int_equal(event_time_from_wire(wire), times[i]);
    }
    assert_int_equal(event_time_from_wire((fs_time){.seconds = INT64_MAX}), INT64_MAX);
    assert_int_equal(event_time_from_wire((fs_time){.seconds = INT64_MIN}), INT64_MIN);
}

/* One change to a sound event, and the answer. */
static void assert_refused(void (*spoil)(fs_event *event, fs_entry *entry), enum event_kind kind)
{
    struct event before = sample_event(kind), after;
    memset(&after, 0x5a, sizeof after);
    struct event untouched = after;
    fs_entry room;
    fs_event wire;
    event_to_wire(&before, &room, &wire);
    spoil(&wire, &room);
    struct failure why = {.text = ""};
    assert_int_equal(event_from_wire(&wire, &after, &why), OUTCOME_PROTOCOL);
    assert_string_not_equal(why.text, "");
    assert_memory_equal(&after, &untouched, sizeof after);
}

static void kind_unknown(fs_event *event, fs_entry *entry)
{
    (void)entry;
    event->kind = (fs_event_kind)3;
}

static void number_zero(fs_event *event, fs_entry *entry)
{
    (void)entry;
    event->number = 0;
}

static void entry_missing(fs_event *event, fs_entry *entry)
{
    (void)entry;
    event->entry = NULL;
}

static void entry_too_much(fs_event *event, fs_entry *entry)
{
    static struct event_entry sample;
    sample = sample_entry();
    event_entry_to_wire(&sample, entry);
    event->entry = entry;
}

static void pattern_with_nul(fs_event *event, fs_entry *entry)
{
    (void)entry;
    static char pattern[] = {'a', '\0', 'b'};
    event->pattern.fs_name_val = pattern;
    event->pattern.fs_name_len = sizeof pattern;
}

static void name_is_a_path(fs_event *event, fs_entry *entry)
{
    (void)event;
    static char name[] = "../etc/passwd";
    entry->name.fs_name_val = name;
    entry->name.fs_name_len = sizeof name - 1;
}

static void owner_too_long(fs_event *event, fs_entry *entry)
{
    (void)event;
    static char owner[EVENT_PRINCIPAL_SIZE];
    memset(owner, 'o', sizeof owner);
    entry->owner.fs_text_val = owner;
    entry->owner.fs_text_len = sizeof owner;
}

static void digest_short(fs_event *event, fs_entry *entry)
{
    (void)event;
    entry->digest.fs_digest_len = DIGEST_SIZE - 1;
}

static void digest_missing(fs_event *event, fs_entry *entry)
{
    (void)event;
    entry->digest.fs_digest_len = 0;
    entry->digest.fs_digest_val = NULL;
}

static void version_missing(fs_event *event, fs_entry *entry)
{
    (void)event;
    memset(&entry->revision, 0, sizeof entry->revision);
}

static void nanoseconds_too_many(fs_event *event, fs_entry *entry)
{
    (void)event;
    entry->arrival.nanoseconds = 1000000000;
}

static void happened_is_no_time(fs_event *event, fs_entry *entry)
{
    (void)entry;
    event->happened.nanoseconds = 1000000000;
}

static void what_a_peer_may_not_say(void **state)
{
    (void)state;
    assert_refused(kind_unknown, EVENT_ARRIVED);
    assert_refused(number_zero, EVENT_ARRIVED);
    assert_refused(entry_missing, EVENT_ARRIVED);
    assert_refused(entry_too_much, EVENT_EXPIRED);
    assert_refused(pattern_with_nul, EVENT_EXPIRED);
    assert_refused(name_is_a_path, EVENT_ARRIVED);
    assert_refused(owner_too_long, EVENT_ARRIVED);
    assert_refused(digest_short, EVENT_ARRIVED);
    assert_refused(digest_missing, EVENT_ARRIVED);
    assert_refused(version_missing, EVENT_ARRIVED);
    assert_refused(nanoseconds_too_many, EVENT_ARRIVED);
    assert_refused(happened_is_no_time, EVENT_DROPPED);
}

static void owner_at_the_limit(void **state)
{
    (void)state;
    struct event before = sample_event(EVENT_ARRIVED), after;
    memset(before.entry.owner, 'o', EVENT_PRINCIPAL_SIZE - 1);
    fs_entry room;
    fs_event wire;
    event_to_wire(&before, &room, &wire);
    assert_int_equal(event_from_wire(&wire, &after, NULL), OUTCOME_OK);
    assert_string_equal(after.entry.owner, before.entry.owner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(over_the_wire_and_back),
        cmocka_unit_test(times_keep_their_nanoseconds),
        cmocka_unit_test(what_a_peer_may_not_say),
        cmocka_unit_test(owner_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
