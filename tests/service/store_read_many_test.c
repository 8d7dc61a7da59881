/* Many versions opened at once: what they share, and what goes while we look. */
#include "service/store_subject.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES = 8, SIZE = 20000, BLOBS = 80, MANY_MAX = 100 };

/* ---- files, and what was found of them ---- */

static char names[MANY_MAX][16];
static struct store_wanted wanted[MANY_MAX];
static struct store_found found[MANY_MAX];
static size_t found_count;

static void name_all(void)
{
    for (unsigned i = 0; i < MANY_MAX; i++) {
        snprintf(names[i], sizeof names[i], "f/%03u", i);
        wanted[i] = (struct store_wanted){.name = names[i]};
    }
}

/* The file's bytes depend on its number and on `seed`. */
static void put_files(struct subject *s, unsigned from, unsigned count, size_t size, unsigned seed)
{
    struct store_put puts[FILES];
    struct store_put_answer answers[FILES];
    uint8_t *bytes = malloc(count * size);
    assert_non_null(bytes);
    for (unsigned i = 0; i < count; i++) {
        fill(bytes + i * size, size, seed + from + i);
        puts[i] = (struct store_put){.op = id_random(),
                                     .name = names[from + i],
                                     .condition.replace = true,
                                     .content = bytes + i * size,
                                     .size = size};
    }
    assert_ok(put_many(s, &alice, puts, count, answers));
    for (unsigned i = 0; i < count; i++)
        assert_ok(answers[i].outcome);
    free(bytes);
}

static void expect_bytes(struct subject *s, const struct store_found *at, size_t size, unsigned seed)
{
    uint8_t *bytes = malloc(2 * size);
    assert_non_null(bytes);
    fill(bytes, size, seed);
    assert_ok(at->outcome);
    assert_int_equal(at->entry.size, size);
    assert_ok(s->acts->read_at(at->read, 0, bytes + size, size, &store_why));
    assert_memory_equal(bytes, bytes + size, size);
    free(bytes);
}

static bool take(void *context, const struct store_found *at)
{
    void (*meanwhile)(size_t) = context;
    found[found_count++] = *at;
    if (meanwhile)
        meanwhile(found_count);
    return true;
}

static void open_from(struct subject *s, unsigned from, size_t count, void (*meanwhile)(size_t))
{
    const struct store_read_many many = {wanted + from, count, take, meanwhile};
    found_count = 0;
    assert_ok(s->acts->read_open_many(s->store, &many, &store_why));
}

static void close_all(struct subject *s)
{
    for (size_t i = 0; i < found_count; i++)
        if (found[i].outcome == OUTCOME_OK)
            s->acts->read_close(found[i].read);
    found_count = 0;
}

