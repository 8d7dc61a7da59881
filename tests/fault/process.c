#include "fault/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 30, LOOK_US = 2000 };

/* Between fork and exec of a program with threads: system calls alone. */
static void become(const char *folder, const char *const *arguments, const char *const *environment,
                   int input)
{
    int in = input >= 0 ? input : open("/dev/null", O_RDONLY);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    if (chdir(folder) != 0)
        _exit(126);
    int out = open("out", O_WRONLY | O_CREAT | O_APPEND, 0600);
    int error = open("error", O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(in, 0);
    dup2(out, 1);
    dup2(error, 2);
    close_range(3, ~0U, 0);
    execve(arguments[0], (char *const *)(uintptr_t)arguments, (char *const *)(uintptr_t)environment);
    _exit(127);
}

void process_start(struct process *process, const char *folder, const char *const *arguments, int input)
{
    char program[512], home[160], state[160], path[512];
    const char *build = getenv("FILESHARE_BUILD"), *search = getenv("PATH");
    const char *all[ARGUMENTS_MAX + 2] = {program};
    snprintf(program, sizeof program, "%s/fileshare-client", build ? build : ".");
    snprintf(home, sizeof home, "HOME=%s", folder);
    snprintf(state, sizeof state, "XDG_STATE_HOME=%s/state", folder);
    snprintf(path, sizeof path, "PATH=%s", search ? search : "/usr/bin:/bin");
    const char *environment[] = {home, state, path, "LC_ALL=C", NULL};
    for (size_t i = 0; arguments[i] && i < ARGUMENTS_MAX; i++)
        all[i + 1] = arguments[i];
    process->pid = fork_afresh();
    if (process->pid == 0)
        become(folder, all, environment, input);
    if (process->pid < 0)
        abort();
}

bool process_ended(struct process *process, int64_t ms)
{
    int64_t until = milliseconds() + ms;
    while (process->pid != 0) {
        if (waitpid(process->pid, &process->status, WNOHANG) == process->pid)
            process->pid = 0;
        else if (milliseconds() >= until)
            return false;
        else
            usleep(LOOK_US);
    }
    return true;
}

bool process_stop(struct process *process, int signal, int64_t ms)
{
    if (process->pid == 0)
        return true;
    kill(process->pid, signal);
    kill(process->pid, SIGCONT);
    if (process_ended(process, ms))
        return true;
    kill(process->pid, SIGKILL);
    (void)process_ended(process, ms);
    return false;
}

int process_code(const struct process *process)
{
    return WIFEXITED(process->status) ? WEXITSTATUS(process->status) : 256 + WTERMSIG(process->status);
}

char *process_read(const char *folder, const char *leaf, size_t *size)
{
    char path[256];
    struct stat about;
    snprintf(path, sizeof path, "%s/%s", folder, leaf);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t room = fd >= 0 && fstat(fd, &about) == 0 ? (size_t)about.st_size : 0, held = 0;
    char *text = malloc(room + 1);
    if (!text)
        abort();
    while (held < room) {
        ssize_t got = read(fd, text + held, room - held);
        if (got <= 0)
            break;
        held += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    text[held] = '\0';
    *size = held;
    return text;
}
