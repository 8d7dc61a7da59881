/*
 * The limits of proto/fileshare.x, at the limit and one past it; and what a
 * decoder does with messages that lie: counts without bytes, numbers that no
 * enum has, padding that is not zero.
 */
#include "proto/fileshare.h"
#include "rpc/bulk.h"
#include "wire/golden/golden.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 2 << 20 };

/* One place of the .x with an upper bound. Zeros are a value of all that stands around it. */
struct bound {
    const char *constant; /* as it stands between < and > */
    const char *place;
    xdrproc_t xdr;
    size_t offset;       /* of count and pointer in the C type */
    size_t wire_before;  /* bytes on the wire before the count */
    size_t wire_after;   /* and after the last element */
    size_t element;      /* bytes of one element in C; 0: opaque */
    size_t wire_element; /* bytes on the wire of an element of zeros */
    uint32_t limit;      /* the number that was promised */
};

/* Rpcgen makes this of every <>, under names of its own. */
struct counted {
    u_int count;
    char *values;
};

#define OPAQUE(type_, constant_, limit_)                                  \
    {                                                                     \
#constant_, #type_, (xdrproc_t)xdr_##type_, 0, 0, 0, 0, 0, limit_ \
    }
#define ARRAY(type_, member_, element_, wire_element_, before_, after_, constant_, limit_)                  \
    {                                                                                                       \
#constant_, #type_ "." #member_, (xdrproc_t)xdr_##type_, offsetof(type_, member_), before_, after_, \
            sizeof(element_), wire_element_, limit_                                                         \
    }

enum {
    ENTRY_WIRE = 4 + 8 + 12 + 12 + 4 + 4 + 16,
    EVENT_WIRE = 8 + 4 + 16 + 12 + 4 + 4 + 8,
    CANCELLED_WIRE = 16 + 4 + 4,
    INTEREST_WIRE = 16 + 4 + 4 + 4 + 4 + 4 + 8,
    COUNTER_WIRE = 4 + 8,
    UPLOAD_WIRE = 16 + 4 + 4 + 16 + 12 + 4 + 4,
    DOWNLOAD_ONE_WIRE = 4 + 16,
    DOWNLOAD_WIRE = 4 + ENTRY_WIRE + 4 + 4,
};

static const struct bound bounds[] = {
    OPAQUE(fs_name, FS_NAME_MAX, 1023),
    OPAQUE(fs_text, FS_TEXT_MAX, 511),
    OPAQUE(fs_address, FS_ADDRESS_MAX, 127),
    OPAQUE(fs_data, FS_DATA_MAX, 1048576),
    OPAQUE(fs_digest, FS_DIGEST_SIZE, 16),
    {"FS_COUNTER_NAME_MAX", "fs_counter.label", (xdrproc_t)xdr_fs_counter, 0, 0, 8, 0, 0, 63},
    ARRAY(fs_status_report, counters, fs_counter, COUNTER_WIRE, 0, 0, FS_COUNTERS_MAX, 128),
    ARRAY(fs_upload_many_args, files, fs_upload_args, UPLOAD_WIRE, 0, 0, FS_MANY_MAX, 512),
    ARRAY(fs_upload_many, files, fs_entry_res, 4 + ENTRY_WIRE, 0, 0, FS_MANY_MAX, 512),
    ARRAY(fs_download_many_args, files, fs_download_one, DOWNLOAD_ONE_WIRE, 0, 0, FS_MANY_MAX, 512),
    ARRAY(fs_download_many, files, fs_download_res, DOWNLOAD_WIRE, 0, 0, FS_MANY_MAX, 512),
    ARRAY(fs_list, entries, fs_entry, ENTRY_WIRE, 0, 8, FS_LIST_MAX, 1024),
    ARRAY(fs_registration, present, fs_entry, ENTRY_WIRE, 12, 4, FS_PRESENT_MAX, 64),
    ARRAY(fs_cancel, rows, fs_cancelled, CANCELLED_WIRE, 0, 4, FS_INTERESTS_MAX, 256),
    ARRAY(fs_interests, rows, fs_interest, INTEREST_WIRE, 0, 8, FS_INTERESTS_MAX, 256),
    ARRAY(fs_events, rows, fs_event, EVENT_WIRE, 0, 4, FS_EVENTS_MAX, 64),
    ARRAY(fs_notify_args, rows, fs_event, EVENT_WIRE, 16, 0, FS_EVENTS_MAX, 64),
};

