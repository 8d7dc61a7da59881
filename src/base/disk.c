#include "base/disk.h"

#include "base/id.h"
#include "base/scoped.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { TREE_DEPTH = 8 };

static enum outcome open_folder(const char *path, int *out, struct failure *why)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot open the folder %s", path);
    *out = fd;
    return OUTCOME_OK;
}

enum outcome disk_sync_folder(int folder_fd, const char *path, struct failure *why)
{
    if (fsync(folder_fd) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot sync the folder %s", path);
    return OUTCOME_OK;
}

/* The folder that `path` stands in, as a new string; NULL without memory. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

static enum outcome sync_folder_of(const char *path, struct failure *why)
{
    scoped_free char *folder = folder_of(path);
    if (!folder)
        return failure_system(why, OUTCOME_NOMEM, ENOMEM, "cannot sync the folder of %s", path);
    scoped_fd int fd = -1;
    enum outcome outcome = open_folder(folder, &fd, why);
    return outcome == OUTCOME_OK ? disk_sync_folder(fd, folder, why) : outcome;
}

/* One folder whose parent is there. Made by us or by somebody else meanwhile: both are fine. */
static enum outcome make_one(const char *path, mode_t mode, struct failure *why)
{
    if (mkdir(path, mode) == 0)
        return sync_folder_of(path, why);
    int error = errno;
    struct stat status;
    if (stat(path, &status) == 0)
        return S_ISDIR(status.st_mode)
                   ? OUTCOME_OK
                   : failure_set(why, OUTCOME_LOCAL, "%s is there and is not a folder", path);
    return failure_system(why, OUTCOME_LOCAL, error, "cannot make the folder %s", path);
}

enum outcome disk_make_folder(const char *path, mode_t mode, struct failure *why)
{
    size_t size = strlen(path);
    if (size == 0)
        return failure_system(why, OUTCOME_LOCAL, ENOENT, "cannot make a folder without a name");
    if (size >= PATH_MAX)
        return failure_system(why, OUTCOME_LOCAL, ENAMETOOLONG, "cannot make the folder %s", path);
    char part[PATH_MAX];
    memcpy(part, path, size + 1);
    while (size > 1 && part[size - 1] == '/')
        part[--size] = '\0';
    for (size_t at = 1; at < size; at++) {
        if (part[at] != '/' || part[at - 1] == '/')
            continue;
        part[at] = '\0';
        enum outcome outcome = make_one(part, mode, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        part[at] = '/';
    }
    return make_one(part, mode, why);
}

static enum outcome fill_and_sync(int fd, const void *bytes, size_t count, const char *path,
                                  struct failure *why)
{
    enum outcome outcome = disk_write_at(fd, bytes, count, 0, path, why);
    if (outcome == OUTCOME_OK && fsync(fd) != 0)
        outcome = failure_system(why, OUTCOME_LOCAL, errno, "cannot sync %s", path);
    return outcome;
}

enum outcome disk_write_whole(const char *path, mode_t mode, const void *bytes, size_t count,
                              struct failure *why)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    scoped_free char *folder = folder_of(path);
    if (!folder)
        return failure_system(why, OUTCOME_NOMEM, ENOMEM, "cannot write %s", path);
    scoped_fd int folder_fd = -1;
    enum outcome outcome = open_folder(folder, &folder_fd, why);
    if (outcome != OUTCOME_OK)
        return outcome;

    /* A name of its own, so that two writers never share one, and short, since `last` may be as long as names get. */
    struct id id = id_random();
    char random[ID_TEXT_SIZE], temporary[ID_TEXT_SIZE + 16];
    snprintf(temporary, sizeof temporary, ".new-%s", id_text(&id, random));
    scoped_fd int fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                              mode);
    if (fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot make a file in %s", folder);

    outcome = fill_and_sync(fd, bytes, count, path, why);
    if (outcome == OUTCOME_OK && close(take_fd(&fd)) != 0)
        outcome = failure_system(why, OUTCOME_LOCAL, errno, "cannot write %s", path);
    if (outcome == OUTCOME_OK && renameat(folder_fd, temporary, folder_fd, last) != 0)
        outcome = failure_system(why, OUTCOME_LOCAL, errno, "cannot replace %s", path);
    if (outcome != OUTCOME_OK) {
        unlinkat(folder_fd, temporary, 0);
        return outcome;
    }
    return disk_sync_folder(folder_fd, folder, why);
}

/* Grows *buffer so that it takes one byte more than `used` and a NUL, by doubling, never past `most`. */
static bool grow(char **buffer, size_t *size, size_t used, size_t most)
{
    if (used + 2 <= *size)
        return true;
    size_t wanted = *size > most / 2 ? most : *size * 2;
    char *grown = realloc(*buffer, wanted);
    if (!grown)
        return false;
    *buffer = grown;
    *size = wanted;
    return true;
}

enum outcome disk_read_whole(const char *path, size_t limit, char **out, size_t *out_count,
                             struct failure *why)
{
    scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failure_system(why, errno == ENOENT ? OUTCOME_ABSENT : OUTCOME_LOCAL, errno, "cannot open %s",
                              path);

