/*
 * bench/engine's rounds: runs every contender at every work, one after the other,
 * round by round, and prints the medians. See bench/engine.
 *
 *     bench_rounds FOLDER [ROUNDS [MIB [CALLS]]]
 *
 * The contenders' programs lie in FOLDER.
 */
#include "engine_work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS_MAX = 99 };

struct row {
    const char *label, *program, *work;
    bool digest;
    unsigned flight;
    int against; /* the row it is measured by, or -1 */
    double rate[ROUNDS_MAX], cpu[ROUNDS_MAX];
};

enum { NULL_OURS_1, NULL_STOCK_1, NULL_OURS_32, NULL_OURS_CONNECTIONS, NULL_STOCK_32, NULL_ROWS };

static struct row null_rows[] = {
    {"ours, 1 in flight", "bench_ours", "null", false, 1, NULL_STOCK_1, {0}, {0}},
    {"stock, 1 in flight", "bench_stock", "null", false, 1, -1, {0}, {0}},
    {"ours, 32 in flight (one connection)", "bench_ours", "null", false, 32, NULL_STOCK_32, {0}, {0}},
    {"ours, 32 in flight (32 connections)", "bench_ours", "connections", false, 32, NULL_STOCK_32, {0}, {0}},
    {"stock, 32 in flight (32 connections)", "bench_stock", "connections", false, 32, -1, {0}, {0}},
};

/* For each way: plain, then with digests. */
enum {
    BULK_BARE,
    BULK_OURS,
    BULK_STOCK,
    BULK_SENDFILE,
    BULK_BARE_DIGEST,
    BULK_OURS_DIGEST,
    BULK_STOCK_DIGEST,
    BULK_ROWS
};

#define BULK_TABLE(way)                                                                                \
    {                                                                                                  \
        {"bare read+send / recv+write", "bench_bare", way, false, 0, -1, {0}, {0}},                    \
            {"ours", "bench_ours", way, false, 0, BULK_BARE, {0}, {0}},                                \
            {"stock libtirpc", "bench_stock", way, false, 0, BULK_BARE, {0}, {0}},                     \
            {"sendfile / recv+write", "bench_sendfile", way, false, 0, BULK_BARE, {0}, {0}},           \
            {"bare, XXH3-128 at both ends", "bench_bare", way, true, 0, -1, {0}, {0}},                 \
            {"ours, XXH3-128 at both ends", "bench_ours", way, true, 0, BULK_BARE_DIGEST, {0}, {0}},   \
            {"stock, XXH3-128 at both ends", "bench_stock", way, true, 0, BULK_BARE_DIGEST, {0}, {0}}, \
    }

static struct row put_rows[] = BULK_TABLE("put");
static struct row get_rows[] = BULK_TABLE("get");

struct setting {
    const char *folder;
    char source[64], sink[64];
    unsigned rounds, mib, calls;
};

struct process {
    pid_t pid;
    int to, from; /* its standard input and output */
};

static struct process start(const struct setting *setting, const struct row *row, const char *role,
                            const char *port, const char *amount)
{
    char path[512], flight[16];
    const char *words[9] = {path, role, row->digest ? "1" : "0", setting->source, setting->sink};
    struct process process;
    int in[2], out[2];

    snprintf(path, sizeof(path), "%s/%s", setting->folder, row->program);
    snprintf(flight, sizeof(flight), "%u", row->flight);
    if (port) {
        words[5] = port;
        words[6] = amount;
        words[7] = flight;
    }
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0 || (process.pid = fork()) < 0)
        work_fail("start");
    if (process.pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        execv(path, (char **)(uintptr_t)words);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    process.to = in[1];
    process.from = out[0];
    return process;
}

/* What it says, up to the end of a line; "" at the end. */
static void read_line(const struct process *process, char *line, size_t size)
{
    size_t have = 0;

    while (have + 1 < size && read(process->from, line + have, 1) == 1 && line[have] != '\n')
        have++;
    line[have] = '\0';
}

