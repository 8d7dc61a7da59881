#include "service/store_conformance.h"

#include "base/scoped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_and_repeat(void **state)
{
    struct subject *s = *state;
    struct store_put p = {.op = id_random(), .name = "f", .content = "one", .size = 3, .mtime = 5};
    struct store_entry entry, again;
    assert_ok(put_as(s, &alice, &p, &entry));
    assert_string_equal(entry.name, "f");
    assert_string_equal(entry.owner, alice.principal);
    assert_int_equal(entry.size, 3);
    assert_int_equal(entry.mtime, 5);
    assert_int_equal(entry.arrival, clock_wall(&s->clock));
    assert_memory_equal(&entry.version, &p.op, sizeof p.op);
    /* the same act: the same answer, also much later */
    step(s, 3600);
    assert_ok(put_as(s, &alice, &p, &again));
    assert_int_equal(again.arrival, entry.arrival);
    subject_restart(s);
    assert_ok(put_as(s, &alice, &p, &again));
    assert_int_equal(again.arrival, entry.arrival);
    /* the id of another's, or of another act */
    assert_outcome(put_as(s, &bob, &p, &again), OUTCOME_INVALID);
    struct store_put other = p;
    other.name = "g";
    assert_outcome(put_as(s, &alice, &other, &again), OUTCOME_INVALID);
    assert_outcome(remove_name(s, &alice, &p.op, "f", NULL), OUTCOME_INVALID);
    /* also when the answer is forgotten: a version is one act's for good */
    other.op = entry.version;
    assert_outcome(put_as(s, &alice, &other, &again), OUTCOME_INVALID);
    assert_outcome(stat_name(s, "g", NULL), OUTCOME_ABSENT);
}

static void put_conditions(void **state)
{
    struct subject *s = *state;
    struct store_entry first, second;
    assert_ok(put(s, &alice, "f", "one", &first));
    assert_outcome(put(s, &alice, "f", "two", NULL), OUTCOME_EXISTS);
    assert_outcome(put(s, &bob, "f", "two", NULL), OUTCOME_EXISTS);
    assert_outcome(replace(s, &bob, "f", "two", NULL), OUTCOME_DENIED);
    struct store_put p = {.op = id_random(),
                          .name = "f",
                          .content = "two",
                          .size = 3,
                          .condition = {.replace = true}};
    p.condition.expected = id_random();
    assert_outcome(put_as(s, &alice, &p, NULL), OUTCOME_CHANGED);
    p.condition.expected = first.version;
    assert_ok(put_as(s, &alice, &p, &second));
    assert_ok(replace(s, &root, "f", "root's", &second));
    assert_string_equal(second.owner, root.principal);
    p.op = id_random();
    p.name = "not there";
    assert_outcome(put_as(s, &alice, &p, NULL), OUTCOME_CHANGED);
    p.condition.expected = (struct id){0};
    assert_ok(put_as(s, &alice, &p, NULL));
    p.op = id_random();
    p.name = "digest";
    p.check_digest = true;
    p.digest = digest_of("twO", 3);
    assert_outcome(put_as(s, &alice, &p, NULL), OUTCOME_CHANGED);
    p.digest = digest_of("two", 3);
    assert_ok(put_as(s, &alice, &p, NULL));
}

/* A refused act was not done: the same id may try again. */
static void refused_may_be_tried_again(void **state)
{
    struct subject *s = *state;
    assert_ok(put(s, &alice, "f", "one", NULL));
    struct store_put p = {.op = id_random(), .name = "f", .content = "two", .size = 3};
    assert_outcome(put_as(s, &alice, &p, NULL), OUTCOME_EXISTS);
    assert_ok(remove_name(s, &alice, NULL, "f", NULL));
    assert_ok(put_as(s, &alice, &p, NULL));
}

static void put_large(void **state)
{
    struct subject *s = *state;
    enum { COUNT = 1 << 20 };
    uint8_t *bytes = malloc(COUNT);
    char *back = malloc(COUNT + 1);
    fill(bytes, COUNT, 1);
    struct store_put p = {.op = id_random(), .name = "big", .content = bytes, .size = COUNT};
    struct store_entry entry, again;
    assert_ok(put_as(s, &alice, &p, &entry));
    assert_ok(put_as(s, &alice, &p, &again));
    assert_memory_equal(&again.version, &entry.version, sizeof entry.version);
    assert_ok(content(s, "big", NULL, back, COUNT + 1));
    assert_memory_equal(back, bytes, COUNT);
    struct store_put second = p;
    second.op = id_random();
    assert_outcome(put_as(s, &alice, &second, NULL), OUTCOME_EXISTS);
    free(bytes);
    free(back);
}

