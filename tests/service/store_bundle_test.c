/* Files that came in one call: they share content, and nobody can tell. */
#include "server/store/local/database.h"
#include "service/store_subject.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PARTS = 10, LARGE = 30000, SMALL = 900, MOST = 80000 };

/* ---- many files, and what they should be ---- */

struct many {
    struct store_put puts[PARTS];
    struct store_put_answer answers[PARTS];
    char names[PARTS][16];
    char *texts[PARTS];
};

static void many_fill(struct many *many, size_t size)
{
    *many = (struct many){0};
    for (int i = 0; i < PARTS; i++) {
        snprintf(many->names[i], sizeof many->names[i], "m/%d", i);
        many->texts[i] = calloc(1, size + 1);
        memset(many->texts[i], 'a' + i, size);
        snprintf(many->texts[i], size, "%d", i);
        many->puts[i] = (struct store_put){.op = id_random(),
                                           .name = many->names[i],
                                           .content = many->texts[i],
                                           .size = size};
    }
}

static void many_free(struct many *many)
{
    for (int i = 0; i < PARTS; i++)
        free(many->texts[i]);
}

static void many_put(struct subject *s, struct many *many)
{
    assert_ok(put_many(s, &alice, many->puts, PARTS, many->answers));
    for (int i = 0; i < PARTS; i++)
        assert_ok(many->answers[i].outcome);
}

static void expect_version(struct subject *s, const struct many *many, int i, const struct id *version)
{
    static char back[MOST + 1];
    assert_ok(content(s, many->names[i], version, back, sizeof back));
    assert_memory_equal(back, many->texts[i], many->puts[i].size);
}

static void expect_from(struct subject *s, const struct many *many, int first)
{
    for (int i = first; i < PARTS; i++)
        expect_version(s, many, i, NULL);
}

static void remove_before(struct subject *s, const struct many *many, int end)
{
    for (int i = 0; i < end; i++)
        assert_ok(remove_name(s, &alice, NULL, many->names[i], NULL));
}

static void let_go(struct subject *s)
{
    step(s, 2 * s->limits.kept_seconds + 10);
    sweep(s, NULL, NULL);
}

/* ---- what the store has for them ---- */

static unsigned blob_count;
static uint64_t blob_bytes;

static int count_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)walk;
    if (kind == FTW_F && strstr(path, "/blobs/")) {
        blob_count++;
        blob_bytes += (uint64_t)status->st_size;
    }
    return 0;
}

static unsigned blobs(const struct subject *s)
{
    blob_count = 0;
    blob_bytes = 0;
    assert_int_equal(nftw(s->folder, count_one, 8, FTW_PHYS), 0);
    return blob_count;
}

static int64_t number(const struct subject *s, const char *text)
{
    char path[128];
    struct database *db = NULL;
    snprintf(path, sizeof path, "%s/fileshare.db", s->folder);
    assert_ok(database_open(path, false, &db, &store_why));
    int64_t out;
    {
        scoped_query struct query q = query_on(db, text);
        assert_ok(query_row(&q, &store_why));
        out = column_int(&q);
    }
    database_close(db);
    return out;
}

static void expect_sound(struct subject *s, uint64_t entries)
{
    struct store_audit found;
    assert_ok(s->acts->audit(s->store, true, &found, &store_why));
    if (!store_audit_is_sound(&found))
        fail_msg("%s", found.findings[0].where);
    assert_int_equal(found.entries, entries);
}

/* ---- tests ---- */

