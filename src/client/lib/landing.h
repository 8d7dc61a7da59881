/*
 * landing: files that came, on their way to their places; made durable by the
 * dozen.
 *
 *     landing_init -> landing_add ... -> landing_settle -> landing_fini
 *
 * Each is written beside its target as it comes, and begins to go to the disk.
 * landing_settle waits until all are there and gives them their names, syncs the
 * folder once, and then tells of each, in the order they came. It comes by itself
 * when there are many, and before a file of another folder.
 *
 * One thread.
 */
#pragma once

#include "client/lib/folders.h"
#include "client/lib/place.h"
#include "client/lib/session.h"

#include "proto/fileshare.h"

enum { LANDING_MAX = 64 };

struct landed {
    const struct fileshare_get_file *file;
    char *label; /* its path, for failures */
    struct place place;
    struct fileshare_entry entry;
};

typedef void landing_told(void *context, const struct fileshare_get_file *file, enum outcome outcome,
                          const struct fileshare_entry *entry, const struct failure *why);

struct landing {
    struct folders folders;
    landing_told *told;
    void *context;
    struct place_names names;
    char looked_at[NAME_BUFFER]; /* the folder that landing_look saw last: "", "a/b" */
    bool has_looked, was_empty;  /* what it saw there */
    bool in_memory;              /* the files under way lie on no disk: there is nothing to wait for */
    size_t count;
    struct landed files[LANDING_MAX];
};

/* LOCAL: no such folder. `told` is called from landing_settle and landing_fail. */
must_check enum outcome landing_init(struct landing *landing, const char *folder, landing_told *told,
                                     void *context, struct failure *why);
/* What is not settled goes. */
void landing_fini(struct landing *landing);

/* Before it is asked for: EXISTS, LOCAL. */
must_check enum outcome landing_look(struct landing *landing, const struct fileshare_get_file *file,
                                     struct failure *why);
/* A whole file, with its entry. CORRUPT if they do not match; EXISTS, LOCAL, NOMEM. */
must_check enum outcome landing_add(struct landing *landing, const struct fileshare_get_file *file,
                                    const struct fileshare_entry *entry, const fs_data *content,
                                    struct failure *why);
/*
 * For a file that comes another way, after what came before it was settled: its
 * folder, until the next call, and its path, which is yours (free).
 */
must_check enum outcome landing_enter(struct landing *landing, const struct fileshare_get_file *file,
                                      int *folder_fd, char **path, struct failure *why);
void landing_settle(struct landing *landing);
/* Settles, then tells that this one failed. */
void landing_fail(struct landing *landing, const struct fileshare_get_file *file, enum outcome outcome,
                  const struct failure *why);
