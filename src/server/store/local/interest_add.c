#include "base/fault.h"
#include "base/glob.h"
#include "server/store/local/answers.h"
#include "server/store/local/entries.h"
#include "server/store/local/files.h"
#include "server/store/local/interests.h"
#include "server/store/local/local.h"
#include "server/store/local/mailboxes.h"

#include <stdio.h>
#include <string.h>

struct adding {
    struct answer_key key;
    const struct store_interest_add *add;
    const struct glob *glob; /* NULL: exact */
    int64_t looked_at;       /* arrivals up to this number were looked at before the transaction */
    struct store_entry *entries;
    size_t capacity;
    struct store_registration made;
};

static void glob_free_at(struct glob **glob)
{
    glob_free(*glob);
}

/* ---- what is there already ---- */

/* One more that is present; of a name that is known it is the newer version. */
static void present_add(struct adding *adding, const struct store_entry *entry)
{
    for (size_t i = 0; i < adding->made.present; i++) {
        if (strcmp(adding->entries[i].name, entry->name) == 0) {
            adding->entries[i] = *entry;
            return;
        }
    }
    if (adding->made.present < adding->capacity)
        adding->entries[adding->made.present++] = *entry;
    else
        adding->made.more = true;
}

static enum outcome newest_arrival(struct database *db, int64_t *out, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT arrivals FROM store");
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *out = column_int(&q);
    return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_FAULT, "the store's own row is missing")
                                     : outcome;
}

static enum outcome look_at_first(struct local *local, struct adding *adding, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    return outcome == OUTCOME_OK ? newest_arrival(reader.db, &adding->looked_at, why) : outcome;
}

static bool present_take(void *context, const struct store_entry *entry)
{
    struct adding *adding = context;
    if (adding->made.present < adding->capacity)
        adding->entries[adding->made.present++] = *entry;
    else
        adding->made.more = true;
    return !adding->made.more;
}

/* A page of the names after page->cursor. Its own reader: between pages others have theirs. */
static enum outcome look_at_page(struct local *local, struct adding *adding, struct store_page *page,
                                 struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    char cursor[NAME_BUFFER];
    memcpy(cursor, page->cursor, sizeof cursor);
    const struct store_list list = {.cursor = cursor,
                                    .limit = SIZE_MAX,
                                    .take = present_take,
                                    .context = adding};
    return files_page(reader.db, adding->glob, &list, page, why);
}

/* Before the transaction: a glob may look at every name there is, and nobody must wait for that. */
static enum outcome look_through(struct local *local, struct adding *adding, struct failure *why)
{
    enum outcome outcome = look_at_first(local, adding, why);
    struct store_page page = {.more = true};
    while (outcome == OUTCOME_OK && page.more && !adding->made.more)
        outcome = look_at_page(local, adding, &page, why);
    return outcome;
}

