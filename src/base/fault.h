/*
 * fault: named places at which a test build can be made to die.
 *
 *     FAULT_POINT("publish-synced");
 *
 * Nothing at all, unless the build has the option FILESHARE_FAULTS. Then the
 * environment says what happens:
 *
 *     FILESHARE_CRASH_AT=NAME     kill -9 of the process when that place is passed
 *     FILESHARE_CRASH_AT=NAME:N   when it is passed for the Nth time
 *     FILESHARE_CRASH_AT=list     prints the names of all places, one a line, and ends
 *
 * A name stands at one place. tests/fault/crash_test.c goes through all of them.
 */
#pragma once

#ifdef FILESHARE_FAULTS

void fault_pass(const char *name);

/* The names lie side by side in a section of their own, so that the program can list them. */
#define FAULT_POINT(name)                                                                      \
    do {                                                                                       \
        static const char *fault_name_ __attribute__((section("fault_names"), used)) = (name); \
        fault_pass(fault_name_);                                                               \
    } while (0)

#else

#define FAULT_POINT(name) ((void)0)

#endif
