#include "client/lib/landing.h"

#include "base/digest.h"
#include "base/disk.h"
#include "client/lib/names.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum outcome landing_init(struct landing *landing, const char *folder, landing_told *told, void *context,
                          struct failure *why)
{
    landing->told = told;
    landing->context = context;
    landing->count = 0;
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
    const char *folder = landing->folders.path;
    size_t size = strlen(folder);
    char *label = NULL;
    if (strcmp(folder, ".") == 0)
        return strdup(file->path);
    bool ends = size > 0 && folder[size - 1] == '/';
    return asprintf(&label, "%s%s%s", folder, ends ? "" : "/", file->path) < 0 ? NULL : label;
}

enum outcome landing_look(struct landing *landing, const struct fileshare_get_file *file, struct failure *why)
{
    char path[NAME_BUFFER], subject[NAMES_SUBJECT_SIZE];
    struct stat about;
    enum outcome outcome = names_check(file->path, names_subject(file->path, subject), path, why);
    if (outcome != OUTCOME_OK || file->replace ||
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
    return outcome == OUTCOME_OK ? place_open(&landed->place, why) : outcome;
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
        outcome = disk_write_at(landed->place.fd, content->fs_data_val, content->fs_data_len, 0,
                                landed->label, why);
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
    for (size_t i = 0; i < landing->count; i++) {
        struct landed *landed = &landing->files[i];
        outcomes[i] = place_finish(&landed->place, landed->entry.mtime, &whys[i]);
        if (outcomes[i] == OUTCOME_OK)
            outcomes[i] = place_commit(&landed->place, &whys[i]);
    }
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