static void one_blob_for_all(void **state)
{
    struct subject *s = *state;
    struct many many;
    struct store_health health;
    many_fill(&many, LARGE);
    assert_ok(put(s, &bob, many.names[3], "there before", NULL));
    many.puts[5].size = MOST;
    many.puts[5].content = many.texts[5] = realloc(many.texts[5], MOST);
    memset(many.texts[5], 'L', MOST);
    many.puts[7].check_digest = true; /* of zeros, which it has not */
    many.puts[8].size = 0;
    assert_ok(put_many(s, &alice, many.puts, PARTS, many.answers));
    for (int i = 0; i < PARTS; i++) {
        if (i == 3)
            assert_outcome(many.answers[i].outcome, OUTCOME_EXISTS);
        else if (i == 7)
            assert_outcome(many.answers[i].outcome, OUTCOME_CHANGED);
        else
            assert_ok(many.answers[i].outcome);
        if (i != 3 && i != 7)
            expect_version(s, &many, i, NULL);
    }
    assert_int_equal(blobs(s), 2); /* one is too large to share */
    assert_ok(s->acts->health(s->store, &health, &store_why));
    assert_int_equal(health.files, PARTS - 1);
    assert_int_equal(health.bytes, 6 * LARGE + MOST + strlen("there before"));
    expect_sound(s, PARTS - 1);
    subject_restart(s);
    for (int i = 0; i < PARTS; i++)
        if (i != 3 && i != 7)
            expect_version(s, &many, i, NULL);
    many_free(&many);
}

static void small_ones_share_a_row(void **state)
{
    struct subject *s = *state;
    struct many many;
    many_fill(&many, SMALL);
    many_put(s, &many);
    assert_int_equal(blobs(s), 0);
    assert_int_equal(number(s, "SELECT count(*) FROM content"), 1);
    assert_int_equal(number(s, "SELECT count(*) FROM answer"), 0); /* the entries are */
    expect_from(s, &many, 0);
    expect_sound(s, PARTS);
    many_free(&many);
}

/* One that is refused, or done before, leaves no content of its own. */
static void repeats(void **state)
{
    struct subject *s = *state;
    struct many many, again;
    many_fill(&many, LARGE);
    many_put(s, &many);
    again = many;
    for (int round = 0; round < 2; round++) {
        assert_ok(put_many(s, &alice, again.puts, PARTS, again.answers));
        for (int i = 0; i < PARTS; i++) {
            assert_ok(again.answers[i].outcome);
            assert_int_equal(again.answers[i].arrival, many.answers[i].arrival);
        }
        assert_int_equal(blobs(s), 1);
        subject_restart(s);
    }
    assert_ok(put_many(s, &bob, again.puts, PARTS, again.answers));
    for (int i = 0; i < PARTS; i++)
        assert_outcome(again.answers[i].outcome, OUTCOME_INVALID);
    for (int i = 0; i < PARTS; i++)
        again.puts[i].name = many.names[(i + 1) % PARTS];
    assert_ok(put_many(s, &alice, again.puts, PARTS, again.answers));
    for (int i = 0; i < PARTS; i++)
        assert_outcome(again.answers[i].outcome, OUTCOME_INVALID);
    again.puts[0].name = "elsewhere";
    assert_outcome(put_as(s, &alice, &again.puts[0], &(struct store_entry){0}), OUTCOME_INVALID);
    assert_outcome(remove_name(s, &alice, &many.puts[0].op, many.names[0], NULL), OUTCOME_INVALID);
    assert_int_equal(blobs(s), 1);
    expect_from(s, &many, 0);
    expect_sound(s, PARTS);
    many_free(&many);
}

/* What came of an act is told as long as answers are kept, also when its file is gone. */
static void answers_outlive_files(void **state)
{
    struct subject *s = *state;
    struct many many;
    many_fill(&many, SMALL);
    many_put(s, &many);
    int64_t arrival = many.answers[0].arrival;
    assert_ok(replace(s, &alice, many.names[0], "another", NULL));
    assert_ok(remove_name(s, &alice, NULL, many.names[1], NULL));
    struct store_rename r = {.op = id_random(), .source = many.names[2], .target = "moved"};
    assert_ok(rename_as(s, &alice, &r, NULL));
    for (int round = 0; round < 3; round++) {
        many_put(s, &many);
        assert_int_equal(many.answers[0].arrival, arrival);
        let_go(s); /* replaced versions are no more, either */
        subject_restart(s);
    }
    char back[16];
    assert_ok(content(s, many.names[0], NULL, back, sizeof back));
    assert_string_equal(back, "another");
    assert_outcome(content(s, many.names[1], NULL, back, sizeof back), OUTCOME_ABSENT);
    expect_sound(s, PARTS - 1);
    step(s, STORE_ANSWER_SECONDS);
    sweep(s, NULL, NULL);
    assert_ok(put_many(s, &alice, many.puts, PARTS, many.answers));
    assert_outcome(many.answers[0].outcome, OUTCOME_EXISTS);
    assert_ok(many.answers[1].outcome); /* forgotten: it counts anew */
    many_free(&many);
}

