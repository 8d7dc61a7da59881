#include "fault/power/verdict.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void verdict_wrong(struct verdict *verdict, const char *format, ...)
{
    va_list arguments;
    if (verdict->wrong++ > 0)
        return;
    va_start(arguments, format);
    vsnprintf(verdict->text, sizeof verdict->text, format, arguments);
    va_end(arguments);
}

bool verdict_was_told(const struct verdict *verdict, const struct deed *deed)
{
    return deed->told <= verdict->length;
}

bool verdict_was_begun(const struct verdict *verdict, const struct deed *deed)
{
    return deed->begun < verdict->length || verdict_was_told(verdict, deed);
}

/* ---- what should be there ---- */

static struct name_state *name_state(struct verdict *verdict, const char *name)
{
    for (size_t i = 0; i < verdict->name_count; i++)
        if (strcmp(verdict->names[i].name, name) == 0)
            return &verdict->names[i];
    if (verdict->name_count == VERDICT_NAMES)
        abort();
    verdict->names[verdict->name_count].name = name;
    return &verdict->names[verdict->name_count++];
}

void verdict_name(struct verdict *verdict, const struct deed *made)
{
    name_state(verdict, made->name)->after = made;
}

static void name_becomes(struct verdict *verdict, const char *name, const struct deed *by,
                         const struct deed *is)
{
    struct name_state *state = name_state(verdict, name);
    state->after = is;
    if (verdict_was_told(verdict, by))
        state->before = is;
}

void verdict_read_ledger(struct verdict *verdict)
{
    const struct history *history = verdict->history;
    int64_t wall = INT64_C(1700000000) * CLOCK_SECOND;
    for (size_t i = 0; i < history->deed_count; i++) {
        const struct deed *deed = &history->deeds[i];
        if (!verdict_was_begun(verdict, deed))
            continue;
        wall = deed->wall > wall ? deed->wall : wall;
        if (deed->kind == DEED_PUT || deed->kind == DEED_PUBLISH)
            name_becomes(verdict, deed->name, deed, deed);
        if (deed->kind == DEED_REMOVE || deed->kind == DEED_RENAME || deed->kind == DEED_REPAIR)
            name_becomes(verdict, deed->name, deed, NULL);
        if (deed->kind == DEED_RENAME)
            name_becomes(verdict, deed->to, deed, deed);
    }
    clock_test_init(&verdict->clock, 5 * (int64_t)CLOCK_SECOND, wall);
    clock_test_boot(&verdict->clock, 2, 5 * (int64_t)CLOCK_SECOND); /* the machine started anew */
}

/* ---- files ---- */

static bool entry_is(const struct store_entry *entry, const struct deed *deed)
{
    return deed && entry->size == deed->size && id_equal(&entry->version, &deed->id) &&
           memcmp(&entry->digest, &deed->digest, sizeof deed->digest) == 0;
}

/* What is there: OK and the entry, or ABSENT. */
static bool look_at(struct verdict *verdict, const char *name, struct store_entry *entry)
{
    struct failure why = {0};
    enum outcome outcome = verdict->store->acts->stat(verdict->store, name, entry, &why);
    if (outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT)
        verdict_wrong(verdict, "stat of %s: %s", name, why.text);
    return outcome == OUTCOME_OK;
}

static void check_name(struct verdict *verdict, const struct name_state *state, bool exact, const char *when)
{
    struct store_entry entry;
    bool there = look_at(verdict, state->name, &entry);
    bool is_after = there ? entry_is(&entry, state->after) : !state->after;
    bool is_before = there ? entry_is(&entry, state->before) : !state->before;
    if (!is_after && (exact || !is_before))
        verdict_wrong(verdict, "%s: %s %s, which should be %s", when, state->name,
                      there ? "is there, in another version" : "is not there",
                      state->after ? "there" : "gone");
}

struct listed {
    struct verdict *verdict;
    const char *when;
};

static bool check_listed(void *context, const struct store_entry *entry)
{
    const struct listed *listed = context;
    struct verdict *verdict = listed->verdict;
    bool known = false;
    for (size_t i = 0; i < verdict->name_count; i++)
        known |= strcmp(verdict->names[i].name, entry->name) == 0;
    if (!known)
        verdict_wrong(verdict, "%s: %s is listed, which nobody sent", listed->when, entry->name);
    return true;
}

static void check_names(struct verdict *verdict, bool exact, const char *when)
{
    struct failure why = {0};
    struct store_page page = {0};
    struct listed listed = {.verdict = verdict, .when = when};
    struct store_list list = {.limit = VERDICT_NAMES + 1, .take = check_listed, .context = &listed};
    for (size_t i = 0; i < verdict->name_count; i++)
        check_name(verdict, &verdict->names[i], exact, when);
    if (verdict->store->acts->list(verdict->store, &list, &page, &why) != OUTCOME_OK)
        verdict_wrong(verdict, "list: %s", why.text);
}

