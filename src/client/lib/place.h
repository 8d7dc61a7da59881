/*
 * place: a file beside its target, which takes the target's name in the end.
 *
 *     scoped(place_fini) struct place place = place_of(folder_fd, leaf, path, replace);
 *     place_look -> place_open -> the bytes go to place.fd -> place_finish -> place_sync
 *     -> place_commit
 *     -> the folder is synced, by its owner
 *
 * Until place_commit there is nothing under the target's name that was not there
 * before; place_fini takes away what came no further. Symbolic links are not
 * followed: one that is replaced goes, not what it points to.
 */
#pragma once

#include "base/outcome.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct place {
    int folder_fd;    /* of both; borrowed */
    const char *leaf; /* the target's name in there */
    const char *path; /* what to call it in failures */
    bool replace;
    char temporary[NAME_MAX + 1]; /* "" when it is not there */
    int fd;
    mode_t mode; /* that it gets in the end; 0: that of a new file */
};

static inline struct place place_of(int folder_fd, const char *leaf, const char *path, bool replace)
{
    return (struct place){.folder_fd = folder_fd, .leaf = leaf, .path = path, .replace = replace, .fd = -1};
}

/* How files are called until they are whole: numbers from a random one on. */
struct place_names {
    uint32_t next;
};
struct place_names place_names_new(void);

void place_fini(struct place *place);

/* EXISTS, unless it may be replaced; LOCAL if it is a folder. */
must_check enum outcome place_look(struct place *place, struct failure *why);
must_check enum outcome place_open(struct place *place, struct place_names *names, struct failure *why);
/* The mode of what is replaced, and the uploader's mtime. */
must_check enum outcome place_finish(struct place *place, int64_t mtime, struct failure *why);
/* All of it is on the disk. */
must_check enum outcome place_sync(struct place *place, struct failure *why);
/* EXISTS: never over another file, unless told. */
must_check enum outcome place_commit(struct place *place, struct failure *why);
