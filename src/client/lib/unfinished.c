#include "client/lib/unfinished.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/disk.h"
#include "base/name.h"
#include "base/scoped.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

/* What a program reads, then what is for people; a file that was cut off lacks the last line. */
#define FIRST_LINE "fileshare upload 1\n"
#define LAST_LINE  "end\n"
#define FACTS                                                                              \
    "upload %32s\ndevice %" SCNu64 "\ninode %" SCNu64 "\nstart %" SCNu64 "\nsize %" SCNu64 \
    "\nmtime %" SCNd64 "\nreplace %d\n"

enum { NOTE_SIZE = 16384, ENTRIES_MAX = 8192 };

/* ---- reading, writing ---- */

static bool parse(const char *text, size_t size, struct unfinished *note)
{
    char upload[ID_TEXT_SIZE];
    int replace = 0;
    size_t first = sizeof FIRST_LINE - 1, last = sizeof LAST_LINE - 1;
    struct content_identity *source = &note->source;
    if (size < first + last || memcmp(text, FIRST_LINE, first) != 0 ||
        memcmp(text + size - last, LAST_LINE, last) != 0 ||
        sscanf(text + first, FACTS, upload, &source->device, &source->inode, &source->start, &source->size,
               &source->mtime, &replace) != 7)
        return false;
    note->replace = replace != 0;
    return id_parse(upload, &note->upload, NULL) == OUTCOME_OK && !id_is_none(&note->upload);
}

static void read_note(struct unfinished *note)
{
    char text[NOTE_SIZE];
    ssize_t got = pread(note->fd, text, sizeof text - 1, 0);
    text[got > 0 ? got : 0] = '\0';
    note->there = got > 0 && parse(text, (size_t)got, note);
}

enum outcome unfinished_write(struct unfinished *note, const struct unfinished_key *key, struct failure *why)
{
    char text[NOTE_SIZE], upload[ID_TEXT_SIZE], name[4 * NAME_BUFFER], path[4096];
    const struct content_identity *source = &note->source;
    name_show(key->name, strlen(key->name), name, sizeof name);
    name_show(key->path, strlen(key->path), path, sizeof path);
    int size = snprintf(text, sizeof text,
                        FIRST_LINE "upload %s\ndevice %" PRIu64 "\ninode %" PRIu64 "\nstart %" PRIu64
                                   "\nsize %" PRIu64 "\nmtime %" PRId64
                                   "\nreplace %d\nname %s\nfile %s\n" LAST_LINE,
                        id_text(&note->upload, upload), source->device, source->inode, source->start,
                        source->size, source->mtime, (int)note->replace, name, path);
    note->there = false;
    if (size < 0 || (size_t)size >= sizeof text)
        return failure_set(why, OUTCOME_LOCAL, "the note of an upload does not fit");
    if (ftruncate(note->fd, 0) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot write \"%s\"", note->path);
    enum outcome outcome = disk_write_at(note->fd, text, (size_t)size, 0, note->path, why);
    note->there = outcome == OUTCOME_OK;
    return outcome;
}

/* ---- those of long ago ---- */

static void close_walk(DIR **walk)
{
    if (*walk)
        closedir(*walk);
}

