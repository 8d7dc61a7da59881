/*
 * What reaches the disk in which order, and what a disk that refuses leads to.
 * The system calls in question are this program's own, which note or refuse them.
 */
#include "service/store_subject.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NOTED_MAX = 256 };

static struct {
    bool noting;
    const char *refuse; /* syncs of files whose path contains it fail with EIO */
    const char *full;   /* writes to such files end half-way, with ENOSPC */
    char notes[NOTED_MAX][160];
    _Atomic unsigned count;
} disk;

static void path_of(int fd, char path[128])
{
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, 127);
    path[count > 0 ? count : 0] = 0;
}

static void note(const char *what, const char *path)
{
    if (disk.noting && disk.count < NOTED_MAX)
        snprintf(disk.notes[disk.count++], sizeof disk.notes[0], "%s %s", what, path);
}

static int sync_call(long number, int fd)
{
    char path[128];
    path_of(fd, path);
    if (disk.refuse && strstr(path, disk.refuse)) {
        errno = EIO;
        return -1;
    }
    note("sync", path);
    return (int)syscall(number, fd);
}

#define OURS __attribute__((visibility("default")))

OURS int fsync(int fd)
{
    return sync_call(SYS_fsync, fd);
}

OURS int fdatasync(int fd)
{
    return sync_call(SYS_fdatasync, fd);
}

OURS int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    note("rename", to);
    return (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

OURS ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    char path[128];
    if (disk.full) {
        path_of(fd, path);
        if (strstr(path, disk.full)) {
            long written = count > 1 ? syscall(SYS_pwrite64, fd, bytes, count / 2, offset) : 0;
            if (written > 0)
                return written;
            errno = ENOSPC;
            return -1;
        }
    }
    return syscall(SYS_pwrite64, fd, bytes, count, offset);
}

static void watch(void)
{
    disk.count = 0;
    disk.noting = true;
}

/* The index of the next note from `from` on that begins with `what` and contains `path`; fails the test if there is none. */
static unsigned find(unsigned from, const char *what, const char *path)
{
    for (unsigned i = from; i < disk.count; i++)
        if (strncmp(disk.notes[i], what, strlen(what)) == 0 && strstr(disk.notes[i], path))
            return i + 1;
    for (unsigned i = 0; i < disk.count; i++)
        print_error("%s\n", disk.notes[i]);
    fail_msg("no %s of %s from %u on", what, path, from);
    return 0;
}

static void upload_of(struct subject *s, const struct id *upload, const uint8_t *bytes, size_t count)
{
    struct store_upload_begin b = {.upload = *upload, .name = "f"};
    struct store_upload_state st;
    uint64_t held;
    assert_ok(begin(s, &alice, &b, &st));
    assert_ok(upload_write(s, &alice, upload, 0, bytes, count, &held));
}

/* Bytes, then the folders, then the facts. */
static void order_of_a_publish(void **state)
{
    struct subject *s = *state;
    struct id upload = id_random();
    struct store_entry entry;
    uint8_t *bytes = calloc(1, 100000);
    upload_of(s, &upload, bytes, 100000);
    watch();
    struct store_publish p = {.upload = upload};
    assert_ok(publish(s, &alice, &p, &entry));
    unsigned at = find(0, "sync", "/incoming/");
    at = find(at, "rename", "/");
    at = find(at, "sync", "/blobs/");
    at = find(at, "sync", "/incoming");
    find(at, "sync", "fileshare.db-wal");
    watch();
    struct store_put large = {.op = id_random(), .name = "g", .content = bytes, .size = 100000};
    assert_ok(put_as(s, &alice, &large, NULL));
    at = find(0, "sync", "/blobs/");
    at = find(at, "sync", "/blobs/");
    find(at, "sync", "fileshare.db-wal");
    watch();
    assert_ok(put(s, &alice, "small", "text", NULL));
    find(0, "sync", "fileshare.db-wal");
    assert_int_equal(disk.count, 1); /* one sync is all that a small file costs */
    free(bytes);
}

