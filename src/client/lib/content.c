#include "client/lib/content.h"

#include "base/clock.h"
#include "base/disk.h"
#include "base/scoped.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASH_CHUNK = 256 << 10 };

struct content {
    int fd;
    const char *label;
    const struct stop *stop;
    bool is_file;
    uint64_t base;     /* of a file: where the descriptor stood */
    uint64_t size;     /* UINT64_MAX while not known */
    struct stat begun; /* of a file: as it was */
    struct digest *digest;
    uint64_t hashed; /* the digest is of [0, hashed) */

    /* Of a pipe: bytes [read - CONTENT_KEPT, read) at their offset modulo CONTENT_KEPT. */
    uint8_t *kept;
    uint64_t read;
};

/* ---- life ---- */

static uint64_t size_from(const struct stat *status, uint64_t base)
{
    return (uint64_t)status->st_size > base ? (uint64_t)status->st_size - base : 0;
}

/* A file whose size says something; those of /proc have none, and are read as pipes are. */
static enum outcome look_at(struct content *content, struct failure *why)
{
    if (fstat(content->fd, &content->begun) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot look at \"%s\"", content->label);
    if (S_ISDIR(content->begun.st_mode))
        return failure_system(why, OUTCOME_LOCAL, EISDIR, "cannot read \"%s\"", content->label);
    off_t at = lseek(content->fd, 0, SEEK_CUR);
    if (!S_ISREG(content->begun.st_mode) || at < 0 || content->begun.st_size == 0)
        return OUTCOME_OK;
    content->is_file = true;
    content->base = (uint64_t)at;
    content->size = size_from(&content->begun, content->base);
    return OUTCOME_OK;
}

enum outcome content_open(int fd, const char *label, const struct stop *stop, struct content **out,
                          struct failure *why)
{
    struct content *content = calloc(1, sizeof *content);
    if (!content)
        return failure_set(why, OUTCOME_NOMEM, "no memory to read \"%s\"", label);
    *content = (struct content){.fd = fd, .label = label, .stop = stop, .size = UINT64_MAX};
    enum outcome outcome = look_at(content, why);
    if (outcome == OUTCOME_OK) {
        content->digest = digest_new();
        content->kept = content->is_file ? NULL : malloc(CONTENT_KEPT);
        if (!content->digest || (!content->is_file && !content->kept))
            outcome = failure_set(why, OUTCOME_NOMEM, "no memory to read \"%s\"", label);
    }
    if (outcome != OUTCOME_OK) {
        content_close(content);
        return outcome;
    }
    *out = content;
    return OUTCOME_OK;
}

void *content_close(struct content *content)
{
    if (!content)
        return NULL;
    digest_free(content->digest);
    free(content->kept);
    free(content);
    return NULL;
}

bool content_is_file(const struct content *content)
{
    return content->is_file;
}

uint64_t content_size(const struct content *content)
{
    return content->size;
}

struct digest_value content_digest(const struct content *content)
{
    return digest_value(content->digest);
}

/* ---- a file ---- */

static bool is_same(const struct stat *one, const struct stat *other)
{
    return one->st_size == other->st_size && one->st_mtim.tv_sec == other->st_mtim.tv_sec &&
           one->st_mtim.tv_nsec == other->st_mtim.tv_nsec;
}

bool content_identity(const struct content *content, struct content_identity *out)
{
    const struct stat *begun = &content->begun;
    if (!content->is_file)
        return false;
    *out = (struct content_identity){
        .device = begun->st_dev,
        .inode = begun->st_ino,
        .start = content->base,
        .size = content->size,
        .mtime = begun->st_mtim.tv_sec * (int64_t)CLOCK_SECOND + begun->st_mtim.tv_nsec,
    };
    return true;
}

bool content_identity_equal(const struct content_identity *one, const struct content_identity *other)
{
    return one->device == other->device && one->inode == other->inode && one->start == other->start &&
           one->size == other->size && one->mtime == other->mtime;
}

