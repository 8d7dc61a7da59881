#include "fault/acts/acts.h"

#include "fault/acts/trial.h"
#include "fault/acts/trial_acts.h"
#include "fault/memory/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CALLS_MAX = 20000, LEAKS_EVERY = 8 };

struct tally {
    unsigned rounds, faults, refusals, doubts;
};

struct round {
    const struct breakage *breakage;
    const struct act *act;
    struct trial trial;
    struct subject after; /* what a kill would leave: its files, copied, opened */
    unsigned nth;
};

static void wrong(const struct round *round, const char *what, const char *text)
{
    fail_msg("%s, %s %u%s%s: %s: %s", round->act->name, round->breakage->name, round->nth,
             round->breakage->lasting ? " and later" : "", round->breakage->cold ? ", cold" : "", what, text);
}

/* ---- what a kill would leave ---- */

static void copy_file(const char *from_folder, const char *to_folder, const char *name)
{
    char path[128];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s", from_folder, name);
    int from = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(from >= 0 && fstat(from, &status) == 0);
    snprintf(path, sizeof path, "%s/%s", to_folder, name);
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(to >= 0);
    for (off_t at = 0; at < status.st_size;)
        assert_true(sendfile(to, from, &at, (size_t)(status.st_size - at)) > 0);
    close(from);
    close(to);
}

/* Whatever is written from now on is seen by its time. */
static void watch_writes(const struct subject *subject)
{
    static const struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    char path[128];
    snprintf(path, sizeof path, "%s/fileshare.db-wal", subject->folder);
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
}

/* Whether anything was written to the database since. */
static bool has_written(const struct subject *subject)
{
    char path[128];
    struct stat status;
    snprintf(path, sizeof path, "%s/fileshare.db-wal", subject->folder);
    assert_int_equal(stat(path, &status), 0);
    return status.st_mtim.tv_sec != 1;
}

static void killed_folder(const struct subject *subject, char out[sizeof subject->folder])
{
    snprintf(out, sizeof subject->folder, "%.50s.killed", subject->folder);
}

/* The index of the log is memory that processes share: a crash forgets it. */
static enum trial_state look_after_kill(struct round *round)
{
    struct subject *copy = &round->after;
    *copy = *round->trial.subject;
    killed_folder(round->trial.subject, copy->folder);
    mkdir(copy->folder, 0700);
    copy_file(round->trial.subject->folder, copy->folder, "fileshare.db");
    copy_file(round->trial.subject->folder, copy->folder, "fileshare.db-wal");
    subject_open(copy);
    enum trial_state state = round->act->look(&round->trial, copy);
    copy->acts->close(copy->store); /* takes its log along; the folders stay for the next */
    return state;
}

/* ---- one round ---- */

static void judge(struct round *round, enum outcome outcome, const struct failure *why, unsigned failed)
{
    bool refused = outcome != OUTCOME_OK && outcome != OUTCOME_UNKNOWN;
    if (outcome != OUTCOME_OK && failed == 0)
        wrong(round, "refused though nothing failed", why->text);
    if (refused && !round->breakage->may(outcome) && !(round->act->local && outcome == OUTCOME_LOCAL))
        wrong(round, outcome_name(outcome), why->text);
    if (outcome != OUTCOME_OK && (why->text[0] == '\0' || strchr(why->text, '\n')))
        wrong(round, outcome_name(outcome), "there is no word about it");
    if (!round->act->look)
        return;
    enum trial_state now = round->act->look(&round->trial, round->trial.subject);
    enum trial_state later = has_written(round->trial.subject) && failed > 0 ? look_after_kill(round) : now;
    if (now == TRIAL_HALF || later == TRIAL_HALF)
        wrong(round, outcome_name(outcome), "half done");
    if (outcome == OUTCOME_OK && (now != TRIAL_DONE || later != TRIAL_DONE))
        wrong(round, now == TRIAL_DONE ? "a kill undoes it" : "it is not done", "");
    if (refused && !round->act->eager && (now != TRIAL_NOT || later != TRIAL_NOT))
        wrong(round, now == TRIAL_NOT ? "refused, but a kill does it" : "refused, but done", why->text);
}

static void repeat(struct round *round)
{
    struct failure why = {0};
    if (round->act->run(&round->trial, &why) != OUTCOME_OK)
        wrong(round, "repeated", why.text);
    if (round->act->look && round->act->look(&round->trial, round->trial.subject) != TRIAL_DONE)
        wrong(round, "repeated", "it is not done");
}

