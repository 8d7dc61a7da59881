#include "fault/power/history.h"

#include "base/glob.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

const struct store_caller history_caller = {.principal = "unix:1000"};

/* ---- life ---- */

void history_begin(struct history *history, uint64_t seed)
{
    *history = (struct history){.dice = dice_of(seed, 1), .limits = store_limits_default()};
    history->limits.reserve_bytes = 1;
    pthread_mutex_init(&history->mutex, NULL);
    history->deeds = calloc(HISTORY_DEEDS, sizeof *history->deeds);
    history->tolds = calloc(HISTORY_DEEDS, sizeof *history->tolds);
    history->oweds = calloc(HISTORY_DEEDS, sizeof *history->oweds);
    assert_true(history->deeds && history->tolds && history->oweds);
    assert_non_null(place_make(history->folder, place_in_memory(), "power_history"));
    clock_test_init(&history->clock, 5 * (int64_t)CLOCK_SECOND, INT64_C(1700000000) * CLOCK_SECOND);
    clock_test_boot(&history->clock, 1, 5 * (int64_t)CLOCK_SECOND);
    for (unsigned i = 0; i < MAILBOXES; i++)
        history->mailboxes[i] = id_random();
    recording_begin(&history->recording, history->folder);
}

void history_end(struct history *history)
{
    if (history->store)
        history_close(history);
    recording_end(&history->recording);
}

void history_fini(struct history *history)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", history->folder);
    if (system(command) != 0)
        print_error("%s is left\n", history->folder);
    recording_fini(&history->recording);
    for (size_t i = 0; i < history->deed_count; i++)
        if (history->deeds[i].owns_bytes)
            free((void *)(uintptr_t)history->deeds[i].bytes);
    free(history->deeds);
    free(history->tolds);
    free(history->oweds);
    pthread_mutex_destroy(&history->mutex);
}

enum outcome history_open_at(const struct history *history, const char *folder, const struct clock *clock,
                             struct store **out, struct failure *why)
{
    struct store_local_options options = {.folder = folder, .limits = history->limits, .clock = clock};
    return store_local_open(&options, out, why);
}

static void expect_ok(enum outcome outcome, const struct failure *why)
{
    if (outcome == OUTCOME_OK)
        return;
    fprintf(stderr, "%s: %s\n", outcome_name(outcome), why->text);
    abort(); /* not only the main thread comes here */
}

void history_open(struct history *history)
{
    char folder[128];
    struct failure why = {0};
    snprintf(folder, sizeof folder, "%s/store", history->folder);
    struct deed *deed = deed_begin(history, DEED_OPEN, "");
    expect_ok(history_open_at(history, folder, &history->clock, &history->store, &why), &why);
    deed_told(history, deed);
}

void history_close(struct history *history)
{
    struct deed *deed = deed_begin(history, DEED_CLOSE, "");
    history->store->acts->close(history->store);
    history->store = NULL;
    deed_told(history, deed);
}

void history_step(struct history *history, unsigned seconds)
{
    clock_test_step(&history->clock, seconds * (int64_t)CLOCK_SECOND);
}

/* ---- deeds ---- */

struct deed *deed_begin(struct history *history, enum deed_kind kind, const char *name)
{
    size_t now = recording_now();
    pthread_mutex_lock(&history->mutex);
    if (history->deed_count == HISTORY_DEEDS)
        abort();
    struct deed *deed = &history->deeds[history->deed_count++];
    *deed = (struct deed){.kind = kind,
                          .begun = now,
                          .told = NEVER,
                          .wall = clock_wall(&history->clock),
                          .id = id_random()};
    snprintf(deed->name, sizeof deed->name, "%s", name);
    pthread_mutex_unlock(&history->mutex);
    return deed;
}

void deed_told(struct history *history, struct deed *deed)
{
    size_t now = recording_now();
    pthread_mutex_lock(&history->mutex);
    deed->told = now;
    pthread_mutex_unlock(&history->mutex);
}

