/*
 * blobs: immutable bytes in files, below one folder.
 *
 *     incoming/ID    content that still grows: one upload's
 *     blobs/xx/ID    content that is whole; xx are the ID's first two digits
 *
 * Ids are made here, at random: neither a name nor anything else that a caller
 * says ever becomes part of a path. What blob_create, blob_sync and blob_settle
 * did is durable once they returned OK.
 *
 * A blob that is being made stands in no row of the database yet. So that the
 * sweep does not take it for an orphan its maker holds a claim on it: from
 * blob_claim, before the file is there, until its row is committed or the file
 * is gone.
 *
 * Any thread, any time; two makers never share an id.
 */
#pragma once

#include "base/id.h"
#include "base/list.h"
#include "base/outcome.h"

#include <dirent.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum { BLOB_SHARDS = 256 };

struct blobs {
    int blobs_fd, incoming_fd;
    pthread_mutex_t mutex; /* guards the claims; a leaf */
    struct list claims;
};

struct blob_claim {
    struct id blob;
    struct list link;
};

void blobs_init(struct blobs *blobs);
/* Once: makes the folders below `folder_fd` if missing. */
must_check enum outcome blobs_open(struct blobs *blobs, int folder_fd, struct failure *why);
void blobs_fini(struct blobs *blobs); /* fine without blobs_open */

/* A fresh id, claimed. */
void blob_claim(struct blobs *blobs, struct blob_claim *claim);
/* Claims the id that is in `claim`. */
void blob_claim_again(struct blobs *blobs, struct blob_claim *claim);
void blob_release(struct blobs *blobs, struct blob_claim *claim);
bool blob_is_claimed(struct blobs *blobs, const struct id *blob);

enum blob_place { BLOB_INCOMING, BLOB_WHOLE };

/* A new empty file; *fd is yours. */
must_check enum outcome blob_create(struct blobs *blobs, enum blob_place place, const struct id *blob,
                                    int *fd, struct failure *why);
/* ABSENT if there is none; *fd is yours. */
must_check enum outcome blob_open(struct blobs *blobs, enum blob_place place, const struct id *blob,
                                  bool write, int *fd, struct failure *why);
/* File and folder are durable. */
must_check enum outcome blob_sync(struct blobs *blobs, enum blob_place place, const struct id *blob, int fd,
                                  struct failure *why);
/* The file is cut to `size`, and these bytes are durable. */
must_check enum outcome blob_flush(int fd, uint64_t size, struct failure *why);
/*
 * A mark on the file, until it is taken off; of use as long as the machine runs, since it is not synced. It is the bit
 * by which the owner may execute it: false if the file system keeps none.
 */
bool blob_mark(int fd, bool marked);
bool blob_is_marked(const struct stat *status);
/* From incoming to whole: renamed, both folders synced. After a failure it may be done again. */
must_check enum outcome blob_settle(struct blobs *blobs, const struct id *blob, struct failure *why);
/* OK also if it was not there. */
must_check enum outcome blob_remove(struct blobs *blobs, enum blob_place place, const struct id *blob,
                                    struct failure *why);
/* ABSENT if there is none. */
must_check enum outcome blob_size(struct blobs *blobs, const struct id *blob, uint64_t *out,
                                  struct failure *why);

/*
 * The whole blob as a new name in another folder: a link, or with `copy`, and
 * where links cannot be, a durable copy; *linked says which. The folder is not
 * synced. OK if the name is there already; ABSENT if the blob is not.
 */
must_check enum outcome blob_give(struct blobs *blobs, const struct id *blob, int folder_fd, const char *name,
                                  bool copy, bool *linked, struct failure *why);

/* The ids in one shard, or (BLOB_INCOMING) of all uploads; closed by blob_walk_end. */
must_check enum outcome blob_walk(struct blobs *blobs, enum blob_place place, unsigned shard, DIR **out,
                                  struct failure *why);
/* False at the end. What is not an id is passed over. */
bool blob_walk_next(DIR *walk, struct id *out);
void blob_walk_end(DIR **walk);
#define scoped_walk scoped(blob_walk_end)
