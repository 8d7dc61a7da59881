/*
 * growth: what one more call costs a server that holds much already, beside one
 * that holds a little: measured in turn, in the same run, so that a machine that
 * slows down for a while slows both.
 *
 * A target is a running server, by its port and process. Who measures fills it
 * through the public door, then asks growth_measure: rounds of calls, the
 * reference and the subject in turn, of which the medians count. Time on the
 * clock, and the CPU time of the server's process (both its own and the kernel's
 * on its behalf). Rows go to stdout, a line each, in columns between tabs.
 *
 * Whatever goes wrong ends the program with a sentence: a benchmark that goes on
 * has measured something else.
 */
#pragma once

#include "base/id.h"
#include "base/outcome.h"
#include "proto/fileshare.h"
#include "rpc/client.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { GROWTH_ROUNDS = 15, GROWTH_FLIGHT = 64, GROWTH_CONTENT_MAX = 4096 };

struct target {
    pid_t pid;
    uint16_t port;
    uint64_t amount; /* names, interests: what it was filled with */
    uint64_t serial; /* of names that calls make up */
    struct rpc_client *client;
};

void growth_fail(const char *text) __attribute__((noreturn));
void growth_must(enum outcome outcome, const struct failure *why);

/* "PORT:PID". */
struct target target_open(const char *text);
void target_close(struct target *target);
struct rpc_client *target_connect(const struct target *target);

/* One call, awaited. `results` is zeroed by the caller, and freed with growth_free. */
struct growth_call {
    uint32_t procedure;
    xdrproc_t encode, decode;
    void *arguments, *results;
    struct rpc_client *client;
    struct rpc_pending *pending;
};
void growth_begin(struct rpc_client *client, struct growth_call *call);
void growth_await(struct growth_call *call);
void growth_free(struct growth_call *call);

/* A status that is not FS_OK is the end. */
void growth_expect(fs_status status, const char *doing);
fs_name growth_name(char *text);
void growth_id(fs_id *to); /* a new one */

/* An upload of so many bytes (GROWTH_CONTENT_MAX at most), awaited; its answer. */
fs_status growth_upload(struct rpc_client *client, char *name, fs_policy policy, u_int size);
/* A number that differs from run to run, below that. */
uint64_t growth_any(uint64_t below);

/* ---- the server's process ---- */

double target_cpu(const struct target *target);                         /* seconds so far */
uint64_t target_memory(const struct target *target, const char *field); /* bytes: "VmRSS", "VmHWM" */

/* ---- measuring ---- */

struct growth_work {
    const char *what;
    unsigned each;                                         /* so many calls a run */
    unsigned runs;                                         /* a round */
    void (*prepare)(struct target *target, unsigned runs); /* before each round, not measured; or NULL */
    void (*run)(struct target *target);
};

/*
 * A row: amount, what, calls, us and CPU us of a call, both as multiples of the
 * reference, MiB resident now and at most. Of memory: bytes in the place of us.
 */
void growth_row(const struct target *subject, const char *what, uint64_t calls, double seconds, double cpu,
                double of_reference, double cpu_of_reference);
void growth_row_bytes(const struct target *subject, const char *what, double bytes);

/* A row for each kind of work. */
void growth_measure(struct target *reference, struct target *subject, const struct growth_work *work,
                    size_t count);

double growth_now(void);
double growth_median(double *values, size_t count); /* sorts them */
/* The median of what each round says: what slows the machine for a while slows both halves of a round. */
double growth_ratio(const double *own, const double *beside, size_t count);

/* ---- what there is to fill and to measure ---- */

void names_fill(struct target *target, uint64_t amount);
void names_measure(struct target *reference, struct target *subject);
/* Half names, half globs with a literal prefix; globs that begin with a wildcard; globs of one prefix. */
enum growth_waiting { WAITING_MIXED, WAITING_OPEN, WAITING_ALIKE };
void interests_fill(struct target *target, uint64_t amount, enum growth_waiting kind);
void interests_measure(struct target *reference, struct target *subject);
void open_measure(struct target *reference, struct target *subject);
void alike_measure(struct target *reference, struct target *subject);
void crowd_measure(struct target *reference, struct target *subject, uint64_t idle);
void busy_measure(struct target *reference, struct target *subject);
