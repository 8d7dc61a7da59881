#include "service/store_conformance.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct store_upload_begin begin_of(const char *name)
{
    return (struct store_upload_begin){.upload = id_random(), .name = name};
}

static struct digest_value digest_text_of(const char *text)
{
    return digest_of(text, strlen(text));
}

static void assert_digest(const struct digest_value *found, const void *bytes, size_t count)
{
    struct digest_value expected = digest_of(bytes, count);
    assert_memory_equal(found, &expected, sizeof expected);
}

/* An upload of `count` bytes in pieces, committed. */
static void upload_whole(struct subject *s, const char *name, const uint8_t *bytes, size_t count,
                         size_t piece, struct store_entry *out)
{
    struct store_upload_begin b = begin_of(name);
    struct store_upload_state state;
    assert_ok(begin(s, &alice, &b, &state));
    assert_int_equal(state.held, 0);
    assert_digest(&state.digest, "", 0);
    for (size_t at = 0; at < count; at += piece) {
        uint64_t held = 0;
        size_t n = count - at < piece ? count - at : piece;
        assert_ok(upload_write(s, &alice, &b.upload, at, bytes + at, n, &held));
        assert_int_equal(held, at + n);
        assert_outcome(stat_name(s, name, NULL), OUTCOME_ABSENT);
    }
    struct store_publish p = {.upload = b.upload,
                              .check = true,
                              .size = count,
                              .check_digest = true,
                              .mtime = 7};
    p.digest = digest_of(bytes, count);
    assert_ok(publish(s, &alice, &p, out));
    assert_int_equal(out->size, count);
    assert_memory_equal(&out->version, &b.upload, sizeof b.upload);
}

/* Content of every size around what an implementation may treat differently comes back byte for byte. */
static void upload_sizes(void **state)
{
    struct subject *s = *state;
    static const size_t sizes[] = {0, 1, 4095, 16384, 16385, 65536, 3000001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[32];
        snprintf(name, sizeof name, "sized/%zu", sizes[i]);
        uint8_t *bytes = malloc(sizes[i] + 1);
        char *back = malloc(sizes[i] + 2);
        fill(bytes, sizes[i], (unsigned)i);
        struct store_entry entry, found;
        upload_whole(s, name, bytes, sizes[i], 1 << 20, &entry);
        assert_ok(stat_name(s, name, &found));
        assert_string_equal(found.name, name);
        assert_string_equal(found.owner, alice.principal);
        assert_int_equal(found.mtime, 7);
        assert_memory_equal(&found.version, &entry.version, sizeof entry.version);
        assert_digest(&found.digest, bytes, sizes[i]);
        assert_ok(content(s, name, NULL, back, sizes[i] + 2));
        assert_memory_equal(back, bytes, sizes[i]);
        free(bytes);
        free(back);
    }
}

/* A piece may come before its turn, and again; one that is held in part is refused. */
static void write_in_any_order(void **state)
{
    struct subject *s = *state;
    struct store_upload_begin b = begin_of("f");
    struct store_upload_state st;
    struct store_entry entry;
    uint64_t held = 99;
    assert_ok(begin(s, &alice, &b, &st));
    assert_ok(upload_write(s, &alice, &b.upload, 5, "fgh", 3, &held));
    assert_int_equal(held, 0);
    assert_ok(upload_write(s, &alice, &b.upload, 0, "abc", 3, &held));
    assert_int_equal(held, 3);
    assert_outcome(upload_write(s, &alice, &b.upload, 1, "bcd", 3, &held), OUTCOME_OFFSET);
    assert_int_equal(held, 3);
    struct store_publish p = {.upload = b.upload, .check = true, .size = 8};
    assert_outcome(publish(s, &alice, &p, &entry), OUTCOME_CHANGED);
    assert_ok(upload_write(s, &alice, &b.upload, 3, "de", 2, &held));
    assert_int_equal(held, 8);
    assert_ok(upload_write(s, &alice, &b.upload, 0, "abcd", 4, &held));
    assert_int_equal(held, 8);
    struct id stranger = id_random();
    assert_outcome(upload_write(s, &alice, &stranger, 0, "x", 1, &held), OUTCOME_ABSENT);
    p.check_digest = true;
    p.digest = digest_text_of("abcdefgh");
    assert_ok(publish(s, &alice, &p, &entry));
}

static void upload_belongs_to_its_principal(void **state)
{
    struct subject *s = *state;
    struct store_upload_begin b = begin_of("f");
    struct store_upload_state st;
    struct store_entry entry;
    uint64_t held;
    struct store_publish p = {.upload = b.upload};
    assert_ok(begin(s, &alice, &b, &st));
    assert_outcome(begin(s, &bob, &b, &st), OUTCOME_DENIED);
    assert_outcome(upload_write(s, &bob, &b.upload, 0, "x", 1, &held), OUTCOME_DENIED);
    assert_outcome(publish(s, &bob, &p, &entry), OUTCOME_DENIED);
    assert_outcome(abort_upload(s, &bob, &b.upload), OUTCOME_DENIED);
    assert_ok(publish(s, &alice, &p, &entry));
}