static unsigned descriptors(void)
{
    unsigned count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* ---- tests ---- */

static void one_descriptor_for_a_blob(void **state)
{
    struct subject *s = *state;
    put_files(s, 0, FILES, SIZE, 0);
    open_from(s, 0, FILES, NULL); /* the reader's connection is open from now on */
    close_all(s);
    unsigned before = descriptors();
    open_from(s, 0, FILES, NULL);
    assert_int_equal(found_count, FILES);
    assert_int_equal(descriptors(), before + 1);
    s->acts->read_close(found[0].read);
    found[0].outcome = OUTCOME_ABSENT;
    for (unsigned i = 1; i < FILES; i++)
        expect_bytes(s, &found[i], SIZE, i);
    close_all(s);
    assert_int_equal(descriptors(), before);
}

/* Too many blobs to be open together: the first of them are given, then the rest can be asked for. */
static void descriptors_are_bounded(void **state)
{
    struct subject *s = *state;
    for (unsigned i = 0; i < BLOBS; i++)
        put_files(s, i, 1, SIZE, 0);
    unsigned before = descriptors(), rounds = 0;
    for (unsigned from = 0; from < BLOBS; rounds++) {
        open_from(s, from, BLOBS - from, NULL);
        assert_true(found_count > 0);
        assert_true(descriptors() <= before + 64 + 4); /* a reader's database and its log besides */
        for (unsigned i = 0; i < found_count; i++)
            expect_bytes(s, &found[i], SIZE, from + i);
        from += (unsigned)found_count;
        close_all(s);
    }
    assert_int_equal(rounds, 2);
    assert_true(descriptors() <= before + 4);
}

static struct subject *busy;

static void *replace_and_sweep(void *unused)
{
    (void)unused;
    put_files(busy, 1, FILES - 1, SIZE, 100);
    step(busy, 2 * busy->limits.kept_seconds + 10);
    sweep(busy, NULL, NULL);
    return NULL;
}

static void *remove_and_condense(void *unused)
{
    (void)unused;
    for (unsigned i = 1; i < FILES - 1; i++)
        assert_ok(remove_name(busy, &alice, NULL, names[i], NULL));
    step(busy, 2 * busy->limits.kept_seconds + 10);
    sweep(busy, NULL, NULL);
    return NULL;
}

static void *(*other)(void *);

/* Beside the one who looks, who has seen as many files. */
static void do_other(size_t seen)
{
    pthread_t thread;
    if (seen != 1)
        return;
    assert_int_equal(pthread_create(&thread, NULL, other, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* What was found before it went is read; what is looked for after that is as it is now. */
static void replaced_meanwhile(void **state)
{
    struct subject *s = busy = *state;
    put_files(s, 0, 1, SIZE, 0);
    put_files(s, 1, FILES - 1, SIZE, 0);
    other = replace_and_sweep;
    open_from(s, 0, FILES, do_other);
    assert_int_equal(found_count, FILES);
    expect_bytes(s, &found[0], SIZE, 0);
    for (unsigned i = 1; i < FILES; i++) /* their old blob was gone: the new one was asked for */
        expect_bytes(s, &found[i], SIZE, 100 + i);
    close_all(s);
}

static void condensed_meanwhile(void **state)
{
    struct subject *s = busy = *state;
    put_files(s, 0, FILES, SIZE, 0);
    other = remove_and_condense;
    open_from(s, 0, FILES, do_other);
    assert_int_equal(found_count, FILES);
    for (unsigned i = 0; i < FILES; i++) /* all as they were at one moment, from a blob that is no more */
        expect_bytes(s, &found[i], SIZE, i);
    close_all(s);
    open_from(s, 0, FILES, NULL);
    expect_bytes(s, &found[0], SIZE, 0);
    expect_bytes(s, &found[FILES - 1], SIZE, FILES - 1);
    for (unsigned i = 1; i < FILES - 1; i++)
        assert_int_equal(found[i].outcome, OUTCOME_ABSENT);
    close_all(s);
}

/* Content that is lost is said so, of those alone that had it. */
static void lost_content(void **state)
{
    struct subject *s = *state;
    char command[160];
    put_files(s, 0, FILES, SIZE, 0);
    snprintf(command, sizeof command, "find %s/blobs -type f -delete", s->folder);
    assert_int_equal(system(command), 0);
    put_files(s, 3, 2, 100, 50);
    open_from(s, 0, FILES, NULL);
    assert_int_equal(found_count, FILES);
    for (unsigned i = 0; i < FILES; i++)
        if (i != 3 && i != 4) {
            assert_int_equal(found[i].outcome, OUTCOME_CORRUPT);
            assert_non_null(strstr(found[i].why.text, names[i]));
        }
    expect_bytes(s, &found[3], 100, 53);
    expect_bytes(s, &found[4], 100, 54);
    close_all(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_descriptor_for_a_blob, subject_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(descriptors_are_bounded, subject_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(replaced_meanwhile, subject_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(condensed_meanwhile, subject_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(lost_content, subject_setup, subject_teardown),
    };
    name_all();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