/* In the transaction: the name itself, or what arrived since look_through. */
static enum outcome look_again(struct database *db, struct adding *adding, struct failure *why)
{
    scoped_query struct query q = adding->glob
                                      ? query_on(db, "SELECT " ENTRY_COLUMNS
                                                     " FROM entry WHERE made > ? ORDER BY made")
                                      : query_on(db, "SELECT " ENTRY_COLUMNS " FROM entry WHERE name = ?");
    if (adding->glob)
        bind_int(&q, adding->looked_at);
    else
        bind_text(&q, adding->add->pattern);
    enum outcome outcome = query_row(&q, why);
    while (outcome == OUTCOME_OK) {
        struct store_entry entry;
        entry_take(&q, &entry);
        if (!adding->glob || glob_match(adding->glob, entry.name))
            present_add(adding, &entry);
        outcome = query_row(&q, why);
    }
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

/* ---- the answer ---- */

static void answer_pack(const struct adding *adding, struct pack *body)
{
    pack_number(body, adding->made.registered);
    pack_number(body, adding->made.seconds_left);
    pack_number(body, adding->made.more);
    pack_number(body, adding->made.present);
    for (size_t i = 0; i < adding->made.present; i++)
        pack_entry(body, &adding->entries[i]);
}

static enum outcome answer_unpack(struct adding *adding, const struct pack *body, struct failure *why)
{
    struct unpacking from = {.bytes = body->bytes, .left = body->count};
    adding->made = (struct store_registration){.registered = unpack_number(&from) != 0};
    adding->made.seconds_left = (uint32_t)unpack_number(&from);
    adding->made.more = unpack_number(&from) != 0;
    uint64_t present = unpack_number(&from);
    struct store_entry entry;
    for (uint64_t i = 0; i < present && !from.failed; i++) {
        unpack_entry(&from, &entry);
        present_add(adding, &entry);
    }
    return unpacked_whole(&from) ? OUTCOME_OK
                                 : failure_set(why, OUTCOME_FAULT, "a kept answer cannot be read");
}

/* ---- registering ---- */

/* Those that are over make room for new ones, the oldest first. */
static enum outcome forget_over(struct database *db, const struct mailbox *mailbox, uint32_t limit,
                                struct failure *why)
{
    if (mailbox->over < limit)
        return OUTCOME_OK;
    scoped_query struct query q = query_on(
        db, "DELETE FROM interest WHERE id IN"
            " (SELECT id FROM interest WHERE mailbox = ? AND state <> 0 ORDER BY ends LIMIT 16)");
    bind_int(&q, mailbox->row);
    return query_run(&q, why);
}

/* What counts against a bound: of the mailbox, of the caller, in all. */
struct room {
    int64_t interests, open_globs;
};

/* Who asks is told which bound it was, its number and what helps. */
static enum outcome room_left(const struct room *taken, const char *whose, uint32_t interests,
                              uint32_t open_globs, bool open_glob, const char *advice, struct failure *why)
{
    if (taken->interests >= interests)
        return failure_set(why, OUTCOME_LIMIT, "%s %u interests at most, and has as many; %s", whose,
                           interests, advice);
    if (open_glob && taken->open_globs >= open_globs)
        return failure_set(why, OUTCOME_LIMIT,
                           "%s %u interests at most in globs that begin with a wildcard, and has as many; "
                           "put letters first, or %s",
                           whose, open_globs, advice);
    return OUTCOME_OK;
}

static enum outcome room_taken(struct database *db, int64_t payer, struct room *own, struct room *all,
                               struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT principal.interests, principal.open_globs, store.interests, store.open_globs"
            " FROM store JOIN principal ON principal.id = ?");
    bind_int(&q, payer);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_FAULT, "the store's own row is missing")
                                         : outcome;
    own->interests = column_int(&q);
    own->open_globs = column_int(&q);
    all->interests = column_int(&q);
    all->open_globs = column_int(&q);
    return OUTCOME_OK;
}

static enum outcome room_for_interest(struct local *local, struct database *db, const struct mailbox *mailbox,
                                      const char *caller, int64_t payer, bool open_glob, struct failure *why)
{
    static const char cancel[] = "cancel some, or wait until they run out";
    const struct store_limits *limits = &local->limits;
    const struct room of_mailbox = {mailbox->interests, mailbox->open_globs};
    struct room own = {0}, all = {0};
    char whose[STORE_PRINCIPAL_SIZE + 32];
    enum outcome outcome = room_taken(db, payer, &own, &all, why);
    if (outcome == OUTCOME_OK)
        outcome = room_left(&of_mailbox, "a mailbox may have", limits->interests_per_mailbox,
                            limits->open_globs_per_mailbox, open_glob, cancel, why);
    snprintf(whose, sizeof whose, "%s may have", caller);
    if (outcome == OUTCOME_OK)
        outcome = room_left(&own, whose, limits->interests_per_principal, limits->open_globs_per_principal,
                            open_glob, cancel, why);
    if (outcome == OUTCOME_OK)
        outcome = room_left(&all, "the server keeps", limits->interests, limits->open_globs, open_glob,
                            "try again later", why);
    return outcome == OUTCOME_OK ? forget_over(db, mailbox, limits->interests_per_mailbox, why) : outcome;
}

/* Registered long ago (its answer is forgotten)? ABSENT (not described) if not. */
static enum outcome registered_before(struct local *local, struct database *db, const struct mailbox *mailbox,
                                      struct adding *adding, struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT state, ends, pattern FROM interest WHERE mailbox = ? AND interest = ?");
    bind_int(&q, mailbox->row);
    bind_id(&q, &adding->add->interest);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    int64_t state = column_int(&q);
    int64_t ends = column_int(&q);
    char pattern[NAME_BUFFER];
    column_text(&q, pattern, sizeof pattern);
    if (strcmp(pattern, adding->add->pattern) != 0)
        return failure_set(why, OUTCOME_INVALID, "this id was used for another interest");
    adding->made = (struct store_registration){.registered = true};
    if (state == STORE_WAITING)
        adding->made.seconds_left = timeline_left(ends, timeline_now(&local->time));
    return OUTCOME_OK;
}

