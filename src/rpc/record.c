#include "rpc/record.h"

#include "base/scoped.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    AHEAD_SIZE = 16 * 1024,   /* many small records a read; of a big one, little is copied twice */
    DIRECT_MIN = 4 * 1024,    /* what is left of a fragment is read in place if it is at least this */
    FIRST_CAPACITY = 1024,    /* of a record that has yet to come */
    TRUSTED_AFTER = 8 * 1024, /* bytes of a record that have come before its claimed size is believed */
    EMPTY_FRAGMENTS_MAX = 16, /* in a row */
    EXACT_MAX = 32 * 1024     /* larger blocks come from a shelf */
};

/* ---- the pool ---- */

/* A record and its bytes, in one piece of memory. */
struct block {
    struct record record;
    struct block *next;  /* on its shelf */
    struct shelf *shelf; /* where it goes back to, or NULL */
    _Alignas(16) uint8_t bytes[];
};

/* Blocks of one size that wait to be used again. */
struct shelf {
    size_t capacity;
    unsigned keeps;
    pthread_mutex_t mutex; /* guards what follows; taken alone, nothing is called under it */
    struct block *first;
    unsigned count;
};

#ifdef FILESHARE_SANITIZED
#define KEEPS(count) 0 /* so that a use after the free is seen */
#else
#define KEEPS(count) (count)
#endif

/*
 * Memory that was never touched costs more to fill than the socket does: so big
 * blocks are kept, 30 MiB at most. The largest takes FS_RECORD_MAX and a mark.
 */
static struct shelf shelves[] = {
    {.capacity = 64 * 1024, .keeps = KEEPS(32), .mutex = PTHREAD_MUTEX_INITIALIZER},
    {.capacity = 256 * 1024, .keeps = KEEPS(8), .mutex = PTHREAD_MUTEX_INITIALIZER},
    {.capacity = 544 * 1024, .keeps = KEEPS(8), .mutex = PTHREAD_MUTEX_INITIALIZER},
    {.capacity = 1088 * 1024 + 64, .keeps = KEEPS(20), .mutex = PTHREAD_MUTEX_INITIALIZER},
};

static struct shelf *shelf_for(size_t capacity)
{
    if (capacity <= EXACT_MAX)
        return NULL;
    for (size_t i = 0; i < sizeof(shelves) / sizeof(shelves[0]); i++)
        if (capacity <= shelves[i].capacity)
            return &shelves[i];
    return NULL;
}

/* What a block for so many bytes really has room for. */
static size_t room_for(size_t capacity)
{
    const struct shelf *shelf = shelf_for(capacity);
    return shelf ? shelf->capacity : capacity;
}

static struct block *shelf_take(struct shelf *shelf)
{
    scoped_lock(&shelf->mutex);
    struct block *block = shelf->first;
    if (block) {
        shelf->first = block->next;
        shelf->count--;
    }
    return block;
}

static bool shelf_give(struct shelf *shelf, struct block *block)
{
    scoped_lock(&shelf->mutex);
    if (shelf->count >= shelf->keeps)
        return false;
    block->next = shelf->first;
    shelf->first = block;
    shelf->count++;
    return true;
}

struct record *record_new(size_t capacity)
{
    struct shelf *shelf = shelf_for(capacity);
    struct block *block = shelf ? shelf_take(shelf) : NULL;

    if (!block) {
        if (capacity > SIZE_MAX - sizeof(struct block))
            return NULL;
        block = malloc(sizeof(*block) + room_for(capacity));
        if (!block)
            return NULL;
        block->shelf = shelf;
        block->record.bytes = block->bytes;
        block->record.capacity = room_for(capacity);
    }
    block->next = NULL;
    block->record.size = 0;
    block->record.next = NULL;
    return &block->record;
}

void *record_free(struct record *record)
{
    struct block *block = (struct block *)record;

    if (block && !(block->shelf && shelf_give(block->shelf, block)))
        free(block);
    return NULL;
}

/* ---- the reader ---- */

