/*
 * Folders and small files: whole or not at all. Trouble is made with real means:
 * a file size limit breaks a write in its middle, /dev/full has no room.
 */
#include "base/disk.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[PLACE_SIZE];

static int make_folder(void **state)
{
    (void)state;
    return place_make(folder, place_on_disk(), "disk") ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* A path in the test's folder; static, one at a time. */
static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int entries(void)
{
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    int count = -2; /* . and .. */
    while (readdir(listing))
        count++;
    closedir(listing);
    return count;
}

static void holds(const char *path, const char *expected)
{
    char *text = NULL;
    size_t count = 999;
    struct failure why = {.text = ""};
    if (disk_read_whole(path, 100000, &text, &count, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    assert_string_equal(text, expected);
    assert_int_equal(count, strlen(expected));
    free(text);
}

static void test_folders_are_made_with_what_is_above(void **state)
{
    (void)state;
    struct stat status;
    struct failure why = {.text = ""};
    assert_int_equal(disk_make_folder(in_folder("a/b//c/"), 0700, &why), OUTCOME_OK);
    assert_int_equal(stat(in_folder("a/b"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(stat(in_folder("a/b/c"), &status), 0);
    assert_int_equal(disk_make_folder(in_folder("a/b/c"), 0700, &why), OUTCOME_OK);
    assert_int_equal(disk_make_folder("/", 0700, &why), OUTCOME_OK);
    assert_int_equal(symlink("a", in_folder("link")), 0);
    assert_int_equal(disk_make_folder(in_folder("link/d"), 0700, &why), OUTCOME_OK);
    assert_int_equal(stat(in_folder("a/d"), &status), 0);
}

static void test_folders_that_cannot_be(void **state)
{
    (void)state;
    struct failure why = {.text = ""};
    assert_int_equal(disk_write_whole(in_folder("file"), 0600, "", 0, &why), OUTCOME_OK);
    assert_int_equal(disk_make_folder(in_folder("file"), 0700, &why), OUTCOME_LOCAL);
    assert_non_null(strstr(why.text, "/file is there and is not a folder"));
    assert_int_equal(disk_make_folder(in_folder("file/x"), 0700, &why), OUTCOME_LOCAL);
    assert_int_equal(disk_make_folder("/proc/no/such", 0700, &why), OUTCOME_LOCAL);
    assert_non_null(strstr(why.text, "/proc/no"));
    assert_int_equal(disk_make_folder("", 0700, &why), OUTCOME_LOCAL);
    char path[PATH_MAX + 1];
    memset(path, 'x', PATH_MAX);
    path[PATH_MAX] = '\0';
    assert_int_equal(disk_make_folder(path, 0700, &why), OUTCOME_LOCAL);
    assert_non_null(strstr(why.text, "File name too long"));
}

static void test_a_file_is_written_and_replaced(void **state)
{
    (void)state;
    struct stat status;
    struct failure why = {.text = ""};
    mode_t before = umask(022);
    assert_int_equal(disk_write_whole(in_folder("f"), 0600, "one", 3, &why), OUTCOME_OK);
    holds(in_folder("f"), "one");
    assert_int_equal(stat(in_folder("f"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(disk_write_whole(in_folder("f"), 0666, "two and more", 12, &why), OUTCOME_OK);
    umask(before);
    holds(in_folder("f"), "two and more");
    assert_int_equal(stat(in_folder("f"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0644); /* what umask leaves */
    assert_int_equal(disk_write_whole(in_folder("f"), 0600, NULL, 0, &why), OUTCOME_OK);
    holds(in_folder("f"), "");
    assert_int_equal(entries(), 1);

    char longest[256]; /* as long as names get: the temporary one must not be longer */
    memset(longest, 'n', 255);
    longest[255] = '\0';
    assert_int_equal(disk_write_whole(in_folder(longest), 0600, "x", 1, &why), OUTCOME_OK);
    assert_int_equal(entries(), 2);
}

static void test_a_path_without_a_folder(void **state)
{
    (void)state;
    char before[PATH_MAX];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(disk_write_whole("plain", 0600, "x", 1, NULL), OUTCOME_OK);
    assert_int_equal(chdir(before), 0);
    holds(in_folder("plain"), "x");
}

static void test_a_write_that_fails_changes_nothing(void **state)
{
    (void)state;
    static char bytes[100000];
    struct failure why = {.text = ""};
    assert_int_equal(disk_write_whole(in_folder("f"), 0600, "old", 3, &why), OUTCOME_OK);

    /* the limit breaks the write in its middle */
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 65536;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    enum outcome outcome = disk_write_whole(in_folder("f"), 0600, bytes, sizeof bytes, &why);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(outcome, OUTCOME_LOCAL);
    assert_non_null(strstr(why.text, "/f: File too large"));
    holds(in_folder("f"), "old");
    assert_int_equal(entries(), 1);

    /* the rename fails */
    assert_int_equal(mkdir(in_folder("d"), 0700), 0);
    assert_int_equal(disk_write_whole(in_folder("d"), 0600, "x", 1, &why), OUTCOME_LOCAL);
    assert_int_equal(disk_write_whole(in_folder("f/"), 0600, "x", 1, &why), OUTCOME_LOCAL);
    assert_int_equal(disk_write_whole(in_folder("e/"), 0600, "x", 1, &why), OUTCOME_LOCAL);
    assert_int_equal(entries(), 2);

    assert_int_equal(disk_write_whole(in_folder("no/f"), 0600, "x", 1, &why), OUTCOME_LOCAL);
    assert_non_null(strstr(why.text, "/no: No such file or directory"));
}

enum { WHOLE = 50000 };

static _Atomic int reading;

static void *read_again_and_again(void *path)
{
    while (reading) {
        char *text;
        size_t count;
        if (disk_read_whole(path, WHOLE, &text, &count, NULL) != OUTCOME_OK)
            return (void *)1;
        bool mixed = count != WHOLE || memchr(text, text[0] == 'a' ? 'b' : 'a', count);
        free(text);
        if (mixed)
            return (void *)2;
    }
    return NULL;
}

static void test_readers_see_old_or_new_and_nothing_else(void **state)
{
    (void)state;
    static char old[WHOLE], new[WHOLE];
    memset(old, 'a', sizeof old);
    memset(new, 'b', sizeof new);
    char path[128];
    snprintf(path, sizeof path, "%s/f", folder);
    assert_int_equal(disk_write_whole(path, 0600, old, sizeof old, NULL), OUTCOME_OK);
    pthread_t thread;
    reading = 1;
    assert_int_equal(pthread_create(&thread, NULL, read_again_and_again, path), 0);
    for (int i = 0; i < 50; i++)
        assert_int_equal(disk_write_whole(path, 0600, i % 2 ? old : new, WHOLE, NULL), OUTCOME_OK);
    reading = 0;
    void *trouble;
    assert_int_equal(pthread_join(thread, &trouble), 0);
    assert_null(trouble);
}

static void test_a_killed_writer_leaves_a_whole_file(void **state)
{
    (void)state;
    static char bytes[WHOLE];
    memset(bytes, 'a', sizeof bytes);
    char path[128];
    snprintf(path, sizeof path, "%s/f", folder);
    assert_int_equal(disk_write_whole(path, 0600, bytes, sizeof bytes, NULL), OUTCOME_OK);
    for (int round = 0; round < 10; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (unsigned i = 0;; i++) {
                memset(bytes, i % 2 ? 'a' : 'b', sizeof bytes);
                if (disk_write_whole(path, 0600, bytes, sizeof bytes, NULL) != OUTCOME_OK)
                    _exit(1);
            }
        }
        usleep((useconds_t)(1000 + 700 * round)); /* somewhere in the middle; where does not matter */
        kill(child, SIGKILL);
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        char *text;
        size_t count;
        assert_int_equal(disk_read_whole(path, WHOLE, &text, &count, NULL), OUTCOME_OK);
        assert_int_equal(count, WHOLE);
        assert_null(memchr(text, text[0] == 'a' ? 'b' : 'a', count));
        free(text);
    }
}

static void test_reading_stops_at_the_limit(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4093, 4094, 4095, 4096, 4097, 20000};
    static char bytes[20000];
    memset(bytes, 'z', sizeof bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char *text = NULL;
        size_t count = 77;
        struct failure why = {.text = ""};
        assert_int_equal(disk_write_whole(in_folder("f"), 0600, bytes, sizes[i], NULL), OUTCOME_OK);
        assert_int_equal(disk_read_whole(in_folder("f"), sizes[i], &text, &count, &why), OUTCOME_OK);
        assert_int_equal(count, sizes[i]);
        assert_int_equal(strlen(text), sizes[i]);
        free(text);
        text = NULL;
        assert_int_equal(disk_read_whole(in_folder("f"), SIZE_MAX, &text, &count, &why), OUTCOME_OK);
        assert_int_equal(count, sizes[i]);
        free(text);
        if (sizes[i] == 0)
            continue;
        text = NULL;
        count = 77;
        assert_int_equal(disk_read_whole(in_folder("f"), sizes[i] - 1, &text, &count, &why), OUTCOME_LIMIT);
        assert_null(text);
        assert_int_equal(count, 77);
    }
}

static void test_what_cannot_be_read(void **state)
{
    (void)state;
    char *text = NULL;
    size_t count;
    struct failure why = {.text = ""};
    assert_int_equal(disk_read_whole(in_folder("none"), 10, &text, &count, &why), OUTCOME_ABSENT);
    assert_non_null(strstr(why.text, "/none: No such file"));
    assert_int_equal(disk_read_whole(folder, 10, &text, &count, &why), OUTCOME_LOCAL);
    assert_int_equal(disk_read_whole("/dev/zero", 100000, &text, &count, &why), OUTCOME_LIMIT);
    assert_null(text);
}

static void test_reading_and_writing_at_an_offset(void **state)
{
    (void)state;
    int fd = open(in_folder("f"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    char got[8] = "";
    struct failure why = {.text = ""};
    uint64_t far = (uint64_t)5 << 30; /* beyond 4 GiB, sparse */
    assert_int_equal(disk_write_at(fd, "hello", 5, far, "f", &why), OUTCOME_OK);
    assert_int_equal(disk_read_at(fd, got, 5, far, "f", &why), OUTCOME_OK);
    assert_string_equal(got, "hello");
    assert_int_equal(disk_read_at(fd, got, 0, far + 100, "f", &why), OUTCOME_OK);
    assert_int_equal(disk_read_at(fd, got, 6, far, "f", &why), OUTCOME_LOCAL);
    assert_string_equal(why.text, "f ends at byte 5368709125, 1 bytes early");
    assert_int_equal(disk_read_at(fd, got, 1, INT64_MAX, "f", &why), OUTCOME_LOCAL);
    assert_int_equal(disk_write_at(fd, got, 1, UINT64_MAX, "f", &why), OUTCOME_LOCAL);
    assert_non_null(strstr(why.text, "File too large"));
    close(fd);

    fd = open("/dev/full", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(disk_write_at(fd, "x", 1, 0, "the full one", &why), OUTCOME_NOSPACE);
    assert_string_equal(why.text, "cannot write the full one: No space left on device");
    close(fd);
    assert_int_equal(disk_write_at(-1, "x", 1, 0, "none", &why), OUTCOME_LOCAL);
    assert_int_equal(disk_read_at(-1, got, 1, 0, "none", &why), OUTCOME_LOCAL);
}

static void test_free_bytes_and_sync(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    struct failure why = {.text = ""};
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(disk_free_bytes(fd, &bytes, &why), OUTCOME_OK);
    assert_true(bytes > 0);
    assert_int_equal(disk_sync_folder(fd, folder, &why), OUTCOME_OK);
    close(fd);
    bytes = 77;
    assert_int_equal(disk_free_bytes(-1, &bytes, &why), OUTCOME_LOCAL);
    assert_int_equal(bytes, 77);
    assert_int_equal(disk_sync_folder(-1, "/x", &why), OUTCOME_LOCAL);
    assert_non_null(strstr(why.text, "/x"));
}

/* A thousand names, folders in folders, links that lead out. */
static void test_a_tree_is_removed(void **state)
{
    (void)state;
    char tree[PLACE_SIZE + 32], path[PLACE_SIZE + 96], outside[PLACE_SIZE + 32];
    struct stat status;
    snprintf(outside, sizeof outside, "%s/outside", folder);
    assert_int_equal(mkdir(outside, 0700), 0);
    snprintf(tree, sizeof tree, "%s/tree", folder);
    snprintf(path, sizeof path, "%s/one/two/three/four/five/six", tree);
    assert_int_equal(disk_make_folder(path, 0700, NULL), OUTCOME_OK);
    for (int i = 0; i < 1000; i++) {
        snprintf(path, sizeof path, "%s/one/%s-%d", tree, "a-name-that-is-long-enough-for-many-pages", i);
        assert_int_equal(i % 3 == 0 ? mkdir(path, 0700) : symlink(outside, path), 0);
    }
    disk_remove_tree(tree);
    assert_int_equal(lstat(tree, &status), -1);
    assert_int_equal(lstat(outside, &status), 0);
    disk_remove_tree(outside);
    assert_int_equal(lstat(outside, &status), -1);
    disk_remove_tree(outside); /* nothing there */
    snprintf(path, sizeof path, "%s/file", folder);
    assert_int_equal(disk_write_whole(path, 0600, "x", 1, NULL), OUTCOME_OK);
    disk_remove_tree(path);
    assert_int_equal(lstat(path, &status), -1);
}

static void path_is(const char *variable, const char *home, const char *expected)
{
    char *path = NULL;
    struct failure why = {.text = ""};
    unsetenv("DISK_TEST_HOME");
    unsetenv("HOME");
    if (variable)
        setenv("DISK_TEST_HOME", variable, 1);
    if (home)
        setenv("HOME", home, 1);
    enum outcome outcome = disk_user_path("DISK_TEST_HOME", ".local/state", "fileshare/x", &path, &why);
    if (expected) {
        assert_int_equal(outcome, OUTCOME_OK);
        assert_string_equal(path, expected);
    } else {
        assert_int_equal(outcome, OUTCOME_LOCAL);
        assert_null(path);
        assert_non_null(strstr(why.text, "DISK_TEST_HOME"));
    }
    free(path);
}

static void test_paths_of_the_user(void **state)
{
    (void)state;
    path_is("/state", "/home/u", "/state/fileshare/x");
    path_is(NULL, "/home/u", "/home/u/.local/state/fileshare/x");
    path_is("relative", "/home/u", "/home/u/.local/state/fileshare/x");
    path_is("", "/home/u", "/home/u/.local/state/fileshare/x");
    path_is(NULL, NULL, NULL);
    path_is("relative", "relative", NULL);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_folders_are_made_with_what_is_above),
        IN_FOLDER(test_folders_that_cannot_be),
        IN_FOLDER(test_a_file_is_written_and_replaced),
        IN_FOLDER(test_a_path_without_a_folder),
        IN_FOLDER(test_a_write_that_fails_changes_nothing),
        IN_FOLDER(test_readers_see_old_or_new_and_nothing_else),
        IN_FOLDER(test_a_killed_writer_leaves_a_whole_file),
        IN_FOLDER(test_reading_stops_at_the_limit),
        IN_FOLDER(test_what_cannot_be_read),
        IN_FOLDER(test_reading_and_writing_at_an_offset),
        IN_FOLDER(test_free_bytes_and_sync),
        IN_FOLDER(test_a_tree_is_removed),
        cmocka_unit_test(test_paths_of_the_user),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
