/* The note of an upload that was broken off: taken up again, told from others, held by one, bounded. */
#include "client/lib/unfinished.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[PLACE_SIZE];
static char state[PLACE_SIZE + 8];

static int begin(void **nothing)
{
    (void)nothing;
    if (!place_make(folder, place_on_disk(), "unfinished"))
        return -1;
    snprintf(state, sizeof state, "%s/state", folder);
    return 0;
}

static int end(void **nothing)
{
    (void)nothing;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static const struct id instance = {{1}};

static struct unfinished_key key_of(const char *name)
{
    return (
        struct unfinished_key){.folder = state, .instance = instance, .name = name, .path = "/data/large"};
}

static const struct content_identity source = {.device = 1,
                                               .inode = UINT64_MAX,
                                               .start = 3,
                                               .size = UINT64_C(1) << 40,
                                               .mtime = -5};

static unsigned count_notes(void)
{
    char path[128];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/uploads", state);
    DIR *walk = opendir(path);
    for (struct dirent *at = walk ? readdir(walk) : NULL; at; at = readdir(walk))
        count += at->d_name[0] != '.';
    if (walk)
        closedir(walk);
    return count;
}

static struct unfinished hold(const char *name)
{
    struct unfinished note;
    struct failure why = {.text = ""};
    struct unfinished_key key = key_of(name);
    if (unfinished_hold(&key, true, &note, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    return note;
}

static void leave(const char *name)
{
    struct unfinished note = hold(name);
    struct unfinished_key key = key_of(name);
    note.upload = id_random();
    note.source = source;
    note.replace = true;
    assert_int_equal(unfinished_write(&note, &key, NULL), OUTCOME_OK);
    unfinished_end(&note, true);
}

static void test_taken_up_again(void **nothing)
{
    (void)nothing;
    struct unfinished_key key = key_of("a");
    struct unfinished none, note;
    assert_int_equal(unfinished_hold(&key, false, &none, NULL), OUTCOME_ABSENT);
    note = hold("a");
    assert_false(note.there);
    note.upload = id_random();
    note.source = source;
    note.replace = true;
    assert_int_equal(unfinished_write(&note, &key, NULL), OUTCOME_OK);
    struct id upload = note.upload;
    unfinished_end(&note, true);

    struct stat status;
    assert_int_equal(stat(note.path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(unfinished_hold(&key, false, &note, NULL), OUTCOME_OK);
    assert_true(note.there);
    assert_true(id_equal(&note.upload, &upload));
    assert_true(content_identity_equal(&note.source, &source));
    assert_true(note.replace);
    unfinished_end(&note, false);
    unfinished_end(&note, false);
    assert_int_equal(unfinished_hold(&key, false, &none, NULL), OUTCOME_ABSENT);
    assert_int_equal(count_notes(), 0);
}

static void test_told_from_others(void **nothing)
{
    (void)nothing;
    struct unfinished_key keys[4] = {key_of("a"), key_of("b"), key_of("a"), key_of("a")};
    struct unfinished note;
    keys[2].instance.octets[0]++;
    keys[3].path = "/data/other";
    leave("a");
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(unfinished_hold(&keys[i], false, &note, NULL), OUTCOME_ABSENT);
    assert_int_equal(unfinished_hold(&keys[0], false, &note, NULL), OUTCOME_OK);
    unfinished_end(&note, false);
}

static void test_held_by_one(void **nothing)
{
    (void)nothing;
    struct unfinished_key key = key_of("a");
    struct unfinished first = hold("a"), second;
    assert_int_equal(unfinished_hold(&key, true, &second, NULL), OUTCOME_HELD);
    assert_int_equal(unfinished_hold(&key, false, &second, NULL), OUTCOME_HELD);
    unfinished_end(&first, true); /* it says nothing: so it goes */
    assert_int_equal(unfinished_hold(&key, false, &second, NULL), OUTCOME_ABSENT);
}

/* Cut off anywhere, or not a note at all, it is as none. */
static void test_spoilt(void **nothing)
{
    (void)nothing;
    leave("a");
    struct unfinished note = hold("a");
    struct stat status;
    assert_true(note.there);
    assert_int_equal(fstat(note.fd, &status), 0);
    char text[4096];
    assert_int_equal(pread(note.fd, text, sizeof text, 0), status.st_size);
    unfinished_end(&note, true);
    for (off_t size = 0; size < status.st_size; size++) {
        assert_int_equal(truncate(note.path, size), 0);
        struct unfinished again = hold("a");
        assert_false(again.there);
        again.there = true; /* keep the file */
        unfinished_end(&again, true);
        int fd = open(note.path, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, text, (size_t)status.st_size), status.st_size);
        close(fd);
    }
    note = hold("a");
    assert_true(note.there);
    unfinished_end(&note, false);
}

static void make_old(const char *name, time_t days)
{
    struct unfinished note = hold(name);
    struct timespec times[2] = {{.tv_sec = time(NULL) - days * 86400}, {.tv_sec = time(NULL) - days * 86400}};
    assert_true(note.there);
    assert_int_equal(close(note.fd), 0); /* as one that was killed leaves it */
    assert_int_equal(utimensat(AT_FDCWD, note.path, times, 0), 0);
}

static void test_old_ones_go(void **nothing)
{
    (void)nothing;
    leave("old");
    leave("newer");
    leave("held");
    make_old("old", UNFINISHED_DAYS + 1);
    make_old("newer", UNFINISHED_DAYS - 1);
    make_old("held", UNFINISHED_DAYS + 1);
    struct unfinished held = hold("held"), another = hold("another");
    struct unfinished_key old = key_of("old"), newer = key_of("newer");
    struct unfinished note;
    assert_int_equal(unfinished_hold(&old, false, &note, NULL), OUTCOME_ABSENT);
    assert_int_equal(unfinished_hold(&newer, false, &note, NULL), OUTCOME_OK);
    unfinished_end(&note, false);
    unfinished_end(&another, false);
    assert_true(held.there);
    unfinished_end(&held, false);
    note = hold("newer");
    unfinished_end(&note, false);
    assert_int_equal(count_notes(), 0);
}

static void test_many_are_bounded(void **nothing)
{
    (void)nothing;
    char name[32];
    leave("oldest");
    make_old("oldest", 2);
    for (unsigned i = 1; i < UNFINISHED_MAX; i++) {
        snprintf(name, sizeof name, "%u", i);
        leave(name);
    }
    assert_int_equal(count_notes(), UNFINISHED_MAX);
    leave("one more");
    assert_int_equal(count_notes(), UNFINISHED_MAX);
    struct unfinished_key oldest = key_of("oldest");
    struct unfinished note;
    assert_int_equal(unfinished_hold(&oldest, false, &note, NULL), OUTCOME_ABSENT);
}

static void test_no_folder(void **nothing)
{
    (void)nothing;
    struct unfinished_key key = key_of("a");
    struct unfinished note;
    struct failure why = {.text = ""};
    key.folder = NULL;
    assert_int_equal(unfinished_hold(&key, true, &note, &why), OUTCOME_LOCAL);
    assert_int_not_equal(why.text[0], '\0');
    key.folder = "/proc/none";
    assert_int_equal(unfinished_hold(&key, true, &note, &why), OUTCOME_LOCAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_taken_up_again), cmocka_unit_test(test_told_from_others),
        cmocka_unit_test(test_held_by_one),    cmocka_unit_test(test_spoilt),
        cmocka_unit_test(test_old_ones_go),    cmocka_unit_test(test_many_are_bounded),
        cmocka_unit_test(test_no_folder),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
