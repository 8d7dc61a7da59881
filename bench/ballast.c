/*
 * ballast FILE MIB: touches so much memory once, and gives nearly all of it back.
 *
 * A virtual machine may return free blocks of 2 MiB to its host; the next first
 * touch of such a page then costs eight times an ordinary one, at random. FILE,
 * on a tmpfs, is written, and then freed but for a page in each 512 KiB: what is
 * free now lies in blocks too small to be returned, and the kernel hands those
 * out first. Delete FILE when all is measured.
 */
#include "base/scoped.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MIB = 1 << 20, HOLE = 512 << 10, PAGE = 4 << 10 };

int main(int count, char **words)
{
    static char bytes[MIB];
    long mib = count == 3 ? atol(words[2]) : -1;
    scoped_fd int fd = mib < 0 ? -1 : open(words[1], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) {
        fprintf(stderr, "usage: ballast FILE MIB\n");
        return 2;
    }
    memset(bytes, 1, sizeof bytes);
    for (long i = 0; i < mib; i++) {
        if (write(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes) {
            perror("ballast");
            return 1;
        }
    }
    for (off_t hole = 0; hole < (off_t)mib * MIB; hole += HOLE) {
        if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, hole + PAGE, HOLE - PAGE) != 0) {
            perror("ballast");
            return 1;
        }
    }
    return 0;
}
