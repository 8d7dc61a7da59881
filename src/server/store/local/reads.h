/*
 * reads: versions open for reading.
 *
 * A bounded table of versions that were opened lately, by version: their entry,
 * and their descriptor or (small ones) their bytes. Every DOWNLOAD call opens
 * and closes; as long as the version is in the table that costs neither SQL nor
 * open(2). Who opens the newest of a name asks the database for its version
 * first. Versions in use are never thrown out; of the others the one used
 * longest ago goes first.
 *
 * A version that is no longer the newest is kept until some time after its last
 * read: its row is moved on by whoever reads it, every few seconds, and by these
 * seconds further, so that the last read counts in full.
 *
 * Locks: the table's is a leaf.
 */
#pragma once

#include "base/list.h"
#include "server/store/store.h"

#include <pthread.h>

enum { READ_BUCKETS = 256, READ_PAUSE_SECONDS = 60 };

/* What everything that is open for reading begins with, whoever opened it; fixed while it is open. */
struct store_read {
    void (*close)(struct store_read *read);
    const char *name; /* for complaints */
    uint64_t size;
    uint64_t place; /* in the file */
    int fd;         /* -1: the bytes are here */
    const uint8_t *bytes;
};

/* Its bytes, from a row of content that holds them, at its place there: copied. CORRUPT, NOMEM. */
must_check enum outcome read_hold(struct store_read *read, const void *bytes, size_t count,
                                  struct failure *why);
void read_let_go(struct store_read *read); /* of such bytes */

struct reads {
    pthread_mutex_t mutex;
    struct list buckets[READ_BUCKETS];
    struct list idle; /* not in use, longest ago first */
    unsigned count;
    uint32_t limit;
};

struct local;

void reads_init(struct reads *reads, uint32_t limit);
void reads_fini(struct reads *reads); /* none is in use */

/* False if somebody reads it now. Else it is out of the table, and opening it asks the database. */
bool reads_forget(struct reads *reads, const struct id *version);
/*
 * Whether a download is reading it: one has it open, or read some of it within the last READ_PAUSE_SECONDS and has not
 * come to its end. As far as the table goes, and for versions that take more than one reading.
 */
bool reads_are_under_way(struct reads *reads, const struct id *version, int64_t now);
/* As reads_forget; false also while they are under way. */
bool reads_forget_done(struct reads *reads, const struct id *version, int64_t now);

/* Store time until which a version is kept that was replaced, or read, now. */
int64_t reads_keep_until(const struct local *local);

/* The acts. */
enum outcome local_read_open(struct store *store, const char *name, const struct id *version,
                             struct store_read **out, struct store_entry *entry, struct failure *why)
    must_check;
enum outcome local_read_at(struct store_read *read, uint64_t offset, void *bytes, size_t count,
                           struct failure *why) must_check;
void local_read_close(struct store_read *read);
/* read_many.c */
enum outcome local_read_open_many(struct store *store, const struct store_read_many *many,
                                  struct failure *why) must_check;
