#include "server/store/local/blobs.h"

#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOB_PATH_SIZE = 3 + ID_TEXT_SIZE };

/* ---- folders ---- */

static enum outcome open_folder(int folder_fd, const char *name, int *out, struct failure *why)
{
    if (mkdirat(folder_fd, name, 0700) < 0 && errno != EEXIST)
        return failure_system(why, OUTCOME_LOCAL, errno, "make the store's folder %s", name);
    int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "open the store's folder %s", name);
    *out = fd;
    return OUTCOME_OK;
}

static enum outcome make_shards(struct blobs *blobs, struct failure *why)
{
    bool made = false;
    for (unsigned shard = 0; shard < BLOB_SHARDS; shard++) {
        char name[3];
        snprintf(name, sizeof name, "%02x", shard & 0xff);
        if (mkdirat(blobs->blobs_fd, name, 0700) == 0)
            made = true;
        else if (errno != EEXIST)
            return failure_system(why, OUTCOME_LOCAL, errno, "make the store's folder blobs/%s", name);
    }
    return made ? disk_sync_folder(blobs->blobs_fd, "blobs", why) : OUTCOME_OK;
}

void blobs_init(struct blobs *blobs)
{
    *blobs = (struct blobs){.blobs_fd = -1, .incoming_fd = -1};
    list_init(&blobs->claims);
    pthread_mutex_init(&blobs->mutex, NULL);
}

enum outcome blobs_open(struct blobs *blobs, int folder_fd, struct failure *why)
{
    enum outcome outcome = open_folder(folder_fd, "blobs", &blobs->blobs_fd, why);
    if (outcome == OUTCOME_OK)
        outcome = open_folder(folder_fd, "incoming", &blobs->incoming_fd, why);
    if (outcome == OUTCOME_OK)
        outcome = make_shards(blobs, why);
    return outcome == OUTCOME_OK ? disk_sync_folder(folder_fd, "the store's folder", why) : outcome;
}

void blobs_fini(struct blobs *blobs)
{
    scoped_fd_at(&blobs->blobs_fd);
    scoped_fd_at(&blobs->incoming_fd);
    pthread_mutex_destroy(&blobs->mutex);
}

/* ---- claims ---- */

void blob_claim(struct blobs *blobs, struct blob_claim *claim)
{
    claim->blob = id_random();
    blob_claim_again(blobs, claim);
}

void blob_claim_again(struct blobs *blobs, struct blob_claim *claim)
{
    scoped_lock(&blobs->mutex);
    list_append(&blobs->claims, &claim->link);
}

void blob_release(struct blobs *blobs, struct blob_claim *claim)
{
    scoped_lock(&blobs->mutex);
    list_remove(&claim->link);
}

bool blob_is_claimed(struct blobs *blobs, const struct id *blob)
{
    scoped_lock(&blobs->mutex);
    list_each(at, &blobs->claims)
        if (id_equal(&list_entry(at, struct blob_claim, link)->blob, blob))
            return true;
    return false;
}

/* ---- files ---- */

/* The folder's descriptor; the path below it into `path`. */
static int blob_path(const struct blobs *blobs, enum blob_place place, const struct id *blob,
                     char path[BLOB_PATH_SIZE])
{
    char text[ID_TEXT_SIZE];
    id_text(blob, text);
    if (place == BLOB_INCOMING)
        snprintf(path, BLOB_PATH_SIZE, "%s", text);
    else
        snprintf(path, BLOB_PATH_SIZE, "%.2s/%s", text, text);
    return place == BLOB_INCOMING ? blobs->incoming_fd : blobs->blobs_fd;
}

static enum outcome blob_failed(const char *doing, const char *path, struct failure *why)
{
    return failure_system(why, OUTCOME_UNAVAILABLE, errno, "the server's disk: cannot %s %s", doing, path);
}

