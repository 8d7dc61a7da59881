#include "client/lib/folders.h"

#include "base/disk.h"
#include "base/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOW = O_RDONLY | O_DIRECTORY | O_CLOEXEC };

enum outcome folders_open(struct folders *folders, const char *path, struct failure *why)
{
    *folders = (struct folders){.path = path, .fd = -1};
    folders->root_fd = open(path, HOW);
    if (folders->root_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot open the folder \"%s\"", path);
    return OUTCOME_OK;
}

static void leave(struct folders *folders)
{
    if (folders->fd >= 0 && folders->fd != folders->root_fd)
        close(folders->fd);
    folders->fd = -1;
}

void folders_fini(struct folders *folders)
{
    leave(folders);
    if (folders->root_fd >= 0)
        close(folders->root_fd);
}

static size_t folder_size(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

bool folders_is_in(const struct folders *folders, const char *path)
{
    size_t size = folder_size(path);
    return folders->fd >= 0 && strlen(folders->at) == size && memcmp(folders->at, path, size) == 0;
}

static int open_part(int fd, const char *part, bool *made)
{
    int inner = openat(fd, part, HOW | O_NOFOLLOW);
    *made = inner < 0 && errno == ENOENT && mkdirat(fd, part, 0777) == 0;
    if (inner < 0 && (*made || errno == EEXIST))
        inner = openat(fd, part, HOW | O_NOFOLLOW);
    return inner;
}

/* One step down; *fd is closed, unless it is the root. */
static enum outcome step_into(const struct folders *folders, int *fd, const char *part, struct failure *why)
{
    bool made;
    int inner = open_part(*fd, part, &made);
    if (inner < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot open the folder \"%s\" beneath \"%s\"", part,
                              folders->path);
    enum outcome outcome = made ? disk_sync_folder(*fd, folders->path, why) : OUTCOME_OK;
    if (*fd != folders->root_fd)
        close(*fd);
    *fd = inner;
    return outcome;
}

enum outcome folders_enter(struct folders *folders, const char *path, int *fd, const char **leaf,
                           struct failure *why)
{
    size_t size = folder_size(path);
    *leaf = size > 0 ? path + size + 1 : path;
    if (!folders_is_in(folders, path)) {
        leave(folders);
        snprintf(folders->at, sizeof folders->at, "%.*s", (int)size, path);
        char parts[NAME_BUFFER], *rest = parts;
        memcpy(parts, folders->at, sizeof parts);
        int at = folders->root_fd;
        for (const char *part = strsep(&rest, "/"); part && *part; part = strsep(&rest, "/")) {
            enum outcome outcome = step_into(folders, &at, part, why);
            if (outcome != OUTCOME_OK) {
                if (at != folders->root_fd)
                    close(at);
                return outcome;
            }
        }
        folders->fd = at;
    }
    *fd = folders->fd;
    return OUTCOME_OK;
}