/* Each of many is done, or refused, by itself, as if it came alone; in their order. */
static void put_many_at_once(void **state)
{
    struct subject *s = *state;
    enum { LARGE = 100000, COUNT = 9 };
    scoped_free uint8_t *large = malloc(LARGE);
    scoped_free char *back = malloc(LARGE + 1);
    fill(large, LARGE, 4);
    assert_ok(put(s, &bob, "bob's", "his", NULL));
    struct store_put puts[COUNT] = {
        {.op = id_random(), .name = "a", .content = "one", .size = 3, .mtime = 7},
        {.op = id_random(), .name = "bob's", .content = "x", .size = 1},
        {.op = id_random(), .name = "bob's", .content = "x", .size = 1, .condition = {.replace = true}},
        {.op = id_random(), .name = "large", .content = large, .size = LARGE},
        {.op = id_random(), .name = "large", .content = large, .size = LARGE},
        {.op = id_random(), .name = "empty", .content = NULL, .size = 0},
        {.op = id_random(), .name = "right", .content = "x", .size = 1},
        {.op = id_random(), .name = "a", .content = "two", .size = 3, .condition = {.replace = true}},
        {.name = "again", .content = "two", .size = 3},
    };
    puts[8].op = puts[0].op;
    static const enum outcome expected[COUNT] = {OUTCOME_OK, OUTCOME_EXISTS,  OUTCOME_DENIED,
                                                 OUTCOME_OK, OUTCOME_EXISTS,  OUTCOME_OK,
                                                 OUTCOME_OK, OUTCOME_CHANGED, OUTCOME_INVALID};
    puts[7].condition.expected = id_random();
    struct store_put_answer answers[COUNT], again[COUNT];
    assert_ok(put_many(s, &alice, puts, COUNT, answers));
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(answers[i].outcome, expected[i]);
    struct store_entry entry;
    assert_ok(stat_name(s, "a", &entry));
    assert_memory_equal(&entry.version, &puts[0].op, sizeof entry.version);
    assert_int_equal(entry.mtime, 7);
    assert_int_equal(entry.arrival, answers[0].arrival);
    assert_memory_equal(&entry.digest, &answers[0].digest, sizeof entry.digest);
    assert_string_equal(entry.owner, alice.principal);
    assert_ok(content(s, "large", NULL, back, LARGE + 1));
    assert_memory_equal(back, large, LARGE);
    assert_outcome(stat_name(s, "again", NULL), OUTCOME_ABSENT);
    /* A repeat, bundled or one by one, is answered as the first one was. */
    step(s, 60);
    assert_ok(put_many(s, &alice, puts, COUNT, again));
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(again[i].outcome, expected[i]);
        if (expected[i] == OUTCOME_OK)
            assert_int_equal(again[i].arrival, answers[i].arrival);
    }
    assert_ok(put_as(s, &alice, &puts[3], &entry));
    assert_int_equal(entry.arrival, answers[3].arrival);
    assert_outcome(put_as(s, &bob, &puts[3], &entry), OUTCOME_INVALID);
}

/* An id that comes twice in one bundle counts once, also with content of its own in the store. */
static void put_many_the_same_twice(void **state)
{
    struct subject *s = *state;
    enum { LARGE = 50000 };
    scoped_free uint8_t *large = malloc(LARGE);
    fill(large, LARGE, 5);
    struct store_put puts[2] = {{.op = id_random(), .name = "f", .content = large, .size = LARGE}};
    struct store_put_answer answers[2];
    struct store_audit audit;
    puts[1] = puts[0];
    assert_ok(put_many(s, &alice, puts, 2, answers));
    assert_int_equal(answers[0].outcome, OUTCOME_OK);
    assert_int_equal(answers[1].outcome, OUTCOME_OK);
    assert_int_equal(answers[0].arrival, answers[1].arrival);
    assert_ok(CERTAIN(s->acts->audit(s->store, true, &audit, &store_why)));
    assert_int_equal(audit.entries, 1);
    assert_int_equal(audit.orphan_blobs, 0);
}

/* More than the writer takes in one go, and more than one caller at a time would. */
static void put_many_of_the_most(void **state)
{
    struct subject *s = *state;
    enum { COUNT = 700 };
    scoped_free struct store_put *puts = calloc(COUNT, sizeof *puts);
    scoped_free struct store_put_answer *answers = calloc(COUNT, sizeof *answers);
    char names[COUNT][8];
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        puts[i] = (struct store_put){.op = id_random(),
                                     .name = names[i],
                                     .content = names[i],
                                     .size = strlen(names[i])};
    }
    assert_ok(put_many(s, &alice, puts, COUNT, answers));
    for (size_t i = 0; i < COUNT; i++) {
        char text[8];
        assert_int_equal(answers[i].outcome, OUTCOME_OK);
        assert_ok(content(s, names[i], NULL, text, sizeof text));
        assert_string_equal(text, names[i]);
    }
}

