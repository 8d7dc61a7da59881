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

/*
 * Makes `path` and what is missing above it, each with `mode` (less the umask),
 * durably. OK if it is there and a folder, or a link to one.
 */
must_check enum outcome disk_make_folder(const char *path, mode_t mode, struct failure *why);

/* fsync of the folder itself: after it, names made or removed in it are durable. */
must_check enum outcome disk_sync_folder(int folder_fd, const char *path, struct failure *why);

/*
 * Replaces `path` as a whole: temporary file beside it (".new-" and 32 hex
 * digits, with `mode` less the umask), write, fsync, rename, fsync of the folder.
 * Readers see the old bytes or the new; on failure the old ones stay and the
 * temporary file goes, except that when the last fsync fails the new ones stand
 * and may not be durable. A symbolic link at `path` is replaced, not followed.
 */
must_check enum outcome disk_write_whole(const char *path, mode_t mode, const void *bytes, size_t count,
                                         struct failure *why);

/* Reads at most `limit` bytes; LIMIT if there are more, ABSENT if there is no file. *out is NUL-ended and yours (free). */
must_check enum outcome disk_read_whole(const char *path, size_t limit, char **out, size_t *out_count,
                                        struct failure *why);

/* pwrite and pread until all of it; a short read is LOCAL. `what` names the file in the failure. */
must_check enum outcome disk_write_at(int fd, const void *bytes, size_t count, uint64_t offset,
                                      const char *what, struct failure *why);
must_check enum outcome disk_read_at(int fd, void *bytes, size_t count, uint64_t offset, const char *what,
                                     struct failure *why);

/*
 * Removes what is at `path`, and all below it to a depth of 8, as far as it can; nothing there is fine. Needs no
 * memory: it is the way back from having none. Links are removed, not followed.
 */
void disk_remove_tree(const char *path);

/* Bytes that an unprivileged writer still has on the file system of `fd`. */
must_check enum outcome disk_free_bytes(int fd, uint64_t *out, struct failure *why);

/*
 * For files of the user's own, where the XDG base directories say:
 * "$VARIABLE/rest" if the environment has VARIABLE with an absolute path, else
 * "$HOME/fallback/rest"; *out is yours (free). LOCAL if neither is set.
 */
must_check enum outcome disk_user_path(const char *variable, const char *fallback, const char *rest,
                                       char **out, struct failure *why);
