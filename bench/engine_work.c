#include "engine_work.h"

#include "base/digest.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void work_fail(const char *what)
{
    perror(what);
    exit(1);
}

/* So that no digest is computed for nobody. */
static _Atomic unsigned digests;

static void add_digest(const struct work *work, const void *bytes, size_t count)
{
    if (!work->digest)
        return;
    struct digest_value value = digest_of(bytes, count);
    atomic_fetch_add_explicit(&digests, value.octets[0], memory_order_relaxed);
}

void work_read(const struct work *work, void *to, size_t count, uint64_t offset)
{
    if (pread(work->source, to, count, (off_t)(offset % WORK_FILE)) != (ssize_t)count)
        work_fail("source");
    add_digest(work, to, count);
}

void work_write(const struct work *work, const void *bytes, size_t count, uint64_t offset)
{
    uint64_t at = offset % WORK_FILE;
    size_t first = count < WORK_FILE - at ? count : WORK_FILE - at;

    add_digest(work, bytes, count);
    if (pwrite(work->sink, bytes, first, (off_t)at) != (ssize_t)first)
        work_fail("sink");
    if (first < count &&
        pwrite(work->sink, (const char *)bytes + first, count - first, 0) != (ssize_t)(count - first))
        work_fail("sink");
}

int work_listen(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(any);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&any, size) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, (struct sockaddr *)&any, &size) != 0)
        work_fail("listen");
    printf("%u\n", ntohs(any.sin_port));
    fflush(stdout);
    return fd;
}

int work_connect(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        work_fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_now(void)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void serve(const struct work *work)
{
    char byte;

    contender_serve(work);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    fflush(NULL);
    _exit(0); /* threads are not waited for */
}

static int open_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        work_fail(path);
    return fd;
}

int main(int count, char **words)
{
    if (count != 5 && count != 8) {
        fprintf(stderr, "usage: %s serve|put|get|null|connections DIGEST SOURCE SINK [PORT AMOUNT FLIGHT]\n",
                words[0]);
        return 2;
    }
    struct work work = {.digest = words[2][0] == '1',
                        .source = open_file(words[3]),
                        .sink = open_file(words[4])};
    if (strcmp(words[1], "serve") == 0)
        serve(&work);
    work.port = (uint16_t)atoi(words[5]);
    bool bulk = strcmp(words[1], "put") == 0 || strcmp(words[1], "get") == 0;
    work.amount = strtoull(words[6], NULL, 10) * (bulk ? WORK_CHUNK : 1);
    work.flight = (unsigned)atoi(words[7]);

    double began = seconds_now(), cpu_began = cpu_now();
    if (strcmp(words[1], "put") == 0)
        contender_put(&work);
    else if (strcmp(words[1], "get") == 0)
        contender_get(&work);
    else if (strcmp(words[1], "null") == 0)
        contender_null(&work);
    else
        contender_connections(&work);
    printf("%.6f %.6f\n", seconds_now() - began, cpu_now() - cpu_began);
    return 0;
}
