/*
 * callback_commits: preloaded into fileshared by bench/callback, tells when its
 * commits became durable: the clock after each sync of the database's log has
 * returned, as nobody outside can see it. It changes nothing else.
 *
 * The moments stand in the file that BENCH_COMMITS names (callback_commits.h).
 */
#include "callback_commits.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define OURS __attribute__((visibility("default")))

enum { FILES_MAX = 1024 };

typedef int syncer(int fd);

static struct commits nowhere;
static struct commits *commits = &nowhere;
static syncer *below_fsync, *below_fdatasync;
static _Atomic bool is_log[FILES_MAX]; /* known to be */

static void look_up(void)
{
    void *found[] = {dlsym(RTLD_NEXT, "fsync"), dlsym(RTLD_NEXT, "fdatasync")};
    memcpy(&below_fsync, &found[0], sizeof below_fsync);
    memcpy(&below_fdatasync, &found[1], sizeof below_fdatasync);
    if (!below_fsync || !below_fdatasync)
        abort();
}

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("BENCH_COMMITS");
    look_up();
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *shared = mmap(NULL, sizeof *commits, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (shared != MAP_FAILED)
        commits = shared;
}

/* The server closes its log only at the end, so a descriptor is looked at once. Others may be anything later. */
static bool log_is(int fd)
{
    if (fd < 0 || fd >= FILES_MAX)
        return false;
    if (atomic_load(&is_log[fd]))
        return true;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path);
    bool log = size > 4 && memcmp(path + size - 4, "-wal", 4) == 0;
    if (log)
        atomic_store(&is_log[fd], true);
    return log;
}

static void note(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    uint64_t at = atomic_load(&commits->count);
    atomic_store(&commits->at[at % COMMITS_KEPT], now.tv_sec * INT64_C(1000000000) + now.tv_nsec);
    atomic_store(&commits->count, at + 1); /* one thread commits */
}

OURS int fsync(int fd)
{
    bool log = log_is(fd);
    int result = below_fsync(fd);
    if (log && result == 0)
        note();
    return result;
}

OURS int fdatasync(int fd)
{
    bool log = log_is(fd);
    int result = below_fdatasync(fd);
    if (log && result == 0)
        note();
    return result;
}
