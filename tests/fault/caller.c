#include "fault/caller.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SMALL_MAX = 40000,
    LARGE_MIN = 1100000, /* beyond a chunk */
    LARGE_MAX = 5 << 20,
    KILL_MS = 250, /* a kill or a stop comes within this */
    STOP_MS = 400,
    WAIT_DELAY_MS = 150,
    ENDS_WITHIN_MS = 150000,
    EXIT_ABSENT = 3, /* of fileshare-client */
    EXIT_ROOM = 8,
    KILLED = 256 + SIGKILL,
};

static void name_of(const struct caller *caller, unsigned slot, char name[32])
{
    snprintf(name, 32, "c%u/%u", caller->number, slot);
}

static void clean(struct caller *caller)
{
    static const char *const leaves[] = {"out", "error", "content", "got"};
    char path[192];
    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", caller->folder, leaves[i]);
        unlink(path);
    }
}

/* ---- a process and its fate ---- */

/* Runs it, and perhaps kills or stops it meanwhile. Its exit code; KILLED if that was us. */
static int run(struct caller *caller, const char *const *arguments, int input)
{
    struct process process = {0};
    const char *all[16] = {"-s", dice_throw(&caller->dice, 2) ? caller->relayed : caller->world->server.tcp,
                           "-q", "--retry-for=2m"};
    for (size_t i = 0; arguments[i] && i < 11; i++)
        all[4 + i] = arguments[i];
    unsigned fate = dice_throw(&caller->dice, 10);
    caller->runs++;
    process_start(&process, caller->folder, all, input);
    if (fate < 4 && !process_ended(&process, dice_throw(&caller->dice, KILL_MS))) {
        if (fate < 2) {
            caller->kills++;
            (void)process_stop(&process, SIGKILL, ENDS_WITHIN_MS);
        } else {
            caller->stops++;
            kill(process.pid, SIGSTOP);
            usleep(dice_throw(&caller->dice, STOP_MS * 1000));
            kill(process.pid, SIGCONT);
        }
    }
    if (!process_ended(&process, (int64_t)ENDS_WITHIN_MS * slowness())) {
        world_wrong(caller->world, "%s %s does not end", arguments[0], arguments[1]);
        (void)process_stop(&process, SIGKILL, ENDS_WITHIN_MS);
    }
    return process_code(&process);
}

static void complain(struct caller *caller, const char *what, const char *name, int code)
{
    size_t size;
    char *text = process_read(caller->folder, "error", &size);
    world_wrong(caller->world, "caller %u: %s %s ends with %d: %.300s", caller->number, what, name, code,
                text);
    free(text);
}

/* ---- uploads ---- */

static void add_may(struct caller *caller, unsigned slot, const struct may *may)
{
    if (caller->may_count[slot] < CALLER_MAY)
        caller->may[slot][caller->may_count[slot]++] = *may;
}

static bool may_hold(const struct caller *caller, unsigned slot, const struct may *now)
{
    for (unsigned i = 0; i < caller->may_count[slot]; i++) {
        const struct may *may = &caller->may[slot][i];
        if (may->there == now->there &&
            (!may->there ||
             (may->size == now->size && memcmp(&may->digest, &now->digest, sizeof may->digest) == 0)))
            return true;
    }
    return false;
}

static bool is_sure(const struct caller *caller, unsigned slot)
{
    return caller->may_count[slot] == 1;
}

/* A process that writes these bytes into a pipe: its reading end. */
static int pipe_of(const uint8_t *bytes, size_t size, pid_t *feeder)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        abort();
    *feeder = fork();
    if (*feeder == 0) {
        close(ends[0]);
        signal(SIGPIPE, SIG_DFL);
        for (size_t done = 0; done < size;) {
            ssize_t put = write(ends[1], bytes + done, size - done);
            if (put <= 0)
                _exit(1);
            done += (size_t)put;
        }
        _exit(0);
    }
    close(ends[1]);
    return ends[0];
}

static int put_file(struct caller *caller, const char *as, const uint8_t *bytes, size_t size)
{
    char path[192];
    snprintf(path, sizeof path, "%s/content", caller->folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size)
        abort();
    close(fd);
    const char *arguments[] = {"put", "content", as, "--replace", NULL};
    return run(caller, arguments, -1);
}

static int put_pipe(struct caller *caller, const char *as, const uint8_t *bytes, size_t size)
{
    pid_t feeder;
    int fd = pipe_of(bytes, size, &feeder);
    const char *arguments[] = {"put", "-", as, "--replace", NULL};
    int code = run(caller, arguments, fd);
    close(fd);
    waitpid(feeder, NULL, 0);
    return code;
}

