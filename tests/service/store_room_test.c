/*
 * Room for what comes, on a disk of a size that the test says: what was removed
 * or replaced makes it, the oldest first, and nothing goes in vain.
 * The system calls in question are this program's own.
 */
#include "service/store_subject.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

enum { PAGE = 4096, RESERVE = 1 << 20 };

static struct {
    const char *folder;
    uint64_t size;
    atomic_uint late;      /* so often what was removed last is not yet seen to be free */
    _Atomic uint64_t seen; /* as told before */
    atomic_bool holds;     /* no content can be removed */
    atomic_uint tries;
} disk;

/* Content alone, in whole pages. */
static uint64_t used_below(int at, const char *name)
{
    uint64_t used = 0;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *walk = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *entry; walk && (entry = readdir(walk)) != NULL;) {
        struct stat status;
        if (entry->d_name[0] == '.')
            continue;
        if (entry->d_type == DT_DIR)
            used += used_below(fd, entry->d_name);
        else if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
            used += ((uint64_t)status.st_size + PAGE - 1) / PAGE * PAGE;
    }
    if (walk)
        closedir(walk);
    return used;
}

static uint64_t left_on_disk(void)
{
    int fd = open(disk.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t used = used_below(fd, "blobs") + used_below(fd, "incoming");
    close(fd);
    return used < disk.size ? disk.size - used : 0;
}

#define OURS __attribute__((visibility("default")))

OURS int fstatvfs64(int fd, struct statvfs64 *out)
{
    (void)fd;
    uint64_t left = left_on_disk();
    if (left > disk.seen && disk.late > 0) {
        disk.late--;
        left = disk.seen;
    }
    disk.seen = left;
    *out = (struct statvfs64){.f_frsize = 1, .f_bavail = left};
    return 0;
}

OURS int unlinkat(int folder, const char *name, int flags)
{
    if (disk.holds && flags == 0) {
        disk.tries++;
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_unlinkat, folder, name, flags);
}

/* ---- the usual acts ---- */

static int setup(void **state)
{
    struct subject *s = subject_new();
    s->limits.reserve_bytes = RESERVE;
    memset(&disk, 0, sizeof disk);
    disk.folder = s->folder;
    disk.size = 8 * MIB;
    subject_open(s);
    *state = s;
    return 0;
}

/* Whatever happened, what is there is whole. */
static int teardown(void **state)
{
    struct subject *s = *state;
    struct store_audit audit;
    disk.holds = false;
    disk.size = 1024 * MIB;
    sweep(s, NULL, NULL);
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_true(store_audit_is_sound(&audit));
    assert_int_equal(audit.orphan_blobs, 0);
    subject_free(s);
    return 0;
}

/* As it is answered, without a repeat. */
static enum outcome put_once(struct subject *s, const char *name, size_t size, bool may_replace,
                             struct store_entry *out)
{
    struct store_entry unused;
    uint8_t *bytes = malloc(size + 1);
    fill(bytes, size, (unsigned)size);
    struct store_put p = {.op = id_random(), .name = name, .content = bytes, .size = size};
    p.condition.replace = may_replace;
    enum outcome outcome = s->acts->put(s->store, &alice, &p, out ? out : &unused, &store_why);
    free(bytes);
    return outcome;
}

/* In pieces of a MiB at most. */
static enum outcome upload(struct subject *s, const char *name, size_t size, bool size_known)
{
    struct store_upload_begin b = {.upload = id_random(),
                                   .name = name,
                                   .size_known = size_known,
                                   .size = size};
    struct store_upload_state st;
    struct store_entry entry;
    uint64_t held = 0;
    uint8_t *bytes = malloc(MIB);
    fill(bytes, MIB, 7);
    enum outcome outcome = s->acts->upload_begin(s->store, &alice, &b, &st, &store_why);
    while (outcome == OUTCOME_OK && held < size)
        outcome = s->acts->upload_write(s->store, &alice, &b.upload, held, bytes,
                                        size - held < MIB ? size - held : MIB, &held, &store_why);
    struct store_publish p = {.upload = b.upload, .check = true, .size = size};
    if (outcome == OUTCOME_OK)
        outcome = s->acts->publish(s->store, &alice, &p, &entry, &store_why);
    else
        assert_ok(abort_upload(s, &alice, &b.upload));
    free(bytes);
    return outcome;
}

static enum outcome open_version(struct subject *s, const struct store_entry *entry, struct store_read **read)
{
    struct store_entry unused;
    return s->acts->read_open(s->store, entry->name, &entry->version, read, &unused, &store_why);
}

/* One call of a download. */
static enum outcome read_some(struct subject *s, const struct store_entry *entry, uint64_t offset,
                              size_t count)
{
    struct store_read *read = NULL;
    char *bytes = malloc(count);
    enum outcome outcome = open_version(s, entry, &read);
    if (outcome == OUTCOME_OK) {
        outcome = s->acts->read_at(read, offset, bytes, count, &store_why);
        s->acts->read_close(read);
    }
    free(bytes);
    return outcome;
}

static bool is_kept(struct subject *s, const struct store_entry *entry)
{
    struct store_read *read = NULL;
    enum outcome outcome = open_version(s, entry, &read);
    if (outcome == OUTCOME_OK)
        s->acts->read_close(read);
    else
        assert_outcome(outcome, OUTCOME_STALE);
    return outcome == OUTCOME_OK;
}

static void expect_refused(enum outcome outcome, const char *needs, const char *has)
{
    char words[128];
    assert_outcome(outcome, OUTCOME_NOSPACE);
    snprintf(words, sizeof words, "server is out of space (needs %s, has %s)", needs, has);
    assert_string_equal(store_why.text, words);
}

static void removed(struct subject *s, const char *name, size_t size, struct store_entry *entry)
{
    assert_ok(put_once(s, name, size, false, entry));
    assert_ok(remove_name(s, &alice, NULL, name, NULL));
    step(s, 1);
}

/* ---- what was removed or replaced makes room ---- */

static void removed_then_put_again(void **state)
{
    struct subject *s = *state;
    for (int i = 0; i < 4; i++) {
        assert_ok(upload(s, "f", 5 * MIB, true));
        assert_ok(remove_name(s, &alice, NULL, "f", NULL));
        assert_ok(upload(s, "f", 5 * MIB, false));
        assert_ok(remove_name(s, &alice, NULL, "f", NULL));
        assert_ok(put_once(s, "f", 5 * MIB, false, NULL));
        assert_ok(remove_name(s, &alice, NULL, "f", NULL));
    }
}

static void replaced_again_and_again(void **state)
{
    struct subject *s = *state;
    struct store_entry versions[12];
    for (int i = 0; i < 12; i++) {
        assert_ok(put_once(s, "f", 3 * MIB, true, &versions[i]));
        step(s, 1);
    }
    assert_true(is_kept(s, &versions[10])); /* 6 of the 7 MiB: it is in nobody's way */
    assert_false(is_kept(s, &versions[9]));
}

enum { PARTS = 60, PART = 60000 };

static void put_parts(struct subject *s, unsigned round, unsigned count)
{
    struct store_put puts[PARTS];
    struct store_put_answer answers[PARTS];
    static char names[PARTS][32];
    uint8_t *bytes = malloc(PART);
    fill(bytes, PART, 3);
    for (unsigned i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "%u/%u", round, i);
        puts[i] = (struct store_put){.op = id_random(), .name = names[i], .content = bytes, .size = PART};
    }
    assert_ok(s->acts->put_many(s->store, &alice, puts, count, answers, &store_why));
    for (unsigned i = 0; i < count; i++) {
        store_why = answers[i].why;
        assert_ok(answers[i].outcome);
    }
    free(bytes);
}