enum { BOUNDS = sizeof(bounds) / sizeof(bounds[0]) };

/* Room for any of the types above. */
union value {
    fs_list list;
    fs_registration registration;
    fs_notify_args notify;
    fs_interests interests;
    fs_counter counter;
    char bytes[512];
};

static char *zeros(size_t length)
{
    char *bytes = calloc(1, length ? length : 1);
    assert_non_null(bytes);
    return bytes;
}

static size_t wire_length(const struct bound *bound, uint32_t count)
{
    size_t counted = bound->element ? count * bound->wire_element : (count + 3) / 4 * 4;

    return bound->wire_before + 4 + counted + bound->wire_after;
}

static bool_t encodes(const struct bound *bound, uint32_t count)
{
    char *elements = zeros(count * (bound->element ? bound->element : 1));
    char *room = zeros(ROOM);
    union value value;
    XDR xdrs;

    memset(&value, 0, sizeof(value));
    struct counted counted = {count, elements};
    memcpy(value.bytes + bound->offset, &counted, sizeof(counted));
    xdrmem_create(&xdrs, room, ROOM, XDR_ENCODE);
    bulk_attach(&xdrs, NULL);
    bool_t fine = bound->xdr(&xdrs, &value);
    if (fine)
        assert_int_equal(xdr_getpos(&xdrs), wire_length(bound, count));
    free(room);
    free(elements);
    return fine;
}

static void put_word(char *at, uint32_t word)
{
    word = htonl(word);
    memcpy(at, &word, sizeof(word));
}

/* Decodes `length` bytes of a message that says `count` and is zeros otherwise. */
static bool_t decodes(const struct bound *bound, uint32_t count, size_t length)
{
    char *message = zeros(length);
    union value value;
    struct counted counted;
    XDR xdrs;

    if (length >= bound->wire_before + 4)
        put_word(message + bound->wire_before, count);
    memset(&value, 0, sizeof(value));
    xdrmem_create(&xdrs, message, (u_int)length, XDR_DECODE);
    bool_t fine = bound->xdr(&xdrs, &value);
    memcpy(&counted, value.bytes + bound->offset, sizeof(counted));
    if (fine)
        assert_int_equal(counted.count, count);
    xdr_free(bound->xdr, &value);
    free(message);
    return fine;
}

static void expect(bool_t is, const struct bound *bound, const char *what)
{
    if (!is)
        fail_msg("%s (%s): %s", bound->place, bound->constant, what);
}

static void test_at_the_limit_and_one_past_it(void **state)
{
    (void)state;
    for (const struct bound *bound = bounds; bound < bounds + BOUNDS; bound++) {
        uint32_t limit = bound->limit;
        expect(encodes(bound, limit), bound, "the limit does not encode");
        expect(!encodes(bound, limit + 1), bound, "one past the limit encodes");
        expect(decodes(bound, limit, wire_length(bound, limit)), bound, "the limit does not decode");
        expect(!decodes(bound, limit + 1, wire_length(bound, limit + 1)), bound,
               "one past the limit decodes");
    }
}

static void test_none_and_one(void **state)
{
    (void)state;
    for (const struct bound *bound = bounds; bound < bounds + BOUNDS; bound++)
        for (uint32_t count = 0; count <= 1; count++) {
            expect(encodes(bound, count), bound, "none or one does not encode");
            expect(decodes(bound, count, wire_length(bound, count)), bound, "none or one does not decode");
        }
}

static void test_counts_that_no_message_can_hold(void **state)
{
    static const uint32_t absurd[] = {0x7fffffff, 0x80000000, 0xfffffffc, 0xfffffffd, 0xffffffff};

    (void)state;
    for (const struct bound *bound = bounds; bound < bounds + BOUNDS; bound++)
        for (size_t i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++)
            expect(!decodes(bound, absurd[i], wire_length(bound, 2)), bound, "an absurd count decodes");
}

