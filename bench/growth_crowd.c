/* growth, connections: what busy ones get done beside so many that only stay, and what one of these holds. */
#include "growth.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUSY = 64, SMALL = 4096, WINDOW_MS = 120 };

static const char held_name[] = "growth/held";

static fs_status upload(struct rpc_client *client, char *name)
{
    return growth_upload(client, name, FS_REPLACE, SMALL);
}

static fs_status stat_held(struct rpc_client *client)
{
    char name[sizeof held_name];
    snprintf(name, sizeof name, "%s", held_name);
    fs_stat_args arguments = {.name = growth_name(name)};
    fs_entry_res results = {0};
    struct growth_call call = {.procedure = FSPROC_STAT,
                               .encode = (xdrproc_t)xdr_fs_stat_args,
                               .decode = (xdrproc_t)xdr_fs_entry_res,
                               .arguments = &arguments,
                               .results = &results};

    growth_begin(client, &call);
    growth_await(&call);
    fs_status status = results.status;
    growth_free(&call);
    return status;
}

/* ---- the busy ones: a thread and a connection each, one call at a time ---- */

struct busy {
    struct target *target;
    struct rpc_client *clients[BUSY];
    bool uploads;
    atomic_bool stop;
    _Atomic uint64_t calls;
    _Atomic unsigned next;
};

static void *work(void *argument)
{
    struct busy *busy = argument;
    unsigned own = atomic_fetch_add(&busy->next, 1);
    struct rpc_client *client = busy->clients[own];
    char name[64];

    for (uint64_t done = 0; !busy->stop; done++) {
        snprintf(name, sizeof name, "growth/of-%u-%llu", own, (unsigned long long)(done % 16));
        growth_expect(busy->uploads ? upload(client, name) : stat_held(client), "a busy call");
        atomic_fetch_add(&busy->calls, 1);
    }
    return NULL;
}

static void busy_open(struct busy *busy, struct target *target)
{
    char name[sizeof held_name];

    *busy = (struct busy){.target = target};
    snprintf(name, sizeof name, "%s", held_name);
    growth_expect(upload(target->client, name), "an upload");
    for (unsigned i = 0; i < BUSY; i++) {
        busy->clients[i] = target_connect(target);
        growth_expect(stat_held(busy->clients[i]), "a STAT");
    }
}

static void busy_close(struct busy *busy)
{
    for (unsigned i = 0; i < BUSY; i++)
        rpc_client_close(busy->clients[i]);
}

struct rate {
    double seconds, cpu; /* of one call */
};

static struct rate busy_window(struct busy *busy)
{
    pthread_t threads[BUSY];
    struct timespec window = {0, WINDOW_MS * 1000000L};

    busy->stop = false;
    busy->calls = 0;
    busy->next = 0;
    double began = growth_now(), cpu = target_cpu(busy->target);
    for (unsigned i = 0; i < BUSY; i++)
        if (pthread_create(&threads[i], NULL, work, busy) != 0)
            growth_fail("a thread cannot be made");
    nanosleep(&window, NULL);
    busy->stop = true;
    for (unsigned i = 0; i < BUSY; i++)
        pthread_join(threads[i], NULL);
    double calls = (double)busy->calls;
    return (struct rate){(growth_now() - began) / calls, (target_cpu(busy->target) - cpu) / calls};
}

static void busy_pair(struct busy *reference, struct busy *subject, const char *what)
{
    double wall[2][GROWTH_ROUNDS], cpu[2][GROWTH_ROUNDS];
    uint64_t calls = 0;

    for (int round = -1; round < GROWTH_ROUNDS; round++) {
        struct rate beside = busy_window(reference), own = busy_window(subject);
        if (round < 0)
            continue;
        calls += subject->calls;
        wall[0][round] = beside.seconds;
        cpu[0][round] = beside.cpu;
        wall[1][round] = own.seconds;
        cpu[1][round] = own.cpu;
    }
    double of_reference = growth_ratio(wall[1], wall[0], GROWTH_ROUNDS);
    double cpu_of_reference = growth_ratio(cpu[1], cpu[0], GROWTH_ROUNDS);
    growth_row(subject->target, what, calls, growth_median(wall[1], GROWTH_ROUNDS),
               growth_median(cpu[1], GROWTH_ROUNDS), of_reference, cpu_of_reference);
}

