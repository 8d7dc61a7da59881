/* Many threads at once: every waiter hears once, acts share commits, repeats count once. */
#include "service/store_subject.h"

#include "server/store/local/local.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAMES = 40, PUBLISHERS = 3, WAITERS = 4, WAITS = 30, THREADS = 64 };

/* A step of a sequence that depends on the seed alone. */
static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245 + 12345;
    return *seed >> 16;
}

struct waiting {
    struct subject *s;
    unsigned seed;
    struct id boxes[WAITS];
    unsigned told[WAITS]; /* as present */
    char globs_box_told[NAMES];
    struct id globs_box;
};

struct publishing {
    struct subject *s;
    unsigned first;
    atomic_bool *stop;
};

static void name_of(unsigned number, char name[16])
{
    snprintf(name, 16, "n/%u", number);
}

static void *publish_some(void *argument)
{
    struct publishing *p = argument;
    for (unsigned i = p->first; i < NAMES; i += PUBLISHERS) {
        char name[16];
        bool left;
        name_of(i, name);
        assert_ok(put(p->s, &bob, name, name, NULL));
        if (i % 2)
            assert_ok(p->s->acts->fan_out(p->s->store, 4, &left, &store_why));
    }
    return NULL;
}

static void *wait_for_some(void *argument)
{
    struct waiting *w = argument;
    for (unsigned i = 0; i < WAITS; i++) {
        char name[16];
        name_of(next_random(&w->seed) % NAMES, name);
        w->boxes[i] = id_random();
        struct store_interest_add add = {
            .mailbox = w->boxes[i],
            .interest = id_random(),
            .pattern = name,
            .seconds = 100,
            .present = true,
        };
        struct store_entry there[1];
        struct store_registration made;
        struct failure why;
        assert_int_equal(w->s->acts->interest_add(w->s->store, &alice, &add, there, 1, &made, &why),
                         OUTCOME_OK);
        w->told[i] = (unsigned)made.present;
        if (i != WAITS / 3)
            continue;
        struct store_entry many[NAMES];
        w->globs_box = id_random();
        add = (struct store_interest_add){
            .mailbox = w->globs_box,
            .interest = id_random(),
            .glob = true,
            .pattern = w->seed % 2 ? "n/*" : "**",
            .seconds = 100,
            .every = true,
            .present = true,
        };
        assert_int_equal(w->s->acts->interest_add(w->s->store, &alice, &add, many, NAMES, &made, &why),
                         OUTCOME_OK);
        for (size_t k = 0; k < made.present; k++)
            w->globs_box_told[atoi(many[k].name + 2)]++;
    }
    return NULL;
}

static void *sweep_and_claim(void *argument)
{
    struct publishing *p = argument;
    while (!*p->stop) {
        struct store_sweep gone;
        struct failure why;
        bool left;
        int64_t next;
        assert_int_equal(p->s->acts->sweep(p->s->store, &gone, &left, &next, &why), OUTCOME_OK);
        assert_int_equal(p->s->acts->fan_out(p->s->store, 1, &left, &why), OUTCOME_OK);
    }
    return NULL;
}

static void every_waiter_hears_once(void **state)
{
    struct subject *s = *state;
    atomic_bool stop = false;
    struct publishing publishers[PUBLISHERS], upkeep = {s, 0, &stop};
    struct waiting *waiters = calloc(WAITERS, sizeof *waiters);
    pthread_t threads[PUBLISHERS + WAITERS + 1];
    for (unsigned i = 0; i < WAITERS; i++) {
        waiters[i] = (struct waiting){.s = s, .seed = i + 1};
        pthread_create(&threads[i], NULL, wait_for_some, &waiters[i]);
    }
    for (unsigned i = 0; i < PUBLISHERS; i++) {
        publishers[i] = (struct publishing){s, i, &stop};
        pthread_create(&threads[WAITERS + i], NULL, publish_some, &publishers[i]);
    }
    pthread_create(&threads[WAITERS + PUBLISHERS], NULL, sweep_and_claim, &upkeep);
    for (unsigned i = 0; i < WAITERS + PUBLISHERS; i++)
        pthread_join(threads[i], NULL);
    stop = true;
    pthread_join(threads[WAITERS + PUBLISHERS], NULL);
    fan_out(s);
    for (unsigned i = 0; i < WAITERS; i++) {
        struct store_event found[NAMES + 1];
        bool more;
        for (unsigned k = 0; k < WAITS; k++) {
            size_t count = 0;
            if (!waiters[i].told[k])
                count = events(s, &waiters[i].boxes[k], 0, found, NAMES + 1, &more);
            assert_int_equal(count + waiters[i].told[k], 1);
        }
        size_t count = events(s, &waiters[i].globs_box, 0, found, NAMES + 1, &more);
        for (size_t k = 0; k < count; k++)
            waiters[i].globs_box_told[atoi(found[k].entry.name + 2)]++;
        for (unsigned k = 0; k < NAMES; k++)
            assert_int_equal(waiters[i].globs_box_told[k], 1);
    }
    free(waiters);
}

