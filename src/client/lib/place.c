#include "client/lib/place.h"

#include "base/id.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void place_fini(struct place *place)
{
    if (place->temporary[0] != '\0')
        unlinkat(place->folder_fd, place->temporary, 0);
    if (place->fd >= 0)
        close(place->fd);
}

static enum outcome exists(const struct place *place, struct failure *why)
{
    return failure_set(why, OUTCOME_EXISTS, "\"%s\" is there already, and was kept", place->path);
}

enum outcome place_look(struct place *place, struct failure *why)
{
    struct stat before;
    if (fstatat(place->folder_fd, place->leaf, &before, AT_SYMLINK_NOFOLLOW) != 0)
        return OUTCOME_OK;
    if (S_ISDIR(before.st_mode))
        return failure_set(why, OUTCOME_LOCAL, "cannot write \"%s\": it is a folder", place->path);
    if (S_ISREG(before.st_mode))
        place->mode = before.st_mode & 0777;
    return place->replace ? OUTCOME_OK : exists(place, why);
}

struct place_names place_names_new(void)
{
    struct id id = id_random();
    struct place_names names;
    memcpy(&names.next, id.octets, sizeof names.next);
    return names;
}

/* ".LEAF.1a2b3c4d.part", by hand: it is done for thousands of files. */
static void name_it(struct place *place, uint32_t number)
{
    enum { LEAF_MAX = 200 };
    char *at = place->temporary;
    *at++ = '.';
    at = mempcpy(at, place->leaf, strnlen(place->leaf, LEAF_MAX));
    *at++ = '.';
    for (int shift = 28; shift >= 0; shift -= 4)
        *at++ = "0123456789abcdef"[number >> shift & 15];
    strcpy(at, ".part");
}

enum outcome place_open(struct place *place, struct place_names *names, struct failure *why)
{
    name_it(place, names->next++);
    place->fd = openat(place->folder_fd, place->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (place->fd < 0) {
        int error = errno;
        place->temporary[0] = '\0';
        return failure_system(why, OUTCOME_LOCAL, error, "cannot make a file beside \"%s\"", place->path);
    }
    return OUTCOME_OK;
}

enum outcome place_finish(struct place *place, int64_t mtime, struct failure *why)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW},
                                {.tv_sec = mtime / 1000000000, .tv_nsec = mtime % 1000000000}};
    if (times[1].tv_nsec < 0) {
        times[1].tv_nsec += 1000000000;
        times[1].tv_sec--;
    }
    if (place->mode != 0 && fchmod(place->fd, place->mode) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot set the mode of \"%s\"", place->path);
    if (futimens(place->fd, times) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot set the time of \"%s\"", place->path);
    return OUTCOME_OK;
}

enum outcome place_sync(struct place *place, struct failure *why)
{
    if (fsync(place->fd) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot write \"%s\"", place->path);
    return OUTCOME_OK;
}

/* Under its name; never over another file, unless told. */
static int move_in(const struct place *place)
{
    if (place->replace)
        return renameat(place->folder_fd, place->temporary, place->folder_fd, place->leaf);
    if (renameat2(place->folder_fd, place->temporary, place->folder_fd, place->leaf, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* A file system that cannot: a second name does not replace either. */
    if (linkat(place->folder_fd, place->temporary, place->folder_fd, place->leaf, 0) != 0)
        return -1;
    return unlinkat(place->folder_fd, place->temporary, 0);
}

enum outcome place_commit(struct place *place, struct failure *why)
{
    if (move_in(place) != 0) {
        if (errno == EEXIST)
            return exists(place, why);
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot rename a file to \"%s\"", place->path);
    }
    place->temporary[0] = '\0';
    return OUTCOME_OK;
}