void record_reader_init(struct record_reader *reader, size_t limit, record_may_grow *may_grow, void *context)
{
    *reader = (struct record_reader){.limit = limit, .may_grow = may_grow, .context = context};
}

void record_reader_fini(struct record_reader *reader)
{
    reader->partial = record_free(reader->partial);
    free(reader->ahead);
    reader->ahead = NULL;
    reader->ahead_at = reader->ahead_have = 0;
}

size_t record_reader_held(const struct record_reader *reader)
{
    return reader->partial ? reader->partial->size : 0;
}

static size_t ahead_left(const struct record_reader *reader)
{
    return reader->ahead_have - reader->ahead_at;
}

bool record_reader_has_ahead(const struct record_reader *reader)
{
    return ahead_left(reader) > 0;
}

static bool in_fragment(const struct record_reader *reader)
{
    return reader->header_have == RECORD_HEADER_SIZE;
}

static bool between_records(const struct record_reader *reader)
{
    return !reader->partial && reader->header_have == 0 && reader->empty_fragments == 0;
}

/* One read(2); OK if bytes came. */
static enum outcome read_some(struct record_reader *reader, const struct record_source *source, void *to,
                              size_t count, size_t *got, struct failure *why)
{
    ssize_t came;

    do
        came = source->read(source->context, to, count);
    while (came < 0 && errno == EINTR);

    if (came > 0) {
        *got = (size_t)came;
        return OUTCOME_OK;
    }
    if (came < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return OUTCOME_UNAVAILABLE;
    if (came < 0)
        return failure_system(why, OUTCOME_UNREACHABLE, errno, "the connection broke");
    if (between_records(reader))
        return OUTCOME_ABSENT;
    return failure_set(why, OUTCOME_PROTOCOL, "the peer hung up in the middle of a record");
}

static enum outcome fill_ahead(struct record_reader *reader, const struct record_source *source,
                               struct failure *why)
{
    size_t got = 0;
    enum outcome outcome;

    if (!reader->ahead)
        reader->ahead = malloc(AHEAD_SIZE);
    if (!reader->ahead)
        return failure_set(why, OUTCOME_NOMEM, "no memory to read a record");

    reader->ahead_at = reader->ahead_have = 0;
    outcome = read_some(reader, source, reader->ahead, AHEAD_SIZE, &got, why);
    reader->ahead_have = got;
    return outcome;
}

/* Takes what is there of the next fragment's header; judges it once it is whole. */
static enum outcome take_header(struct record_reader *reader, struct failure *why)
{
    while (reader->header_have < RECORD_HEADER_SIZE && ahead_left(reader) > 0)
        reader->header[reader->header_have++] = reader->ahead[reader->ahead_at++];
    if (!in_fragment(reader))
        return OUTCOME_OK;

    const uint8_t *header = reader->header;
    uint32_t word = (uint32_t)header[0] << 24 | (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 |
                    header[3];
    reader->fragment_is_last = word & RECORD_LAST_FRAGMENT;
    reader->fragment_left = word & ~(uint32_t)RECORD_LAST_FRAGMENT;

    if (reader->fragment_left > reader->limit - record_reader_held(reader))
        return failure_set(why, OUTCOME_LIMIT, "the peer sends a record longer than %zu bytes",
                           reader->limit);
    if (reader->fragment_left > 0)
        reader->empty_fragments = 0;
    else if (++reader->empty_fragments > EMPTY_FRAGMENTS_MAX)
        return failure_set(why, OUTCOME_PROTOCOL, "the peer sends empty fragments without end");
    return OUTCOME_OK;
}

/*
 * How large the record should become now. A claim is believed only after some of
 * it has come; until then memory doubles with the bytes.
 */
static size_t wanted_capacity(const struct record_reader *reader)
{
    size_t held = record_reader_held(reader);
    size_t here = ahead_left(reader) < reader->fragment_left ? ahead_left(reader) : reader->fragment_left;
    size_t claimed = held + reader->fragment_left;
    size_t wanted = 2 * held > FIRST_CAPACITY ? 2 * held : FIRST_CAPACITY;

    if (wanted < held + here)
        wanted = held + here;
    if (reader->fragment_is_last && wanted > claimed)
        wanted = claimed;
    if ((held == 0 ? here : held) >= TRUSTED_AFTER && wanted < claimed)
        wanted = claimed;
    return wanted < reader->limit ? wanted : reader->limit;
}

/* Room for at least one more byte of the record. */
static enum outcome grow(struct record_reader *reader, struct failure *why)
{
    struct record *old = reader->partial;
    size_t wanted, asked;

    if (old && old->size < old->capacity)
        return OUTCOME_OK;
    wanted = wanted_capacity(reader);
    asked = room_for(wanted) < reader->limit ? room_for(wanted) : reader->limit;
    /* Of a new record the first bytes are in `ahead` still. */
    const uint8_t *bytes = old ? old->bytes : reader->ahead + reader->ahead_at;
    size_t so_far = old ? old->size : ahead_left(reader);
    errno = 0;
    if (reader->may_grow && !reader->may_grow(reader->context, bytes, so_far, asked))
        return errno == EAGAIN ? OUTCOME_UNAVAILABLE
                               : failure_set(why, OUTCOME_LIMIT, "no room for a record of %zu bytes", asked);

    struct record *larger = record_new(wanted);
    if (!larger)
        return failure_set(why, OUTCOME_NOMEM, "no memory for a record of %zu bytes", wanted);
    if (old) {
        memcpy(larger->bytes, old->bytes, old->size);
        larger->size = old->size;
        record_free(old);
    }
    reader->partial = larger;
    return OUTCOME_OK;
}

/* Moves bytes of the current fragment into the record: from `ahead`, else straight from the source. */
static enum outcome take_content(struct record_reader *reader, const struct record_source *source,
                                 struct failure *why)
{
    enum outcome outcome = grow(reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;

    struct record *record = reader->partial;
    size_t room = record->capacity - record->size;
    size_t count = reader->fragment_left < room ? reader->fragment_left : room;

    if (ahead_left(reader) > 0) {
        if (count > ahead_left(reader))
            count = ahead_left(reader);
        memcpy(record->bytes + record->size, reader->ahead + reader->ahead_at, count);
        reader->ahead_at += count;
    } else {
        outcome = read_some(reader, source, record->bytes + record->size, count, &count, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    record->size += count;
    reader->fragment_left -= count;
    return OUTCOME_OK;
}

/* The current fragment is all there. OK with *out set if it was the last. */
static enum outcome end_fragment(struct record_reader *reader, struct record **out, struct failure *why)
{
    reader->header_have = 0;
    if (!reader->fragment_is_last)
        return OUTCOME_OK;
    if (!reader->partial)
        return failure_set(why, OUTCOME_PROTOCOL, "the peer sent an empty record");
    reader->empty_fragments = 0;
    *out = reader->partial;
    reader->partial = NULL;
    return OUTCOME_OK;
}

static bool wants_ahead(const struct record_reader *reader)
{
    if (ahead_left(reader) > 0)
        return false;
    return !in_fragment(reader) || (reader->fragment_left > 0 && reader->fragment_left < DIRECT_MIN);
}

/* An idle connection holds no buffer. */
static void let_ahead_go(struct record_reader *reader)
{
    if (ahead_left(reader) > 0)
        return;
    free(reader->ahead);
    reader->ahead = NULL;
    reader->ahead_at = reader->ahead_have = 0;
}

enum outcome record_reader_next(struct record_reader *reader, const struct record_source *source,
                                struct record **out, struct failure *why)
{
    struct record *complete = NULL;
    enum outcome outcome = OUTCOME_OK;

    while (!complete && outcome == OUTCOME_OK) {
        if (wants_ahead(reader))
            outcome = fill_ahead(reader, source, why);
        else if (!in_fragment(reader))
            outcome = take_header(reader, why);
        else if (reader->fragment_left > 0)
            outcome = take_content(reader, source, why);
        else
            outcome = end_fragment(reader, &complete, why);
    }
    if (outcome == OUTCOME_OK)
        *out = complete;
    else
        let_ahead_go(reader);
    return outcome;
}
