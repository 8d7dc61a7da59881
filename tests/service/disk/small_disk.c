#include "service/disk/small_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

struct small_disk disk;

/* Content alone, in whole pages. */
static uint64_t used_below(int at, const char *name)
{
    uint64_t used = 0;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *walk = fd < 0 ? NULL : fdopendir(fd);
    for (struct dirent *entry; walk && (entry = readdir(walk)) != NULL;) {
        struct stat status;
        if (entry->d_name[0] == '.')
            continue;
        if (entry->d_type == DT_DIR)
            used += used_below(fd, entry->d_name);
        else if (fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0)
            used += ((uint64_t)status.st_size + PAGE - 1) / PAGE * PAGE;
    }
    if (walk)
        closedir(walk);
    return used;
}

uint64_t left_on_disk(void)
{
    int fd = open(disk.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t used = used_below(fd, "blobs") + used_below(fd, "incoming");
    close(fd);
    return used < disk.size ? disk.size - used : 0;
}

#define OURS __attribute__((visibility("default")))

OURS int fstatvfs64(int fd, struct statvfs64 *out)
{
    (void)fd;
    if (disk.looked)
        disk.looked();
    uint64_t left = left_on_disk();
    if (left > disk.seen && disk.late > 0) {
        disk.late--;
        left = disk.seen;
    }
    disk.seen = left;
    *out = (struct statvfs64){.f_frsize = 1, .f_bavail = left};
    return 0;
}

OURS int unlinkat(int folder, const char *name, int flags)
{
    if (disk.holds && flags == 0) {
        disk.tries++;
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_unlinkat, folder, name, flags);
}

/* ---- the usual acts ---- */

int small_disk_setup(void **state)
{
    struct subject *s = subject_new();
    s->limits.reserve_bytes = RESERVE;
    disk = (struct small_disk){.folder = s->folder, .size = 8 * MIB};
    subject_open(s);
    *state = s;
    return 0;
}

int small_disk_teardown(void **state)
{
    struct subject *s = *state;
    struct store_audit audit;
    disk.holds = false;
    disk.looked = NULL;
    disk.size = 1024 * MIB;
    sweep(s, NULL, NULL);
    assert_ok(s->acts->audit(s->store, true, &audit, &store_why));
    assert_true(store_audit_is_sound(&audit));
    assert_int_equal(audit.orphan_blobs, 0);
    subject_free(s);
    return 0;
}

enum outcome put_once(struct subject *s, const char *name, size_t size, bool may_replace,
                      struct store_entry *out)
{
    struct store_entry unused;
    uint8_t *bytes = malloc(size + 1);
    fill(bytes, size, (unsigned)size);
    struct store_put p = {.op = id_random(), .name = name, .content = bytes, .size = size};
    p.condition.replace = may_replace;
    enum outcome outcome = s->acts->put(s->store, &alice, &p, out ? out : &unused, &store_why);
    free(bytes);
    return outcome;
}

enum outcome upload(struct subject *s, const char *name, size_t size, bool size_known)
{
    struct store_upload_begin b = {.upload = id_random(),
                                   .name = name,
                                   .size_known = size_known,
                                   .size = size};
    struct store_upload_state st;
    struct store_entry entry;
    uint64_t held = 0;
    uint8_t *bytes = malloc(MIB);
    fill(bytes, MIB, 7);
    enum outcome outcome = s->acts->upload_begin(s->store, &alice, &b, &st, &store_why);
    while (outcome == OUTCOME_OK && held < size)
        outcome = s->acts->upload_write(s->store, &alice, &b.upload, held, bytes,
                                        size - held < MIB ? size - held : MIB, &held, &store_why);
    struct store_publish p = {.upload = b.upload, .check = true, .size = size};
    if (outcome == OUTCOME_OK)
        outcome = s->acts->publish(s->store, &alice, &p, &entry, &store_why);
    else
        assert_ok(abort_upload(s, &alice, &b.upload));
    free(bytes);
    return outcome;
}

enum outcome open_version(struct subject *s, const struct store_entry *entry, struct store_read **read)
{
    struct store_entry unused;
    return s->acts->read_open(s->store, entry->name, &entry->version, read, &unused, &store_why);
}

enum outcome read_some(struct subject *s, const struct store_entry *entry, uint64_t offset, size_t count)
{
    struct store_read *read = NULL;
    char *bytes = malloc(count);
    enum outcome outcome = open_version(s, entry, &read);
    if (outcome == OUTCOME_OK) {
        outcome = s->acts->read_at(read, offset, bytes, count, &store_why);
        s->acts->read_close(read);
    }
    free(bytes);
    return outcome;
}

bool is_kept(struct subject *s, const struct store_entry *entry)
{
    struct store_read *read = NULL;
    enum outcome outcome = open_version(s, entry, &read);
    if (outcome == OUTCOME_OK)
        s->acts->read_close(read);
    else
        assert_outcome(outcome, OUTCOME_STALE);
    return outcome == OUTCOME_OK;
}

void expect_refused(enum outcome outcome, const char *needs, const char *has)
{
    char words[128];
    assert_outcome(outcome, OUTCOME_NOSPACE);
    snprintf(words, sizeof words, "server is out of space (needs %s, has %s)", needs, has);
    assert_string_equal(store_why.text, words);
}

void removed(struct subject *s, const char *name, size_t size, struct store_entry *entry)
{
    assert_ok(put_once(s, name, size, false, entry));
    assert_ok(remove_name(s, &alice, NULL, name, NULL));
    step(s, 1);
}