static void in_their_order(void **state)
{
    struct subject *s = *state;
    struct many many;
    many_fill(&many, SMALL);
    for (int i = 0; i < PARTS; i++)
        many.puts[i].name = "one";
    many.puts[1].condition.replace = true;
    many.puts[2].condition = (struct store_condition){.replace = true, .expected = many.puts[1].op};
    many.puts[3].condition = (struct store_condition){.replace = true, .expected = many.puts[1].op};
    assert_ok(put_many(s, &alice, many.puts, PARTS, many.answers));
    for (int i = 0; i < PARTS; i++)
        assert_outcome(many.answers[i].outcome, i < 3    ? OUTCOME_OK
                                                : i == 3 ? OUTCOME_CHANGED
                                                         : OUTCOME_EXISTS);
    char back[SMALL + 1];
    for (int i = 0; i < 3; i++) {
        assert_ok(content(s, "one", &many.puts[i].op, back, sizeof back));
        assert_memory_equal(back, many.texts[i], SMALL);
    }
    expect_sound(s, 1);
    let_go(s);
    assert_ok(content(s, "one", NULL, back, sizeof back));
    assert_memory_equal(back, many.texts[2], SMALL);
    assert_outcome(content(s, "one", &many.puts[0].op, back, sizeof back), OUTCOME_STALE);
    expect_sound(s, 1);
    many_free(&many);
}

static void what_is_left_is_condensed(void **state)
{
    struct subject *s = *state;
    struct many many;
    struct store_read *old = NULL;
    struct store_entry entry;
    struct id none = {0};
    char back[8] = "";
    many_fill(&many, LARGE);
    many_put(s, &many);
    assert_ok(s->acts->read_open(s->store, many.names[9], &none, &old, &entry, &store_why));
    remove_before(s, &many, 5);
    let_go(s);
    assert_int_equal(blobs(s), 1);
    assert_int_equal(blob_bytes, PARTS * LARGE); /* half of it is not too much */
    assert_ok(replace(s, &alice, many.names[5], "new", NULL));
    expect_from(s, &many, 6);
    let_go(s);
    assert_int_equal(blobs(s), 1);
    assert_int_equal(blob_bytes, 4 * LARGE);
    assert_ok(s->acts->read_at(old, 0, back, 1, &store_why)); /* from what is no more */
    assert_int_equal(back[0], '9');
    s->acts->read_close(old);
    subject_restart(s);
    expect_from(s, &many, 6);
    expect_sound(s, 5);
    many_put(s, &many); /* and still each is known to be done */
    assert_ok(remove_name(s, &alice, NULL, many.names[6], NULL));
    assert_ok(remove_name(s, &alice, NULL, many.names[7], NULL));
    assert_ok(remove_name(s, &alice, NULL, many.names[8], NULL));
    let_go(s);
    assert_int_equal(blobs(s), 0); /* one is small enough for the database */
    expect_version(s, &many, 9, NULL);
    assert_ok(remove_name(s, &alice, NULL, many.names[9], NULL));
    let_go(s);
    assert_int_equal(number(s, "SELECT count(*) FROM content"), 1);
    expect_sound(s, 1);
    many_free(&many);
}

/* Versions that are only kept go along. */
static void kept_ones_are_condensed_too(void **state)
{
    struct subject *s = *state;
    struct many many;
    many_fill(&many, SMALL);
    many_put(s, &many);
    remove_before(s, &many, 6);
    step(s, 2 * s->limits.kept_seconds);
    assert_ok(replace(s, &alice, many.names[8], "new", NULL));
    sweep(s, NULL, NULL);
    assert_int_equal(number(s, "SELECT max(size) FROM content"), 4 * SMALL);
    expect_version(s, &many, 8, &many.puts[8].op);
    expect_version(s, &many, 7, NULL);
    expect_sound(s, 4);
    many_free(&many);
}

