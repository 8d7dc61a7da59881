/*
 * How fast the embedded store is, without any RPC: small files put by one and by
 * many threads, bytes of an upload beside a plain pwrite loop with the same
 * digest, reads, registrations.
 *
 *     store_rates FOLDER       on the file system to be measured; it is left empty
 */
#include "base/scoped.h"
#include "server/store/store.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL = 4096, CHUNK = 1 << 20, CHUNKS = 512, SECONDS = 3, THREADS_MAX = 64 };

static struct store *store;
static const struct store_caller caller = {.principal = "unix:1000"};
static _Atomic uint64_t done;
static atomic_bool stop;

static double now(void)
{
    return (double)clock_elapsed(clock_system()) / 1e9;
}

static void must(enum outcome outcome, const struct failure *why)
{
    if (outcome == OUTCOME_OK)
        return;
    fprintf(stderr, "store_rates: %s: %s\n", outcome_name(outcome), why->text);
    exit(1);
}

/* ---- many small acts ---- */

static void put_small(uint64_t number)
{
    static const char content[SMALL] = "x";
    char name[64];
    struct failure why;
    struct store_entry entry;
    snprintf(name, sizeof name, "small/%llu", (unsigned long long)number);
    struct store_put put = {.op = id_random(), .name = name, .content = content, .size = SMALL};
    must(store->acts->put(store, &caller, &put, &entry, &why), &why);
    bool left;
    must(store->acts->fan_out(store, 8, &left, &why), &why);
}

static void wait_for_one(uint64_t number)
{
    char name[64];
    struct failure why;
    struct store_registration made;
    snprintf(name, sizeof name, "wanted/%llu", (unsigned long long)number);
    struct store_interest_add add = {.mailbox = id_random(),
                                     .interest = id_random(),
                                     .pattern = name,
                                     .seconds = 100};
    must(store->acts->interest_add(store, &caller, &add, NULL, 0, &made, &why), &why);
}

static void read_one(uint64_t number)
{
    (void)number;
    static const struct id newest;
    char bytes[SMALL];
    struct failure why;
    struct store_entry entry;
    struct store_read *read;
    must(store->acts->read_open(store, "small/1", &newest, &read, &entry, &why), &why);
    struct id version = entry.version;
    store->acts->read_close(read);
    for (int i = 0; i < 15; i++) {
        must(store->acts->read_open(store, "small/1", &version, &read, &entry, &why), &why);
        must(store->acts->read_at(read, 0, bytes, SMALL, &why), &why);
        store->acts->read_close(read);
        atomic_fetch_add(&done, 1);
    }
}

static void *repeat(void *act)
{
    void (*run)(uint64_t number) = *(void (**)(uint64_t))act;
    while (!stop)
        run(atomic_fetch_add(&done, 1));
    return NULL;
}

static void rate(const char *what, void (*run)(uint64_t number), unsigned threads)
{
    pthread_t ids[THREADS_MAX];
    uint64_t before = done;
    double begin = now();
    stop = false;
    for (unsigned i = 0; i < threads; i++)
        pthread_create(&ids[i], NULL, repeat, &run);
    struct timespec pause = {SECONDS, 0};
    nanosleep(&pause, NULL);
    stop = true;
    for (unsigned i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    printf("%-28s %2u threads  %8.0f/s\n", what, threads, (double)(done - before) / (now() - begin));
}

/* ---- bytes ---- */

static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void told(const char *what, double begin, double begin_cpu)
{
    double seconds = now() - begin, used = cpu() - begin_cpu;
    printf("%-28s %8.0f MB/s  %5.2f CPU-seconds/GiB\n", what, (double)CHUNKS * CHUNK / seconds / 1e6,
           used / ((double)CHUNKS * CHUNK / (1 << 30)));
}

static void upload(const char *bytes)
{
    struct failure why;
    struct store_upload_state state;
    struct store_upload_begin b = {.upload = id_random(), .name = "large"};
    struct store_entry entry;
    b.condition.replace = true;
    must(store->acts->upload_begin(store, &caller, &b, &state, &why), &why);
    double begin = now(), begin_cpu = cpu();
    for (uint64_t i = 0; i < CHUNKS; i++) {
        uint64_t held;
        must(store->acts->upload_write(store, &caller, &b.upload, i * CHUNK, bytes, CHUNK, &held, &why),
             &why);
    }
    told("upload_write", begin, begin_cpu);
    struct store_publish publish = {.upload = b.upload};
    must(store->acts->publish(store, &caller, &publish, &entry, &why), &why);
    told("  and publish", begin, begin_cpu);
}

static void plain(const char *folder, const char *bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/plain", folder);
    scoped_fd int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct digest *digest = digest_new();
    double begin = now(), begin_cpu = cpu();
    for (uint64_t i = 0; i < CHUNKS; i++) {
        if (pwrite(fd, bytes, CHUNK, (off_t)(i * CHUNK)) != CHUNK)
            perror("pwrite");
        digest_add(digest, bytes, CHUNK);
    }
    told("plain pwrite and XXH3", begin, begin_cpu);
    if (fsync(fd) < 0)
        perror("fsync");
    told("  and fsync", begin, begin_cpu);
    digest_free(digest);
    unlink(path);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: store_rates FOLDER\n");
        return 2;
    }
    char folder[400];
    struct failure why;
    snprintf(folder, sizeof folder, "%s/store", argv[1]);
    struct store_local_options options = {.folder = folder,
                                          .limits = store_limits_default(),
                                          .clock = clock_system()};
    options.limits.mailboxes_per_principal = options.limits.mailboxes = 1000000;
    must(store_local_open(&options, &store, &why), &why);
    rate("put of 4 KiB", put_small, 1);
    rate("put of 4 KiB", put_small, THREADS_MAX);
    rate("interest_add", wait_for_one, 1);
    rate("interest_add", wait_for_one, THREADS_MAX);
    rate("put of 4 KiB, others waiting", put_small, THREADS_MAX);
    rate("read of 4 KiB", read_one, 1);
    scoped_free char *bytes = calloc(1, CHUNK);
    for (int i = 0; i < 2; i++) {
        upload(bytes);
        plain(argv[1], bytes);
    }
    store->acts->close(store);
    return 0;
}
