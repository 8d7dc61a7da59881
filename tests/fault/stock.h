/*
 * stock: a small store whose content is known, copies of it, and fileshared's
 * commands run on them.
 *
 *     stock_begin     makes it, in a folder of its own: files small (in the
 *                     database) and large (blobs), some that came together (in
 *                     one blob, and in one row), two names of one content, a
 *                     version replaced, who waits, events not acknowledged
 *     stock_copy      another of these: a name below the folder
 *     stock_run       fileshared fsck, backup
 *     stock_end       removes all
 *
 * The main thread's. What goes wrong here fails the test.
 */
#pragma once

#include "base/digest.h"
#include "base/id.h"

#include <stdbool.h>
#include <stddef.h>

/* The first came one by one; then four that share a blob, then four that share a row. */
enum {
    STOCK_ALONE = 12,
    STOCK_TOGETHER = 4,
    STOCK_FILES = STOCK_ALONE + 2 * STOCK_TOGETHER,
    STOCK_PATH = 160
};

struct stock_file {
    char name[16];
    size_t size;
    struct digest_value digest;
    bool is_inline;
    struct id blob; /* not inline */
    size_t place;   /* where it begins there */
    bool is_part;   /* of what others share */
};

struct stock {
    char folder[64];
    struct stock_file files[STOCK_FILES]; /* the first two have one content */
};

void stock_begin(struct stock *stock);
void stock_end(struct stock *stock);

/* "base", and whatever stock_copy made. */
const char *stock_path(const struct stock *stock, const char *store, char out[STOCK_PATH]);
void stock_blob_path(const struct stock *stock, const char *store, const struct id *blob,
                     char out[STOCK_PATH]);
/* `to` is no more, then a copy of `from`. */
void stock_copy(const struct stock *stock, const char *from, const char *to);

struct stock_said {
    int code; /* exit status; -9 if it was killed */
    char text[16384];
};
/*
 * Runs "fileshared WORDS" in the stock's folder; `crash` is for FILESHARE_CRASH_AT,
 * or NULL. Anything but an exit or SIGKILL fails the test.
 */
void stock_run(const struct stock *stock, const char *crash, struct stock_said *said, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* SQL statements in a store's database. */
void stock_sql(const struct stock *stock, const char *store, const char *text);

/*
 * Opens the store in this process: each file with bad[i] false is there, byte for byte (NULL: all of them). Those
 * with bad[i] true are not there, or whole.
 */
void stock_expect(const struct stock *stock, const char *store, const bool *bad);
