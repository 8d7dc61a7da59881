/*
 * disk: folders and small files, safely.
 *
 * All functions return LOCAL (or NOSPACE, NOMEM) on trouble, naming the path.
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Makes `path` and what is missing above it, each with `mode`. OK if it is there and a folder. */
must_check enum outcome disk_make_folder(const char *path, mode_t mode, struct failure *why);

/* fsync of the folder itself: after it, names made or removed in it are durable. */
must_check enum outcome disk_sync_folder(int folder_fd, const char *path, struct failure *why);

/* Replaces `path` as a whole: temporary file beside it, write, fsync, rename, fsync of the folder. */
must_check enum outcome disk_write_whole(const char *path, mode_t mode, const void *bytes, size_t count,
                                         struct failure *why);

/* Reads at most `limit` bytes; LIMIT if there are more, ABSENT if there is no file. *out is NUL-ended and yours (free). */
must_check enum outcome disk_read_whole(const char *path, size_t limit, char **out, size_t *out_count,
                                        struct failure *why);

/* pwrite and pread until all of it; a short read is LOCAL. `what` names the file in the failure. */
must_check enum outcome disk_write_at(int fd, const void *bytes, size_t count, uint64_t offset, const char *what,
                                      struct failure *why);
must_check enum outcome disk_read_at(int fd, void *bytes, size_t count, uint64_t offset, const char *what,
                                     struct failure *why);

/* Bytes that an unprivileged writer still has on the file system of `fd`. */
must_check enum outcome disk_free_bytes(int fd, uint64_t *out, struct failure *why);

/*
 * "$VARIABLE/rest" if the environment has VARIABLE with an absolute path, else
 * "$HOME/fallback/rest"; *out is yours (free). LOCAL if neither is set.
 */
must_check enum outcome disk_user_path(const char *variable, const char *fallback, const char *rest, char **out,
                                       struct failure *why);
