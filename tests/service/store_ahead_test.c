/*
 * Pieces of an upload that come before their turn: in any order, twice, over one
 * another, from two threads; what is refused; what is left of them after an
 * OPEN, a crash, and on a disk that refuses.
 *
 *     FILESHARE_FAULT_SEED=N    the orders of that run again
 */
#include "service/store_subject.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KIB = 1 << 10, MIB = 1 << 20, AHEAD = 32 << 20, GAPS = 64 };

/* ---- a disk that refuses ---- */

static struct {
    bool full;     /* writes to incoming/ end half-way, with ENOSPC */
    bool unread;   /* reads of incoming/ fail with EIO */
    bool unmarked; /* the mode of a file cannot be changed */
} disk;

#define OURS __attribute__((visibility("default")))

static bool is_incoming(int fd)
{
    char link[32], path[128];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, path, sizeof path - 1);
    path[count > 0 ? count : 0] = '\0';
    return strstr(path, "/incoming/") != NULL;
}

OURS ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    if (!disk.full || !is_incoming(fd))
        return syscall(SYS_pwrite64, fd, bytes, count, offset);
    long written = count > 1 ? syscall(SYS_pwrite64, fd, bytes, count / 2, offset) : 0;
    errno = ENOSPC;
    return written > 0 ? written : -1;
}

OURS ssize_t pread64(int fd, void *bytes, size_t count, off64_t offset)
{
    if (!disk.unread || !is_incoming(fd))
        return syscall(SYS_pread64, fd, bytes, count, offset);
    errno = EIO;
    return -1;
}

OURS int fchmod(int fd, mode_t mode)
{
    if (!disk.unmarked)
        return (int)syscall(SYS_fchmod, fd, mode);
    errno = EPERM;
    return -1;
}

/* ---- an upload ---- */

/* As fill, but eight bytes at a time: there are many. */
static uint8_t *words(size_t size, uint64_t seed)
{
    size_t count = size / 8 + 1;
    uint64_t *all = malloc(count * 8);
    for (size_t i = 0; i < count; i++)
        all[i] = (i + 1) * (0x9e3779b97f4a7c15u + 2 * seed);
    return (uint8_t *)all;
}

struct sending {
    struct subject *s;
    struct store_upload_begin begin;
    uint8_t *bytes;
    size_t size;
    uint64_t held;
};

static struct sending sending_of(struct subject *s, size_t size, bool size_known)
{
    struct sending sending = {
        .s = s,
        .begin = {.upload = id_random(),
                  .name = "f",
                  .size_known = size_known,
                  .size = size_known ? size : 0},
        .bytes = words(size, size),
        .size = size,
    };
    struct store_upload_state state;
    assert_ok(begin(s, &alice, &sending.begin, &state));
    assert_int_equal(state.held, 0);
    return sending;
}

static enum outcome send_piece(struct sending *sending, size_t from, size_t to)
{
    return upload_write(sending->s, &alice, &sending->begin.upload, from, sending->bytes + from, to - from,
                        &sending->held);
}

/* OPEN, which says what is held and forgets the rest. */
static void look_again(struct sending *sending, uint64_t held)
{
    struct store_upload_state state;
    struct digest_value digest = digest_of(sending->bytes, held);
    assert_ok(begin(sending->s, &alice, &sending->begin, &state));
    assert_int_equal(state.held, held);
    assert_memory_equal(&state.digest, &digest, sizeof digest);
    sending->held = held;
}

static enum outcome commit(struct sending *sending)
{
    struct store_entry entry;
    struct store_publish p = {.upload = sending->begin.upload,
                              .check = true,
                              .size = sending->size,
                              .check_digest = true,
                              .digest = digest_of(sending->bytes, sending->size)};
    return publish(sending->s, &alice, &p, &entry);
}

