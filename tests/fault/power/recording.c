#include "fault/power/recording.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OURS __attribute__((visibility("default")))

enum { NOTHING = -1 };

static struct {
    pthread_mutex_t mutex;
    struct recording *recording; /* NULL: nothing is recorded */
    dev_t device;
} state = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* ---- what was done; all with the lock ---- */

static void *more_room(void *array, size_t *room, size_t wanted, size_t size)
{
    if (wanted <= *room)
        return array;
    *room = wanted * 2;
    void *grown = realloc(array, *room * size);
    if (!grown)
        abort();
    return grown;
}

static struct op *op_add(enum op_kind kind, unsigned node)
{
    struct recording *r = state.recording;
    r->ops = more_room(r->ops, &r->op_room, r->op_count + 1, sizeof *r->ops);
    r->ops[r->op_count] = (struct op){.kind = kind, .node = node};
    return &r->ops[r->op_count++];
}

/* The newest node of that inode: numbers of files that are gone come again. */
static int node_of_inode(uint64_t inode)
{
    const struct recording *r = state.recording;
    for (size_t i = r->node_count; i > 0; i--)
        if (r->nodes[i - 1].inode == inode)
            return (int)i - 1;
    return NOTHING;
}

static unsigned node_add(uint64_t inode, unsigned first, bool is_folder)
{
    struct recording *r = state.recording;
    r->nodes = more_room(r->nodes, &r->node_room, r->node_count + 1, sizeof *r->nodes);
    r->nodes[r->node_count] = (struct node){.inode = inode, .first = first, .is_folder = is_folder};
    return (unsigned)r->node_count++;
}

static int node_of_fd(int fd)
{
    struct stat status;
    if (!state.recording || fstat(fd, &status) < 0 || status.st_dev != state.device)
        return NOTHING;
    return node_of_inode(status.st_ino);
}

static unsigned slot_of(unsigned folder, const char *name)
{
    struct recording *r = state.recording;
    for (size_t i = r->slot_count; i > 0; i--)
        if (r->slots[i - 1].folder == folder && strcmp(r->slots[i - 1].name, name) == 0)
            return (unsigned)i - 1;
    r->slots = more_room(r->slots, &r->slot_room, r->slot_count + 1, sizeof *r->slots);
    r->slots[r->slot_count].folder = folder;
    snprintf(r->slots[r->slot_count].name, sizeof r->slots->name, "%s", name);
    return (unsigned)r->slot_count++;
}

/* Where a path leads: its slot, and what inode is there now (0: nothing). False if it is none of ours. */
struct place {
    unsigned slot;
    uint64_t inode;
};

