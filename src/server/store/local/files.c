#include "server/store/local/files.h"

#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/answers.h"
#include "server/store/local/entries.h"
#include "server/store/local/local.h"
#include "server/store/local/put.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- stat ---- */

/* *content may be NULL: else its row and place. ABSENT. */
static enum outcome entry_find(struct database *db, const char *name, struct store_entry *out,
                               struct publish_content *content, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT " ENTRY_COLUMNS
                                               ", content, place FROM entry WHERE name = ?");
    bind_text(&q, name);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_ABSENT)
        return failure_set(why, OUTCOME_ABSENT, "there is no such file");
    if (outcome != OUTCOME_OK)
        return outcome;
    entry_take(&q, out);
    if (content) {
        content->row = column_int(&q);
        content->place = column_int(&q);
    }
    return OUTCOME_OK;
}

enum outcome local_stat(struct store *store, const char *name, struct store_entry *out, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local_of(store)->readers, &reader, why);
    return outcome == OUTCOME_OK ? entry_find(reader.db, name, out, NULL, why) : outcome;
}

/* ---- list ---- */

static void glob_free_at(struct glob **glob)
{
    glob_free(*glob);
}

/* Rows from the query on, those that match; `prefix` is what all of them begin with. */
static enum outcome list_rows(struct query *q, const struct glob *glob, const char *prefix,
                              const struct store_list *list, struct store_page *page, struct failure *why)
{
    /* Of one after the other, in turn: where a page ends, the one before is where to go on. */
    struct store_entry rows[2];
    size_t prefix_size = strlen(prefix);
    const char *before = list->cursor ? list->cursor : "";
    for (size_t examined = 0;; examined++) {
        enum outcome outcome = query_row(q, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
        struct store_entry *row = &rows[examined % 2];
        entry_take_name(q, row);
        /* A bit that flipped in a name: pages might go in a circle, or leave names out. */
        if (strcmp(row->name, before) <= 0)
            return failure_set(why, OUTCOME_CORRUPT, "the database is damaged: names are out of order");
        if (strncmp(row->name, prefix, prefix_size) != 0)
            return OUTCOME_OK;
        page->more = page->count == list->limit || examined == STORE_SCAN_MAX;
        if (!page->more && (!glob || glob_match(glob, row->name))) {
            entry_take_rest(q, row);
            page->more = !list->take(list->context, row);
            page->count += !page->more;
        }
        if (page->more) {
            snprintf(page->cursor, sizeof page->cursor, "%s", before);
            return OUTCOME_OK;
        }
        before = row->name;
    }
}

enum outcome files_page(struct database *db, const struct glob *glob, const struct store_list *list,
                        struct store_page *out, struct failure *why)
{
    const char *prefix = glob ? glob_prefix(glob) : "", *cursor = list->cursor ? list->cursor : "";
    /* One bound, so that it is the one that the search starts from. */
    bool from_cursor = strcmp(cursor, prefix) >= 0;
    scoped_query struct query q = from_cursor ? query_on(db, "SELECT " ENTRY_COLUMNS
                                                             " FROM entry WHERE name > ? ORDER BY name")
                                              : query_on(db, "SELECT " ENTRY_COLUMNS
                                                             " FROM entry WHERE name >= ? ORDER BY name");
    bind_text(&q, from_cursor ? cursor : prefix);
    struct store_page page = {0};
    enum outcome outcome = list_rows(&q, glob, prefix, list, &page, why);
    if (outcome == OUTCOME_OK)
        *out = page;
    return outcome;
}

enum outcome local_list(struct store *store, const struct store_list *list, struct store_page *out,
                        struct failure *why)
{
    if (list->limit == 0)
        return failure_set(why, OUTCOME_INVALID, "a page has room for one name at least");
    scoped(glob_free_at) struct glob *glob = NULL;
    enum outcome outcome = list->glob && *list->glob ? glob_new(list->glob, &glob, why) : OUTCOME_OK;
    scoped_reader struct reader reader = {0};
    if (outcome == OUTCOME_OK)
        outcome = readers_take(&local_of(store)->readers, &reader, why);
    return outcome == OUTCOME_OK ? files_page(reader.db, glob, list, out, why) : outcome;
}

/* ---- remove ---- */

static enum outcome may_end(const struct store_entry *entry, const struct store_caller *caller,
                            const struct id *expected, struct failure *why)
{
    if (!caller->superior && strcmp(entry->owner, caller->principal) != 0)
        return failure_set(why, OUTCOME_DENIED, "the file belongs to %s", entry->owner);
    if (!id_is_none(expected) && !id_equal(expected, &entry->version))
        return failure_set(why, OUTCOME_CHANGED, "the file is another version now");
    return OUTCOME_OK;
}

struct removing {
    struct answer_key key;
    const char *name;
    const struct id *expected;
};

static enum outcome remove_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    const struct removing *removing = argument;
    scoped_pack struct pack body = {0};
    enum outcome outcome = answers_find(db, &removing->key, &body, why);
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    struct store_entry entry;
    outcome = entry_find(db, removing->name, &entry, NULL, why);
    if (outcome == OUTCOME_OK)
        outcome = may_end(&entry, removing->key.caller, removing->expected, why);
    if (outcome == OUTCOME_OK)
        outcome = publish_retire(local, db, removing->name, why);
    FAULT_POINT("remove-made");
    if (outcome != OUTCOME_OK)
        return outcome;
    return answers_keep(db, &removing->key, timeline_now(&local->time), &body,
                        local->limits.answers_per_principal, why);
}

