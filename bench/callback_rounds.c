/*
 * bench/callback's rounds: how long it takes from a file's arrival until those who
 * wait hear of it, and what that costs the server, beside NULL calls to the same
 * server in the same run. See bench/callback.
 *
 *     bench_callback PORT SERVER_PID ROUNDS SAMPLES WAITERS HUNG
 *         all rows: tab separated, on standard output. BENCH_COMMITS names the file
 *         in which the server's commits stand (callback_commits.c)
 *     bench_callback PORT SERVER_PID only null|dialback|reversed COUNT
 *         gets ready, prints "ready", waits for a line on standard input, makes
 *         COUNT NULL calls, or one arrival that COUNT wait for, prints "done" and
 *         waits for another line: so that system calls can be counted
 */
#include "callback_commits.h"
#include "callback_crowd.h"

#include "base/id.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    CONTENT_SIZE = 4096,
    NULLS_A_WAITER = 3, /* what the target allows one callback to cost */
    QUIET_MS = 20,      /* nothing happens for so long twice: it is over */
    QUIET_NS = 300000,  /* ... but for timers */
    NAP_NS = 1500000,   /* before each sample: it begins at rest, as the one before left it */
    ROUNDS_MAX = 32,
    GROWTH = 3 /* crowds of 1, 10, 100 */
};

struct bench {
    uint16_t port;
    pid_t server;
    unsigned rounds, samples, waiters, hung;
    struct rpc_client *client;
    const struct commits *commits; /* the server's */
};

/* What the rounds came to: one figure each. */
struct series {
    double of[ROUNDS_MAX];
    unsigned count;
};

static void series_add(struct series *series, double figure)
{
    series->of[series->count++] = figure;
}

static int by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

/* The figure below which `share` of them lie; sorts them. */
static double quantile(double *figures, unsigned count, double share)
{
    qsort(figures, count, sizeof *figures, by_size);
    unsigned at = (unsigned)(share * count);
    return figures[at < count ? at : count - 1];
}

static double median(const struct series *series)
{
    struct series sorted = *series;
    return quantile(sorted.of, sorted.count, 0.5);
}

/* row peer median min max cpu_client cpu_server syscalls note; CPU in microseconds a call or callback. */
static void print_row(const char *row, const struct series *series, const struct series *client,
                      const struct series *server, const char *note)
{
    struct series sorted = *series;
    double middle = quantile(sorted.of, sorted.count, 0.5);
    printf("%s\tfileshare\t%.2f\t%.2f\t%.2f\t", row, middle, sorted.of[0], sorted.of[sorted.count - 1]);
    printf(client ? "%.2f\t" : "-\t", client ? median(client) : 0.0);
    printf(server ? "%.2f\t" : "-\t", server ? median(server) : 0.0);
    printf("-\t%s\n", note);
    fflush(stdout);
}

/* ---- what processes cost ---- */

