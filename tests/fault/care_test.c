/*
 * What looks after a store is killed at each of its named places (base/fault.h,
 * "care-..."): fsck --repair, backup, the steps from one form of the store to
 * the next; and a store that is copied back is broken off after each file.
 * Each time it is done again, and nothing is lost.
 */
#include "fault/crash_places.h"
#include "fault/stock.h"

#include "base/scoped.h"
#include "client/daemon.h"
#include "fixture.h"
#include "server/store/local/database.h"
#include "server/store/local/schema.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { PASSES_MAX = 40, FORMS = SCHEMA_VERSION + 3 };

static struct crash_places places;
static struct stock stock;
static const char *self;
static unsigned kills;

static int set_up(void **state)
{
    (void)state;
    crash_places_list(&places, "fileshared");
    stock_begin(&stock);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    print_message("%u kills\n", kills);
    stock_end(&stock);
    return 0;
}

/* Runs it with the crash at that place, passed for the nth time; false: it was not passed so often. */
static bool run_killed(const char *name, unsigned passes, const char *words)
{
    static struct stock_said said;
    char crash[CRASH_PLACE_ROOM + 16];
    snprintf(crash, sizeof crash, "%s:%u", name, passes);
    stock_run(&stock, crash, &said, "%s", words);
    kills += said.code < 0;
    return said.code < 0;
}

static void run_well(const char *words)
{
    static struct stock_said said;
    stock_run(&stock, NULL, &said, "%s", words);
    if (said.code != 0)
        fail_msg("%s: %d: %s", words, said.code, said.text);
}

/* Calls `one` for each name of `prefix` and each time it is passed, until it is not. */
static void at_each(const char *prefix, bool (*one)(const char *name, unsigned passes))
{
    unsigned found = 0;
    for (unsigned i = 0; i < places.count; i++) {
        unsigned passes = 1;
        if (!crash_place_begins(places.names[i], prefix))
            continue;
        while (passes < PASSES_MAX && one(places.names[i], passes))
            passes++;
        if (passes == 1)
            fail_msg("%s is never passed", places.names[i]);
        found++;
    }
    assert_true(found > 0);
}

/* ---- repair ---- */

/* file-02: its bytes are altered; file-04: cut; file-05: in the database, altered; file-06: no content; file-08: no name. */
static const unsigned spoiled[] = {2, 4, 5, 6, 8};

static bool is_spoiled(unsigned i)
{
    for (size_t at = 0; at < sizeof spoiled / sizeof spoiled[0]; at++)
        if (spoiled[at] == i)
            return true;
    return false;
}

static void spoil(const char *store)
{
    char path[STOCK_PATH], orphan[STOCK_PATH + 64];
    stock_blob_path(&stock, store, &stock.files[2].blob, path);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "???", 3, 500), 3);
    close(fd);
    stock_blob_path(&stock, store, &stock.files[4].blob, path);
    assert_int_equal(truncate(path, 100), 0);
    stock_blob_path(&stock, store, &stock.files[6].blob, path);
    assert_int_equal(unlink(path), 0);
    stock_sql(&stock, store,
              "UPDATE content SET bytes = zeroblob(size) WHERE id = (SELECT content FROM entry WHERE name = "
              "'file-05');"
              "DELETE FROM entry WHERE name = 'file-08';"
              "UPDATE interest SET mailbox = 999 WHERE pattern = 'never';"
              "UPDATE store SET files = 77;");
    for (unsigned i = 0; i < 3; i++) {
        snprintf(orphan, sizeof orphan, "%s/blobs/00/0011223344556677889900112233445%u",
                 stock_path(&stock, store, path), i);
        close(open(orphan, O_WRONLY | O_CREAT, 0600));
    }
}

static void expect_lost(const char *store, const char *leaf, unsigned long long size)
{
    char folder[STOCK_PATH], path[STOCK_PATH + 80];
    struct stat status;
    snprintf(path, sizeof path, "%s/lost/%s", stock_path(&stock, store, folder), leaf);
    if (stat(path, &status) < 0 || (unsigned long long)status.st_size != size)
        fail_msg("%s should have %llu bytes", path, size);
}

