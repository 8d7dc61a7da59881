/*
 * callback_crowd: clients that wait, for bench/callback.
 *
 * A crowd is a process with callback programs of its own, each for a few dozen
 * mailboxes. Every mailbox has one interest in every arrival of one name, and
 * its way back: dial-back, or reversed calls on a connection of its own. What
 * they hear they note on a board that all processes share.
 *
 *     board_new -> crowd_start ... -> (board_expect -> upload -> board_wait) ...
 *         -> crowd_end
 *
 * Everything here ends the process with a message if it fails.
 */
#pragma once

#include "rpc/client.h"

#include "proto/fileshare.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct board {
    int told; /* an eventfd: as many heard as were expected */
    _Atomic unsigned ready, heard, expected;
    _Atomic int64_t last_heard;    /* CLOCK_MONOTONIC, ns */
    _Atomic int64_t since_arrival; /* ns from the arrival's own time stamp to the last one who heard */
};

struct board *board_new(void);
/* From now on so many are to hear. */
void board_expect(struct board *board, unsigned count);
void board_wait(struct board *board);

struct crowd_options {
    uint16_t port;
    const char *name; /* what they wait for */
    unsigned count;
    bool reversed;
};

/* Forks. Returns once every way back is proved. */
pid_t crowd_start(const struct crowd_options *options, struct board *board);
void crowd_end(pid_t pid);

/* ---- what both ends of the bench use ---- */

int64_t bench_now(clockid_t clock); /* ns */
void bench_fail(const char *what) __attribute__((noreturn));
void bench_expect(enum outcome outcome, const struct failure *why);

/* `reversed`: the listener whose program serves the server's calls, or NULL. */
struct listener;
struct rpc_client *bench_connect(uint16_t port, struct listener *reversed);
fs_name bench_name(const char *name);
