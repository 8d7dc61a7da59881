/*
 * The bytes of an upload, as they come: mostly in order, one piece where the last ended; from a client that sends over
 * several connections some before their turn.
 */
#include "server/store/local/uploads.h"

#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/local.h"
#include "server/store/local/room.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    UPLOAD_FLUSH = 8 << 20, /* write-back is started in steps of so many bytes */
    UPLOAD_SYNC = 64 << 20, /* and what is held recorded in such steps */
    BACK_STEP = 64 << 10,   /* read back at once for the digest: small enough to stay in a cache */
};

#define UPLOAD_SYNC_AFTER (600 * (int64_t)CLOCK_SECOND)

/*
 * Now and then, as bytes come: write-back is started early, so that the sync at
 * the end finds little to do. The bytes are held whatever comes of it, unless
 * the disk refuses the sync: then the upload is given up.
 */
static enum outcome upload_step(struct local *local, struct upload *upload, struct failure *why)
{
    uint64_t held = upload->held;
    sync_file_range(upload->fd, (off_t)upload->started, (off_t)(held - upload->started),
                    SYNC_FILE_RANGE_WRITE);
    upload->started = held;
    if (held - upload->synced < UPLOAD_SYNC && upload->touched - upload->synced_at < UPLOAD_SYNC_AFTER)
        return OUTCOME_OK;
    enum outcome outcome = upload_record(local, upload, why);
    if (!upload->broken)
        return OUTCOME_OK;
    if (upload_drop(local, upload, NULL) != OUTCOME_OK)
        upload_end(local, upload); /* its row goes at the next start */
    return outcome;
}

/* ---- one piece ---- */

struct piece {
    uint64_t offset;
    const void *bytes;
    size_t count;
    bool lacks_room; /* so nothing of it was written; it may be, once room is made */
};

/* Room that it needs beyond what the upload was promised. */
static uint64_t piece_needs(const struct upload *upload, const struct piece *piece)
{
    bool promised = upload->size_known && piece->offset <= upload->size &&
                    piece->count <= upload->size - piece->offset;
    return promised ? 0 : piece->count;
}

static enum outcome piece_write(struct local *local, struct upload *upload, struct piece *piece, bool step,
                                struct failure *why)
{
    enum outcome outcome = step ? room_look(local, piece_needs(upload, piece), why) : OUTCOME_OK;
    piece->lacks_room = outcome == OUTCOME_NOSPACE;
    return outcome == OUTCOME_OK
               ? disk_write_at(upload->fd, piece->bytes, piece->count, piece->offset, "an upload", why)
               : outcome;
}

/* ---- before its turn ---- */

static void ahead_changed(struct upload *upload)
{
    upload->beyond = extents_bytes(upload->ahead);
}

void upload_forget_ahead(struct upload *upload)
{
    if (!upload->ahead)
        return;
    upload->ahead->count = 0;
    ahead_changed(upload);
    /* Else it stays marked; what stands beyond is written over, or cut off when it is published. */
    if (ftruncate(upload->fd, (off_t)upload->held) == 0 && blob_mark(upload->fd, false)) {
        free(upload->ahead);
        upload->ahead = NULL;
    }
}

