/*
 * interrupt: Ctrl-C, SIGTERM, and SIGHUP where it is not ignored.
 *
 * The first signal stops what the sessions that were added are doing
 * (fileshare_stop), so that they end in good order: interests are cancelled,
 * parts of files removed. Without a session it ends the process at once, unless
 * somebody holds (the prompt does). A second signal that comes before the first
 * was taken always ends it. So do 20 seconds in which it was not: a server that hangs is given less, but
 * output that nobody reads, or a resolver, may take for ever.
 *
 * One for the process: signal handlers have no other way to find it. SIGPIPE is
 * ignored: writing to a closed pipe fails, and is told.
 */
#pragma once

#include "client/cli/exit.h"

#include <stdbool.h>

/* Before any thread starts. */
void interrupt_init(void);

enum { INTERRUPT_SESSIONS = 20 };

/* Stopped by signals, until it is removed (before it is closed). INTERRUPT_SESSIONS at most. Any thread. */
void interrupt_add(struct fileshare *session);
void interrupt_remove(struct fileshare *session);

/* While it is held, a signal with no session to stop is only noted. */
void interrupt_hold(bool hold);

/* Readable while a signal was noted and not taken. */
int interrupt_fd(void);

/* The signal that was noted, or 0. */
int interrupt_noted(void);
/* The same, and forgets it. */
int interrupt_take(void);

/* What to exit with after a stop: EXIT_SIGNAL and the signal noted. */
enum exit_code interrupt_code(void);
