/*
 * Mixed load and every kind of fault, in periods: storms in which the server dies
 * all the time, and lives of it in which all else breaks. After each period all
 * is audited; over a life what the server takes must return to its base line.
 *
 *     FILESHARE_FAULT_SEED=N      the run of that seed again, as far as the machine's timing allows
 *     FILESHARE_FAULT_SECONDS=N   so long; tools/torture sets it
 */
#include "fault/torture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum {
    QUICK_SECONDS = 11,
    ROUGH = 8, /* of a thousand messages */
    STORM_MS = 60000,
    STORM_PART_MS = 4000, /* between two audits in a storm */
    LIFE_PERIOD_MS = 25000,
    LIFE_PERIODS = 4,
    LONG_LIFE_PERIODS = 12,
    LONG_LIFE_EVERY = 3, /* rounds */
};

static bool goes_on(const struct stage *stage)
{
    return !stage_interrupted && stage->world.wrong == 0;
}

/* The server dies all the time. */
static void storm(struct stage *stage, int64_t ms)
{
    for (int64_t left = ms; left > 0 && goes_on(stage); left -= STORM_PART_MS) {
        stage_work(stage, left < STORM_PART_MS ? left : STORM_PART_MS, TROUBLE_DEATHS | TROUBLE_OTHERS,
                   ROUGH);
        stage_quiet(stage);
        stage_audit(stage);
        stage_go_on(stage);
    }
}

/*
 * The server lives through all the rest; what it takes is measured. `settles`: after each
 * period what takes its time to expire is waited for, too.
 */
static void life(struct stage *stage, unsigned periods, int64_t ms, bool settles)
{
    for (unsigned i = 0; i < periods && goes_on(stage); i++) {
        stage_work(stage, ms, TROUBLE_OTHERS, ROUGH);
        stage_quiet(stage);
        stage_audit(stage);
        if (settles || i + 1 == periods)
            stage_settle(stage);
        stage_measure(stage);
        if (i + 1 == periods || !goes_on(stage))
            stage_renew(stage);
        stage_go_on(stage);
    }
}

/* A new life begins with a server that nobody has killed. */
static void begin_life(struct stage *stage)
{
    stage_quiet(stage);
    stage_renew(stage);
    stage_go_on(stage);
}

static void test_torture(void **state)
{
    (void)state;
    static struct stage stage;
    int64_t ms = (int64_t)world_seconds(QUICK_SECONDS) * 1000;
    bool quick = ms < 60000;
    stage_begin(&stage);
    int64_t until = milliseconds() + ms;
    for (unsigned round = 1; goes_on(&stage) && (round == 1 || milliseconds() < until); round++) {
        storm(&stage, quick ? ms / 2 : ms / 5 < STORM_MS ? ms / 5 : STORM_MS);
        begin_life(&stage);
        if (quick)
            life(&stage, 2, ms / 4, false);
        else
            life(&stage, round % LONG_LIFE_EVERY == 0 ? LONG_LIFE_PERIODS : LIFE_PERIODS, LIFE_PERIOD_MS,
                 true);
    }
    stage_quiet(&stage);
    stage_report(&stage);
    assert_true(stage.world.kills > 0 && stage.world.acts > 0 && stage.world.events > 0);
    stage_end(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_torture)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