static void a_renamed_one_stands_alone(void **state)
{
    struct subject *s = *state;
    static const size_t sizes[] = {LARGE, SMALL};
    for (int round = 0; round < 2; round++) {
        struct many many;
        many_fill(&many, sizes[round]);
        many_put(s, &many);
        struct store_rename r = {.op = id_random(), .source = many.names[4], .target = "moved"};
        assert_ok(rename_as(s, &alice, &r, NULL));
        assert_ok(rename_as(s, &alice, &r, NULL));
        expect_sound(s, PARTS);
        for (int i = 0; i < PARTS; i++)
            if (i != 4)
                assert_ok(remove_name(s, &alice, NULL, many.names[i], NULL));
        let_go(s);
        assert_int_equal(blobs(s), 0);
        static char back[MOST + 1];
        assert_ok(content(s, "moved", NULL, back, sizeof back));
        assert_memory_equal(back, many.texts[4], many.puts[4].size);
        expect_sound(s, 1);
        assert_ok(remove_name(s, &alice, NULL, "moved", NULL));
        let_go(s);
        assert_int_equal(number(s, "SELECT count(*) FROM content"), 0);
        many_free(&many);
    }
}

/* A blob that is not whole is nobody's to mend: the others of the sweep go on. */
static void what_cannot_be_read_is_left(void **state)
{
    struct subject *s = *state;
    struct many many, other;
    many_fill(&many, LARGE);
    many_put(s, &many);
    assert_int_equal(blobs(s), 1);
    char command[200];
    snprintf(command, sizeof command, "find '%s/blobs' -type f -exec truncate -s %d {} +", s->folder, LARGE);
    assert_int_equal(system(command), 0);
    remove_before(s, &many, 8);
    many_fill(&other, LARGE);
    for (int i = 0; i < PARTS; i++)
        other.names[i][0] = 'o';
    many_put(s, &other);
    remove_before(s, &other, 8);
    let_go(s);
    let_go(s);
    assert_int_equal(blobs(s), 1); /* that of `other` is condensed */
    assert_int_equal(blob_bytes, LARGE);
    expect_from(s, &other, 8);
    static char back[MOST];
    assert_outcome(content(s, many.names[9], NULL, back, sizeof back), OUTCOME_CORRUPT);
    many_free(&many);
    many_free(&other);
}

static void waiters_hear_of_each(void **state)
{
    struct subject *s = *state;
    struct many many;
    struct id box = id_random();
    struct store_event found[PARTS + 1];
    struct store_registration made;
    bool more;
    struct store_interest_add add = {.mailbox = box,
                                     .interest = id_random(),
                                     .glob = true,
                                     .pattern = "m/*",
                                     .seconds = 1000,
                                     .every = true};
    assert_ok(interest(s, &bob, &add, NULL, 0, &made));
    many_fill(&many, SMALL);
    many_put(s, &many);
    many_put(s, &many);
    fan_out(s);
    assert_int_equal(events(s, &box, 0, found, PARTS + 1, &more), PARTS);
    for (int i = 0; i < PARTS; i++)
        assert_true(id_equal(&found[i].entry.version, &many.puts[i].op));
    many_free(&many);
}

#define BUNDLE_TEST(function) cmocka_unit_test_setup_teardown(function, subject_setup, subject_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BUNDLE_TEST(one_blob_for_all),
        BUNDLE_TEST(small_ones_share_a_row),
        BUNDLE_TEST(repeats),
        BUNDLE_TEST(answers_outlive_files),
        BUNDLE_TEST(in_their_order),
        BUNDLE_TEST(what_is_left_is_condensed),
        BUNDLE_TEST(kept_ones_are_condensed_too),
        BUNDLE_TEST(a_renamed_one_stands_alone),
        BUNDLE_TEST(what_cannot_be_read_is_left),
        BUNDLE_TEST(waiters_hear_of_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
