#include "client/broken.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
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

enum { SLACK = 4096, RANDOM_PLACES = 3 };

/* ---- measuring ---- */

static void transfer(struct broken *broken, unsigned chunks, bool up)
{
    char name[64]; /* as long as those of broken_name */
    snprintf(name, sizeof name, "measure/%03u", chunks);
    struct fileshare *through = daemon_session(&broken->server, proxy_address(broken->proxy), 0);
    if (up)
        put_ok(through, name, broken->bytes, (size_t)chunks * CHUNK);
    else
        get_ok(through, name, broken->bytes, (size_t)chunks * CHUNK);
    fileshare_close(through);
}

static void transfer_by_client(struct broken *broken, unsigned chunks, bool up)
{
    char name[64], command[512], leaf[16];
    snprintf(name, sizeof name, "measure/%03u", chunks);
    snprintf(leaf, sizeof leaf, "%03u", chunks);
    if (up) {
        snprintf(command, sizeof command, "head -c %u %s/large >%s/%s", chunks * CHUNK, broken->folder,
                 broken->folder, leaf);
        assert_int_equal(system(command), 0);
        broken_run(broken, (const char *const[]){"put", leaf, "--as", name, NULL});
    } else {
        broken_run(broken, (const char *const[]){"get", name, "--replace", NULL});
    }
}

/* Bytes that a connection moves each way for a transfer of so many chunks. */
static void measure(struct broken *broken, unsigned chunks, bool up, uint64_t moved[2])
{
    uint64_t before[2] = {proxy_sent(broken->proxy), proxy_received(broken->proxy)};
    if (broken->real_client)
        transfer_by_client(broken, chunks, up);
    else
        transfer(broken, chunks, up);
    broken->owed += up;
    moved[0] = proxy_sent(broken->proxy) - before[0];
    moved[1] = proxy_received(broken->proxy) - before[1];
}

static void measure_headers(struct broken *broken)
{
    for (int way = 0; way < 2; way++) {
        uint64_t three[2], four[2];
        measure(broken, 3, way == 0, three);
        proxy_mark(broken->proxy, way, broken->bytes, 16);
        uint64_t before = proxy_received(broken->proxy);
        measure(broken, 4, way == 0, four);
        broken->header[way] = four[way] - three[way] - CHUNK;
        broken->first[way] = proxy_marked(broken->proxy);
        if (way == 0) {
            broken->greeting = proxy_marked_back(broken->proxy) - before;
            broken->answer = four[1] - three[1];
        }
        assert_true(broken->first[way] > 100 && broken->first[way] < 2000);
        assert_true(broken->header[way] > 40 && broken->header[way] < 1000);
    }
    assert_true(broken->greeting > 40 && broken->answer > 20 && broken->answer < 200);
    proxy_mark(broken->proxy, 0, NULL, 0);
}

uint64_t broken_at(const struct broken *broken, int way, uint64_t offset)
{
    uint64_t headers = offset > 0 ? (offset - 1) / CHUNK * broken->header[way] : 0;
    uint64_t padding = offset == SIZE ? (4 - SIZE % 4) % 4 : 0;
    return broken->first[way] + offset + headers + padding;
}

uint64_t broken_answered(const struct broken *broken, uint64_t received)
{
    uint64_t answers = received > broken->greeting ? (received - broken->greeting) / broken->answer : 0;
    return answers * CHUNK < SIZE ? answers * CHUNK : SIZE;
}

uint64_t broken_whole(uint64_t offset)
{
    return offset == SIZE ? SIZE : offset / CHUNK * CHUNK;
}

uint64_t broken_cost(const struct broken *broken, int way, uint64_t content)
{
    return broken->first[way] + content + (content / CHUNK + 2) * broken->header[way] + SLACK;
}

uint64_t broken_place(struct broken *broken, unsigned number)
{
    const uint64_t places[PLACES - RANDOM_PLACES] = {0, 1, CHUNK - 1, CHUNK, SIZE - 1, SIZE};
    if (number < PLACES - RANDOM_PLACES)
        return places[number];
    broken->dice = broken->dice * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (broken->dice >> 33) % SIZE;
}

/* ---- names and arrivals ---- */

const char *broken_name(struct broken *broken, char name[64])
{
    snprintf(name, 64, "broken/%04u", broken->serial++);
    return name;
}

static bool hear(void *context, const struct fileshare_event *event)
{
    struct broken *broken = context;
    if (event->kind == FILESHARE_ARRIVED)
        broken->arrivals++;
    return true;
}

void broken_expect(struct broken *broken, const char *name)
{
    get_ok(broken->session, name, broken->bytes, SIZE);
    broken->owed++;
}

void broken_publish(struct broken *broken, const char *name)
{
    put_ok(broken->session, name, broken->bytes, SIZE);
    broken->owed++;
}