/* Nanoseconds that all threads of a process have run for: finer than its ticks. */
static int64_t cpu_of(pid_t pid)
{
    char path[64];
    int64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = opendir(path);
    if (!threads)
        bench_fail("the server is gone");
    for (struct dirent *entry; (entry = readdir(threads));) {
        char leaf[512];
        long long ran = 0;
        snprintf(leaf, sizeof leaf, "%s/%s/schedstat", path, entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(leaf, "re");
        if (file && fscanf(file, "%lld", &ran) == 1)
            sum += ran;
        if (file)
            fclose(file);
    }
    closedir(threads);
    return sum;
}

static void rest(int64_t ns)
{
    const struct timespec span = {.tv_nsec = ns};
    nanosleep(&span, NULL);
}

/* Until all that follows from the last call is done, acknowledgements included. What the server has cost. */
static int64_t settle(const struct bench *bench)
{
    int64_t before = cpu_of(bench->server), now;
    for (unsigned quiet = 0; quiet < 2; before = now) {
        rest(QUIET_MS * 1000000L);
        now = cpu_of(bench->server);
        quiet = now - before < QUIET_NS ? quiet + 1 : 0;
    }
    return before;
}

/* ---- calls ---- */

static void call_null(const struct bench *bench)
{
    if (fsproc_null_1(NULL, NULL, rpc_client_handle(bench->client)) != RPC_SUCCESS)
        bench_fail("NULL was not answered");
}

static void upload(const struct bench *bench, const char *name)
{
    static char content[CONTENT_SIZE];
    struct id op = id_random();
    fs_upload_args args = {.name = bench_name(name), .policy = FS_REPLACE};
    fs_entry_res res = {0};
    memcpy(args.op.octets, op.octets, sizeof args.op.octets);
    memcpy(content, op.octets, sizeof op.octets); /* another file each time */
    args.content.fs_data_len = CONTENT_SIZE;
    args.content.fs_data_val = content;
    if (fsproc_upload_1(&args, &res, rpc_client_handle(bench->client)) != RPC_SUCCESS || res.status != FS_OK)
        bench_fail("an upload failed");
    clnt_freeres(rpc_client_handle(bench->client), (xdrproc_t)xdr_fs_entry_res, (caddr_t)&res);
}

/* ---- one who waits ---- */

/* A name that one waits for, and what its samples came to. */
struct one {
    const char *name;
    bool reversed;
    struct board *board;
    pid_t pid;
    double *since_arrival, *since_answer, *since_commit, *answer_since_commit;
    struct series arrival_50, arrival_99, answer_50, answer_99, commit_50, commit_99, own_50, own_99;
};

static void one_begin(const struct bench *bench, struct one *one)
{
    const struct crowd_options options = {.port = bench->port,
                                          .name = one->name,
                                          .count = 1,
                                          .reversed = one->reversed};
    one->board = board_new();
    one->pid = crowd_start(&options, one->board);
    one->since_arrival = calloc(bench->samples, sizeof *one->since_arrival);
    one->since_answer = calloc(bench->samples, sizeof *one->since_answer);
    one->since_commit = calloc(bench->samples, sizeof *one->since_commit);
    one->answer_since_commit = calloc(bench->samples, sizeof *one->answer_since_commit);
    if (!one->since_arrival || !one->since_answer || !one->since_commit || !one->answer_since_commit)
        bench_fail("no memory");
}

static const struct commits *open_commits(void)
{
    const char *path = getenv("BENCH_COMMITS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *shared = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct commits), PROT_READ, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (shared == MAP_FAILED)
        bench_fail("the server's commits cannot be seen: BENCH_COMMITS");
    return shared;
}

/* The first commit that was durable after `since`: the upload's, as nobody else writes by then. */
static int64_t commit_after(const struct bench *bench, int64_t since)
{
    uint64_t count = atomic_load(&bench->commits->count), first = 0;
    for (uint64_t at = count; at > 0 && at + COMMITS_KEPT > count; at--)
        if (atomic_load(&bench->commits->at[(at - 1) % COMMITS_KEPT]) >= since)
            first = at;
    if (first == 0)
        bench_fail("an upload was answered before it was durable");
    return atomic_load(&bench->commits->at[(first - 1) % COMMITS_KEPT]);
}

static double null_sample(const struct bench *bench)
{
    rest(NAP_NS);
    int64_t began = bench_now(CLOCK_MONOTONIC);
    call_null(bench);
    return (double)(bench_now(CLOCK_MONOTONIC) - began) / 1000;
}

static void one_sample(const struct bench *bench, struct one *one, unsigned at)
{
    rest(NAP_NS);
    board_expect(one->board, 1);
    int64_t began = bench_now(CLOCK_MONOTONIC);
    upload(bench, one->name);
    int64_t answered = bench_now(CLOCK_MONOTONIC);
    board_wait(one->board);
    int64_t heard = atomic_load(&one->board->last_heard);
    one->since_arrival[at] = (double)atomic_load(&one->board->since_arrival) / 1000;
    one->since_answer[at] = (double)(heard - answered) / 1000;
    int64_t commit = commit_after(bench, began);
    one->since_commit[at] = (double)(heard - commit) / 1000;
    one->answer_since_commit[at] = (double)(answered - commit) / 1000;
}

static void one_sum_up(const struct bench *bench, struct one *one)
{
    series_add(&one->arrival_50, quantile(one->since_arrival, bench->samples, 0.5));
    series_add(&one->arrival_99, quantile(one->since_arrival, bench->samples, 0.99));
    series_add(&one->commit_50, quantile(one->since_commit, bench->samples, 0.5));
    series_add(&one->commit_99, quantile(one->since_commit, bench->samples, 0.99));
    series_add(&one->answer_50, quantile(one->since_answer, bench->samples, 0.5));
    series_add(&one->answer_99, quantile(one->since_answer, bench->samples, 0.99));
    series_add(&one->own_50, quantile(one->answer_since_commit, bench->samples, 0.5));
    series_add(&one->own_99, quantile(one->answer_since_commit, bench->samples, 0.99));
}

static void print_ratio(const char *row, const struct series *part, const struct series *whole,
                        const char *note)
{
    struct series ratio = {0};
    for (unsigned i = 0; i < part->count; i++)
        series_add(&ratio, part->of[i] / whole->of[i]);
    print_row(row, &ratio, NULL, NULL, note);
}

static void one_print(const struct one *one, const struct series *null_50, const struct series *null_99)
{
    const char *way = one->reversed ? "reversed" : "dialback";
    char row[64];
    const struct {
        const char *row;
        const struct series *series;
        const char *note;
    } rows[] = {
        {"p50_us", &one->commit_50, "from the commit, as soon as it is durable, to the handler"},
        {"p99_us", &one->commit_99, ""},
        {"after_answer_p50_us", &one->answer_50, "from the upload's answer, at the client, to the handler"},
        {"after_answer_p99_us", &one->answer_99, ""},
        {"answer_p50_us", &one->own_50, "from the commit to the upload's own answer, at its client"},
        {"answer_p99_us", &one->own_99, ""},
        {"after_stamp_p50_us", &one->arrival_50,
         "from the arrival's own stamp, before the transaction's work and commit, to the handler"},
        {"after_stamp_p99_us", &one->arrival_99, ""},
    };
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        snprintf(row, sizeof row, "%s_%s", way, rows[r].row);
        print_row(row, rows[r].series, NULL, NULL, rows[r].note);
    }
    snprintf(row, sizeof row, "%s_p50_nulls", way);
    print_ratio(row, &one->commit_50, null_50, "");
    snprintf(row, sizeof row, "%s_p99_nulls", way);
    print_ratio(row, &one->commit_99, null_99, "target: below 3");
    snprintf(row, sizeof row, "%s_after_stamp_p99_nulls", way);
    print_ratio(row, &one->arrival_99, null_99, "");
}

static void one_end(struct one *one)
{
    crowd_end(one->pid);
    free(one->since_arrival);
    free(one->since_answer);
    free(one->since_commit);
    free(one->answer_since_commit);
}

static void measure_latency(const struct bench *bench)
{
    struct one ones[] = {{.name = "one/dialled"}, {.name = "one/reversed", .reversed = true}};
    struct series null_50 = {0}, null_99 = {0};
    unsigned null_count = 2 * bench->samples; /* one before each arrival */
    double *nulls = calloc(null_count, sizeof *nulls);
    for (unsigned i = 0; i < 2; i++)
        one_begin(bench, &ones[i]);
    for (unsigned round = 0; nulls && round < bench->rounds; round++) {
        for (unsigned at = 0; at < bench->samples; at++)
            for (unsigned i = 0; i < 2; i++) {
                nulls[2 * at + i] = null_sample(bench);
                one_sample(bench, &ones[i], at);
            }
        series_add(&null_50, quantile(nulls, null_count, 0.5));
        series_add(&null_99, quantile(nulls, null_count, 0.99));
        for (unsigned i = 0; i < 2; i++)
            one_sum_up(bench, &ones[i]);
    }
    print_row("null_p50_us", &null_50, NULL, NULL, "a NULL call, one at a time");
    print_row("null_p99_us", &null_99, NULL, NULL, "");
    for (unsigned i = 0; i < 2; i++)
        one_print(&ones[i], &null_50, &null_99);
    for (unsigned i = 0; i < 2; i++)
        one_end(&ones[i]);
    free(nulls);
}

/* ---- many who wait ---- */

struct crowd {
    const char *name;
    unsigned count;
    struct board *board;
    pid_t pid;
    struct series server, client, took;
};

static void crowd_begin(const struct bench *bench, struct crowd *crowd, bool reversed)
{
    const struct crowd_options options = {.port = bench->port,
                                          .name = crowd->name,
                                          .count = crowd->count,
                                          .reversed = reversed};
    if (!crowd->board)
        crowd->board = board_new();
    crowd->pid = crowd_start(&options, crowd->board);
}

/* One arrival: CPU microseconds a callback, acknowledgements included; milliseconds until the last one heard. */
static void crowd_round(const struct bench *bench, struct crowd *crowd)
{
    int64_t server = settle(bench), client = cpu_of(crowd->pid);
    board_expect(crowd->board, crowd->count);
    upload(bench, crowd->name);
    board_wait(crowd->board);
    series_add(&crowd->took, (double)atomic_load(&crowd->board->since_arrival) / 1e6);
    server = settle(bench) - server;
    series_add(&crowd->server, (double)server / 1000 / crowd->count);
    series_add(&crowd->client, (double)(cpu_of(crowd->pid) - client) / 1000 / crowd->count);
}

static void crowd_print(const struct crowd *crowd, const char *row, const struct series *null_cpu)
{
    char label[64], note[160];
    snprintf(label, sizeof label, "%s_%u_ms", row, crowd->count);
    print_row(
        label, &crowd->took, &crowd->client, &crowd->server,
        "from the arrival's stamp until the last has heard; CPU in us a callback, acknowledgements and all");
    snprintf(label, sizeof label, "%s_%u_cpu_nulls", row, crowd->count);
    snprintf(note, sizeof note, "server CPU a callback in NULL calls; target: below %d", NULLS_A_WAITER);
    print_ratio(label, &crowd->server, null_cpu, crowd->count >= 1000 ? note : "");
}

static double null_cpu(const struct bench *bench, unsigned count)
{
    int64_t before = settle(bench);
    for (unsigned i = 0; i < count; i++)
        call_null(bench);
    return (double)(settle(bench) - before) / 1000 / count;
}

/* Crowds of 1, 10, 100 and `waiters`; then the same with hung ones among them; then by reversed calls. */
static void measure_crowds(const struct bench *bench)
{
    struct crowd growth[GROWTH] = {{.name = "few/1", .count = 1},
                                   {.name = "few/10", .count = 10},
                                   {.name = "few/100", .count = 100}};
    struct crowd all = {.name = "all/dialled", .count = bench->waiters},
                 hung = {.name = "all/dialled", .count = bench->hung};
    struct crowd held = {.name = "all/dialled", .count = bench->waiters};
    struct crowd reversed = {.name = "all/reversed", .count = bench->waiters};
    struct series nulls = {0};
    for (unsigned i = 0; i < GROWTH; i++)
        crowd_begin(bench, &growth[i], false);
    crowd_begin(bench, &hung, false); /* they stand before the others */
    crowd_begin(bench, &all, false);
    for (unsigned round = 0; round < bench->rounds; round++) {
        series_add(&nulls, null_cpu(bench, bench->waiters * NULLS_A_WAITER));
        for (unsigned i = 0; i < GROWTH; i++)
            crowd_round(bench, &growth[i]);
        crowd_round(bench, &all);
    }
    held.board = all.board;
    held.pid = all.pid;
    if (kill(hung.pid, SIGSTOP) != 0)
        bench_fail("cannot stop those who are to hang");
    for (unsigned round = 0; round < bench->rounds; round++)
        crowd_round(bench, &held);
    crowd_end(hung.pid);
    crowd_end(all.pid);
    crowd_begin(bench, &reversed, true);
    for (unsigned round = 0; round < bench->rounds; round++)
        crowd_round(bench, &reversed);
    crowd_end(reversed.pid);
    print_row("null_cpu_us", &nulls, NULL, &nulls, "server CPU of a NULL call, one at a time");
    for (unsigned i = 0; i < GROWTH; i++) {
        crowd_print(&growth[i], "dialback", &nulls);
        crowd_end(growth[i].pid);
    }
    crowd_print(&all, "dialback", &nulls);
    crowd_print(&held, "dialback_some_hung", &nulls);
    crowd_print(&reversed, "reversed", &nulls);
}

/* ---- counting system calls ---- */

static void wait_for_line(const char *tell)
{
    char line[16];
    puts(tell);
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin))
        exit(0);
}

