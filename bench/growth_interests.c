/* growth, interests: what a publish costs in a server where so many wait, half of them for names, half for globs. */
#include "growth.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OF_MAILBOX = 5000, OPEN_OF_MAILBOX = 50, SECONDS = 100000, CALLS = 30, THREADS = 32 };

/* One after the other in flight, of one connection. */
struct registering {
    fs_register_args arguments;
    fs_register_res results;
    char pattern[160];
    struct growth_call call;
};

static void register_begin(struct rpc_client *client, struct registering *one, const fs_id *mailbox,
                           bool glob)
{
    one->arguments = (fs_register_args){.match = glob ? FS_GLOB : FS_EXACT,
                                        .pattern = growth_name(one->pattern),
                                        .seconds = SECONDS,
                                        .repeat = FS_ONCE,
                                        .present = FS_IGNORE,
                                        .mailbox = *mailbox};
    growth_id(&one->arguments.interest);
    one->results = (fs_register_res){0};
    one->call = (struct growth_call){.procedure = FSPROC_REGISTER_INTEREST,
                                     .encode = (xdrproc_t)xdr_fs_register_args,
                                     .decode = (xdrproc_t)xdr_fs_register_res,
                                     .arguments = &one->arguments,
                                     .results = &one->results};
    growth_begin(client, &one->call);
}

static void register_end(struct registering *one)
{
    if (!one->call.client)
        return;
    growth_await(&one->call);
    growth_expect(one->results.status, "an interest");
    growth_free(&one->call);
    one->call.client = NULL;
}

/* ---- filling ---- */

/* What the Nth waits for: a name, or a glob whose literal prefix is that job's own; of many lengths. */
static bool pattern_of(uint64_t number, enum growth_waiting kind, char text[160])
{
    static const char pad[] = "abcdefghijklmnopqrstuvwxyz";
    int more = (int)(number / 2 % 24);

    if (kind == WAITING_OPEN)
        return snprintf(text, 160, "*-%llu.csv", (unsigned long long)number), true;
    if (kind == WAITING_ALIKE)
        return snprintf(text, 160, "data/*-%llu.csv", (unsigned long long)number), true;
    if (number % 2)
        return snprintf(text, 160, "job-%llu-%.*s/*.csv", (unsigned long long)number, more, pad), true;
    return snprintf(text, 160, "job-%llu-%.*s/result.csv", (unsigned long long)number, more, pad), false;
}

struct filling {
    const struct target *target;
    uint64_t from, to;
    enum growth_waiting kind;
};

static void *fill_some(void *argument)
{
    const struct filling *filling = argument;
    struct rpc_client *client = target_connect(filling->target);
    struct registering *flight = calloc(GROWTH_FLIGHT, sizeof *flight);
    fs_id mailbox;
    unsigned at = 0;

    if (!flight)
        growth_fail("no memory");
    growth_id(&mailbox);
    for (uint64_t number = filling->from; number < filling->to; number++, at = (at + 1) % GROWTH_FLIGHT) {
        if (number % (filling->kind == WAITING_OPEN ? OPEN_OF_MAILBOX : OF_MAILBOX) == 0)
            growth_id(&mailbox);
        register_end(&flight[at]);
        bool glob = pattern_of(number, filling->kind, flight[at].pattern);
        register_begin(client, &flight[at], &mailbox, glob);
    }
    for (unsigned i = 0; i < GROWTH_FLIGHT; i++)
        register_end(&flight[(at + i) % GROWTH_FLIGHT]);
    free(flight);
    rpc_client_close(client);
    return NULL;
}

void interests_fill(struct target *target, uint64_t amount, enum growth_waiting kind)
{
    struct filling parts[THREADS];
    pthread_t threads[THREADS];
    uint64_t share = (amount + THREADS - 1) / THREADS;

    for (unsigned i = 0; i < THREADS; i++) {
        uint64_t from = share * i, to = from + share;
        parts[i] = (struct filling){target, from < amount ? from : amount, to < amount ? to : amount, kind};
        if (pthread_create(&threads[i], NULL, fill_some, &parts[i]) != 0)
            growth_fail("a thread cannot be made");
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

/* ---- one publish each ---- */

/* Much like what others wait for, but nobody for this. */
static void publish_for_none(struct target *target)
{
    char name[160];
    uint64_t number = growth_any(target->amount + 1);

    snprintf(name, sizeof name, "job-%llu-abcdefgh-none/%llu.csv", (unsigned long long)number,
             (unsigned long long)target->serial++);
    growth_expect(growth_upload(target->client, name, FS_FAIL, 1), "a publish");
}

/* Those of one round: met one by one, each by a publish of its own. */
static void prepare(struct target *target, unsigned calls, const char *before, const char *after, bool glob)
{
    fs_id mailbox;

    growth_id(&mailbox);
    for (unsigned i = 0; i < calls; i++) {
        struct registering one;
        unsigned long long number = target->serial + i;
        snprintf(one.pattern, sizeof one.pattern, "%s%llu%s", before, number, after);
        register_begin(target->client, &one, &mailbox, glob);
        register_end(&one);
    }
}

static void prepare_names(struct target *target, unsigned calls)
{
    prepare(target, calls, "one-", "/result.csv", false);
}

static void prepare_globs(struct target *target, unsigned calls)
{
    prepare(target, calls, "one-", "/*.csv", true);
}

static void prepare_open(struct target *target, unsigned calls)
{
    prepare(target, calls, "*-one-", ".csv", true);
}

static void prepare_alike(struct target *target, unsigned calls)
{
    prepare(target, calls, "data/*-one-", ".csv", true);
}

/* The next name of those that were prepared, or of a kind that nobody waits for. */
static void publish(struct target *target, const char *before, const char *after)
{
    char name[64];

    snprintf(name, sizeof name, "%s%llu%s", before, (unsigned long long)target->serial++, after);
    growth_expect(growth_upload(target->client, name, FS_FAIL, 1), "a publish");
}

static void publish_for_one(struct target *target)
{
    publish(target, "one-", "/result.csv");
}

static void publish_for_open(struct target *target)
{
    publish(target, "result-one-", ".csv");
}

static void publish_alike_for_none(struct target *target)
{
    publish(target, "data/result-none-", ".csv");
}

static void publish_for_alike(struct target *target)
{
    publish(target, "data/result-one-", ".csv");
}

void interests_measure(struct target *reference, struct target *subject)
{
    const struct growth_work work[] = {
        {"publish, nobody waits for it", 1, 2 * CALLS, NULL, publish_for_none},
        {"publish, one waits for the name", 1, CALLS, prepare_names, publish_for_one},
        {"publish, one waits with a glob", 1, CALLS, prepare_globs, publish_for_one},
    };
    growth_measure(reference, subject, work, sizeof work / sizeof work[0]);
}

void open_measure(struct target *reference, struct target *subject)
{
    const struct growth_work work[] = {
        {"publish, no open glob matches", 1, CALLS, NULL, publish_for_none},
        {"publish, one open glob matches", 1, CALLS, prepare_open, publish_for_open},
    };
    growth_measure(reference, subject, work, sizeof work / sizeof work[0]);
}

void alike_measure(struct target *reference, struct target *subject)
{
    const struct growth_work work[] = {
        {"publish, none of the globs alike matches", 1, CALLS, NULL, publish_alike_for_none},
        {"publish, one of the globs alike matches", 1, CALLS, prepare_alike, publish_for_alike},
    };
    growth_measure(reference, subject, work, sizeof work / sizeof work[0]);
}
