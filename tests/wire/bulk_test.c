/* rpc/bulk: opaque bytes point into the record on decode, come from a source on encode. */
#include "rpc/bulk.h"

#include "proto/fileshare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 256 };

struct record {
    _Alignas(8) char bytes[ROOM];
};

static void stream_begin(XDR *xdrs, struct record *record, u_int room, enum xdr_op op)
{
    if (op == XDR_ENCODE)
        memset(record->bytes, 0xee, ROOM);
    xdrmem_create(xdrs, record->bytes, room, op);
    bulk_attach(xdrs, NULL);
}

struct pattern_source {
    struct bulk_source source; /* first: its address is the source's */
    int calls;
    size_t asked;
    void *to;
    bool fails;
};

static bool pattern_fill(struct bulk_source *source, void *to, size_t count)
{
    struct pattern_source *pattern = (struct pattern_source *)source;

    pattern->calls++;
    pattern->asked = count;
    pattern->to = to;
    for (size_t i = 0; i < count; i++)
        ((char *)to)[i] = (char)('a' + i);
    return !pattern->fails;
}

static struct pattern_source pattern_source(void)
{
    return (struct pattern_source){.source = {.fill = pattern_fill}};
}

static void test_encode_copies_and_pads_with_zeros(void **state)
{
    static char text[] = "abcdefghi";

    (void)state;
    for (u_int count = 0; count <= 9; count++) {
        struct record record;
        XDR xdrs;
        char *bytes = text;
        u_int padded = (count + 3) / 4 * 4;
        stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
        assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
        assert_int_equal(xdr_getpos(&xdrs), 4 + padded);
        assert_memory_equal(record.bytes + 4, text, count);
        for (u_int i = count; i < padded; i++)
            assert_int_equal(record.bytes[4 + i], 0);
        assert_int_equal((unsigned char)record.bytes[4 + padded], 0xee);
    }
}

static void test_encode_of_nothing_needs_no_pointer(void **state)
{
    struct record record;
    XDR xdrs;
    char *bytes = NULL;
    u_int count = 0;

    (void)state;
    stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    assert_int_equal(xdr_getpos(&xdrs), 4);
}

static void test_source_fills_the_record(void **state)
{
    struct pattern_source pattern = pattern_source();
    struct record record;
    XDR xdrs;
    char *bytes = (char *)&pattern.source;
    u_int count = 6;

    (void)state;
    stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
    bulk_attach(&xdrs, &pattern.source);
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    assert_int_equal(pattern.calls, 1);
    assert_int_equal(pattern.asked, 6);
    assert_ptr_equal(pattern.to, record.bytes + 4);
    assert_memory_equal(record.bytes, "\0\0\0\6abcdef\0\0\xee", 13);
}

/* Whatever else stands in the same reply is copied: only the source's own pointer means it. */
static void test_source_is_for_its_own_pointer_only(void **state)
{
    struct pattern_source pattern = pattern_source();
    struct record record;
    XDR xdrs;
    fs_upload_args args = {.name = {3, (char[]){"xyz"}}, .content = {2, (char *)&pattern.source}};

    (void)state;
    stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
    bulk_attach(&xdrs, &pattern.source);
    assert_true(xdr_fs_upload_args(&xdrs, &args));
    assert_int_equal(pattern.calls, 1);
    assert_int_equal(pattern.asked, 2);
    assert_memory_equal(record.bytes + FS_ID_SIZE, "\0\0\0\3xyz", 8);
    assert_memory_equal(record.bytes + xdr_getpos(&xdrs) - 8, "\0\0\0\2ab\0", 8);
}

/* Several in one message are linked in the order of their places; what is between them is copied. */
static void test_sources_follow_each_other(void **state)
{
    struct pattern_source first = pattern_source(), second = pattern_source();
    struct record record;
    XDR xdrs;
    char *parts[] = {(char *)&first.source, (char[]){"xy"}, (char *)&second.source};
    u_int counts[] = {3, 2, 4};

    (void)state;
    first.source.next = &second.source;
    stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
    bulk_attach(&xdrs, &first.source);
    for (int i = 0; i < 3; i++)
        assert_true(fs_xdr_bytes(&xdrs, &parts[i], &counts[i], 9));
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 1);
    assert_int_equal(second.asked, 4);
    assert_memory_equal(record.bytes, "\0\0\0\3abc\0\0\0\0\2xy\0\0\0\0\0\4abcd", 24);
}

static void test_source_is_not_asked_for_nothing(void **state)
{
    struct pattern_source pattern = pattern_source();
    struct record record;
    XDR xdrs;
    char *bytes = (char *)&pattern.source;
    u_int count = 0;

    (void)state;
    stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
    bulk_attach(&xdrs, &pattern.source);
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    assert_int_equal(pattern.calls, 0);
}

static void test_source_that_fails_fails_the_encoding(void **state)
{
    struct pattern_source pattern = pattern_source();
    struct record record;
    XDR xdrs;
    fs_download_res res = {.status = FS_OK,
                           .fs_download_res_u.download.content = {5, (char *)&pattern.source}};

    (void)state;
    pattern.fails = true;
    stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
    bulk_attach(&xdrs, &pattern.source);
    assert_false(xdr_fs_download_res(&xdrs, &res));
    assert_int_equal(pattern.calls, 1);
}