/* Begun again, an upload says what it holds; committed, what it made. */
static void begin_again(void **state)
{
    struct subject *s = *state;
    struct store_upload_begin b = begin_of("f");
    struct store_upload_state st;
    uint64_t held;
    assert_ok(begin(s, &alice, &b, &st));
    assert_ok(upload_write(s, &alice, &b.upload, 0, "hello", 5, &held));
    assert_ok(begin(s, &alice, &b, &st));
    assert_int_equal(st.held, 5);
    assert_false(st.published);
    assert_digest(&st.digest, "hello", 5);
    struct store_publish p = {.upload = b.upload};
    struct store_entry entry;
    assert_ok(publish(s, &alice, &p, &entry));
    assert_ok(begin(s, &alice, &b, &st));
    assert_true(st.published);
    assert_memory_equal(&st.entry.version, &entry.version, sizeof entry.version);
    struct store_upload_begin other = b;
    other.name = "g";
    struct store_upload_begin live = begin_of("h");
    assert_ok(begin(s, &alice, &live, &st));
    other.upload = live.upload;
    assert_outcome(begin(s, &alice, &other, &st), OUTCOME_INVALID);
    /* Its name was taken meanwhile: the rest need not be sent. */
    struct store_put taken = {.op = id_random(), .name = "h", .content = "x", .size = 1};
    assert_ok(put_as(s, &bob, &taken, &entry));
    assert_outcome(begin(s, &alice, &live, &st), OUTCOME_EXISTS);
    assert_ok(abort_upload(s, &alice, &live.upload));
}

static void publish_checks(void **state)
{
    struct subject *s = *state;
    struct store_upload_begin b = begin_of("f");
    struct store_upload_state st;
    struct store_entry entry;
    uint64_t held;
    assert_ok(begin(s, &alice, &b, &st));
    assert_ok(upload_write(s, &alice, &b.upload, 0, "hello", 5, &held));
    struct store_publish p = {.upload = b.upload, .check = true, .size = 4};
    assert_outcome(publish(s, &alice, &p, &entry), OUTCOME_CHANGED);
    p.size = 5;
    p.check_digest = true;
    p.digest = digest_text_of("hellO");
    assert_outcome(publish(s, &alice, &p, &entry), OUTCOME_CHANGED);
    assert_outcome(stat_name(s, "f", NULL), OUTCOME_ABSENT);
    p.digest = digest_text_of("hello");
    assert_ok(publish(s, &alice, &p, &entry));
    /* a repeat is answered the same, and makes nothing */
    struct store_entry again;
    assert_ok(publish(s, &alice, &p, &again));
    assert_memory_equal(&again.version, &entry.version, sizeof again.version);
    assert_int_equal(again.arrival, entry.arrival);
    assert_outcome(publish(s, &bob, &p, &again), OUTCOME_INVALID);
}

static void aborted_upload_is_gone(void **state)
{
    struct subject *s = *state;
    struct store_upload_begin b = begin_of("f");
    struct store_upload_state st;
    struct store_entry entry;
    uint64_t held;
    assert_ok(begin(s, &alice, &b, &st));
    assert_ok(upload_write(s, &alice, &b.upload, 0, "hello", 5, &held));
    assert_ok(abort_upload(s, &alice, &b.upload));
    assert_ok(abort_upload(s, &alice, &b.upload));
    assert_outcome(upload_write(s, &alice, &b.upload, 5, "x", 1, &held), OUTCOME_ABSENT);
    struct store_publish p = {.upload = b.upload};
    assert_outcome(publish(s, &alice, &p, &entry), OUTCOME_ABSENT);
    assert_ok(begin(s, &alice, &b, &st));
    assert_int_equal(st.held, 0);
}

/* The name is looked at before the bytes are sent, and again at the end. */
static void conditions_early_and_late(void **state)
{
    struct subject *s = *state;
    struct store_entry first, entry;
    struct store_upload_state st;
    struct store_upload_begin b = begin_of("f");
    assert_ok(begin(s, &alice, &b, &st));
    assert_ok(put(s, &alice, "f", "first", &first));
    struct store_publish p = {.upload = b.upload};
    assert_outcome(publish(s, &alice, &p, &entry), OUTCOME_EXISTS);
    struct store_upload_begin late = begin_of("f");
    assert_outcome(begin(s, &alice, &late, &st), OUTCOME_EXISTS);
    late.condition = (struct store_condition){.replace = true, .expected = id_random()};
    assert_outcome(begin(s, &alice, &late, &st), OUTCOME_CHANGED);
    late.condition.expected = first.version;
    assert_outcome(begin(s, &bob, &late, &st), OUTCOME_DENIED);
    assert_ok(begin(s, &alice, &late, &st));
    assert_ok(replace(s, &alice, "f", "second", NULL));
    p.upload = late.upload;
    assert_outcome(publish(s, &alice, &p, &entry), OUTCOME_CHANGED);
}