static size_t file_size(struct subject *s, const char *below, mode_t *mode)
{
    char command[256], path[300] = "";
    struct stat status;
    snprintf(command, sizeof command, "find %s/%s -type f", s->folder, below);
    FILE *found = popen(command, "re");
    assert_non_null(found);
    assert_non_null(fgets(path, sizeof path, found));
    assert_int_equal(pclose(found), 0);
    path[strcspn(path, "\n")] = '\0';
    assert_int_equal(stat(path, &status), 0);
    *mode = status.st_mode & 0777;
    return (size_t)status.st_size;
}

/* It is committed, comes back byte for byte, and nothing is left of it; the name goes. */
static void finish(struct sending *sending)
{
    char *back = malloc(sending->size + 1);
    struct store_audit audit;
    assert_ok(commit(sending));
    assert_ok(content(sending->s, "f", NULL, back, sending->size + 1));
    assert_memory_equal(back, sending->bytes, sending->size);
    assert_ok(sending->s->acts->audit(sending->s->store, true, &audit, &store_why));
    assert_true(store_audit_is_sound(&audit));
    assert_int_equal(audit.wrong_sizes + audit.wrong_digests + audit.orphan_blobs, 0);
    assert_ok(remove_name(sending->s, &alice, NULL, "f", NULL));
    free(back);
    free(sending->bytes);
}

/* ---- any order ---- */

static uint64_t dice;

static uint64_t below(uint64_t bound)
{
    dice = dice * 6364136223846793005u + 1442695040888963407u;
    return (dice >> 33) % bound;
}

