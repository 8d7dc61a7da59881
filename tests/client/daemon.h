/*
 * daemon: a real fileshared in a folder of its own, for tests.
 *
 * It listens on a Unix socket and on any port of loopback, without rpcbind, and
 * dies with the test. All functions fail the test if anything goes wrong.
 */
#pragma once

#include "fileshare/fileshare.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct daemon {
    char folder[64];
    pid_t pid;                      /* 0: it does not run */
    uint16_t port;                  /* kept over restarts */
    char tcp[64];                   /* "127.0.0.1:port" */
    char local[128];                /* "unix:/path" */
    const char *state;              /* leaf of the clients' state folder; another one has other mailboxes */
    const char *const *environment; /* "NAME=value" ... NULL: more of it for the next start; NULL: nothing */
    const char *const *options;     /* more of them, likewise */
    const char *const *launcher;    /* words before the program's own, likewise */
    bool rpcbind;                   /* it registers with rpcbind; in a network of the test's own alone */
    int status; /* how the last one ended, as of waitpid; set by daemon_stop and daemon_await */
};

void daemon_begin(struct daemon *daemon); /* makes the folder, starts it */
/* The same, not started, its folder in `parent`. */
void daemon_prepare(struct daemon *daemon, const char *parent);
void daemon_end(struct daemon *daemon); /* stops it, removes the folder */

/* Returns when it serves. */
void daemon_start(struct daemon *daemon);
/* The two halves of it; await says false if the process ended instead. */
void daemon_launch(struct daemon *daemon);
bool daemon_await(struct daemon *daemon);
void daemon_show_log(const struct daemon *daemon);
/* SIGTERM, or another signal; waits for its end. */
void daemon_stop(struct daemon *daemon, int signal);

/* SIGSTOP; returns when no thread of it runs any more. SIGCONT is the caller's. */
void daemon_freeze(const struct daemon *daemon);

/* A session; the state folder is in the daemon's. `retry_seconds` as in the options. */
struct fileshare *daemon_session(const struct daemon *daemon, const char *server, unsigned retry_seconds);

/* What the server says under that label of its counters; it must be there. */
uint64_t counted(struct fileshare *session, const char *label);

/*
 * As fork; a signal to the child finds what it does by default, from the first moment on. Else a handler of ours
 * would take, in the child, a SIGTERM that comes before its exec, and nobody would end it.
 */
pid_t fork_afresh(void);

/* Milliseconds that never go back, and how many times slower than a release build we are. */
int64_t milliseconds(void);
int slowness(void);

/* Bytes that differ everywhere, the same for the same seed: yours to free. */
uint8_t *pattern_bytes(size_t size, unsigned seed);
/* An open file of these bytes, without a name, at its start. */
int file_of(const void *bytes, size_t size);
/* The file behind `fd` is exactly these bytes. */
void expect_file(int fd, const void *bytes, size_t size);

/* Uploads these bytes; the status, and the entry if it is OK. */
enum fileshare_status put_bytes(struct fileshare *session, const char *name, const void *bytes, size_t size,
                                bool replace, bool *unchanged, struct fileshare_entry *out);
/* The same, and it must be OK. */
void put_ok(struct fileshare *session, const char *name, const void *bytes, size_t size);
/* Downloads it and compares. */
void get_ok(struct fileshare *session, const char *name, const void *bytes, size_t size);