    /* limit, the byte that tells that there is more, and a NUL */
    size_t most = limit > SIZE_MAX - 2 ? SIZE_MAX : limit + 2;
    size_t size = most < 4096 ? most : 4096, used = 0;
    scoped_free char *buffer = malloc(size);
    if (!buffer)
        return failure_system(why, OUTCOME_NOMEM, ENOMEM, "cannot read %s", path);
    for (;;) {
        ssize_t got = read(fd, buffer + used, size - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure_system(why, OUTCOME_LOCAL, errno, "cannot read %s", path);
        if (got == 0)
            break;
        used += (size_t)got;
        if (used > limit)
            return failure_set(why, OUTCOME_LIMIT, "%s has more than %zu bytes", path, limit);
        if (!grow(&buffer, &size, used, most))
            return failure_system(why, OUTCOME_NOMEM, ENOMEM, "cannot read %s", path);
    }
    buffer[used] = '\0';
    *out_count = used;
    *out = take_ptr(&buffer);
    return OUTCOME_OK;
}

static enum outcome check_range(size_t count, uint64_t offset, const char *what, struct failure *why)
{
    if (offset > INT64_MAX || count > INT64_MAX - offset)
        return failure_system(why, OUTCOME_LOCAL, EFBIG, "%zu bytes at %llu of %s", count,
                              (unsigned long long)offset, what);
    return OUTCOME_OK;
}

enum outcome disk_write_at(int fd, const void *bytes, size_t count, uint64_t offset, const char *what,
                           struct failure *why)
{
    enum outcome outcome = check_range(count, offset, what, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    for (const char *from = bytes; count > 0;) {
        ssize_t written = pwrite(fd, from, count, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return failure_system(why, OUTCOME_LOCAL, written < 0 ? errno : EIO, "cannot write %s", what);
        from += written;
        offset += (uint64_t)written;
        count -= (size_t)written;
    }
    return OUTCOME_OK;
}

enum outcome disk_read_at(int fd, void *bytes, size_t count, uint64_t offset, const char *what,
                          struct failure *why)
{
    enum outcome outcome = check_range(count, offset, what, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    for (char *to = bytes; count > 0;) {
        ssize_t got = pread(fd, to, count, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure_system(why, OUTCOME_LOCAL, errno, "cannot read %s", what);
        if (got == 0)
            return failure_set(why, OUTCOME_LOCAL, "%s ends at byte %llu, %zu bytes early", what,
                               (unsigned long long)offset, count);
        to += got;
        offset += (uint64_t)got;
        count -= (size_t)got;
    }
    return OUTCOME_OK;
}

static void remove_at(int folder_fd, const char *leaf, int depth);

/* One pass over what is in the folder; whether anything went. */
static bool remove_entries(int fd, int depth)
{
    char buffer[4096] __attribute__((aligned(8)));
    bool removed = false;
    ssize_t size;
    lseek(fd, 0, SEEK_SET);
    while ((size = getdents64(fd, buffer, sizeof buffer)) > 0) {
        for (ssize_t at = 0; at < size;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(buffer + at);
            at += entry->d_reclen;
            if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                continue;
            remove_at(fd, entry->d_name, depth);
            removed |= faccessat(fd, entry->d_name, F_OK, AT_SYMLINK_NOFOLLOW) != 0;
        }
    }
    return removed;
}

static void remove_at(int folder_fd, const char *leaf, int depth)
{
    if (unlinkat(folder_fd, leaf, 0) == 0 || depth == 0)
        return;
    scoped_fd int fd = openat(folder_fd, leaf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    /* What is read while names go may leave some out. */
    while (unlinkat(folder_fd, leaf, AT_REMOVEDIR) != 0 && remove_entries(fd, depth - 1))
        continue;
}

void disk_remove_tree(const char *path)
{
    remove_at(AT_FDCWD, path, TREE_DEPTH);
}

enum outcome disk_free_bytes(int fd, uint64_t *out, struct failure *why)
{
    struct statvfs status;
    if (fstatvfs(fd, &status) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot tell the free space of the file system");
    uint64_t bytes;
    if (__builtin_mul_overflow((uint64_t)status.f_bavail, (uint64_t)status.f_frsize, &bytes))
        bytes = UINT64_MAX;
    *out = bytes;
    return OUTCOME_OK;
}

enum outcome disk_user_path(const char *variable, const char *fallback, const char *rest, char **out,
                            struct failure *why)
{
    const char *base = secure_getenv(variable);
    const char *home = secure_getenv("HOME");
    char *path = NULL;
    int made = 0;
    if (base && base[0] == '/')
        made = asprintf(&path, "%s/%s", base, rest);
    else if (home && home[0] == '/')
        made = asprintf(&path, "%s/%s/%s", home, fallback, rest);
    else
        return failure_set(why, OUTCOME_LOCAL, "neither %s nor HOME is set to an absolute path", variable);
    if (made < 0)
        return failure_system(why, OUTCOME_NOMEM, ENOMEM, "cannot make the path %s", rest);
    *out = path;
    return OUTCOME_OK;
}
