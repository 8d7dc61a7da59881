/*
 * Many versions opened at once: one look at the database for all of them, and one
 * descriptor for those whose content lies in one blob.
 *
 * Names asked for in the order in which they stand in the database are found by
 * stepping from one to the next. Whatever is not found so (there is no such name,
 * the version is a kept one, its blob was swept since we looked) is opened by
 * itself, as read_open does, and answered so.
 */
#include "base/scoped.h"
#include "server/store/local/entries.h"
#include "server/store/local/local.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Descriptors that one act may leave open: then it ends. */
enum { DESCRIPTORS_MAX = 64 };

/* ---- what was opened ---- */

struct batch;

struct part {
    struct store_read read; /* first; its descriptor is the batch's */
    struct batch *batch;
};

/* What the parts of one act share; goes with the last of them. */
struct batch {
    _Atomic unsigned users; /* parts in use, and the act */
    unsigned blobs;
    struct {
        int64_t content;
        int fd;
    } blob[DESCRIPTORS_MAX];
    size_t used;
    char *names; /* behind the parts: where the next one's goes */
    struct part parts[];
};

static void batch_leave(struct batch *batch)
{
    if (atomic_fetch_sub_explicit(&batch->users, 1, memory_order_acq_rel) > 1)
        return;
    for (unsigned i = 0; i < batch->blobs; i++)
        close(batch->blob[i].fd);
    free(batch);
}

static void batch_leave_at(struct batch **batch)
{
    if (*batch)
        batch_leave(*batch);
}

static struct batch *batch_new(const struct store_read_many *many)
{
    size_t parts = many->count * sizeof(struct part), names = 0;
    for (size_t i = 0; i < many->count; i++)
        names += strlen(many->wanted[i].name) + 1;
    struct batch *batch = malloc(sizeof *batch + parts + names);
    if (!batch)
        return NULL;
    atomic_init(&batch->users, 1);
    batch->blobs = 0;
    batch->used = 0;
    batch->names = (char *)batch->parts + parts;
    return batch;
}

static void part_close(struct store_read *read)
{
    struct part *part = (struct part *)(void *)read;
    read_let_go(read);
    batch_leave(part->batch);
}

static int batch_descriptor(const struct batch *batch, int64_t content)
{
    for (unsigned i = batch->blobs; i > 0; i--)
        if (batch->blob[i - 1].content == content)
            return batch->blob[i - 1].fd;
    return -1;
}

/* ---- looking ---- */

/* One act. */
struct look {
    struct local *local;
    const struct store_read_many *many;
    size_t at; /* the next that is wanted */
    bool over; /* no more is */
    struct batch *batch;
    unsigned others; /* descriptors that are not the batch's */
    struct store_found found;

    /* While there is a reader: */
    struct database *db;
    struct query rows; /* of entries, from some name on */
    bool has_row;
    struct query held; /* the content that was looked at last */
    int64_t content;   /* its row; 0: none */
};

static void give(struct look *look)
{
    struct store_found *found = &look->found;
    if (look->many->take(look->many->context, found)) {
        look->at++;
        return;
    }
    look->over = true;
    if (found->outcome == OUTCOME_OK)
        local_read_close(found->read);
}

/* Leaves the row's name behind. */
static bool row_has(struct look *look, const char *name, size_t size)
{
    size_t count;
    look->rows.column = 0;
    const void *bytes = column_blob(&look->rows, &count);
    return count == size && memcmp(bytes, name, size) == 0;
}

static bool next_row(struct look *look)
{
    look->has_row = query_row(&look->rows, NULL) == OUTCOME_OK;
    return look->has_row;
}

/* Mostly it is the next one. */
static bool find_row(struct look *look, const char *name)
{
    size_t size = strlen(name);
    if (look->has_row && (row_has(look, name, size) || (next_row(look) && row_has(look, name, size))))
        return true;
    query_end(&look->rows);
    look->rows = query_on(look->db, "SELECT " ENTRY_COLUMNS
                                    ", place, content FROM entry WHERE name >= ? ORDER BY name");
    bind_text(&look->rows, name);
    return next_row(look) && row_has(look, name, size);
}

