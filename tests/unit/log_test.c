/*
 * Lines as they reach standard error, from one thread and from many; and the
 * limiter, with the time handed to it.
 */
#include "base/clock.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What is written to standard error between `begin` and `end`, which returns it: yours (free). */
struct capture {
    FILE *file;
    int before;
};

static struct capture begin(void)
{
    struct capture capture = { .file = tmpfile(), .before = dup(STDERR_FILENO) };
    assert_non_null(capture.file);
    assert_true(capture.before >= 0);
    assert_true(dup2(fileno(capture.file), STDERR_FILENO) >= 0);
    return capture;
}

static char *end(struct capture *capture)
{
    dup2(capture->before, STDERR_FILENO);
    close(capture->before);
    off_t size = lseek(fileno(capture->file), 0, SEEK_END);
    char *text = calloc(1, (size_t)size + 1);
    if (!text || pread(fileno(capture->file), text, (size_t)size, 0) != size)
        abort();
    fclose(capture->file);
    return text;
}

static void wrote(struct capture *capture, const char *expected)
{
    char *text = end(capture);
    assert_string_equal(text, expected);
    free(text);
}

static void test_lines(void **state)
{
    (void)state;
    struct capture capture = begin();
    log_notice("before %s", "log_open");
    log_info("below the threshold");
    wrote(&capture, "fileshare: notice: before log_open\n");

    log_open("fileshared", LOG_SINK_STDERR, LOG_LEVEL_DEBUG);
    capture = begin();
    log_error("%d", 1);
    log_warning("%d", 2);
    log_notice("%d", 3);
    log_info("%d", 4);
    log_debug("%d", 5);
    wrote(&capture, "fileshared: error: 1\nfileshared: warning: 2\nfileshared: notice: 3\nfileshared: info: 4\n"
                    "fileshared: debug: 5\n");

    log_open("fileshared", LOG_SINK_JOURNAL, LOG_LEVEL_INFO);
    capture = begin();
    log_error("%d", 1);
    log_info("%d", 4);
    log_debug("%d", 5);
    wrote(&capture, "<3>1\n<6>4\n");
}

static void test_the_threshold(void **state)
{
    (void)state;
    log_open("p", LOG_SINK_STDERR, LOG_LEVEL_WARNING);
    assert_true(log_enabled(LOG_LEVEL_ERROR));
    assert_true(log_enabled(LOG_LEVEL_WARNING));
    assert_false(log_enabled(LOG_LEVEL_NOTICE));
    log_set_threshold(LOG_LEVEL_NOTICE);
    assert_true(log_enabled(LOG_LEVEL_NOTICE));
    assert_false(log_enabled(LOG_LEVEL_INFO));
}

static void test_a_line_stays_one_line(void **state)
{
    (void)state;
    log_open("p", LOG_SINK_STDERR, LOG_LEVEL_NOTICE);
    struct capture capture = begin();
    errno = EADDRINUSE;
    log_notice("a\nb\rc\x1b[2Jd\x7f");
    assert_int_equal(errno, EADDRINUSE);
    wrote(&capture, "p: notice: a b c [2Jd \n");
}

static void cut_at(size_t size, size_t expected, const char *last)
{
    char *text = malloc(size + 1);
    assert_non_null(text);
    memset(text, 'x', size);
    text[size] = '\0';
    struct capture capture = begin();
    log_notice("%s", text);
    free(text);
    char *line = end(&capture);
    assert_int_equal(strlen(line), expected);
    assert_string_equal(line + expected - strlen(last), last);
    free(line);
}

static void test_long_lines_are_cut(void **state)
{
    (void)state;
    log_open("p", LOG_SINK_STDERR, LOG_LEVEL_NOTICE);
    size_t head = strlen("p: notice: ");
    cut_at(4094 - head, 4095, "xxxx\n"); /* the longest that fits */
    cut_at(4095 - head, 4095, "x...\n");
    cut_at(100000, 4095, "x...\n");
}

static void test_syslog_keeps_off_standard_error(void **state)
{
    (void)state;
    log_open("fileshare-log-test", LOG_SINK_SYSLOG, LOG_LEVEL_DEBUG);
    struct capture capture = begin();
    log_debug("a line of a test");
    wrote(&capture, "");
    log_open("p", LOG_SINK_STDERR, LOG_LEVEL_NOTICE);
    capture = begin();
    log_notice("back");
    wrote(&capture, "p: notice: back\n");
}

