/* Records out of a byte stream, however it is cut: rpc/record.h. */
#include "rpc/record.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LIMIT = 1114112 };

/* A stream that is handed out at most `step` bytes a read, with a pause (EAGAIN) at each place in `pauses`. */
struct stream {
    uint8_t *bytes;
    size_t size, at, step;
    size_t pause_at; /* once, when so many bytes were read */
    bool ends;       /* the peer hung up after them; else there is no more for now */
    int broken;      /* errno after them */
    size_t largest_read;
    uintptr_t last_to;
    unsigned reads;
};

static ssize_t stream_read(void *context, void *to, size_t count)
{
    struct stream *stream = context;
    size_t left = stream->size - stream->at;

    stream->reads++;
    if (stream->pause_at && stream->at == stream->pause_at) {
        stream->pause_at = 0;
        errno = EAGAIN;
        return -1;
    }
    if (left == 0) {
        errno = stream->broken ? stream->broken : EAGAIN;
        return stream->ends && !stream->broken ? 0 : -1;
    }
    if (count > left)
        count = left;
    if (stream->step && count > stream->step)
        count = stream->step;
    if (stream->pause_at > stream->at && count > stream->pause_at - stream->at)
        count = stream->pause_at - stream->at;
    memcpy(to, stream->bytes + stream->at, count);
    stream->at += count;
    if (count > stream->largest_read) {
        stream->largest_read = count;
        stream->last_to = (uintptr_t)to;
    }
    return (ssize_t)count;
}

static void put_header(struct stream *stream, size_t count, bool last)
{
    uint32_t word = (uint32_t)count | (last ? (uint32_t)RECORD_LAST_FRAGMENT : 0);

    stream->bytes = realloc(stream->bytes, stream->size + RECORD_HEADER_SIZE);
    for (int i = 0; i < RECORD_HEADER_SIZE; i++)
        stream->bytes[stream->size++] = (uint8_t)(word >> (24 - 8 * i));
}

static uint8_t pattern(size_t record, size_t at)
{
    return (uint8_t)(record * 131 + at * 7 + at / 251);
}

/* Bytes [from, from + count) of the record `number`, as a fragment. */
static void put_fragment(struct stream *stream, size_t number, size_t from, size_t count, bool last)
{
    put_header(stream, count, last);
    stream->bytes = realloc(stream->bytes, stream->size + count + 1);
    for (size_t i = 0; i < count; i++)
        stream->bytes[stream->size++] = pattern(number, from + i);
}

static void assert_record(struct record *record, size_t number, size_t size)
{
    assert_non_null(record);
    assert_int_equal(record->size, size);
    assert_int_equal((uintptr_t)record->bytes % 8, 0);
    for (size_t i = 0; i < size; i++)
        if (record->bytes[i] != pattern(number, i))
            fail_msg("record %zu differs at byte %zu of %zu", number, i, size);
}

struct growth {
    size_t asked[64];
    size_t so_far[64];
    unsigned count;
    size_t refuse_from;
};

static bool note_growth(void *context, const uint8_t *bytes, size_t so_far, size_t size)
{
    struct growth *growth = context;

    assert_true(growth->count < 64);
    assert_int_equal(bytes != NULL, so_far > 0);
    growth->asked[growth->count] = size;
    growth->so_far[growth->count++] = so_far;
    return !growth->refuse_from || size < growth->refuse_from;
}

/* Reads until a record or an end; EAGAIN in between is passed over while bytes are left. */
static enum outcome next(struct record_reader *reader, struct stream *stream, struct record **out,
                         struct failure *why)
{
    struct record_source source = {stream_read, stream};
    enum outcome outcome;

    do
        outcome = record_reader_next(reader, &source, out, why);
    while (outcome == OUTCOME_UNAVAILABLE && stream->at < stream->size);
    return outcome;
}

static void read_all(struct stream *stream, const size_t *sizes, size_t count)
{
    struct record_reader reader;
    struct failure why;

    record_reader_init(&reader, LIMIT, NULL, NULL);
    for (size_t i = 0; i < count; i++) {
        struct record *record = NULL;
        assert_int_equal(next(&reader, stream, &record, &why), OUTCOME_OK);
        assert_record(record, i, sizes[i]);
        record_free(record);
    }
    struct record *none = NULL;
    assert_int_equal(next(&reader, stream, &none, &why), stream->ends ? OUTCOME_ABSENT : OUTCOME_UNAVAILABLE);
    assert_null(none);
    assert_null(reader.ahead); /* an idle connection holds nothing */
    record_reader_fini(&reader);
    free(stream->bytes);
}

