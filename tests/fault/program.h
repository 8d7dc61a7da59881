/*
 * program: a fileshare-client of its own process, for tests that kill it.
 *
 *     program_start -> (it prints, it dies) -> program_end
 *
 * What it prints is appended to one file, so that several in turn make one
 * journal, as a user would keep it. It dies with the test.
 */
#pragma once

#include "fault/world.h"

#include <stdint.h>
#include <sys/types.h>

enum { PROGRAM_WORDS = 16 };

struct program {
    pid_t pid; /* 0: it does not run */
    int in;    /* what it is told, for a prompt; -1 */
    int status;
};

struct program_plan {
    const char *server;               /* as for --server */
    const char *state;                /* the state folder's parent */
    const char *out;                  /* appended to */
    const char *crash;                /* FILESHARE_CRASH_AT; NULL: it lives */
    const char *words[PROGRAM_WORDS]; /* up to a NULL; none: a prompt */
};

void program_start(struct program *program, const struct program_plan *plan);
/* Whether it ended by itself within so many milliseconds; then `status` is as of waitpid. */
bool program_ends(struct program *program, int64_t milliseconds);
/* SIGSTOP; returns when no thread of it runs any more. SIGCONT is the caller's. */
void program_freeze(const struct program *program);
/* Sends the signal, waits; the status as of waitpid. */
int program_end(struct program *program, int signal);

/* Whether those words stand in a line of the file that one prints into; false if there is none yet. */
bool program_said(const char *path, const char *words);

/* An event of `listen` or a prompt, as it was printed. */
struct program_line {
    uint64_t number;
    char kind[16], name[64];
};

/* All whole lines of the file so far, at most `room`; how many there are. */
size_t program_lines(const char *out, struct program_line *lines, size_t room);