/* Ends it; the CPU seconds it used. */
static double finish(struct process *process)
{
    struct rusage used;
    int status = -1;

    close(process->to);
    close(process->from);
    if (wait4(process->pid, &status, 0, &used) != process->pid || status != 0) {
        fprintf(stderr, "a contender failed\n");
        exit(1);
    }
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static void measure(const struct setting *setting, struct row *row, unsigned round)
{
    char port[32], line[64], amount[32];
    double seconds = 0, cpu = 0;
    bool calls = strcmp(row->work, "null") == 0 || strcmp(row->work, "connections") == 0;

    snprintf(amount, sizeof(amount), "%u", calls ? setting->calls : setting->mib);
    struct process server = start(setting, row, "serve", NULL, NULL);
    read_line(&server, port, sizeof(port));
    struct process client = start(setting, row, row->work, port, amount);
    read_line(&client, line, sizeof(line));
    finish(&client);
    double server_cpu = finish(&server);
    if (sscanf(line, "%lf %lf", &seconds, &cpu) != 2 || seconds <= 0) {
        fprintf(stderr, "%s, %s: no result\n", row->program, row->work);
        exit(1);
    }
    row->rate[round] = (calls ? setting->calls : setting->mib * 1.048576) / seconds;
    row->cpu[round] = (cpu + server_cpu) / (calls ? setting->calls / 1e6 : setting->mib / 1024.0);
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

static double median(const double *values, unsigned count)
{
    double sorted[ROUNDS_MAX];

    memcpy(sorted, values, count * sizeof(*values));
    qsort(sorted, count, sizeof(*sorted), by_size);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

static void print_null(const struct setting *setting)
{
    printf("\nNULL calls\n%-38s %12s %14s %8s\n", "", "calls/s", "CPU s/million", "x stock");
    for (int i = 0; i < NULL_ROWS; i++) {
        const struct row *row = &null_rows[i];
        double rate = median(row->rate, setting->rounds);
        printf("%-38s %12.0f %14.2f", row->label, rate, median(row->cpu, setting->rounds));
        if (row->against >= 0)
            printf(" %8.2f", rate / median(null_rows[row->against].rate, setting->rounds));
        printf("\n");
    }
}

static void print_bulk(const struct setting *setting, const char *title, const struct row *rows)
{
    printf("\n%s\n%-38s %12s %14s %8s\n", title, "", "MB/s", "CPU s/GiB", "x bare");
    for (int i = 0; i < BULK_ROWS; i++) {
        const struct row *row = &rows[i];
        double cpu = median(row->cpu, setting->rounds);
        printf("%-38s %12.0f %14.3f", row->label, median(row->rate, setting->rounds), cpu);
        if (row->against >= 0)
            printf(" %8.2f", cpu / median(rows[row->against].cpu, setting->rounds));
        printf("\n");
    }
}

/* A file on tmpfs whose pages are all there. */
static void make_file(char *path, size_t size, const char *label)
{
    static char block[WORK_CHUNK];

    snprintf(path, size, "/dev/shm/bench_engine.%s.XXXXXX", label);
    int fd = mkstemp(path);
    if (fd < 0)
        work_fail(path);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (char)((i * 2654435761u) >> 13);
    for (size_t written = 0; written < WORK_FILE; written += sizeof(block))
        if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block))
            work_fail("write");
    close(fd);
}

static unsigned number(int count, char **words, int at, unsigned otherwise)
{
    return count > at && atoi(words[at]) > 0 ? (unsigned)atoi(words[at]) : otherwise;
}

void work_fail(const char *what)
{
    fprintf(stderr, "bench_rounds: %s: %s\n", what, strerror(errno));
    exit(1);
}

int main(int count, char **words)
{
    struct setting setting = {.folder = count > 1 ? words[1] : ".",
                              .rounds = number(count, words, 2, 5),
                              .mib = number(count, words, 3, 1024),
                              .calls = number(count, words, 4, 64000)};

    if (setting.rounds > ROUNDS_MAX)
        setting.rounds = ROUNDS_MAX;
    make_file(setting.source, sizeof(setting.source), "source");
    make_file(setting.sink, sizeof(setting.sink), "sink");
    for (unsigned round = 0; round < setting.rounds; round++) {
        fprintf(stderr, "round %u of %u\n", round + 1, setting.rounds);
        for (int i = 0; i < NULL_ROWS; i++)
            measure(&setting, &null_rows[i], round);
        for (int i = 0; i < BULK_ROWS; i++) {
            measure(&setting, &put_rows[i], round);
            measure(&setting, &get_rows[i], round);
        }
    }
    unlink(setting.source);
    unlink(setting.sink);
    printf("medians of %u interleaved rounds; %u MiB each; CPU of both ends\n", setting.rounds, setting.mib);
    print_null(&setting);
    print_bulk(&setting, "upload: the client reads and sends, the server receives and writes", put_rows);
    print_bulk(&setting, "download: the server reads and sends, the client receives and writes", get_rows);
    return 0;
}