static void put(struct caller *caller, unsigned slot)
{
    char name[32], as[48];
    name_of(caller, slot, name);
    snprintf(as, sizeof as, "--as=%s", name);
    bool large = dice_throw(&caller->dice, 3) == 0;
    size_t size = large ? LARGE_MIN + dice_throw(&caller->dice, LARGE_MAX - LARGE_MIN)
                        : 16 + dice_throw(&caller->dice, SMALL_MAX);
    uint8_t *bytes = pattern_bytes(size, 3000000000U + caller->number * 10000000 + ++caller->serial);
    struct may may = {.there = true, .size = size, .digest = digest_of(bytes, size)};
    int code = dice_throw(&caller->dice, 3) == 0 ? put_pipe(caller, as, bytes, size)
                                                 : put_file(caller, as, bytes, size);
    free(bytes);
    if (code == EXIT_ROOM && caller->world->disk_fails) {
        caller->world->refusals++;
    } else if (code == KILLED) {
        caller->world->doubts++;
        add_may(caller, slot, &may);
    } else if (code != 0) {
        complain(caller, "put", name, code);
    } else {
        caller->world->acts++;
        caller->bytes += size;
        /* A killed one of before may still come after this one. */
        if (is_sure(caller, slot))
            caller->may_count[slot] = 0;
        add_may(caller, slot, &may);
    }
}

static void drop(struct caller *caller, unsigned slot)
{
    char name[32];
    name_of(caller, slot, name);
    const char *arguments[] = {"rm", name, NULL};
    int code = run(caller, arguments, -1);
    struct may nothing = {.there = false};
    if (code == EXIT_ROOM && caller->world->disk_fails) {
        caller->world->refusals++;
    } else if (code == KILLED) {
        caller->world->doubts++;
        add_may(caller, slot, &nothing);
    } else if (code == EXIT_ABSENT ? !may_hold(caller, slot, &nothing) : code != 0) {
        complain(caller, "rm", name, code);
    } else {
        caller->world->acts += code == 0;
        if (is_sure(caller, slot))
            caller->may_count[slot] = 0;
        add_may(caller, slot, &nothing);
    }
}

/* ---- downloads ---- */

/* Also of one that was killed: what stands under the file's own name is whole. */
static void get(struct caller *caller, unsigned slot)
{
    char name[32], path[192];
    name_of(caller, slot, name);
    const char *arguments[] = {"get", name, "-o", "got", "--replace", NULL};
    int code = run(caller, arguments, -1);
    snprintf(path, sizeof path, "%s/got", caller->folder);
    struct may now = {.there = access(path, F_OK) == 0};
    size_t size = 0;
    char *bytes = process_read(caller->folder, "got", &size);
    now.size = size;
    now.digest = digest_of(bytes, size);
    free(bytes);
    if (code != 0 && code != EXIT_ABSENT && code != KILLED)
        complain(caller, "get", name, code);
    else if (code == 0 ? !now.there : code == EXIT_ABSENT && now.there)
        world_wrong(caller->world, "caller %u: get %s ends with %d", caller->number, name, code);
    else if (!(code == KILLED && !now.there) && !may_hold(caller, slot, &now))
        world_wrong(caller->world, "caller %u: get %s brings %s", caller->number, name,
                    now.there ? "what nobody put there" : "nothing");
    caller->bytes += size;
}

/* ---- waits, and looking around ---- */

static void bring(struct caller *caller, const char *name, size_t size, unsigned serial)
{
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    enum fileshare_status status;
    do
        status = world_put(caller->world, caller->session, name, size, serial, false, &entry, &error);
    while (world_refused(caller->world, status));
    caller->world->acts++;
    if (status != FILESHARE_OK)
        world_wrong(caller->world, "caller %u: put of %s: %s", caller->number, name, error.text);
}

static void take_away(struct caller *caller, const char *name)
{
    struct fileshare_error error = {0};
    enum fileshare_status status;
    do
        status = fileshare_remove(caller->session, name, NULL, &error);
    while (world_refused(caller->world, status));
    caller->world->acts++;
    if (status != FILESHARE_OK)
        world_wrong(caller->world, "caller %u: remove of %s: %s", caller->number, name, error.text);
}

struct bringing {
    struct caller *caller;
    const char *name;
    unsigned delay, serial;
    size_t size;
};

static void *bring_later(void *argument)
{
    struct bringing *bringing = argument;
    usleep(bringing->delay);
    bring(bringing->caller, bringing->name, bringing->size, bringing->serial);
    return NULL;
}

