/*
 * Runs one command and tells what it cost, at both ends.
 *
 *     stopwatch [-c] [-o OUT] [-e ERR] [-t SECONDS] [-s PID[,PID...]] -- COMMAND...
 *
 * Prints one line:
 *
 *     wall  client_cpu  server_cpu  foreign_cpu  server_peak_kb  client_calls  server_calls  status
 *
 * Times are seconds. The server is the processes of -s and all below them; the
 * client is COMMAND and its children. foreign_cpu is what the machine spent on
 * others meanwhile. With -c system calls are counted (raw_syscalls:sys_enter,
 * which slows them: such a run's times are not for a table), else both are "-".
 * A COMMAND that takes longer than -t is killed; the status is then 128 + 9.
 */
#include "base/scoped.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PROCESSES = 512, COUNTERS = 2048, SAMPLE_MS = 25, TEXT = 8192 };

static int roots[64];
static size_t root_count;
static atomic_long peak_kb;
static atomic_bool over;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static bool read_text(const char *path, char text[TEXT])
{
    scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, TEXT - 1);
    text[got < 0 ? 0 : got] = 0;
    return got > 0;
}

/* ---- the server's processes ---- */

/* Calls `each` for every thread of the process `pid`. */
static void each_thread(int pid, void (*each)(void *context, int pid, int thread), void *context)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            each(context, pid, atoi(entry->d_name));
    if (folder != NULL)
        closedir(folder);
}

struct family {
    int pids[PROCESSES];
    size_t count;
};

static void add_children(void *context, int pid, int thread)
{
    struct family *family = context;
    char path[64];
    char text[TEXT];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, thread);
    if (!read_text(path, text))
        return;
    char *rest = NULL;
    for (char *word = strtok_r(text, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest))
        if (family->count < PROCESSES)
            family->pids[family->count++] = atoi(word);
}

static void family_find(struct family *family)
{
    family->count = 0;
    for (size_t i = 0; i < root_count; i++)
        family->pids[family->count++] = roots[i];
    for (size_t i = 0; i < family->count; i++)
        each_thread(family->pids[i], add_children, family);
}

/* What a process used: its own time by its clock, that of children it has buried by the kernel's ticks. */
static double process_seconds(int pid)
{
    double seconds = 0;
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(pid, &clock) == 0 && clock_gettime(clock, &time) == 0)
        seconds = (double)time.tv_sec + (double)time.tv_nsec / 1e9;
    char path[64];
    char text[TEXT];
    long user;
    long kernel;
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    char *rest = read_text(path, text) ? strrchr(text, ')') : NULL;
    if (rest != NULL &&
        sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*d %*d %ld %ld", &user, &kernel) == 2)
        seconds += (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
    return seconds;
}

/* The peak resident memory of the server's living processes, summed. */
static void sample_memory(void)
{
    struct family family;
    long sum = 0;
    family_find(&family);
    for (size_t i = 0; i < family.count; i++) {
        char path[64];
        char text[TEXT];
        snprintf(path, sizeof path, "/proc/%d/status", family.pids[i]);
        const char *line = read_text(path, text) ? strstr(text, "VmHWM:") : NULL;
        sum += line != NULL ? atol(line + 6) : 0;
    }
    if (sum > atomic_load(&peak_kb))
        atomic_store(&peak_kb, sum);
}

static void *sample_often(void *unused)
{
    (void)unused;
    while (poll(NULL, 0, SAMPLE_MS) == 0 && !atomic_load(&over))
        sample_memory();
    return NULL;
}

static double machine_seconds(void)
{
    char text[TEXT];
    long long user = 0;
    long long nice = 0;
    long long kernel = 0;
    long long irq = 0;
    long long soft = 0;
    long long stolen = 0;
    if (read_text("/proc/stat", text))
        sscanf(text, "cpu %lld %lld %lld %*d %*d %lld %lld %lld", &user, &nice, &kernel, &irq, &soft,
               &stolen);
    return (double)(user + nice + kernel + irq + soft + stolen) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- the kernel's counters ---- */

/* One event, of many threads and of all that they start. */
struct counters {
    int fds[COUNTERS];
    size_t count;
    uint32_t type;
    int event; /* -1: nothing is counted */
};

static int event_number(void)
{
    char text[TEXT];
    if (read_text("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id", text) ||
        read_text("/sys/kernel/debug/tracing/events/raw_syscalls/sys_enter/id", text))
        return atoi(text);
    return -1;
}

static void counters_add(void *context, int pid, int thread)
{
    struct counters *counters = context;
    (void)pid;
    struct perf_event_attr what = {.type = counters->type,
                                   .size = sizeof what,
                                   .config = (unsigned long)counters->event,
                                   .inherit = 1};
    if (counters->event < 0 || counters->count == COUNTERS)
        return;
    long fd = syscall(SYS_perf_event_open, &what, thread, -1, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd >= 0)
        counters->fds[counters->count++] = (int)fd;
}

static void counters_add_server(struct counters *counters)
{
    struct family family;
    family_find(&family);
    for (size_t i = 0; i < family.count; i++)
        each_thread(family.pids[i], counters_add, counters);
}

static uint64_t counters_sum(const struct counters *counters)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < counters->count; i++) {
        uint64_t amount;
        if (read(counters->fds[i], &amount, sizeof amount) == (ssize_t)sizeof amount)
            sum += amount;
    }
    return sum;
}

