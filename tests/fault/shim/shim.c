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
#include <sys/statfs.h>
#include <sys/statvfs.h>
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

void shim_use(struct shim *use)
{
    shim = use;
}

/* Whether this call is the one; then errno is set. */
static bool fails(void)
{
    shim->failed += shim->hangs != 0;
    while (shim->hangs)
        usleep(10000);
    if (!shim->lasting && atomic_fetch_sub(&shim->left, 1) != 1)
        return false;
    if (shim->lasts)
        shim->lasting = 1;
    shim->failed++;
    errno = shim->error;
    return true;
}

static bool is_armed(void)
{
    return shim && (shim->left > 0 || shim->lasting || shim->hangs);
}

static bool is_ours(const char *path)
{
    return strstr(path, shim->below[0] ? shim->below : "/store/") != NULL;
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
    return is_ours(path) && fails();
}

static bool fails_at(int folder, const char *path)
{
    return is_armed() && (path[0] == '/' ? is_ours(path) && fails() : fails_on(folder));
}

static bool fails_reading(int fd)
{
    return shim && shim->reads && fails_on(fd);
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

OURS ssize_t read(int fd, void *bytes, size_t count);
OURS ssize_t read(int fd, void *bytes, size_t count)
{
    return fails_reading(fd) ? -1 : syscall(SYS_read, fd, bytes, count);
}

OURS ssize_t pread(int fd, void *bytes, size_t count, long offset);
OURS ssize_t pread(int fd, void *bytes, size_t count, long offset)
{
    return fails_reading(fd) ? -1 : syscall(SYS_pread64, fd, bytes, count, offset);
}

OURS ssize_t pread64(int fd, void *bytes, size_t count, long offset);
OURS ssize_t pread64(int fd, void *bytes, size_t count, long offset)
{
    return pread(fd, bytes, count, offset);
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

OURS int fallocate(int fd, int mode, long offset, long size);
OURS int fallocate(int fd, int mode, long offset, long size)
{
    return fails_on(fd) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

OURS int fallocate64(int fd, int mode, long offset, long size);
OURS int fallocate64(int fd, int mode, long offset, long size)
{
    return fallocate(fd, mode, offset, size);
}

/* This one returns its error. */
OURS int posix_fallocate(int fd, long offset, long size);
OURS int posix_fallocate(int fd, long offset, long size)
{
    return fallocate(fd, 0, offset, size) < 0 ? errno : 0;
}

OURS int posix_fallocate64(int fd, long offset, long size);
OURS int posix_fallocate64(int fd, long offset, long size)
{
    return posix_fallocate(fd, offset, size);
}

OURS void *mmap(void *at, size_t size, int protection, int flags, int fd, long offset);
OURS void *mmap(void *at, size_t size, int protection, int flags, int fd, long offset)
{
    if (fd >= 0 && (protection & PROT_WRITE) && fails_on(fd))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

OURS void *mmap64(void *at, size_t size, int protection, int flags, int fd, long offset);
OURS void *mmap64(void *at, size_t size, int protection, int flags, int fd, long offset)
{
    return mmap(at, size, protection, flags, fd, offset);
}

/* It is closed all the same, as the kernel does. */
OURS int close(int fd)
{
    bool failed = shim && !shim->lasting && fails_on(fd);
    int before = errno, result = (int)syscall(SYS_close, fd);
    if (!failed)
        return result;
    errno = before;
    return -1;
}

OURS int fstatvfs(int fd, struct statvfs *out)
{
    struct statfs status;
    if (shim && !shim->lasting && fails_on(fd))
        return -1;
    if (syscall(SYS_fstatfs, fd, &status) < 0)
        return -1;
    *out = (struct statvfs){
        .f_bsize = (unsigned long)status.f_bsize,
        .f_frsize = (unsigned long)(status.f_frsize ? status.f_frsize : status.f_bsize),
        .f_blocks = status.f_blocks,
        .f_bfree = status.f_bfree,
        .f_bavail = status.f_bavail,
        .f_files = status.f_files,
        .f_ffree = status.f_ffree,
        .f_favail = status.f_ffree,
    };
    return 0;
}

OURS int fstatvfs64(int fd, struct statvfs64 *out)
{
    return fstatvfs(fd, (struct statvfs *)out);
}

OURS int unlinkat(int folder, const char *path, int flags)
{
    return fails_at(folder, path) ? -1 : (int)syscall(SYS_unlinkat, folder, path, flags);
}

OURS int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

OURS int rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

OURS int mkdirat(int folder, const char *path, unsigned mode);
OURS int mkdirat(int folder, const char *path, unsigned mode)
{
    return fails_at(folder, path) ? -1 : (int)syscall(SYS_mkdirat, folder, path, mode);
}

OURS int mkdir(const char *path, unsigned mode);
OURS int mkdir(const char *path, unsigned mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

OURS int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    return fails_at(to_fd, to) ? -1 : (int)syscall(SYS_linkat, from_fd, from, to_fd, to, flags);
}

OURS int link(const char *from, const char *to)
{
    return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
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