static void remove_parts(struct subject *s, unsigned round, unsigned count)
{
    char name[32];
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "%u/%u", round, i);
        assert_ok(remove_name(s, &alice, NULL, name, NULL));
    }
}

static void many_small_ones(void **state)
{
    struct subject *s = *state;
    for (unsigned round = 0; round < 6; round++) {
        put_parts(s, round, PARTS); /* 3.4 MiB */
        remove_parts(s, round, PARTS);
    }
}

/* Of some the others are left: they are moved together. */
static void shared_content_is_condensed(void **state)
{
    struct subject *s = *state;
    char name[32], *back = malloc(PART + 1);
    uint8_t *bytes = malloc(PART);
    fill(bytes, PART, 3);
    put_parts(s, 0, PARTS);
    put_parts(s, 1, PARTS);
    remove_parts(s, 0, PARTS * 3 / 4);
    remove_parts(s, 1, PARTS * 3 / 4);
    assert_ok(upload(s, "f", 5 * MIB, true));
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = PARTS * 3 / 4; i < PARTS; i++) {
            snprintf(name, sizeof name, "%u/%u", round, i);
            assert_ok(content(s, name, NULL, back, PART + 1));
            assert_memory_equal(back, bytes, PART);
        }
    free(back);
    free(bytes);
}

