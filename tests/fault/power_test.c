/*
 * Power cuts, by replay. A store at work is recorded, call by call (power/recording.h);
 * then the disk is made as a cut after each op may have left it: all that was not
 * synced kept, all of it lost, and eight times some of it by chance (power/cut.h).
 * On each of these the store is opened and held against what its callers had been
 * told by then (power/verdict.h).
 *
 *     FILESHARE_FAULT_SEED=N     the histories and the chances
 *     FILESHARE_FAULT_SECONDS=N  not the short form but the long one: longer histories
 *                                with seeds one after the other, cut after every op, for so long
 */
#include "fault/power/cut.h"
#include "fault/power/verdict.h"
#include "fault/power/work.h"
#include "fixture.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SUBSETS = 8, WAYS = 2 + SUBSETS, WRONG_SHOWN = 10 };

static struct {
    uint64_t seed;
    bool is_long;
    time_t until;
    char folder[64]; /* where trees are made */
    unsigned long histories, ops, cuts, replays;
    unsigned wrong;
} run;

static enum cut_kept kept_in(unsigned way)
{
    return way == 0 ? CUT_ALL : way == 1 ? CUT_NONE : CUT_SOME;
}

/* All ways of one cut; the number of replays that went wrong. */
static unsigned try_cut(const struct history *history, struct cut *cut, const char *what, bool silent)
{
    static struct verdict verdict;
    unsigned wrong = 0;
    /* With nothing in doubt all ways are one. */
    for (unsigned way = 0; way < (cut->pending > 0 ? WAYS : 1); way++) {
        run.replays++;
        cut_make(cut, kept_in(way), way, run.folder);
        if (verdict_give(&verdict, history, cut->length, run.folder, way) == 0)
            continue;
        wrong++;
        if (!silent && run.wrong++ < WRONG_SHOWN)
            print_error("%s, cut after op %zu of %zu, way %u: %s\n", what, cut->length,
                        history->recording.op_count, way, verdict.text);
    }
    run.cuts++;
    return wrong;
}

/* Cuts after every `step`th op, and after each at which somebody was told something. */
static void cut_up(const struct history *history, const char *what, size_t step)
{
    struct cut cut;
    const struct recording *recording = &history->recording;
    bool *told = calloc(recording->op_count + 1, sizeof *told);
    for (size_t i = 0; step > 1 && !run.is_long && i < history->deed_count; i++)
        if (history->deeds[i].told <= recording->op_count && dice_throw(&(struct dice){run.seed + i}, 6) == 0)
            told[history->deeds[i].told] = true;
    cut_begin(&cut, recording);
    for (size_t length = recording->first; length <= recording->op_count; length++) {
        if ((length - recording->first) % step != 0 && !told[length])
            continue;
        cut_advance(&cut, length);
        try_cut(history, &cut, what, false);
        if (run.is_long && time(NULL) > run.until)
            break;
    }
    cut_fini(&cut);
    free(told);
    run.histories++;
    run.ops += recording->op_count;
}

/* A disk that says it has synced what the glob matches, and has not: somewhere that must be found wrong. */
static void expect_found_out(const struct history *history, const char *lie, size_t step)
{
    static struct verdict verdict;
    struct cut cut;
    const struct recording *recording = &history->recording;
    unsigned wrong = 0;
    cut_begin(&cut, recording);
    cut_advance(&cut, recording->first);
    cut.lie = lie;
    for (size_t length = recording->first; length <= recording->op_count && wrong == 0; length++) {
        bool last = length == recording->op_count;
        if (!last && (length - recording->first) % step != 0)
            continue;
        cut_advance(&cut, length);
        cut_make(&cut, CUT_NONE, 0, run.folder);
        wrong = verdict_give(&verdict, history, length, run.folder, 0);
        run.replays++;
    }
    if (cut.lies == 0)
        fail_msg("nothing like %s is ever synced", lie);
    if (wrong == 0)
        fail_msg("nobody minds that %s is not synced (%zu times)", lie, cut.lies);
    print_message("without syncs of \"%s\", cut after op %zu: %s\n", lie, cut.length, verdict.text);
    cut_fini(&cut);
}

/* What the recorder knows is all that there is: with everything kept, the tree is the one that was left. */
static void expect_complete(const struct history *history)
{
    char command[256];
    struct cut cut;
    cut_begin(&cut, &history->recording);
    cut_advance(&cut, history->recording.op_count);
    cut_make(&cut, CUT_ALL, 0, run.folder);
    cut_fini(&cut);
    snprintf(command, sizeof command, "diff -r %s %s", history->folder, run.folder);
    if (system(command) != 0)
        fail_msg("the recorder missed something");
}

static void step_for(const struct history *history, size_t cuts, size_t *step)
{
    size_t ops = history->recording.op_count - history->recording.first;
    cuts = run.is_long ? cuts * 4 : cuts / (size_t)slowness() + 2;
    *step = ops < cuts ? 1 : ops / cuts;
}

