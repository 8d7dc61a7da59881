/*
 * The server is killed at random moments while clients upload, replace, remove,
 * rename, wait and cancel; after each start what they were told is compared with
 * what is there.
 *
 *     FILESHARE_FAULT_SEED=N      the run of that seed again, as far as the machine's timing allows
 *     FILESHARE_FAULT_SECONDS=N   so long
 */
#include "fault/cast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    QUICK_SECONDS = 10,
    LOAD_MS = 400,     /* at most, between a start and the kill */
    START_MS = 60,     /* a kill while starting comes within this */
    EVENTS_EVERY = 6,  /* rounds between two audits of events, */
    INSIDE_EVERY = 15, /* and two of the store from inside */
};

static void start_server(struct cast *cast)
{
    while (dice_throw(&cast->dice, 4) == 0) {
        daemon_launch(&cast->world.server);
        usleep(dice_throw(&cast->dice, START_MS * 1000));
        cast_kill(cast);
    }
    daemon_start(&cast->world.server);
}

static void test_killed_at_random(void **state)
{
    (void)state;
    static struct cast cast;
    cast_begin(&cast);
    int64_t until = milliseconds() + (int64_t)world_seconds(QUICK_SECONDS) * 1000;
    for (unsigned round = 1; milliseconds() < until && cast.world.wrong == 0; round++) {
        usleep(dice_throw(&cast.dice, LOAD_MS * 1000));
        cast_kill(&cast);
        start_server(&cast);
        cast_audit(&cast, round % INSIDE_EVERY == 0   ? CAST_INSIDE
                          : round % EVENTS_EVERY == 0 ? CAST_EVENTS
                                                      : CAST_FILES);
    }
    cast_end(&cast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_killed_at_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