/* After a sync that failed nobody knows what the disk has: the upload is given up, and nothing shows. */
static void refused_sync_of_content(void **state)
{
    struct subject *s = *state;
    struct id upload = id_random();
    struct store_entry entry;
    struct store_audit audit;
    uint8_t *bytes = calloc(1, 100000);
    upload_of(s, &upload, bytes, 100000);
    struct store_publish p = {.upload = upload};
    disk.refuse = "/incoming/";
    assert_int_equal(s->acts->publish(s->store, &alice, &p, &entry, &store_why), OUTCOME_UNAVAILABLE);
    disk.refuse = NULL;
    assert_outcome(publish(s, &alice, &p, &entry), OUTCOME_ABSENT);
    assert_outcome(stat_name(s, "f", NULL), OUTCOME_ABSENT);
    struct store_put large = {.op = id_random(), .name = "f", .content = bytes, .size = 100000};
    disk.refuse = "/blobs/";
    assert_int_equal(s->acts->put(s->store, &alice, &large, &entry, &store_why), OUTCOME_UNAVAILABLE);
    disk.refuse = NULL;
    assert_outcome(stat_name(s, "f", NULL), OUTCOME_ABSENT);
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_int_equal(audit.orphan_blobs, 0);
    assert_ok(put_as(s, &alice, &large, &entry));
    free(bytes);
}

/* A commit that failed may be found done later: UNKNOWN; the repeat makes it certain, and counts once. */
static void refused_commit(void **state)
{
    struct subject *s = *state;
    static const size_t sizes[] = {10, 100000};
    struct store_health health;
    struct store_entry entry, again;
    uint8_t *bytes = calloc(1, 100000);
    for (int i = 0; i < 2; i++) {
        struct store_put p = {.op = id_random(), .name = i ? "g" : "f", .content = bytes, .size = sizes[i]};
        disk.refuse = "fileshare.db-wal";
        assert_int_equal(s->acts->put(s->store, &alice, &p, &entry, &store_why), OUTCOME_UNKNOWN);
        assert_ok(s->acts->health(s->store, &health, &store_why));
        assert_false(health.writable);
        assert_true(health.trouble[0]);
        disk.refuse = NULL;
        assert_int_equal(s->acts->put(s->store, &alice, &p, &entry, &store_why), OUTCOME_OK);
        assert_int_equal(s->acts->put(s->store, &alice, &p, &again, &store_why), OUTCOME_OK);
        assert_int_equal(again.arrival, entry.arrival);
        assert_ok(s->acts->health(s->store, &health, &store_why));
        assert_true(health.writable);
        assert_int_equal(health.files, i + 1);
    }
    struct id upload = id_random();
    struct store_publish p = {.upload = upload};
    struct store_upload_begin b = {.upload = upload, .name = "h"};
    struct store_upload_state st;
    uint64_t held;
    assert_ok(begin(s, &alice, &b, &st));
    assert_ok(upload_write(s, &alice, &upload, 0, bytes, 100000, &held));
    disk.refuse = "fileshare.db-wal";
    assert_int_equal(s->acts->publish(s->store, &alice, &p, &entry, &store_why), OUTCOME_UNKNOWN);
    disk.refuse = NULL;
    assert_int_equal(s->acts->publish(s->store, &alice, &p, &entry, &store_why), OUTCOME_OK);
    assert_int_equal(s->acts->publish(s->store, &alice, &p, &again, &store_why), OUTCOME_OK);
    char *back = malloc(100001);
    assert_ok(content(s, "h", NULL, back, 100001));
    sweep(s, NULL, NULL);
    struct store_audit audit;
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_int_equal(audit.entries, 3);
    assert_true(store_audit_is_sound(&audit));
    free(back);
    free(bytes);
}

static void *put_one_name(void *argument)
{
    struct subject *s = argument;
    struct store_entry entry;
    struct failure why;
    struct store_put p = {.op = id_random(), .name = "f", .content = "x", .size = 1};
    for (int i = 0; i < 20; i++)
        if (s->acts->put(s->store, &alice, &p, &entry, &why) != OUTCOME_UNKNOWN)
            return s;
    return NULL;
}