static void removing(void **state)
{
    struct subject *s = *state;
    struct store_entry entry;
    struct id op = id_random(), wrong = id_random();
    assert_outcome(remove_name(s, &alice, NULL, "f", NULL), OUTCOME_ABSENT);
    assert_ok(put(s, &alice, "f", "one", &entry));
    assert_outcome(remove_name(s, &bob, NULL, "f", NULL), OUTCOME_DENIED);
    assert_outcome(remove_name(s, &alice, NULL, "f", &wrong), OUTCOME_CHANGED);
    assert_ok(remove_name(s, &alice, &op, "f", &entry.version));
    assert_outcome(stat_name(s, "f", NULL), OUTCOME_ABSENT);
    /* a repeat does not remove what came later */
    assert_ok(put(s, &bob, "f", "two", NULL));
    assert_ok(remove_name(s, &alice, &op, "f", &entry.version));
    assert_ok(stat_name(s, "f", NULL));
    assert_ok(remove_name(s, &root, NULL, "f", NULL));
}

static void renaming(void **state)
{
    struct subject *s = *state;
    struct store_entry source, made, again;
    char text[8];
    assert_ok(put(s, &alice, "a", "one", &source));
    struct store_rename r = {.op = id_random(), .source = "a", .target = "b"};
    step(s, 10);
    assert_ok(rename_as(s, &alice, &r, &made));
    assert_string_equal(made.name, "b");
    assert_int_equal(made.mtime, source.mtime);
    assert_int_equal(made.arrival, clock_wall(&s->clock));
    assert_memory_equal(&made.version, &r.op, sizeof r.op);
    assert_outcome(stat_name(s, "a", NULL), OUTCOME_ABSENT);
    assert_ok(content(s, "b", NULL, text, sizeof text));
    assert_string_equal(text, "one");
    assert_ok(put(s, &alice, "a", "new", NULL));
    assert_ok(rename_as(s, &alice, &r, &again));
    assert_int_equal(again.arrival, made.arrival);
    assert_ok(stat_name(s, "a", NULL));

    r = (struct store_rename){.op = id_random(), .source = "a", .target = "b"};
    assert_outcome(rename_as(s, &alice, &r, NULL), OUTCOME_EXISTS);
    r.expected = id_random();
    assert_outcome(rename_as(s, &alice, &r, NULL), OUTCOME_CHANGED);
    r.expected = (struct id){0};
    r.condition.replace = true;
    assert_outcome(rename_as(s, &bob, &r, NULL), OUTCOME_DENIED);
    assert_ok(rename_as(s, &root, &r, &made));
    assert_string_equal(made.owner, alice.principal);
    assert_ok(content(s, "b", NULL, text, sizeof text));
    assert_string_equal(text, "new");
    r.op = id_random();
    assert_outcome(rename_as(s, &alice, &r, NULL), OUTCOME_ABSENT);
    assert_ok(put(s, &bob, "theirs", "x", NULL));
    r = (struct store_rename){.op = id_random(),
                              .source = "b",
                              .target = "theirs",
                              .condition = {.replace = true}};
    assert_outcome(rename_as(s, &alice, &r, NULL), OUTCOME_DENIED);
    r.target = "b";
    assert_outcome(rename_as(s, &alice, &r, NULL), OUTCOME_INVALID);
}

/* ---- lists ---- */

static size_t list_all(struct subject *s, const char *glob, size_t limit, char names[][32], size_t capacity)
{
    struct store_entry *entries = calloc(limit, sizeof *entries);
    struct store_page page = {.more = true};
    size_t count = 0;
    while (page.more) {
        char cursor[NAME_BUFFER];
        memcpy(cursor, page.cursor, sizeof cursor);
        assert_ok(list_page(s, glob, cursor, limit, entries, &page));
        assert_true(page.count <= limit);
        for (size_t i = 0; i < page.count && count < capacity; i++)
            snprintf(names[count++], 32, "%.31s", entries[i].name);
    }
    free(entries);
    return count;
}