enum { WRITERS = 4, LINES = 200 };

static void *write_lines(void *letter)
{
    char text[101];
    memset(text, *(const char *)letter, 100);
    text[100] = '\0';
    for (int i = 0; i < LINES; i++)
        log_notice("%s", text);
    return NULL;
}

static void test_lines_of_many_threads_stay_apart(void **state)
{
    (void)state;
    static char letters[] = "abcd";
    log_open("p", LOG_SINK_STDERR, LOG_LEVEL_NOTICE);
    struct capture capture = begin();
    pthread_t threads[WRITERS];
    int started = 0;
    for (; started < WRITERS; started++) {
        if (pthread_create(&threads[started], NULL, write_lines, &letters[started]) != 0)
            break;
    }
    for (int i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    char *text = end(&capture);
    assert_int_equal(started, WRITERS);
    int lines[WRITERS] = { 0 };
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL && *line;) {
        assert_int_equal(strlen(line), strlen("p: notice: ") + 100);
        char letter = line[strlen("p: notice: ")];
        assert_int_equal(strspn(line + strlen("p: notice: "), (char[]){ letter, '\0' }), 100);
        lines[letter - 'a']++;
    }
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(lines[i], LINES);
    free(text);
}

static int64_t at(double seconds)
{
    return (int64_t)(seconds * CLOCK_SECOND);
}

static void test_the_limiter_counts_by_the_minute(void **state)
{
    (void)state;
    struct log_limit limit = { 0 };
    unsigned left_out = 99;
    for (int i = 0; i < 3; i++) {
        assert_true(log_limit_take(&limit, 3, at(0.5), &left_out));
        assert_int_equal(left_out, 0);
    }
    assert_false(log_limit_take(&limit, 3, at(1), &left_out));
    assert_false(log_limit_take(&limit, 3, at(59.9), &left_out));
    assert_true(log_limit_take(&limit, 3, at(60), &left_out)); /* a new minute says what the last left out */
    assert_int_equal(left_out, 2);
    assert_true(log_limit_take(&limit, 3, at(61), &left_out));
    assert_int_equal(left_out, 0);
    assert_true(log_limit_take(&limit, 3, at(62), &left_out));
    assert_false(log_limit_take(&limit, 3, at(119), &left_out));
    assert_true(log_limit_take(&limit, 3, at(1e9), &left_out)); /* thirty years on */
    assert_int_equal(left_out, 1);

    struct log_limit never = { 0 };
    assert_false(log_limit_take(&never, 0, at(5), &left_out));
    assert_false(log_limit_take(&never, 0, at(500), &left_out));
}

struct race {
    struct log_limit limit;
    _Atomic int allowed;
};

static void *take_many(void *race_of_all)
{
    struct race *race = race_of_all;
    unsigned left_out;
    for (int i = 0; i < 1000; i++)
        race->allowed += log_limit_take(&race->limit, 50, at(7), &left_out);
    return NULL;
}

static void test_the_limiter_is_exact_over_threads(void **state)
{
    (void)state;
    struct race race = { .allowed = 0 };
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &race), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(race.allowed, 50);
    unsigned left_out = 0;
    assert_true(log_limit_take(&race.limit, 50, at(70), &left_out));
    assert_int_equal(left_out, WRITERS * 1000 - 50);
}

static void test_the_limiter_on_the_real_clock(void **state)
{
    (void)state;
    static struct log_limit limit;
    int allowed = 0;
    for (int i = 0; i < 100; i++)
        allowed += log_allowed(&limit, 5);
    assert_true(allowed == 5 || allowed == 10); /* ten if a minute ended in between */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines), /* first: it looks at a log that was never opened */
        cmocka_unit_test(test_the_threshold),
        cmocka_unit_test(test_a_line_stays_one_line),
        cmocka_unit_test(test_long_lines_are_cut),
        cmocka_unit_test(test_syslog_keeps_off_standard_error),
        cmocka_unit_test(test_lines_of_many_threads_stay_apart),
        cmocka_unit_test(test_the_limiter_counts_by_the_minute),
        cmocka_unit_test(test_the_limiter_is_exact_over_threads),
        cmocka_unit_test(test_the_limiter_on_the_real_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
