#include "client/lib/landing.h"

#include "base/digest.h"
#include "base/disk.h"
#include "client/lib/names.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum outcome landing_init(struct landing *landing, const char *folder, landing_told *told, void *context,
                          struct failure *why)
{
    landing->told = told;
    landing->context = context;
    landing->count = 0;
    landing->names = place_names_new();
    landing->has_looked = false;
    return folders_open(&landing->folders, folder, why);
}

static void landed_fini(struct landed *landed)
{
    place_fini(&landed->place);
    free(landed->label);
}

void landing_fini(struct landing *landing)
{
    for (size_t i = 0; i < landing->count; i++)
        landed_fini(&landing->files[i]);
    folders_fini(&landing->folders);
}

/* Yours; NULL without memory. */
static char *label_of(const struct landing *landing, const struct fileshare_get_file *file)
{
    const char *folder = strcmp(landing->folders.path, ".") == 0 ? "" : landing->folders.path;
    size_t folder_size = strlen(folder), path_size = strlen(file->path);
    bool ends = folder_size == 0 || folder[folder_size - 1] == '/';
    char *label = malloc(folder_size + !ends + path_size + 1);
    if (!label)
        return NULL;
    char *at = mempcpy(label, folder, folder_size);
    if (!ends)
        *at++ = '/';
    memcpy(at, file->path, path_size + 1);
    return label;
}

/* ---- before it is asked for ---- */

