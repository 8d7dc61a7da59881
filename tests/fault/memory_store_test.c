/*
 * Out of memory at every allocation of every act of the store: its own, and
 * SQLite's. Once, and from there on; with all prepared and cached, and cold.
 */
#include "fault/acts/acts.h"
#include "fault/memory/memory.h"

#include <sqlite3.h>
#include <stdlib.h>

static bool may(enum outcome outcome)
{
    return outcome == OUTCOME_NOMEM || outcome == OUTCOME_UNAVAILABLE;
}

static const struct breakage allocation = {.name = "allocation",
                                           .begin = memory_fail,
                                           .end = memory_recover,
                                           .may = may};

/* All of 1..n where there is time, else all up to twice as many, and then ever fewer; fewer yet where all is slow. */
static unsigned stride(unsigned quick)
{
    const char *slow = getenv("FILESHARE_SLOWNESS");
    unsigned least = slow && atoi(slow) > 1 ? quick / 4 : quick;
    return getenv("FILESHARE_FAULT_SECONDS") ? 0 : least > 1 ? least : 2;
}

static void test_once(void **state)
{
    (void)state;
    struct breakage once = allocation;
    once.stride = stride(20);
    once.stride_alike = stride(6);
    acts_break(&once);
}

static void test_lasting(void **state)
{
    (void)state;
    struct breakage lasting = allocation;
    lasting.lasting = true;
    lasting.stride = stride(10);
    lasting.stride_alike = stride(4);
    acts_break(&lasting);
}

static void test_cold(void **state)
{
    (void)state;
    struct breakage cold = allocation;
    cold.cold = true;
    cold.stride = stride(3);
    cold.stride_alike = stride(2);
    acts_break(&cold);
    cold.lasting = true;
    cold.stride = stride(2);
    acts_break(&cold);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_lasting),
        cmocka_unit_test(test_cold),
    };
    /* So that each of SQLite's allocations is one of ours. */
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0);
    return cmocka_run_group_tests_name("memory: the store", tests, NULL, NULL);
}
