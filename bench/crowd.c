/*
 * Many clients at once, each with a mixture of sizes: what they get done
 * together, and whether anybody is left behind. bench/crowd calls it.
 *
 *     bench_crowd PORT SERVER_PID CLIENTS PASSES LARGEST_KIB FOLDER
 *
 * Each client is a process with a session of its own. In each pass it moves
 * files of 4 KiB, 16 KiB ... LARGEST_KIB, in an order of its own, half of the
 * sizes up and half down, and in the next pass the other way round. With one client
 * only the largest size is moved: that is the bulk rate of one.
 *
 * Prints: seconds, bytes, and of all clients the worst over the median of
 *   slowdown   the mean over its transfers of time / median time of that size and way
 *   end        when it was done
 * then the worst transfer of all by that measure, its size in KiB, and the CPU
 * seconds of the clients and of the server from the start to the end.
 */
#include "base/scoped.h"
#include "fileshare/fileshare.h"

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SIZES = 16, PASSES_MAX = 64, CLIENTS_MAX = 1024, SMALLEST = 4 << 10 };

struct transfer {
    unsigned size; /* index */
    bool up;
    double seconds;
};

struct client {
    double ended, cpu;
    unsigned count;
    struct transfer transfers[SIZES * PASSES_MAX];
};

struct bench {
    char server[64];
    const char *folder;
    unsigned clients, passes, sizes;
    pid_t server_pid;
    double begun, server_cpu;
    struct client *shared; /* what the clients write */
};

static double seconds_of(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) != 0)
        err(1, "clock_gettime");
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

static double server_cpu(const struct bench *bench)
{
    clockid_t clock;
    if (clock_getcpuclockid(bench->server_pid, &clock) != 0)
        errx(1, "no server %d", (int)bench->server_pid);
    return seconds_of(clock);
}

static uint64_t size_of(unsigned index)
{
    return (uint64_t)SMALLEST << (2 * index);
}

static struct fileshare *open_session(const struct bench *bench)
{
    struct fileshare *session;
    struct fileshare_error error;
    struct fileshare_options options = {.server = bench->server,
                                        .without_rpcbind = true,
                                        .retry_seconds = 60};
    if (fileshare_open(&options, &session, &error) != FILESHARE_OK)
        errx(1, "%s", error.text);
    return session;
}

/* ---- one client ---- */

static void put(const struct bench *bench, struct fileshare *session, unsigned size, const char *name)
{
    char path[512];
    struct fileshare_error error;
    struct fileshare_entry entry;
    snprintf(path, sizeof path, "%s/source.%u", bench->folder, size);
    scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct fileshare_put what = {.name = name, .fd = fd, .mtime = INT64_MIN, .replace = true};
    if (fileshare_put(session, &what, &entry, NULL, &error) != FILESHARE_OK)
        errx(1, "%s: %s", name, error.text);
}

/* Into a file that is rewritten, so that no fresh memory is measured. */
static void get(const struct bench *bench, struct fileshare *session, unsigned size, int target)
{
    char name[64];
    struct fileshare_error error;
    struct fileshare_entry entry;
    snprintf(name, sizeof name, "seed/%u", size);
    struct fileshare_get what = {.name = name, .fd = target};
    if (lseek(target, 0, SEEK_SET) != 0 || fileshare_get(session, &what, &entry, &error) != FILESHARE_OK)
        errx(1, "%s: %s", name, error.text);
    if (entry.size != size_of(size))
        errx(1, "%s: %llu bytes came", name, (unsigned long long)entry.size);
    (void)bench;
}

static void move_one(const struct bench *bench, struct fileshare *session, unsigned number, unsigned size,
                     bool up, int target)
{
    struct client *client = &bench->shared[number];
    char name[64];
    snprintf(name, sizeof name, "client%u/%u", number, client->count);
    double begun = now();
    if (up)
        put(bench, session, size, name);
    else
        get(bench, session, size, target);
    client->transfers[client->count++] = (struct transfer){.size = size, .up = up, .seconds = now() - begun};
}