void busy_measure(struct target *reference, struct target *subject)
{
    struct busy *both = calloc(2, sizeof *both);

    if (!both)
        growth_fail("no memory");
    busy_open(&both[0], reference);
    busy_open(&both[1], subject);
    busy_pair(&both[0], &both[1], "stat, 64 busy connections");
    both[0].uploads = both[1].uploads = true;
    busy_pair(&both[0], &both[1], "upload, 64 busy connections");
    busy_close(&both[0]);
    busy_close(&both[1]);
    free(both);
}

/* ---- the idle ones ---- */

enum { OF_PROCESS = 4000, PROCESSES = 16 };

/* A connection of ours takes two descriptors at this end: several processes share them. */
struct idler {
    pid_t pid;
    int ready, go; /* its pipe to us, ours to it */
};

static void idle_process(const struct target *target, unsigned count, int ready, int go)
{
    struct rpc_client **clients = calloc(count, sizeof(struct rpc_client *));
    struct rlimit limit;
    char byte = 0;

    if (!clients || getrlimit(RLIMIT_NOFILE, &limit) != 0)
        growth_fail("no memory");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < 3 * (rlim_t)count)
        growth_fail("too few files may be open: raise the hard limit");
    for (unsigned i = 0; i < count; i++) {
        clients[i] = target_connect(target);
        growth_expect(stat_held(clients[i]), "a STAT");
    }
    if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 1)
        growth_fail("the idle ones are left alone");
    for (unsigned i = 0; i < count; i++)
        growth_expect(stat_held(clients[i]), "a STAT of one that was idle");
    for (unsigned i = 0; i < count; i++)
        rpc_client_close(clients[i]);
    exit(0);
}

static struct idler idle_start(const struct target *target, unsigned count)
{
    int ready[2], go[2];
    char byte;

    if (pipe(ready) != 0 || pipe(go) != 0)
        growth_fail("no pipe");
    struct idler idler = {.pid = fork(), .ready = ready[0], .go = go[1]};
    if (idler.pid == 0) {
        close(ready[0]);
        close(go[1]);
        idle_process(target, count, ready[1], go[0]);
    }
    close(ready[1]);
    close(go[0]);
    if (idler.pid < 0 || read(idler.ready, &byte, 1) != 1)
        growth_fail("the idle connections cannot be made");
    return idler;
}

static void idle_end(const struct idler *idler)
{
    int status;
    char byte = 0;

    if (write(idler->go, &byte, 1) != 1 || waitpid(idler->pid, &status, 0) != idler->pid || status != 0)
        growth_fail("idle connections were lost");
    close(idler->ready);
    close(idler->go);
}

/* Each has made a call, as one has that waits or was used; then it only stays, and lives in the end. */
void crowd_measure(struct target *reference, struct target *subject, uint64_t idle)
{
    struct idler idlers[PROCESSES];
    unsigned count = 0;
    char name[sizeof held_name];

    if (idle > (uint64_t)OF_PROCESS * PROCESSES)
        growth_fail("that many idle connections are beyond this program");
    snprintf(name, sizeof name, "%s", held_name);
    growth_expect(upload(subject->client, name), "an upload");
    for (unsigned i = 0; i < BUSY; i++)
        growth_expect(stat_held(subject->client), "a STAT");
    uint64_t before = target_memory(subject, "VmRSS");
    for (uint64_t left = idle; left > 0; count++) {
        unsigned share = left < OF_PROCESS ? (unsigned)left : OF_PROCESS;
        idlers[count] = idle_start(subject, share);
        left -= share;
    }
    uint64_t after = target_memory(subject, "VmRSS");
    subject->amount = idle;
    growth_row_bytes(subject, "memory of one idle connection, bytes",
                     idle ? (double)(after - before) / (double)idle : 0);
    busy_measure(reference, subject);
    for (unsigned i = 0; i < count; i++)
        idle_end(&idlers[i]);
}
