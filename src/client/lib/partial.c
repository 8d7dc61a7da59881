#include "client/lib/partial.h"

#include "base/disk.h"
#include "base/scoped.h"
#include "client/lib/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum {
    LOOK_MAX = 4096, /* names of a folder that are looked at: it may be a very large one */
    LEAF_MAX = 200,  /* bytes of the target's name in ours */
    RACES_MAX = 16
};

/* ---- where ---- */

static enum outcome split_path(struct partial *partial, struct failure *why)
{
    const char *slash = strrchr(partial->path, '/');
    size_t size = slash ? (size_t)(slash - partial->path) : 0;
    partial->leaf = slash ? slash + 1 : partial->path;
    if (partial->leaf[0] == '\0' || strcmp(partial->leaf, ".") == 0 || strcmp(partial->leaf, "..") == 0)
        return failure_set(why, OUTCOME_INVALID, "\"%s\" is the path of a folder, not of a file",
                           partial->path);
    if (size >= sizeof partial->folder)
        return failure_system(why, OUTCOME_LOCAL, ENAMETOOLONG, "cannot write \"%s\"", partial->path);
    if (!slash)
        strcpy(partial->folder, ".");
    else if (size == 0)
        strcpy(partial->folder, "/");
    else
        memcpy(partial->folder, partial->path, size); /* zeroed before */
    return OUTCOME_OK;
}

static enum outcome exists(const struct partial *partial, struct failure *why)
{
    return failure_set(why, OUTCOME_EXISTS, "\"%s\" is there already, and was kept", partial->path);
}

static enum outcome look_at_target(struct partial *partial, struct failure *why)
{
    partial->was_there = fstatat(partial->folder_fd, partial->leaf, &partial->before, AT_SYMLINK_NOFOLLOW) ==
                         0;
    if (!partial->was_there)
        return OUTCOME_OK;
    if (S_ISDIR(partial->before.st_mode))
        return failure_set(why, OUTCOME_LOCAL, "cannot write \"%s\": it is a folder", partial->path);
    return partial->replace ? OUTCOME_OK : exists(partial, why);
}