/* The digest, and with it what is held, goes on up to `end`, over bytes that are in the file. */
static enum outcome read_back(struct upload *upload, uint64_t end, struct failure *why)
{
    scoped_free uint8_t *step = malloc(BACK_STEP);
    if (!step)
        return failure_set(why, OUTCOME_NOMEM, "no memory to compute a digest");
    while (upload->held < end) {
        uint64_t held = upload->held;
        size_t count = end - held < BACK_STEP ? (size_t)(end - held) : BACK_STEP;
        enum outcome outcome = disk_read_at(upload->fd, step, count, held, "an upload", why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
        digest_add(upload->digest, step, count);
        upload->held = held + count;
    }
    return OUTCOME_OK;
}

/* What is held reaches over what was ahead. After a failure it is done by the next piece. */
static enum outcome catch_up(struct upload *upload, struct failure *why)
{
    uint64_t end = extents_reach(upload->ahead, upload->held);
    enum outcome outcome = end > upload->held ? read_back(upload, end, why) : OUTCOME_OK;
    extents_cut(upload->ahead, upload->held);
    ahead_changed(upload);
    return outcome;
}

/* Whether a piece may come before its turn. */
static bool may_be_ahead(const struct upload *upload, uint64_t offset, size_t count)
{
    uint64_t gap = offset - upload->held;
    if (count == 0 || gap > STORE_AHEAD_MAX || count > STORE_AHEAD_MAX - gap)
        return false;
    if (upload->size_known && (offset > upload->size || count > upload->size - offset))
        return false;
    return !upload->ahead || extents_fit(upload->ahead, offset, offset + count);
}

/* *possible is false if the file cannot be marked. */
static enum outcome ahead_ready(struct local *local, struct upload *upload, bool *possible,
                                struct failure *why)
{
    *possible = true;
    enum outcome outcome = upload->fd < 0 || !upload->digest ? upload_ready(local, upload, why) : OUTCOME_OK;
    if (outcome != OUTCOME_OK || upload->ahead)
        return outcome;
    scoped_free struct extents *ahead = calloc(1, sizeof *ahead);
    if (!ahead)
        return failure_set(why, OUTCOME_NOMEM, "no memory for an upload");
    *possible = blob_mark(upload->fd, true);
    if (*possible) {
        upload->ahead = ahead;
        ahead = NULL;
    }
    return OUTCOME_OK;
}

static enum outcome write_ahead(struct local *local, struct upload *upload, struct piece *piece,
                                bool *possible, struct failure *why)
{
    uint64_t end = piece->offset + piece->count;
    enum outcome outcome = ahead_ready(local, upload, possible, why);
    if (outcome != OUTCOME_OK || !*possible)
        return outcome;
    /* As often as in order: each time that so many more stand there. */
    bool step = (upload->beyond + piece->count) / UPLOAD_FLUSH > upload->beyond / UPLOAD_FLUSH;
    outcome = piece_write(local, upload, piece, step, why);
    FAULT_POINT("ahead-written");
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
    *possible = extents_add(upload->ahead, piece->offset, end);
    ahead_changed(upload);
    return OUTCOME_OK;
}

/* A piece that does not begin where the held bytes end. */
static enum outcome write_apart(struct local *local, struct upload *upload, struct piece *piece,
                                struct failure *why)
{
    uint64_t held = upload->held, offset = piece->offset;
    size_t count = piece->count;
    bool taken = offset < held && count > 0 && count <= held - offset; /* it came before */
    if (!taken && offset > held && may_be_ahead(upload, offset, count)) {
        enum outcome outcome = write_ahead(local, upload, piece, &taken, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return taken ? OUTCOME_OK
                 : failure_set(why, OUTCOME_OFFSET, "%llu bytes are held", (unsigned long long)held);
}

/* ---- in its turn ---- */

/* With the upload's lock. */
static enum outcome write_piece(struct local *local, struct upload *upload, struct piece *piece,
                                struct failure *why)
{
    uint64_t held = upload->held;
    size_t count = piece->count;
    if (upload->settled)
        return failure_set(why, OUTCOME_INVALID, "the upload was committed");
    if (piece->offset != held)
        return write_apart(local, upload, piece, why);
    if (upload->fd < 0 || !upload->digest) {
        enum outcome outcome = upload_ready(local, upload, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    bool step = held + count - upload->started >= UPLOAD_FLUSH;
    enum outcome outcome = piece_write(local, upload, piece, step, why);
    FAULT_POINT("upload-written");
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
    digest_add(upload->digest, piece->bytes, count);
    upload->held = held + count;
    if (upload->ahead) {
        outcome = catch_up(upload, why);
        step = upload->held - upload->started >= UPLOAD_FLUSH;
        FAULT_POINT("ahead-caught-up");
    }
    return step && outcome == OUTCOME_OK ? upload_step(local, upload, why) : outcome;
}

static enum outcome write_once(struct local *local, struct upload *upload, struct piece *piece,
                               uint64_t *held, struct failure *why)
{
    enum outcome outcome;
    upload_touch(local, upload);
    scoped_lock(&upload->mutex);
    piece->lacks_room = false;
    if (upload->dead)
        outcome = failure_set(why, OUTCOME_ABSENT, "there is no such upload");
    else
        outcome = write_piece(local, upload, piece, why);
    if (outcome == OUTCOME_OK || outcome == OUTCOME_OFFSET)
        *held = upload->held;
    return outcome;
}

enum outcome local_upload_write(struct store *store, const struct store_caller *caller, const struct id *id,
                                uint64_t offset, const void *bytes, size_t count, uint64_t *held,
                                struct failure *why)
{
    struct local *local = local_of(store);
    struct piece piece = {.offset = offset, .bytes = bytes, .count = count};
    struct upload *upload = uploads_take(&local->uploads, id);
    if (!upload)
        return failure_set(why, OUTCOME_ABSENT, "there is no such upload");
    enum outcome outcome;
    if (strcmp(upload->owner, caller->principal) != 0) {
        outcome = failure_set(why, OUTCOME_DENIED, "the upload belongs to another caller");
    } else {
        uint64_t has;
        outcome = write_once(local, upload, &piece, held, why);
        /* Room is made without the upload's lock: the sweep, which is waited for, takes it. */
        if (piece.lacks_room)
            outcome = room_make(local, piece_needs(upload, &piece), &has, why);
        if (piece.lacks_room && outcome == OUTCOME_OK)
            outcome = write_once(local, upload, &piece, held, why);
    }
    upload_give(local, upload);
    return outcome;
}