static bool place_of(int folder_fd, const char *path, struct place *out)
{
    char above[1024];
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    struct stat status;
    if (!state.recording || strlen(path) >= sizeof above || (strlen(name) > 4 && strstr(name, "-shm")))
        return false;
    snprintf(above, sizeof above, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    if (fstatat(folder_fd, above, &status, 0) < 0 || status.st_dev != state.device)
        return false;
    int folder = node_of_inode(status.st_ino);
    if (folder == NOTHING)
        return false;
    out->slot = slot_of((unsigned)folder, name);
    out->inode = fstatat(folder_fd, path, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status.st_ino : 0;
    return true;
}

static void note_made(int folder_fd, const char *path, const struct place *place)
{
    struct stat status;
    int before = errno;
    if (fstatat(folder_fd, path, &status, AT_SYMLINK_NOFOLLOW) == 0) {
        unsigned node = node_add(status.st_ino, place->slot, S_ISDIR(status.st_mode));
        op_add(OP_ENTER, node)->slot = place->slot;
    }
    errno = before;
}

static void note_write(int node, const void *bytes, size_t count, uint64_t offset)
{
    struct recording *r = state.recording;
    struct op *op = op_add(OP_WRITE, (unsigned)node);
    op->offset = offset;
    op->count = count;
    op->at = r->byte_count;
    r->bytes = more_room(r->bytes, &r->byte_room, r->byte_count + count, 1);
    memcpy(r->bytes + r->byte_count, bytes, count);
    r->byte_count += count;
}

/* ---- the calls: with 64-bit offsets, which is how SQLite calls them too ---- */

static int open_at(int folder, const char *path, int flags, unsigned mode)
{
    pthread_mutex_lock(&state.mutex);
    struct place place;
    bool ours = (flags & (O_CREAT | O_TRUNC)) != 0 && place_of(folder, path, &place);
    int fd = (int)syscall(SYS_openat, folder, path, flags, mode);
    if (ours && fd >= 0 && place.inode == 0)
        note_made(folder, path, &place);
    else if (ours && fd >= 0 && flags & O_TRUNC)
        op_add(OP_CUT, (unsigned)node_of_inode(place.inode));
    pthread_mutex_unlock(&state.mutex);
    return fd;
}

#define MODE_AFTER(flags, mode)              \
    unsigned mode = 0;                       \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list arguments;                   \
        va_start(arguments, flags);          \
        mode = va_arg(arguments, unsigned);  \
        va_end(arguments);                   \
    }

OURS int open(const char *path, int flags, ...)
{
    MODE_AFTER(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

OURS int openat(int folder, const char *path, int flags, ...)
{
    MODE_AFTER(flags, mode)
    return open_at(folder, path, flags, mode);
}

OURS ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    pthread_mutex_lock(&state.mutex);
    int node = node_of_fd(fd);
    ssize_t written = syscall(SYS_pwrite64, fd, bytes, count, offset);
    if (node != NOTHING && written > 0)
        note_write(node, bytes, (size_t)written, (uint64_t)offset);
    pthread_mutex_unlock(&state.mutex);
    return written;
}

OURS ssize_t write(int fd, const void *bytes, size_t count)
{
    pthread_mutex_lock(&state.mutex);
    int node = node_of_fd(fd);
    ssize_t written = syscall(SYS_write, fd, bytes, count);
    if (node != NOTHING && written > 0) /* the file's position is behind it, appended or not */
        note_write(node, bytes, (size_t)written, (uint64_t)(lseek(fd, 0, SEEK_CUR) - written));
    pthread_mutex_unlock(&state.mutex);
    return written;
}

OURS int ftruncate(int fd, off_t size)
{
    pthread_mutex_lock(&state.mutex);
    int node = node_of_fd(fd), result = (int)syscall(SYS_ftruncate, fd, size);
    if (node != NOTHING && result == 0)
        op_add(OP_CUT, (unsigned)node)->offset = (uint64_t)size;
    pthread_mutex_unlock(&state.mutex);
    return result;
}

static int sync_fd(long call, int fd)
{
    pthread_mutex_lock(&state.mutex);
    int node = node_of_fd(fd), result = (int)syscall(call, fd);
    if (node != NOTHING && result == 0)
        op_add(OP_SYNC, (unsigned)node);
    pthread_mutex_unlock(&state.mutex);
    return result;
}

OURS int fsync(int fd)
{
    return sync_fd(SYS_fsync, fd);
}

OURS int fdatasync(int fd)
{
    return sync_fd(SYS_fdatasync, fd);
}

/* A start of write-back promises nothing: it is no sync. */
OURS int sync_file_range(int fd, off64_t offset, off64_t count, unsigned flags)
{
    return (int)syscall(SYS_sync_file_range, fd, offset, count, flags);
}

OURS int mkdirat(int folder, const char *path, mode_t mode)
{
    pthread_mutex_lock(&state.mutex);
    struct place place;
    bool ours = place_of(folder, path, &place);
    int result = (int)syscall(SYS_mkdirat, folder, path, mode);
    if (ours && result == 0)
        note_made(folder, path, &place);
    pthread_mutex_unlock(&state.mutex);
    return result;
}

OURS int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

OURS int unlinkat(int folder, const char *path, int flags)
{
    pthread_mutex_lock(&state.mutex);
    struct place place;
    bool ours = place_of(folder, path, &place);
    int result = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (ours && result == 0)
        op_add(OP_LEAVE, (unsigned)node_of_inode(place.inode))->slot = place.slot;
    pthread_mutex_unlock(&state.mutex);
    return result;
}

OURS int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

OURS int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

OURS int remove(const char *path)
{
    int result = unlink(path);
    return result < 0 && errno == EISDIR ? rmdir(path) : result;
}

OURS int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    pthread_mutex_lock(&state.mutex);
    struct place source, target;
    bool ours = place_of(from_fd, from, &source) && place_of(to_fd, to, &target);
    int result = (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
    if (ours && result == 0)
        op_add(OP_ENTER, (unsigned)node_of_inode(source.inode))->slot = target.slot;
    pthread_mutex_unlock(&state.mutex);
    return result;
}

OURS int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

OURS int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    pthread_mutex_lock(&state.mutex);
    struct place source, target;
    bool ours = place_of(from_fd, from, &source) && place_of(to_fd, to, &target);
    int result = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
    if (ours && result == 0) {
        struct op *op = op_add(OP_MOVE, (unsigned)node_of_inode(source.inode));
        op->slot = source.slot;
        op->to = target.slot;
    }
    pthread_mutex_unlock(&state.mutex);
    return result;
}

OURS int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* ---- life ---- */

void recording_begin(struct recording *recording, const char *folder)
{
    struct stat status;
    *recording = (struct recording){0};
    if (stat(folder, &status) < 0)
        abort();
    pthread_mutex_lock(&state.mutex);
    state.recording = recording;
    state.device = status.st_dev;
    node_add(status.st_ino, 0, true);
    pthread_mutex_unlock(&state.mutex);
}

void recording_end(struct recording *recording)
{
    (void)recording;
    pthread_mutex_lock(&state.mutex);
    state.recording = NULL;
    pthread_mutex_unlock(&state.mutex);
}

void recording_fini(struct recording *recording)
{
    free(recording->ops);
    free(recording->slots);
    free(recording->nodes);
    free(recording->bytes);
    *recording = (struct recording){0};
}

size_t recording_now(void)
{
    pthread_mutex_lock(&state.mutex);
    size_t now = state.recording ? state.recording->op_count : 0;
    pthread_mutex_unlock(&state.mutex);
    return now;
}

void recording_settle(void)
{
    pthread_mutex_lock(&state.mutex);
    op_add(OP_SYNC_ALL, 0);
    pthread_mutex_unlock(&state.mutex);
}

const char *recording_path(const struct recording *recording, unsigned node, char path[256])
{
    size_t at = 255;
    path[at] = '\0';
    while (node != 0) {
        const struct slot *slot = &recording->slots[recording->nodes[node].first];
        size_t size = strlen(slot->name);
        if (size + 1 > at)
            abort();
        if (path[at] != '\0')
            path[--at] = '/';
        memcpy(path + at - size, slot->name, size);
        at -= size;
        node = slot->folder;
    }
    memmove(path, path + at, 256 - at);
    return path;
}
