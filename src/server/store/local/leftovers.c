#include "server/store/local/leftovers.h"

#include "base/scoped.h"
#include "server/store/local/local.h"

#include <string.h>

void leftovers_init(struct leftovers *leftovers)
{
    pthread_mutex_init(&leftovers->mutex, NULL);
}

void leftovers_fini(struct leftovers *leftovers)
{
    pthread_mutex_destroy(&leftovers->mutex);
}

void leftover_note(struct local *local, enum blob_place place, const struct id *blob)
{
    struct leftovers *leftovers = &local->leftovers;
    scoped_lock(&leftovers->mutex);
    if (leftovers->count < LEFTOVERS_MAX)
        leftovers->noted[leftovers->count++] = (struct leftover){.place = place, .blob = *blob};
    else
        leftovers->too_many = true;
}

size_t leftovers_count(struct leftovers *leftovers)
{
    scoped_lock(&leftovers->mutex);
    return leftovers->count + leftovers->too_many;
}

bool leftover_is_noted(struct leftovers *leftovers, const struct id *blob)
{
    scoped_lock(&leftovers->mutex);
    for (size_t i = 0; i < leftovers->count; i++)
        if (id_equal(&leftovers->noted[i].blob, blob))
            return true;
    return leftovers->too_many;
}

/* SQLite writes no page whose bytes an UPDATE leaves as they are, but one that was changed twice it does. */
static enum outcome write_anything(struct database *db, struct failure *why)
{
    static const char *const texts[] = {"UPDATE store SET files = files + 1",
                                        "UPDATE store SET files = files - 1"};
    enum outcome outcome = OUTCOME_OK;
    for (size_t i = 0; i < 2 && outcome == OUTCOME_OK; i++) {
        scoped_query struct query q = query_on(db, texts[i]);
        outcome = query_run(&q, why);
    }
    return outcome;
}

enum outcome leftovers_write_over(struct local *local, struct database *db, struct failure *why)
{
    struct leftovers *leftovers = &local->leftovers;
    {
        scoped_lock(&leftovers->mutex);
        leftovers->written_over = leftovers->count;
        leftovers->look_through |= leftovers->too_many;
        leftovers->too_many = false;
    }
    if (leftovers->written_over == 0 && !leftovers->look_through)
        return OUTCOME_OK;
    return write_anything(db, why);
}

/* *gone: it need not be looked at again. */
static enum outcome sweep_one(struct local *local, struct database *db, const struct leftover *leftover,
                              bool *gone, uint64_t *removed, struct failure *why)
{
    *gone = false;
    /* In this order: its maker gives the claim up only when the row is committed. */
    if (blob_is_claimed(&local->blobs, &leftover->blob))
        return OUTCOME_OK;
    bool named = false;
    enum outcome outcome = OUTCOME_OK;
    if (leftover->place == BLOB_WHOLE)
        outcome = sweep_blob_is_named(db, &leftover->blob, &named, why);
    if (outcome == OUTCOME_OK && !named)
        outcome = blob_remove(&local->blobs, leftover->place, &leftover->blob, why);
    *gone = outcome == OUTCOME_OK;
    *removed += *gone && !named;
    return outcome;
}

enum outcome leftovers_sweep(struct local *local, uint64_t *removed, struct failure *why)
{
    struct leftovers *leftovers = &local->leftovers;
    size_t count = leftovers->written_over, left = 0;
    if (count == 0)
        return OUTCOME_OK;
    scoped_reader struct reader reader = {0};
    enum outcome first = readers_take(&local->readers, &reader, why);
    if (first != OUTCOME_OK)
        return first;
    /* Others only add behind these. */
    for (size_t i = 0; i < count; i++) {
        bool gone;
        enum outcome outcome = sweep_one(local, reader.db, &leftovers->noted[i], &gone, removed,
                                         first == OUTCOME_OK ? why : NULL);
        if (first == OUTCOME_OK)
            first = outcome;
        if (!gone)
            leftovers->noted[left++] = leftovers->noted[i];
    }
    scoped_lock(&leftovers->mutex);
    memmove(&leftovers->noted[left], &leftovers->noted[count],
            (leftovers->count - count) * sizeof *leftovers->noted);
    leftovers->count -= count - left;
    leftovers->written_over = left;
    return first;
}
