/* fileshare_get and fileshare_get_to: a download into what the caller has, or beside where it shall be. */
#include "base/disk.h"
#include "base/scoped.h"
#include "client/lib/download.h"
#include "client/lib/names.h"
#include "client/lib/translate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum outcome get(struct fileshare *session, const struct fileshare_get *what, int fd,
                        const char *label, struct fileshare_entry *out, struct failure *why)
{
    char name[NAME_BUFFER], subject[NAMES_SUBJECT_SIZE];
    enum outcome outcome = names_check(what->name, names_subject(what->name, subject), name, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct download download = {
        .session = session,
        .name = name,
        .subject = subject,
        .label = label ? label : what->name,
        .version = translate_id_private(&what->version),
        .fd = fd,
        .progress = what->progress,
        .context = what->context,
    };
    return download_receive(&download, out, why);
}

enum fileshare_status fileshare_get(struct fileshare *session, const struct fileshare_get *what,
                                    struct fileshare_entry *out, struct fileshare_error *error)
{
    struct failure why = {0};
    struct fileshare_entry entry;
    enum outcome outcome = translate_here(get(session, what, what->fd, what->label, &entry, &why), &why);
    if (outcome == OUTCOME_OK && out)
        *out = entry;
    return session_report(session, outcome, &why, error);
}

/* ---- to a path ---- */

/* A file beside the target, which takes its place in the end. Embedded; place_fini removes it unless it was moved. */
struct place {
    const char *path;      /* of the target */
    const char *leaf;      /* its last part */
    char folder[PATH_MAX]; /* the folder of both */
    int folder_fd;
    char temporary[NAME_MAX + 1]; /* "" when it is not there */
    int fd;
    bool replace;
    struct stat before; /* of what `replace` replaces */
    bool was_there;
};

static void place_fini(struct place *place)
{
    if (place->temporary[0] != '\0')
        unlinkat(place->folder_fd, place->temporary, 0);
    if (place->fd >= 0)
        close(place->fd);
    if (place->folder_fd >= 0)
        close(place->folder_fd);
}

static enum outcome split_path(struct place *place, struct failure *why)
{
    const char *slash = strrchr(place->path, '/');
    size_t size = slash ? (size_t)(slash - place->path) : 0;
    place->leaf = slash ? slash + 1 : place->path;
    if (place->leaf[0] == '\0' || strcmp(place->leaf, ".") == 0 || strcmp(place->leaf, "..") == 0)
        return failure_set(why, OUTCOME_INVALID, "\"%s\" is the path of a folder, not of a file",
                           place->path);
    if (size >= sizeof place->folder)
        return failure_system(why, OUTCOME_LOCAL, ENAMETOOLONG, "cannot write \"%s\"", place->path);
    if (!slash)
        strcpy(place->folder, ".");
    else if (size == 0)
        strcpy(place->folder, "/");
    else
        memcpy(place->folder, place->path, size); /* zeroed before */
    return OUTCOME_OK;
}

static enum outcome exists(const struct place *place, struct failure *why)
{
    return failure_set(why, OUTCOME_EXISTS, "\"%s\" is there already, and was kept", place->path);
}

static enum outcome look_at_target(struct place *place, struct failure *why)
{
    place->was_there = fstatat(place->folder_fd, place->leaf, &place->before, AT_SYMLINK_NOFOLLOW) == 0;
    if (!place->was_there)
        return OUTCOME_OK;
    if (S_ISDIR(place->before.st_mode))
        return failure_set(why, OUTCOME_LOCAL, "cannot write \"%s\": it is a folder", place->path);
    return place->replace ? OUTCOME_OK : exists(place, why);
}

static enum outcome place_open(struct place *place, struct failure *why)
{
    enum outcome outcome = split_path(place, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    place->folder_fd = open(place->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (place->folder_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot open the folder \"%s\"", place->folder);
    outcome = look_at_target(place, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct id id = id_random();
    char text[ID_TEXT_SIZE];
    snprintf(place->temporary, sizeof place->temporary, ".%.200s.%.8s.part", place->leaf, id_text(&id, text));
    place->fd = openat(place->folder_fd, place->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (place->fd < 0) {
        int error = errno;
        place->temporary[0] = '\0';
        return failure_system(why, OUTCOME_LOCAL, error, "cannot make a file in \"%s\"", place->folder);
    }
    return OUTCOME_OK;
}

/* Mode of what is replaced, the uploader's mtime, and all of it on the disk. */
static enum outcome place_finish(struct place *place, int64_t mtime, struct failure *why)
{
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW},
                                {.tv_sec = mtime / 1000000000, .tv_nsec = mtime % 1000000000}};
    if (times[1].tv_nsec < 0) {
        times[1].tv_nsec += 1000000000;
        times[1].tv_sec--;
    }
    if (place->was_there && S_ISREG(place->before.st_mode) &&
        fchmod(place->fd, place->before.st_mode & 0777) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot set the mode of \"%s\"", place->path);
    if (futimens(place->fd, times) != 0 || fsync(place->fd) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot write \"%s\"", place->path);
    return OUTCOME_OK;
}

/* Under its name; never over another file, unless told. */
static int move_in(const struct place *place)
{
    if (place->replace)
        return renameat(place->folder_fd, place->temporary, place->folder_fd, place->leaf);
    if (renameat2(place->folder_fd, place->temporary, place->folder_fd, place->leaf, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* A file system that cannot: a second name does not replace either. */
    if (linkat(place->folder_fd, place->temporary, place->folder_fd, place->leaf, 0) != 0)
        return -1;
    return unlinkat(place->folder_fd, place->temporary, 0);
}

static enum outcome place_commit(struct place *place, struct failure *why)
{
    if (move_in(place) != 0) {
        if (errno == EEXIST)
            return exists(place, why);
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot rename a file to \"%s\"", place->path);
    }
    place->temporary[0] = '\0';
    return disk_sync_folder(place->folder_fd, place->folder, why);
}

static enum outcome get_to(struct fileshare *session, const struct fileshare_get *what, const char *path,
                           bool replace, struct fileshare_entry *out, struct failure *why)
{
    scoped(place_fini) struct place place = {.path = path, .folder_fd = -1, .fd = -1, .replace = replace};
    struct fileshare_entry entry;
    enum outcome outcome = place_open(&place, why);
    if (outcome == OUTCOME_OK)
        outcome = get(session, what, place.fd, path, &entry, why);
    if (outcome == OUTCOME_OK)
        outcome = place_finish(&place, entry.mtime, why);
    if (outcome == OUTCOME_OK)
        outcome = place_commit(&place, why);
    if (outcome == OUTCOME_OK && out)
        *out = entry;
    return outcome;
}

enum fileshare_status fileshare_get_to(struct fileshare *session, const struct fileshare_get *what,
                                       const char *path, bool replace, struct fileshare_entry *out,
                                       struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = translate_here(get_to(session, what, path, replace, out, &why), &why);
    return session_report(session, outcome, &why, error);
}