static void oldest_first_and_no_more_than_needed(void **state)
{
    struct subject *s = *state;
    struct store_entry a, b, c;
    removed(s, "a", 2 * MIB, &a);
    removed(s, "b", 2 * MIB, &b);
    removed(s, "c", 2 * MIB, &c);
    assert_ok(put_once(s, "f", MIB, false, NULL));
    assert_true(is_kept(s, &a));
    step(s,
         1); /* that was no reading, but it was looked at: so it is the youngest now, unless within seconds */
    assert_ok(put_once(s, "g", 2 * MIB, false, NULL));
    assert_int_equal(is_kept(s, &a) + is_kept(s, &b) + is_kept(s, &c), 2);
    assert_true(is_kept(s, &c));
}

/* An upload whose size nobody said finds its room as it goes on. */
static void as_the_bytes_come(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    disk.size = 24 * MIB;
    removed(s, "old", 12 * MIB, &old);
    assert_ok(upload(s, "f", 20 * MIB, false));
    assert_false(is_kept(s, &old));
    /* What an upload was promised it is not refused: to the last byte. */
    assert_ok(remove_name(s, &alice, NULL, "f", NULL));
    assert_ok(upload(s, "g", 23 * MIB, true));
    expect_refused(put_once(s, "h", PAGE, false, NULL), "4.0 KiB", "0 B");
}

/* ---- what does not go ---- */

static void nothing_kept(void **state)
{
    struct subject *s = *state;
    assert_ok(put_once(s, "f", 5 * MIB, false, NULL));
    expect_refused(upload(s, "g", 3 * MIB, true), "3.0 MiB", "2.0 MiB");
    expect_refused(put_once(s, "g", 3 * MIB, false, NULL), "3.0 MiB", "2.0 MiB");
}

/* Not even all of it would do: what could be had is said, and nothing goes in vain. */
static void not_in_vain(void **state)
{
    struct subject *s = *state;
    struct store_entry old, e;
    uint8_t *bytes = malloc(2 * MIB);
    fill(bytes, 2 * MIB, 2);
    removed(s, "old", 2 * MIB, &old);
    assert_ok(put_once(s, "f", 3 * MIB, false, NULL));
    expect_refused(upload(s, "g", 5 * MIB, true), "5.0 MiB", "4.0 MiB");
    expect_refused(put_once(s, "g", 5 * MIB, false, NULL), "5.0 MiB", "4.0 MiB");
    assert_true(is_kept(s, &old));
    /* nor for what needs no room: a repeat, or what is refused anyway */
    struct store_put p = {.op = id_random(), .name = "r", .content = bytes, .size = 2 * MIB};
    assert_ok(s->acts->put(s->store, &alice, &p, &e, &store_why));
    assert_ok(s->acts->put(s->store, &alice, &p, &e, &store_why));
    assert_outcome(put_once(s, "f", MIB, false, NULL), OUTCOME_EXISTS);
    assert_outcome(upload(s, "f", MIB, true), OUTCOME_EXISTS);
    assert_true(is_kept(s, &old));
    /* of many in one call, as many as there is room for with it */
    struct store_put puts[] = {
        {.op = id_random(), .name = "x", .content = bytes, .size = MIB},
        {.op = id_random(), .name = "y", .content = bytes, .size = 2 * MIB},
        {.op = id_random(), .name = "z", .content = bytes, .size = MIB},
    };
    struct store_put_answer answers[3];
    assert_ok(s->acts->put_many(s->store, &alice, puts, 3, answers, &store_why));
    assert_ok(answers[0].outcome);
    store_why = answers[1].why;
    expect_refused(answers[1].outcome, "3.0 MiB", "2.0 MiB");
    assert_ok(answers[2].outcome);
    assert_false(is_kept(s, &old));
    free(bytes);
}

