/*
 * recording: every change that this program makes below one folder, in order,
 * with its bytes, and every sync.
 *
 *     recording_begin(&recording, folder);     the folder is empty
 *     ... stores are opened below it and worked at, from any thread ...
 *     recording_end(&recording);
 *     ... cut.h makes of it what a power cut may have left ...
 *     recording_fini(&recording);
 *
 * The system calls are this program's own (recording.c defines them, SQLite's are
 * caught as well); each is done and written down under one lock, so that the
 * order of the ops is the order of the calls. One recording at a time. What lies
 * in files called "...-shm" is not recorded: it means nothing after a restart.
 *
 * A node is a file or a folder, whatever names it has; a slot is a name in a
 * folder. Node 0 is the recorded folder itself.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum op_kind {
    OP_WRITE,    /* node, offset, count bytes at `at` */
    OP_CUT,      /* node, offset: its size from now on */
    OP_ENTER,    /* slot stands for node: made or linked */
    OP_LEAVE,    /* slot stands for nothing */
    OP_MOVE,     /* `to` stands for node, slot for nothing */
    OP_SYNC,     /* node: a file's bytes, or a folder's slots */
    OP_SYNC_ALL, /* of everything: where a history begins */
};

struct op {
    enum op_kind kind;
    unsigned node, slot, to;
    uint64_t offset;
    size_t count, at;
};

struct slot {
    unsigned folder; /* node */
    char name[64];
};

struct node {
    uint64_t inode;
    unsigned first; /* slot: the first name it had */
    int is_folder;
};

struct recording {
    struct op *ops;
    struct slot *slots;
    struct node *nodes;
    uint8_t *bytes;
    size_t op_count, slot_count, node_count, byte_count;
    size_t first; /* set by the history: it is cut from here on */
    size_t op_room, slot_room, node_room, byte_room;
};

void recording_begin(struct recording *recording, const char *folder);
void recording_end(struct recording *recording);
void recording_fini(struct recording *recording);

/* So many ops so far: who was told something now was told it after these. */
size_t recording_now(void);
/* All that was done is durable. */
void recording_settle(void);
/* The path of a node's first name below the folder, for messages. */
const char *recording_path(const struct recording *recording, unsigned node, char path[256]);