/* ---- content and names that change under those who look ---- */

static void *replace_some(void *argument)
{
    struct publishing *p = argument;
    struct failure why;
    uint8_t *bytes = calloc(1, 20000);
    for (unsigned i = 0; !*p->stop; i++) {
        char name[16];
        struct store_entry entry;
        name_of(i % 7, name);
        struct store_put put = {.op = id_random(), .name = name, .content = bytes, .size = 20000};
        put.condition.replace = true;
        assert_int_equal(p->s->acts->put(p->s->store, &root, &put, &entry, &why), OUTCOME_OK);
        struct store_read *read = NULL;
        enum outcome outcome = p->s->acts->read_open(p->s->store, name, &put.op, &read, &entry, &why);
        assert_true(outcome == OUTCOME_OK ||
                    outcome == OUTCOME_STALE); /* replaced, and a day passed: but never CORRUPT */
        p->s->acts->read_close(read);
    }
    free(bytes);
    return NULL;
}

/* Content that is being made is no orphan; a name that is replaced while it is looked at is present once. */
static void replaced_under_the_eyes(void **state)
{
    struct subject *s = *state;
    atomic_bool stop = false;
    struct publishing publishers[2] = {{s, 0, &stop}, {s, 1, &stop}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, replace_some, &publishers[i]);
    for (int round = 0; round < 60; round++) {
        struct store_entry there[NAMES];
        struct store_registration made;
        struct failure why;
        struct store_interest_add add = {
            .mailbox = id_random(),
            .interest = id_random(),
            .glob = true,
            .pattern = "n/*",
            .seconds = 100,
            .present = true,
        };
        assert_int_equal(s->acts->interest_add(s->store, &alice, &add, there, NAMES, &made, &why),
                         OUTCOME_OK);
        for (size_t i = 0; i < made.present; i++)
            for (size_t k = 0; k < i; k++)
                assert_string_not_equal(there[i].name, there[k].name);
        if (round % 20 == 0) {
            step(s, 86401); /* the folders of blobs are looked through again */
            sweep(s, NULL, NULL);
        }
    }
    stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    struct store_audit audit;
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_int_equal(audit.missing_blobs + audit.wrong_sizes + audit.wrong_digests, 0);
}

/* ---- shared commits ---- */

struct putting {
    struct subject *s;
    pthread_barrier_t *start;
    struct id op;
    unsigned number;
    enum outcome outcome;
    struct store_entry entry;
};

static void *put_one(void *argument)
{
    struct putting *p = argument;
    char name[32];
    struct failure why;
    snprintf(name, sizeof name, "f%u", p->number);
    struct store_put put = {.op = p->op, .name = name, .content = "x", .size = 1};
    pthread_barrier_wait(p->start);
    p->outcome = p->s->acts->put(p->s->store, &alice, &put, &p->entry, &why);
    return NULL;
}

static void put_at_once(struct subject *s, struct putting *puts)
{
    pthread_t threads[THREADS];
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, THREADS);
    for (unsigned i = 0; i < THREADS; i++) {
        puts[i].s = s;
        puts[i].start = &start;
        pthread_create(&threads[i], NULL, put_one, &puts[i]);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&start);
}

/*
 * A slow disk's best friend: those that come while one transaction is committed go together in the next. On a fast
 * one it takes luck that they come so: a round in which they do is enough, and there is none if each is committed alone.
 */
static void acts_share_commits(void **state)
{
    struct subject *s = *state;
    struct putting *puts = calloc(THREADS, sizeof *puts);
    enum { ROUNDS = 100 };
    uint64_t commits = THREADS;
    unsigned round = 0;
    for (; round < ROUNDS && commits > THREADS * 3 / 4; round++) {
        for (unsigned i = 0; i < THREADS; i++)
            puts[i] = (struct putting){.op = id_random(), .number = round * THREADS + i};
        uint64_t before = store_local_commits(s->store);
        put_at_once(s, puts);
        commits = store_local_commits(s->store) - before;
        for (unsigned i = 0; i < THREADS; i++)
            assert_int_equal(puts[i].outcome, OUTCOME_OK);
    }
    print_message("round %u: %u puts in %u commits\n", round, (unsigned)THREADS, (unsigned)commits);
    assert_true(commits <= THREADS * 3 / 4);
    free(puts);
}

/* The same act from everywhere at once: done once, and all are told the same. */
static void repeats_join(void **state)
{
    struct subject *s = *state;
    struct putting *puts = calloc(THREADS, sizeof *puts);
    struct id op = id_random();
    for (unsigned i = 0; i < THREADS; i++)
        puts[i] = (struct putting){.op = op, .number = 1};
    put_at_once(s, puts);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(puts[i].outcome, OUTCOME_OK);
        assert_int_equal(puts[i].entry.arrival, puts[0].entry.arrival);
    }
    struct store_health health;
    assert_ok(s->acts->health(s->store, &health, &store_why));
    assert_int_equal(health.files, 1);
    free(puts);
}

