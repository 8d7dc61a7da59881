/* Lines out of a descriptor, whole whatever way they come; a signal interrupts, and loses nothing. */
#include "client/cli/interrupt.h"
#include "client/cli/lines.h"
#include "place.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int make_pipe(int out[2])
{
    assert_int_equal(pipe(out), 0);
    return 0;
}

static void send_bytes(int fd, const char *bytes, size_t count)
{
    assert_int_equal(write(fd, bytes, count), (ssize_t)count);
}

static void want_line(struct lines *lines, const char *wanted)
{
    const char *line = NULL;
    struct failure why = {.text = ""};
    assert_int_equal(lines_next(lines, &line, &why), OUTCOME_OK);
    assert_string_equal(line, wanted);
}

static void want_outcome(struct lines *lines, enum outcome wanted)
{
    const char *line = NULL;
    struct failure why = {.text = ""};
    assert_int_equal(lines_next(lines, &line, &why), wanted);
    assert_null(line);
}

static void lines_come_whole(void **state)
{
    struct lines *lines = malloc(sizeof *lines);
    int fds[2];
    (void)state;
    make_pipe(fds);
    lines_init(lines, fds[0]);
    send_bytes(fds[1], "one\n\ntwo and ", 13);
    want_line(lines, "one");
    want_line(lines, "");
    send_bytes(fds[1], "more\nlast", 9);
    close(fds[1]);
    want_line(lines, "two and more");
    want_line(lines, "last");
    want_outcome(lines, OUTCOME_ABSENT);
    want_outcome(lines, OUTCOME_ABSENT);
    close(fds[0]);
    free(lines);
}

/* A line of `size` bytes with its newline, from a file. */
static void longest(size_t size, enum outcome wanted)
{
    struct lines *lines = malloc(sizeof *lines);
    char *text = malloc(size);
    int fd = place_file();
    assert_true(fd >= 0);
    memset(text, 'x', size);
    text[size - 1] = '\n';
    send_bytes(fd, text, size);
    send_bytes(fd, "next", 4);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    lines_init(lines, fd);
    if (wanted == OUTCOME_OK) {
        text[size - 1] = '\0';
        want_line(lines, text);
        want_line(lines, "next");
    } else
        want_outcome(lines, wanted);
    close(fd);
    free(text);
    free(lines);
}

static void a_line_has_a_bound(void **state)
{
    (void)state;
    longest(LINES_MAX, OUTCOME_OK);
    longest(LINES_MAX + 1, OUTCOME_LIMIT);
}

static void a_nul_is_refused(void **state)
{
    struct lines *lines = malloc(sizeof *lines);
    int fds[2];
    (void)state;
    make_pipe(fds);
    lines_init(lines, fds[0]);
    send_bytes(fds[1], "a\0b\nfine\n", 9);
    want_outcome(lines, OUTCOME_INVALID);
    want_line(lines, "fine");
    close(fds[0]);
    close(fds[1]);
    free(lines);
}

static void a_signal_interrupts(void **state)
{
    struct lines *lines = malloc(sizeof *lines);
    int fds[2];
    (void)state;
    make_pipe(fds);
    lines_init(lines, fds[0]);
    interrupt_hold(true);
    send_bytes(fds[1], "half", 4);
    raise(SIGINT);
    want_outcome(lines, OUTCOME_STOPPED);
    assert_int_equal(interrupt_noted(), SIGINT);
    assert_int_equal(interrupt_code(), 130);
    assert_int_equal(interrupt_take(), SIGINT);
    assert_int_equal(interrupt_take(), 0);
    send_bytes(fds[1], " and half\n", 10);
    want_line(lines, "half and half");
    raise(SIGTERM);
    assert_int_equal(interrupt_code(), 143);
    assert_int_equal(interrupt_take(), SIGTERM);
    interrupt_hold(false);
    close(fds[0]);
    close(fds[1]);
    free(lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_whole),
        cmocka_unit_test(a_line_has_a_bound),
        cmocka_unit_test(a_nul_is_refused),
        cmocka_unit_test(a_signal_interrupts),
    };
    interrupt_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
