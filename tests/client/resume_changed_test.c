/* What was broken off, and then is no more as it was: noticed, and begun anew. */
#include "client/runs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct broken broken;

static int begin(void **state)
{
    (void)state;
    broken_begin(&broken, true);
    return 0;
}

static int end(void **state)
{
    (void)state;
    broken_end(&broken);
    return 0;
}

/* ---- what is no more as it was ---- */

static void break_in_the_middle(int way, const char *const *words)
{
    runs_break(&broken, CUT, way, 3 * CHUNK, words);
}

/* Touched, rewritten in place, replaced by another of that name: sent anew, and the server need not keep the old. */
static void test_local_file_changed(void **state)
{
    (void)state;
    const char *const changes[] = {
        "touch large", "printf ! | dd of=large bs=1 seek=10 conv=notrunc status=none",
        "cp large other && mv other large", "printf ! >>large", "printf small >large"};
    char command[512];
    for (unsigned i = 0; i < 5; i++) {
        char name[64];
        const char *words[8];
        struct id id;
        broken_name(&broken, name);
        runs_put(words, name);
        break_in_the_middle(0, words);
        assert_true(runs_held(&broken, name, &id) > 0);
        snprintf(command, sizeof command, "cd %s && cp -p large kept && %s", broken.folder, changes[i]);
        assert_int_equal(system(command), 0);
        broken_run(&broken, words);
        assert_true(broken_said(&broken, "changed since an earlier upload"));
        assert_true(broken_said(&broken, "starting anew"));
        snprintf(command, sizeof command,
                 "cd %s && %s/fileshare-client -q -s %s --no-rpcbind get %s -o check && cmp check large && "
                 "rm check && mv kept large && rmdir ../home/fileshare/uploads",
                 broken.folder, getenv("FILESHARE_BUILD"), broken.server.tcp, name);
        assert_int_equal(system(command), 0);
        broken.owed++;
    }
}

/* The same size, time and inode, but other bytes: the digest tells. */
static void test_other_bytes_unnoticed(void **state)
{
    (void)state;
    char name[64], command[512];
    const char *words[8];
    broken_name(&broken, name);
    runs_put(words, name);
    snprintf(command, sizeof command,
             "cd %s && cp -p large kept && touch -r kept large && printf ! | dd of=large bs=1 seek=10 "
             "conv=notrunc "
             "status=none && touch -r kept large && cmp -s large kept; test $? = 1",
             broken.folder);
    break_in_the_middle(0, words);
    assert_int_equal(system(command), 0);
    broken_run(&broken, words);
    assert_true(broken_said(&broken, "not how the file begins; starting anew"));
    snprintf(command, sizeof command,
             "cd %s && %s/fileshare-client -q -s %s --no-rpcbind get %s -o check && cmp check large && "
             "rm check && mv kept large",
             broken.folder, getenv("FILESHARE_BUILD"), broken.server.tcp, name);
    assert_int_equal(system(command), 0);
    broken.owed++;
}

/* One part for each version; those of others go. */
static void test_version_changed(void **state)
{
    (void)state;
    char name[64], part[600], other[600];
    const char *words[8];
    uint8_t *newer = pattern_bytes(SIZE, 99);
    runs_leave_part(&broken, name, part);
    assert_int_equal(put_bytes(broken.session, name, newer, SIZE, true, NULL, NULL), FILESHARE_OK);
    broken.owed++;
    runs_get(words, name);
    broken_run(&broken, words);
    assert_true(broken_said(&broken, "of another version; starting anew"));
    runs_expect_got(&broken, name, newer);
    assert_int_equal(runs_part(&broken, other), 0);
    free(newer);
}

/* A part that is not what it was: the digest at the end tells, and all is got once more. */
static void test_part_is_spoilt(void **state)
{
    (void)state;
    char name[64], part[600];
    const char *words[8];
    runs_leave_part(&broken, name, part);
    int fd = open(part, O_WRONLY);
    assert_int_equal(pwrite(fd, "!", 1, 10), 1);
    close(fd);
    runs_get(words, name);
    broken_run(&broken, words);
    assert_true(broken_said(&broken, "does not match the file's digest; starting anew"));
    runs_expect_got(&broken, name, broken.bytes);
    assert_int_equal(runs_part(&broken, part), 0);
}

