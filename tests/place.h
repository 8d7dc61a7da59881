/*
 * place: where tests make their folders.
 *
 * ctest gives each program two of its own, by tests/tidy, which fails it for what is left in them. By hand
 * they are /dev/shm, for what syncs often, and /tmp; or TMPDIR.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLACE_SIZE = 64, PLACE_PARENT_MAX = 40 };

static inline const char *place_if_short(const char *name)
{
    const char *folder = getenv(name);
    return folder && folder[0] == '/' && strlen(folder) < PLACE_PARENT_MAX ? folder : NULL;
}

static inline const char *place_on_disk(void)
{
    const char *folder = place_if_short("TMPDIR");
    return folder ? folder : "/tmp";
}

static inline const char *place_in_memory(void)
{
    const char *folder = place_if_short("FILESHARE_MEMORY");
    if (!folder)
        folder = place_if_short("TMPDIR");
    return folder ? folder : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

/* A new folder in one of them, whose name begins with the stem; NULL if it cannot be made. */
static inline char *place_make(char folder[PLACE_SIZE], const char *parent, const char *stem)
{
    snprintf(folder, PLACE_SIZE, "%s/%.15s.XXXXXX", parent, stem);
    return mkdtemp(folder);
}

/* A new file that has no name, open; -1 if it cannot be made. */
static inline int place_file(void)
{
    char path[PLACE_SIZE];
    snprintf(path, sizeof path, "%s/file.XXXXXX", place_on_disk());
    int fd = mkstemp(path);
    if (fd >= 0)
        unlink(path);
    return fd;
}