bool content_path(const struct content *content, char *path, size_t size)
{
    char link[64];
    struct stat there;
    if (!content->is_file)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", content->fd);
    ssize_t got = readlink(link, path, size);
    if (got <= 0 || (size_t)got >= size)
        return false;
    path[got] = '\0';
    return stat(path, &there) == 0 && there.st_dev == content->begun.st_dev &&
           there.st_ino == content->begun.st_ino;
}

enum outcome content_renew(struct content *content, bool *changed, struct failure *why)
{
    struct stat now;
    *changed = false;
    if (!content->is_file)
        return OUTCOME_OK;
    if (fstat(content->fd, &now) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot look at \"%s\"", content->label);
    if (is_same(&now, &content->begun))
        return OUTCOME_OK;
    *changed = true;
    content->begun = now;
    content->size = size_from(&now, content->base);
    digest_reset(content->digest);
    content->hashed = 0;
    return OUTCOME_OK;
}

static enum outcome file_changed(const char *label, struct failure *why)
{
    return failure_set(why, OUTCOME_CHANGED,
                       "\"%s\" changed while it was read; try again when nobody writes to it", label);
}

static enum outcome file_is_as(int fd, const char *label, const struct stat *begun, struct failure *why)
{
    struct stat now;
    if (fstat(fd, &now) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot look at \"%s\"", label);
    return is_same(&now, begun) ? OUTCOME_OK : file_changed(label, why);
}

static enum outcome file_read(const struct content *content, uint64_t offset, uint8_t *to, size_t count,
                              struct failure *why)
{
    while (count > 0) {
        ssize_t got = pread(content->fd, to, count, (off_t)(content->base + offset));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure_system(why, OUTCOME_LOCAL, errno, "cannot read \"%s\"", content->label);
        if (got == 0)
            return file_changed(content->label, why);
        to += got;
        offset += (uint64_t)got;
        count -= (size_t)got;
    }
    return OUTCOME_OK;
}