static void a_download_goes_on(void **state)
{
    struct subject *s = *state;
    struct store_entry old, other;
    assert_ok(put_once(s, "old", 3 * MIB, false, &old));
    assert_ok(read_some(s, &old, 0, 1000)); /* begun before it was removed */
    assert_ok(remove_name(s, &alice, NULL, "old", NULL));
    step(s, 30);
    assert_ok(read_some(s, &old, 1000, MIB));
    removed(s, "other", 2 * MIB, &other);
    expect_refused(upload(s, "f", 5 * MIB, true), "5.0 MiB", "4.0 MiB");
    assert_true(is_kept(s, &other));
    assert_ok(put_once(s, "f", 3 * MIB, false, NULL));
    assert_false(is_kept(s, &other)); /* the younger one went */
    /* one of two who read it ends, in whatever order: the other one goes on */
    assert_ok(read_some(s, &old, 0, MIB));
    assert_ok(read_some(s, &old, 2 * MIB, MIB));
    assert_ok(read_some(s, &old, MIB, MIB));
    expect_refused(put_once(s, "g", 2 * MIB, false, NULL), "2.0 MiB", "1.0 MiB");
    assert_ok(read_some(s, &old, 1000 + MIB, 2 * MIB - 1000));
    assert_ok(put_once(s, "g", 2 * MIB, false, NULL));
    assert_false(is_kept(s, &old));
}

/* Who does not come back for a minute holds nobody up, and is told. */
static void a_download_that_pauses(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    removed(s, "old", 4 * MIB, &old);
    assert_ok(read_some(s, &old, 0, MIB));
    assert_outcome(put_once(s, "f", 4 * MIB, false, NULL), OUTCOME_NOSPACE);
    step(s, 59);
    assert_outcome(put_once(s, "f", 4 * MIB, false, NULL), OUTCOME_NOSPACE);
    assert_ok(read_some(s, &old, MIB, MIB));
    step(s, 61);
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
    assert_outcome(read_some(s, &old, 2 * MIB, MIB), OUTCOME_STALE);
}

/* Who has it open at this moment reads on; what is read in one go counts for no longer than that. */
static void open_just_now(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    struct store_read *read = NULL;
    char bytes[1000];
    removed(s, "old", 4 * MIB, &old);
    assert_ok(open_version(s, &old, &read));
    assert_outcome(put_once(s, "f", 4 * MIB, false, NULL), OUTCOME_NOSPACE);
    assert_ok(s->acts->read_at(read, MIB, bytes, sizeof bytes, &store_why));
    s->acts->read_close(read);
    assert_ok(read_some(s, &old, 3 * MIB, MIB));
    assert_ok(read_some(s, &old, 0, 4 * MIB));
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
}

/* What a rename left shares its content with what is there. */
static void content_of_a_live_file(void **state)
{
    struct subject *s = *state;
    assert_ok(put_once(s, "a", 4 * MIB, false, NULL));
    struct store_rename r = {.op = id_random(), .source = "a", .target = "b"};
    assert_ok(rename_as(s, &alice, &r, NULL));
    expect_refused(put_once(s, "f", 4 * MIB, false, NULL), "4.0 MiB", "3.0 MiB");
    assert_ok(remove_name(s, &alice, NULL, "b", NULL));
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
}

static void pinned(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    char path[128];
    removed(s, "old", 4 * MIB, &old);
    snprintf(path, sizeof path, "%s/pin", s->folder);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), 0);
    expect_refused(put_once(s, "f", 4 * MIB, false, NULL), "4.0 MiB", "3.0 MiB");
    expect_refused(upload(s, "f", 4 * MIB, true), "4.0 MiB", "3.0 MiB");
    assert_true(is_kept(s, &old));
    close(fd);
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
    /* once room for what stays is short, a backup must do without */
    disk.size = 10 * MIB;
    removed(s, "old", 4 * MIB + MIB / 2, &old);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(flock(fd, LOCK_SH | LOCK_NB), 0);
    assert_ok(put_once(s, "g", 4 * MIB, false, NULL));
    close(fd);
}

/* ---- disks that do not do as they are told ---- */

/* Content that cannot be removed: no room, said at once, whoever asks and how often; it comes with the disk. */
static void content_that_stays(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    removed(s, "old", 4 * MIB, &old);
    disk.holds = true;
    for (int i = 0; i < 5; i++)
        expect_refused(put_once(s, "f", 4 * MIB, false, NULL), "4.0 MiB", "3.0 MiB");
    assert_in_range(disk.tries, 1, 5);
    disk.holds = false;
    sweep(s, NULL, NULL);
    assert_ok(put_once(s, "f", 4 * MIB, false, NULL));
}