static void test_message_shorter_than_its_count(void **state)
{
    (void)state;
    for (const struct bound *bound = bounds; bound < bounds + BOUNDS; bound++) {
        size_t whole = wire_length(bound, bound->limit);
        size_t step = whole / 97 / 4 * 4 + 4;
        for (size_t length = 0; length < whole; length += step)
            expect(!decodes(bound, bound->limit, length), bound, "a cut message decodes");
        expect(!decodes(bound, bound->limit, whole - 4), bound, "all but the last word decodes");
        expect(!decodes(bound, bound->limit, whole - 1), bound, "all but the last byte decodes");
    }
}

static char *read_contract(void)
{
    FILE *file = fopen(FILESHARE_SOURCE "/proto/fileshare.x", "r");

    assert_non_null(file);
    char *text = zeros(ROOM);
    assert_true(fread(text, 1, ROOM - 1, file) > 0);
    fclose(file);
    return text;
}

static bool_t has_bound(const char *constant)
{
    for (const struct bound *bound = bounds; bound < bounds + BOUNDS; bound++)
        if (strcmp(bound->constant, constant) == 0)
            return TRUE;
    return FALSE;
}

/* Each `<CONSTANT>` of the .x has a row above, one each where it bounds an array. */
static void test_each_bound_of_the_contract_is_here(void **state)
{
    char *text = read_contract();
    size_t found = 0;

    (void)state;
    for (char *at = strchr(text, '<'); at; at = strchr(at + 1, '<')) {
        char constant[64];
        if (sscanf(at, "<%63[A-Z0-9_]>;", constant) != 1)
            continue;
        if (!has_bound(constant))
            fail_msg("<%s> is not tested here", constant);
        found++;
    }
    assert_int_equal(found, BOUNDS);
    free(text);
}

/* ---- memory goes by what came, not by what was claimed ---- */

static size_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* Sanitizers and valgrind have allocators of their own, which mallinfo2 does not see. */
static void skip_if_memory_cannot_be_measured(void)
{
    size_t before = allocated();
    char *volatile probe = zeros(100000);
    size_t after = allocated();

    free(probe);
    if (after < before + 100000)
        skip();
}

/* Memory that decoding took and xdr_free then gave back. */
static size_t memory_to_decode(xdrproc_t xdr, const char *message, size_t length, bool_t *fine)
{
    union value value;
    XDR xdrs;

    memset(&value, 0, sizeof(value));
    xdrmem_create(&xdrs, (char *)(uintptr_t)message, (u_int)length, XDR_DECODE);
    size_t before = allocated();
    *fine = xdr(&xdrs, &value);
    size_t taken = allocated() - before;
    xdr_free(xdr, &value);
    assert_int_equal(allocated(), before);
    return taken;
}

enum { ALLOCATOR_OVERHEAD = 4096 };

static void test_claims_without_bytes_take_no_more_than_the_bound(void **state)
{
    (void)state;
    skip_if_memory_cannot_be_measured();
    for (const struct bound *bound = bounds; bound < bounds + BOUNDS; bound++) {
        size_t length = bound->wire_before + 4;
        char *message = zeros(length);
        bool_t fine;

        /* The most a claim can reach: one array of the type, nothing of what is in it. */
        put_word(message + bound->wire_before, bound->limit);
        size_t taken = memory_to_decode(bound->xdr, message, length, &fine);
        expect(!fine, bound, "a count without bytes decodes");
        expect(taken <= bound->limit * bound->element + ALLOCATOR_OVERHEAD, bound,
               "a count without bytes takes more than its bound");
        if (bound->element)
            expect(taken >= bound->limit * bound->element, bound, "the measurement sees nothing");
        else
            expect(taken == 0, bound, "opaque bytes were copied");

        put_word(message + bound->wire_before, bound->limit + 1);
        expect(memory_to_decode(bound->xdr, message, length, &fine) == 0 && !fine, bound,
               "one past the limit takes memory");
        put_word(message + bound->wire_before, 0xffffffff);
        expect(memory_to_decode(bound->xdr, message, length, &fine) == 0 && !fine, bound,
               "an absurd count takes memory");
        free(message);
    }
}