bool deed_is_arrival(const struct deed *deed)
{
    return deed->kind == DEED_PUT || deed->kind == DEED_PUBLISH || deed->kind == DEED_RENAME;
}

/* Bytes that no other deed has. */
static void give_content(struct deed *deed, size_t size)
{
    unsigned seed;
    memcpy(&seed, deed->id.octets, sizeof seed);
    deed->size = size;
    deed->bytes = pattern_bytes(size, seed);
    deed->owns_bytes = true;
    deed->digest = digest_of(deed->bytes, size);
}

static void same_content(struct deed *deed, const struct deed *other)
{
    deed->size = other->size;
    deed->bytes = other->bytes;
    deed->digest = other->digest;
}

static bool wants(const struct deed *interest, const char *name)
{
    struct glob *glob = NULL;
    struct failure why;
    if (!interest->glob)
        return strcmp(interest->name, name) == 0;
    if (glob_new(interest->name, &glob, &why) != OUTCOME_OK)
        abort();
    bool matches = glob_match(glob, name);
    glob_free(glob);
    return matches;
}

static void owe(struct history *history, const struct deed *deed, const struct deed *interest,
                enum store_event_kind kind)
{
    if (history->owed_count == HISTORY_DEEDS)
        abort();
    history->oweds[history->owed_count++] = (struct owed){.deed = deed,
                                                          .mailbox = interest->mailbox,
                                                          .kind = kind,
                                                          .interest = interest->interest};
    if (kind == STORE_ARRIVED)
        history->oweds[history->owed_count - 1].version = deed->id;
}

/* Before it is done: who waits for this name is owed an event. */
static void owe_arrival(struct history *history, const struct deed *deed, const char *name)
{
    pthread_mutex_lock(&history->mutex);
    for (unsigned i = 0; i < HISTORY_LIVE; i++) {
        const struct deed *interest = history->live[i];
        if (!interest || !wants(interest, name))
            continue;
        owe(history, deed, interest, STORE_ARRIVED);
        if (!interest->every)
            history->live[i] = NULL;
    }
    pthread_mutex_unlock(&history->mutex);
}

/* ---- doing them ---- */

static enum outcome do_put(struct store *store, struct deed *deed, struct failure *why)
{
    struct store_entry entry;
    struct store_put put = {
        .op = deed->id,
        .name = deed->name,
        .condition.replace = deed->replace,
        .content = deed->bytes,
        .size = deed->size,
        .mtime = 42,
    };
    enum outcome outcome = store->acts->put(store, &history_caller, &put, &entry, why);
    if (outcome == OUTCOME_OK)
        deed->arrival = entry.arrival;
    return outcome;
}

static enum outcome do_begin(struct store *store, const struct deed *deed, struct failure *why)
{
    struct store_upload_state at;
    struct store_upload_begin begin = {.upload = deed->id,
                                       .name = deed->name,
                                       .condition.replace = deed->replace,
                                       .size_known = true,
                                       .size = deed->size};
    return store->acts->upload_begin(store, &history_caller, &begin, &at, why);
}

static enum outcome do_write(struct store *store, const struct deed *deed, struct failure *why)
{
    uint64_t held;
    return store->acts->upload_write(store, &history_caller, &deed->id, deed->offset,
                                     deed->bytes + deed->offset, deed->count, &held, why);
}

static enum outcome do_publish(struct store *store, struct deed *deed, struct failure *why)
{
    struct store_entry entry;
    struct store_publish publish = {.upload = deed->id,
                                    .check = true,
                                    .size = deed->size,
                                    .digest = deed->digest,
                                    .check_digest = true,
                                    .mtime = 42};
    enum outcome outcome = store->acts->publish(store, &history_caller, &publish, &entry, why);
    if (outcome == OUTCOME_OK)
        deed->arrival = entry.arrival;
    return outcome;
}

static enum outcome do_rename(struct store *store, struct deed *deed, struct failure *why)
{
    struct store_entry entry;
    struct store_rename rename = {.op = deed->id,
                                  .source = deed->name,
                                  .target = deed->to,
                                  .condition.replace = deed->replace};
    enum outcome outcome = store->acts->rename(store, &history_caller, &rename, &entry, why);
    if (outcome == OUTCOME_OK)
        deed->arrival = entry.arrival;
    return outcome;
}