/* A name, or a glob that it matches; it arrives before, while or after the wait begins. */
static void await(struct caller *caller)
{
    char name[32], pattern[36], begin[48];
    pthread_t thread;
    bool glob = dice_throw(&caller->dice, 3) == 0;
    snprintf(name, sizeof name, "x%u.%u", caller->number, ++caller->serial);
    snprintf(pattern, sizeof pattern, "%s%s", name, glob ? "*" : "");
    snprintf(begin, sizeof begin, "arrived\t%s\t", name);
    struct bringing bringing = {
        .caller = caller,
        .name = name,
        .delay = dice_throw(&caller->dice, WAIT_DELAY_MS * 1000),
        .serial = 3000000000U + caller->number * 10000000 + caller->serial,
        .size = 1 + dice_throw(&caller->dice, SMALL_MAX),
    };
    const char *arguments[] = {"wait", pattern, "--timeout=140s", NULL};
    if (pthread_create(&thread, NULL, bring_later, &bringing) != 0)
        abort();
    int code = run(caller, arguments, -1);
    pthread_join(thread, NULL);
    size_t size;
    char *text = process_read(caller->folder, "out", &size);
    if (code == EXIT_ROOM && caller->world->disk_fails)
        caller->world->refusals++;
    else if (code != 0 && code != KILLED)
        complain(caller, "wait", pattern, code);
    else if (code == 0 && (strncmp(text, begin, strlen(begin)) != 0 || strchr(text, '\n') != text + size - 1))
        world_wrong(caller->world, "caller %u: wait %s prints: %.200s", caller->number, pattern, text);
    caller->world->events += code == 0;
    free(text);
    take_away(caller, name);
}

static void look(struct caller *caller)
{
    static const char *const commands[][3] = {{"ls", NULL},
                                              {"ls", "c*/**", NULL},
                                              {"interests", NULL},
                                              {"ping", NULL},
                                              {"status", NULL}};
    const char *const *arguments = commands[dice_throw(&caller->dice, 5)];
    int code = run(caller, arguments, -1);
    bool none = code == EXIT_ABSENT && arguments[1]; /* nothing matches */
    if (code != 0 && code != KILLED && !none)
        complain(caller, arguments[0], "", code);
}

/* ---- life ---- */

static void act(struct caller *caller)
{
    unsigned slot = dice_throw(&caller->dice, CALLER_NAMES), kind = dice_throw(&caller->dice, 10);
    /* No room to note down what another one may leave behind: looking, then. */
    switch (caller->may_count[slot] == CALLER_MAY ? 4 : kind) {
    case 0: drop(caller, slot); break;
    case 1: look(caller); break;
    case 2:
    case 3: await(caller); break;
    case 4:
    case 5: get(caller, slot); break;
    default: put(caller, slot);
    }
    clean(caller);
}

static void *caller_run(void *argument)
{
    struct caller *caller = argument;
    while (world_enter(caller->world)) {
        act(caller);
        world_leave(caller->world);
        usleep(dice_throw(&caller->dice, 20000));
    }
    return NULL;
}

void caller_begin(struct caller *caller, struct world *world, unsigned number, const char *relayed)
{
    char who[32];
    snprintf(who, sizeof who, "caller%u", number);
    *caller = (struct caller){.world = world, .number = number, .dice = dice_of(world->seed, 400 + number)};
    snprintf(caller->folder, sizeof caller->folder, "%s/%s.home", world->server.folder, who);
    snprintf(caller->relayed, sizeof caller->relayed, "%s", relayed);
    for (unsigned slot = 0; slot < CALLER_NAMES; slot++)
        caller->may_count[slot] = 1;
    caller->session = world_session(world, who, 120);
    if (mkdir(caller->folder, 0700) != 0 || !caller->session ||
        pthread_create(&caller->thread, NULL, caller_run, caller) != 0)
        abort();
}

void caller_end(struct caller *caller)
{
    pthread_join(caller->thread, NULL);
    fileshare_close(caller->session);
}

void caller_audit(struct caller *caller, struct fileshare *session)
{
    for (unsigned slot = 0; slot < CALLER_NAMES; slot++) {
        struct fileshare_entry entry;
        struct fileshare_error error = {0};
        char name[32];
        name_of(caller, slot, name);
        enum fileshare_status status = fileshare_stat(session, name, &entry, &error);
        struct may now = {.there = status == FILESHARE_OK};
        if (status == FILESHARE_OK) {
            now.size = entry.size;
            memcpy(&now.digest, entry.digest, sizeof now.digest);
            world_get(caller->world, session, &entry);
        } else if (status != FILESHARE_ABSENT) {
            world_wrong(caller->world, "no answer about %s: %s", name, error.text);
            continue;
        }
        if (!may_hold(caller, slot, &now))
            world_wrong(caller->world, "%s is %s after %u uploads", name,
                        now.there ? "what nobody put there" : "lost", caller->may_count[slot]);
        caller->may[slot][0] = now;
        caller->may_count[slot] = 1;
    }
}
