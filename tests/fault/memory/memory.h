/*
 * memory: allocation that fails on command, in this very program.
 *
 * What is linked with memory.c has its malloc and kin: those of our code, of
 * libtirpc, of SQLite and of the C library alike. Nothing fails until it is told to.
 *
 *     memory_fail(n, false);        the nth allocation from now on fails
 *     ...
 *     failed = memory_recover();    none fails any more; how many did since
 *
 * Threads: those count that do not spare themselves. A thread is as the one that
 * started it, from where its own function begins. Any thread may
 * recover at any time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* `lasting`: it and all that come after it. */
void memory_fail(unsigned nth, bool lasting);
unsigned memory_recover(void);

/* This thread's allocations neither fail nor count. */
void memory_spare(bool spared);

/* Blocks that are held just now, by all threads. */
long memory_blocks(void);

/* Whether something was lost: what LeakSanitizer finds, where it is built in; else false. */
bool memory_is_lost(void);
