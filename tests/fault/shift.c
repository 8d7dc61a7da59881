#include "fault/shift.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

void shift_begin(struct shift *shift, const char *path)
{
    *shift = (struct shift){.environment = {shift->setting, NULL}};
    snprintf(shift->setting, sizeof shift->setting, "FILESHARE_TEST_CLOCK=%s", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, sizeof *shift->at), 0);
    void *at = mmap(NULL, sizeof *shift->at, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(at != MAP_FAILED);
    close(fd);
    shift->at = at;
}

void shift_end(struct shift *shift)
{
    munmap(shift->at, sizeof *shift->at);
}

int64_t shift_now(const struct shift *shift)
{
    return clock_elapsed(clock_system()) + atomic_load(&shift->ahead);
}

void shift_pass(struct shift *shift, int64_t by)
{
    atomic_fetch_add(&shift->ahead, by);
    atomic_fetch_add(&shift->at->wall, by);
    atomic_fetch_add(&shift->at->elapsed, by);
}

void shift_set_wall(struct shift *shift, int64_t by)
{
    atomic_fetch_add(&shift->at->wall, by);
}

void shift_boot(struct shift *shift, int64_t off, int64_t set)
{
    if (off + set > 0)
        atomic_fetch_add(&shift->ahead, off + set);
    atomic_fetch_add(&shift->at->wall, off + set);
    atomic_store(&shift->at->elapsed, 20 * (int64_t)CLOCK_SECOND - clock_elapsed(clock_system()));
    atomic_fetch_add(&shift->at->boot, 1);
}
