#include "service/store_conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct id none;

/* Opens until it is certain. */
static enum outcome open_read(struct subject *s, const char *name, const struct id *version,
                              struct store_read **out, struct store_entry *entry)
{
    enum outcome outcome;
    do
        outcome = s->acts->read_open(s->store, name, version, out, entry, &store_why);
    while (outcome == OUTCOME_UNKNOWN || outcome == OUTCOME_UNAVAILABLE);
    return outcome;
}

static enum outcome read_some(struct subject *s, struct store_read *read, uint64_t offset, void *bytes,
                              size_t count)
{
    enum outcome outcome;
    do
        outcome = s->acts->read_at(read, offset, bytes, count, &store_why);
    while (outcome == OUTCOME_UNKNOWN || outcome == OUTCOME_UNAVAILABLE);
    return outcome;
}

static void read_within_bounds(void **state)
{
    struct subject *s = *state;
    static const size_t sizes[] = {0, 10, 100000};
    uint8_t *bytes = malloc(100000), *back = malloc(100000);
    fill(bytes, 100000, 9);
    for (size_t i = 0; i < 3; i++) {
        size_t size = sizes[i];
        char name[2] = {(char)('a' + i), 0};
        struct store_put p = {.op = id_random(), .name = name, .content = bytes, .size = size};
        struct store_read *read = NULL;
        struct store_entry entry;
        assert_ok(put_as(s, &alice, &p, NULL));
        assert_ok(open_read(s, name, &none, &read, &entry));
        assert_int_equal(entry.size, size);
        assert_ok(read_some(s, read, size, back, 0));
        assert_outcome(read_some(s, read, size, back, 1), OUTCOME_INVALID);
        assert_outcome(read_some(s, read, size + 1, back, 0), OUTCOME_INVALID);
        assert_outcome(read_some(s, read, UINT64_MAX, back, 2), OUTCOME_INVALID);
        for (size_t at = 0; at < size; at += 3333) {
            size_t n = size - at < 3333 ? size - at : 3333;
            assert_ok(read_some(s, read, at, back + at, n));
        }
        assert_memory_equal(back, bytes, size);
        s->acts->read_close(read);
    }
    s->acts->read_close(NULL);
    free(bytes);
    free(back);
}

/* A version never mixes with another, and is there until some minutes after its last read. */
static void replaced_is_kept(void **state)
{
    struct subject *s = *state;
    struct store_entry first, second;
    char text[16];
    assert_ok(put(s, &alice, "f", "one", &first));
    assert_ok(replace(s, &alice, "f", "two", &second));
    assert_ok(content(s, "f", NULL, text, sizeof text));
    assert_string_equal(text, "two");
    assert_ok(content(s, "f", &first.version, text, sizeof text));
    assert_string_equal(text, "one");
    assert_ok(remove_name(s, &alice, NULL, "f", NULL));
    assert_outcome(content(s, "f", NULL, text, sizeof text), OUTCOME_ABSENT);
    assert_ok(content(s, "f", &second.version, text, sizeof text));
    assert_string_equal(text, "two");
    /* of this name alone */
    assert_outcome(content(s, "g", &second.version, text, sizeof text), OUTCOME_STALE);
    struct id unknown = id_random();
    assert_outcome(content(s, "f", &unknown, text, sizeof text), OUTCOME_STALE);
    assert_ok(put(s, &alice, "f", "three", NULL));
    assert_outcome(content(s, "f", &unknown, text, sizeof text), OUTCOME_STALE);
    subject_restart(s);
    assert_ok(content(s, "f", &first.version, text, sizeof text));
    assert_string_equal(text, "one");
}

static void renamed_is_kept(void **state)
{
    struct subject *s = *state;
    struct store_entry first;
    char text[16];
    assert_ok(put(s, &alice, "a", "one", &first));
    struct store_rename r = {.op = id_random(), .source = "a", .target = "b"};
    assert_ok(rename_as(s, &alice, &r, NULL));
    assert_ok(content(s, "a", &first.version, text, sizeof text));
    assert_ok(content(s, "b", &r.op, text, sizeof text));
    assert_string_equal(text, "one");
    assert_outcome(content(s, "b", &first.version, text, sizeof text), OUTCOME_STALE);
}

/* More versions open at once than are held open afterwards. */
static void many_open(void **state)
{
    struct subject *s = *state;
    enum { MANY = 20 };
    s->limits.open_reads = 4;
    subject_restart(s);
    uint8_t *bytes = malloc(20000);
    struct store_read *reads[MANY];
    struct store_entry entry;
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d", i);
        fill(bytes, 20000, (unsigned)i);
        struct store_put p = {.op = id_random(), .name = name, .content = bytes, .size = i % 2 ? 20000 : 100};
        assert_ok(put_as(s, &alice, &p, NULL));
        assert_ok(open_read(s, name, &none, &reads[i], &entry));
    }
    for (int i = 0; i < MANY; i++) {
        uint8_t back[100];
        fill(bytes, 100, (unsigned)i);
        assert_ok(read_some(s, reads[i], 0, back, sizeof back));
        assert_memory_equal(back, bytes, sizeof back);
        s->acts->read_close(reads[i]);
    }
    free(bytes);
}

static const struct CMUnitTest tests[] = {
    SUBJECT_TEST(read_within_bounds),
    SUBJECT_TEST(replaced_is_kept),
    SUBJECT_TEST(renamed_is_kept),
    SUBJECT_TEST(many_open),
};

const struct conformance conformance_reads = {"store: reads", tests, sizeof tests / sizeof *tests};