enum outcome local_remove(struct store *store, const struct store_caller *caller, const struct id *op,
                          const char *name, const struct id *expected, struct failure *why)
{
    scoped_pack struct pack arguments = {0};
    pack_text(&arguments, name);
    pack_id(&arguments, expected);
    struct removing removing = {
        .key = {.id = op, .caller = caller, .act = ANSWER_REMOVE, .arguments = answers_arguments(&arguments)},
        .name = name,
        .expected = expected,
    };
    enum outcome outcome = writer_do(&local_of(store)->writer, remove_run, &removing, why);
    FAULT_POINT("remove-committed");
    return outcome;
}

/* ---- rename ---- */

struct renaming {
    struct answer_key key;
    const struct store_rename *rename;
    struct store_entry made;
};

/*
 * One of many that stand in one blob is given content of its own, in the database: whose parts are named is looked
 * up by the versions that they came with (condense.h), which the new one is not. *bytes is yours.
 */
static enum outcome rename_part(struct local *local, struct database *db, const struct store_entry *entry,
                                struct publish_content *content, uint8_t **bytes, struct failure *why)
{
    struct id blob;
    {
        scoped_query struct query q = query_on(
            db, "SELECT blob, substr(bytes, ? + 1, ?) FROM content WHERE id = ? AND parts IS NOT NULL");
        bind_int(&q, content->place);
        bind_int(&q, (int64_t)entry->size);
        bind_int(&q, content->row);
        enum outcome outcome = query_row(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
        *bytes = entry->size <= PART_MAX ? malloc(entry->size + 1) : NULL;
        if (!*bytes)
            return failure_set(why, OUTCOME_NOMEM, "no memory to rename a file");
        bool is_inline = column_is_null(&q);
        blob = column_id(&q);
        size_t count;
        const void *held = column_blob(&q, &count);
        if (is_inline && count != entry->size)
            return failure_set(why, OUTCOME_CORRUPT, "the content of %s is not whole", entry->name);
        if (is_inline && count > 0)
            memcpy(*bytes, held, count);
        *content = is_inline ? (struct publish_content){.kind = CONTENT_INLINE, .bytes = *bytes} : *content;
    }
    if (content->kind == CONTENT_INLINE)
        return OUTCOME_OK;
    scoped_fd int fd = -1;
    enum outcome outcome = blob_open(&local->blobs, BLOB_WHOLE, &blob, false, &fd, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT
                   ? failure_set(why, OUTCOME_CORRUPT, "the content of %s is missing", entry->name)
                   : outcome;
    outcome = disk_read_at(fd, *bytes, entry->size, (uint64_t)content->place, entry->name, why);
    if (outcome == OUTCOME_LOCAL)
        return OUTCOME_UNAVAILABLE;
    *content = (struct publish_content){.kind = CONTENT_INLINE, .bytes = *bytes};
    return outcome;
}

static enum outcome rename_do(struct local *local, struct database *db, struct renaming *renaming,
                              struct failure *why)
{
    const struct store_rename *rename = renaming->rename;
    struct publish_content content = {.kind = CONTENT_SAME};
    struct store_entry *made = &renaming->made;
    scoped_free uint8_t *bytes = NULL;
    struct tally tally;
    enum outcome outcome = entry_find(db, rename->source, made, &content, why);
    if (outcome == OUTCOME_OK)
        outcome = may_end(made, renaming->key.caller, &rename->expected, why);
    if (outcome == OUTCOME_OK)
        outcome = publish_check(db, renaming->key.caller, rename->target, &rename->condition, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = rename_part(local, db, made, &content, &bytes, why);
    if (outcome == OUTCOME_OK)
        outcome = tally_begin(db, &tally, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    snprintf(made->name, sizeof made->name, "%s", rename->target);
    made->version = rename->op;
    outcome = publish_make(local, db, made, &content, NULL, &tally, why);
    FAULT_POINT("rename-published");
    if (outcome == OUTCOME_OK)
        outcome = tally_end(db, &tally, why);
    return outcome == OUTCOME_OK ? publish_retire(local, db, rename->source, why) : outcome;
}

static enum outcome rename_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct renaming *renaming = argument;
    scoped_pack struct pack body = {0};
    enum outcome outcome = answers_find(db, &renaming->key, &body, why);
    if (outcome == OUTCOME_OK) {
        struct unpacking from = {.bytes = body.bytes, .left = body.count};
        unpack_entry(&from, &renaming->made);
        return unpacked_whole(&from) ? OUTCOME_OK
                                     : failure_set(why, OUTCOME_FAULT, "a kept answer cannot be read");
    }
    if (outcome == OUTCOME_ABSENT)
        outcome = rename_do(local, db, renaming, why);
    FAULT_POINT("rename-made");
    if (outcome != OUTCOME_OK)
        return outcome;
    pack_entry(&body, &renaming->made);
    return answers_keep(db, &renaming->key, timeline_now(&local->time), &body,
                        local->limits.answers_per_principal, why);
}

enum outcome local_rename(struct store *store, const struct store_caller *caller,
                          const struct store_rename *rename, struct store_entry *out, struct failure *why)
{
    if (strcmp(rename->source, rename->target) == 0)
        return failure_set(why, OUTCOME_INVALID, "the new name is the old one");
    scoped_pack struct pack arguments = {0};
    pack_text(&arguments, rename->source);
    pack_text(&arguments, rename->target);
    pack_number(&arguments, rename->condition.replace);
    pack_id(&arguments, &rename->condition.expected);
    pack_id(&arguments, &rename->expected);
    struct renaming renaming = {
        .key = {.id = &rename->op,
                .caller = caller,
                .act = ANSWER_RENAME,
                .arguments = answers_arguments(&arguments)},
        .rename = rename,
    };
    enum outcome outcome = writer_do(&local_of(store)->writer, rename_run, &renaming, why);
    FAULT_POINT("rename-committed");
    if (outcome == OUTCOME_OK)
        *out = renaming.made;
    return outcome;
}