static bool find_content(struct look *look, int64_t content)
{
    if (look->content == content)
        return true;
    query_end(&look->held);
    look->held = query_on(look->db, "SELECT blob, bytes FROM content WHERE id = ?");
    bind_int(&look->held, content);
    look->content = query_row(&look->held, NULL) == OUTCOME_OK ? content : 0;
    return look->content != 0;
}

static bool open_blob(struct look *look, int64_t content, struct store_read *read)
{
    struct batch *batch = look->batch;
    struct id blob = column_id(&look->held);
    int fd;
    if (blob_open(&look->local->blobs, BLOB_WHOLE, &blob, false, &fd, NULL) != OUTCOME_OK)
        return false;
    batch->blob[batch->blobs].content = content;
    batch->blob[batch->blobs++].fd = fd;
    read->fd = fd;
    return true;
}

static bool open_content(struct look *look, int64_t content, struct store_read *read)
{
    read->fd = batch_descriptor(look->batch, content);
    if (read->fd >= 0)
        return true;
    if (!find_content(look, content))
        return false;
    look->held.column = 0;
    if (!column_is_null(&look->held))
        return open_blob(look, content, read);
    look->held.column = 1;
    size_t count;
    const void *bytes = column_blob(&look->held, &count);
    return read_hold(read, bytes, count, NULL) == OUTCOME_OK;
}

/* False: it is not as simple as that. */
static bool open_simply(struct look *look)
{
    const struct store_wanted *wanted = &look->many->wanted[look->at];
    struct part *part = &look->batch->parts[look->batch->used];
    struct store_entry *entry = &look->found.entry;
    if (!find_row(look, wanted->name))
        return false;
    entry_take_rest(&look->rows, entry);
    if (!id_is_none(&wanted->version) && !id_equal(&wanted->version, &entry->version))
        return false;
    strcpy(entry->name, wanted->name);
    part->batch = look->batch;
    part->read = (struct store_read){.close = part_close,
                                     .name = strcpy(look->batch->names, wanted->name),
                                     .size = entry->size,
                                     .place = (uint64_t)column_int(&look->rows),
                                     .fd = -1};
    if (!open_content(look, column_int(&look->rows), &part->read))
        return false;
    look->batch->names += strlen(wanted->name) + 1;
    atomic_fetch_add_explicit(&look->batch->users, 1, memory_order_relaxed);
    look->batch->used++;
    look->found.outcome = OUTCOME_OK;
    look->found.read = &part->read;
    return true;
}

static bool is_at_end(const struct look *look)
{
    return look->over || look->at == look->many->count ||
           (look->batch ? look->batch->blobs : 0) + look->others >= DESCRIPTORS_MAX;
}

/* As far as it goes, in one moment of the database. */
static void look_along(struct look *look)
{
    scoped_reader struct reader reader = {0};
    if (!look->batch || readers_take(&look->local->readers, &reader, NULL) != OUTCOME_OK)
        return;
    if (database_begin_reading(reader.db, NULL) != OUTCOME_OK)
        return;
    look->db = reader.db;
    while (!is_at_end(look) && open_simply(look))
        give(look);
    query_end(&look->rows);
    query_end(&look->held);
    look->has_row = false;
    look->content = 0;
    database_end_reading(reader.db);
}

/* No reader is held: a version that is kept for longer waits for the writer. */
static void look_at_one(struct look *look)
{
    const struct store_wanted *wanted = &look->many->wanted[look->at];
    struct store_found *found = &look->found;
    found->outcome = local_read_open(&look->local->store, wanted->name, &wanted->version, &found->read,
                                     &found->entry, &found->why);
    look->others += found->outcome == OUTCOME_OK && found->read->fd >= 0;
    give(look);
}

enum outcome local_read_open_many(struct store *store, const struct store_read_many *many,
                                  struct failure *why)
{
    (void)why; /* each has its own */
    scoped(batch_leave_at) struct batch *batch = batch_new(many);
    struct look look = {.local = local_of(store), .many = many, .batch = batch};
    while (!is_at_end(&look)) {
        look_along(&look);
        if (!is_at_end(&look))
            look_at_one(&look);
    }
    return OUTCOME_OK;
}
