/*
 * shim: a disk that fails on command, below any program (LD_PRELOAD), or below
 * the test itself (linked in, shim_use).
 *
 * FILESHARE_SHIM names a file that holds a struct shim; the program under test
 * and the test both map it. The test arms it; then the Nth call that opens,
 * makes, writes, cuts, grows, syncs, closes, maps, renames, links or removes
 * anything below a folder called "store", or asks how much room there is, fails.
 */
#pragma once

#include <stdatomic.h>

struct shim {
    atomic_int left;    /* calls until one fails; 0: none will */
    atomic_int error;   /* with this errno */
    atomic_int lasting; /* every call fails, while this is not 0; what is only read can be opened */
    atomic_int lasts;   /* the one that fails begins what is lasting */
    atomic_int reads;   /* reading fails too */
    atomic_int hangs;   /* while this is not 0 calls neither fail nor come back */
    atomic_uint failed; /* how many did */
    char below[64];     /* part of the paths in question; "": "/store/" */
};

/* Linked in: this one from now on. NULL: none. */
void shim_use(struct shim *use);