/* Unless somebody holds it. */
static bool remove_unheld(int folder_fd, const char *leaf)
{
    scoped_fd int fd = openat(folder_fd, leaf, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(folder_fd, leaf, 0) == 0;
}

/* Goes through the folder once: the old ones go; how many are left, and which of them is the oldest. */
static size_t look_through(int folder_fd, char oldest[NAME_MAX + 1])
{
    scoped_fd int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    scoped(close_walk) DIR *walk = fd >= 0 ? fdopendir(fd) : NULL;
    size_t count = 0, looked = 0;
    time_t now = (time_t)(clock_wall(clock_system()) / CLOCK_SECOND), least = 0;
    struct dirent *entry;
    if (!walk)
        return 0;
    take_fd(&fd);
    while (looked++ < ENTRIES_MAX && (entry = readdir(walk))) {
        struct stat status;
        if (entry->d_name[0] == '.' || fstatat(folder_fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if (now - status.st_mtim.tv_sec > (time_t)UNFINISHED_DAYS * 86400 &&
            remove_unheld(folder_fd, entry->d_name))
            continue;
        if (count++ == 0 || status.st_mtim.tv_sec < least) {
            least = status.st_mtim.tv_sec;
            snprintf(oldest, NAME_MAX + 1, "%s", entry->d_name);
        }
    }
    return count;
}

static void clear_up(int folder_fd)
{
    char oldest[NAME_MAX + 1] = "";
    if (look_through(folder_fd, oldest) >= UNFINISHED_MAX)
        remove_unheld(folder_fd, oldest);
}

/* ---- holding ---- */

static void leaf_of(const struct unfinished_key *key, char leaf[DIGEST_TEXT_SIZE])
{
    char text[ID_SIZE + NAME_BUFFER + 4096];
    memcpy(text, key->instance.octets, ID_SIZE);
    int size = snprintf(text + ID_SIZE, sizeof text - ID_SIZE, "%s%c%s", key->name, '\0', key->path);
    struct digest_value digest = digest_of(text, ID_SIZE + (size_t)size);
    digest_text(&digest, leaf);
}

static enum outcome open_folder(const struct unfinished_key *key, bool make, char folder[4096], int *out,
                                struct failure *why)
{
    int size = snprintf(folder, 4096 - DIGEST_TEXT_SIZE - 1, "%s/uploads", key->folder ? key->folder : "");
    if (!key->folder || size >= 4096 - DIGEST_TEXT_SIZE - 1)
        return failure_set(why, OUTCOME_LOCAL, "there is no folder for notes of uploads");
    if (make) {
        enum outcome outcome = disk_make_folder(folder, 0700, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    *out = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out < 0)
        return failure_system(why, errno == ENOENT ? OUTCOME_ABSENT : OUTCOME_LOCAL, errno,
                              "cannot open the folder \"%s\"", folder);
    return OUTCOME_OK;
}

/* Whether the file that was locked still has its name: who held it before may have removed it. */
static bool is_named(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && status.st_nlink > 0;
}

static enum outcome hold_file(int folder_fd, const char *leaf, bool make, struct unfinished *note,
                              struct failure *why)
{
    for (;;) {
        scoped_fd int fd = openat(folder_fd, leaf, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0),
                                  0600);
        if (fd < 0)
            return failure_system(why, errno == ENOENT ? OUTCOME_ABSENT : OUTCOME_LOCAL, errno,
                                  "cannot open \"%s\"", note->path);
        if (flock(fd, LOCK_EX | LOCK_NB) != 0)
            return failure_system(why, errno == EWOULDBLOCK ? OUTCOME_HELD : OUTCOME_LOCAL, errno,
                                  "cannot lock \"%s\"", note->path);
        if (!is_named(fd))
            continue;
        note->fd = take_fd(&fd);
        return OUTCOME_OK;
    }
}

enum outcome unfinished_hold(const struct unfinished_key *key, bool make, struct unfinished *out,
                             struct failure *why)
{
    char leaf[DIGEST_TEXT_SIZE], folder[4096];
    struct unfinished note = {.fd = -1};
    scoped_fd int folder_fd = -1;
    enum outcome outcome = open_folder(key, make, folder, &folder_fd, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    leaf_of(key, leaf);
    snprintf(note.path, sizeof note.path, "%.*s/%s", (int)(sizeof note.path - sizeof leaf - 1), folder, leaf);
    if (make && faccessat(folder_fd, leaf, F_OK, 0) != 0)
        clear_up(folder_fd);
    outcome = hold_file(folder_fd, leaf, make, &note, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    read_note(&note);
    *out = note;
    return OUTCOME_OK;
}

void unfinished_end(struct unfinished *note, bool keep)
{
    if (note->fd < 0)
        return;
    if (keep && note->there)
        futimens(note->fd, NULL);
    else
        unlink(note->path);
    close(note->fd);
    note->fd = -1;
}