/* ---- the database's log ---- */

/* As many as make the log long; and again, where that does not take too long. */
#ifdef FILESHARE_SANITIZED
enum { PUTS = 170, PUTTERS = 8, LISTERS = 2 };
#else
enum { PUTS = 300, PUTTERS = 8, LISTERS = 4 };
#endif

static void *put_sixteens(void *argument)
{
    struct publishing *p = argument;
    struct failure why;
    uint8_t *bytes = calloc(1, 16384);
    for (unsigned i = 0; i < PUTS; i++) {
        char name[16];
        struct store_entry entry;
        name_of(p->first * PUTS + i, name);
        struct store_put put = {.op = id_random(), .name = name, .content = bytes, .size = 16384};
        assert_int_equal(p->s->acts->put(p->s->store, &root, &put, &entry, &why), OUTCOME_OK);
    }
    free(bytes);
    return NULL;
}

static bool take_listed(void *context, const struct store_entry *entry)
{
    (void)context;
    assert_non_null(strchr(entry->name, '7'));
    return true;
}

static void *list_on(void *argument)
{
    struct publishing *p = argument;
    struct store_list list = {.glob = "**/*7*", .limit = 100, .take = take_listed};
    while (!*p->stop) {
        struct store_page page;
        struct failure why;
        assert_int_equal(p->s->acts->list(p->s->store, &list, &page, &why), OUTCOME_OK);
    }
    return NULL;
}

/* Readers that overlap without end do not make the log grow without end. */
static void the_log_begins_anew(void **state)
{
    struct subject *s = *state;
    atomic_bool stop = false;
    struct publishing roles[PUTTERS + LISTERS];
    pthread_t threads[PUTTERS + LISTERS];
    for (unsigned i = 0; i < PUTTERS + LISTERS; i++) {
        roles[i] = (struct publishing){s, i, &stop};
        pthread_create(&threads[i], NULL, i < PUTTERS ? put_sixteens : list_on, &roles[i]);
    }
    for (unsigned i = 0; i < PUTTERS; i++)
        pthread_join(threads[i], NULL);
    stop = true;
    for (unsigned i = PUTTERS; i < PUTTERS + LISTERS; i++)
        pthread_join(threads[i], NULL);
    char path[128];
    struct stat status;
    snprintf(path, sizeof path, "%s/fileshare.db-wal", s->folder);
    assert_int_equal(stat(path, &status), 0);
    print_message("the log: %lld MB\n", (long long)status.st_size / 1000000);
    assert_true(status.st_size < 80 * 1000000);
}

/* ---- one upload, many writers ---- */

struct writing {
    struct subject *s;
    struct id upload;
    _Atomic unsigned *taken;
};

static void *write_all(void *argument)
{
    struct writing *w = argument;
    enum { PIECE = 1000, PIECES = 200 };
    uint8_t piece[PIECE];
    struct failure why;
    for (unsigned i = 0; i < PIECES; i++) {
        uint64_t held;
        fill(piece, PIECE, i);
        enum outcome outcome = w->s->acts->upload_write(w->s->store, &alice, &w->upload, (uint64_t)i * PIECE,
                                                        piece, PIECE, &held, &why);
        if (outcome == OUTCOME_OK)
            atomic_fetch_add(w->taken, 1);
        else if (outcome == OUTCOME_OFFSET && held < (uint64_t)i * PIECE)
            i = (unsigned)(held / PIECE) - 1; /* another is behind: goes on from what is held */
        else
            assert_int_equal(outcome, OUTCOME_OFFSET);
    }
    return NULL;
}

static void one_upload_many_writers(void **state)
{
    struct subject *s = *state;
    _Atomic unsigned taken = 0;
    struct writing w = {s, id_random(), &taken};
    struct store_upload_begin b = {.upload = w.upload, .name = "f"};
    struct store_upload_state st;
    pthread_t threads[4];
    assert_ok(begin(s, &alice, &b, &st));
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, write_all, &w);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_true(taken >= 200); /* a piece that is held, or ahead, is taken as well */
    uint8_t *whole = malloc(200000);
    for (unsigned i = 0; i < 200; i++)
        fill(whole + (size_t)i * 1000, 1000, i);
    struct store_publish p = {.upload = w.upload, .check = true, .size = 200000, .check_digest = true};
    p.digest = digest_of(whole, 200000);
    struct store_entry entry;
    assert_ok(publish(s, &alice, &p, &entry));
    free(whole);
}

#define THREAD_TEST(test) cmocka_unit_test_setup_teardown(test, subject_setup, subject_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        THREAD_TEST(every_waiter_hears_once), THREAD_TEST(replaced_under_the_eyes),
        THREAD_TEST(acts_share_commits),      THREAD_TEST(repeats_join),
        THREAD_TEST(the_log_begins_anew),     THREAD_TEST(one_upload_many_writers),
    };
    return cmocka_run_group_tests_name("store: local, many threads", tests, NULL, NULL);
}