static void upload_limits(void **state)
{
    struct subject *s = *state;
    s->limits.uploads = 3;
    s->limits.uploads_per_principal = 2;
    subject_restart(s);
    struct store_upload_state st;
    struct store_upload_begin b[4] = {begin_of("a"), begin_of("b"), begin_of("c"), begin_of("d")};
    assert_ok(begin(s, &alice, &b[0], &st));
    assert_ok(begin(s, &alice, &b[1], &st));
    assert_outcome(begin(s, &alice, &b[2], &st), OUTCOME_LIMIT);
    assert_ok(begin(s, &bob, &b[2], &st));
    assert_outcome(begin(s, &bob, &b[3], &st), OUTCOME_LIMIT);
    assert_ok(abort_upload(s, &alice, &b[0].upload));
    assert_ok(begin(s, &bob, &b[3], &st));
    struct store_upload_begin huge = begin_of("huge");
    huge.size_known = true;
    huge.size = UINT64_C(1) << 60;
    assert_ok(abort_upload(s, &bob, &b[3].upload));
    assert_outcome(begin(s, &bob, &huge, &st), OUTCOME_NOSPACE);
}

/* Room that was promised to one upload is not promised to another. */
static void room_is_promised_once(void **state)
{
    struct subject *s = *state;
    struct store_health health;
    struct store_upload_state st;
    struct store_upload_begin first = begin_of("a"), second = begin_of("b");
    assert_ok(CERTAIN(s->acts->health(s->store, &health, &store_why)));
    first.size_known = second.size_known = true;
    first.size = second.size = health.free_bytes / 5 * 3;
    assert_ok(begin(s, &alice, &first, &st));
    assert_outcome(begin(s, &alice, &second, &st), OUTCOME_NOSPACE);
    assert_ok(abort_upload(s, &alice, &first.upload));
    assert_ok(begin(s, &alice, &second, &st));
}

/* An orderly stop loses none of an upload's bytes. */
static void upload_outlives_a_restart(void **state)
{
    struct subject *s = *state;
    struct store_upload_begin b = begin_of("f"), small = begin_of("g");
    struct store_upload_state st;
    struct store_entry entry;
    enum { COUNT = 100000 };
    uint8_t *bytes = malloc(COUNT);
    uint64_t held;
    fill(bytes, COUNT, 3);
    assert_ok(begin(s, &alice, &b, &st));
    assert_ok(begin(s, &alice, &small, &st));
    assert_ok(upload_write(s, &alice, &b.upload, 0, bytes, COUNT / 2, &held));
    assert_ok(upload_write(s, &alice, &small.upload, 0, bytes, 10, &held));
    subject_restart(s);
    assert_ok(begin(s, &alice, &b, &st));
    assert_int_equal(st.held, COUNT / 2);
    assert_digest(&st.digest, bytes, COUNT / 2);
    assert_ok(upload_write(s, &alice, &b.upload, COUNT / 2, bytes + COUNT / 2, COUNT / 2, &held));
    struct store_publish p = {.upload = b.upload, .check = true, .size = COUNT, .check_digest = true};
    p.digest = digest_of(bytes, COUNT);
    assert_ok(publish(s, &alice, &p, &entry));
    subject_restart(s);
    struct store_entry again;
    assert_ok(publish(s, &alice, &p, &again));
    assert_memory_equal(&again.version, &entry.version, sizeof again.version);
    /* without asking first what is held */
    assert_ok(upload_write(s, &alice, &small.upload, 10, bytes + 10, 10, &held));
    p = (struct store_publish){.upload = small.upload, .check = true, .size = 20, .check_digest = true};
    p.digest = digest_of(bytes, 20);
    assert_ok(publish(s, &alice, &p, &entry));
    free(bytes);
}

static const struct CMUnitTest tests[] = {
    SUBJECT_TEST(upload_sizes),
    SUBJECT_TEST(write_in_any_order),
    SUBJECT_TEST(upload_belongs_to_its_principal),
    SUBJECT_TEST(begin_again),
    SUBJECT_TEST(publish_checks),
    SUBJECT_TEST(aborted_upload_is_gone),
    SUBJECT_TEST(conditions_early_and_late),
    SUBJECT_TEST(upload_limits),
    SUBJECT_TEST(room_is_promised_once),
    SUBJECT_TEST(upload_outlives_a_restart),
};

const struct conformance conformance_uploads = {"store: uploads", tests, sizeof tests / sizeof *tests};
