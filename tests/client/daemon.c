#include "client/daemon.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { OPTIONS_MAX = 16, READY_MS = 10000, STOP_MS = 20000 };

int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int slowness(void)
{
    const char *text = getenv("FILESHARE_SLOWNESS");
    return text && atoi(text) > 0 ? atoi(text) : 1;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* ---- the process ---- */

static void run(const struct daemon *daemon)
{
    char program[512], store[128], path[128], addresses[128], port[16];
    const char *build = getenv("FILESHARE_BUILD");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* Ctrl-C is for the test: it stops what it started */
    snprintf(program, sizeof program, "%s/fileshared", build ? build : ".");
    snprintf(store, sizeof store, "%s/store", daemon->folder);
    snprintf(path, sizeof path, "%s/socket", daemon->folder);
    snprintf(addresses, sizeof addresses, "%s/addresses", daemon->folder);
    snprintf(port, sizeof port, "%u", daemon->port);
    char log[128];
    snprintf(log, sizeof log, "%s/log", daemon->folder);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    for (const char *const *at = daemon->environment; at && *at; at++)
        putenv((char *)(uintptr_t)*at);
    const char *const usual[] = {program,   "--store",     store, "--socket",      path, "--address-file",
                                 addresses, "--port",      port,  "--retry-first", "1",  "--retry-last",
                                 "1",       "--no-rpcbind"};
    const char *words[16 + 2 * OPTIONS_MAX] = {NULL};
    size_t count = 0;
    for (size_t i = 0; i < OPTIONS_MAX && daemon->launcher && daemon->launcher[i]; i++)
        words[count++] = daemon->launcher[i];
    for (size_t i = 0; i < sizeof usual / sizeof usual[0] - daemon->rpcbind; i++)
        words[count++] = usual[i];
    for (size_t i = 0; i < OPTIONS_MAX && daemon->options && daemon->options[i]; i++)
        words[count++] = daemon->options[i];
    execvp(words[0], (char *const *)(uintptr_t)words);
    perror(words[0]);
    _exit(127);
}

void daemon_show_log(const struct daemon *daemon)
{
    char command[160];
    snprintf(command, sizeof command, "tail -n 30 %s/log >&2", daemon->folder);
    if (system(command) != 0)
        print_error("no log\n");
}

/* Reads the port from the address file; false while it is not there. */
static bool read_addresses(struct daemon *daemon)
{
    char path[128], line[256];
    unsigned port = 0;
    snprintf(path, sizeof path, "%s/addresses", daemon->folder);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    while (fgets(line, sizeof line, file))
        sscanf(line, "tcp 127.0.0.1:%u", &port);
    fclose(file);
    daemon->port = (uint16_t)port;
    snprintf(daemon->tcp, sizeof daemon->tcp, "127.0.0.1:%u", port);
    snprintf(daemon->local, sizeof daemon->local, "unix:%s/socket", daemon->folder);
    return port != 0;
}

pid_t fork_afresh(void)
{
    sigset_t stops, before;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    pthread_sigmask(SIG_BLOCK, &stops, &before);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGTERM, SIG_DFL);
        signal(SIGINT, SIG_DFL);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pid;
}

void daemon_launch(struct daemon *daemon)
{
    char path[128];
    snprintf(path, sizeof path, "%s/addresses", daemon->folder);
    unlink(path);
    daemon->pid = fork_afresh();
    if (daemon->pid == 0)
        run(daemon);
}

bool daemon_await(struct daemon *daemon)
{
    int64_t until = milliseconds() + (int64_t)READY_MS * slowness();
    while (!read_addresses(daemon)) {
        if (waitpid(daemon->pid, &daemon->status, WNOHANG) != 0) {
            daemon->pid = 0;
            return false;
        }
        if (milliseconds() > until) {
            daemon_show_log(daemon);
            fail_msg("fileshared did not start");
        }
        pause_ms(5);
    }
    return true;
}

void daemon_start(struct daemon *daemon)
{
    daemon_launch(daemon);
    if (!daemon_await(daemon)) {
        daemon_show_log(daemon);
        fail_msg("fileshared did not start");
    }
}

void daemon_stop(struct daemon *daemon, int signal)
{
    int status = 0;
    int64_t until = milliseconds() + (int64_t)STOP_MS * slowness();
    if (daemon->pid == 0)
        return; /* it did not start; 0 would be all of us */
    kill(daemon->pid, signal);
    kill(daemon->pid, SIGCONT);
    while (waitpid(daemon->pid, &status, WNOHANG) == 0) {
        if (milliseconds() > until)
            fail_msg("fileshared does not stop");
        pause_ms(5);
    }
    daemon->pid = 0;
    daemon->status = status;
    if (signal == SIGTERM && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        daemon_show_log(daemon);
        fail_msg("fileshared ended with status %x", status);
    }
}

