/*
 * rpcbind_world: a network and a /run of this test program's own, and a real
 * rpcbind in it. Needs root; without, the test is skipped.
 */
#pragma once

#include <sys/types.h>

void rpcbind_world_need(void); /* made once a program; no rpcbind yet */
void rpcbind_world_start(void);
void rpcbind_world_kill(void); /* by SIGKILL: it forgets all */
pid_t rpcbind_world_pid(void);

/* Setup and teardown of a test: a fresh rpcbind. */
int rpcbind_world_begin(void **state);
int rpcbind_world_end(void **state);