/* Before anything is done again, a rename is done as a whole or not at all. */
static void check_renames(struct verdict *verdict)
{
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *deed = &verdict->history->deeds[i];
        if (deed->kind != DEED_RENAME || !verdict_was_begun(verdict, deed) || verdict_was_told(verdict, deed))
            continue;
        struct store_entry entry;
        bool left = !look_at(verdict, deed->name, &entry);
        bool came = look_at(verdict, deed->to, &entry) && id_equal(&entry.version, &deed->id);
        if (left != came)
            verdict_wrong(verdict, "the rename of %s to %s is half done", deed->name, deed->to);
    }
}

static void read_version(struct verdict *verdict, const struct deed *made, const char *name)
{
    const struct store_acts *acts = verdict->store->acts;
    struct failure why = {0};
    struct store_read *read = NULL;
    struct store_entry entry;
    if (acts->read_open(verdict->store, name, &made->id, &read, &entry, &why) != OUTCOME_OK) {
        verdict_wrong(verdict, "a version of %s that is to be kept: %s", name, why.text);
        return;
    }
    uint8_t *bytes = malloc(made->size + 1);
    enum outcome outcome = acts->read_at(read, 0, bytes, made->size, &why);
    struct digest_value digest = digest_of(bytes, made->size);
    if (outcome != OUTCOME_OK || memcmp(&digest, &made->digest, sizeof digest) != 0)
        verdict_wrong(verdict, "a version of %s that is kept has lost its bytes", name);
    acts->read_close(read);
    free(bytes);
}

/* Versions replaced or removed a short while ago can still be read. `made` made what was at `name` until now. */
static void check_kept(struct verdict *verdict, const char *name, const struct deed *made,
                       const struct deed *retired_by)
{
    int64_t age = clock_wall(&verdict->clock) - retired_by->wall;
    if (made && age < verdict->history->limits.kept_seconds * (int64_t)CLOCK_SECOND &&
        retired_by->kind != DEED_REPAIR)
        read_version(verdict, made, name);
}

static void check_all_kept(struct verdict *verdict)
{
    struct verdict until = {.history = verdict->history, .length = verdict->length};
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *deed = &verdict->history->deeds[i];
        if (!verdict_was_told(verdict, deed))
            continue;
        bool leaves = deed->kind == DEED_REMOVE || deed->kind == DEED_RENAME || deed->kind == DEED_REPAIR;
        bool comes = deed_is_arrival(deed);
        const char *to = deed->kind == DEED_RENAME ? deed->to : deed->name;
        if (leaves) {
            check_kept(verdict, deed->name, name_state(&until, deed->name)->after, deed);
            name_becomes(&until, deed->name, deed, NULL);
        }
        if (comes) {
            check_kept(verdict, to, name_state(&until, to)->after, deed);
            name_becomes(&until, to, deed, deed);
        }
    }
}

/* ---- the whole ---- */

/* A history may have damaged a file before anything was cut: until it is repaired that one is wrong. */
static const struct deed *repair_of(const struct verdict *verdict, const char *name)
{
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *deed = &verdict->history->deeds[i];
        if (deed->kind == DEED_REPAIR && (!name || strcmp(deed->name, name) == 0))
            return deed;
    }
    return NULL;
}

/* Whoever is no more, and was not removed by its owner, was set aside with its bytes. */
static void check_lost(struct verdict *verdict)
{
    char path[160], text[ID_TEXT_SIZE];
    struct store_entry entry;
    struct stat status;
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *deed = &verdict->history->deeds[i];
        if (deed->kind != DEED_REPAIR || !verdict_was_begun(verdict, deed) ||
            look_at(verdict, deed->name, &entry))
            continue;
        const struct deed *made = verdict->history->deeds;
        while (made->kind != DEED_PUT || strcmp(made->name, deed->name) != 0)
            made++;
        snprintf(path, sizeof path, "%s/store/lost/%s", verdict->folder, id_text(&made->id, text));
        if (stat(path, &status) < 0 || (size_t)status.st_size != made->size)
            verdict_wrong(verdict, "%s is gone, and not in lost/", deed->name);
        snprintf(path, sizeof path, "%s/store/lost/list", verdict->folder);
        if (stat(path, &status) < 0 || status.st_size == 0)
            verdict_wrong(verdict, "%s is gone, and not in the list of lost ones", deed->name);
    }
}

/* Whatever is there has its bytes. */
static void check_bytes(struct verdict *verdict)
{
    for (size_t i = 0; i < verdict->name_count; i++) {
        const struct name_state *state = &verdict->names[i];
        const struct deed *repair = repair_of(verdict, state->name);
        struct store_entry entry;
        if ((repair && !verdict_was_told(verdict, repair)) || !look_at(verdict, state->name, &entry))
            continue;
        const struct deed *made = entry_is(&entry, state->after) ? state->after : state->before;
        if (entry_is(&entry, made))
            read_version(verdict, made, state->name);
    }
}