/* False once nothing failed: the act meets no more of these calls. */
static bool run_round(struct round *round, struct tally *tally)
{
    struct failure why = {0};
    if (round->act->prepare)
        round->act->prepare(&round->trial);
    if (round->breakage->cold)
        subject_restart(round->trial.subject);
    watch_writes(round->trial.subject);
    round->breakage->begin(round->nth, round->breakage->lasting);
    enum outcome outcome = round->act->run(&round->trial, &why);
    unsigned failed = round->breakage->end();
    judge(round, outcome, &why, failed);
    repeat(round);
    tally->rounds++;
    tally->faults += failed;
    tally->refusals += outcome != OUTCOME_OK;
    tally->doubts += outcome == OUTCOME_UNKNOWN;
    return failed > 0;
}

/* ---- all of them ---- */

static unsigned next(const struct breakage *breakage, const struct act *act, unsigned nth)
{
    unsigned stride = act->alike ? breakage->stride_alike : breakage->stride;
    unsigned step = stride > 0 ? nth / stride : 0;
    return nth + (step > 1 ? step : 1);
}

/*
 * The same backwards, of one act after the other that are alike but for their ids, and none of them done: what the
 * last one left in the log lies there, where this one stops half-way.
 */
static void break_backwards(const struct breakage *breakage, const struct act *act, struct subject *subject,
                            unsigned serial, unsigned from, struct tally *tally)
{
    static struct round round;
    trial_begin(&round.trial, subject, serial);
    const char *slow = getenv("FILESHARE_SLOWNESS");
    unsigned step = slow && atoi(slow) > 1 && breakage->stride > 0 ? 3 : 1;
    for (unsigned nth = from; nth > 0; nth = nth > step ? nth - step : 0) {
        struct failure why = {0};
        round.breakage = breakage;
        round.act = act;
        round.nth = nth;
        round.trial.id = id_random();
        watch_writes(subject);
        breakage->begin(nth, breakage->lasting);
        enum outcome outcome = act->run(&round.trial, &why);
        unsigned failed = breakage->end();
        judge(&round, outcome, &why, failed);
        tally->rounds++;
        tally->faults += failed;
        tally->refusals += outcome != OUTCOME_OK;
        tally->doubts += outcome == OUTCOME_UNKNOWN;
        if (outcome == OUTCOME_OK)
            assert_ok(remove_name(subject, &alice, NULL, round.trial.name, NULL));
    }
    trial_end(&round.trial);
}

static void break_act(const struct breakage *breakage, const struct act *act, struct tally *tally)
{
    static struct round round;
    static unsigned serial;
    struct subject *subject = subject_new();
    char killed[sizeof subject->folder];
    bool met = true;
    struct store_audit audit;
    /* Some acts want dozens in each round, and meet hundreds of calls. */
    subject->limits.mailboxes_per_principal = subject->limits.mailboxes;
    subject_open(subject);
    for (unsigned nth = 1; met && nth < CALLS_MAX; nth = next(breakage, act, nth)) {
        round = (struct round){.breakage = breakage, .act = act, .nth = nth};
        trial_begin(&round.trial, subject, ++serial);
        met = run_round(&round, tally);
        trial_end(&round.trial);
        if (nth % LEAKS_EVERY == 1 && memory_is_lost())
            wrong(&round, "memory is lost", "");
    }
    if (met)
        wrong(&round, "it has no end", "");
    if (act->look == look_made && !act->prepare && !breakage->cold)
        break_backwards(breakage, act, subject, ++serial, round.nth, tally);
    step(subject, 8 * STORE_ANSWER_SECONDS);
    sweep(subject, NULL, NULL);
    step(subject, 8 * STORE_ANSWER_SECONDS);
    sweep(subject, NULL, NULL);
    assert_ok(subject->acts->audit(subject->store, true, &audit, &store_why));
    if (audit.missing_blobs + audit.wrong_sizes + audit.wrong_digests + audit.orphan_blobs > 0)
        wrong(&round, "the store is not sound", "");
    killed_folder(subject, killed);
    subject_remove_folder(killed);
    subject_free(subject);
    if (memory_is_lost())
        wrong(&round, "memory is lost", "");
}

void acts_break(const struct breakage *breakage)
{
    struct tally tally = {0};
    break_act(breakage, &acts[0], &tally); /* whatever is made once and kept for good is made here */
    for (unsigned i = 0; i < act_count; i++) {
        long before = memory_blocks();
        break_act(breakage, &acts[i], &tally);
        /* What is made once and kept may be made here, too: a leak comes again. */
        if (memory_blocks() > before) {
            before = memory_blocks();
            break_act(breakage, &acts[i], &tally);
        }
        if (memory_blocks() > before)
            fail_msg("%s, %s: %ld blocks more than before", acts[i].name, breakage->name,
                     memory_blocks() - before);
    }
    print_message("%s%s%s: %u rounds, %u calls failed, %u acts were refused for it, %u of them in doubt\n",
                  breakage->name, breakage->lasting ? ", lasting" : "", breakage->cold ? ", cold" : "",
                  tally.rounds, tally.faults, tally.refusals, tally.doubts);
    assert_true(tally.faults > 0 && tally.refusals > 0);
}