static void test_many_small_records_a_read(void **state)
{
    struct stream stream = {.ends = true};
    size_t sizes[300];

    (void)state;
    for (size_t i = 0; i < 300; i++) {
        sizes[i] = 1 + i;
        put_fragment(&stream, i, 0, sizes[i], true);
    }
    struct stream again = stream;
    again.bytes = malloc(stream.size);
    memcpy(again.bytes, stream.bytes, stream.size);
    again.step = 7;
    read_all(&stream, sizes, 300);
    assert_true(stream.reads < 10);
    read_all(&again, sizes, 300);
}

static void test_one_byte_fragments_one_byte_reads(void **state)
{
    struct stream stream = {.step = 1, .ends = true};
    size_t size = 3000;

    (void)state;
    for (size_t i = 0; i < size; i++)
        put_fragment(&stream, 0, i, 1, i + 1 == size);
    read_all(&stream, &size, 1);
}

static void test_pause_at_every_byte(void **state)
{
    size_t sizes[] = {5, 4096 + 3, 1};

    (void)state;
    for (size_t pause = 1; pause < 4096 + 3 + 5 + 1 + 16; pause += pause < 32 || pause > 4090 ? 1 : 97) {
        struct stream stream = {.pause_at = pause};
        put_fragment(&stream, 0, 0, 2, false);
        put_fragment(&stream, 0, 2, 3, true);
        put_fragment(&stream, 1, 0, sizes[1], true);
        put_fragment(&stream, 2, 0, 1, true);
        read_all(&stream, sizes, 3);
    }
}

static void test_thirty_three_fragments(void **state)
{
    struct stream stream = {.step = 65536};
    size_t size = 33 * 32768;

    (void)state;
    for (size_t i = 0; i < 33; i++)
        put_fragment(&stream, 0, i * 32768, 32768, i == 32);
    read_all(&stream, &size, 1);
}

/* Nearly all of a big record is read to where it stays. */
static void test_big_record_is_read_in_place(void **state)
{
    struct stream stream = {0};
    struct record_reader reader;
    struct failure why;
    struct record *record = NULL;
    size_t size = 1024 * 1024 + 200;

    (void)state;
    put_fragment(&stream, 0, 0, size, true);
    record_reader_init(&reader, LIMIT, NULL, NULL);
    assert_int_equal(next(&reader, &stream, &record, &why), OUTCOME_OK);
    assert_record(record, 0, size);
    assert_int_equal(stream.reads, 2);
    assert_true(stream.largest_read >= size - 16 * 1024);
    assert_in_range(stream.last_to, (uintptr_t)record->bytes, (uintptr_t)record->bytes + 16 * 1024);
    record_free(record);
    record_reader_fini(&reader);
    free(stream.bytes);
}

/* A claim takes no memory: it grows with what has come, and jumps only when enough has. */
static void test_memory_grows_with_bytes_received(void **state)
{
    struct stream stream = {0};
    struct growth growth = {0};
    struct record_reader reader;
    struct record *record = NULL;
    struct failure why;

    (void)state;
    put_fragment(&stream, 0, 0, LIMIT, true);
    size_t whole = stream.size;
    record_reader_init(&reader, LIMIT, note_growth, &growth);
    for (size_t sent = 5; sent < whole; sent = sent < 20000 ? sent + 11 : whole) {
        stream.size = sent;
        assert_int_equal(next(&reader, &stream, &record, &why), OUTCOME_UNAVAILABLE);
        assert_int_equal(record_reader_held(&reader), sent - RECORD_HEADER_SIZE);
        if (sent < 8 * 1024)
            assert_true(reader.partial->capacity <= 2 * sent + 1024);
    }
    stream.size = whole;
    assert_int_equal(next(&reader, &stream, &record, &why), OUTCOME_OK);
    assert_record(record, 0, LIMIT);
    assert_int_equal(growth.asked[growth.count - 1], LIMIT);
    for (unsigned i = 1; i < growth.count; i++)
        assert_true(growth.asked[i] > growth.asked[i - 1]);
    record_free(record);
    record_reader_fini(&reader);
    free(stream.bytes);
}

static void test_refused_growth(void **state)
{
    struct stream stream = {0};
    struct growth growth = {.refuse_from = 4096};
    struct record_reader reader;
    struct record *record = NULL;
    struct failure why;

    (void)state;
    put_fragment(&stream, 0, 0, 4095, true);
    put_fragment(&stream, 1, 0, 4096, true);
    record_reader_init(&reader, LIMIT, note_growth, &growth);
    assert_int_equal(next(&reader, &stream, &record, &why), OUTCOME_OK);
    assert_record(record, 0, 4095);
    record_free(record);
    assert_int_equal(next(&reader, &stream, &record, &why), OUTCOME_LIMIT);
    record_reader_fini(&reader);
    free(stream.bytes);
}