/* Neither a part that somebody fills nor one that may not be ours is taken; the file comes all the same. */
static void test_part_is_not_for_us(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        char name[64], part[600], command[1400];
        const char *words[8];
        runs_leave_part(&broken, name, part);
        int fd = open(part, O_RDWR);
        const char *const does[] = {"true", "ln $p second", "mv $p real && ln -s real $p",
                                    "rm $p && mkfifo -m 600 $p"};
        snprintf(command, sizeof command, "cd %s && p='%s' && %s", broken.folder, part, does[i]);
        assert_int_equal(system(command), 0);
        if (i == 0)
            assert_int_equal(flock(fd, LOCK_EX), 0);
        runs_get(words, name);
        broken_run(&broken, words);
        assert_false(broken_said(&broken, "going on"));
        runs_expect_got(&broken, name, broken.bytes);
        assert_int_equal(runs_part(&broken, part), 1); /* as it was, and nothing besides */
        close(fd);
        snprintf(command, sizeof command, "cd %s && rm -f '%s' second real", broken.folder, part);
        assert_int_equal(system(command), 0);
    }
}

/* Two puts of one file at once: the second has no note, and spoils nothing. */
static void test_two_at_once(void **state)
{
    (void)state;
    char name[64], note[600];
    const char *words[8];
    struct id id;
    broken_name(&broken, name);
    runs_put(words, name);
    break_in_the_middle(0, words);
    assert_true(runs_held(&broken, name, &id) > 0);
    assert_int_equal(runs_note(&broken, note), 1);
    int fd = open(note, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    broken_run(&broken, words);
    assert_false(broken_said(&broken, "going on"));
    broken_expect(&broken, name);
    close(fd);
    /* The first one finds its file there already, and its upload is dropped. */
    broken_run(&broken, words);
    assert_int_equal(runs_note(&broken, note), 0);
}

/* Committed, but the answer never came: the next run says so, and nobody is told twice. */
static void test_commit_without_answer(void **state)
{
    (void)state;
    char name[64], note[600];
    const char *words[8];
    struct fileshare_entry entry;
    broken_name(&broken, name);
    runs_put(words, name);
    uint64_t nearly = broken.greeting + (CHUNKS + 1) * broken.answer + 1;
    assert_int_equal(runs_some(&broken, CLIENT_KILLED, 1, nearly, words), -SIGKILL);
    assert_int_equal(fileshare_stat(broken.session, name, &entry, NULL), FILESHARE_OK);
    assert_int_equal(runs_note(&broken, note), 1);
    broken_run(&broken, words);
    assert_int_equal(runs_note(&broken, note), 0);
    broken_expect(&broken, name);
}

/* The server dropped it meanwhile: all of it goes, and nothing is the worse for it. */
static void test_upload_is_gone(void **state)
{
    (void)state;
    char name[64], note[600];
    const char *words[8];
    struct id id;
    broken_name(&broken, name);
    runs_put(words, name);
    break_in_the_middle(0, words);
    assert_true(runs_held(&broken, name, &id) > 0);
    runs_drop(&broken, &id);
    broken_run(&broken, words);
    assert_int_equal(runs_note(&broken, note), 0);
    broken_expect(&broken, name);
}

static void test_each_arrival_was_told_once(void **state)
{
    (void)state;
    broken_expect_events(&broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_file_changed),
        cmocka_unit_test(test_other_bytes_unnoticed),
        cmocka_unit_test(test_version_changed),
        cmocka_unit_test(test_part_is_spoilt),
        cmocka_unit_test(test_part_is_not_for_us),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_commit_without_answer),
        cmocka_unit_test(test_upload_is_gone),
        cmocka_unit_test(test_each_arrival_was_told_once),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
