/*
 * partial: the file beside the target that a download grows in.
 *
 *     partial_open -> partial_look -> partial_begin (once the version is known; again: anew)
 *         -> partial_finish, partial_stay, or neither -> partial_close
 *
 * It is ".NAME.VERSION.part", mode 0600, in the target's folder, and takes the
 * target's name in the end. With `keep` it may stay after a download that was
 * broken off, for the next one of that version: partial_begin says how much it
 * holds, which the caller verifies. What stands under that name is taken only if
 * it is ours alone: a plain file of this user with no second name, and nobody
 * else's download grows in it (flock). Otherwise, and without `keep`,
 * the name is a random one, and nothing stays.
 */
#pragma once

#include "base/id.h"
#include "base/outcome.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct partial {
    const char *path;      /* of the target; the caller's */
    const char *leaf;      /* its last part */
    char folder[PATH_MAX]; /* the folder of both */
    int folder_fd;
    char name[NAME_MAX + 1]; /* "" when there is no file */
    int fd;
    bool replace, keep;
    bool is_random;     /* nothing finds it again */
    struct stat before; /* of what `replace` replaces */
    bool was_there;
    uint64_t size; /* that it shall have */
    mode_t mode;   /* likewise; 0: not known yet */
};

/* EXISTS if the target is there and `replace` does not permit it; INVALID, LOCAL. Close it in any case. */
must_check enum outcome partial_open(struct partial *partial, const char *path, bool replace, bool keep,
                                     struct failure *why);

/* The same, but that the folder of `path` is `folder_fd`, which stays the caller's. */
must_check enum outcome partial_open_in(struct partial *partial, int folder_fd, const char *path,
                                        bool replace, bool keep, struct failure *why);

/*
 * Whether earlier downloads to this target left files, as far as a short look
 * tells. `clean` is the caller's memory over many downloads: of a folder where
 * nobody left anything it is not asked twice. Zeros: nothing is remembered.
 */
struct partial_clean {
    dev_t device;
    ino_t inode;
};
bool partial_look(const struct partial *partial, struct partial_clean *clean);
/* Removes them, but for that of `version`; those that somebody still fills stay. How many went. */
unsigned partial_clear(const struct partial *partial, const struct id *version);

/*
 * The file for this version; *held bytes are in it. With `anew`, and when there
 * are more than `size`, it is empty. LOCAL, NOSPACE.
 */
must_check enum outcome partial_begin(struct partial *partial, const struct id *version, uint64_t size,
                                      bool anew, uint64_t *held, struct failure *why);

/* Gives it `mtime` and the mode it shall have, makes it durable, and moves it to its name. EXISTS, LOCAL. */
must_check enum outcome partial_finish(struct partial *partial, int64_t mtime, struct failure *why);

/* Whether it can be found again, with what it holds: then it stays after partial_close. */
bool partial_stay(struct partial *partial, uint64_t *held);

/* Removes it, unless it was moved or is to stay. */
void partial_close(struct partial *partial);