/* What could be kept of those that went is in lost/, and lost/list says of what it is. */
static void expect_set_aside(const char *store)
{
    char folder[STOCK_PATH], path[STOCK_PATH + 16], text[8192], version[40], *at, unnamed[ID_TEXT_SIZE + 16];
    snprintf(path, sizeof path, "%s/lost/list", stock_path(&stock, store, folder));
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    for (size_t i = 0; i < 4; i++) {
        const char *name = stock.files[spoiled[i]].name;
        at = strstr(text, name);
        assert_non_null(at);
        while (at > text && at[-1] != '\n')
            at--;
        snprintf(version, sizeof version, "%.32s", at);
        if (spoiled[i] != 6)
            expect_lost(store, version, spoiled[i] == 4 ? 100 : stock.files[spoiled[i]].size);
    }
    id_text(&stock.files[8].blob, unnamed);
    expect_lost(store, unnamed, stock.files[8].size);
    strcat(unnamed, " unnamed\n");
    assert_non_null(strstr(text, unnamed));
}

static bool repair_killed(const char *name, unsigned passes)
{
    bool bad[STOCK_FILES];
    for (unsigned i = 0; i < STOCK_FILES; i++)
        bad[i] = is_spoiled(i);
    stock_copy(&stock, "spoiled", "store");
    if (!run_killed(name, passes, "fsck --deep --repair --store store"))
        return false;
    run_well("fsck --deep --repair --store store");
    run_well("fsck --deep --store store");
    stock_expect(&stock, "store", bad);
    expect_set_aside("store");
    return true;
}

static void test_repair(void **state)
{
    (void)state;
    stock_copy(&stock, "base", "spoiled");
    spoil("spoiled");
    at_each("care-repair-", repair_killed);
    at_each("care-facts-", repair_killed);
}

/* ---- backup ---- */

/* Folders that a backup left which was broken off. */
static unsigned left_over(bool remove)
{
    char command[256];
    unsigned count = 0;
    DIR *folder = opendir(stock.folder);
    assert_non_null(folder);
    for (struct dirent *at = readdir(folder); at; at = readdir(folder))
        count += crash_place_begins(at->d_name, "copy.new-");
    closedir(folder);
    snprintf(command, sizeof command, "rm -rf '%s'/copy.new-* '%s'/copy", stock.folder, stock.folder);
    if (remove)
        assert_int_equal(system(command), 0);
    return count;
}

static bool backup_killed(const char *name, unsigned passes)
{
    char path[STOCK_PATH];
    const char *words = crash_place_begins(name, "care-blob-") ? "backup --copy --store base copy"
                                                               : "backup --store base copy";
    left_over(true);
    if (!run_killed(name, passes, words))
        return false;
    /* There as a whole, or not at all. */
    bool there = access(stock_path(&stock, "copy", path), F_OK) == 0;
    assert_int_equal(left_over(false), there ? 0 : 1);
    if (!there)
        run_well(words);
    run_well("fsck --deep --store copy");
    run_well("fsck --deep --store base");
    stock_expect(&stock, "copy", NULL);
    return true;
}

static void test_backup(void **state)
{
    (void)state;
    at_each("care-backup-", backup_killed);
    at_each("care-blob-", backup_killed);
    left_over(true);
    stock_expect(&stock, "base", NULL);
}

/* ---- forms ---- */

static const struct schema_step steps[] = {
    {SCHEMA_VERSION, "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1);"},
    {SCHEMA_VERSION + 1, "UPDATE t SET a = a * 10; CREATE TABLE u (b INTEGER);"},
    {SCHEMA_VERSION + 2, "UPDATE t SET a = a + 3; DROP TABLE u;"},
    {0, NULL},
};

static int64_t number(struct database *db, const char *text)
{
    scoped_query struct query q = query_on(db, text);
    assert_int_equal(query_row(&q, NULL), OUTCOME_OK);
    return column_int(&q);
}

