#include "server/store/local/log_tail.h"

#include "base/scoped.h"

#include <endian.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOG_HEADER = 32, FRAME_HEADER = 24, PATH_SIZE = 4096 + 8 };

/* As it stands at the beginning of the index, in this machine's order of bytes (walformat.html, 2.1). */
struct index_head {
    uint32_t version, unused, change;
    uint8_t is_set, big_endian;
    uint16_t page_size; /* 1: 65,536 */
    uint32_t frames, pages;
    uint32_t sum[2]; /* of the last frame that is committed */
    uint8_t salt[8];
    uint32_t sum_of_this[2];
};

/* A frame of the log, and what its sum begins with. */
struct tail {
    int fd;
    bool big_endian;
    size_t page_size;
    uint8_t salt[8];
    uint32_t sum[2];
    off_t at;
};

static bool read_at(int fd, void *to, size_t size, off_t at)
{
    return pread(fd, to, size, at) == (ssize_t)size;
}

static int open_beside(const char *database, const char *ending)
{
    char path[PATH_SIZE];
    int size = snprintf(path, sizeof path, "%s%s", database, ending);
    return size < (int)sizeof path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
}

static void add(struct tail *tail, const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < size; at += 8) {
        uint32_t words[2];
        memcpy(words, bytes + at, sizeof words);
        for (int i = 0; i < 2; i++)
            words[i] = tail->big_endian ? be32toh(words[i]) : le32toh(words[i]);
        tail->sum[0] += words[0] + tail->sum[1];
        tail->sum[1] += words[1] + tail->sum[0];
    }
}

static uint32_t word(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return be32toh(value);
}

/* Where the frames behind the last commit would begin. */
static bool find_tail(const struct index_head *head, struct tail *tail)
{
    *tail = (struct tail){
        .fd = tail->fd,
        .big_endian = head->big_endian,
        .page_size = head->page_size == 1 ? 65536 : head->page_size,
        .sum = {head->sum[0], head->sum[1]},
    };
    memcpy(tail->salt, head->salt, sizeof tail->salt);
    tail->at = LOG_HEADER + (off_t)head->frames * (off_t)(FRAME_HEADER + tail->page_size);
    if (head->frames > 0)
        return true;
    /* A log begun anew: its header has the sum; of another salt it is of before. */
    uint8_t header[LOG_HEADER];
    if (!read_at(tail->fd, header, sizeof header, 0))
        return false;
    tail->sum[0] = word(header + 24);
    tail->sum[1] = word(header + 28);
    return memcmp(header + 16, head->salt, sizeof head->salt) == 0;
}

/* The next frame is valid; *commits tells whether it ends a transaction. */
static bool next_frame(struct tail *tail, uint8_t *frame, bool *commits)
{
    if (!read_at(tail->fd, frame, FRAME_HEADER + tail->page_size, tail->at))
        return false;
    if (word(frame) == 0 || memcmp(frame + 8, tail->salt, sizeof tail->salt) != 0)
        return false;
    add(tail, frame, 8);
    add(tail, frame + FRAME_HEADER, tail->page_size);
    tail->at += (off_t)(FRAME_HEADER + tail->page_size);
    *commits = word(frame + 4) != 0;
    return tail->sum[0] == word(frame + 16) && tail->sum[1] == word(frame + 20);
}

bool log_tail_commits(const char *database)
{
    scoped_fd int index = open_beside(database, "-shm");
    scoped_fd int log = open_beside(database, "-wal");
    struct index_head head;
    struct tail tail = {.fd = log};
    bool commits = false;
    if (index < 0 || log < 0 || !read_at(index, &head, sizeof head, 0) || !head.is_set)
        return true;
    if (!find_tail(&head, &tail))
        return false; /* no log, or one that is not of this index: none of its frames counts */
    scoped_free uint8_t *frame = malloc(FRAME_HEADER + tail.page_size);
    if (!frame)
        return true;
    while (next_frame(&tail, frame, &commits))
        if (commits)
            return true;
    return false;
}
