#include "fault/writer.h"

#include "base/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMALL_MAX = 30000, LARGE_MAX = 3 << 20, PATIENCE_SECONDS = 120 };

static void name_of(const struct writer *writer, unsigned slot, char name[32])
{
    snprintf(name, 32, "w%u/%02u", writer->number, slot);
}

static void note_made(struct writer *writer, const struct fileshare_entry *entry)
{
    if (writer->made_count == writer->made_room) {
        writer->made_room = writer->made_room * 2 + 64;
        writer->made = realloc(writer->made, writer->made_room * sizeof *writer->made);
        if (!writer->made)
            abort();
    }
    writer->made[writer->made_count++] = *entry;
    writer->world->acts++;
}

/* Whether the act was not answered, as may happen to an impatient client. */
static bool is_doubt(const struct writer *writer, const struct fileshare *session,
                     enum fileshare_status status)
{
    return session == writer->impatient && (status == FILESHARE_UNREACHABLE ||
                                            status == FILESHARE_UNAVAILABLE || status == FILESHARE_TIMEOUT);
}

/* What the server has under that name now. */
static struct held look(struct writer *writer, unsigned slot)
{
    struct held now = {0};
    struct fileshare_error error = {0};
    char name[32];
    name_of(writer, slot, name);
    enum fileshare_status status = fileshare_stat(writer->patient, name, &now.entry, &error);
    now.there = status == FILESHARE_OK;
    if (status != FILESHARE_OK && status != FILESHARE_ABSENT)
        world_wrong(writer->world, "no answer about %s: %s", name, error.text);
    return now;
}

static bool same(const struct held *one, const struct held *other)
{
    return one->there == other->there && (!one->there || memcmp(&one->entry.version, &other->entry.version,
                                                                sizeof one->entry.version) == 0);
}

/* The content is never the old one again: that would be no new version. */
static size_t some_size(struct writer *writer, const struct held *old)
{
    switch (dice_throw(&writer->dice, 12)) {
    case 0: return old->there && old->entry.size == 0 ? 16 : 0;
    case 1: return 1100000 + dice_throw(&writer->dice, LARGE_MAX - 1100000); /* chunk by chunk */
    case 2:
    case 3: return 100000 + dice_throw(&writer->dice, 900000);
    default: return 16 + dice_throw(&writer->dice, SMALL_MAX);
    }
}

static void put(struct writer *writer, struct fileshare *session, unsigned slot)
{
    struct held *held = &writer->held[slot], old = *held;
    struct fileshare_error error = {0};
    struct fileshare_entry entry = {0};
    char name[32];
    name_of(writer, slot, name);
    size_t size = some_size(writer, &old);
    unsigned serial = writer->number * 100000000 + ++writer->serial;
    bool replace = old.there && dice_throw(&writer->dice, 8) != 0;
    enum fileshare_status status;
    do
        status = world_put(writer->world, session, name, size, serial, replace, &entry, &error);
    while (world_refused(writer->world, status));
    if (old.there && !replace) {
        if (status != FILESHARE_EXISTS && !is_doubt(writer, session, status))
            world_wrong(writer->world, "put of %s over what is there answers %d: %s", name, status,
                        error.text);
    } else if (status == FILESHARE_OK) {
        *held = (struct held){.there = true, .entry = entry};
        note_made(writer, &entry);
    } else if (is_doubt(writer, session, status)) {
        writer->world->doubts++;
        *held = look(writer, slot);
        if (!same(held, &old) && (!held->there || held->entry.mtime != serial || held->entry.size != size))
            world_wrong(writer->world, "%s is neither the old nor the new after a put in doubt", name);
        else if (!same(held, &old))
            note_made(writer, &held->entry);
    } else {
        world_wrong(writer->world, "put of %s (%s) answers %d: %s", name, replace ? "replace" : "new", status,
                    error.text);
    }
}

static void drop(struct writer *writer, struct fileshare *session, unsigned slot)
{
    struct held *held = &writer->held[slot], old = *held;
    struct fileshare_error error = {0};
    char name[32];
    name_of(writer, slot, name);
    enum fileshare_status status;
    do
        status = fileshare_remove(session, name, NULL, &error);
    while (world_refused(writer->world, status));
    *held = (struct held){0};
    if (status == FILESHARE_OK) {
        writer->world->acts++;
    } else if (is_doubt(writer, session, status)) {
        writer->world->doubts++;
        *held = look(writer, slot);
        if (held->there && !same(held, &old))
            world_wrong(writer->world, "%s is another after a remove in doubt", name);
    } else {
        world_wrong(writer->world, "remove of %s answers %d: %s", name, status, error.text);
    }
}