static enum outcome do_add(const struct history *history, struct store *store, const struct deed *deed,
                           struct failure *why)
{
    struct store_registration registration;
    struct store_interest_add add = {
        .mailbox = history->mailboxes[deed->mailbox],
        .interest = deed->interest,
        .glob = deed->glob,
        .pattern = deed->name,
        .seconds = deed->seconds,
        .every = deed->every,
    };
    return store->acts->interest_add(store, &history_caller, &add, NULL, 0, &registration, why);
}

static enum outcome do_drop(const struct history *history, struct store *store, const struct deed *deed,
                            struct failure *why)
{
    struct store_cancelled row;
    size_t count;
    bool more;
    struct store_interest_drop drop = {.op = deed->id,
                                       .mailbox = history->mailboxes[deed->mailbox],
                                       .interest = deed->interest};
    return store->acts->interest_drop(store, &history_caller, &drop, &row, 1, &count, &more, why);
}

static enum outcome do_sweep(struct store *store, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    bool left = true;
    while (left && outcome == OUTCOME_OK) {
        struct store_sweep swept;
        int64_t next;
        left = false;
        outcome = store->acts->sweep(store, &swept, &left, &next, why);
    }
    return outcome;
}

enum outcome deed_do(const struct history *history, struct store *store, struct deed *deed,
                     struct failure *why)
{
    const struct store_acts *acts = store->acts;
    const struct id *mailbox = &history->mailboxes[deed->mailbox], none = {0};
    struct store_event event;
    struct store_repair repaired;
    uint32_t left;
    size_t count;
    bool more;
    switch (deed->kind) {
    case DEED_PUT: return do_put(store, deed, why);
    case DEED_BEGIN: return do_begin(store, deed, why);
    case DEED_WRITE: return do_write(store, deed, why);
    case DEED_PUBLISH: return do_publish(store, deed, why);
    case DEED_ABORT: return acts->upload_abort(store, &history_caller, &deed->id, why);
    case DEED_REMOVE: return acts->remove(store, &history_caller, &deed->id, deed->name, &none, why);
    case DEED_RENAME: return do_rename(store, deed, why);
    case DEED_ADD: return do_add(history, store, deed, why);
    case DEED_RENEW:
        return acts->interest_renew(store, &history_caller, &deed->id, mailbox, &deed->interest,
                                    deed->seconds, &left, why);
    case DEED_DROP: return do_drop(history, store, deed, why);
    case DEED_EVENTS:
    case DEED_DONE: return acts->mailbox_events(store, mailbox, deed->number, &event, 1, &count, &more, why);
    case DEED_SWEEP: return do_sweep(store, why);
    case DEED_REPAIR: return acts->repair(store, true, &repaired, why);
    case DEED_BACKUP:
    case DEED_OPEN:
    case DEED_CLOSE: break;
    }
    return OUTCOME_OK;
}

static void doing(struct history *history, struct deed *deed)
{
    struct failure why = {0};
    expect_ok(deed_do(history, history->store, deed, &why), &why);
    deed_told(history, deed);
}

static void arrive(struct history *history, struct deed *deed)
{
    struct failure why = {0};
    bool left = false;
    owe_arrival(history, deed, deed->kind == DEED_RENAME ? deed->to : deed->name);
    doing(history, deed);
    expect_ok(history->store->acts->fan_out(history->store, 10, &left, &why), &why);
}

/* ---- files ---- */

const struct deed *history_put(struct history *history, const char *name, size_t size, bool replace)
{
    struct deed *deed = deed_begin(history, DEED_PUT, name);
    give_content(deed, size);
    deed->replace = replace;
    arrive(history, deed);
    return deed;
}