static enum outcome register_it(struct local *local, struct database *db, const struct mailbox *mailbox,
                                struct adding *adding, struct failure *why)
{
    const struct store_interest_add *add = adding->add;
    const char *prefix = adding->glob ? glob_prefix(adding->glob) : NULL;
    const char *caller = adding->key.caller->principal;
    int64_t payer = 0;
    enum outcome outcome = answers_principal(db, caller, &payer, why);
    if (outcome == OUTCOME_OK)
        outcome = room_for_interest(local, db, mailbox, caller, payer, prefix && !*prefix, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    int64_t now = timeline_now(&local->time);
    scoped_query struct query q = query_on(
        db, "INSERT INTO interest (mailbox, interest, pattern, prefix, every, state, ends, principal, seen)"
            " SELECT ?, ?, ?, ?, ?, 0, ?, ?, arrivals FROM store");
    bind_int(&q, mailbox->row);
    bind_id(&q, &add->interest);
    bind_text(&q, add->pattern);
    if (prefix)
        bind_text(&q, prefix);
    else
        bind_null(&q);
    bind_int(&q, add->every);
    bind_int(&q, now + timeline_seconds(add->seconds));
    bind_int(&q, payer);
    adding->made.registered = true;
    adding->made.seconds_left = add->seconds;
    outcome = query_run(&q, why);
    if (outcome == OUTCOME_OK && prefix)
        outcome = crowds_note_glob(&local->waiters.crowds, database_last_row(db), prefix, add->pattern, why);
    return outcome;
}

static enum outcome add_do(struct local *local, struct database *db, struct adding *adding,
                           struct failure *why)
{
    const struct store_interest_add *add = adding->add;
    enum outcome outcome = add->present ? look_again(db, adding, why) : OUTCOME_OK;
    if (outcome != OUTCOME_OK || (!add->every && adding->made.present > 0))
        return outcome;
    struct mailbox mailbox;
    outcome = mailbox_make(local, db, &add->mailbox, adding->key.caller->principal, &mailbox, why);
    if (outcome == OUTCOME_OK)
        outcome = registered_before(local, db, &mailbox, adding, why);
    return outcome == OUTCOME_ABSENT ? register_it(local, db, &mailbox, adding, why) : outcome;
}

static enum outcome add_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct adding *adding = argument;
    scoped_pack struct pack body = {0};
    enum outcome outcome = answers_find(db, &adding->key, &body, why);
    if (outcome == OUTCOME_OK)
        return answer_unpack(adding, &body, why);
    if (outcome == OUTCOME_ABSENT)
        outcome = add_do(local, db, adding, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    answer_pack(adding, &body);
    return answers_keep(db, &adding->key, timeline_now(&local->time), &body,
                        local->limits.answers_per_principal, why);
}

static struct answer_arguments add_arguments(const struct store_interest_add *add)
{
    scoped_pack struct pack pack = {0};
    pack_id(&pack, &add->mailbox);
    pack_text(&pack, add->pattern);
    pack_number(&pack, add->seconds);
    pack_number(&pack, (uint64_t)(add->glob | add->every << 1 | add->present << 2));
    return answers_arguments(&pack);
}

enum outcome local_interest_add(struct store *store, const struct store_caller *caller,
                                const struct store_interest_add *add, struct store_entry *entries,
                                size_t capacity, struct store_registration *out, struct failure *why)
{
    struct local *local = local_of(store);
    scoped(glob_free_at) struct glob *glob = NULL;
    enum outcome outcome = add->glob ? glob_new(add->pattern, &glob, why) : OUTCOME_OK;
    if (outcome != OUTCOME_OK)
        return outcome;
    struct adding adding = {
        .key = {.id = &add->interest,
                .caller = caller,
                .act = ANSWER_INTEREST,
                .arguments = add_arguments(add)},
        .add = add,
        .glob = glob,
        .entries = entries,
        .capacity = capacity,
    };
    if (glob && add->present)
        outcome = look_through(local, &adding, why);
    if (outcome == OUTCOME_OK)
        outcome = writer_do(&local->writer, add_run, &adding, why);
    FAULT_POINT("interest-committed");
    if (outcome == OUTCOME_OK)
        *out = adding.made;
    return outcome;
}
