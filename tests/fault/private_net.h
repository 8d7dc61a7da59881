/*
 * private_net: a network and a /run of this process's own, with a real rpcbind, for tests.
 *
 * Needs root; is made before any thread starts. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct private_net {
    bool made;     /* else there is no way to have one, and nothing below does anything */
    pid_t rpcbind; /* its keeper; 0: it does not run */
};

void private_net_begin(struct private_net *net); /* rpcbind is started */
void private_net_end(struct private_net *net);
void private_net_kill_rpcbind(struct private_net *net);  /* by SIGKILL: it forgets all */
void private_net_start_rpcbind(struct private_net *net); /* returns when it answers */
/* Loopback down: nothing reaches anybody, over either family. Up: all as before. */
bool private_net_link(struct private_net *net, bool up);
/* Whether rpcbind tells this port for the program. */
bool private_net_tells(const struct private_net *net, uint32_t program, uint16_t port);
