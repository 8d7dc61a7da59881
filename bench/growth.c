/*
 * bench_growth: fills servers and measures them, for bench/scale.
 *
 *     bench_growth fill-names N SERVER            empty files, by UPLOAD_MANY
 *     bench_growth fill-interests N SERVER        half names, half globs with a literal prefix
 *     bench_growth fill-open N SERVER             globs that begin with a wildcard
 *     bench_growth fill-alike N SERVER            globs of one literal prefix
 *     bench_growth names|interests|open|alike N SERVER REFERENCE
 *     bench_growth idle N SERVER REFERENCE        N idle connections and 64 busy
 *     bench_growth busy N SERVER REFERENCE        64 busy; N is told as it is
 *     bench_growth process COMMAND ...            seconds, CPU seconds and KiB resident at most, of a process
 *
 * SERVER is PORT:PID; N what it was filled with. REFERENCE is the one that costs
 * are told as multiples of, filled with N:PORT:PID.
 */
#include "growth.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t amount_of(const char *text)
{
    char *end;
    unsigned long long amount = strtoull(text, &end, 10);

    if (end == text || (*end && *end != ':'))
        growth_fail("a number was expected");
    return amount;
}

static int fill(const char *what, uint64_t amount, struct target *target)
{
    if (strcmp(what, "fill-names") == 0)
        names_fill(target, amount);
    else if (strcmp(what, "fill-interests") == 0)
        interests_fill(target, amount, WAITING_MIXED);
    else if (strcmp(what, "fill-open") == 0)
        interests_fill(target, amount, WAITING_OPEN);
    else if (strcmp(what, "fill-alike") == 0)
        interests_fill(target, amount, WAITING_ALIKE);
    else
        return 2;
    return 0;
}

static int measure(const char *what, struct target *reference, struct target *subject)
{
    if (strcmp(what, "names") == 0)
        names_measure(reference, subject);
    else if (strcmp(what, "interests") == 0)
        interests_measure(reference, subject);
    else if (strcmp(what, "open") == 0)
        open_measure(reference, subject);
    else if (strcmp(what, "alike") == 0)
        alike_measure(reference, subject);
    else if (strcmp(what, "idle") == 0)
        crowd_measure(reference, subject, subject->amount);
    else if (strcmp(what, "busy") == 0)
        busy_measure(reference, subject);
    else
        return 2;
    return 0;
}

/* What a command takes, from start to exit; its output is thrown away. */
static int process(char **command)
{
    struct rusage used;
    int status;
    double began = growth_now();
    pid_t pid = fork();

    if (pid == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, STDOUT_FILENO);
        execvp(command[0], command);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &used) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        growth_fail("the command failed");
    printf("%.6f\t%.6f\t%ld\n", growth_now() - began,
           (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6,
           used.ru_maxrss);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "process") == 0)
        return process(argv + 2);
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: bench_growth WHAT N SERVER [REFERENCE], see bench/scale\n");
        return 2;
    }
    struct target subject = target_open(argv[3]);
    subject.amount = amount_of(argv[2]);
    if (argc == 4) {
        int answer = fill(argv[1], subject.amount, &subject);
        target_close(&subject);
        return answer;
    }
    const char *server = strchr(argv[4], ':');
    if (!server)
        growth_fail("the reference is told as N:PORT:PID");
    struct target reference = target_open(server + 1);
    reference.amount = amount_of(argv[4]);
    int answer = measure(argv[1], &reference, &subject);
    target_close(&reference);
    target_close(&subject);
    return answer;
}
