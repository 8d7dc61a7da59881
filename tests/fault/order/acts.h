/*
 * acts: every act that writes, done by real clients at a server under strace, and
 * what a disk must say that holds what each was told.
 *
 *     stage.server is started, stage.session open
 *     acts_do          ends with the server stopped in the middle of an upload
 *     acts_repair      a file damaged and set aside, by fsck under strace
 */
#pragma once

#include "client/daemon.h"
#include "fault/power/trace.h"

enum procedure {
    UPLOAD = 2,
    OPEN = 3,
    COMMIT = 5,
    ABORT = 6,
    REMOVE = 10,
    RENAME = 11,
    REGISTER = 12,
    CANCEL = 13,
    RENEW = 14,
    DETACH = 17,
    EVENTS = 18,
    UPLOAD_MANY = 20,
    NOTIFY = 2,
    ACTS_MAX = 64
};

/* What a client was told, and what a disk that has just that says to a question: 1. */
struct act {
    uint32_t procedure;
    bool reads; /* it told what was durable already */
    bool blob;  /* what it told of stands in a blob, whose syncs are its own too */
    char question[256];
    size_t ops; /* done when it was told: order_test finds out */
};

struct stage {
    struct daemon server;
    struct fileshare *session;
    struct act acts[ACTS_MAX];
    size_t act_count;
    char replay[64]; /* where trees are made */
    struct trace trace;
    size_t served; /* ops of the server, before other programs came */
};

extern struct stage stage;

void acts_do(void);
void acts_repair(const char *store, const char *trace);

/* Runs "fileshared WORDS..." under strace, to its end, which must be 0. */
void acts_run_traced(const char *trace, const char *const *words);
/* Until the tracer has written its last line. */
void acts_await_tracer(const char *trace);

/* Bytes fed to the upload at which the server is stopped; a quarter of them must be durable. */
enum { ACTS_PIECE = 8 << 20 };