static bool is_empty(int root_fd, const char *folder)
{
    int fd = openat(root_fd, folder[0] != '\0' ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = fd >= 0 ? fdopendir(fd) : NULL;
    if (!entries) {
        bool absent = fd < 0 && errno == ENOENT;
        if (fd >= 0)
            close(fd);
        return absent;
    }
    const struct dirent *entry;
    unsigned others = 0;
    while (others == 0 && (entry = readdir(entries)))
        others += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(entries);
    return others == 0;
}

/* Where nothing stands each file need not be looked for; what comes there later is found in the end, by the rename. */
static bool goes_where_nothing_is(struct landing *landing, const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash ? (size_t)(slash - path) : 0;
    if (landing->has_looked && strlen(landing->looked_at) == size &&
        memcmp(landing->looked_at, path, size) == 0)
        return landing->was_empty;
    memcpy(landing->looked_at, path, size);
    landing->looked_at[size] = '\0';
    landing->has_looked = true;
    landing->was_empty = is_empty(landing->folders.root_fd, landing->looked_at);
    return landing->was_empty;
}

enum outcome landing_look(struct landing *landing, const struct fileshare_get_file *file, struct failure *why)
{
    char path[NAME_BUFFER], subject[NAMES_SUBJECT_SIZE];
    struct stat about;
    enum outcome outcome = names_check(file->path, names_subject(file->path, subject), path, why);
    if (outcome != OUTCOME_OK || file->replace || goes_where_nothing_is(landing, path) ||
        fstatat(landing->folders.root_fd, file->path, &about, AT_SYMLINK_NOFOLLOW) != 0)
        return outcome;
    char *label = label_of(landing, file);
    struct place place = place_of(landing->folders.root_fd, file->path, label ? label : file->path, false);
    outcome = place_look(&place, why);
    free(label);
    return outcome;
}

/* ---- coming ---- */

static enum outcome open_place(struct landing *landing, struct landed *landed, struct failure *why)
{
    const struct fileshare_get_file *file = landed->file;
    const char *leaf;
    int folder_fd;
    landed->label = label_of(landing, file);
    if (!landed->label)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a path");
    enum outcome outcome = folders_enter(&landing->folders, file->path, &folder_fd, &leaf, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    landed->place = place_of(folder_fd, leaf, landed->label, file->replace);
    /* Without `replace` the rename tells. */
    if (file->replace)
        outcome = place_look(&landed->place, why);
    return outcome == OUTCOME_OK ? place_open(&landed->place, &landing->names, why) : outcome;
}

enum outcome landing_enter(struct landing *landing, const struct fileshare_get_file *file, int *folder_fd,
                           char **path, struct failure *why)
{
    const char *leaf;
    landing_settle(landing);
    enum outcome outcome = folders_enter(&landing->folders, file->path, folder_fd, &leaf, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    *path = label_of(landing, file);
    return *path ? OUTCOME_OK : failure_set(why, OUTCOME_NOMEM, "no memory for a path");
}

static bool is_in_memory(int folder_fd)
{
    struct statfs about;
    return fstatfs(folder_fd, &about) == 0 && (about.f_type == TMPFS_MAGIC || about.f_type == RAMFS_MAGIC);
}

static enum outcome write_it(struct landing *landing, struct landed *landed, const fs_data *content,
                             struct failure *why)
{
    int fd = landed->place.fd;
    enum outcome outcome = disk_write_at(fd, content->fs_data_val, content->fs_data_len, 0, landed->label,
                                         why);
    if (outcome == OUTCOME_OK)
        outcome = place_finish(&landed->place, landed->entry.mtime, why);
    if (landing->count == 0)
        landing->in_memory = is_in_memory(landed->place.folder_fd);
    /* The first one that is waited for in the end finds the others on their way: the disk is waited for once. */
    if (outcome == OUTCOME_OK && !landing->in_memory)
        sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return outcome;
}

enum outcome landing_add(struct landing *landing, const struct fileshare_get_file *file,
                         const struct fileshare_entry *entry, const fs_data *content, struct failure *why)
{
    char subject[NAMES_SUBJECT_SIZE];
    struct digest_value digest = digest_of(content->fs_data_val, content->fs_data_len);
    if (memcmp(digest.octets, entry->digest, sizeof digest.octets) != 0)
        return failure_set(why, OUTCOME_CORRUPT, "%s: the bytes that came do not match the file's digest",
                           names_subject(file->name, subject));
    if (landing->count == LANDING_MAX ||
        (landing->count > 0 && !folders_is_in(&landing->folders, file->path)))
        landing_settle(landing);
    struct landed *landed = &landing->files[landing->count];
    *landed = (struct landed){.file = file, .place = {.fd = -1}, .entry = *entry};
    enum outcome outcome = open_place(landing, landed, why);
    if (outcome == OUTCOME_OK)
        outcome = write_it(landing, landed, content, why);
    if (outcome == OUTCOME_OK)
        landing->count++;
    else
        landed_fini(landed);
    return outcome;
}

/* ---- settling ---- */

void landing_settle(struct landing *landing)
{
    enum outcome outcomes[LANDING_MAX];
    struct failure whys[LANDING_MAX];
    /* All before the first gets its name: a rename between them would make each sync one of its own. */
    for (size_t i = 0; i < landing->count; i++)
        outcomes[i] = landing->in_memory ? OUTCOME_OK : place_sync(&landing->files[i].place, &whys[i]);
    for (size_t i = 0; i < landing->count; i++)
        if (outcomes[i] == OUTCOME_OK)
            outcomes[i] = place_commit(&landing->files[i].place, &whys[i]);
    struct failure why;
    enum outcome outcome = landing->count > 0
                               ? disk_sync_folder(landing->folders.fd, landing->folders.path, &why)
                               : OUTCOME_OK;
    for (size_t i = 0; i < landing->count; i++) {
        struct landed *landed = &landing->files[i];
        if (outcomes[i] == OUTCOME_OK && outcome != OUTCOME_OK) {
            outcomes[i] = outcome;
            whys[i] = why;
        }
        landing->told(landing->context, landed->file, outcomes[i], &landed->entry, &whys[i]);
        landed_fini(landed);
    }
    landing->count = 0;
}

void landing_fail(struct landing *landing, const struct fileshare_get_file *file, enum outcome outcome,
                  const struct failure *why)
{
    landing_settle(landing);
    landing->told(landing->context, file, outcome, NULL, why);
}
