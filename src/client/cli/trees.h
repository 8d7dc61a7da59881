/*
 * trees: many files, by path and name, and what is in folders.
 *
 *     struct tree tree = {.rows = NULL};  tree_add, tree_walk ...;  tree_fini
 */
#pragma once

#include "client/cli/client.h"

struct tree_row {
    char *path;    /* of this machine */
    char *name;    /* the server's */
    uint64_t size; /* UINT64_MAX: not known */
};

struct tree {
    struct tree_row *rows;
    size_t count, room;
    size_t next; /* for whoever goes through them */
};

void tree_fini(struct tree *tree);

/* Takes both over, also when it fails; false without memory. NULL is no memory, too. */
bool tree_add(struct tree *tree, char *path, char *name, uint64_t size);

/*
 * All files below the folder, in the order of their names' bytes; `prefix` ("" or
 * with a slash at its end) before their names. What can't be read is told, and
 * counted; links, and what else is no file, are noted and left out.
 */
void tree_walk(struct tree *tree, struct client *client, const char *folder, const char *prefix,
               struct tally *tally);

/* "a/b" of "a" and "b", "a/b" of "a/" and "b"; yours, NULL without memory. */
char *tree_join(const char *folder, const char *name);
