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

/* ---- many at once ---- */

enum { FOUND_MAX = 16 };

struct findings {
    size_t count, refuse_from; /* 0: none is refused */
    struct store_found found[FOUND_MAX];
};

static bool take_found(void *context, const struct store_found *found)
{
    struct findings *findings = context;
    if (findings->refuse_from > 0 && findings->count == findings->refuse_from)
        return false;
    assert_true(findings->count < FOUND_MAX);
    findings->found[findings->count++] = *found;
    return true;
}

static void close_found(struct subject *s, struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        if (findings->found[i].outcome == OUTCOME_OK)
            s->acts->read_close(findings->found[i].read);
    findings->count = 0;
}

/* All of them, each in its own words; a store that may be in trouble is asked until it is not. */
static void open_many(struct subject *s, const struct store_wanted *wanted, size_t count,
                      struct findings *out)
{
    const struct store_read_many many = {wanted, count, take_found, out};
    size_t all = out->refuse_from > 0 && out->refuse_from < count ? out->refuse_from : count;
    enum outcome outcome;
    bool certain;
    do {
        close_found(s, out);
        outcome = s->acts->read_open_many(s->store, &many, &store_why);
        certain = outcome == OUTCOME_OK;
        for (size_t i = 0; i < out->count; i++)
            certain = certain && out->found[i].outcome != OUTCOME_UNAVAILABLE &&
                      out->found[i].outcome != OUTCOME_UNKNOWN;
    } while (!certain);
    assert_int_equal(out->count, all);
}

static void expect_found(struct subject *s, const struct store_found *found, const char *name,
                         const char *text)
{
    char back[64] = "";
    assert_ok(found->outcome);
    assert_string_equal(found->entry.name, name);
    assert_int_equal(found->entry.size, strlen(text));
    assert_ok(read_some(s, found->read, 0, back, strlen(text)));
    assert_string_equal(back, text);
    assert_outcome(read_some(s, found->read, 1, back, strlen(text)), OUTCOME_INVALID);
}

/* In whatever order they are asked for, each has its own answer. */
static void many_at_once(void **state)
{
    struct subject *s = *state;
    struct store_entry old, kept;
    static const char *const texts[] = {"zero", "", "two", "three"};
    static const char *const names[] = {"a", "b/c", "b/d", "c"};
    struct store_put puts[4];
    struct store_put_answer answers[4];
    for (int i = 0; i < 4; i++)
        puts[i] = (struct store_put){.op = id_random(),
                                     .name = names[i],
                                     .content = texts[i],
                                     .size = strlen(texts[i])};
    assert_ok(put(s, &alice, "kept", "was", &kept));
    assert_ok(replace(s, &alice, "kept", "is", NULL));
    assert_ok(put_many(s, &alice, puts, 4, answers));
    assert_ok(put(s, &bob, "single", "alone", &old));
    const struct store_wanted wanted[] = {
        {.name = "a"},
        {.name = "b/c"},
        {.name = "b/d"},
        {.name = "b/dd"}, /* is not there */
        {.name = "c"},
        {.name = "kept", .version = kept.version},
        {.name = "kept"},
        {.name = "c", .version = puts[3].op},
        {.name = "c", .version = puts[2].op}, /* of another name */
        {.name = "a"},
        {.name = "a"},
        {.name = "single"},
        {.name = "zzz"},
    };
    static struct findings got;
    got = (struct findings){0};
    open_many(s, wanted, sizeof wanted / sizeof *wanted, &got);
    assert_ok(remove_name(s, &alice, NULL, "b/d", NULL)); /* what is open stays so */
    assert_ok(replace(s, &alice, "c", "anew", NULL));
    expect_found(s, &got.found[0], "a", "zero");
    expect_found(s, &got.found[1], "b/c", "");
    expect_found(s, &got.found[2], "b/d", "two");
    assert_int_equal(got.found[3].outcome, OUTCOME_ABSENT);
    assert_true(got.found[3].why.text[0]);
    expect_found(s, &got.found[4], "c", "three");
    expect_found(s, &got.found[5], "kept", "was");
    expect_found(s, &got.found[6], "kept", "is");
    expect_found(s, &got.found[7], "c", "three");
    assert_int_equal(got.found[8].outcome, OUTCOME_STALE);
    expect_found(s, &got.found[9], "a", "zero");
    expect_found(s, &got.found[10], "a", "zero");
    expect_found(s, &got.found[11], "single", "alone");
    assert_int_equal(got.found[12].outcome, OUTCOME_ABSENT);
    s->acts->read_close(got.found[0].read); /* the others go on */
    expect_found(s, &got.found[9], "a", "zero");
    got.found[0].outcome = OUTCOME_ABSENT;
    close_found(s, &got);
    got.refuse_from = 2;
    open_many(s, wanted, 13, &got);
    expect_found(s, &got.found[0], "a", "zero");
    close_found(s, &got);
    open_many(s, wanted, 0, &got);
    got.refuse_from = 1;
    open_many(s, wanted + 3, 2, &got);
    assert_int_equal(got.found[0].outcome, OUTCOME_ABSENT);
    close_found(s, &got);
}

static const struct CMUnitTest tests[] = {
    SUBJECT_TEST(read_within_bounds), SUBJECT_TEST(replaced_is_kept), SUBJECT_TEST(renamed_is_kept),
    SUBJECT_TEST(many_open),          SUBJECT_TEST(many_at_once),
};

const struct conformance conformance_reads = {"store: reads", tests, sizeof tests / sizeof *tests};
