/*
 * Every call at the disk of every act of the store fails: in this very program,
 * so that what is lost on the way is seen. Once, and from there on.
 */
#include "fault/acts/acts.h"
#include "fault/shim/shim.h"

#include <errno.h>
#include <stdlib.h>

static struct shim shim = {.below = "/store."};

static void begin_faults(unsigned nth, bool lasting)
{
    shim.failed = 0;
    shim.lasts = lasting;
    shim.left = (int)nth;
}

static unsigned end_faults(void)
{
    shim.left = shim.lasting = shim.lasts = 0;
    return shim.failed;
}

static bool may_be_full(enum outcome outcome)
{
    return outcome == OUTCOME_NOSPACE || outcome == OUTCOME_UNAVAILABLE;
}

static bool may_be_broken(enum outcome outcome)
{
    return outcome == OUTCOME_UNAVAILABLE;
}

/* For SQLite a page that cannot be read is a damaged one. */
static bool may_be_unreadable(enum outcome outcome)
{
    return outcome == OUTCOME_UNAVAILABLE || outcome == OUTCOME_CORRUPT;
}

/* All of 1..n where there is time; fewer where all is slow. */
static unsigned stride(unsigned quick)
{
    const char *slow = getenv("FILESHARE_SLOWNESS");
    unsigned least = slow && atoi(slow) > 1 ? quick / 8 : quick;
    return getenv("FILESHARE_FAULT_SECONDS") ? 0 : least > 2 ? least : 2;
}

static void try(int error, bool reads, const char *name)
{
    struct breakage breakage = {
        .name = name,
        .begin = begin_faults,
        .end = end_faults,
        .may = error == ENOSPC ? may_be_full
               : reads         ? may_be_unreadable
                               : may_be_broken,
        .stride = stride(50),
        .stride_alike = stride(3),
    };
    shim.error = error;
    shim.reads = reads;
    shim_use(&shim);
    acts_break(&breakage);
    breakage.lasting = true;
    acts_break(&breakage);
    shim_use(NULL);
}

static void test_full(void **state)
{
    (void)state;
    try(ENOSPC, false, "full disk, call");
}

static void test_broken(void **state)
{
    (void)state;
    try(EIO, true, "broken disk, call");
}

static void test_read_only(void **state)
{
    (void)state;
    try(EROFS, false, "read-only disk, call");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_broken),
        cmocka_unit_test(test_read_only),
    };
    return cmocka_run_group_tests_name("disk: the store", tests, NULL, NULL);
}
