#include "fault/program.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { END_MS = 20000 };

static void run(const struct program_plan *plan, int in)
{
    char path[512], log[512];
    const char *build = getenv("FILESHARE_BUILD");
    const char *words[PROGRAM_WORDS + 8] = {path, "-s", plan->server, "--no-rpcbind", "--retry-for", "60"};
    size_t count = 6;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(path, sizeof path, "%s/fileshare-client", build ? build : ".");
    snprintf(log, sizeof log, "%s.log", plan->out);
    for (size_t i = 0; i < PROGRAM_WORDS && plan->words[i]; i++)
        words[count++] = plan->words[i];
    int out = open(plan->out, O_WRONLY | O_CREAT | O_APPEND, 0600);
    int errors = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(in, 0);
    dup2(out, 1);
    dup2(errors, 2);
    setenv("XDG_STATE_HOME", plan->state, 1);
    setenv("LC_ALL", "C", 1);
    if (plan->crash)
        setenv("FILESHARE_CRASH_AT", plan->crash, 1);
    execv(path, (char *const *)(uintptr_t)words);
    perror(path);
    _exit(127);
}

void program_start(struct program *program, const struct program_plan *plan)
{
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    *program = (struct program){.pid = fork_afresh(), .in = pipes[1]};
    if (program->pid == 0)
        run(plan, pipes[0]);
    assert_true(program->pid > 0);
    close(pipes[0]);
}

bool program_ends(struct program *program, int64_t limit_ms)
{
    int64_t until = milliseconds() + limit_ms;
    pid_t pid;
    while ((pid = waitpid(program->pid, &program->status, WNOHANG)) == 0) {
        if (milliseconds() > until)
            return false;
        usleep(2000);
    }
    assert_int_equal(pid, program->pid);
    close(program->in);
    *program = (struct program){.in = -1, .status = program->status};
    return true;
}

void program_freeze(const struct program *program)
{
    int status = 0;
    kill(program->pid, SIGSTOP);
    assert_int_equal(waitpid(program->pid, &status, WUNTRACED), program->pid);
    assert_true(WIFSTOPPED(status));
}

int program_end(struct program *program, int signal)
{
    pid_t pid = program->pid;
    kill(pid, signal);
    if (!program_ends(program, (int64_t)END_MS * slowness())) {
        kill(pid, SIGKILL);
        fail_msg("the client does not end");
    }
    return program->status;
}

bool program_said(const char *path, const char *words)
{
    char line[4096];
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof line, file))
        found = strstr(line, words) != NULL;
    if (file)
        fclose(file);
    return found;
}

size_t program_lines(const char *out, struct program_line *lines, size_t room)
{
    char text[4096];
    size_t count = 0;
    FILE *file = fopen(out, "re");
    while (file && count < room && fgets(text, sizeof text, file)) {
        struct program_line *line = &lines[count];
        *line = (struct program_line){0};
        if (strchr(text, '\n') &&
            sscanf(text, "%lu\t%15[^\t]\t%63[^\t]\t", &line->number, line->kind, line->name) == 3)
            count++;
    }
    if (file)
        fclose(file);
    return count;
}
