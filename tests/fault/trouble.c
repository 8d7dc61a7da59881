#include "fault/trouble.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    START_MS = 60, /* a kill while it starts comes within this */
    CRASH_WITHIN_MS = 1500,
    FREEZE_MS = 700,
    DISK_CALLS = 60, /* the one that fails is one of so many */
    DISK_CALLS_MS = 60,
    DISK_SPELL_MS = 400,
    PARTITION_MS = 900,
    RPCBIND_AWAY_MS = 300,
    LOOK_US = 2000,
};

/* ---- the server ---- */

static void launch(struct trouble *trouble, const char *crash)
{
    const char *environment[] = {NULL, NULL, NULL, NULL};
    size_t count = 0;
    struct daemon *server = &trouble->world->server;
    if (trouble->shim) {
        environment[count++] = trouble->preload;
        environment[count++] = trouble->shared;
    }
    if (crash)
        environment[count++] = crash;
    server->environment = environment;
    trouble->starts++;
    daemon_launch(server);
    server->environment = NULL;
}

void trouble_start_server(struct trouble *trouble)
{
    launch(trouble, NULL);
    if (!daemon_await(&trouble->world->server)) {
        daemon_show_log(&trouble->world->server);
        fail_msg("fileshared did not start");
    }
}

void trouble_stop_server(struct trouble *trouble)
{
    daemon_stop(&trouble->world->server, SIGTERM); /* which fails the test unless it ends well */
    trouble->ends++;
}

static void kill_server(struct trouble *trouble)
{
    daemon_stop(&trouble->world->server, SIGKILL);
    trouble->world->kills++;
}

static void kill_and_start(struct trouble *trouble)
{
    kill_server(trouble);
    while (dice_throw(&trouble->dice, 4) == 0) {
        launch(trouble, NULL);
        usleep(dice_throw(&trouble->dice, START_MS * 1000));
        kill_server(trouble);
    }
    trouble_start_server(trouble);
}

/* Perhaps it does not come by that place: then it is killed wherever it is. */
static void crash_and_start(struct trouble *trouble)
{
    char setting[128];
    struct daemon *server = &trouble->world->server;
    if (trouble->places.count == 0) {
        kill_and_start(trouble);
        return;
    }
    const char *name = trouble->places.names[dice_throw(&trouble->dice, trouble->places.count)];
    kill_server(trouble);
    snprintf(setting, sizeof setting, "FILESHARE_CRASH_AT=%s:%u", name, 1 + dice_throw(&trouble->dice, 8));
    launch(trouble, setting);
    int64_t until = milliseconds() + CRASH_WITHIN_MS;
    pid_t dead = 0;
    while (dead == 0 && milliseconds() < until) {
        usleep(LOOK_US);
        dead = waitpid(server->pid, &server->status, WNOHANG);
    }
    if (dead == 0) {
        kill_server(trouble);
        trouble->passed_crashes++;
    } else {
        server->pid = 0;
        trouble->crashes++;
        trouble->world->kills++;
        if (!WIFSIGNALED(server->status) || WTERMSIG(server->status) != SIGKILL)
            world_wrong(trouble->world, "at %s the server ended with status %x", name,
                        (unsigned)server->status);
    }
    trouble_start_server(trouble);
}

static void stop_and_start(struct trouble *trouble)
{
    trouble_stop_server(trouble);
    trouble_start_server(trouble);
}

/* On a disk that fails it either starts or says why not; it does not hang, nor die of a signal. */
static void start_in_vain(struct trouble *trouble)
{
    static const int errors[] = {ENOSPC, EIO, EROFS};
    struct daemon *server = &trouble->world->server;
    if (!trouble->shim) {
        stop_and_start(trouble);
        return;
    }
    kill_server(trouble);
    trouble->world->disk_fails = true;
    trouble->shim->error = errors[dice_throw(&trouble->dice, 3)];
    trouble->shim->left = (int)(1 + dice_throw(&trouble->dice, 20));
    launch(trouble, NULL);
    if (daemon_await(server))
        kill_server(trouble);
    else if (!WIFEXITED(server->status))
        world_wrong(trouble->world, "on a failing disk the server ended with status %x",
                    (unsigned)server->status);
    trouble->vain_starts++;
    trouble->shim->left = 0;
    trouble_start_server(trouble);
}

/* ---- what it lives through ---- */

static void freeze(struct trouble *trouble)
{
    daemon_freeze(&trouble->world->server);
    usleep(dice_throw(&trouble->dice, FREEZE_MS * 1000));
    kill(trouble->world->server.pid, SIGCONT);
    trouble->freezes++;
}

