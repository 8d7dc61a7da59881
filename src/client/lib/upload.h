/*
 * upload: content to the server, whatever happens on the way.
 *
 * Content of up to FLIGHT_BYTES goes whole in one UPLOAD. A larger one goes in
 * rounds, each on one connection: OPEN, DATA from where the server's held bytes
 * end (verified against ours), COMMIT. A round that is cut off is followed by
 * another, with the same upload id, for as long as the session retries. What
 * ends without success and could be heard is aborted, so that the server need
 * not keep the bytes.
 *
 * With `keep` a note of it is held meanwhile (unfinished.h). If the way broke
 * for good, or it was stopped, the note stays, and the bytes on the server: the
 * next run takes up the same upload id. A file that is another than it was, from
 * run to run or from round to round, is sent anew.
 */
#pragma once

#include "client/lib/content.h"
#include "client/lib/session.h"

#include "proto/fileshare.h"

struct upload {
    struct fileshare *session;
    struct content *content;
    const char *name;
    const char *subject; /* the name as it is shown, for failures */
    fs_policy policy;
    int64_t mtime; /* if it is the file's, and the file changes before it is sent anew, it is the new one's */
    bool keep;     /* for a later run */
    fileshare_progress *progress; /* may be NULL */
    void *context;
};

/*
 * EXISTS (policy FS_FAIL; before any byte of a large one was sent), CHANGED (the
 * local file, or what arrived, is not what was read), and what the server says.
 */
must_check enum outcome upload_send(const struct upload *upload, struct fileshare_entry *out,
                                    struct failure *why);
