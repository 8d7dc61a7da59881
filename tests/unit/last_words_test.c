/* What ends a process that does not come to its end: whether anybody reads its words or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/last_words.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CODE = 42 };

/* A process that says them into the pipe: how it ended. */
static int say(int pipe_in, const char *text)
{
    int status = 0;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGALRM, SIG_DFL);
        dup2(pipe_in, STDERR_FILENO);
        last_words(text, CODE);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_said(void **state)
{
    (void)state;
    int ends[2];
    char said[64] = "";
    assert_int_equal(pipe(ends), 0);
    int status = say(ends[1], "ended as it is\n");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CODE);
    assert_int_equal(read(ends[0], said, sizeof said - 1), strlen("ended as it is\n"));
    assert_string_equal(said, "ended as it is\n");
    close(ends[0]);
    close(ends[1]);
}

static void test_nobody_is_there(void **state)
{
    (void)state;
    int nowhere = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(nowhere >= 0);
    int status = say(nowhere, "ended as it is\n");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), CODE);
    close(nowhere);
}

static void test_nobody_reads(void **state)
{
    (void)state;
    static const char much[4096];
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    int flags = fcntl(ends[1], F_GETFL);
    assert_int_equal(fcntl(ends[1], F_SETFL, flags | O_NONBLOCK), 0);
    while (write(ends[1], much, sizeof much) > 0) {
        /* until it is full */
    }
    assert_int_equal(fcntl(ends[1], F_SETFL, flags), 0);
    int status = say(ends[1], "ended as it is\n");
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGALRM);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_said),
        cmocka_unit_test(test_nobody_is_there),
        cmocka_unit_test(test_nobody_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