static void play(struct history *history, const char *what, size_t cuts)
{
    size_t step;
    history_end(history);
    expect_complete(history);
    step_for(history, cuts, &step);
    cut_up(history, what, step);
    history_fini(history);
    assert_int_equal(run.wrong, 0);
}

/* ---- the tests ---- */

static void test_random(void **state)
{
    (void)state;
    enum { STEPS = 60, LONG_STEPS = 120, CUTS = 30, ALL = 1 << 30 };
    struct history history;
    for (uint64_t seed = run.seed; seed == run.seed || (run.is_long && time(NULL) < run.until); seed++) {
        history_begin(&history, seed);
        work_at_random(&history, run.is_long ? LONG_STEPS : STEPS);
        play(&history, "at random", run.is_long ? ALL : CUTS);
    }
}

static void test_uploads(void **state)
{
    (void)state;
    struct history history;
    history_begin(&history, run.seed);
    work_at_uploads(&history);
    play(&history, "uploads", 12);
}

static void test_log(void **state)
{
    (void)state;
    struct history history;
    history_begin(&history, run.seed);
    work_at_log(&history);
    play(&history, "log", 6);
}

/* What is left of many files that came together is put together anew, and the old content goes. */
static void test_bundles(void **state)
{
    (void)state;
    struct history history;
    history_begin(&history, run.seed);
    work_at_bundles(&history);
    play(&history, "bundles", 16);
}

static void test_old(void **state)
{
    (void)state;
    struct history history;
    char *statements = fixture_store(1);
    assert_non_null(statements);
    history_begin(&history, run.seed);
    work_at_old(&history, statements);
    free(statements);
    play(&history, "an older form", 12);
}

static void test_repair(void **state)
{
    (void)state;
    struct history history;
    history_begin(&history, run.seed);
    work_at_repair(&history);
    play(&history, "repair", 12);
}

/* Each sync is there for something: without it the verdict is another. */
static void test_lies(void **state)
{
    (void)state;
    static const char *const at_work[] = {
        "",
        "store",
        "store/blobs",
        "store/blobs/[0-9a-f]?",
        "store/blobs/[0-9a-f]?/*",
        "store/incoming/*",
        "store/fileshare.db",
        "store/fileshare.db-wal",
        "backup.new-*",
        "backup.new-*/blobs/[0-9a-f]?",
    };
    static const char *const of_uploads[] = {"store/incoming", "store/incoming/*"};
    static const char *const of_bundles[] = {"store/blobs/[0-9a-f]?/*", "store/blobs/[0-9a-f]?"};
    static const char *const of_repair[] = {"store/lost", "store/lost/list"};
    struct history history;
    history_begin(&history, 1);
    work_at_random(&history, 60);
    history_end(&history);
    for (size_t i = 0; i < sizeof at_work / sizeof at_work[0]; i++)
        expect_found_out(&history, at_work[i], 97);
    history_fini(&history);
    history_begin(&history, 1);
    work_at_uploads(&history);
    history_end(&history);
    for (size_t i = 0; i < sizeof of_uploads / sizeof of_uploads[0]; i++)
        expect_found_out(&history, of_uploads[i], 5);
    history_fini(&history);
    history_begin(&history, 1);
    work_at_repair(&history);
    history_end(&history);
    for (size_t i = 0; i < sizeof of_repair / sizeof of_repair[0]; i++)
        expect_found_out(&history, of_repair[i], 5);
    history_fini(&history);
    history_begin(&history, 1);
    work_at_bundles(&history);
    history_end(&history);
    for (size_t i = 0; i < sizeof of_bundles / sizeof of_bundles[0]; i++)
        expect_found_out(&history, of_bundles[i], 1);
    history_fini(&history);
}

static int begin(void **state)
{
    (void)state;
    const char *seed = getenv("FILESHARE_FAULT_SEED"), *seconds = getenv("FILESHARE_FAULT_SECONDS");
    run.seed = seed ? strtoull(seed, NULL, 10) : (uint64_t)time(NULL);
    run.is_long = seconds != NULL;
    run.until = time(NULL) + (seconds ? atoi(seconds) : 0);
    print_message("FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)run.seed);
    return place_make(run.folder, place_in_memory(), "power_replay") ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    char command[128];
    print_message("%lu histories of %lu ops, %lu cuts, %lu replays, %u wrong\n", run.histories, run.ops,
                  run.cuts, run.replays, run.wrong);
    snprintf(command, sizeof command, "rm -rf %s", run.folder);
    return system(command) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uploads), cmocka_unit_test(test_log),    cmocka_unit_test(test_old),
        cmocka_unit_test(test_bundles), cmocka_unit_test(test_repair), cmocka_unit_test(test_lies),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
