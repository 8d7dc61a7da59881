/*
 * cut: what a power cut after the first so many ops of a recording may leave on
 * the disk, made as a tree of files.
 *
 *     cut_begin(&cut, &recording);
 *     cut_advance(&cut, length);               any number of times, length growing
 *         cut_make(&cut, kept, seed, folder);  any number of times for each
 *     cut_fini(&cut);
 *
 * The model of a file system. A file's bytes and size are durable once it was
 * synced; a name in a folder (made, linked, moved there, removed) once the folder
 * was. A move is durable with the folder that it leads to. What is not durable
 * may be kept or lost, each write, cut and name by itself and in any order, with
 * these bounds: a move never leaves the file under neither name (perhaps under
 * both), and bytes outside of a write stay as they are. A write may be torn into
 * sectors of 512 bytes, and its size may be kept without its bytes (zeros).
 */
#pragma once

#include "fault/power/recording.h"

#include <stdbool.h>

enum cut_kept {
    CUT_ALL,  /* whatever was not synced is there */
    CUT_NONE, /* and is not */
    CUT_SOME, /* by chance, from the seed */
};

struct image {
    uint8_t *bytes; /* the durable ones */
    size_t size, room;
    unsigned *pending; /* ops since the last sync */
    size_t pending_count, pending_room;
};

struct cut {
    const struct recording *recording;
    size_t length;
    struct image *images; /* a node each; `pending` of a folder: names */
    bool *durable;        /* an op each that changes names */
    unsigned *names;      /* ops that change names, so far */
    size_t name_count;
    size_t pending;   /* ops that are not durable */
    unsigned *below;  /* a node each: its first slot's number and 1, or 0 */
    unsigned *beside; /* a slot each: the next one of its folder, likewise */
    unsigned *stands; /* a slot each, while a tree is made: its node, or NOBODY */
    int *made;        /* a node each, while a tree is made: see make_file */
    struct image scratch;
    /* A disk that lies: syncs of files or folders whose first path matches this glob do nothing. NULL: none. */
    const char *lie;
    size_t lies; /* how many were passed over */
};

void cut_begin(struct cut *cut, const struct recording *recording);
void cut_advance(struct cut *cut, size_t length);
/* What of it is in `folder` already and should not be goes. */
void cut_make(struct cut *cut, enum cut_kept kept, uint64_t seed, const char *folder);
void cut_fini(struct cut *cut);
