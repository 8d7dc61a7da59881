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

enum outcome partial_open_in(struct partial *partial, int folder_fd, const char *path, bool replace,
                             bool keep, struct failure *why)
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

/* What a walk through the folder does with the files that downloads left, of whatever target. */
struct look {
    const struct partial *partial;
    const struct id *spare; /* not NULL: those of other versions go */
    unsigned ours, others, removed;
};

static bool is_part(const char *name)
{
    size_t size = strlen(name), tail = sizeof ".part" - 1;
    return name[0] == '.' && size > tail && strcmp(name + size - tail, ".part") == 0;
}

static void look_at(struct look *look, const char *name)
{
    struct id version;
    if (!is_part(name))
        return;
    if (!is_ours(look->partial, name, &version)) {
        look->others++;
        return;
    }
    look->ours++;
    if (look->spare && !id_equal(&version, look->spare))
        look->removed += remove_unheld(look->partial, name);
}

static void walk_through(struct look *look)
{
    scoped_fd int fd = openat(look->partial->folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped(close_walk) DIR *walk = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *entry;
    if (!walk)
        return; /* one that may be written, but not read */
    take_fd(&fd);
    for (unsigned looked = 0; looked < LOOK_MAX && (entry = readdir(walk)); looked++)
        look_at(look, entry->d_name);
}

bool partial_look(const struct partial *partial, struct partial_clean *clean)
{
    struct look look = {.partial = partial};
    struct stat folder;
    if (!partial->keep || fstat(partial->folder_fd, &folder) != 0 ||
        (folder.st_ino == clean->inode && folder.st_dev == clean->device))
        return false;
    walk_through(&look);
    if (look.ours + look.others == 0)
        *clean = (struct partial_clean){.device = folder.st_dev, .inode = folder.st_ino};
    return look.ours > 0;
}

unsigned partial_clear(const struct partial *partial, const struct id *version)
{
    struct look look = {.partial = partial, .spare = version};
    walk_through(&look);
    return look.removed;
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

static const int open_flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

/* A new one; -1 with errno. What it may show to others while it grows, it may show in the end. */
static int make_new(struct partial *partial)
{
    struct stat status;
    bool inherits = partial->was_there && S_ISREG(partial->before.st_mode);
    int fd = openat(partial->folder_fd, partial->name, open_flags | O_CREAT | O_EXCL, inherits ? 0600 : 0666);
    if (fd >= 0 && !inherits && fstat(fd, &status) == 0)
        partial->mode = status.st_mode & 0777;
    return fd;
}

/* One that is there; -1 with errno. */
static int open_old(struct partial *partial)
{
    partial->mode = 0;
    return openat(partial->folder_fd, partial->name, open_flags);
}

/* False if what stands under the name is not for us. */
static bool take_kept(struct partial *partial, const struct id *version)
{
    name_for(partial, version, partial->name);
    for (unsigned races = 0; races < RACES_MAX; races++) {
        scoped_fd int fd = make_new(partial);
        if (fd < 0 && errno == EEXIST)
            fd = open_old(partial);
        if (fd < 0 && errno == ENOENT)
            continue;
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
    partial->fd = make_new(partial);
    if (partial->fd < 0 || fchmod(partial->fd, 0600) != 0) {
        int error = errno;
        if (partial->fd < 0)
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

/* The mode that a new file gets here, for one of an earlier run: umask can't be read without setting it. */
static mode_t usual_mode(const struct partial *partial)
{
    struct partial other = {.folder_fd = partial->folder_fd, .leaf = partial->leaf, .fd = -1};
    struct id id = id_random();
    name_for(partial, &id, other.name);
    other.fd = make_new(&other);
    if (other.fd < 0)
        return 0600;
    drop(&other);
    return other.mode;
}

static mode_t mode_for(const struct partial *partial)
{
    if (partial->was_there && S_ISREG(partial->before.st_mode))
        return partial->before.st_mode & 0777;
    return partial->mode != 0 ? partial->mode : usual_mode(partial);
}

enum outcome partial_finish(struct partial *partial, int64_t mtime, struct failure *why)
{
    struct place place = place_of(partial->folder_fd, partial->leaf, partial->path, partial->replace);
    place.fd = partial->fd;
    memcpy(place.temporary, partial->name, sizeof place.temporary);
    place.mode = mode_for(partial);
    enum outcome outcome = place_finish(&place, mtime, why);
    if (outcome == OUTCOME_OK)
        outcome = place_sync(&place, why);
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
