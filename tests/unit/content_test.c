/* The bytes that are uploaded: of a file at any offset, of a pipe as far back as they are kept. */
#include "client/lib/content.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 3 * CONTENT_KEPT / 2 };

static uint8_t *bytes;
static struct stop stop;

static int set_up(void **state)
{
    (void)state;
    bytes = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 1000);
    return stop_init(&stop, NULL) == OUTCOME_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    free(bytes);
    stop_fini(&stop);
    return 0;
}

static int file_of(size_t size)
{
    int fd = place_file();
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static struct content *opened(int fd)
{
    struct content *content = NULL;
    struct failure why = {0};
    if (content_open(fd, "it", &stop, &content, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    return content;
}

/* All that is there from `offset`, in steps; returns where it ended. */
static uint64_t read_on(struct content *content, uint64_t offset, size_t step)
{
    uint8_t *to = malloc(step);
    for (;;) {
        size_t available = 0;
        assert_int_equal(content_peek(content, offset, step, 10000, &available, NULL), OUTCOME_OK);
        if (available == 0)
            break;
        assert_int_equal(content_copy(content, offset, to, available, NULL), OUTCOME_OK);
        assert_memory_equal(to, bytes + offset, available);
        offset += available;
    }
    free(to);
    return offset;
}

static void expect_digest(const struct content *content, const void *of, size_t size)
{
    struct digest_value got = content_digest(content), due = digest_of(of, size);
    assert_memory_equal(got.octets, due.octets, DIGEST_SIZE);
}

static void test_file(void **state)
{
    (void)state;
    int fd = file_of(1000);
    struct content *content = opened(fd);
    assert_true(content_is_file(content));
    assert_int_equal(content_size(content), 1000);
    assert_int_equal(read_on(content, 0, 300), 1000);
    assert_int_equal(read_on(content, 500, 77), 1000); /* back, and again: each byte counts once */
    assert_int_equal(content_settle(content, NULL), OUTCOME_OK);
    expect_digest(content, bytes, 1000);
    content_close(content);
    close(fd);
}

static void test_file_from_the_middle(void **state)
{
    (void)state;
    int fd = file_of(1000);
    lseek(fd, 400, SEEK_SET);
    struct content *content = opened(fd);
    assert_int_equal(content_size(content), 600);
    uint8_t first[4];
    assert_int_equal(content_copy(content, 0, first, 4, NULL), OUTCOME_OK);
    assert_memory_equal(first, bytes + 400, 4);
    assert_int_equal(content_settle(content, NULL), OUTCOME_OK); /* takes what was left out, too */
    expect_digest(content, bytes + 400, 600);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 400);
    content_close(content);
    close(fd);
}

static void test_resumed_digest(void **state)
{
    (void)state;
    int fd = file_of(SIZE);
    struct content *content = opened(fd);
    struct digest_value digest, due = digest_of(bytes, 700001);
    uint8_t some[100];
    assert_int_equal(content_digest_to(content, 700001, &digest, NULL), OUTCOME_OK);
    assert_memory_equal(digest.octets, due.octets, DIGEST_SIZE);
    /* The server may hold more than it said: a jump forward leaves no gap. */
    assert_int_equal(content_copy(content, 900000, some, sizeof some, NULL), OUTCOME_OK);
    assert_int_equal(read_on(content, 900050, 65536), SIZE);
    expect_digest(content, bytes, SIZE);
    content_close(content);
    close(fd);
}

static void test_file_that_changes(void **state)
{
    (void)state;
    struct failure why = {0};
    uint8_t to[100];
    int fd = file_of(1000);
    struct content *content = opened(fd);
    assert_int_equal(ftruncate(fd, 950), 0);
    assert_int_equal(content_copy(content, 900, to, 100, &why), OUTCOME_CHANGED);
    content_close(content);

    content = opened(fd);
    read_on(content, 0, 100);
    assert_int_equal(pwrite(fd, bytes + 950, 1, 950), 1); /* longer */
    assert_int_equal(content_settle(content, &why), OUTCOME_CHANGED);
    content_close(content);

    content = opened(fd);
    read_on(content, 0, 100);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}}; /* same size, written to */
    assert_int_equal(futimens(fd, times), 0);
    assert_int_equal(content_settle(content, &why), OUTCOME_CHANGED);
    content_close(content);
    close(fd);
}