/* Rows of CANCEL_INTEREST with all optional items there, `rows` of them. */
static char *nested_rows(uint32_t rows, size_t *length)
{
    enum { ROW = CANCELLED_WIRE + EVENT_WIRE + ENTRY_WIRE };
    char *message = zeros(4 + rows * ROW + 4);

    put_word(message, rows);
    for (uint32_t i = 0; i < rows; i++) {
        char *row = message + 4 + i * ROW;
        put_word(row + 16, FS_MET);
        put_word(row + 20, 1);                       /* an event */
        put_word(row + 24 + 8 + 4 + 16 + 12 + 4, 1); /* an entry in it */
    }
    *length = 4 + rows * ROW + 4;
    return message;
}

static void test_nested_optional_items(void **state)
{
    size_t length;
    char *message = nested_rows(FS_INTERESTS_MAX, &length);
    fs_cancel cancel = {0};
    XDR xdrs;

    (void)state;
    xdrmem_create(&xdrs, message, (u_int)length, XDR_DECODE);
    assert_true(xdr_fs_cancel(&xdrs, &cancel));
    assert_int_equal(cancel.rows.rows_len, FS_INTERESTS_MAX);
    assert_non_null(cancel.rows.rows_val[255].event->entry);
    xdr_free((xdrproc_t)xdr_fs_cancel, &cancel);

    /* Cut within the last row: refused, and what was made of the others is given back. */
    for (size_t cut = 4; cut <= CANCELLED_WIRE + EVENT_WIRE + ENTRY_WIRE + 4; cut += 4) {
        memset(&cancel, 0, sizeof(cancel));
        xdrmem_create(&xdrs, message, (u_int)(length - cut), XDR_DECODE);
        assert_false(xdr_fs_cancel(&xdrs, &cancel));
        xdr_free((xdrproc_t)xdr_fs_cancel, &cancel);
    }
    free(message);
}

static void test_nested_optional_items_take_their_size(void **state)
{
    size_t length, room = FS_INTERESTS_MAX * (sizeof(fs_cancelled) + sizeof(fs_event) + sizeof(fs_entry));
    bool_t fine;

    (void)state;
    skip_if_memory_cannot_be_measured();
    char *message = nested_rows(FS_INTERESTS_MAX, &length);
    size_t taken = memory_to_decode((xdrproc_t)xdr_fs_cancel, message, length, &fine);
    assert_true(fine);
    assert_in_range(taken, room, room + FS_INTERESTS_MAX * 2 * 32 + ALLOCATOR_OVERHEAD);
    free(message);
}

/* ---- what the decoder lets through, so that the procedures must look ---- */

/*
 * An enum is any 32-bit number to XDR routines: rpcgen's decoder takes it. The
 * procedures refuse those that they do not know.
 */
static void test_numbers_that_the_enum_does_not_have(void **state)
{
    static const uint32_t numbers[] = {2, 77, 0x7fffffff, 0xffffffff};

    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        _Alignas(8) char word[4];
        fs_policy policy = FS_FAIL;
        XDR xdrs;
        put_word(word, numbers[i]);
        xdrmem_create(&xdrs, word, 4, XDR_DECODE);
        assert_true(xdr_fs_policy(&xdrs, &policy));
        assert_int_equal((uint32_t)policy, numbers[i]);
    }
}

/* A status of a later version is a failure with its reason, to clients of this one. */
static void test_status_that_is_not_known_has_a_reason(void **state)
{
    _Alignas(8) char message[] = "\0\0\0\x63\0\0\0\4what";
    fs_entry_res res = {0};
    XDR xdrs;

    (void)state;
    xdrmem_create(&xdrs, message, 12, XDR_DECODE);
    assert_true(xdr_fs_entry_res(&xdrs, &res));
    assert_int_equal(res.status, 99);
    assert_int_equal(res.fs_entry_res_u.failure.reason.fs_text_len, 4);
    assert_memory_equal(res.fs_entry_res_u.failure.reason.fs_text_val, "what", 4);
    xdr_free((xdrproc_t)xdr_fs_entry_res, &res);
}

