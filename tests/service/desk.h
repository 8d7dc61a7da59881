/*
 * desk: the procedures on a real store, without sockets, for tests.
 *
 * A call is encoded, served by the page as a worker would, and its reply
 * decoded. Who calls is a uid that the "kernel" vouches for. Time is a test
 * clock. Results point into the reply, which lives until the next desk_call.
 */
#pragma once

#include "base/clock.h"
#include "rpc/page.h"
#include "server/procedures/service.h"

#include "proto/fileshare.h"

#include <sys/types.h>

struct desk {
    char folder[64];
    struct clock clock;
    struct store_limits limits; /* the defaults; others count from desk_reopen on */
    struct store *store;
    struct rpc_server *server; /* never started: counters and reversed calls want one */
    struct delivery *delivery; /* not started: events stay in the mailbox */
    struct service service;
    struct page page;
    struct record *reply;
    void (*serving)(bool begins); /* NULL, or told when the page begins and has ended */
};

enum { DESK_ALICE = 1001, DESK_BOB = 1002, DESK_ROOT = 0 };

/* Fail the test if anything goes wrong. */
void desk_open(struct desk *desk);
void desk_close(struct desk *desk);  /* removes the folder */
void desk_reopen(struct desk *desk); /* as after a restart of the server */

/*
 * `uid` -1: AUTH_NONE. Returns what the reply's header says: OK, or DENIED and so
 * on; UNREACHABLE if there is no reply.
 */
enum outcome desk_try(struct desk *desk, int uid, uint32_t procedure, xdrproc_t encode, void *arguments,
                      xdrproc_t decode, void *results);
/* The same; anything but OK fails the test. */
void desk_call(struct desk *desk, int uid, uint32_t procedure, xdrproc_t encode, void *arguments, xdrproc_t decode,
               void *results);

/* Wire values from text and numbers. */
fs_name desk_name(const char *text);
fs_data desk_data(const void *bytes, size_t count);
fs_id desk_id(unsigned number); /* never none, but for 0 */

/* UPLOAD by `uid` under op id `op`; its status. */
fs_status desk_put(struct desk *desk, int uid, unsigned op, const char *name, const char *content, fs_policy policy);
