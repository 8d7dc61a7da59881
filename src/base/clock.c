#include "base/clock.h"

#include "base/scoped.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- the machine's ---- */

static int64_t read_machine(clockid_t which)
{
    struct timespec now;
    /* Both clocks are older than any kernel we run on; without them nothing we promise holds. */
    if (clock_gettime(which, &now) != 0)
        abort();
    return (int64_t)now.tv_sec * CLOCK_SECOND + now.tv_nsec;
}

#ifdef FILESHARE_FAULTS

/* Mapped before main. */
static const struct clock_shift *shift;

__attribute__((constructor)) static void map_shift(void)
{
    const char *path = getenv("FILESHARE_TEST_CLOCK");
    if (!path)
        return;
    scoped_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shift, PROT_READ, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        abort(); /* a test that believes it steps the clock would test nothing */
    shift = at;
}

#define SHIFTED(member) (shift ? atomic_load(&shift->member) : 0)

#else

#define SHIFTED(member) 0

#endif

static int64_t system_elapsed(const struct clock *clock)
{
    (void)clock;
    return read_machine(CLOCK_BOOTTIME) + SHIFTED(elapsed);
}

static int64_t system_wall(const struct clock *clock)
{
    (void)clock;
    return read_machine(CLOCK_REALTIME) + SHIFTED(wall);
}

/*
 * The kernel's name of this run of the machine. With it goes the time namespace,
 * since in another one CLOCK_BOOTTIME may begin elsewhere.
 */
static uint64_t read_boot(void)
{
    char text[64] = "";
    struct stat space = {0};
    scoped_fd int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return 0;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (const char *at = text; *at; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    if (stat("/proc/self/ns/time", &space) == 0)
        hash = (hash ^ space.st_ino) * UINT64_C(0x100000001b3);
    return hash;
}

static uint64_t system_boot(const struct clock *clock)
{
    (void)clock;
    return SHIFTED(boot) != 0 ? SHIFTED(boot) : read_boot();
}

const struct clock *clock_system(void)
{
    static const struct clock clock = {
        .read_elapsed = system_elapsed,
        .read_wall = system_wall,
        .read_boot = system_boot,
    };
    return &clock;
}

int64_t clock_elapsed(const struct clock *clock)
{
    return clock->read_elapsed(clock);
}

int64_t clock_wall(const struct clock *clock)
{
    return clock->read_wall(clock);
}

uint64_t clock_boot(const struct clock *clock)
{
    return clock->read_boot(clock);
}

/* ---- a test's ---- */

static int64_t test_elapsed(const struct clock *clock)
{
    return atomic_load(&clock->test_elapsed);
}

static int64_t test_wall(const struct clock *clock)
{
    return atomic_load(&clock->test_wall);
}

static uint64_t test_boot(const struct clock *clock)
{
    return atomic_load(&clock->test_boot);
}

void clock_test_init(struct clock *clock, int64_t elapsed, int64_t wall)
{
    clock->read_elapsed = test_elapsed;
    clock->read_wall = test_wall;
    clock->read_boot = test_boot;
    atomic_init(&clock->test_elapsed, elapsed);
    atomic_init(&clock->test_wall, wall);
    atomic_init(&clock->test_boot, 0);
}

void clock_test_step(struct clock *clock, int64_t by)
{
    atomic_fetch_add(&clock->test_elapsed, by);
    atomic_fetch_add(&clock->test_wall, by);
}

void clock_test_step_wall(struct clock *clock, int64_t by)
{
    atomic_fetch_add(&clock->test_wall, by);
}

void clock_test_boot(struct clock *clock, uint64_t boot, int64_t elapsed)
{
    atomic_store(&clock->test_boot, boot);
    atomic_store(&clock->test_elapsed, elapsed);
}