static void check_sound(struct verdict *verdict)
{
    struct store_audit *audit = calloc(1, sizeof *audit);
    struct failure why = {0};
    const struct deed *repair = repair_of(verdict, NULL);
    uint64_t damaged = repair && !verdict_was_begun(verdict, repair);
    if (verdict->store->acts->audit(verdict->store, true, audit, &why) != OUTCOME_OK)
        verdict_wrong(verdict, "the audit: %s", why.text);
    if (audit->missing_blobs + audit->wrong_sizes > 0 || audit->wrong_digests > damaged)
        verdict_wrong(verdict, "of %s the content is missing or wrong", audit->findings[0].name);
    if (audit->orphan_blobs > 0)
        verdict_wrong(verdict, "%llu orphans are left after the sweep",
                      (unsigned long long)audit->orphan_blobs);
    free(audit);
}

/* What was begun is done again. */
static void do_again(struct verdict *verdict)
{
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        struct deed deed = verdict->history->deeds[i];
        struct failure why = {0};
        bool upload = deed.kind == DEED_BEGIN || deed.kind == DEED_WRITE || deed.kind == DEED_PUBLISH;
        if (!verdict_was_begun(verdict, &deed) || verdict_was_told(verdict, &deed) || upload)
            continue;
        enum outcome outcome = deed_do(verdict->history, verdict->store, &deed, &why);
        if (outcome != OUTCOME_OK)
            verdict_wrong(verdict, "done again, deed %zu of kind %u (%s): %s", i, deed.kind, deed.name,
                          why.text);
    }
}

/* Those told last are asked once more: the same answer, and it counts once (see the events). */
static void repeat_told(struct verdict *verdict)
{
    unsigned repeats = 0;
    for (size_t i = verdict->history->deed_count; i > 0 && repeats < 3; i--) {
        const struct deed *told = &verdict->history->deeds[i - 1];
        struct deed deed = *told;
        struct failure why = {0};
        bool has_answer = deed_is_arrival(told) || told->kind == DEED_REMOVE || told->kind == DEED_RENEW ||
                          told->kind == DEED_DROP || told->kind == DEED_ADD;
        bool is_old = clock_wall(&verdict->clock) - told->wall >=
                      STORE_ANSWER_SECONDS * (int64_t)CLOCK_SECOND;
        if (!verdict_was_told(verdict, told) || !has_answer || is_old ||
            (deed_is_arrival(told) && told->arrival == 0))
            continue;
        repeats++;
        deed.arrival = 0;
        if (deed_do(verdict->history, verdict->store, &deed, &why) != OUTCOME_OK)
            verdict_wrong(verdict, "told, and refused when it is sent again (%s): %s", deed.name, why.text);
        else if (deed.arrival != told->arrival)
            verdict_wrong(verdict, "told, and told something else when it is sent again: %s", deed.name);
    }
}

static void check_incoming(struct verdict *verdict)
{
    char path[160];
    snprintf(path, sizeof path, "%s/store/incoming", verdict->folder);
    DIR *walk = opendir(path);
    for (struct dirent *at = walk ? readdir(walk) : NULL; at; at = readdir(walk))
        if (at->d_name[0] != '.')
            verdict_wrong(verdict, "incoming/%s is left after the sweep", at->d_name);
    if (walk)
        closedir(walk);
}

static void check_swept(struct verdict *verdict)
{
    struct deed sweep = {.kind = DEED_SWEEP};
    struct failure why = {0};
    clock_test_step(&verdict->clock, 8 * 86400 * (int64_t)CLOCK_SECOND);
    if (deed_do(verdict->history, verdict->store, &sweep, &why) != OUTCOME_OK)
        verdict_wrong(verdict, "the sweep: %s", why.text);
    check_sound(verdict);
    check_names(verdict, true, "swept");
    check_incoming(verdict);
}

static bool open_it(struct verdict *verdict)
{
    char folder[128];
    struct failure why = {0};
    snprintf(folder, sizeof folder, "%s/store", verdict->folder);
    enum outcome outcome = history_open_at(verdict->history, folder, &verdict->clock, &verdict->store, &why);
    if (outcome != OUTCOME_OK)
        verdict_wrong(verdict, "the store does not open: %s", why.text);
    return outcome == OUTCOME_OK;
}

unsigned verdict_give(struct verdict *verdict, const struct history *history, size_t length,
                      const char *folder, uint64_t seed)
{
    *verdict = (struct verdict){.history = history,
                                .length = length,
                                .folder = folder,
                                .dice = dice_of(seed, length)};
    verdict_read_ledger(verdict);
    verdict_on_backups(verdict);
    if (!open_it(verdict))
        return verdict->wrong;
    check_bytes(verdict);
    check_lost(verdict);
    check_names(verdict, false, "opened");
    check_renames(verdict);
    check_all_kept(verdict);
    verdict_on_waiting(verdict);
    do_again(verdict);
    verdict_on_uploads(verdict);
    check_names(verdict, true, "done again");
    repeat_told(verdict);
    verdict_on_events(verdict);
    check_swept(verdict);
    verdict->store->acts->close(verdict->store);
    verdict->store = NULL;
    return verdict->wrong;
}
