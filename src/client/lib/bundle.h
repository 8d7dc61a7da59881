/*
 * bundle: small files that go up in one UPLOAD_MANY.
 *
 *     bundle_new
 *         bundle_add ...      files are read, until it is full
 *         bundle_send         again, after the call was lost: the same op ids
 *         bundle_receive
 *         bundle_result       what became of file n, for each of them
 *         bundle_reset        for the next files
 *     bundle_free
 *
 * A file that cannot be read, or has a name that cannot be, stands in the bundle
 * with its failure and is not sent. With `replace`, and after EXISTS, STAT tells
 * whether the server has these very bytes already.
 *
 * One thread. The call under way belongs to the connection it was sent on:
 * bundle_forget before that is dropped.
 */
#pragma once

#include "base/digest.h"
#include "base/id.h"
#include "client/lib/session.h"

#include "proto/fileshare.h"
#include <stddef.h>

struct bundled {
    struct fileshare_put_file file;
    struct id op;
    struct digest_value digest;
    int64_t mtime;
    size_t at, size;              /* of its bytes */
    size_t answer;                /* its place in the call, or NOT_SENT */
    struct failure *trouble;      /* why it is not sent, or NULL */
    struct fileshare_entry *same; /* what the server has already, or NULL */
    bool asked;                   /* whether it has was asked */
    struct bundled *next;         /* for whoever looks names up */
};

enum { BUNDLE_IDS = 16 };

struct bundle {
    struct bundled *files;
    struct id ids[BUNDLE_IDS]; /* for the next files */
    size_t ids_left;
    fs_upload_args *args; /* those that are sent; room for all */
    size_t count;
    uint8_t *bytes;
    size_t used; /* of them */
    size_t wire; /* what its arguments take, at most */
    bool sent;
    bool in_doubt; /* an earlier call of it got no answer, or one that asked for a repeat */
    struct lane_call call;
    fs_upload_many_res res; /* points into the reply of `call` */
};

/* NULL when there is no memory. */
struct bundle *bundle_new(void);
void *bundle_free(struct bundle *bundle); /* NULL is fine; returns NULL */
void bundle_reset(struct bundle *bundle);

enum bundle_fit {
    BUNDLE_TAKEN,
    BUNDLE_FULL, /* it goes into the next one */
    BUNDLE_ALONE /* it goes by itself: it is large, or nothing that has a size */
};

/*
 * A bundle takes up to `wanted` bytes on the wire, or one file and up to `most`.
 * With BUNDLE_ALONE *fd is the file, open, and yours, and *mtime as fileshare_put has it.
 */
enum { BUNDLE_FILE_MAX = 512 << 10 };
enum bundle_fit bundle_add(struct bundle *bundle, const struct fileshare_put_file *file, size_t wanted,
                           size_t most, int *fd, int64_t *mtime);

/* On that lane; what is asked besides, on the session's connection. Both are ready. */
must_check enum outcome bundle_send(struct bundle *bundle, struct fileshare *session, struct lane *lane,
                                    struct failure *why);

/*
 * UNAVAILABLE, UNKNOWN: some files were answered so; unless `final`, when that is
 * their result. All else but OK is said of the call as a whole.
 */
must_check enum outcome bundle_receive(struct bundle *bundle, struct fileshare *session, bool final,
                                       struct failure *why);
/* Forgets the call under way, and its answers. */
void bundle_forget(struct bundle *bundle);

/* What became of file n, after bundle_receive. */
must_check enum outcome bundle_result(const struct bundle *bundle, size_t n, struct fileshare_entry *out,
                                      bool *unchanged, struct failure *why);
