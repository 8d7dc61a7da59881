/*
 * process: a real fileshare-client, for tests that kill and stop it.
 *
 * It runs in a folder of its own that is its home and its current one, leads a
 * process group (Ctrl-C at the test does not reach it), and dies with the thread
 * that started it.
 */
#pragma once

#include "fault/world.h"

#include <sys/types.h>

struct process {
    pid_t pid;  /* 0: it does not run */
    int status; /* how the last one ended, as of waitpid */
};

/*
 * Starts `arguments` (NULL-ended, without the program's name) in `folder`.
 * Standard output and error are appended to the files "out" and "error" there;
 * standard input is `input`, or nothing if that is -1.
 */
void process_start(struct process *process, const char *folder, const char *const *arguments, int input);
/* Whether it ended within so many milliseconds. */
bool process_ended(struct process *process, int64_t ms);
/* Sends the signal (and SIGCONT), and waits for its end: false if that does not come, and it was killed. */
bool process_stop(struct process *process, int signal, int64_t ms);
/* Its exit code; 256 and the signal's number if it died of one. */
int process_code(const struct process *process);

/* The whole file, NUL-ended: yours to free; "" if it is not there. */
char *process_read(const char *folder, const char *leaf, size_t *size);