static void shuffle(unsigned *order, unsigned count, unsigned *seed)
{
    for (unsigned i = count; i > 1; i--) {
        unsigned other = (unsigned)rand_r(seed) % i;
        unsigned kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

static void be_client(const struct bench *bench, unsigned number, int ready, int go)
{
    char path[512];
    char byte;
    unsigned order[SIZES];
    unsigned seed = number + 1;
    struct fileshare *session = open_session(bench);
    snprintf(path, sizeof path, "%s/target.%u", bench->folder, number);
    scoped_fd int target = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (target < 0)
        err(1, "%s", path);
    for (unsigned i = 0; i < bench->sizes; i++)
        order[i] = i;
    /* The target's memory, before anybody counts. */
    get(bench, session, bench->sizes - 1, target);
    if (write(ready, "r", 1) != 1 || read(go, &byte, 1) != 0)
        errx(1, "the start failed");
    double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (unsigned pass = 0; pass < bench->passes; pass++) {
        shuffle(order, bench->sizes, &seed);
        for (unsigned i = 0; i < bench->sizes; i++) {
            if (bench->clients > 1 || order[i] == bench->sizes - 1)
                move_one(bench, session, number, order[i], (order[i] + number + pass) % 2 == 0, target);
        }
    }
    bench->shared[number].ended = now();
    bench->shared[number].cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    fileshare_close(session);
}

/* ---- all of them ---- */

static void prepare(const struct bench *bench)
{
    struct fileshare *session = open_session(bench);
    for (unsigned i = 0; i < bench->sizes; i++) {
        char path[512];
        char name[64];
        uint64_t size = size_of(i);
        snprintf(path, sizeof path, "%s/source.%u", bench->folder, i);
        scoped_fd int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        scoped_fd int noise = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
        char block[SMALLEST];
        for (uint64_t done = 0; done < size; done += sizeof block)
            if (read(noise, block, sizeof block) != (ssize_t)sizeof block ||
                write(fd, block, sizeof block) != (ssize_t)sizeof block)
                err(1, "%s", path);
        snprintf(name, sizeof name, "seed/%u", i);
        put(bench, session, i, name);
    }
    fileshare_close(session);
}

static void run_clients(struct bench *bench)
{
    int go[2];
    int ready[2];
    char byte;
    if (pipe2(go, O_CLOEXEC) != 0 || pipe2(ready, O_CLOEXEC) != 0)
        err(1, "pipe");
    for (unsigned i = 0; i < bench->clients; i++) {
        pid_t pid = fork();
        if (pid < 0)
            err(1, "fork");
        if (pid == 0) {
            close(go[1]);
            be_client(bench, i, ready[1], go[0]);
            _exit(0);
        }
    }
    close(go[0]);
    close(ready[1]);
    for (unsigned i = 0; i < bench->clients; i++)
        if (read(ready[0], &byte, 1) != 1)
            errx(1, "a client failed");
    bench->server_cpu = server_cpu(bench);
    bench->begun = now();
    close(go[1]);
    for (unsigned i = 0; i < bench->clients; i++) {
        int status;
        if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
            errx(1, "a client failed");
    }
    bench->server_cpu = server_cpu(bench) - bench->server_cpu;
    close(ready[0]);
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return count == 0 ? 0 : count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* The median time of transfers of that size and way. */
static double usual(const struct bench *bench, unsigned size, bool up)
{
    scoped_free double *values = calloc((size_t)bench->clients * PASSES_MAX, sizeof *values);
    size_t count = 0;
    for (unsigned i = 0; values != NULL && i < bench->clients; i++)
        for (unsigned j = 0; j < bench->shared[i].count; j++)
            if (bench->shared[i].transfers[j].size == size && bench->shared[i].transfers[j].up == up)
                values[count++] = bench->shared[i].transfers[j].seconds;
    return values == NULL ? 0 : median(values, count);
}

static void report(const struct bench *bench)
{
    double usually[SIZES][2];
    double slowdowns[CLIENTS_MAX];
    double ends[CLIENTS_MAX];
    double bytes = 0;
    double cpu = 0;
    double worst = 0;
    unsigned worst_size = 0;
    for (unsigned i = 0; i < bench->sizes; i++) {
        usually[i][0] = usual(bench, i, false);
        usually[i][1] = usual(bench, i, true);
    }
    for (unsigned i = 0; i < bench->clients; i++) {
        const struct client *client = &bench->shared[i];
        slowdowns[i] = 0;
        cpu += client->cpu;
        ends[i] = client->ended - bench->begun;
        for (unsigned j = 0; j < client->count; j++) {
            const struct transfer *one = &client->transfers[j];
            double ratio = one->seconds / usually[one->size][one->up];
            slowdowns[i] += ratio / client->count;
            bytes += (double)size_of(one->size);
            if (ratio > worst) {
                worst = ratio;
                worst_size = one->size;
            }
        }
    }
    double slow = median(slowdowns, bench->clients); /* sorts */
    double end = median(ends, bench->clients);
    printf("%.6f %.0f %.3f %.3f %.1f %llu %.3f %.3f\n", ends[bench->clients - 1], bytes,
           slowdowns[bench->clients - 1] / slow, ends[bench->clients - 1] / end, worst,
           (unsigned long long)(size_of(worst_size) >> 10), cpu, bench->server_cpu);
}

int main(int count, char **words)
{
    if (count != 7) {
        fprintf(stderr, "usage: bench_crowd PORT SERVER_PID CLIENTS PASSES LARGEST_KIB FOLDER\n");
        return 2;
    }
    struct bench bench = {.server_pid = (pid_t)atoi(words[2]),
                          .clients = (unsigned)atoi(words[3]),
                          .passes = (unsigned)atoi(words[4]),
                          .folder = words[6]};
    snprintf(bench.server, sizeof bench.server, "127.0.0.1:%d", atoi(words[1]));
    while (bench.sizes < SIZES && size_of(bench.sizes) <= (uint64_t)atol(words[5]) << 10)
        bench.sizes++;
    if (bench.clients < 1 || bench.clients > CLIENTS_MAX || bench.passes < 1 || bench.passes > PASSES_MAX ||
        bench.sizes == 0) {
        fprintf(stderr, "bench_crowd: at most %d clients and %d passes\n", CLIENTS_MAX, PASSES_MAX);
        return 2;
    }
    bench.shared = mmap(NULL, bench.clients * sizeof *bench.shared, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bench.shared == MAP_FAILED)
        err(1, "memory");
    prepare(&bench);
    run_clients(&bench);
    report(&bench);
    return 0;
}