/* Booleans and the marks of optional items: all but zero is true, and is sent on as 1. */
static void test_truth_is_anything_but_zero(void **state)
{
    _Alignas(8) char message[FS_ID_SIZE + 4] = "0123456789abcdef\x80\0\0\0";
    _Alignas(8) char again[FS_ID_SIZE + 4];
    fs_detach_args args = {0};
    XDR xdrs;

    (void)state;
    xdrmem_create(&xdrs, message, sizeof(message), XDR_DECODE);
    assert_true(xdr_fs_detach_args(&xdrs, &args));
    assert_int_equal(args.forget, TRUE);
    xdrmem_create(&xdrs, again, sizeof(again), XDR_ENCODE);
    bulk_attach(&xdrs, NULL);
    assert_true(xdr_fs_detach_args(&xdrs, &args));
    assert_memory_equal(again + FS_ID_SIZE, "\0\0\0\1", 4);
}

/* RFC 4506 wants zeros as padding; like libtirpc we do not look, and never show them. */
static void test_padding_is_not_looked_at(void **state)
{
    for (size_t count = 1; count <= 3; count++) {
        _Alignas(8) char message[8] = "\0\0\0\0\xff\xff\xff\xff";
        fs_name name = {0};
        XDR xdrs;
        put_word(message, (uint32_t)count);
        xdrmem_create(&xdrs, message, 8, XDR_DECODE);
        assert_true(xdr_fs_name(&xdrs, &name));
        assert_int_equal(name.fs_name_len, count);
        assert_int_equal(xdr_getpos(&xdrs), 8);

        /* Padding that does not come is a message cut short. */
        for (u_int length = 4; length < 8; length++) {
            xdrmem_create(&xdrs, message, length, XDR_DECODE);
            assert_false(xdr_fs_name(&xdrs, &name));
        }
    }
    (void)state;
}

/*
 * The largest call and reply of each kind fit a record. Only a LIST of the most
 * names, all of the longest, would not: there the server ends the page earlier.
 */
static void test_largest_records_fit(void **state)
{
    enum { HEADER_MAX = 4 * 6 + 2 * (8 + 400) }; /* RFC 5531: call header, credential, verifier */
    size_t room = FS_RECORD_MAX - HEADER_MAX;
    size_t name = FS_NAME_MAX + 1;
    size_t entry = ENTRY_WIRE + name + FS_TEXT_MAX + 1 + FS_DIGEST_SIZE;
    size_t event = EVENT_WIRE + name + entry;

    (void)state;
    assert_true(FS_ID_SIZE + 4 + name + 4 + 16 + 12 + 4 + FS_DIGEST_SIZE + 4 + FS_DATA_MAX <= room);
    assert_true(4 + entry + 4 + 4 + FS_DATA_MAX <= room);   /* DOWNLOAD */
    assert_true(4 + 4 + FS_MANY_MAX * (4 + entry) <= room); /* UPLOAD_MANY's reply */
    assert_true(4 + FS_MANY_MAX * (name + DOWNLOAD_ONE_WIRE) <= room);
    assert_true(4 + 16 + 4 + FS_EVENTS_MAX * event <= room);  /* NOTIFY, EVENTS */
    assert_true(4 + 16 + 4 + FS_PRESENT_MAX * entry <= room); /* REGISTER_INTEREST */
    assert_true(4 + 8 + FS_INTERESTS_MAX * (CANCELLED_WIRE + event) <= room);
    assert_true(4 + 12 + FS_INTERESTS_MAX * (INTEREST_WIRE + name) <= room);
    assert_true(4 + 4 + FS_COUNTERS_MAX * (COUNTER_WIRE + FS_COUNTER_NAME_MAX + 1) <= room);
    assert_false(4 + 12 + name + FS_LIST_MAX * entry <= room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_bound_of_the_contract_is_here),
        cmocka_unit_test(test_at_the_limit_and_one_past_it),
        cmocka_unit_test(test_none_and_one),
        cmocka_unit_test(test_counts_that_no_message_can_hold),
        cmocka_unit_test(test_message_shorter_than_its_count),
        cmocka_unit_test(test_claims_without_bytes_take_no_more_than_the_bound),
        cmocka_unit_test(test_nested_optional_items),
        cmocka_unit_test(test_nested_optional_items_take_their_size),
        cmocka_unit_test(test_numbers_that_the_enum_does_not_have),
        cmocka_unit_test(test_status_that_is_not_known_has_a_reason),
        cmocka_unit_test(test_truth_is_anything_but_zero),
        cmocka_unit_test(test_padding_is_not_looked_at),
        cmocka_unit_test(test_largest_records_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
