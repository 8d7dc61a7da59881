/*
 * unfinished: the note of an upload that was broken off, for a later run: a small file.
 *
 * <state folder>/uploads/<32 hex>, mode 0600. Its name is made of the server's
 * store, the name there, and the path of the local file; it holds the upload's id
 * and which file it was, so that another one is noticed.
 *
 *     unfinished_hold -> (note.there: go on with note.upload, if note.source and
 *         note.replace are as they shall be) -> unfinished_write, before the
 *         server hears of the id -> unfinished_end
 *
 * It is held under flock from unfinished_hold to the end, so that two puts of one
 * file do not go on with one upload. Of the notes that nobody holds, those not
 * touched for UNFINISHED_DAYS go when another is made, and the oldest when there
 * are more than UNFINISHED_MAX. A crash of the machine may lose a note: then the
 * upload begins anew, and the server drops what it has of the old one in time.
 */
#pragma once

#include "base/id.h"
#include "base/outcome.h"
#include "client/lib/content.h"

#include <stdbool.h>

enum { UNFINISHED_DAYS = 30, UNFINISHED_MAX = 1000 };

struct unfinished_key {
    const char *folder; /* of the state */
    struct id instance; /* of the server's store */
    const char *name;
    const char *path; /* absolute */
};

struct unfinished {
    int fd; /* -1: not held */
    char path[4096];
    bool there; /* what follows is what was noted */
    struct id upload;
    struct content_identity source;
    bool replace;
};

/*
 * Takes the note, which is made if there is none and `make` says so. ABSENT
 * (without `make`), HELD, LOCAL, NOSPACE. A note that cannot be read is as none.
 */
must_check enum outcome unfinished_hold(const struct unfinished_key *key, bool make, struct unfinished *out,
                                        struct failure *why);
/* upload, source and replace as they are in `note`. LOCAL, NOSPACE: then the note says nothing. */
must_check enum outcome unfinished_write(struct unfinished *note, const struct unfinished_key *key,
                                         struct failure *why);
/* Lets it go; without `keep` the file goes. One that is not held is fine. */
void unfinished_end(struct unfinished *note, bool keep);