/* Nothing was committed, so nobody may be told that the name is taken. */
static void refusals_fail_with_the_commit(void **state)
{
    struct subject *s = *state;
    pthread_t threads[32];
    void *wrong;
    disk.refuse = "fileshare.db-wal";
    for (int i = 0; i < 32; i++)
        pthread_create(&threads[i], NULL, put_one_name, s);
    for (int i = 0; i < 32; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    disk.refuse = NULL;
    assert_outcome(stat_name(s, "f", NULL), OUTCOME_ABSENT);
    assert_ok(put(s, &alice, "f", "x", NULL));
}

/* In one transaction with what has no room: no room is said of what was not done, never of a repeat. */
static void repeat_on_a_full_disk(void **state)
{
    struct subject *s = *state;
    struct store_put puts[] = {{.op = id_random(), .name = "old", .content = "x", .size = 1},
                               {.op = id_random(), .name = "new", .content = "y", .size = 1}};
    struct store_put_answer answers[2];
    struct store_entry entry;
    assert_ok(s->acts->put(s->store, &alice, &puts[0], &entry, &store_why));
    disk.full = "fileshare.db-wal";
    assert_ok(s->acts->put_many(s->store, &alice, puts, 2, answers, &store_why));
    disk.full = NULL;
    assert_int_equal(answers[0].outcome, OUTCOME_UNKNOWN);
    assert_int_equal(answers[1].outcome, OUTCOME_NOSPACE);
    assert_outcome(stat_name(s, "new", NULL), OUTCOME_ABSENT);
    assert_ok(s->acts->put_many(s->store, &alice, puts, 2, answers, &store_why));
    assert_ok(answers[0].outcome);
    assert_ok(answers[1].outcome);
    assert_int_equal(answers[0].arrival, entry.arrival);
}

/* What a full disk left behind the held bytes is no part of the file. */
static void full_disk(void **state)
{
    struct subject *s = *state;
    struct store_upload_state st;
    struct id upload = id_random();
    struct store_entry entry;
    uint8_t *bytes = malloc(60000);
    char *back = malloc(60001);
    uint64_t held = 0;
    fill(bytes, 60000, 1);
    upload_of(s, &upload, bytes, 30000);
    disk.full = "/incoming/";
    assert_outcome(s->acts->upload_write(s->store, &alice, &upload, 30000, bytes, 30000, &held, &store_why),
                   OUTCOME_NOSPACE);
    disk.full = NULL;
    struct store_publish p = {.upload = upload, .check = true, .size = 30000, .check_digest = true};
    p.digest = digest_of(bytes, 30000);
    assert_ok(publish(s, &alice, &p, &entry));
    assert_ok(content(s, "f", NULL, back, 60001));
    assert_memory_equal(back, bytes, 30000);
    struct store_audit audit;
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_int_equal(audit.wrong_sizes + audit.wrong_digests, 0);
    struct store_put large = {.op = id_random(), .name = "g", .content = bytes, .size = 60000};
    disk.full = "/blobs/";
    assert_int_equal(s->acts->put(s->store, &alice, &large, &entry, &store_why), OUTCOME_NOSPACE);
    disk.full = NULL;
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_int_equal(audit.orphan_blobs, 0);
    assert_ok(put_as(s, &alice, &large, NULL));
    /* the reserve: what is left to others */
    s->limits.reserve_bytes = UINT64_C(1) << 60;
    subject_restart(s);
    assert_outcome(put(s, &alice, "more", "x", NULL), OUTCOME_NOSPACE);
    assert_ok(put_as(s, &alice, &large, NULL)); /* repeats are answered as they were */
    assert_ok(begin(s, &alice, &(struct store_upload_begin){.upload = upload, .name = "f"}, &st));
    assert_true(st.published);
    assert_int_equal(st.held, 30000);
    assert_ok(remove_name(s, &alice, NULL, "g", NULL));
    struct store_health health;
    assert_ok(s->acts->health(s->store, &health, &store_why));
    assert_false(health.writable);
    free(bytes);
    free(back);
}

static int setup(void **state)
{
    memset(&disk, 0, sizeof disk);
    return subject_setup(state);
}

#define DISK_TEST(test) cmocka_unit_test_setup_teardown(test, setup, subject_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        DISK_TEST(order_of_a_publish),
        DISK_TEST(refused_sync_of_content),
        DISK_TEST(repeat_on_a_full_disk),
        DISK_TEST(refused_commit),
        DISK_TEST(refusals_fail_with_the_commit),
        DISK_TEST(full_disk),
    };
    return cmocka_run_group_tests_name("store: local, the disk", tests, NULL, NULL);
}