void daemon_freeze(const struct daemon *daemon)
{
    int status = 0;
    kill(daemon->pid, SIGSTOP);
    assert_int_equal(waitpid(daemon->pid, &status, WUNTRACED), daemon->pid);
    assert_true(WIFSTOPPED(status));
}

void daemon_prepare(struct daemon *daemon, const char *parent)
{
    *daemon = (struct daemon){.state = "state"};
    assert_non_null(place_make(daemon->folder, parent, "client_test"));
}

void daemon_begin(struct daemon *daemon)
{
    daemon_prepare(daemon, place_on_disk());
    daemon_start(daemon);
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

void daemon_end(struct daemon *daemon)
{
    if (daemon->pid != 0)
        daemon_stop(daemon, SIGTERM);
    nftw(daemon->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

struct fileshare *daemon_session(const struct daemon *daemon, const char *server, unsigned retry_seconds)
{
    char state[128];
    struct fileshare *session = NULL;
    struct fileshare_error error = {0};
    snprintf(state, sizeof state, "%s/%s", daemon->folder, daemon->state);
    struct fileshare_options options = {
        .server = server,
        .software = "client test",
        .retry_seconds = retry_seconds,
        .without_rpcbind = true,
        .state_folder = state,
    };
    if (fileshare_open(&options, &session, &error) != FILESHARE_OK) {
        daemon_show_log(daemon);
        fail_msg("%s", error.text);
    }
    return session;
}

struct counter {
    const char *label;
    uint64_t amount;
};

static void look_at_counter(void *context, const char *label, uint64_t amount)
{
    struct counter *counter = context;
    if (strcmp(label, counter->label) == 0)
        counter->amount = amount;
}

uint64_t counted(struct fileshare *session, const char *label)
{
    struct counter counter = {.label = label, .amount = UINT64_MAX};
    struct fileshare_error error = {0};
    if (fileshare_counters(session, look_at_counter, &counter, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
    if (counter.amount == UINT64_MAX)
        fail_msg("%s is not counted", label);
    return counter.amount;
}

/* ---- bytes ---- */

uint8_t *pattern_bytes(size_t size, unsigned seed)
{
    uint8_t *bytes = calloc(1, size + 1);
    uint64_t word = seed + UINT64_C(0x9e3779b97f4a7c15);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        word = word * UINT64_C(6364136223846793005) + 1;
        bytes[i] = (uint8_t)(word >> 56);
    }
    return bytes;
}

int file_of(const void *bytes, size_t size)
{
    int fd = place_file();
    assert_true(fd >= 0);
    for (size_t done = 0; done < size;) {
        ssize_t put = write(fd, (const uint8_t *)bytes + done, size - done);
        assert_true(put > 0);
        done += (size_t)put;
    }
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

void expect_file(int fd, const void *bytes, size_t size)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_size, size);
    uint8_t *got = malloc(size + 1);
    for (size_t done = 0; done < size;) {
        ssize_t count = pread(fd, got + done, size - done, (off_t)done);
        assert_true(count > 0);
        done += (size_t)count;
    }
    if (memcmp(got, bytes, size) != 0)
        fail_msg("the bytes differ");
    free(got);
}

enum fileshare_status put_bytes(struct fileshare *session, const char *name, const void *bytes, size_t size,
                                bool replace, bool *unchanged, struct fileshare_entry *out)
{
    int fd = file_of(bytes, size);
    struct fileshare_put put = {.name = name, .fd = fd, .mtime = 1234567890, .replace = replace};
    struct fileshare_error error = {0};
    enum fileshare_status status = fileshare_put(session, &put, out, unchanged, &error);
    if (status != FILESHARE_OK) {
        assert_int_equal(error.status, status);
        assert_int_not_equal(error.text[0], '\0');
        assert_null(strchr(error.text, '\n'));
    }
    close(fd);
    return status;
}

void put_ok(struct fileshare *session, const char *name, const void *bytes, size_t size)
{
    bool unchanged = true;
    struct fileshare_entry entry;
    assert_int_equal(put_bytes(session, name, bytes, size, false, &unchanged, &entry), FILESHARE_OK);
    assert_false(unchanged);
    assert_string_equal(entry.name, name);
    assert_int_equal(entry.size, size);
    assert_int_equal(entry.mtime, 1234567890);
}

void get_ok(struct fileshare *session, const char *name, const void *bytes, size_t size)
{
    int fd = file_of("", 0);
    struct fileshare_get get = {.name = name, .fd = fd};
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    if (fileshare_get(session, &get, &entry, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
    assert_int_equal(entry.size, size);
    expect_file(fd, bytes, size);
    close(fd);
}