static void begin_dice(void)
{
    const char *given = getenv("FILESHARE_FAULT_SEED");
    dice = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
    print_message("FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)dice);
}

/* All pieces, shuffled, some of them twice, some longer than their place; again until each is held. */
static void send_shuffled(struct sending *sending, size_t piece)
{
    size_t count = (sending->size + piece - 1) / piece;
    size_t *order = malloc(count * sizeof *order);
    for (size_t i = 0; i < count; i++) {
        size_t j = below(i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    unsigned rounds = 0;
    do {
        for (size_t i = 0; i < count; i++) {
            size_t from = order[i] * piece, to = from + piece + (below(4) == 0 ? below(piece) : 0);
            uint64_t before = sending->held;
            to = to < sending->size ? to : sending->size;
            enum outcome outcome = send_piece(sending, from, to);
            assert_true(outcome == OUTCOME_OK || outcome == OUTCOME_OFFSET);
            assert_true(sending->held >= before);
            if (outcome == OUTCOME_OFFSET && from >= before)
                assert_true(count > GAPS); /* only since there are too many gaps */
            if (below(4) == 0)
                assert_true(send_piece(sending, from, to) == outcome || to <= sending->held);
            if (from < sending->held && sending->held < to)
                assert_ok(send_piece(sending, sending->held, to));
        }
    } while (sending->held < sending->size && ++rounds < 1000);
    assert_int_equal(sending->held, sending->size);
    free(order);
}

static void any_order(void **state)
{
    begin_dice();
    for (unsigned i = 0; i < 30; i++) {
        size_t size = 1 + below(600 * KIB), piece = 1 + below(40 * KIB);
        if (size / piece > 200)
            piece = size / 200 + 1;
        struct sending sending = sending_of(*state, size, below(2) == 0);
        send_shuffled(&sending, piece);
        finish(&sending);
    }
}

/* From the last to the first: the first one finds all others there. */
static void backwards(void **state)
{
    enum { PIECE = 256 * KIB, SIZE = 12 * MIB + 77 };
    struct sending sending = sending_of(*state, SIZE, true);
    for (size_t from = (SIZE / PIECE) * PIECE; from > 0; from -= PIECE) {
        assert_ok(send_piece(&sending, from, from + PIECE < SIZE ? from + PIECE : SIZE));
        assert_int_equal(sending.held, 0);
    }
    assert_ok(send_piece(&sending, 0, PIECE));
    assert_int_equal(sending.held, SIZE);
    finish(&sending);
}

/* ---- what is refused, and what a repeat is ---- */

static void repeats_and_overlaps(void **state)
{
    struct sending sending = sending_of(*state, 100, false);
    assert_ok(send_piece(&sending, 0, 10));
    assert_ok(send_piece(&sending, 2, 10)); /* held */
    assert_ok(send_piece(&sending, 0, 1));
    assert_int_equal(sending.held, 10);
    assert_outcome(send_piece(&sending, 5, 15), OUTCOME_OFFSET); /* held in part */
    assert_outcome(send_piece(&sending, 5, 5), OUTCOME_OFFSET);
    assert_outcome(send_piece(&sending, 20, 20), OUTCOME_OFFSET);
    assert_ok(send_piece(&sending, 10, 10)); /* a sign of life */
    assert_ok(send_piece(&sending, 20, 30));
    assert_ok(send_piece(&sending, 20, 30)); /* ahead */
    assert_ok(send_piece(&sending, 25, 35));
    assert_int_equal(sending.held, 10);
    assert_ok(send_piece(&sending, 10, 27)); /* over what is there */
    assert_int_equal(sending.held, 35);
    assert_ok(send_piece(&sending, 36, 100));
    assert_ok(send_piece(&sending, 35, 36));
    assert_int_equal(sending.held, 100);
    finish(&sending);
}

/* What came later counts, where one stretch came twice before its turn. */
static void later_wins(void **state)
{
    struct sending sending = sending_of(*state, 30, true);
    uint64_t held;
    assert_ok(upload_write(sending.s, &alice, &sending.begin.upload, 10, "0123456789", 10, &held));
    assert_ok(send_piece(&sending, 10, 30));
    assert_ok(send_piece(&sending, 0, 10));
    assert_int_equal(sending.held, 30);
    finish(&sending);
}

static void too_far(void **state)
{
    struct sending sending = sending_of(*state, AHEAD + MIB, false);
    assert_outcome(send_piece(&sending, AHEAD, AHEAD + 1), OUTCOME_OFFSET);
    assert_outcome(send_piece(&sending, AHEAD - 10, AHEAD + 1), OUTCOME_OFFSET);
    assert_int_equal(sending.held, 0);
    assert_outcome(upload_write(sending.s, &alice, &sending.begin.upload, UINT64_MAX, "xy", 2, &sending.held),
                   OUTCOME_OFFSET);
    assert_outcome(upload_write(sending.s, &alice, &sending.begin.upload, INT64_MAX, "xy", 2, &sending.held),
                   OUTCOME_OFFSET);
    assert_ok(send_piece(&sending, AHEAD - 10, AHEAD));
    assert_ok(send_piece(&sending, 0, 10));
    assert_ok(send_piece(&sending, AHEAD, AHEAD + 10));
    assert_int_equal(sending.held, 10);
    for (size_t at = 10; at < AHEAD - 10; at += MIB)
        assert_ok(send_piece(&sending, at, at + MIB < AHEAD - 10 ? at + MIB : AHEAD - 10));
    assert_int_equal(sending.held, AHEAD + 10);
    assert_ok(send_piece(&sending, AHEAD + 10, AHEAD + MIB));
    finish(&sending);
}

static void beyond_the_size(void **state)
{
    struct sending sending = sending_of(*state, 100, true);
    assert_outcome(upload_write(sending.s, &alice, &sending.begin.upload, 99, "xy", 2, &sending.held),
                   OUTCOME_OFFSET);
    assert_outcome(upload_write(sending.s, &alice, &sending.begin.upload, 100, "x", 1, &sending.held),
                   OUTCOME_OFFSET);
    assert_ok(send_piece(&sending, 99, 100));
    assert_ok(send_piece(&sending, 0, 99));
    assert_int_equal(sending.held, 100);
    finish(&sending);
}

static void too_many_gaps(void **state)
{
    struct sending sending = sending_of(*state, 10 * KIB, false);
    for (size_t i = 1; i <= GAPS; i++)
        assert_ok(send_piece(&sending, i * 20, i * 20 + 10));
    assert_outcome(send_piece(&sending, 5 * KIB, 5 * KIB + 1), OUTCOME_OFFSET);
    assert_int_equal(sending.held, 0);
    assert_ok(send_piece(&sending, 30, 40)); /* it touches two */
    assert_ok(send_piece(&sending, 5 * KIB, 5 * KIB + 1));
    assert_outcome(send_piece(&sending, 6 * KIB, 6 * KIB + 1), OUTCOME_OFFSET);
    assert_ok(send_piece(&sending, 0, 20));
    assert_int_equal(sending.held, 50);
    assert_ok(send_piece(&sending, 50, 10 * KIB));
    assert_int_equal(sending.held, 10 * KIB);
    finish(&sending);
}

/* ---- what is ahead counts for nothing ---- */

static void commit_with_a_gap(void **state)
{
    enum { SIZE = 100000, GAP = 40000 };
    struct sending sending = sending_of(*state, SIZE, true);
    assert_ok(send_piece(&sending, 0, GAP));
    assert_ok(send_piece(&sending, GAP + 1, SIZE));
    assert_outcome(commit(&sending), OUTCOME_CHANGED);
    assert_non_null(strstr(store_why.text, "40000 came"));
    assert_outcome(stat_name(sending.s, "f", NULL), OUTCOME_ABSENT);
    assert_ok(send_piece(&sending, GAP, GAP + 1));
    assert_int_equal(sending.held, SIZE);
    finish(&sending);
}

/* A COMMIT of what is held: the tail is no part of it. */
static void commit_before_a_gap(void **state)
{
    enum { SIZE = 100000, GAP = 40000 };
    struct sending sending = sending_of(*state, SIZE, false);
    mode_t mode;
    assert_ok(send_piece(&sending, 0, GAP));
    assert_ok(send_piece(&sending, GAP + 1, SIZE));
    assert_int_equal(file_size(sending.s, "incoming", &mode), SIZE);
    sending.size = GAP;
    assert_ok(commit(&sending));
    assert_int_equal(file_size(sending.s, "blobs", &mode), GAP);
    assert_int_equal(mode, 0600);
    free(sending.bytes);
}

static void forgotten_when_opened(void **state)
{
    enum { SIZE = 100000, GAP = 40000 };
    struct sending sending = sending_of(*state, SIZE, true);
    mode_t mode;
    assert_ok(send_piece(&sending, 0, GAP));
    assert_ok(send_piece(&sending, GAP + 10, SIZE));
    look_again(&sending, GAP);
    assert_int_equal(file_size(sending.s, "incoming", &mode), GAP);
    assert_int_equal(mode, 0600);
    assert_ok(send_piece(&sending, GAP, GAP + 10));
    assert_int_equal(sending.held, GAP + 10);
    assert_ok(send_piece(&sending, GAP + 20, SIZE)); /* and again */
    assert_ok(send_piece(&sending, GAP + 10, GAP + 20));
    assert_int_equal(sending.held, SIZE);
    finish(&sending);
}

static void aborted(void **state)
{
    struct sending sending = sending_of(*state, 100000, true);
    assert_ok(send_piece(&sending, 50000, 100000));
    assert_ok(abort_upload(sending.s, &alice, &sending.begin.upload));
    assert_outcome(send_piece(&sending, 0, 50000), OUTCOME_ABSENT);
    look_again(&sending, 0);
    assert_ok(send_piece(&sending, 0, 100000));
    finish(&sending);
}

/* An orderly stop: exactly what is held. */
static void over_a_restart(void **state)
{
    enum { SIZE = 3 * MIB };
    struct sending sending = sending_of(*state, SIZE, true);
    assert_ok(send_piece(&sending, 0, 70000));
    assert_ok(send_piece(&sending, 100000, SIZE));
    subject_restart(sending.s);
    look_again(&sending, 70000);
    assert_ok(send_piece(&sending, 70000, 100000));
    assert_int_equal(sending.held, 100000);
    assert_ok(send_piece(&sending, 100000, SIZE));
    finish(&sending);
}

/* ---- a crash ---- */

enum { CRASH_SIZE = 36 * MIB, CRASH_HELD = 10 * MIB + 5, CRASH_GAP = 10 };

struct crash {
    bool closed; /* the gap, before the end */
    bool another_machine;
};

static void crash_with_a_gap(void **state, struct crash crash, uint64_t least, uint64_t most)
{
    struct subject *s = *state;
    struct store_upload_state again;
    struct sending sending = {
        .s = s,
        .begin = {.upload = id_random(), .name = "f", .size_known = true, .size = CRASH_SIZE},
        .bytes = words(CRASH_SIZE, 4),
        .size = CRASH_SIZE};
    clock_test_boot(&s->clock, 1, clock_elapsed(&s->clock));
    s->acts->close(s->store);
    s->store = NULL;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        subject_open(s);
        assert_ok(begin(s, &alice, &sending.begin, &again));
        assert_ok(send_piece(&sending, 0, CRASH_HELD));
        assert_ok(send_piece(&sending, CRASH_HELD + CRASH_GAP, CRASH_SIZE));
        if (crash.closed)
            assert_ok(send_piece(&sending, CRASH_HELD, CRASH_HELD + CRASH_GAP));
        raise(SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    if (crash.another_machine)
        clock_test_boot(&s->clock, 2, CLOCK_SECOND);
    subject_open(s);
    assert_ok(begin(s, &alice, &sending.begin, &again));
    assert_true(again.held >= least && again.held <= most);
    look_again(&sending, again.held);
    /* Now its size says again what is held. */
    assert_ok(send_piece(&sending, again.held, again.held + 7));
    s->acts->close(s->store);
    subject_open(s);
    look_again(&sending, again.held + 7);
    assert_ok(send_piece(&sending, sending.held, CRASH_SIZE));
    finish(&sending);
}

static void crash_of_the_server(void **state)
{
    crash_with_a_gap(state, (struct crash){false, false}, CRASH_SIZE - AHEAD, CRASH_HELD);
}

static void crash_of_the_server_later(void **state)
{
    crash_with_a_gap(state, (struct crash){true, false}, CRASH_SIZE - AHEAD, CRASH_SIZE);
}

static void crash_of_the_machine(void **state)
{
    crash_with_a_gap(state, (struct crash){false, true}, 0, CRASH_HELD);
}

/* ---- a disk that refuses ---- */

static void full_disk(void **state)
{
    struct sending sending = sending_of(*state, 300000, true);
    assert_ok(send_piece(&sending, 0, 100000));
    disk.full = true;
    assert_outcome(send_piece(&sending, 200000, 300000), OUTCOME_NOSPACE);
    disk.full = false;
    assert_ok(send_piece(&sending, 100000, 200000));
    assert_int_equal(sending.held, 200000); /* half of the other is there, and counts for nothing */
    assert_outcome(commit(&sending), OUTCOME_CHANGED);
    assert_ok(send_piece(&sending, 200000, 300000));
    finish(&sending);
}

/* What is ahead takes room, and is not promised beside. */
static void room(void **state)
{
    struct subject *s = *state;
    struct sending sending = sending_of(s, 20 * MIB, false);
    assert_ok(send_piece(&sending, MIB, 2 * MIB));
    s->limits.reserve_bytes = UINT64_C(1) << 60;
    subject_restart(s);
    look_again(&sending, 0);
    assert_ok(send_piece(&sending, MIB, 2 * MIB)); /* too little to be asked */
    assert_outcome(send_piece(&sending, 2 * MIB, 20 * MIB), OUTCOME_NOSPACE);
    s->limits.reserve_bytes = 0;
    subject_restart(s);
    look_again(&sending, 0);
    assert_ok(send_piece(&sending, 2 * MIB, 20 * MIB));
    assert_ok(send_piece(&sending, 0, 2 * MIB));
    finish(&sending);
    free(sending_of(s, 4 * MIB, true).bytes);
}

static void unreadable(void **state)
{
    struct subject *s = *state;
    struct sending sending = sending_of(s, 300000, true);
    assert_ok(send_piece(&sending, 100000, 200000));
    disk.unread = true;
    assert_outcome(s->acts->upload_write(s->store, &alice, &sending.begin.upload, 0, sending.bytes, 100000,
                                         &sending.held, &store_why),
                   OUTCOME_UNAVAILABLE);
    disk.unread = false;
    assert_outcome(send_piece(&sending, 150000, 300000), OUTCOME_OK);
    assert_int_equal(sending.held, 100000);
    assert_ok(send_piece(&sending, 100000, 100001)); /* it goes on over what was not read */
    assert_int_equal(sending.held, 300000);
    finish(&sending);
}

/* A file system that knows no such mode: pieces come in order, as ever. */
static void unmarked(void **state)
{
    struct sending sending = sending_of(*state, 300000, true);
    disk.unmarked = true;
    assert_outcome(send_piece(&sending, 100000, 200000), OUTCOME_OFFSET);
    disk.unmarked = false;
    assert_int_equal(sending.held, 0);
    assert_ok(send_piece(&sending, 0, 300000));
    finish(&sending);
}

/* ---- two at once ---- */

enum { PIECES = 400, PIECE = 3001, LANES = 3 };

struct lane {
    struct sending *sending;
    _Atomic unsigned *next;
    unsigned number;
};

/* Each takes the next piece that nobody has: so they are never far apart. */
static void *lane_run(void *argument)
{
    struct lane *lane = argument;
    struct sending mine = *lane->sending;
    struct failure why;
    for (unsigned i = (*lane->next)++; i < PIECES; i = (*lane->next)++) {
        size_t from = (size_t)i * PIECE;
        enum outcome outcome = OUTCOME_OFFSET;
        while (outcome == OUTCOME_OFFSET) /* too many gaps: one that sleeps will close them */
            outcome = mine.s->acts->upload_write(mine.s->store, &alice, &mine.begin.upload, from,
                                                 mine.bytes + from, PIECE, &mine.held, &why);
        assert_int_equal(outcome, OUTCOME_OK);
        if (i % 50 == lane->number)
            usleep(500);
    }
    return NULL;
}

static void lanes_at_once(void **state)
{
    struct sending sending = sending_of(*state, (size_t)PIECES * PIECE, true);
    _Atomic unsigned next = 0;
    struct lane lanes[LANES];
    pthread_t threads[LANES];
    for (unsigned i = 0; i < LANES; i++) {
        lanes[i] = (struct lane){&sending, &next, i};
        assert_int_equal(pthread_create(&threads[i], NULL, lane_run, &lanes[i]), 0);
    }
    for (unsigned i = 0; i < LANES; i++)
        pthread_join(threads[i], NULL);
    assert_ok(send_piece(&sending, 0, PIECE));
    assert_int_equal(sending.held, sending.size);
    finish(&sending);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define AHEAD_TEST(test) cmocka_unit_test_setup_teardown(test, subject_setup, subject_teardown)
        AHEAD_TEST(any_order), AHEAD_TEST(backwards),
        AHEAD_TEST(repeats_and_overlaps), AHEAD_TEST(later_wins),
        AHEAD_TEST(too_far), AHEAD_TEST(beyond_the_size),
        AHEAD_TEST(too_many_gaps), AHEAD_TEST(commit_with_a_gap),
        AHEAD_TEST(commit_before_a_gap), AHEAD_TEST(forgotten_when_opened),
        AHEAD_TEST(aborted), AHEAD_TEST(over_a_restart),
        AHEAD_TEST(crash_of_the_server), AHEAD_TEST(crash_of_the_server_later),
        AHEAD_TEST(crash_of_the_machine), AHEAD_TEST(full_disk),
        AHEAD_TEST(room), AHEAD_TEST(unreadable),
        AHEAD_TEST(unmarked), AHEAD_TEST(lanes_at_once),
    };
    return cmocka_run_group_tests_name("store: pieces before their turn", tests, NULL, NULL);
}
