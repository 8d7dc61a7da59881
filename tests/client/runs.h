/*
 * runs: the real client, broken off, and what that leaves for the next run of the same command. For tests.
 */
#pragma once

#include "base/id.h"
#include "client/broken.h"

enum how { CLIENT_KILLED, SERVER_KILLED, CUT };

/* The command that uploads the file "large" under this name, and the one that downloads it; they give up at once. */
void runs_put(const char *words[8], const char *name);
void runs_get(const char *words[8], const char *name);

/*
 * Runs the client, which is broken off at that byte of its connection (way 0: to
 * the server, 1: from it); what ended is there again afterwards. Its status, which
 * is that of this end, or 0.
 */
int runs_some(struct broken *broken, enum how how, int way, uint64_t at, const char *const *arguments);
/*
 * The same at that byte of the content, and it must come to that. Of an upload:
 * how much the server had answered for.
 */
uint64_t runs_break(struct broken *broken, enum how how, int way, uint64_t offset,
                    const char *const *arguments);

/* Notes of uploads, parts of downloads: how many there are, and the path of the last. */
unsigned runs_note(struct broken *broken, char found[600]);
unsigned runs_part(struct broken *broken, char found[600]);
/* The size of one, which is of mode 0600. */
uint64_t runs_size(const char *path);

/* A path in the folder of the client. */
void runs_path(struct broken *broken, char path[256], const char *leaf);
/* What was got of this name is these SIZE bytes; it is removed. */
void runs_expect_got(struct broken *broken, const char *name, const void *bytes);
/* Makes a part that holds nearly all. */
void runs_leave_part(struct broken *broken, char name[64], char part[600]);

/* The upload of the only note: what the server holds of it; UINT64_MAX: there is no note. */
uint64_t runs_held(struct broken *broken, const char *name, struct id *out);
/* Sends some bytes of it, as that client could; what is held then. */
uint64_t runs_send(struct broken *broken, const struct id *id, uint64_t offset, const uint8_t *bytes,
                   uint64_t count);
/* The server drops it. */
void runs_drop(struct broken *broken, const struct id *id);