static bool await_arrivals(const struct broken *broken, unsigned count, int64_t ms)
{
    int64_t until = milliseconds() + ms;
    while (broken->arrivals < count && milliseconds() < until)
        usleep(10000);
    return broken->arrivals >= count;
}

/* Events come in the order of the arrivals: once the last is told, all are. */
void broken_expect_events(struct broken *broken)
{
    put_ok(broken->session, "the last", "x", 1);
    broken->owed++;
    assert_true(await_arrivals(broken, broken->owed, 30000 * slowness()));
    usleep(200000);
    assert_int_equal(broken->arrivals, broken->owed);
}

/* ---- life ---- */

static void listen_for_all(struct broken *broken)
{
    struct fileshare_error error = {0};
    struct fileshare_registered registered;
    struct fileshare_register every = {.pattern = "**", .glob = true, .every = true, .seconds = 86400};
    broken->listener = daemon_session(&broken->server, broken->server.tcp, 60);
    if (fileshare_interest(broken->listener, &every, NULL, NULL, &registered, &error) != FILESHARE_OK ||
        fileshare_attach(broken->listener, hear, broken, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
}

static void make_folder(struct broken *broken)
{
    char path[160];
    snprintf(broken->folder, sizeof broken->folder, "%s/work", broken->server.folder);
    assert_int_equal(mkdir(broken->folder, 0700), 0);
    snprintf(path, sizeof path, "%s/large", broken->folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_int_equal(write(fd, broken->bytes, SIZE), SIZE);
    close(fd);
}

void broken_serve(struct broken *broken)
{
    daemon_start(&broken->server);
    broken->serving = broken->server.pid;
}

void broken_begin(struct broken *broken, bool real_client)
{
    /* What is replaced is gone at once. */
    static const char *const options[] = {"--kept", "0", NULL};
    const char *seed = getenv("FILESHARE_FAULT_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    *broken = (struct broken){.seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)now.tv_nsec,
                              .real_client = real_client};
    printf("FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)broken->seed);
    fflush(stdout);
    broken->dice = broken->seed;
    broken->bytes = pattern_bytes(SIZE, (unsigned)broken->seed | 1);
    daemon_prepare(&broken->server, place_on_disk());
    broken->server.options = options;
    broken_serve(broken);
    broken->proxy = proxy_new(broken->server.port);
    broken->session = daemon_session(&broken->server, broken->server.tcp, 60);
    listen_for_all(broken);
    make_folder(broken);
    measure_headers(broken);
}

void broken_end(struct broken *broken)
{
    fileshare_close(broken->listener);
    fileshare_close(broken->session);
    proxy_free(broken->proxy);
    free(broken->bytes);
    daemon_end(&broken->server);
}

/* ---- the real client ---- */

enum { WORDS_MAX = 16 };

static void run(const struct broken *broken, const char *const *arguments)
{
    char program[512], state[192];
    const char *words[WORDS_MAX] = {program, "--no-rpcbind", "-s", proxy_address(broken->proxy)};
    const char *build = getenv("FILESHARE_BUILD");
    size_t count = 4;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(program, sizeof program, "%s/fileshare-client", build ? build : ".");
    snprintf(state, sizeof state, "%s/home", broken->server.folder);
    while (*arguments && count < WORDS_MAX - 1)
        words[count++] = *arguments++;
    setenv("XDG_STATE_HOME", state, 1);
    if (chdir(broken->folder) != 0)
        _exit(126);
    int fd = open("../err", O_WRONLY | O_CREAT | O_TRUNC, 0600), null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(fd, 2);
    execv(program, (char *const *)(uintptr_t)words);
    _exit(127);
}

pid_t broken_client(struct broken *broken, const char *const *arguments)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        run(broken, arguments);
    return pid;
}

int broken_wait(pid_t pid)
{
    int status = 0;
    int64_t until = milliseconds() + (int64_t)60000 * slowness();
    while (waitpid(pid, &status, WNOHANG) == 0) {
        if (milliseconds() > until)
            fail_msg("fileshare-client does not end");
        usleep(2000);
    }
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static void show_said(const struct broken *broken)
{
    char command[200];
    snprintf(command, sizeof command, "cat %s/err >&2", broken->server.folder);
    if (system(command) != 0)
        print_error("it said nothing\n");
}

void broken_run(struct broken *broken, const char *const *arguments)
{
    int status = broken_wait(broken_client(broken, arguments));
    if (status == 0)
        return;
    show_said(broken);
    fail_msg("fileshare-client ends with %d", status);
}

bool broken_said(const struct broken *broken, const char *words)
{
    char path[128], text[8192];
    snprintf(path, sizeof path, "%s/err", broken->server.folder);
    int fd = open(path, O_RDONLY);
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return strstr(text, words) != NULL;
}
