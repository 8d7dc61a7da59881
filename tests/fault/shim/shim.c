#include "fault/shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OURS __attribute__((visibility("default")))

static struct shim *shim;

__attribute__((constructor)) static void shim_map(void)
{
    const char *path = getenv("FILESHARE_SHIM");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0) : -1;
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *shim, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    shim = map == MAP_FAILED ? NULL : map;
    close(fd);
}

/* Whether this call is the one; then errno is set. */
static bool fails(void)
{
    if (!shim->lasting && atomic_fetch_sub(&shim->left, 1) != 1)
        return false;
    shim->failed++;
    errno = shim->error;
    return true;
}

static bool is_armed(void)
{
    return shim && (shim->left > 0 || shim->lasting);
}

static bool fails_on(int fd)
{
    char link[32], path[512];
    if (!is_armed())
        return false;
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    errno = before;
    path[size > 0 ? size : 0] = '\0';
    return strstr(path, "/store/") != NULL && fails();
}

static bool fails_at(int folder, const char *path)
{
    return is_armed() && (path[0] == '/' ? strstr(path, "/store/") != NULL && fails() : fails_on(folder));
}

OURS ssize_t write(int fd, const void *bytes, size_t count);
OURS ssize_t write(int fd, const void *bytes, size_t count)
{
    return fails_on(fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}

OURS ssize_t pwrite(int fd, const void *bytes, size_t count, long offset);
OURS ssize_t pwrite(int fd, const void *bytes, size_t count, long offset)
{
    return fails_on(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, offset);
}

OURS ssize_t pwrite64(int fd, const void *bytes, size_t count, long offset);
OURS ssize_t pwrite64(int fd, const void *bytes, size_t count, long offset)
{
    return pwrite(fd, bytes, count, offset);
}

OURS int fsync(int fd)
{
    return fails_on(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

OURS int fdatasync(int fd)
{
    return fails_on(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

OURS int ftruncate(int fd, long size);
OURS int ftruncate(int fd, long size)
{
    return fails_on(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

OURS int ftruncate64(int fd, long size);
OURS int ftruncate64(int fd, long size)
{
    return ftruncate(fd, size);
}

OURS int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return fails_at(from_fd, from) ? -1 : (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);
}

OURS int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* While the fault lasts, what is only read can be opened. */
static int open_at(int folder, const char *path, int flags, unsigned mode)
{
    bool harmless = shim && shim->lasting && (flags & O_ACCMODE) == O_RDONLY;
    return !harmless && fails_at(folder, path) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
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

OURS int open64(const char *path, int flags, ...);
OURS int open64(const char *path, int flags, ...)
{
    MODE_AFTER(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

OURS int openat(int folder, const char *path, int flags, ...)
{
    MODE_AFTER(flags, mode)
    return open_at(folder, path, flags, mode);
}

OURS int openat64(int folder, const char *path, int flags, ...);
OURS int openat64(int folder, const char *path, int flags, ...)
{
    MODE_AFTER(flags, mode)
    return open_at(folder, path, flags, mode);
}
