/* fileshare_put_many and fileshare_get_many against a real server, also when the way is cut. */
#include "client/crowd.h"
#include "client/daemon.h"
#include "client/proxy.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/must.h"

static struct daemon server;
static struct fileshare *session;

static int begin(void **state)
{
    (void)state;
    daemon_begin(&server);
    session = daemon_session(&server, server.tcp, 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(session);
    daemon_end(&server);
    return 0;
}

static struct crowd *put_crowd(const char *prefix, size_t count, size_t step, size_t most)
{
    struct fileshare_error error = {0};
    struct crowd *crowd = crowd_new(server.folder, prefix, count, step, most, 7);
    must(crowd_put(crowd, session, &error), error);
    crowd_all(crowd, FILESHARE_OK);
    return crowd;
}

static void there_and_back(const char *prefix, size_t count, size_t step, size_t most)
{
    struct fileshare_error error = {0};
    struct crowd *crowd = put_crowd(prefix, count, step, most);
    must(crowd_get(crowd, session, server.folder, &error), error);
    crowd_all(crowd, FILESHARE_OK);
    crowd_compare(crowd);
    crowd_free(crowd);
}

static void test_many_small(void **state)
{
    (void)state;
    there_and_back("small", 1500, 1, 2000);
}

/* Empty, in the database, in blobs, too large for a bundle, too large for a reply: in one order, in one call. */
static void test_all_sizes(void **state)
{
    (void)state;
    there_and_back("sizes", 60, 61111, 3000000);
    there_and_back("around", 30, 16384, 200000);
}

static void test_none(void **state)
{
    (void)state;
    there_and_back("none", 0, 1, 1);
}

static void test_unchanged_kept_and_replaced(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    struct crowd *crowd = put_crowd("again", 300, 37, 9000);
    struct fileshare_id first = crowd->versions[5];
    for (int replace = 0; replace < 2; replace++) {
        crowd->replace = replace;
        must(crowd_put(crowd, session, &error), error);
        crowd_all(crowd, FILESHARE_OK);
        for (size_t n = 0; n < crowd->count; n++)
            assert_true(crowd->unchanged[n]);
        assert_memory_equal(&crowd->versions[5], &first, sizeof first);
    }
    struct crowd *other = crowd_new(server.folder, "again", 300, 41, 9000, 8);
    must(crowd_put(other, session, &error), error);
    for (size_t n = 1; n < other->count; n++)
        assert_int_equal(other->statuses[n], FILESHARE_EXISTS);
    assert_int_equal(other->statuses[0], FILESHARE_OK); /* both are empty */
    other->replace = true;
    must(crowd_put(other, session, &error), error);
    crowd_all(other, FILESHARE_OK);
    for (size_t n = 0; n < other->count; n++)
        assert_int_equal(other->unchanged[n], n == 0);
    must(crowd_get(other, session, server.folder, &error), error);
    crowd_compare(other);
    crowd_free(crowd);
    crowd_free(other);
}

/* ---- files that are none, names that cannot be ---- */

struct list {
    const struct fileshare_put_file *puts;
    const struct fileshare_get_file *gets;
    size_t count, taken, told;
    enum fileshare_status statuses[16];
};

static bool list_put(void *context, struct fileshare_put_file *out)
{
    struct list *list = context;
    if (list->taken == list->count)
        return false;
    *out = list->puts[list->taken++];
    return true;
}

static void list_put_told(void *context, const struct fileshare_put_file *file,
                          const struct fileshare_entry *entry, bool unchanged,
                          const struct fileshare_error *error)
{
    struct list *list = context;
    (void)entry;
    (void)unchanged;
    assert_string_equal(file->name, list->puts[list->told].name);
    list->statuses[list->told++] = error->status;
}

static bool list_get(void *context, struct fileshare_get_file *out)
{
    struct list *list = context;
    if (list->taken == list->count)
        return false;
    *out = list->gets[list->taken++];
    return true;
}

static void list_get_told(void *context, const struct fileshare_get_file *file,
                          const struct fileshare_entry *entry, const struct fileshare_error *error)
{
    struct list *list = context;
    (void)entry;
    assert_string_equal(file->path, list->gets[list->told].path);
    list->statuses[list->told++] = error->status;
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void expect_text(const char *path, const char *text)
{
    char have[64] = "";
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("%s is not there", path);
    have[fread(have, 1, sizeof have - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(have, text);
}

static void test_each_fails_by_itself(void **state)
{
    (void)state;
    char a[128], b[128], folder[96], missing[128];
    struct fileshare_error error = {0};
    snprintf(folder, sizeof folder, "%s/mixed", server.folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    snprintf(a, sizeof a, "%s/a", folder);
    snprintf(b, sizeof b, "%s/b", folder);
    snprintf(missing, sizeof missing, "%s/missing", folder);
    write_file(a, "one");
    write_file(b, "two");
    const struct fileshare_put_file puts[] = {
        {.path = a, .name = "mixed/a"},
        {.path = missing, .name = "mixed/m"},
        {.path = folder, .name = "mixed/f"},
        {.path = b, .name = "mixed//b"},
        {.path = b, .name = "mixed/a"},
        {.path = b, .name = "mixed/a", .replace = true},
        {.path = a, .name = "mixed/a", .replace = true},
        {.path = "/proc/self/stat", .name = "mixed/proc"},
        {.path = b, .name = "mixed/b"},
    };
    static const enum fileshare_status expected[] = {FILESHARE_OK,      FILESHARE_LOCAL,  FILESHARE_LOCAL,
                                                     FILESHARE_INVALID, FILESHARE_EXISTS, FILESHARE_OK,
                                                     FILESHARE_OK,      FILESHARE_OK,     FILESHARE_OK};
    struct list list = {.puts = puts, .count = sizeof puts / sizeof *puts};
    const struct fileshare_put_many many = {.next = list_put, .told = list_put_told, .context = &list};
    must(fileshare_put_many(session, &many, &error), error);
    assert_int_equal(list.told, list.count);
    for (size_t n = 0; n < list.count; n++)
        if (list.statuses[n] != expected[n])
            fail_msg("put %zu: %d, not %d", n, (int)list.statuses[n], (int)expected[n]);
    get_ok(session, "mixed/a", "one", 3);
}

static void get_list(struct list *list, const char *folder, const enum fileshare_status *expected)
{
    struct fileshare_error error = {0};
    const struct fileshare_get_many many = {.folder = folder,
                                            .next = list_get,
                                            .told = list_get_told,
                                            .context = list};
    list->taken = list->told = 0;
    must(fileshare_get_many(session, &many, &error), error);
    assert_int_equal(list->told, list->count);
    for (size_t n = 0; n < list->count; n++)
        if (list->statuses[n] != expected[n])
            fail_msg("get %zu: %d, not %d", n, (int)list->statuses[n], (int)expected[n]);
}

static void test_where_files_land(void **state)
{
    (void)state;
    char folder[96], path[160], outside[128];
    snprintf(folder, sizeof folder, "%s/land", server.folder);
    snprintf(outside, sizeof outside, "%s/outside", server.folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(mkdir(outside, 0700), 0);
    snprintf(path, sizeof path, "%s/link", folder);
    assert_int_equal(symlink(outside, path), 0);
    snprintf(path, sizeof path, "%s/mine", folder);
    write_file(path, "mine");
    assert_int_equal(chmod(path, 0640), 0);
    snprintf(path, sizeof path, "%s/pointer", folder);
    assert_int_equal(symlink("mine", path), 0);
    put_ok(session, "land/x", "text", 4);
    const uint64_t unknown = UINT64_MAX;
    const struct fileshare_get_file gets[] = {
        {.name = "land/x", .path = "deep/er/x", .size = unknown},
        {.name = "land/x", .path = "deep/x", .size = 4},
        {.name = "land/x", .path = "link/x", .size = unknown},
        {.name = "land/x", .path = "../x", .size = unknown},
        {.name = "land/x", .path = "/tmp/x", .size = unknown},
        {.name = "land/x", .path = "mine", .size = unknown},
        {.name = "land/no", .path = "no", .size = unknown},
        {.name = "land//", .path = "bad", .size = unknown},
        {.name = "land/x", .path = "deep", .size = unknown},
        {.name = "land/x", .path = "deep/er/x", .size = 4},
        {.name = "land/x", .path = "last", .size = 3},
    };
    static const enum fileshare_status kept[] = {FILESHARE_OK,      FILESHARE_OK,      FILESHARE_LOCAL,
                                                 FILESHARE_INVALID, FILESHARE_INVALID, FILESHARE_EXISTS,
                                                 FILESHARE_ABSENT,  FILESHARE_INVALID, FILESHARE_EXISTS,
                                                 FILESHARE_EXISTS,  FILESHARE_OK};
    struct list list = {.gets = gets, .count = sizeof gets / sizeof *gets};
    get_list(&list, folder, kept);
    snprintf(path, sizeof path, "%s/deep/er/x", folder);
    expect_text(path, "text");
    snprintf(path, sizeof path, "%s/mine", folder);
    expect_text(path, "mine");
    snprintf(path, sizeof path, "%s/x", outside);
    assert_int_not_equal(access(path, F_OK), 0);

    /* With replace: the mode stays, a symbolic link goes itself, a folder stays. */
    const struct fileshare_get_file replaces[] = {
        {.name = "land/x", .path = "mine", .size = unknown, .replace = true},
        {.name = "land/x", .path = "pointer", .size = unknown, .replace = true},
        {.name = "land/x", .path = "deep", .size = unknown, .replace = true},
    };
    static const enum fileshare_status replaced[] = {FILESHARE_OK, FILESHARE_OK, FILESHARE_LOCAL};
    struct stat about;
    list = (struct list){.gets = replaces, .count = 3};
    get_list(&list, folder, replaced);
    snprintf(path, sizeof path, "%s/mine", folder);
    expect_text(path, "text");
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0640);
    snprintf(path, sizeof path, "%s/pointer", folder);
    assert_int_equal(lstat(path, &about), 0);
    assert_true(S_ISREG(about.st_mode));
    char command[200];
    snprintf(command, sizeof command, "test -z \"$(find %s -name '*.part')\"", folder);
    assert_int_equal(system(command), 0);
}

/* ---- the way is cut ---- */

/* Each cut falls elsewhere; all are stored, and each once: its version is the one that was told. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    struct fileshare *through = daemon_session(&server, proxy_address(proxy), 30);
    struct fileshare_error error = {0};
    unsigned cuts = 0;
    for (unsigned round = 0; round < 6; round++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "cut%u", round);
        struct crowd *crowd = crowd_new(server.folder, prefix, 400, 331, 20000, round);
        bool replies = round % 2;
        proxy_plan(proxy, 3, replies ? 0 : 30000 + round * 170000, replies ? 9000 + round * 7000 : 0);
        proxy_cut_all(proxy);
        must(crowd_put(crowd, through, &error), error);
        crowd_all(crowd, FILESHARE_OK);
        for (size_t n = 0; n < crowd->count; n += 50) {
            char name[64];
            struct fileshare_entry entry;
            snprintf(name, sizeof name, "%s/%zu", prefix, n);
            must(fileshare_stat(session, name, &entry, &error), error);
            assert_memory_equal(&entry.version, &crowd->versions[n], sizeof entry.version);
            assert_false(crowd->unchanged[n]);
        }
        proxy_plan(proxy, 3, 0, 40000 + round * 300000);
        proxy_cut_all(proxy);
        must(crowd_get(crowd, through, server.folder, &error), error);
        crowd_all(crowd, FILESHARE_OK);
        crowd_compare(crowd);
        proxy_plan(proxy, 0, 0, 0);
        crowd_free(crowd);
        cuts = proxy_cuts(proxy);
    }
    assert_true(cuts >= 18);
    fileshare_close(through);
    proxy_free(proxy);
}

/* One byte of one file is another one: that file alone fails. */
static void test_spoilt_byte(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    struct fileshare *through = daemon_session(&server, proxy_address(proxy), 0);
    struct fileshare_error error = {0};
    struct crowd *crowd = crowd_new(server.folder, "spoilt", 8, 3000, 24001, 3);
    proxy_spoil(proxy, 70000, 0);
    must(crowd_put(crowd, through, &error), error);
    size_t changed = 0;
    for (size_t n = 0; n < crowd->count; n++) {
        changed += crowd->statuses[n] == FILESHARE_CHANGED;
        if (crowd->statuses[n] != FILESHARE_CHANGED)
            assert_int_equal(crowd->statuses[n], FILESHARE_OK);
    }
    assert_int_equal(changed, 1);
    must(crowd_put(crowd, session, &error), error);
    proxy_spoil(proxy, 0, 75000);
    must(crowd_get(crowd, through, server.folder, &error), error);
    size_t corrupt = 0;
    for (size_t n = 0; n < crowd->count; n++) {
        corrupt += crowd->statuses[n] == FILESHARE_CORRUPT;
        if (crowd->statuses[n] != FILESHARE_CORRUPT)
            assert_int_equal(crowd->statuses[n], FILESHARE_OK);
    }
    assert_int_equal(corrupt, 1);
    crowd_free(crowd);
    fileshare_close(through);
    proxy_free(proxy);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    struct fileshare *through = daemon_session(&server, proxy_address(proxy), 0);
    struct fileshare_error error = {0};
    struct crowd *crowd = crowd_new(server.folder, "nobody", 600, 5, 3000, 3);
    proxy_refuse(proxy, true);
    must(crowd_put(crowd, through, &error), error);
    crowd_all(crowd, FILESHARE_UNREACHABLE);
    must(crowd_get(crowd, through, server.folder, &error), error);
    crowd_all(crowd, FILESHARE_UNREACHABLE);
    proxy_refuse(proxy, false);
    must(crowd_put(crowd, through, &error), error);
    crowd_all(crowd, FILESHARE_OK);
    crowd_free(crowd);
    fileshare_close(through);
    proxy_free(proxy);
}

static void test_stop(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    struct crowd *crowd = crowd_new(server.folder, "stop", 1200, 5, 4000, 3);
    crowd->stops = session;
    crowd->stops_after = 100;
    assert_int_equal(crowd_put(crowd, session, &error), FILESHARE_STOPPED);
    assert_in_range(crowd->told, 100, 1199);
    crowd->stops = NULL;
    must(crowd_put(crowd, session, &error), error);
    crowd_all(crowd, FILESHARE_OK);
    crowd->stops = session;
    assert_int_equal(crowd_get(crowd, session, server.folder, &error), FILESHARE_STOPPED);
    assert_in_range(crowd->told, 100, 1199);
    crowd_free(crowd);
}

/* What an entry says is stored and is not fails alone; the others of its reply come, those that share its blob, too. */
static void test_damaged_on_the_server(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    struct crowd *crowd = put_crowd("damaged", 12, 3000, 33001);
    char command[400];
    snprintf(
        command, sizeof command,
        "f=$(find %s -path '*/blobs/*' -type f -printf '%%T@ %%p\\n' | sort -n | tail -n 1 | cut -d' ' -f2-) "
        "&& test -n \"$f\" && truncate -s -1 \"$f\"",
        server.folder);
    assert_int_equal(system(command), 0);
    must(crowd_get(crowd, session, server.folder, &error), error);
    size_t wrong = 0;
    for (size_t n = 0; n < crowd->count; n++)
        wrong += crowd->statuses[n] != FILESHARE_OK;
    assert_int_equal(wrong, 1);
    crowd_free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many_small),
        cmocka_unit_test(test_all_sizes),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_unchanged_kept_and_replaced),
        cmocka_unit_test(test_each_fails_by_itself),
        cmocka_unit_test(test_where_files_land),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_spoilt_byte),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_damaged_on_the_server),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