static void counters_print(const struct counters *counters)
{
    if (counters->event < 0)
        printf("- ");
    else
        printf("%llu ", (unsigned long long)counters_sum(counters));
}

/* CPU seconds of the server so far: by the kernel's counter, which misses no child; else by the clocks. */
static double server_seconds(const struct counters *clocks)
{
    struct family family;
    double seconds = 0;
    if (clocks->count > 0)
        return (double)counters_sum(clocks) / 1e9;
    family_find(&family);
    for (size_t i = 0; i < family.count; i++)
        seconds += process_seconds(family.pids[i]);
    return seconds;
}

/* ---- the command ---- */

struct order {
    const char *out;
    const char *err;
    unsigned seconds;
    bool count;
    char **command;
};

static pid_t child;

static void too_late(int signal_number)
{
    (void)signal_number;
    kill(-child, SIGKILL);
}

/* The child waits for a byte on `go` before it becomes the command, so that a counter can be put on it. */
static void become(const struct order *order, int go)
{
    int in = open("/dev/null", O_RDONLY);
    int out = open(order->out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int err = open(order->err, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    char byte;
    if (in < 0 || out < 0 || err < 0 || setpgid(0, 0) != 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
        dup2(err, 2) < 0 || read(go, &byte, 1) != 1)
        _exit(126);
    execvp(order->command[0], order->command);
    perror(order->command[0]);
    _exit(127);
}

static int run(const struct order *order)
{
    int go[2];
    if (pipe(go) != 0 || (child = fork()) < 0) {
        perror("stopwatch");
        return 1;
    }
    if (child == 0)
        become(order, go[0]);
    struct counters client = {.type = PERF_TYPE_TRACEPOINT, .event = order->count ? event_number() : -1};
    struct counters server = client;
    struct counters clocks = {.type = PERF_TYPE_SOFTWARE, .event = PERF_COUNT_SW_TASK_CLOCK};
    counters_add(&client, child, child);
    counters_add_server(&server);
    counters_add_server(&clocks);
    signal(SIGALRM, too_late);
    pthread_t sampler;
    bool sampled = pthread_create(&sampler, NULL, sample_often, NULL) == 0;

    double machine = machine_seconds();
    double served = server_seconds(&clocks);
    double begin = now();
    alarm(order->seconds);
    bool going = write(go[1], "g", 1) == 1;
    int status = 0;
    struct rusage used;
    while (wait4(child, &status, 0, &used) < 0)
        ;
    double wall = now() - begin;
    served = server_seconds(&clocks) - served;
    machine = machine_seconds() - machine;

    atomic_store(&over, true);
    sample_memory();
    if (sampled)
        pthread_join(sampler, NULL);
    double client_cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                        (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    double foreign = machine - served - client_cpu;
    printf("%.6f %.6f %.6f %.3f %ld ", wall, client_cpu, served, foreign < 0 ? 0 : foreign,
           atomic_load(&peak_kb));
    counters_print(&client);
    counters_print(&server);
    printf("%d\n", !going ? 126 : WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 0;
}

static void read_pids(char *list)
{
    char *rest = NULL;
    for (char *word = strtok_r(list, ",", &rest); word != NULL; word = strtok_r(NULL, ",", &rest))
        if (root_count < sizeof roots / sizeof *roots)
            roots[root_count++] = atoi(word);
}

int main(int count, char **words)
{
    struct order order = {.out = "/dev/null", .err = "/dev/null", .seconds = 300};
    for (int option; (option = getopt(count, words, "+co:e:t:s:")) != -1;) {
        switch (option) {
        case 'c': order.count = true; break;
        case 'o': order.out = optarg; break;
        case 'e': order.err = optarg; break;
        case 't': order.seconds = (unsigned)atoi(optarg); break;
        case 's': read_pids(optarg); break;
        default: return 2;
        }
    }
    if (optind >= count) {
        fprintf(stderr, "stopwatch: no command\n");
        return 2;
    }
    order.command = words + optind;
    return run(&order);
}
