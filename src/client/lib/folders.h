/*
 * folders: the folders beneath one where downloads go.
 *
 *     folders_open
 *         folders_enter ...   the folder of a path, made if missing; one at a time
 *     folders_fini
 *
 * Names of files are paths beneath the first folder: no part is "." or ".." (the
 * caller has seen to that), and no symbolic link is followed on the way, so what
 * a server sends lands nowhere else.
 */
#pragma once

#include "base/name.h"
#include "base/outcome.h"

#include <stdbool.h>

struct folders {
    const char *path; /* of the first one, for failures */
    int root_fd;
    char at[NAME_BUFFER]; /* where `fd` is: "" or "a/b" */
    int fd;               /* -1: nowhere */
};

/* Symbolic links on the way to `path` itself are followed. LOCAL. */
must_check enum outcome folders_open(struct folders *folders, const char *path, struct failure *why);
void folders_fini(struct folders *folders);

/*
 * *fd, borrowed until the next call, is the folder of `path` ("a/b/c"), *leaf
 * what stands in it ("c"). Folders are made durably. LOCAL.
 */
must_check enum outcome folders_enter(struct folders *folders, const char *path, int *fd, const char **leaf,
                                      struct failure *why);
/* Whether folders_enter would give the folder that it gave last. */
bool folders_is_in(const struct folders *folders, const char *path);