static void only(const struct bench *bench, const char *what, unsigned count)
{
    bool null = strcmp(what, "null") == 0;
    struct crowd crowd = {.name = "only", .count = count};
    if (!null)
        crowd_begin(bench, &crowd, strcmp(what, "reversed") == 0);
    call_null(bench);
    if (!null)
        crowd_round(bench, &crowd); /* the first arrival, and what is made for it */
    settle(bench);
    wait_for_line("ready");
    for (unsigned i = 0; null && i < count; i++)
        call_null(bench);
    if (!null)
        crowd_round(bench, &crowd);
    wait_for_line("done");
    if (!null)
        crowd_end(crowd.pid);
}

static unsigned number(const char *text, unsigned most)
{
    unsigned long value = strtoul(text, NULL, 10);
    if (value == 0 || value > most)
        bench_fail("a number makes no sense");
    return (unsigned)value;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc != 7 && !(argc == 6 && strcmp(argv[3], "only") == 0))
        bench_fail("usage: bench_callback PORT SERVER_PID ROUNDS SAMPLES WAITERS HUNG");
    struct bench bench = {.port = (uint16_t)number(argv[1], 65535),
                          .server = (pid_t)number(argv[2], 1 << 30)};
    bench.client = bench_connect(bench.port, NULL);
    if (argc == 6) {
        only(&bench, argv[4], number(argv[5], 1000000));
    } else {
        bench.rounds = number(argv[3], ROUNDS_MAX);
        bench.samples = number(argv[4], 1000000);
        bench.waiters = number(argv[5], 10000);
        bench.hung = number(argv[6], 1000);
        bench.commits = open_commits();
        measure_latency(&bench);
        measure_crowds(&bench);
    }
    rpc_client_close(bench.client);
    return 0;
}
