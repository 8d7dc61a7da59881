/*
 * Every value of wire/golden/ has exactly its bytes on the wire, and back.
 *
 * Encoding the value gives the bytes; decoding the bytes and encoding what came
 * gives the bytes again. As encoding writes each field and nothing else, two
 * values with the same bytes are the same value: so what was decoded is what
 * was written down.
 */
#include "rpc/bulk.h"
#include "wire/golden/golden.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROOM = 4096 };

struct message {
    _Alignas(8) uint8_t bytes[ROOM];
    size_t length;
};

static void encode(const struct golden *golden, void *value, struct message *out)
{
    XDR xdrs;

    memset(out->bytes, 0xee, sizeof(out->bytes));
    xdrmem_create(&xdrs, (char *)out->bytes, ROOM, XDR_ENCODE);
    bulk_attach(&xdrs, NULL);
    if (!golden->xdr(&xdrs, value))
        fail_msg("%s, %s: does not encode", golden->type, golden->label);
    out->length = xdr_getpos(&xdrs);
    xdr_destroy(&xdrs);
}

/* Decodes the first `length` bytes; the value is to be freed by xdr_free in either case. */
static bool_t decode(const struct golden *golden, const uint8_t *bytes, size_t length, void *value,
                     size_t *used)
{
    /* A copy of just that length, so that a sanitizer sees a step over its end. */
    char *exact = malloc(length ? length : 1);
    XDR xdrs;

    assert_non_null(exact);
    memcpy(exact, bytes, length);
    memset(value, 0, golden->size);
    xdrmem_create(&xdrs, exact, (u_int)length, XDR_DECODE);
    bool_t fine = golden->xdr(&xdrs, value);
    *used = xdr_getpos(&xdrs);
    xdr_destroy(&xdrs);

    /* What was decoded points into the record: look at it while the record is there. */
    if (fine) {
        struct message again;
        encode(golden, value, &again);
        assert_int_equal(again.length, length);
        assert_memory_equal(again.bytes, bytes, length);
    }
    xdr_free(golden->xdr, value);
    free(exact);
    return fine;
}

static void expect_bytes(const struct golden *golden, struct message *expected)
{
    if (!golden_bytes(golden->hex, expected->bytes, ROOM, &expected->length))
        fail_msg("%s, %s: the hex is no hex", golden->type, golden->label);
}

static void encodes_to_its_bytes(const struct golden *golden)
{
    struct message expected, got;

    expect_bytes(golden, &expected);
    void *value = malloc(golden->size);
    assert_non_null(value);
    memcpy(value, golden->value, golden->size);
    encode(golden, value, &got);
    free(value);

    for (size_t i = 0; i < expected.length && i < got.length; i++)
        if (expected.bytes[i] != got.bytes[i])
            fail_msg("%s, %s: byte %zu is %02x, should be %02x", golden->type, golden->label, i, got.bytes[i],
                     expected.bytes[i]);
    if (expected.length != got.length)
        fail_msg("%s, %s: %zu bytes, should be %zu", golden->type, golden->label, got.length,
                 expected.length);
}

static void decodes_from_its_bytes(const struct golden *golden)
{
    struct message expected;
    size_t used;

    expect_bytes(golden, &expected);
    void *value = malloc(golden->size);
    assert_non_null(value);
    if (!decode(golden, expected.bytes, expected.length, value, &used))
        fail_msg("%s, %s: does not decode", golden->type, golden->label);
    if (used != expected.length)
        fail_msg("%s, %s: %zu of %zu bytes used", golden->type, golden->label, used, expected.length);
    free(value);
}

/* Cut anywhere, a message is refused, and what was decoded of it is freed. */
static void is_refused_when_cut(const struct golden *golden)
{
    struct message expected;
    size_t used;

    expect_bytes(golden, &expected);
    void *value = malloc(golden->size);
    assert_non_null(value);
    for (size_t length = 0; length < expected.length; length++)
        if (decode(golden, expected.bytes, length, value, &used))
            fail_msg("%s, %s: decodes from %zu of %zu bytes", golden->type, golden->label, length,
                     expected.length);
    free(value);
}

static void for_each_golden(void (*check)(const struct golden *))
{
    size_t families;
    const struct golden_family *const *family = golden_families(&families);

    for (size_t f = 0; f < families; f++)
        for (size_t i = 0; i < family[f]->count; i++)
            check(&family[f]->cases[i]);
}

static void test_encode(void **state)
{
    (void)state;
    for_each_golden(encodes_to_its_bytes);
}

static void test_decode(void **state)
{
    (void)state;
    for_each_golden(decodes_from_its_bytes);
}

static void test_cut(void **state)
{
    (void)state;
    for_each_golden(is_refused_when_cut);
}

static void test_hex_is_read_strictly(void **state)
{
    uint8_t bytes[2];
    size_t length = 7;

    (void)state;
    assert_true(golden_bytes(" 0a ff ", bytes, 2, &length));
    assert_int_equal(length, 2);
    assert_int_equal(bytes[0], 0x0a);
    assert_int_equal(bytes[1], 0xff);
    assert_false(golden_bytes("0a ff 0", bytes, 2, &length));
    assert_false(golden_bytes("0a ff 00", bytes, 2, &length));
    assert_false(golden_bytes("0 a", bytes, 2, &length));
    assert_false(golden_bytes("0g", bytes, 2, &length));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hex_is_read_strictly),
        cmocka_unit_test(test_encode),
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