/* Five bytes take twelve on the wire; with one fewer neither source nor copy writes. */
static void test_record_without_room_is_not_written(void **state)
{
    struct pattern_source pattern = pattern_source();
    struct record record;
    XDR xdrs;
    char *bytes = (char *)&pattern.source;
    u_int count = 5;

    (void)state;
    stream_begin(&xdrs, &record, 11, XDR_ENCODE);
    bulk_attach(&xdrs, &pattern.source);
    assert_false(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    assert_int_equal(pattern.calls, 0);
    assert_int_equal((unsigned char)record.bytes[4], 0xee);

    stream_begin(&xdrs, &record, 12, XDR_ENCODE);
    bulk_attach(&xdrs, &pattern.source);
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    assert_int_equal(pattern.calls, 1);
    assert_int_equal((unsigned char)record.bytes[12], 0xee);
}

static void test_detached_source_is_forgotten(void **state)
{
    struct pattern_source pattern = pattern_source();
    struct record record;
    XDR xdrs;
    char *bytes = (char *)&pattern.source;
    u_int count = 4;

    (void)state;
    stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
    bulk_attach(&xdrs, &pattern.source);
    bulk_attach(&xdrs, NULL);
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    assert_int_equal(pattern.calls, 0);
    assert_memory_equal(record.bytes + 4, &pattern, 4);
}

static void test_decode_points_into_the_record(void **state)
{
    struct record record = {"\0\0\0\5hello\x1\x2\x3\0\0\0\0tail"};
    XDR xdrs;
    char *bytes = NULL;
    u_int count = 0;

    (void)state;
    stream_begin(&xdrs, &record, 20, XDR_DECODE);
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    assert_ptr_equal(bytes, record.bytes + 4);
    assert_int_equal(count, 5);
    assert_int_equal(xdr_getpos(&xdrs), 12);

    /* No bytes: no pointer, also where one stood. */
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    assert_null(bytes);
    assert_int_equal(count, 0);
    assert_int_equal(xdr_getpos(&xdrs), 16);
}

/* rpcgen's routines are compiled with ours, for each of the opaque types. */
static void test_generated_routines_use_it(void **state)
{
    struct record record = {"\0\0\0\4abcd"};
    const xdrproc_t opaque[] = {(xdrproc_t)xdr_fs_name, (xdrproc_t)xdr_fs_text, (xdrproc_t)xdr_fs_address,
                                (xdrproc_t)xdr_fs_data, (xdrproc_t)xdr_fs_digest};

    (void)state;
    for (size_t i = 0; i < sizeof(opaque) / sizeof(opaque[0]); i++) {
        fs_data value = {0};
        XDR xdrs;
        stream_begin(&xdrs, &record, 8, XDR_DECODE);
        assert_true(opaque[i](&xdrs, &value));
        assert_ptr_equal(value.fs_data_val, record.bytes + 4);
        xdr_free(opaque[i], &value); /* would free a pointer that malloc does not know */
        assert_null(value.fs_data_val);
    }
}

static void test_free_forgets(void **state)
{
    char *owned = strdup("mine");
    char *bytes = owned;
    u_int count = 4;
    XDR xdrs = {.x_op = XDR_FREE};

    (void)state;
    assert_non_null(owned);
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    assert_null(bytes);
    assert_string_equal(owned, "mine");
    free(owned);
}

static void test_limit(void **state)
{
    static char text[] = "abcdefghij";
    struct record record;
    XDR xdrs;
    char *bytes = text;
    u_int count = 9;

    (void)state;
    stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    stream_begin(&xdrs, &record, ROOM, XDR_DECODE);
    assert_false(fs_xdr_bytes(&xdrs, &bytes, &count, 8));
    stream_begin(&xdrs, &record, ROOM, XDR_DECODE);
    assert_true(fs_xdr_bytes(&xdrs, &bytes, &count, 9));

    count = 10;
    bytes = text;
    stream_begin(&xdrs, &record, ROOM, XDR_ENCODE);
    assert_false(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
}

static void test_record_shorter_than_the_count(void **state)
{
    struct record record = {"\0\0\0\5hello\0\0\0"};
    char *bytes = NULL;
    u_int count = 0;
    XDR xdrs;

    (void)state;
    for (u_int length = 0; length < 12; length++) {
        stream_begin(&xdrs, &record, length, XDR_DECODE);
        assert_false(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
        assert_null(bytes);
    }
}

/*
 * A stream over memory that is not aligned to four has no room that could be
 * pointed at: it is refused, not copied. Records of rpc/ are aligned.
 */
static void test_unaligned_record_is_refused(void **state)
{
    struct record record;
    char *bytes = (char[]){"abcd"};
    u_int count = 4;
    XDR xdrs;

    (void)state;
    memset(&record, 0, sizeof(record));
    xdrmem_create(&xdrs, record.bytes + 2, 64, XDR_ENCODE);
    bulk_attach(&xdrs, NULL);
    assert_false(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
    memcpy(record.bytes + 2, "\0\0\0\4abcd", 8);
    xdrmem_create(&xdrs, record.bytes + 2, 64, XDR_DECODE);
    assert_false(fs_xdr_bytes(&xdrs, &bytes, &count, 9));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encode_copies_and_pads_with_zeros),
        cmocka_unit_test(test_encode_of_nothing_needs_no_pointer),
        cmocka_unit_test(test_source_fills_the_record),
        cmocka_unit_test(test_source_is_for_its_own_pointer_only),
        cmocka_unit_test(test_sources_follow_each_other),
        cmocka_unit_test(test_source_is_not_asked_for_nothing),
        cmocka_unit_test(test_source_that_fails_fails_the_encoding),
        cmocka_unit_test(test_record_without_room_is_not_written),
        cmocka_unit_test(test_detached_source_is_forgotten),
        cmocka_unit_test(test_decode_points_into_the_record),
        cmocka_unit_test(test_generated_routines_use_it),
        cmocka_unit_test(test_free_forgets),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_record_shorter_than_the_count),
        cmocka_unit_test(test_unaligned_record_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
