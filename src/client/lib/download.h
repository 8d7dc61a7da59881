/*
 * download: one version of a file, in order, into a descriptor.
 *
 * The first call asks for the version that is wanted (none: the newest) and
 * learns which it is; a window of calls then asks for that one. After a broken
 * connection it goes on where the written bytes end. The digest is computed as
 * they are written, and compared at the end.
 *
 * A place that can be begun anew (download.begin) is asked for when the version
 * is known. What it holds already is read into the digest, and the rest asked
 * for. If the digest does not match at the end, and some of the bytes are of an
 * earlier run, all of it is got anew, once; and if the version went away on the
 * server, and none was asked for, the newest.
 */
#pragma once

#include "client/lib/session.h"

struct download {
    struct fileshare *session;
    const char *name;    /* checked */
    const char *subject; /* the name as it is shown, for failures */
    const char *label;   /* of the descriptor, for failures */
    struct id version;   /* none: the newest */
    int fd;              /* without `begin` */
    /*
     * Where the bytes of this version go, for reading and writing, and how many are there; `anew`: none.
     * May be NULL.
     */
    enum outcome (*begin)(void *place, const struct fileshare_entry *entry, bool anew, int *fd,
                          uint64_t *held, struct failure *why);
    void *place;
    const struct fileshare_entry *known; /* what the server said of that version before; may be NULL */
    fileshare_progress *progress;        /* may be NULL */
    void *context;
};

/* ABSENT; STALE if the version went away meanwhile; CORRUPT; LOCAL: the descriptor cannot be written. */
must_check enum outcome download_receive(const struct download *download, struct fileshare_entry *out,
                                         struct failure *why);

/* Whether what was written may still be of use: only the way broke, or we were stopped. */
bool download_is_only_broken(enum outcome outcome);