/* This program again, for that alone. */
static int upgrade(const char *path)
{
    struct database *db = NULL;
    struct failure why;
    if (database_open(path, false, &db, &why) != OUTCOME_OK ||
        schema_upgrade(db, steps, (int)number(db, "PRAGMA user_version"), FORMS, &why) != OUTCOME_OK) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    database_close(db);
    return 0;
}

static bool upgrade_killed(const char *name, unsigned passes)
{
    char path[STOCK_PATH + 16], folder[STOCK_PATH], command[768];
    struct database *db = NULL;
    struct failure why;
    stock_copy(&stock, "base", "store");
    snprintf(path, sizeof path, "%s/fileshare.db", stock_path(&stock, "store", folder));
    snprintf(command, sizeof command, "FILESHARE_CRASH_AT=%s:%u exec '%s' upgrade '%s' 2>&1", name, passes,
             self, path);
    bool killed = system(command) != 0;
    kills += killed;
    assert_int_equal(upgrade(path), 0); /* goes on where it came to */
    assert_int_equal(database_open(path, false, &db, &why), OUTCOME_OK);
    assert_int_equal(number(db, "PRAGMA user_version"), FORMS);
    assert_int_equal(number(db, "SELECT sum(a) FROM t"), 13);
    assert_int_equal(number(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'u'"), 0);
    assert_int_equal(database_execute(db, "DROP TABLE t;", &why), OUTCOME_OK);
    snprintf(command, sizeof command, "PRAGMA user_version = %d;", SCHEMA_VERSION);
    assert_int_equal(database_execute(db, command, &why), OUTCOME_OK);
    database_close(db);
    stock_expect(&stock, "store", NULL);
    return killed;
}

/* A store of the first form (tests/fixtures), and the product's own steps. */
static bool old_form_killed(const char *name, unsigned passes)
{
    char path[STOCK_PATH], file[512], *statements = fixture_store(1);
    struct database *db = NULL;
    assert_non_null(statements);
    snprintf(file, sizeof file, "rm -rf '%s'", stock_path(&stock, "old", path));
    assert_int_equal(system(file), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(file, sizeof file, "%s/fileshare.db", path);
    assert_int_equal(database_open(file, true, &db, NULL), OUTCOME_OK);
    assert_int_equal(database_execute(db, statements, NULL), OUTCOME_OK);
    database_close(db);
    free(statements);
    bool killed = run_killed(name, passes, "fsck --store old");
    run_well("fsck --deep --store old");
    assert_int_equal(database_open(file, false, &db, NULL), OUTCOME_OK);
    assert_int_equal(number(db, "PRAGMA user_version"), SCHEMA_VERSION);
    assert_int_equal(number(db, "SELECT count(*) FROM entry"), 2);
    assert_int_equal(number(db, "SELECT count(*) FROM interest"), 1);
    database_close(db);
    return killed;
}

static bool making_killed(const char *name, unsigned passes)
{
    char path[STOCK_PATH], command[256];
    struct daemon daemon = {.pid = 0};
    char setting[128];
    const char *environment[] = {setting, NULL};
    snprintf(command, sizeof command, "rm -rf '%s'", stock_path(&stock, "fresh", path));
    assert_int_equal(system(command), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(daemon.folder, sizeof daemon.folder, "%.50s/fresh", stock.folder);
    snprintf(setting, sizeof setting, "FILESHARE_CRASH_AT=%s:%u", name, passes);
    daemon.environment = environment;
    daemon_launch(&daemon);
    bool killed = !daemon_await(&daemon);
    kills += killed;
    daemon.environment = NULL;
    if (killed)
        daemon_start(&daemon);
    daemon_stop(&daemon, SIGTERM);
    run_well("fsck --deep --store fresh/store");
    return killed;
}

static void test_forms(void **state)
{
    (void)state;
    at_each("care-schema-stepped", upgrade_killed);
    at_each("care-schema-committed", upgrade_killed);
    at_each("care-schema-stepped", old_form_killed);
    at_each("care-schema-committed", old_form_killed);
    at_each("care-schema-made", making_killed);
}

/* ---- restore ---- */

enum { PATHS = 64 };

/* The files of the store, blobs first. */
static unsigned list_files(char paths[][STOCK_PATH])
{
    char command[256];
    unsigned count = 0;
    snprintf(command, sizeof command, "cd '%s/base' && find . -type f -printf '%%P\\n' | sort", stock.folder);
    FILE *list = popen(command, "re");
    assert_non_null(list);
    while (count < PATHS && fgets(paths[count], STOCK_PATH, list)) {
        paths[count][strcspn(paths[count], "\n")] = '\0';
        count++;
    }
    assert_int_equal(pclose(list), 0);
    return count;
}

/* One file of "base" into "part/store"; half of it, as a copy leaves it that is broken off. */
static void copy_one(const char *path, bool half)
{
    char command[1024];
    snprintf(command, sizeof command,
             "cd '%s' && mkdir -p \"part/store/$(dirname '%s')\" && cp 'base/%s' 'part/store/%s'",
             stock.folder, path, path, path);
    assert_int_equal(system(command), 0);
    struct stat status;
    snprintf(command, sizeof command, "%s/part/store/%s", stock.folder, path);
    assert_int_equal(stat(command, &status), 0);
    if (half)
        assert_int_equal(truncate(command, status.st_size / 2), 0);
}

static bool is_content(const char *path)
{
    return crash_place_begins(path, "blobs/");
}

/* The server, too, does not take it for a new store: the content would be swept. */
static void expect_no_start(unsigned content)
{
    char command[256];
    unsigned found = 0;
    struct daemon daemon = {.pid = 0};
    snprintf(daemon.folder, sizeof daemon.folder, "%.50s/part", stock.folder);
    daemon_launch(&daemon);
    if (daemon_await(&daemon)) {
        daemon_stop(&daemon, SIGTERM);
        fail_msg("a store without a database was served");
    }
    snprintf(command, sizeof command, "find '%s/part/store/blobs' -type f | wc -l", stock.folder);
    FILE *count = popen(command, "re");
    assert_non_null(count);
    assert_int_equal(fscanf(count, "%u", &found), 1);
    assert_int_equal(pclose(count), 0);
    assert_int_equal(found, content);
}

/* The first `whole` files in that order and half of the next; then the rest. */
static void break_off(char paths[][STOCK_PATH], unsigned count, unsigned whole, bool backwards)
{
    static struct stock_said said;
    bool has_database = false;
    unsigned content = 0, missing = 0;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s/part'", stock.folder);
    assert_int_equal(system(command), 0);
    for (unsigned i = 0; i < count; i++) {
        const char *path = paths[backwards ? count - 1 - i : i];
        bool here = i < whole;
        has_database |= here && strcmp(path, "fileshare.db") == 0;
        missing += is_content(path) && !here;
        content += is_content(path) && i <= whole;
        if (i <= whole)
            copy_one(path, !here);
    }
    stock_run(&stock, NULL, &said, "fsck --deep --store part/store");
    if ((said.code == 0) != (has_database && missing == 0))
        fail_msg("with %u of %u files: %d: %s", whole, count, said.code, said.text);
    bool begun = !backwards && strcmp(paths[whole], "fileshare.db") == 0;
    if (!has_database && !begun && content > 0)
        expect_no_start(content);
    for (unsigned i = 0; i < count; i++)
        copy_one(paths[i], false);
    run_well("fsck --deep --store part/store");
    stock_expect(&stock, "part/store", NULL);
}

static void test_restore_broken_off(void **state)
{
    (void)state;
    static char paths[PATHS][STOCK_PATH];
    unsigned count = list_files(paths);
    assert_true(count > 5 && count < PATHS && is_content(paths[0]));
    for (unsigned whole = 0; whole < count; whole++) {
        break_off(paths, count, whole, false);
        break_off(paths, count, whole, true);
    }
    print_message("%u files, broken off in each\n", count);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc == 3 && strcmp(argv[1], "upgrade") == 0)
        return upgrade(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_repair),
        cmocka_unit_test(test_backup),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_restore_broken_off),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