static void rename_to(struct writer *writer, struct fileshare *session, unsigned slot, unsigned target)
{
    struct held *from = &writer->held[slot], *to = &writer->held[target];
    struct held old_from = *from, old_to = *to;
    struct fileshare_error error = {0};
    struct fileshare_entry entry = {0};
    char source_name[32], target_name[32];
    name_of(writer, slot, source_name);
    name_of(writer, target, target_name);
    enum fileshare_status status;
    do
        status = fileshare_rename(session, source_name, target_name, true, &entry, &error);
    while (world_refused(writer->world, status));
    if (status == FILESHARE_OK) {
        *from = (struct held){0};
        *to = (struct held){.there = true, .entry = entry};
        note_made(writer, &entry);
        if (memcmp(entry.digest, old_from.entry.digest, sizeof entry.digest) != 0)
            world_wrong(writer->world, "%s became another by a rename", target_name);
    } else if (is_doubt(writer, session, status)) {
        writer->world->doubts++;
        *from = look(writer, slot);
        *to = look(writer, target);
        bool undone = same(from, &old_from) && same(to, &old_to);
        bool done = !from->there && to->there && !same(to, &old_to) &&
                    memcmp(to->entry.digest, old_from.entry.digest, sizeof entry.digest) == 0;
        if (done)
            note_made(writer, &to->entry);
        else if (!undone)
            world_wrong(writer->world, "%s to %s: a rename in doubt is half done", source_name, target_name);
    } else {
        world_wrong(writer->world, "rename of %s answers %d: %s", source_name, status, error.text);
    }
}

/* ---- many in one call ---- */

struct batch {
    struct writer *writer;
    unsigned given, taken; /* of the slots, in their order: asked for, answered */
    bool done[WRITER_NAMES];
    struct batch_file {
        char name[32], path[160];
        uint64_t size;
        struct digest_value digest;
    } files[WRITER_NAMES];
};

static void make_file(struct writer *writer, struct batch_file *file, unsigned slot)
{
    enum { PART_MOST = 30000 };
    unsigned serial = writer->number * 100000000 + ++writer->serial;
    /* The content is never the old one. */
    file->size = 16 + dice_throw(&writer->dice, PART_MOST);
    uint8_t *bytes = pattern_bytes(file->size, serial);
    file->digest = digest_of(bytes, file->size);
    name_of(writer, slot, file->name);
    snprintf(file->path, sizeof file->path, "%s/writer%u-%u", writer->world->server.folder, writer->number,
             slot);
    FILE *out = fopen(file->path, "we");
    if (!out || fwrite(bytes, 1, file->size, out) != file->size || fclose(out) != 0)
        abort();
    free(bytes);
}

static bool batch_next(void *context, struct fileshare_put_file *out)
{
    struct batch *batch = context;
    while (batch->given < WRITER_NAMES && batch->done[batch->given])
        batch->given++;
    if (batch->given == WRITER_NAMES)
        return false;
    struct batch_file *file = &batch->files[batch->given++];
    *out = (struct fileshare_put_file){.path = file->path, .name = file->name, .replace = true, .item = file};
    return true;
}

static void batch_told(void *context, const struct fileshare_put_file *put,
                       const struct fileshare_entry *entry, bool unchanged,
                       const struct fileshare_error *error)
{
    struct batch *batch = context;
    const struct batch_file *file = put->item;
    struct writer *writer = batch->writer;
    unsigned slot = (unsigned)(file - batch->files);
    if (!entry) {
        if (!world_refused(writer->world, error->status))
            world_wrong(writer->world, "put of %s, among many, answers %d: %s", file->name, error->status,
                        error->text);
        return;
    }
    if (unchanged || entry->size != file->size ||
        memcmp(entry->digest, &file->digest, sizeof file->digest) != 0)
        world_wrong(writer->world, "%s, among many, was put as something else%s", file->name,
                    unchanged ? ": unchanged" : "");
    batch->done[slot] = true;
    batch->taken++;
    writer->held[slot] = (struct held){.there = true, .entry = *entry};
    note_made(writer, entry);
}

