/*
 * Content that failed acts leave over: it goes with the next sweep, or when the store is closed, and nothing that
 * a commit in doubt may name goes before.
 * The system calls that fail are this program's own.
 */
#include "server/store/local/leftovers.h"
#include "service/store_subject.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { LARGE = 100000, PARTS = 4, PART = 40000 };

static struct {
    bool refuse_commits; /* syncs of the database's log fail with EIO */
    bool keep_files;     /* so do removals of blobs */
    unsigned refused;
} disk;

#define OURS __attribute__((visibility("default")))

static int sync_call(long number, int fd)
{
    char link[32], path[128] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, sizeof path - 1);
    path[count > 0 ? count : 0] = 0;
    if (disk.refuse_commits && strstr(path, "fileshare.db-wal")) {
        disk.refused++;
        errno = EIO;
        return -1;
    }
    return (int)syscall(number, fd);
}

OURS int fsync(int fd)
{
    return sync_call(SYS_fsync, fd);
}

OURS int fdatasync(int fd)
{
    return sync_call(SYS_fdatasync, fd);
}

OURS int unlinkat(int fd, const char *path, int flags)
{
    if (disk.keep_files) {
        disk.refused++;
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_unlinkat, fd, path, flags);
}

static uint8_t bytes[LARGE];

static uint64_t leftovers(struct subject *s)
{
    struct store_health health;
    assert_ok(s->acts->health(s->store, &health, &store_why));
    return health.leftovers;
}

/* Of a store whose entries are all whole. */
static uint64_t orphans(struct subject *s)
{
    struct store_audit audit;
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_true(store_audit_is_whole(&audit));
    return audit.orphan_blobs;
}

/* Each of these leaves content over, or perhaps. */

static void put_in_doubt(struct subject *s)
{
    struct store_entry entry;
    struct store_put p = {.op = id_random(), .name = "f", .content = bytes, .size = LARGE};
    disk.refuse_commits = true;
    assert_outcome(s->acts->put(s->store, &alice, &p, &entry, &store_why), OUTCOME_UNKNOWN);
    disk.refuse_commits = false;
}

static void many_in_doubt(struct subject *s)
{
    struct store_put puts[PARTS];
    struct store_put_answer answers[PARTS];
    char names[PARTS][8];
    for (unsigned i = 0; i < PARTS; i++) {
        snprintf(names[i], sizeof names[i], "m%u", i);
        puts[i] = (struct store_put){.op = id_random(), .name = names[i], .content = bytes, .size = PART};
    }
    disk.refuse_commits = true;
    assert_ok(s->acts->put_many(s->store, &alice, puts, PARTS, answers, &store_why));
    disk.refuse_commits = false;
    assert_outcome(answers[0].outcome, OUTCOME_UNKNOWN);
}

static void begin_publish(struct subject *s, const char *name, struct id *upload)
{
    struct store_upload_state st;
    uint64_t held;
    *upload = id_random();
    struct store_upload_begin b = {.upload = *upload, .name = name};
    assert_ok(begin(s, &alice, &b, &st));
    assert_ok(upload_write(s, &alice, upload, 0, bytes, LARGE, &held));
    struct store_publish p = {.upload = *upload};
    struct store_entry entry;
    disk.refuse_commits = true;
    assert_outcome(s->acts->publish(s->store, &alice, &p, &entry, &store_why), OUTCOME_UNKNOWN);
    disk.refuse_commits = false;
}

static void publish_given_up(struct subject *s)
{
    struct id upload;
    begin_publish(s, "u", &upload);
    assert_ok(abort_upload(s, &alice, &upload));
    assert_int_equal(orphans(s), 0); /* at once */
}

static void publish_given_up_in_vain(struct subject *s)
{
    struct id upload;
    begin_publish(s, "u", &upload);
    disk.keep_files = true;
    assert_ok(abort_upload(s, &alice, &upload));
    disk.keep_files = false;
}

static void publish_forgotten(struct subject *s)
{
    struct id upload;
    begin_publish(s, "v", &upload);
    subject_restart(s);
    sweep(s, NULL, NULL);
    step(s, s->limits.upload_idle_seconds + 10);
    struct store_sweep swept;
    bool left;
    int64_t next_due;
    assert_ok(s->acts->sweep(s->store, &swept, &left, &next_due, &store_why));
    assert_int_equal(swept.uploads, 1);
    assert_int_equal(orphans(s), 0); /* at once */
}