static enum outcome first_outcome(struct stream *stream, size_t limit)
{
    struct record_reader reader;
    struct record *record = NULL;
    struct failure why;

    record_reader_init(&reader, limit, NULL, NULL);
    enum outcome outcome = next(&reader, stream, &record, &why);
    record_free(record);
    record_reader_fini(&reader);
    free(stream->bytes);
    return outcome;
}

static void test_limit_and_one_past_it(void **state)
{
    (void)state;
    for (size_t limit = 1000; limit < 100000; limit *= 9) {
        for (unsigned pieces = 1; pieces <= 3; pieces++) {
            for (size_t past = 0; past <= 1; past++) {
                struct stream stream = {0};
                size_t size = limit + past, each = size / pieces;
                for (unsigned i = 0; i < pieces; i++)
                    put_fragment(&stream, 0, i * each, i + 1 < pieces ? each : size - i * each,
                                 i + 1 == pieces);
                assert_int_equal(first_outcome(&stream, limit), past ? OUTCOME_LIMIT : OUTCOME_OK);
            }
        }
    }
    /* The largest claim there is, with nothing behind it. */
    struct stream claim = {0};
    put_header(&claim, 0x7fffffff, true);
    assert_int_equal(first_outcome(&claim, LIMIT), OUTCOME_LIMIT);
}

static void test_empty_fragments_are_bounded(void **state)
{
    struct stream few = {0}, endless = {.ends = true}, record = {0};
    size_t size = 8;

    (void)state;
    for (int i = 0; i < 8; i++) {
        put_header(&few, 0, false);
        put_fragment(&few, 0, (size_t)i, 1, false);
    }
    put_header(&few, 0, true);
    read_all(&few, &size, 1);

    for (int i = 0; i < 100000; i++)
        put_header(&endless, 0, false);
    assert_int_equal(first_outcome(&endless, LIMIT), OUTCOME_PROTOCOL);
    assert_true(endless.at <= 16 * 1024);

    put_header(&record, 0, true);
    assert_int_equal(first_outcome(&record, LIMIT), OUTCOME_PROTOCOL);
}

static void test_hang_up_in_mid_record(void **state)
{
    (void)state;
    for (size_t sent = 1; sent < 12; sent++) {
        struct stream stream = {.ends = true};
        put_fragment(&stream, 0, 0, 2, false);
        put_fragment(&stream, 0, 2, 2, true);
        stream.size = sent;
        assert_int_equal(first_outcome(&stream, LIMIT), OUTCOME_PROTOCOL);
    }
    struct stream nothing = {.ends = true};
    assert_int_equal(first_outcome(&nothing, LIMIT), OUTCOME_ABSENT);
    struct stream reset = {.broken = ECONNRESET};
    assert_int_equal(first_outcome(&reset, LIMIT), OUTCOME_UNREACHABLE);
}

static void test_capacity(void **state)
{
    size_t sizes[] = {0, 1, 32768, 32769, 65536, 65537, 262144, 262145, 1114112 + 64, 1114112 + 65, 3000000};

    (void)state;
    for (unsigned round = 0; round < 3; round++) {
        struct record *records[sizeof(sizes) / sizeof(sizes[0])];
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            records[i] = record_new(sizes[i]);
            assert_non_null(records[i]);
            assert_true(records[i]->capacity >= sizes[i]);
            assert_int_equal(records[i]->size, 0);
            memset(records[i]->bytes, 0xa5, records[i]->capacity);
            records[i]->size = records[i]->capacity;
        }
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
            assert_null(record_free(records[i]));
    }
    assert_null(record_new(SIZE_MAX));
    assert_null(record_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_small_records_a_read),
        cmocka_unit_test(test_one_byte_fragments_one_byte_reads),
        cmocka_unit_test(test_pause_at_every_byte),
        cmocka_unit_test(test_thirty_three_fragments),
        cmocka_unit_test(test_big_record_is_read_in_place),
        cmocka_unit_test(test_memory_grows_with_bytes_received),
        cmocka_unit_test(test_refused_growth),
        cmocka_unit_test(test_limit_and_one_past_it),
        cmocka_unit_test(test_empty_fragments_are_bounded),
        cmocka_unit_test(test_hang_up_in_mid_record),
        cmocka_unit_test(test_capacity),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