enum outcome partial_open(struct partial *partial, const char *path, bool replace, bool keep,
                          struct failure *why)
{
    *partial = (struct partial){.path = path, .folder_fd = -1, .fd = -1, .replace = replace, .keep = keep};
    enum outcome outcome = split_path(partial, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    partial->folder_fd = open(partial->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (partial->folder_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot open the folder \"%s\"", partial->folder);
    return look_at_target(partial, why);
}

enum outcome partial_open_in(struct partial *partial, int folder_fd, const char *path, bool replace, bool keep,
                             struct failure *why)
{
    *partial = (struct partial){.path = path, .folder_fd = -1, .fd = -1, .replace = replace, .keep = keep};
    enum outcome outcome = split_path(partial, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    partial->folder_fd = fcntl(folder_fd, F_DUPFD_CLOEXEC, 0);
    if (partial->folder_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot open the folder \"%s\"", partial->folder);
    return look_at_target(partial, why);
}

/* ---- names ---- */

static void name_for(const struct partial *partial, const struct id *version, char name[NAME_MAX + 1])
{
    char text[ID_TEXT_SIZE];
    snprintf(name, NAME_MAX + 1, ".%.*s.%s.part", LEAF_MAX, partial->leaf, id_text(version, text));
}

/* Whether `name` is what name_for makes for some version. */
static bool is_ours(const struct partial *partial, const char *name, struct id *version)
{
    char text[ID_TEXT_SIZE], same[NAME_MAX + 1];
    size_t size = strlen(name), tail = sizeof ".part" - 1;
    if (size < 2 + (ID_TEXT_SIZE - 1) + tail)
        return false;
    memcpy(text, name + size - tail - (ID_TEXT_SIZE - 1), ID_TEXT_SIZE - 1);
    text[ID_TEXT_SIZE - 1] = '\0';
    if (id_parse(text, version, NULL) != OUTCOME_OK)
        return false;
    name_for(partial, version, same);
    return strcmp(same, name) == 0;
}

static void close_walk(DIR **walk)
{
    if (*walk)
        closedir(*walk);
}

static bool remove_unheld(const struct partial *partial, const char *name)
{
    scoped_fd int fd = openat(partial->folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(partial->folder_fd, name, 0) == 0;
}

/* Counts what earlier downloads left; with `spare` those of other versions go, and count if they went. */
static unsigned walk_through(const struct partial *partial, const struct id *spare)
{
    scoped_fd int fd = openat(partial->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped(close_walk) DIR *walk = fd >= 0 ? fdopendir(fd) : NULL;
    unsigned count = 0;
    struct dirent *entry;
    if (!walk)
        return 0;
    take_fd(&fd);
    for (unsigned looked = 0; looked < LOOK_MAX && (entry = readdir(walk)); looked++) {
        struct id version;
        if (!is_ours(partial, entry->d_name, &version))
            continue;
        if (!spare)
            count++;
        else if (!id_equal(&version, spare) && remove_unheld(partial, entry->d_name))
            count++;
    }
    return count;
}

unsigned partial_look(const struct partial *partial)
{
    return partial->keep ? walk_through(partial, NULL) : 0;
}

unsigned partial_clear(const struct partial *partial, const struct id *version)
{
    return walk_through(partial, version);
}

/* ---- the file ---- */

/* Of somebody else's we could verify nothing that holds; others can't make files of ours. */
static bool is_safe(const struct partial *partial, int fd)
{
    struct stat ours, there;
    return fstat(fd, &ours) == 0 && S_ISREG(ours.st_mode) && ours.st_uid == geteuid() && ours.st_nlink == 1 &&
           fchmod(fd, 0600) == 0 &&
           fstatat(partial->folder_fd, partial->name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           there.st_dev == ours.st_dev && there.st_ino == ours.st_ino;
}

static void drop(struct partial *partial)
{
    if (partial->name[0] != '\0')
        unlinkat(partial->folder_fd, partial->name, 0);
    if (partial->fd >= 0)
        close(partial->fd);
    partial->name[0] = '\0';
    partial->fd = -1;
    partial->is_random = false;
}

/* False if what stands under the name is not for us. */
static bool take_kept(struct partial *partial, const struct id *version)
{
    name_for(partial, version, partial->name);
    for (unsigned races = 0; races < RACES_MAX; races++) {
        scoped_fd int fd = openat(partial->folder_fd, partial->name,
                                  O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600);
        if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0)
            break;
        if (is_safe(partial, fd)) {
            partial->fd = take_fd(&fd);
            return true;
        }
        /* Who held it may have moved it to its place meanwhile: then the name is free. */
        if (faccessat(partial->folder_fd, partial->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            break;
    }
    partial->name[0] = '\0';
    return false;
}

static enum outcome make_random(struct partial *partial, struct failure *why)
{
    struct id id = id_random();
    name_for(partial, &id, partial->name);
    partial->fd = openat(partial->folder_fd, partial->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (partial->fd < 0) {
        int error = errno;
        partial->name[0] = '\0';
        return failure_system(why, OUTCOME_LOCAL, error, "cannot make a file in \"%s\"", partial->folder);
    }
    partial->is_random = true;
    return OUTCOME_OK;
}

enum outcome partial_begin(struct partial *partial, const struct id *version, uint64_t size, bool anew,
                           uint64_t *held, struct failure *why)
{
    struct stat status;
    drop(partial);
    if (!partial->keep || !take_kept(partial, version)) {
        enum outcome outcome = make_random(partial, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    *held = 0;
    partial->size = size;
    if (fstat(partial->fd, &status) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot look at a file in \"%s\"", partial->folder);
    if (!anew && (uint64_t)status.st_size <= size)
        *held = (uint64_t)status.st_size;
    else if (ftruncate(partial->fd, 0) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot write a file in \"%s\"", partial->folder);
    return OUTCOME_OK;
}

/* ---- its end ---- */

/* The mode that a new file gets here: asked of one, since umask can't be read without setting it. */
static mode_t usual_mode(const struct partial *partial)
{
    struct id id = id_random();
    char name[NAME_MAX + 1];
    struct stat status = {.st_mode = 0600};
    name_for(partial, &id, name);
    scoped_fd int fd = openat(partial->folder_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return 0600;
    if (fstat(fd, &status) != 0)
        status.st_mode = 0600;
    unlinkat(partial->folder_fd, name, 0);
    return status.st_mode & 0777;
}

enum outcome partial_finish(struct partial *partial, int64_t mtime, struct failure *why)
{
    bool keeps_mode = partial->was_there && S_ISREG(partial->before.st_mode);
    struct place place = place_of(partial->folder_fd, partial->leaf, partial->path, partial->replace);
    place.fd = partial->fd;
    memcpy(place.temporary, partial->name, sizeof place.temporary);
    place.mode = keeps_mode ? partial->before.st_mode & 0777 : usual_mode(partial);
    enum outcome outcome = place_finish(&place, mtime, why);
    if (outcome == OUTCOME_OK)
        outcome = place_commit(&place, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    partial->name[0] = '\0';
    return disk_sync_folder(partial->folder_fd, partial->folder, why);
}

bool partial_stay(struct partial *partial, uint64_t *held)
{
    struct stat status;
    if (partial->name[0] == '\0' || partial->is_random || fstat(partial->fd, &status) != 0 ||
        status.st_size == 0)
        return false;
    *held = (uint64_t)status.st_size;
    partial->name[0] = '\0';
    return true;
}

void partial_close(struct partial *partial)
{
    drop(partial);
    if (partial->folder_fd >= 0)
        close(partial->folder_fd);
    partial->folder_fd = -1;
}
