#include "fault/failing_disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

struct shim *failing_disk_below(struct daemon *server)
{
    static char preload[512], shared[256];
    static const char *const environment[] = {preload, shared, NULL};
    char path[128];
    snprintf(path, sizeof path, "%s/shim", server->folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, sizeof(struct shim)), 0);
    struct shim *shim = mmap(NULL, sizeof *shim, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(shim != MAP_FAILED);
    close(fd);
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/tests/libfault_shim.so", getenv("FILESHARE_BUILD"));
    snprintf(shared, sizeof shared, "FILESHARE_SHIM=%s", path);
    server->environment = environment;
    return shim;
}

void failing_disk_arm(struct shim *shim, int nth, int error, bool lasts)
{
    shim->failed = 0;
    shim->error = error;
    shim->lasts = lasts;
    shim->left = nth;
}

void failing_disk_is_sound(struct shim *shim)
{
    shim->left = shim->lasts = shim->lasting = 0;
}