enum outcome blob_create(struct blobs *blobs, enum blob_place place, const struct id *blob, int *fd,
                         struct failure *why)
{
    char path[BLOB_PATH_SIZE];
    int folder = blob_path(blobs, place, blob, path);
    int made = openat(folder, path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (made < 0)
        return blob_failed("make blob", path, why);
    *fd = made;
    FAULT_POINT("blob-made");
    return OUTCOME_OK;
}

enum outcome blob_open(struct blobs *blobs, enum blob_place place, const struct id *blob, bool write, int *fd,
                       struct failure *why)
{
    char path[BLOB_PATH_SIZE];
    int folder = blob_path(blobs, place, blob, path);
    int opened = openat(folder, path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
    if (opened < 0 && errno == ENOENT)
        return failure_set(why, OUTCOME_ABSENT, "blob %s is not there", path);
    if (opened < 0)
        return blob_failed("open blob", path, why);
    *fd = opened;
    return OUTCOME_OK;
}

static enum outcome sync_folder_of(struct blobs *blobs, enum blob_place place, const char *path,
                                   struct failure *why)
{
    if (place == BLOB_INCOMING)
        return fsync(blobs->incoming_fd) < 0 ? blob_failed("sync the folder of", path, why) : OUTCOME_OK;
    char shard[3];
    snprintf(shard, sizeof shard, "%.2s", path);
    scoped_fd int fd = openat(blobs->blobs_fd, shard, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 || fsync(fd) < 0 ? blob_failed("sync the folder of", path, why) : OUTCOME_OK;
}

enum outcome blob_sync(struct blobs *blobs, enum blob_place place, const struct id *blob, int fd,
                       struct failure *why)
{
    char path[BLOB_PATH_SIZE];
    blob_path(blobs, place, blob, path);
    if (fsync(fd) < 0)
        return blob_failed("sync blob", path, why);
    FAULT_POINT("blob-synced");
    return sync_folder_of(blobs, place, path, why);
}

enum outcome blob_flush(int fd, uint64_t size, struct failure *why)
{
    /* A write that failed half-way may have left bytes behind the end. */
    if (ftruncate(fd, (off_t)size) < 0 || fsync(fd) < 0)
        return blob_failed("sync", "an upload", why);
    FAULT_POINT("upload-flushed");
    return OUTCOME_OK;
}

bool blob_mark(int fd, bool marked)
{
    struct stat status;
    return fchmod(fd, marked ? 0700 : 0600) == 0 && fstat(fd, &status) == 0 &&
           blob_is_marked(&status) == marked;
}

bool blob_is_marked(const struct stat *status)
{
    return (status->st_mode & S_IXUSR) != 0;
}

enum outcome blob_settle(struct blobs *blobs, const struct id *blob, struct failure *why)
{
    char from[BLOB_PATH_SIZE], to[BLOB_PATH_SIZE];
    blob_path(blobs, BLOB_INCOMING, blob, from);
    blob_path(blobs, BLOB_WHOLE, blob, to);
    /* It may have been moved before, and a folder not synced then. */
    if (renameat(blobs->incoming_fd, from, blobs->blobs_fd, to) < 0 &&
        (errno != ENOENT || faccessat(blobs->blobs_fd, to, F_OK, 0) < 0))
        return blob_failed("settle blob", from, why);
    FAULT_POINT("blob-moved");
    enum outcome outcome = sync_folder_of(blobs, BLOB_WHOLE, to, why);
    return outcome == OUTCOME_OK ? sync_folder_of(blobs, BLOB_INCOMING, from, why) : outcome;
}

enum outcome blob_remove(struct blobs *blobs, enum blob_place place, const struct id *blob,
                         struct failure *why)
{
    char path[BLOB_PATH_SIZE];
    int folder = blob_path(blobs, place, blob, path);
    if (unlinkat(folder, path, 0) < 0 && errno != ENOENT)
        return blob_failed("remove blob", path, why);
    return OUTCOME_OK;
}

enum outcome blob_size(struct blobs *blobs, const struct id *blob, uint64_t *out, struct failure *why)
{
    char path[BLOB_PATH_SIZE];
    int folder = blob_path(blobs, BLOB_WHOLE, blob, path);
    struct stat status;
    if (fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno == ENOENT)
            return failure_set(why, OUTCOME_ABSENT, "blob %s is not there", path);
        return blob_failed("look at blob", path, why);
    }
    if (!S_ISREG(status.st_mode))
        return failure_set(why, OUTCOME_UNAVAILABLE, "blob %s is not a file", path);
    *out = (uint64_t)status.st_size;
    return OUTCOME_OK;
}

/* ---- giving ---- */

/* Not a copy as long as it is not whole and durable: a failed one is taken away. */
static enum outcome blob_copy(int from, int folder_fd, const char *name, struct failure *why)
{
    scoped_fd int to = openat(folder_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0)
        return errno == EEXIST ? OUTCOME_OK : failure_system(why, OUTCOME_LOCAL, errno, "make %s", name);
    enum { STEP = 256 << 10 };
    scoped_free uint8_t *step = malloc(STEP);
    if (!step)
        return failure_set(why, OUTCOME_NOMEM, "no memory to copy a blob");
    enum outcome outcome = OUTCOME_OK;
    uint64_t at = 0;
    ssize_t got = 1;
    while (outcome == OUTCOME_OK && got > 0) {
        got = pread(from, step, STEP, (off_t)at);
        if (got > 0)
            FAULT_POINT("care-blob-copying");
        if (got > 0)
            outcome = disk_write_at(to, step, (size_t)got, at, name, why);
        at += got > 0 ? (uint64_t)got : 0;
    }
    if (got < 0)
        outcome = blob_failed("read blob", name, why);
    if (outcome == OUTCOME_OK && fsync(to) < 0)
        outcome = failure_system(why, OUTCOME_LOCAL, errno, "sync %s", name);
    if (outcome != OUTCOME_OK)
        unlinkat(folder_fd, name, 0);
    return outcome;
}

enum outcome blob_give(struct blobs *blobs, const struct id *blob, int folder_fd, const char *name, bool copy,
                       bool *linked, struct failure *why)
{
    char path[BLOB_PATH_SIZE];
    int folder = blob_path(blobs, BLOB_WHOLE, blob, path);
    *linked = !copy && (linkat(folder, path, folder_fd, name, 0) == 0 || errno == EEXIST);
    if (*linked)
        return OUTCOME_OK;
    scoped_fd int from = -1;
    enum outcome outcome = blob_open(blobs, BLOB_WHOLE, blob, false, &from, why);
    return outcome == OUTCOME_OK ? blob_copy(from, folder_fd, name, why) : outcome;
}

/* ---- walking ---- */

enum outcome blob_walk(struct blobs *blobs, enum blob_place place, unsigned shard, DIR **out,
                       struct failure *why)
{
    char name[12] = ".";
    if (place == BLOB_WHOLE)
        snprintf(name, sizeof name, "%02x", shard);
    int folder = place == BLOB_WHOLE ? blobs->blobs_fd : blobs->incoming_fd;
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return blob_failed("open the folder", name, why);
    DIR *walk = fdopendir(fd);
    if (!walk) {
        close(fd);
        return failure_set(why, OUTCOME_NOMEM, "no memory to read a folder");
    }
    *out = walk;
    return OUTCOME_OK;
}

bool blob_walk_next(DIR *walk, struct id *out)
{
    for (struct dirent *at = readdir(walk); at; at = readdir(walk))
        if (id_parse(at->d_name, out, NULL) == OUTCOME_OK)
            return true;
    return false;
}

void blob_walk_end(DIR **walk)
{
    if (*walk)
        closedir(*walk);
    *walk = NULL;
}