/*
 * What was begun while the disk failed may be answered a little later: acts are under way until then, and a
 * refusal of one of them is no wonder. So disk_fails stays set until all is quiet (trouble_end_all).
 */
static void fail_disk(struct trouble *trouble)
{
    static const int errors[] = {ENOSPC, EIO, EROFS};
    struct shim *shim = trouble->shim;
    if (!shim) {
        freeze(trouble);
        return;
    }
    trouble->world->disk_fails = true;
    shim->failed = 0;
    shim->error = errors[dice_throw(&trouble->dice, 2)];
    if (dice_throw(&trouble->dice, 3) == 0) {
        shim->error = errors[dice_throw(&trouble->dice, 3)];
        shim->lasting = 1;
        usleep(dice_throw(&trouble->dice, DISK_SPELL_MS * 1000));
        shim->lasting = 0;
        trouble->disk_spells++;
    } else {
        shim->left = (int)(1 + dice_throw(&trouble->dice, DISK_CALLS));
        usleep(DISK_CALLS_MS * 1000);
        shim->left = 0;
        trouble->disk_calls++;
    }
    trouble->disk_failed += shim->failed;
}

static void lose_rpcbind(struct trouble *trouble)
{
    if (!trouble->net.made)
        return;
    private_net_kill_rpcbind(&trouble->net);
    trouble->rpcbind_kills++;
    usleep(dice_throw(&trouble->dice, RPCBIND_AWAY_MS * 1000));
    private_net_start_rpcbind(&trouble->net);
}

static void part(struct trouble *trouble)
{
    if (!trouble->net.made)
        return;
    if (!private_net_link(&trouble->net, false))
        world_wrong(trouble->world, "loopback does not go down");
    usleep(dice_throw(&trouble->dice, PARTITION_MS * 1000));
    if (!private_net_link(&trouble->net, true))
        world_wrong(trouble->world, "loopback does not come up");
    trouble->partitions++;
}

static void cut(struct trouble *trouble)
{
    relay_cut_all(trouble->relay);
    trouble->cuts++;
}

void trouble_make(struct trouble *trouble, unsigned kinds)
{
    static const struct {
        unsigned kind, weight;
        void (*make)(struct trouble *trouble);
    } all[] = {
        {TROUBLE_DEATHS, 10, kill_and_start},
        {TROUBLE_DEATHS, 6, crash_and_start},
        {TROUBLE_DEATHS, 3, stop_and_start},
        {TROUBLE_DEATHS, 2, start_in_vain},
        {TROUBLE_OTHERS, 2, freeze},
        {TROUBLE_OTHERS, 6, fail_disk},
        {TROUBLE_OTHERS, 1, lose_rpcbind},
        {TROUBLE_OTHERS, 2, part},
        {TROUBLE_OTHERS, 3, cut},
    };
    unsigned sum = 0, at = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sum += all[i].kind & kinds ? all[i].weight : 0;
    unsigned chosen = dice_throw(&trouble->dice, sum);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        at += all[i].kind & kinds ? all[i].weight : 0;
        if (chosen < at) {
            all[i].make(trouble);
            return;
        }
    }
}

void trouble_end_all(struct trouble *trouble)
{
    relay_rough(trouble->relay, 0);
    trouble->world->disk_fails = false;
}

/* ---- life ---- */

static void prepare_shim(struct trouble *trouble)
{
    const char *build = getenv("FILESHARE_BUILD");
    char library[540];
    snprintf(library, sizeof library, "%s/tests/libfault_shim.so", build ? build : ".");
    /* Sanitizers want to be loaded first. */
    if (slowness() != 1 || access(library, R_OK) != 0)
        return;
    snprintf(trouble->shim_path, sizeof trouble->shim_path, "%s/shim", trouble->world->server.folder);
    int fd = open(trouble->shim_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, sizeof *trouble->shim), 0);
    trouble->shim = mmap(NULL, sizeof *trouble->shim, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(trouble->shim != MAP_FAILED);
    close(fd);
    snprintf(trouble->preload, sizeof trouble->preload, "LD_PRELOAD=%s", library);
    snprintf(trouble->shared, sizeof trouble->shared, "FILESHARE_SHIM=%s", trouble->shim_path);
}

void trouble_begin(struct trouble *trouble, struct world *world)
{
    *trouble = (struct trouble){.world = world, .dice = dice_of(world->seed, 600)};
    crash_places_list(&trouble->places, "fileshared");
    private_net_begin(&trouble->net);
    world->server.rpcbind = trouble->net.made;
    prepare_shim(trouble);
}

void trouble_end(struct trouble *trouble)
{
    private_net_end(&trouble->net);
    if (trouble->shim)
        munmap(trouble->shim, sizeof *trouble->shim);
}