void history_put_many(struct history *history, const char *const *names, size_t count, size_t size,
                      const struct deed **out)
{
    enum { MOST = 16 };
    struct failure why = {0};
    struct store_put puts[MOST] = {0};
    struct store_put_answer *answers = calloc(count, sizeof *answers);
    struct deed *deeds[MOST];
    bool left = false;
    for (size_t i = 0; i < count; i++) {
        deeds[i] = deed_begin(history, DEED_PUT, names[i]);
        give_content(deeds[i], size + i);
        deeds[i]->replace = true;
        owe_arrival(history, deeds[i], names[i]);
        puts[i] = (struct store_put){.op = deeds[i]->id,
                                     .name = deeds[i]->name,
                                     .condition.replace = true,
                                     .content = deeds[i]->bytes,
                                     .size = deeds[i]->size,
                                     .mtime = 42};
    }
    expect_ok(history->store->acts->put_many(history->store, &history_caller, puts, count, answers, &why),
              &why);
    for (size_t i = 0; i < count; i++) {
        expect_ok(answers[i].outcome, &answers[i].why);
        deeds[i]->arrival = answers[i].arrival;
        deed_told(history, deeds[i]);
        out[i] = deeds[i];
    }
    free(answers);
    expect_ok(history->store->acts->fan_out(history->store, 10, &left, &why), &why);
}

struct deed *history_upload(struct history *history, const char *name, size_t size, bool replace)
{
    struct deed *deed = deed_begin(history, DEED_BEGIN, name);
    give_content(deed, size);
    deed->replace = replace;
    doing(history, deed);
    return deed;
}

void history_write(struct history *history, struct deed *upload, uint64_t offset, size_t count)
{
    struct deed *deed = deed_begin(history, DEED_WRITE, upload->name);
    deed->id = upload->id;
    same_content(deed, upload);
    deed->offset = offset;
    deed->count = count;
    doing(history, deed);
}

const struct deed *history_publish(struct history *history, const struct deed *upload)
{
    struct deed *deed = deed_begin(history, DEED_PUBLISH, upload->name);
    deed->id = upload->id;
    same_content(deed, upload);
    deed->replace = upload->replace;
    arrive(history, deed);
    return deed;
}

void history_abort(struct history *history, const struct deed *upload)
{
    struct deed *deed = deed_begin(history, DEED_ABORT, upload->name);
    deed->id = upload->id;
    doing(history, deed);
}

void history_remove(struct history *history, const char *name)
{
    doing(history, deed_begin(history, DEED_REMOVE, name));
}

const struct deed *history_rename(struct history *history, const struct deed *source, const char *name,
                                  const char *to, bool replace)
{
    struct deed *deed = deed_begin(history, DEED_RENAME, name);
    snprintf(deed->to, sizeof deed->to, "%s", to);
    same_content(deed, source);
    deed->replace = replace;
    arrive(history, deed);
    return deed;
}

/* ---- interests and events ---- */

static void set_live(struct history *history, const struct deed *was, const struct deed *is)
{
    for (unsigned i = 0; i < HISTORY_LIVE; i++) {
        if (history->live[i] != was)
            continue;
        history->live[i] = is;
        return;
    }
    if (!was)
        abort();
}

const struct deed *history_add(struct history *history, unsigned mailbox, const char *pattern, bool every,
                               uint32_t seconds)
{
    struct deed *deed = deed_begin(history, DEED_ADD, pattern);
    deed->mailbox = mailbox;
    deed->interest = deed->id;
    deed->glob = glob_is_pattern(pattern);
    deed->every = every;
    deed->seconds = seconds;
    doing(history, deed);
    set_live(history, NULL, deed);
    return deed;
}

void history_renew(struct history *history, const struct deed *interest, uint32_t seconds)
{
    struct deed *deed = deed_begin(history, DEED_RENEW, interest->name);
    deed->mailbox = interest->mailbox;
    deed->interest = interest->interest;
    deed->seconds = seconds;
    doing(history, deed);
}

void history_drop(struct history *history, const struct deed *interest)
{
    struct deed *deed = deed_begin(history, DEED_DROP, interest->name);
    deed->mailbox = interest->mailbox;
    deed->interest = interest->interest;
    set_live(history, interest, NULL);
    doing(history, deed);
}