static void removal_that_fails(struct subject *s)
{
    struct store_entry entry;
    struct store_sweep swept;
    bool left;
    int64_t next_due;
    for (unsigned i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "r%u", i);
        struct store_put p = {.op = id_random(), .name = name, .content = bytes, .size = LARGE};
        assert_ok(put_as(s, &alice, &p, &entry));
        assert_ok(remove_name(s, &alice, NULL, name, NULL));
    }
    step(s, s->limits.kept_seconds + 10);
    disk.keep_files = true;
    assert_outcome(s->acts->sweep(s->store, &swept, &left, &next_due, &store_why), OUTCOME_UNAVAILABLE);
    assert_outcome(s->acts->sweep(s->store, &swept, &left, &next_due, &store_why), OUTCOME_UNAVAILABLE);
    disk.keep_files = false;
}

static const struct {
    const char *name;
    void (*leave)(struct subject *s);
    unsigned pieces; /* that stay until the sweep */
} ways[] = {
    {"a file in doubt", put_in_doubt, 1},
    {"many files in doubt", many_in_doubt, 1},
    {"an upload given up in doubt", publish_given_up, 0},
    {"the same, and its file stays", publish_given_up_in_vain, 1},
    {"an upload forgotten in doubt", publish_forgotten, 0},
    {"files that cannot be removed", removal_that_fails, 3},
};

static void gone_with_the_next_sweep(void **state)
{
    struct subject *s = *state;
    assert_int_equal(leftovers(s), 1); /* whatever an earlier run left */
    sweep(s, NULL, NULL);
    assert_int_equal(leftovers(s), 0);
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        disk.refused = 0;
        ways[i].leave(s);
        print_message("%s: %llu\n", ways[i].name, (unsigned long long)orphans(s));
        assert_true(disk.refused > 0);
        assert_int_equal(orphans(s), ways[i].pieces);
        assert_int_equal(leftovers(s), ways[i].pieces);
        sweep(s, NULL, NULL); /* no time passes */
        assert_int_equal(orphans(s), 0);
        assert_int_equal(leftovers(s), 0);
    }
}

static void gone_when_closed(void **state)
{
    struct subject *s = *state;
    for (unsigned i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        sweep(s, NULL, NULL);
        ways[i].leave(s);
        subject_restart(s);
        print_message("%s: %llu\n", ways[i].name, (unsigned long long)orphans(s));
        assert_int_equal(orphans(s), 0);
    }
}

/* More than are noted one by one: all is looked through, a little later. */
static void too_many(void **state)
{
    struct subject *s = *state;
    sweep(s, NULL, NULL);
    for (unsigned i = 0; i < LEFTOVERS_MAX + 10; i++)
        put_in_doubt(s);
    assert_int_equal(orphans(s), LEFTOVERS_MAX + 10);
    assert_int_equal(leftovers(s), LEFTOVERS_MAX + 1);
    sweep(s, NULL, NULL);
    assert_int_equal(orphans(s), 10);
    assert_int_equal(leftovers(s), 1);
    step(s, 11);
    sweep(s, NULL, NULL);
    assert_int_equal(orphans(s), 0);
    assert_int_equal(leftovers(s), 0);
}

/* As long as nothing can be committed, content that the log may name stays, over a restart too. */
static void doubt_is_respected(void **state)
{
    struct subject *s = *state;
    sweep(s, NULL, NULL);
    struct store_put p = {.op = id_random(), .name = "f", .content = bytes, .size = LARGE};
    struct store_sweep swept;
    struct store_entry entry;
    bool left;
    int64_t next_due;
    disk.refuse_commits = true;
    assert_outcome(s->acts->put(s->store, &alice, &p, &entry, &store_why), OUTCOME_UNKNOWN);
    assert_int_not_equal(s->acts->sweep(s->store, &swept, &left, &next_due, &store_why), OUTCOME_OK);
    assert_int_equal(orphans(s), 1);
    s->acts->close(s->store);
    disk.refuse_commits = false;
    s->store = NULL;
    subject_open(s);
    orphans(s); /* either it is found done, and whole, or it is not there */
    assert_ok(put_as(s, &alice, &p, &entry));
    sweep(s, NULL, NULL);
    assert_int_equal(orphans(s), 0);
    assert_ok(stat_name(s, "f", NULL));
}

static int setup(void **state)
{
    memset(&disk, 0, sizeof disk);
    fill(bytes, sizeof bytes, 7);
    return subject_setup(state);
}

#define LEFTOVERS_TEST(test) cmocka_unit_test_setup_teardown(test, setup, subject_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEFTOVERS_TEST(gone_with_the_next_sweep),
        LEFTOVERS_TEST(gone_when_closed),
        LEFTOVERS_TEST(too_many),
        LEFTOVERS_TEST(doubt_is_respected),
    };
    return cmocka_run_group_tests_name("store: leftovers", tests, NULL, NULL);
}
