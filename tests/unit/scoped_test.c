#include "base/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>

#include <cmocka.h>

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int open_scoped(bool give)
{
    scoped_fd int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    int number = fd;
    if (give)
        return take_fd(&fd);
    return number;
}

static void test_descriptors_close_unless_handed_over(void **state)
{
    (void)state;
    assert_false(is_open(open_scoped(false)));
    int fd = open_scoped(true);
    assert_true(is_open(fd));
    close(fd);
    {
        scoped_fd int none = -1;
        assert_int_equal(take_fd(&none), -1);
    }
}

/* What is freed twice or never, valgrind and the sanitizers report. */
static char *make_text(bool give)
{
    scoped_free char *text = strdup("text");
    assert_non_null(text);
    return give ? take_ptr(&text) : NULL;
}

static void test_memory_is_freed_unless_handed_over(void **state)
{
    (void)state;
    assert_null(make_text(false));
    char *text = make_text(true);
    assert_string_equal(text, "text");
    free(text);
}

static void test_locks_are_held_to_the_end_of_the_block(void **state)
{
    (void)state;
    pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER, other = PTHREAD_MUTEX_INITIALIZER;
    for (int round = 0; round < 3; round++) {
        scoped_lock(&one);
        scoped_lock(&other);
        assert_int_not_equal(pthread_mutex_trylock(&one), 0);
        if (round == 1)
            continue; /* leaves the block early: given back all the same */
        assert_int_not_equal(pthread_mutex_trylock(&other), 0);
    }
    assert_int_equal(pthread_mutex_trylock(&one), 0);
    assert_int_equal(pthread_mutex_trylock(&other), 0);
    pthread_mutex_unlock(&one);
    pthread_mutex_unlock(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors_close_unless_handed_over),
        cmocka_unit_test(test_memory_is_freed_unless_handed_over),
        cmocka_unit_test(test_locks_are_held_to_the_end_of_the_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