static uint64_t newest_told(const struct history *history, unsigned mailbox)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < history->told_count; i++)
        if (history->tolds[i].mailbox == mailbox && history->tolds[i].number > newest)
            newest = history->tolds[i].number;
    return newest;
}

static void tell(struct history *history, unsigned mailbox, const struct store_event *events, size_t count)
{
    size_t now = recording_now();
    for (size_t i = 0; i < count; i++) {
        if (events[i].number <= newest_told(history, mailbox))
            continue; /* told before, and not acknowledged since */
        if (history->told_count == HISTORY_DEEDS)
            abort();
        history->tolds[history->told_count++] = (struct told){.when = now,
                                                              .mailbox = mailbox,
                                                              .number = events[i].number,
                                                              .kind = events[i].kind,
                                                              .interest = events[i].interest,
                                                              .version = events[i].entry.version};
    }
}

void history_events(struct history *history, unsigned mailbox)
{
    enum { PAGE = 64 };
    struct failure why = {0};
    size_t count = 0;
    bool more = false;
    struct store_event *events = calloc(PAGE, sizeof *events);
    struct deed *deed = deed_begin(history, DEED_EVENTS, "");
    deed->mailbox = mailbox;
    deed->number = newest_told(history, mailbox);
    expect_ok(history->store->acts->mailbox_events(history->store, &history->mailboxes[mailbox], deed->number,
                                                   events, PAGE, &count, &more, &why),
              &why);
    deed_told(history, deed);
    tell(history, mailbox, events, count);
    free(events);
}

void history_deliver(struct history *history, unsigned mailbox)
{
    enum { PAGE = 16 };
    const struct store_acts *acts = history->store->acts;
    struct failure why = {0};
    struct store_mailbox state;
    struct store_claim claim;
    int64_t next;
    struct store_event *events = calloc(PAGE, sizeof *events);
    expect_ok(acts->mailbox_route(history->store, &history_caller, &history->mailboxes[mailbox], "route", 5,
                                  &state, &why),
              &why);
    enum outcome outcome = acts->pending_claim(history->store, 60, &claim, events, PAGE, &next, &why);
    if (outcome == OUTCOME_OK) {
        tell(history, mailbox, events, claim.count);
        struct deed *deed = deed_begin(history, DEED_DONE, "");
        deed->mailbox = mailbox;
        deed->number = claim.newest;
        expect_ok(acts->pending_done(history->store, &claim.mailbox, claim.token, claim.newest, &why), &why);
        deed_told(history, deed);
    } else if (outcome != OUTCOME_ABSENT) {
        expect_ok(outcome, &why);
    }
    free(events);
}

/* ---- upkeep ---- */

/* An interest that was told of something runs out without a word. */
static bool had_arrivals(const struct history *history, const struct deed *interest)
{
    for (size_t i = 0; i < history->owed_count; i++)
        if (id_equal(&history->oweds[i].interest, &interest->interest))
            return true;
    return false;
}

void history_sweep(struct history *history)
{
    struct deed *deed = deed_begin(history, DEED_SWEEP, "");
    for (unsigned i = 0; i < HISTORY_LIVE; i++) {
        const struct deed *interest = history->live[i];
        if (!interest || interest->wall + interest->seconds * (int64_t)CLOCK_SECOND > deed->wall)
            continue;
        if (!had_arrivals(history, interest))
            owe(history, deed, interest, STORE_EXPIRED);
        history->live[i] = NULL;
    }
    doing(history, deed);
}

void history_backup(struct history *history, const char *name, bool copy)
{
    char target[128];
    struct failure why = {0};
    struct store_backup done;
    snprintf(target, sizeof target, "%s/%s", history->folder, name);
    struct deed *deed = deed_begin(history, DEED_BACKUP, name);
    expect_ok(history->store->acts->backup(history->store, target, copy, &done, &why), &why);
    deed_told(history, deed);
}
