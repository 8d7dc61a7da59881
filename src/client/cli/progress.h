/*
 * progress: how far a transfer is, on the terminal's last line.
 *
 *     progress_start; progress_moved ... (as a fileshare_progress); progress_end
 *
 * Drawn only if standard error is a terminal and not with -q, and only of what
 * takes longer than half a second. It is drawn by a thread of its own, so that
 * it can say that nothing moves.
 */
#pragma once

#include "client/cli/client.h"

struct progress;

/* NULL if nothing is to be drawn; the others take NULL. `name` must live as long as it. */
struct progress *progress_start(struct client *client, const char *name);
void progress_moved(void *progress, uint64_t moved, uint64_t total);
/* The line is taken away again. */
void progress_end(struct progress *progress);

/*
 * The line as it is drawn, at most `columns` characters wide: name, share, bytes,
 * rate, time left. `rate` is bytes a second; `still` the seconds since a byte moved.
 */
struct progress_state {
    const char *name;
    uint64_t moved, total; /* total UINT64_MAX: not known */
    uint64_t rate;
    unsigned still;
};
enum { PROGRESS_LINE_SIZE = 512, PROGRESS_STALLED_SECONDS = 3 };
char *progress_line(const struct progress_state *state, unsigned columns, char line[PROGRESS_LINE_SIZE]);
