#include "client/crowd.h"

#include "client/daemon.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { FIRST_SECOND = 1500000000, NS = 123456789 };

char *crowd_path(const struct crowd *crowd, const char *folder, size_t n, char path[256])
{
    (void)crowd;
    snprintf(path, 256, "%s/%zu", folder, n);
    return path;
}

struct crowd *crowd_new(const char *parent, const char *prefix, size_t count, size_t step, size_t most,
                        unsigned seed)
{
    struct crowd *crowd = calloc(1, sizeof *crowd);
    assert_non_null(crowd);
    assert_true(count <= CROWD_MAX);
    crowd->count = count;
    crowd->seed = seed;
    snprintf(crowd->prefix, sizeof crowd->prefix, "%s", prefix);
    snprintf(crowd->folder, sizeof crowd->folder, "%s/crowd-XXXXXX", parent);
    assert_non_null(mkdtemp(crowd->folder));
    uint8_t *bytes = pattern_bytes(most + count, seed);
    for (size_t n = 0; n < count; n++) {
        char path[256];
        int fd = open(crowd_path(crowd, crowd->folder, n, path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                      0600);
        size_t size = n * step % most;
        const struct timespec times[2] = {{0, UTIME_OMIT}, {(time_t)(FIRST_SECOND + n), NS}};
        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes + n, size), (ssize_t)size);
        assert_int_equal(futimens(fd, times), 0);
        close(fd);
    }
    free(bytes);
    return crowd;
}

void crowd_free(struct crowd *crowd)
{
    free(crowd);
}

static void note(struct crowd *crowd, const void *item, const struct fileshare_entry *entry,
                 const struct fileshare_error *error)
{
    size_t n = crowd->told++;
    if ((size_t)(uintptr_t)item != n)
        fail_msg("file %zu is told in the place of %zu", (size_t)(uintptr_t)item, n);
    assert_true(n < crowd->taken);
    assert_int_equal(entry == NULL, error->status != FILESHARE_OK);
    crowd->statuses[n] = error->status;
    snprintf(crowd->reasons[n], sizeof crowd->reasons[n], "%.150s", error->text);
    if (entry)
        crowd->versions[n] = entry->version;
    if (crowd->stops && crowd->told == crowd->stops_after)
        fileshare_stop(crowd->stops);
}

/* Of one file; freed when it is told, so that a sanitizer sees who still wants them. */
struct words {
    char name[64], path[256];
};

static struct words *words_of(struct crowd *crowd, size_t n)
{
    struct words *words = malloc(sizeof *words);
    assert_non_null(words);
    crowd->words[n] = words;
    return words;
}

static void free_words(struct crowd *crowd, size_t n)
{
    free(crowd->words[n]);
    crowd->words[n] = NULL;
}

/* Those that were never told. */
static void free_all_words(struct crowd *crowd)
{
    for (size_t n = 0; n < crowd->taken; n++)
        free_words(crowd, n);
}

static bool next_put(void *context, struct fileshare_put_file *out)
{
    struct crowd *crowd = context;
    if (crowd->taken == crowd->count)
        return false;
    size_t n = crowd->taken++;
    struct words *words = words_of(crowd, n);
    snprintf(words->name, sizeof words->name, "%s/%zu", crowd->prefix, n);
    crowd_path(crowd, crowd->folder, n, words->path);
    *out = (struct fileshare_put_file){.path = words->path,
                                       .name = words->name,
                                       .replace = crowd->replace,
                                       .item = (void *)(uintptr_t)n};
    return true;
}

static void put_told(void *context, const struct fileshare_put_file *file,
                     const struct fileshare_entry *entry, bool unchanged, const struct fileshare_error *error)
{
    struct crowd *crowd = context;
    size_t n = crowd->told;
    note(crowd, file->item, entry, error);
    crowd->unchanged[n] = unchanged;
    if (entry)
        assert_string_equal(entry->name, file->name);
    free_words(crowd, n);
}

enum fileshare_status crowd_put(struct crowd *crowd, struct fileshare *session, struct fileshare_error *error)
{
    const struct fileshare_put_many many = {.next = next_put, .told = put_told, .context = crowd};
    crowd->taken = crowd->told = 0;
    enum fileshare_status status = fileshare_put_many(session, &many, error);
    free_all_words(crowd);
    if (status == FILESHARE_OK)
        assert_int_equal(crowd->told, crowd->count);
    return status;
}

static bool next_get(void *context, struct fileshare_get_file *out)
{
    struct crowd *crowd = context;
    if (crowd->taken == crowd->count)
        return false;
    size_t n = crowd->taken++;
    struct words *words = words_of(crowd, n);
    snprintf(words->name, sizeof words->name, "%s/%zu", crowd->prefix, n);
    snprintf(words->path, sizeof words->path, "%zu", n);
    *out = (struct fileshare_get_file){.name = words->name,
                                       .path = words->path,
                                       .size = UINT64_MAX,
                                       .replace = crowd->replace,
                                       .item = (void *)(uintptr_t)n};
    return true;
}

static void get_told(void *context, const struct fileshare_get_file *file,
                     const struct fileshare_entry *entry, const struct fileshare_error *error)
{
    struct crowd *crowd = context;
    note(crowd, file->item, entry, error);
    free_words(crowd, crowd->told - 1);
}

enum fileshare_status crowd_get(struct crowd *crowd, struct fileshare *session, const char *parent,
                                struct fileshare_error *error)
{
    snprintf(crowd->into, sizeof crowd->into, "%s/got-XXXXXX", parent);
    assert_non_null(mkdtemp(crowd->into));
    const struct fileshare_get_many many = {.folder = crowd->into,
                                            .next = next_get,
                                            .told = get_told,
                                            .context = crowd};
    crowd->taken = crowd->told = 0;
    enum fileshare_status status = fileshare_get_many(session, &many, error);
    free_all_words(crowd);
    if (status == FILESHARE_OK)
        assert_int_equal(crowd->told, crowd->count);
    return status;
}

void crowd_all(const struct crowd *crowd, enum fileshare_status status)
{
    for (size_t n = 0; n < crowd->count; n++)
        if (crowd->statuses[n] != status)
            fail_msg("file %zu: %d, not %d: %s", n, (int)crowd->statuses[n], (int)status, crowd->reasons[n]);
}

void crowd_compare(const struct crowd *crowd)
{
    for (size_t n = 0; n < crowd->count; n++) {
        char here[256], there[256];
        struct stat before, after;
        assert_int_equal(stat(crowd_path(crowd, crowd->folder, n, here), &before), 0);
        if (stat(crowd_path(crowd, crowd->into, n, there), &after) != 0)
            fail_msg("%s is not there", there);
        assert_int_equal(before.st_size, after.st_size);
        assert_int_equal(before.st_mtim.tv_sec, after.st_mtim.tv_sec);
        assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    }
    char command[300];
    snprintf(command, sizeof command, "diff -r %s %s", crowd->folder, crowd->into);
    assert_int_equal(system(command), 0);
}
