/*
 * Backups of a server under uploads, replaces, removes, renames, interests and
 * waits, while it is killed, and the backups are, at random moments: each copy
 * that is there is a whole store, and sound; the server's clients miss nothing.
 */
#include "fault/cast.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    QUICK_SECONDS = 8,
    PATH_ROOM = 128,
    KILL_MS = 120,
    TAKES_MS = 200000 /* on a machine with much else to do */
};

static struct cast cast;
static unsigned made, broken, littered;

/* fileshared WORDS..., its words into the server's log. */
static pid_t run(const char *const *words)
{
    char program[512], log[PATH_ROOM];
    const char *build = getenv("FILESHARE_BUILD");
    snprintf(program, sizeof program, "%s/fileshared", build ? build : ".");
    snprintf(log, sizeof log, "%s/log", cast.world.server.folder);
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    execv(program, (char *const *)(uintptr_t)words);
    _exit(127);
}

static int ended(pid_t pid)
{
    int status = 0;
    int64_t until = milliseconds() + (int64_t)TAKES_MS * slowness();
    while (waitpid(pid, &status, WNOHANG) == 0) {
        assert_true(milliseconds() < until);
        usleep(2000);
    }
    return status;
}

static int remove_one(const char *path, const struct stat *status, int flag, struct FTW *walk)
{
    (void)status;
    (void)flag;
    (void)walk;
    return remove(path);
}

/* The copy, and what backups left that were killed. */
static unsigned remove_copies(void)
{
    unsigned count = 0;
    DIR *folder = opendir(cast.world.server.folder);
    assert_non_null(folder);
    for (struct dirent *at = readdir(folder); at; at = readdir(folder)) {
        char path[PATH_ROOM + 64];
        if (strncmp(at->d_name, "copy", 4) != 0)
            continue;
        snprintf(path, sizeof path, "%s/%.60s", cast.world.server.folder, at->d_name);
        nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
        count++;
    }
    closedir(folder);
    return count;
}

static void expect_sound(const char *copy)
{
    const char *const words[] = {"fileshared", "fsck", "--deep", "--store", copy, NULL};
    int status = ended(run(words));
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        world_wrong(&cast.world, "the backup is not sound: status %x", (unsigned)status);
}

/* One backup; perhaps it is killed, perhaps the server is. */
static void back_up(void)
{
    char store[PATH_ROOM], copy[PATH_ROOM];
    snprintf(store, sizeof store, "%s/store", cast.world.server.folder);
    snprintf(copy, sizeof copy, "%s/copy", cast.world.server.folder);
    bool copies = dice_throw(&cast.dice, 4) == 0, dies = dice_throw(&cast.dice, 4) == 0;
    const char *const words[] = {"fileshared", "backup", "--store", store, copy, copies ? "--copy" : NULL,
                                 NULL};
    pid_t pid = run(words);
    if (dice_throw(&cast.dice, 3) == 0) {
        usleep(dice_throw(&cast.dice, KILL_MS * 1000));
        cast_kill(&cast);
        daemon_start(&cast.world.server);
    }
    if (dies) {
        usleep(dice_throw(&cast.dice, KILL_MS * 1000));
        kill(pid, SIGKILL);
    }
    int status = ended(pid);
    bool whole = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!whole && !dies)
        world_wrong(&cast.world, "the backup failed: status %x", (unsigned)status);
    if (whole || access(copy, F_OK) == 0) {
        expect_sound(copy);
        made++;
    } else {
        broken++;
    }
    littered += remove_copies() > 1; /* a whole one and a part of it */
}

static void test_backups_under_load(void **state)
{
    (void)state;
    cast_begin(&cast);
    int64_t until = milliseconds() + (int64_t)world_seconds(QUICK_SECONDS) * 1000;
    for (unsigned round = 1; (milliseconds() < until || made == 0) && cast.world.wrong == 0; round++) {
        back_up();
        if (round % 5 == 0)
            cast_audit(&cast, CAST_FILES);
    }
    print_message("%u backups, %u killed before they were there\n", made, broken);
    assert_int_equal(littered, 0);
    if (cast.world.kills == 0)
        cast_kill(&cast);
    cast_end(&cast);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_backups_under_load)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