/* Takes the bytes from what was hashed last up to `offset` into the digest. */
static enum outcome file_hash_to(struct content *content, uint64_t offset, struct failure *why)
{
    if (content->hashed >= offset)
        return OUTCOME_OK;
    scoped_free uint8_t *bytes = malloc(HASH_CHUNK);
    if (!bytes)
        return failure_set(why, OUTCOME_NOMEM, "no memory to read \"%s\"", content->label);
    while (content->hashed < offset) {
        enum outcome outcome = stop_check(content->stop, why);
        uint64_t left = offset - content->hashed;
        size_t count = left < HASH_CHUNK ? (size_t)left : HASH_CHUNK;
        if (outcome == OUTCOME_OK)
            outcome = file_read(content, content->hashed, bytes, count, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        digest_add(content->digest, bytes, count);
        content->hashed += count;
    }
    return OUTCOME_OK;
}

enum outcome content_digest_to(struct content *content, uint64_t size, struct digest_value *out,
                               struct failure *why)
{
    digest_reset(content->digest);
    content->hashed = 0;
    enum outcome outcome = file_hash_to(content, size, why);
    if (outcome == OUTCOME_OK)
        *out = digest_value(content->digest);
    return outcome;
}

enum outcome content_settle(struct content *content, struct failure *why)
{
    if (!content->is_file)
        return OUTCOME_OK;
    enum outcome outcome = file_hash_to(content, content->size, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    return file_is_as(content->fd, content->label, &content->begun, why);
}

/* ---- a pipe ---- */

/* STOPPED; TIMEOUT; OK: something can be read, or it is worth a try. */
static enum outcome pipe_wait(const struct content *content, int64_t until, struct failure *why)
{
    struct pollfd polls[2] = {{.fd = content->fd, .events = POLLIN},
                              {.fd = content->stop->fd, .events = POLLIN}};
    int64_t left = (until - clock_elapsed(clock_system())) / 1000000;
    int ready = poll(polls, 2, left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left);
    enum outcome outcome = stop_check(content->stop, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (ready == 0)
        return failure_set(why, OUTCOME_TIMEOUT, "nothing came from \"%s\"", content->label);
    return OUTCOME_OK;
}

/* One read into the ring, at most `room` bytes, which do not wrap. */
static enum outcome pipe_read(struct content *content, size_t room, struct failure *why)
{
    size_t at = (size_t)(content->read % CONTENT_KEPT);
    if (room > CONTENT_KEPT - at)
        room = CONTENT_KEPT - at;
    ssize_t got = read(content->fd, content->kept + at, room);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return OUTCOME_OK;
    if (got < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot read \"%s\"", content->label);
    if (got == 0)
        content->size = content->read;
    digest_add(content->digest, content->kept + at, (size_t)got);
    content->read += (uint64_t)got;
    content->hashed = content->read;
    return OUTCOME_OK;
}

static enum outcome pipe_peek(struct content *content, uint64_t offset, size_t want, uint32_t wait_ms,
                              size_t *available, struct failure *why)
{
    if (offset > content->read || content->read - offset > CONTENT_KEPT)
        return failure_set(
            why, OUTCOME_LOCAL,
            "the upload of \"%s\" was cut off and cannot go on: what was read cannot be read again",
            content->label);
    int64_t until = clock_elapsed(clock_system()) + (int64_t)wait_ms * 1000000;
    while (content->read < offset + want && content->size == UINT64_MAX) {
        enum outcome outcome = pipe_wait(content, until, why);
        if (outcome == OUTCOME_OK)
            outcome = pipe_read(content, (size_t)(offset + want - content->read), why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    uint64_t there = content->read - offset;
    *available = there < want ? (size_t)there : want;
    return OUTCOME_OK;
}

static void pipe_copy(const struct content *content, uint64_t offset, uint8_t *to, size_t count)
{
    size_t at = (size_t)(offset % CONTENT_KEPT);
    size_t first = count < CONTENT_KEPT - at ? count : CONTENT_KEPT - at;
    memcpy(to, content->kept + at, first);
    memcpy(to + first, content->kept, count - first);
}

enum outcome content_drain(struct content *content, uint64_t limit, struct failure *why)
{
    while (content->size == UINT64_MAX && content->read <= limit) {
        enum outcome outcome = pipe_wait(content, INT64_MAX, why);
        if (outcome == OUTCOME_OK)
            outcome = pipe_read(content, HASH_CHUNK, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_OK;
}

/* ---- both ---- */

enum outcome content_peek(struct content *content, uint64_t offset, size_t want, uint32_t wait_ms,
                          size_t *available, struct failure *why)
{
    if (!content->is_file)
        return pipe_peek(content, offset, want, wait_ms, available, why);
    uint64_t left = offset < content->size ? content->size - offset : 0;
    *available = left < want ? (size_t)left : want;
    return OUTCOME_OK;
}

enum outcome content_copy(struct content *content, uint64_t offset, void *to, size_t count,
                          struct failure *why)
{
    if (!content->is_file) {
        pipe_copy(content, offset, to, count);
        return OUTCOME_OK;
    }
    enum outcome outcome = file_read(content, offset, to, count, why);
    if (outcome == OUTCOME_OK)
        outcome = file_hash_to(content, offset, why); /* after a jump forward */
    if (outcome != OUTCOME_OK)
        return outcome;
    if (offset + count > content->hashed) {
        size_t known = (size_t)(content->hashed - offset);
        digest_add(content->digest, (uint8_t *)to + known, count - known);
        content->hashed = offset + count;
    }
    return OUTCOME_OK;
}

enum outcome content_take(int fd, const char *label, const struct stat *begun, void *to, struct failure *why)
{
    size_t size = (size_t)begun->st_size, have = 0;
    uint8_t *bytes = to;
    for (ssize_t got = 1; got != 0 && have <= size;) {
        got = read(fd, bytes + have, size + 1 - have);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure_system(why, OUTCOME_LOCAL, errno, "cannot read \"%s\"", label);
        have += (size_t)got;
        if (have == size)
            break; /* what the end holds is seen by its size */
    }
    return have == size ? file_is_as(fd, label, begun, why) : file_changed(label, why);
}
