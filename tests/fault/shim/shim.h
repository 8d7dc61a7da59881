/*
 * shim: a disk that fails on command, below any program (LD_PRELOAD).
 *
 * FILESHARE_SHIM names a file that holds a struct shim; the program under test
 * and the test both map it. The test arms it; then the Nth call that opens,
 * writes, cuts, syncs or renames anything below a folder called "store" fails.
 */
#pragma once

#include <stdatomic.h>

struct shim {
    atomic_int left;    /* calls until one fails; 0: none will */
    atomic_int error;   /* with this errno */
    atomic_int lasting; /* every call fails, while this is not 0; what is only read can be opened */
    atomic_uint failed; /* how many did */
};