/* All names at once; each is done or refused by itself, and those that were refused are sent again. */
static void put_all(struct writer *writer)
{
    struct batch *batch = calloc(1, sizeof *batch);
    struct fileshare_error error = {0};
    if (!batch)
        abort();
    batch->writer = writer;
    for (unsigned slot = 0; slot < WRITER_NAMES; slot++)
        make_file(writer, &batch->files[slot], slot);
    while (batch->taken < WRITER_NAMES && writer->world->wrong == 0) {
        const struct fileshare_put_many many = {.next = batch_next, .told = batch_told, .context = batch};
        batch->given = 0;
        enum fileshare_status status = fileshare_put_many(writer->patient, &many, &error);
        if (status != FILESHARE_OK && !world_refused(writer->world, status))
            world_wrong(writer->world, "put of many answers %d: %s", status, error.text);
    }
    for (unsigned slot = 0; slot < WRITER_NAMES; slot++)
        unlink(batch->files[slot].path);
    free(batch);
}

static void act(struct writer *writer)
{
    enum { ALL_AT_ONCE = 12 };
    if (dice_throw(&writer->dice, ALL_AT_ONCE) == 0) {
        put_all(writer);
        return;
    }
    struct fileshare *session = dice_throw(&writer->dice, 3) == 0 ? writer->impatient : writer->patient;
    unsigned slot = dice_throw(&writer->dice, WRITER_NAMES);
    unsigned kind = dice_throw(&writer->dice, 10);
    if (!writer->held[slot].there || kind < 6)
        put(writer, session, slot);
    else if (kind < 8)
        drop(writer, session, slot);
    else
        rename_to(writer, session, slot,
                  (slot + 1 + dice_throw(&writer->dice, WRITER_NAMES - 1)) % WRITER_NAMES);
}

static void *writer_run(void *argument)
{
    struct writer *writer = argument;
    while (world_enter(writer->world)) {
        act(writer);
        world_leave(writer->world);
        usleep(dice_throw(&writer->dice, 3000));
    }
    return NULL;
}

void writer_begin(struct writer *writer, struct world *world, unsigned number)
{
    char who[32];
    snprintf(who, sizeof who, "writer%u", number);
    *writer = (struct writer){.world = world, .number = number, .dice = dice_of(world->seed, number)};
    writer->patient = world_session(world, who, PATIENCE_SECONDS);
    /* Straight to the server: behind a relay, what was given up could still arrive there after the look. */
    writer->impatient = world_session_by(world, world->server.tcp, who, 0);
    if (!writer->patient || !writer->impatient ||
        pthread_create(&writer->thread, NULL, writer_run, writer) != 0)
        abort();
}

void writer_end(struct writer *writer)
{
    pthread_join(writer->thread, NULL);
    fileshare_close(writer->patient);
    fileshare_close(writer->impatient);
    free(writer->made);
}

/* ---- the audit ---- */

struct listing {
    struct writer *writer;
    struct fileshare_entry entries[WRITER_NAMES + 1];
    size_t count;
};

static bool take(void *context, const struct fileshare_entry *entry)
{
    struct listing *listing = context;
    if (listing->count > WRITER_NAMES)
        return false;
    listing->entries[listing->count++] = *entry;
    return true;
}

void writer_audit(struct writer *writer, struct fileshare *session)
{
    char glob[32];
    struct listing listing = {.writer = writer};
    struct fileshare_error error = {0};
    snprintf(glob, sizeof glob, "w%u/**", writer->number);
    if (fileshare_list(session, glob, take, &listing, &error) != FILESHARE_OK)
        world_wrong(writer->world, "no list of %s: %s", glob, error.text);
    size_t at = 0;
    for (unsigned slot = 0; slot < WRITER_NAMES; slot++) {
        const struct held *held = &writer->held[slot];
        char name[32];
        name_of(writer, slot, name);
        struct held listed = {.there = at < listing.count && strcmp(listing.entries[at].name, name) == 0};
        if (listed.there)
            listed.entry = listing.entries[at++];
        if (held->there && !listed.there)
            world_wrong(writer->world, "%s was acknowledged and is lost", name);
        else if (!same(held, &listed))
            world_wrong(writer->world, "%s is not the version that was acknowledged", name);
        else if (held->there &&
                 (memcmp(held->entry.digest, listed.entry.digest, sizeof held->entry.digest) != 0 ||
                  held->entry.size != listed.entry.size))
            world_wrong(writer->world, "%s was altered", name);
        if (listed.there)
            world_get(writer->world, session, &listed.entry);
    }
    if (at < listing.count)
        world_wrong(writer->world, "%s is listed and was never acknowledged", listing.entries[at].name);
}