/* Freed space that is seen only later is waited for; if it never comes, who asks again is told so. */
static void space_that_comes_late(void **state)
{
    struct subject *s = *state;
    struct store_entry old;
    removed(s, "old", 4 * MIB, &old);
    disk.late = 5;
    assert_ok(put_once(s, "f", 4 * MIB, true, NULL));
    removed(s, "old", 2 * MIB, &old);
    disk.late = UINT32_MAX;
    assert_outcome(put_once(s, "g", 3 * MIB, false, NULL), OUTCOME_UNAVAILABLE);
    expect_refused(put_once(s, "g", 3 * MIB, false, NULL), "3.0 MiB", "1.0 MiB");
    disk.late = 0;
    assert_ok(put_once(s, "g", 3 * MIB, false, NULL));
}

/* A reserve that others took from is the database's again, without anybody who stores something. */
static void the_reserve(void **state)
{
    struct subject *s = *state;
    struct store_entry a, b, reading;
    removed(s, "reading", 2 * MIB, &reading);
    removed(s, "a", 2 * MIB, &a);
    removed(s, "b", 2 * MIB, &b);
    assert_ok(read_some(s, &reading, 0, 1000));
    sweep(s, NULL, NULL);
    assert_int_equal(left_on_disk(), 2 * MIB);
    disk.size = 6 * MIB + 1000;
    sweep(s, NULL, NULL);
    assert_int_equal(left_on_disk(), 2 * MIB + 1000);
    assert_false(is_kept(s, &a));
    assert_true(is_kept(s, &b));
    disk.size = 2 * MIB;
    sweep(s, NULL, NULL);
    assert_false(is_kept(s, &b));
    assert_true(is_kept(s, &reading));
}

/* ---- many at once ---- */

enum { WRITERS = 4, TURNS = 15 };

struct writing {
    struct subject *s;
    unsigned number;
    atomic_uint *refused;
};

static void *replace_in_turn(void *argument)
{
    struct writing *writing = argument;
    struct subject *s = writing->s;
    struct failure why;
    struct store_entry entry;
    uint8_t *bytes = calloc(1, MIB);
    char name[16];
    snprintf(name, sizeof name, "%u", writing->number);
    for (unsigned i = 0; i < TURNS; i++) {
        struct store_put p = {.op = id_random(), .name = name, .content = bytes, .size = MIB};
        p.condition.replace = true;
        *writing->refused += s->acts->put(s->store, &alice, &p, &entry, &why) != OUTCOME_OK;
    }
    free(bytes);
    return NULL;
}

static void *sweep_in_turn(void *argument)
{
    struct subject *s = argument;
    struct failure why;
    struct store_sweep out;
    bool left;
    int64_t next;
    for (unsigned i = 0; i < TURNS; i++)
        if (s->acts->sweep(s->store, &out, &left, &next, &why) != OUTCOME_OK)
            return s;
    return NULL;
}

static void many_at_once(void **state)
{
    struct subject *s = *state;
    atomic_uint refused = 0;
    pthread_t threads[WRITERS + 1];
    struct writing writings[WRITERS];
    void *wrong;
    disk.size = (2 * WRITERS + 1) * MIB + RESERVE; /* what is there, what comes, and one more */
    for (unsigned i = 0; i < WRITERS; i++) {
        writings[i] = (struct writing){.s = s, .number = i, .refused = &refused};
        pthread_create(&threads[i], NULL, replace_in_turn, &writings[i]);
    }
    pthread_create(&threads[WRITERS], NULL, sweep_in_turn, s);
    for (unsigned i = 0; i <= WRITERS; i++) {
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(refused, 0);
}

#define ROOM_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOM_TEST(removed_then_put_again),
        ROOM_TEST(replaced_again_and_again),
        ROOM_TEST(many_small_ones),
        ROOM_TEST(shared_content_is_condensed),
        ROOM_TEST(oldest_first_and_no_more_than_needed),
        ROOM_TEST(as_the_bytes_come),
        ROOM_TEST(nothing_kept),
        ROOM_TEST(not_in_vain),
        ROOM_TEST(a_download_goes_on),
        ROOM_TEST(a_download_that_pauses),
        ROOM_TEST(open_just_now),
        ROOM_TEST(content_of_a_live_file),
        ROOM_TEST(pinned),
        ROOM_TEST(content_that_stays),
        ROOM_TEST(space_that_comes_late),
        ROOM_TEST(the_reserve),
        ROOM_TEST(many_at_once),
    };
    return cmocka_run_group_tests_name("store: room", tests, NULL, NULL);
}
