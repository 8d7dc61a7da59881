#include "server/store/local/room.h"

#include "base/disk.h"
#include "base/duration.h"
#include "base/scoped.h"
#include "server/store/local/condense.h"
#include "server/store/local/kept.h"
#include "server/store/local/local.h"
#include "server/store/local/pin.h"

#include <time.h>

enum {
    ROUNDS = 512,   /* of one call: batches of versions, */
    CONDENSING = 4, /* or so many times dearer ones of shared content */
    /* Some file systems have freed space a moment later. */
    SETTLE_LOOKS = 10,
    SETTLE_STEP_MS = 50,
    MAKINGS = 3, /* of one call */
};

/* ---- how much there is ---- */

struct room {
    uint64_t disk;  /* free there */
    uint64_t taken; /* of it: the reserve, and what live uploads were promised */
};

static uint64_t plus(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static enum outcome room_measure(struct local *local, struct room *out, struct failure *why)
{
    enum outcome outcome = disk_free_bytes(local->folder_fd, &out->disk, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
    out->taken = plus(local->limits.reserve_bytes, uploads_promised(&local->uploads));
    return OUTCOME_OK;
}

/* Bytes that `size` more lacks; 0: it fits. */
static uint64_t room_lacks(const struct room *room, uint64_t size)
{
    uint64_t needed = plus(room->taken, size);
    return needed > room->disk ? needed - room->disk : 0;
}

/* What can be had when `yield` more is freed. */
static uint64_t room_has(const struct room *room, uint64_t yield)
{
    uint64_t disk = plus(room->disk, yield);
    return disk > room->taken ? disk - room->taken : 0;
}

enum outcome room_refusal(uint64_t size, uint64_t has, struct failure *why)
{
    char needs_text[DURATION_TEXT_SIZE], has_text[DURATION_TEXT_SIZE];
    return failure_set(why, OUTCOME_NOSPACE, "server is out of space (needs %s, has %s)",
                       size_text(size, needs_text), size_text(has, has_text));
}

enum outcome room_look(struct local *local, uint64_t size, struct failure *why)
{
    struct room room;
    enum outcome outcome = room_measure(local, &room, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    return room_lacks(&room, size) == 0 ? OUTCOME_OK : room_refusal(size, room_has(&room, 0), why);
}

/* ---- making it ---- */

struct making {
    uint64_t size;
    struct room room;
    struct kept_walk walk;
    bool condensing; /* all kept versions were looked at */
    bool through;    /* and all shared content: there is nothing more */
    uint64_t lacked; /* at the beginning */
};

static enum outcome not_yet(struct failure *why)
{
    return failure_set(why, OUTCOME_UNAVAILABLE, "server is making room; try again");
}

/* A batch of versions, or, once there are none, a few pieces of shared content. */
static enum outcome make_round(struct local *local, struct making *making)
{
    if (!making->walk.over)
        return kept_give(local, room_lacks(&making->room, making->size), &making->walk, NULL);
    if (!making->condensing)
        local->sweeping.condensed = 0; /* all of it */
    making->condensing = true;
    bool more = false;
    enum outcome outcome = condense(local, &more, NULL);
    making->through = !more;
    return outcome;
}

/* With the sweep's lock and the pin. NOSPACE also when something fails: then it cannot be made. */
static enum outcome make_rounds(struct local *local, struct making *making, uint64_t *has,
                                struct failure *why)
{
    uint64_t yield = 0;
    if (kept_yield(local, &yield, NULL) != OUTCOME_OK)
        yield = 0;
    *has = room_has(&making->room, yield);
    if (yield < making->lacked)
        return room_refusal(making->size, *has, why);
    enum outcome made = OUTCOME_OK;
    for (unsigned spent = 0; spent < ROUNDS && made == OUTCOME_OK && !making->through;
         spent += making->condensing ? CONDENSING : 1) {
        made = make_round(local, making);
        enum outcome outcome = room_measure(local, &making->room, why);
        if (outcome != OUTCOME_OK || room_lacks(&making->room, making->size) == 0)
            return outcome;
    }
    *has = room_has(&making->room, 0);
    return made == OUTCOME_OK && !making->through ? not_yet(why) : room_refusal(making->size, *has, why);
}

/* Once through what is kept as it stands. Also OK: who had the lock before made it. */
static enum outcome make_once(struct local *local, struct making *making, uint64_t *has, struct failure *why)
{
    scoped_lock(&local->sweeping.mutex);
    enum outcome outcome = room_measure(local, &making->room, why);
    making->lacked = room_lacks(&making->room, making->size);
    if (outcome != OUTCOME_OK || making->lacked == 0)
        return outcome;
    bool pinned;
    *has = room_has(&making->room, 0);
    if (!content_may_go(local, &pinned))
        return room_refusal(making->size, *has, why);
    outcome = make_rounds(local, making, has, why);
    if (!pinned)
        pin_pass(local->pin_fd);
    return outcome;
}

/* Until there is room, for a while: false if there is none. */
static bool settle(struct local *local, uint64_t size)
{
    const struct timespec step = {.tv_nsec = SETTLE_STEP_MS * 1000000L};
    for (unsigned n = 0; n < SETTLE_LOOKS; n++) {
        nanosleep(&step, NULL);
        if (room_look(local, size, NULL) == OUTCOME_OK)
            return true;
    }
    return false;
}

/*
 * So much may go that it should do, and there is no room all the same: it is not seen yet, which time mends, or
 * somebody else was faster. He may have left as much behind, kept since then.
 */
enum outcome room_make(struct local *local, uint64_t size, uint64_t *has, struct failure *why)
{
    if (room_look(local, size, NULL) == OUTCOME_OK)
        return OUTCOME_OK;
    for (unsigned n = 0; n < MAKINGS; n++) {
        if (n > 0 && settle(local, size))
            return OUTCOME_OK;
        struct making making = {.size = size, .walk = kept_walk_begin()};
        enum outcome outcome = make_once(local, &making, has, why);
        if (outcome != OUTCOME_NOSPACE || (n == 0 && making.walk.bytes < making.lacked))
            return outcome;
    }
    return not_yet(why);
}

enum outcome room_restore(struct local *local, struct store_sweep *out, bool *left, struct failure *why)
{
    uint64_t disk;
    struct kept_walk walk = kept_walk_begin();
    enum outcome outcome = disk_free_bytes(local->folder_fd, &disk, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_LOCAL ? OUTCOME_UNAVAILABLE : outcome;
    if (disk >= local->limits.reserve_bytes)
        return OUTCOME_OK;
    outcome = kept_give(local, local->limits.reserve_bytes - disk, &walk, why);
    out->blobs += walk.ended;
    *left |= outcome == OUTCOME_OK && walk.ended > 0 && !walk.over;
    return outcome;
}
