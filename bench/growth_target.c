/* growth: a server under measurement, and what its process uses. */
#include "growth.h"

#include "base/address.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void growth_fail(const char *text)
{
    fprintf(stderr, "bench_growth: %s\n", text);
    exit(1);
}

void growth_must(enum outcome outcome, const struct failure *why)
{
    if (outcome != OUTCOME_OK)
        growth_fail(why->text);
}

double growth_now(void)
{
    return (double)clock_elapsed(clock_system()) / 1e9;
}

/* ---- calls ---- */

struct rpc_client *target_connect(const struct target *target)
{
    const struct rpc_client_options options = {.number = FILESHARE_PROG, .version = FILESHARE_V1};
    struct address address;
    struct rpc_client *client = NULL;
    struct failure why;

    growth_must(address_ip("127.0.0.1", target->port, &address, &why), &why);
    growth_must(rpc_client_connect(&address, &options, &client, &why), &why);
    return client;
}

struct target target_open(const char *text)
{
    unsigned port = 0;
    int pid = 0;

    if (sscanf(text, "%u:%d", &port, &pid) != 2 || port > UINT16_MAX)
        growth_fail("a server is told as PORT:PID");
    /* Several runs may measure one server: each has names of its own. */
    struct target target = {.pid = pid, .port = (uint16_t)port, .serial = (uint64_t)getpid() * 1000000};
    target.client = target_connect(&target);
    return target;
}

void target_close(struct target *target)
{
    target->client = rpc_client_close(target->client);
}

void growth_begin(struct rpc_client *client, struct growth_call *call)
{
    struct failure why;

    call->client = client;
    growth_must(
        rpc_client_begin(client, call->procedure, call->encode, call->arguments, NULL, &call->pending, &why),
        &why);
}

void growth_await(struct growth_call *call)
{
    struct failure why;

    growth_must(rpc_client_await(call->client, call->pending, call->decode, call->results, &why), &why);
}

void growth_free(struct growth_call *call)
{
    xdr_free(call->decode, call->results);
    call->pending = rpc_pending_free(call->client, call->pending);
}

void growth_expect(fs_status status, const char *doing)
{
    if (status == FS_OK)
        return;
    fprintf(stderr, "bench_growth: %s was answered %d\n", doing, (int)status);
    exit(1);
}

void growth_id(fs_id *to)
{
    struct id id = id_random();

    for (size_t i = 0; i < sizeof id.octets; i++)
        to->octets[i] = (char)id.octets[i];
}

uint64_t growth_any(uint64_t below)
{
    return ((uint64_t)random() << 20 ^ (uint64_t)random()) % below;
}

fs_status growth_upload(struct rpc_client *client, char *name, fs_policy policy, u_int size)
{
    static char content[GROWTH_CONTENT_MAX];
    fs_upload_args arguments = {.name = growth_name(name),
                                .policy = policy,
                                .content = {.fs_data_len = size, .fs_data_val = content}};
    fs_entry_res results = {0};
    struct growth_call call = {.procedure = FSPROC_UPLOAD,
                               .encode = (xdrproc_t)xdr_fs_upload_args,
                               .decode = (xdrproc_t)xdr_fs_entry_res,
                               .arguments = &arguments,
                               .results = &results};

    growth_id(&arguments.op);
    growth_begin(client, &call);
    growth_await(&call);
    fs_status status = results.status;
    growth_free(&call);
    return status;
}

fs_name growth_name(char *text)
{
    return (fs_name){.fs_name_len = (u_int)strlen(text), .fs_name_val = text};
}

/* ---- the server's process ---- */

double target_cpu(const struct target *target)
{
    clockid_t clock;
    struct timespec used;

    if (clock_getcpuclockid(target->pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        growth_fail("the server's CPU time cannot be read: is it gone?");
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

uint64_t target_memory(const struct target *target, const char *field)
{
    char path[64], line[256];
    unsigned long long kib = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int)target->pid);
    FILE *status = fopen(path, "r");
    if (!status)
        growth_fail("the server's memory cannot be read: is it gone?");
    size_t length = strlen(field);
    while (fgets(line, sizeof line, status))
        if (strncmp(line, field, length) == 0 && line[length] == ':')
            sscanf(line + length + 1, "%llu", &kib);
    fclose(status);
    return kib * 1024;
}

/* ---- measuring ---- */

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

double growth_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

double growth_ratio(const double *own, const double *beside, size_t count)
{
    double ratios[GROWTH_ROUNDS];

    for (size_t i = 0; i < count; i++)
        ratios[i] = own[i] / beside[i];
    return growth_median(ratios, count);
}

static void row_end(const struct target *subject)
{
    printf("\t%.1f\t%.1f\n", (double)target_memory(subject, "VmRSS") / (1 << 20),
           (double)target_memory(subject, "VmHWM") / (1 << 20));
    fflush(stdout);
}

void growth_row(const struct target *subject, const char *what, uint64_t calls, double seconds, double cpu,
                double of_reference, double cpu_of_reference)
{
    printf("%llu\t%s\t%llu\t%.1f\t%.1f\t%.2f\t%.2f", (unsigned long long)subject->amount, what,
           (unsigned long long)calls, seconds * 1e6, cpu * 1e6, of_reference, cpu_of_reference);
    row_end(subject);
}

void growth_row_bytes(const struct target *subject, const char *what, double bytes)
{
    printf("%llu\t%s\t1\t%.0f\t-\t-\t-", (unsigned long long)subject->amount, what, bytes);
    row_end(subject);
}

struct figures {
    double wall[GROWTH_ROUNDS], cpu[GROWTH_ROUNDS];
};

static void run_round(struct target *target, const struct growth_work *work, struct figures *figures, int at)
{
    if (work->prepare)
        work->prepare(target, work->runs);
    double calls = (double)work->runs * work->each;
    double began = growth_now(), cpu = target_cpu(target);
    for (unsigned i = 0; i < work->runs; i++)
        work->run(target);
    /* The first round warms up. */
    if (at < 0)
        return;
    figures->wall[at] = (growth_now() - began) / calls;
    figures->cpu[at] = (target_cpu(target) - cpu) / calls;
}

static void measure_one(struct target *reference, struct target *subject, const struct growth_work *work)
{
    struct figures beside = {0}, own = {0};

    for (int round = -1; round < GROWTH_ROUNDS; round++) {
        run_round(reference, work, &beside, round);
        run_round(subject, work, &own, round);
    }
    double of_reference = growth_ratio(own.wall, beside.wall, GROWTH_ROUNDS);
    double cpu_of_reference = growth_ratio(own.cpu, beside.cpu, GROWTH_ROUNDS);
    growth_row(subject, work->what, (uint64_t)work->runs * work->each * GROWTH_ROUNDS,
               growth_median(own.wall, GROWTH_ROUNDS), growth_median(own.cpu, GROWTH_ROUNDS), of_reference,
               cpu_of_reference);
}

void growth_measure(struct target *reference, struct target *subject, const struct growth_work *work,
                    size_t count)
{
    for (size_t i = 0; i < count; i++)
        measure_one(reference, subject, &work[i]);
}
