#include "client/cli/trees.h"

#include "base/scoped.h"
#include "client/cli/interrupt.h"
#include "client/cli/translate.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ROOM_FIRST = 64 };

void tree_fini(struct tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        free(tree->rows[i].path);
        free(tree->rows[i].name);
    }
    free(tree->rows);
    *tree = (struct tree){.rows = NULL};
}

bool tree_add(struct tree *tree, char *path, char *name, uint64_t size)
{
    if (tree->count == tree->room && path && name) {
        size_t room = tree->room ? 2 * tree->room : ROOM_FIRST;
        struct tree_row *rows = reallocarray(tree->rows, room, sizeof *rows);
        if (rows)
            tree->rows = rows;
        tree->room = rows ? room : tree->room;
    }
    if (!path || !name || tree->count == tree->room) {
        free(path);
        free(name);
        return false;
    }
    tree->rows[tree->count++] = (struct tree_row){path, name, size};
    return true;
}

char *tree_join(const char *folder, const char *name)
{
    size_t size = strlen(folder);
    bool ends = size == 0 || folder[size - 1] == '/';
    char *path = NULL;
    return asprintf(&path, "%s%s%s", folder, ends ? "" : "/", name) < 0 ? NULL : path;
}

/* ---- walking ---- */

static int is_shown(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* In the order of bytes: alphasort's depends on the locale. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static unsigned char kind_of(const struct dirent *entry, const char *path)
{
    struct stat about;
    if (entry->d_type != DT_UNKNOWN || lstat(path, &about) != 0)
        return entry->d_type;
    return S_ISREG(about.st_mode) ? DT_REG : S_ISDIR(about.st_mode) ? DT_DIR : DT_LNK;
}

static void walk_entry(struct tree *tree, struct client *client, const struct dirent *entry,
                       const char *folder, const char *prefix, struct tally *tally)
{
    scoped_free char *path = tree_join(folder, entry->d_name);
    scoped_free char *name = NULL;
    bool fine = path && asprintf(&name, "%s%s", prefix, entry->d_name) >= 0;
    unsigned char kind = fine ? kind_of(entry, path) : DT_UNKNOWN;
    if (fine && kind == DT_REG) {
        fine = tree_add(tree, path, name, UINT64_MAX);
        path = name = NULL;
    } else if (fine && kind == DT_DIR) {
        /* With a slash at its end. */
        scoped_free char *inner = tree_join(name, "");
        if (inner)
            tree_walk(tree, client, path, inner, tally);
        fine = inner != NULL;
    } else if (fine) {
        client_note(client, _("%s: left out, since it is no file"), path);
    }
    if (!fine)
        tally_add(tally, client_complain(client, EXIT_LOCAL, folder, _("no memory for what is in it")));
}

void tree_walk(struct tree *tree, struct client *client, const char *folder, const char *prefix,
               struct tally *tally)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_shown, by_bytes);
    if (count < 0) {
        tally_add(tally, client_complain(client, EXIT_LOCAL, folder, "%s", strerror(errno)));
        return;
    }
    for (int i = 0; i < count; i++) {
        if (interrupt_noted() == 0)
            walk_entry(tree, client, entries[i], folder, prefix, tally);
        free(entries[i]);
    }
    free(entries);
}
