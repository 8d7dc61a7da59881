/*
 * download: one version of a file, in order, into a descriptor.
 *
 * The first call asks for the version that is wanted (none: the newest) and
 * learns which it is; a window of calls then asks for that one. After a broken
 * connection it goes on where the written bytes end. The digest is computed as
 * they are written, and compared at the end.
 */
#pragma once

#include "client/lib/session.h"

struct download {
    struct fileshare *session;
    const char *name;    /* checked */
    const char *subject; /* the name as it is shown, for failures */
    const char *label;   /* of the descriptor, for failures */
    struct id version;   /* none: the newest */
    int fd;
    fileshare_progress *progress; /* may be NULL */
    void *context;
};

/* ABSENT; STALE if the version went away meanwhile; CORRUPT; LOCAL: the descriptor cannot be written. */
must_check enum outcome download_receive(const struct download *download, struct fileshare_entry *out,
                                         struct failure *why);