static void list_in_byte_order(void **state)
{
    struct subject *s = *state;
    /* in the order of their bytes: no locale, no case folding, '/' is a byte like others */
    static const char *const names[] = {"!",     "B",  "a", "a b",      "a/b",
                                        "a/b/c", "a0", "b", "\xc3\xa9", "\xf0\x9f\x90\x9f"};
    enum { COUNT = sizeof names / sizeof *names };
    for (size_t i = 0; i < COUNT; i++)
        assert_ok(put(s, &alice, names[(i * 7) % COUNT], "x", NULL));
    for (size_t limit = 1; limit <= COUNT + 1; limit++) {
        char found[COUNT + 1][32];
        assert_int_equal(list_all(s, NULL, limit, found, COUNT + 1), COUNT);
        for (size_t i = 0; i < COUNT; i++)
            assert_string_equal(found[i], names[i]);
    }
    char found[COUNT][32];
    assert_int_equal(list_all(s, "a*", 2, found, COUNT), 3);
    assert_string_equal(found[2], "a0");
    assert_int_equal(list_all(s, "a/**", 2, found, COUNT), 2);
    assert_int_equal(list_all(s, "**", 100, found, COUNT), COUNT);
    assert_int_equal(list_all(s, "?", 3, found, COUNT), 6);
    assert_int_equal(list_all(s, "nothing*", 3, found, COUNT), 0);
    struct store_page page;
    struct store_entry entry;
    assert_outcome(list_page(s, "[", NULL, 1, &entry, &page), OUTCOME_INVALID);
}

/* Takes names until one is as long as `most`, which begins the next page. */
struct picky {
    size_t most, taken;
    char last[32];
};

static bool take_shorter(void *context, const struct store_entry *entry)
{
    struct picky *picky = context;
    if (strlen(entry->name) >= picky->most)
        return false;
    picky->taken++;
    snprintf(picky->last, sizeof picky->last, "%.31s", entry->name);
    return true;
}

static void list_ends_where_it_is_told(void **state)
{
    struct subject *s = *state;
    static const char *const names[] = {"a", "b", "c", "dd", "e"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_ok(put(s, &alice, names[i], "x", NULL));
    struct picky picky;
    struct store_page page;
    struct store_list list = {.limit = 9, .take = take_shorter, .context = &picky};
    assert_ok(
        CERTAIN((picky = (struct picky){.most = 2}, s->acts->list(s->store, &list, &page, &store_why))));
    assert_int_equal(page.count, 3);
    assert_int_equal(picky.taken, 3);
    assert_true(page.more);
    /* Where it goes on: the one that was refused is not lost. */
    char cursor[NAME_BUFFER];
    memcpy(cursor, page.cursor, sizeof cursor);
    list.cursor = cursor;
    assert_ok(
        CERTAIN((picky = (struct picky){.most = 2}, s->acts->list(s->store, &list, &page, &store_why))));
    assert_int_equal(page.count, 0);
    assert_true(page.more);
    assert_string_equal(page.cursor, cursor);
    assert_ok(
        CERTAIN((picky = (struct picky){.most = 3}, s->acts->list(s->store, &list, &page, &store_why))));
    assert_int_equal(page.count, 2);
    assert_false(page.more);
    assert_string_equal(picky.last, "e");
}

/* Names that are there all the while come exactly once, whatever comes and goes around them. */
static void list_while_names_change(void **state)
{
    struct subject *s = *state;
    char name[32];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "stay%02d", i);
        assert_ok(put(s, &alice, name, "x", NULL));
        snprintf(name, sizeof name, "stay%02d-going", i);
        assert_ok(put(s, &alice, name, "x", NULL));
    }
    struct store_entry entries[7];
    struct store_page page = {.more = true};
    int seen[40] = {0};
    for (int n = 0; page.more; n++) {
        char cursor[NAME_BUFFER];
        memcpy(cursor, page.cursor, sizeof cursor);
        assert_ok(list_page(s, "stay??*", cursor, 7, entries, &page));
        for (size_t i = 0; i < page.count; i++)
            if (strlen(entries[i].name) == 6)
                seen[atoi(entries[i].name + 4)]++;
        snprintf(name, sizeof name, "stay%02d-going", n * 3);
        enum outcome outcome = remove_name(s, &alice, NULL, name, NULL);
        assert_true(outcome == OUTCOME_OK || outcome == OUTCOME_ABSENT);
        snprintf(name, sizeof name, "stay%02d-new", n);
        assert_ok(put(s, &alice, name, "x", NULL));
        snprintf(name, sizeof name, "stay%02d", n);
        assert_ok(replace(s, &alice, name, "y", NULL));
    }
    for (int i = 0; i < 40; i++)
        assert_int_equal(seen[i], 1);
}

static const struct CMUnitTest tests[] = {
    SUBJECT_TEST(put_and_repeat),
    SUBJECT_TEST(put_conditions),
    SUBJECT_TEST(refused_may_be_tried_again),
    SUBJECT_TEST(put_large),
    SUBJECT_TEST(put_many_at_once),
    SUBJECT_TEST(put_many_the_same_twice),
    SUBJECT_TEST(put_many_of_the_most),
    SUBJECT_TEST(removing),
    SUBJECT_TEST(renaming),
    SUBJECT_TEST(list_in_byte_order),
    SUBJECT_TEST(list_ends_where_it_is_told),
    SUBJECT_TEST(list_while_names_change),
};

const struct conformance conformance_files = {"store: files", tests, sizeof tests / sizeof *tests};