static void *feed(void *argument)
{
    int fd = *(int *)argument;
    size_t at = 0;
    while (at < SIZE) {
        size_t count = at % 3 == 0 ? 1000 : 70001;
        ssize_t put = write(fd, bytes + at, count < SIZE - at ? count : SIZE - at);
        if (put <= 0)
            break;
        at += (size_t)put;
    }
    close(fd);
    return NULL;
}

static void test_pipe(void **state)
{
    (void)state;
    int fds[2];
    size_t available = 0;
    pthread_t thread;
    assert_int_equal(pipe(fds), 0);
    pthread_create(&thread, NULL, feed, &fds[1]);
    struct content *content = opened(fds[0]);
    assert_false(content_is_file(content));
    assert_true(content_size(content) == UINT64_MAX);
    assert_int_equal(read_on(content, 0, 300001), SIZE);
    assert_int_equal(content_size(content), SIZE);
    expect_digest(content, bytes, SIZE);
    /* The last CONTENT_KEPT bytes can be had again, one more can not. */
    assert_int_equal(read_on(content, SIZE - CONTENT_KEPT, 300001), SIZE);
    assert_int_equal(content_peek(content, SIZE - CONTENT_KEPT - 1, 10, 0, &available, NULL), OUTCOME_LOCAL);
    expect_digest(content, bytes, SIZE);
    pthread_join(thread, NULL);
    content_close(content);
    close(fds[0]);
}

static void test_slow_pipe(void **state)
{
    (void)state;
    int fds[2];
    size_t available = 0;
    uint8_t to[20];
    assert_int_equal(pipe(fds), 0);
    struct content *content = opened(fds[0]);
    assert_int_equal(write(fds[1], bytes, 5), 5);
    assert_int_equal(content_peek(content, 0, 20, 20, &available, NULL), OUTCOME_TIMEOUT);
    assert_int_equal(write(fds[1], bytes + 5, 5), 5);
    close(fds[1]);
    assert_int_equal(content_peek(content, 0, 20, 20, &available, NULL), OUTCOME_OK);
    assert_int_equal(available, 10);
    assert_int_equal(content_copy(content, 0, to, 10, NULL), OUTCOME_OK);
    assert_memory_equal(to, bytes, 10);
    expect_digest(content, bytes, 10);
    content_close(content);
    close(fds[0]);
}

static void test_stop(void **state)
{
    (void)state;
    int fds[2];
    size_t available = 0;
    assert_int_equal(pipe(fds), 0);
    struct content *content = opened(fds[0]);
    stop_ask(&stop);
    assert_int_equal(content_peek(content, 0, 20, 60000, &available, NULL), OUTCOME_STOPPED);
    stop_take(&stop);
    assert_int_equal(content_peek(content, 0, 20, 1, &available, NULL), OUTCOME_TIMEOUT);
    content_close(content);
    close(fds[0]);
    close(fds[1]);
}

static void test_no_file(void **state)
{
    (void)state;
    struct content *content = NULL;
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY);
    assert_int_equal(content_open(fd, "it", &stop, &content, NULL), OUTCOME_LOCAL);
    assert_int_equal(content_open(-1, "it", &stop, &content, NULL), OUTCOME_LOCAL);
    assert_null(content);
    close(fd);
}

/* Files of the kernel say size 0 and have bytes all the same. */
static void test_file_without_size(void **state)
{
    (void)state;
    int fd = open("/proc/self/status", O_RDONLY);
    size_t available = 0;
    struct content *content = opened(fd);
    assert_false(content_is_file(content));
    assert_int_equal(content_peek(content, 0, 10, 1000, &available, NULL), OUTCOME_OK);
    assert_int_equal(available, 10);
    content_close(content);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_file_from_the_middle),
        cmocka_unit_test(test_resumed_digest),
        cmocka_unit_test(test_file_that_changes),
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_slow_pipe),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_file_without_size),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
