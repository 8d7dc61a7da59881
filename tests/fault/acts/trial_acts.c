#include "fault/acts/trial_acts.h"

#include <stdio.h>
#include <string.h>

#define ACT(trial, act, ...) (trial)->subject->acts->act((trial)->subject->store, __VA_ARGS__)

static const struct id none;

/* ---- files ---- */

static struct store_put put_of(const struct trial *trial, size_t size, bool may_replace)
{
    return (struct store_put){
        .op = trial->id,
        .name = trial->name,
        .condition.replace = may_replace,
        .content = trial->bytes,
        .size = size,
        .mtime = 42,
    };
}

static enum outcome do_put(struct trial *trial, const struct store_put *put, struct failure *why)
{
    struct store_entry entry;
    enum outcome outcome = ACT(trial, put, &alice, put, &entry, why);
    if (outcome == OUTCOME_OK)
        assert_true(id_equal(&entry.version, &trial->id) && entry.size == put->size);
    return outcome;
}

static enum outcome run_put_small(struct trial *trial, struct failure *why)
{
    struct store_put small = put_of(trial, 100, false);
    return do_put(trial, &small, why);
}

/* In the database, on pages of its own. */
static enum outcome run_put_pages(struct trial *trial, struct failure *why)
{
    struct store_put pages = put_of(trial, TRIAL_PAGES, false);
    return do_put(trial, &pages, why);
}

static enum outcome run_put_large(struct trial *trial, struct failure *why)
{
    struct store_put large = put_of(trial, TRIAL_LARGE, false);
    return do_put(trial, &large, why);
}

/* Each is an act of its own: what is refused is one of them. */
static enum outcome put_two(struct trial *trial, size_t first, size_t second, struct failure *why)
{
    struct store_put puts[2] = {put_of(trial, first, false), put_of(trial, second, false)};
    struct store_put_answer answers[2];
    puts[1].op = trial->interest;
    puts[1].name = trial->other;
    enum outcome outcome = ACT(trial, put_many, &alice, puts, 2, answers, why);
    for (unsigned i = 0; i < 2 && outcome == OUTCOME_OK; i++) {
        outcome = answers[i].outcome;
        *why = answers[i].why;
    }
    return outcome;
}

static enum outcome run_put_many(struct trial *trial, struct failure *why)
{
    return put_two(trial, TRIAL_LARGE, 100, why);
}

static enum outcome run_put_many_large(struct trial *trial, struct failure *why)
{
    return put_two(trial, TRIAL_PART, TRIAL_LARGE, why);
}

static void prepare_file(struct trial *trial)
{
    struct store_entry entry;
    struct store_put put = put_of(trial, TRIAL_LARGE, false);
    put.op = trial->version = id_random();
    assert_ok(put_as(trial->subject, &alice, &put, &entry));
}

static enum outcome run_replace(struct trial *trial, struct failure *why)
{
    struct store_put large = put_of(trial, TRIAL_LARGE, true);
    return do_put(trial, &large, why);
}

static enum outcome run_remove(struct trial *trial, struct failure *why)
{
    return ACT(trial, remove, &alice, &trial->id, trial->name, &none, why);
}

static enum outcome run_rename(struct trial *trial, struct failure *why)
{
    struct store_rename change = {.op = trial->id, .source = trial->name, .target = trial->other};
    struct store_entry entry;
    return ACT(trial, rename, &alice, &change, &entry, why);
}

static enum outcome run_stat(struct trial *trial, struct failure *why)
{
    struct store_entry entry;
    return ACT(trial, stat, trial->name, &entry, why);
}

static bool take_listed(void *context, const struct store_entry *entry)
{
    (void)context;
    return entry->name[0] != '\0';
}

static enum outcome run_list(struct trial *trial, struct failure *why)
{
    struct store_page page;
    struct store_list list = {.glob = "*am[e]-[0-9]*", .limit = 8, .take = take_listed};
    enum outcome outcome = ACT(trial, list, &list, &page, why);
    if (outcome == OUTCOME_OK)
        assert_true(page.count >= 1);
    return outcome;
}

static enum outcome run_read(struct trial *trial, struct failure *why)
{
    struct store_read *read = NULL;
    struct store_entry entry;
    uint8_t bytes[TRIAL_LARGE];
    enum outcome outcome = ACT(trial, read_open, trial->name, &none, &read, &entry, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = trial->subject->acts->read_at(read, 0, bytes, sizeof bytes, why);
    if (outcome == OUTCOME_OK)
        assert_memory_equal(bytes, trial->bytes, sizeof bytes);
    trial->subject->acts->read_close(read);
    return outcome;
}

static void prepare_two(struct trial *trial)
{
    assert_ok(CERTAIN(put_two(trial, TRIAL_PART, TRIAL_LARGE, &store_why)));
}

static bool take_found(void *context, const struct store_found *found)
{
    struct store_found **next = context;
    *(*next)++ = *found;
    return true;
}

/* Both, from the one blob that they share. */
static enum outcome run_read_many(struct trial *trial, struct failure *why)
{
    const struct store_wanted wanted[2] = {{.name = trial->name}, {.name = trial->other}};
    struct store_found found[2] = {{.outcome = OUTCOME_ABSENT}, {.outcome = OUTCOME_ABSENT}}, *next = found;
    const struct store_read_many many = {wanted, 2, take_found, &next};
    uint8_t bytes[TRIAL_PART];
    enum outcome outcome = ACT(trial, read_open_many, &many, why);
    if (outcome == OUTCOME_OK)
        assert_true(next == found + 2);
    for (struct store_found *at = found; at < next; at++) {
        enum outcome one = at->outcome;
        if (one == OUTCOME_OK)
            one = trial->subject->acts->read_at(at->read, 0, bytes, (size_t)at->entry.size, why);
        else if (outcome == OUTCOME_OK)
            *why = at->why;
        if (one == OUTCOME_OK)
            assert_memory_equal(bytes, trial->bytes, (size_t)at->entry.size);
        if (at->outcome == OUTCOME_OK)
            trial->subject->acts->read_close(at->read);
        outcome = outcome == OUTCOME_OK ? one : outcome;
    }
    return outcome;
}

/* ---- uploads ---- */

static enum outcome run_begin(struct trial *trial, struct failure *why)
{
    struct store_upload_begin begin = {.upload = trial->id, .name = trial->name};
    struct store_upload_state state;
    return ACT(trial, upload_begin, &alice, &begin, &state, why);
}

static void prepare_begun(struct trial *trial)
{
    assert_ok(run_begin(trial, &store_why));
}

static enum outcome run_write(struct trial *trial, struct failure *why)
{
    uint64_t held;
    return ACT(trial, upload_write, &alice, &trial->id, 0, trial->bytes, TRIAL_LARGE, &held, why);
}

/* The second half before the first. */
static enum outcome run_write_ahead(struct trial *trial, struct failure *why)
{
    enum { HALF = TRIAL_LARGE / 2 };
    uint64_t held = 0;
    enum outcome outcome = ACT(trial, upload_write, &alice, &trial->id, HALF, trial->bytes + HALF,
                               TRIAL_LARGE - HALF, &held, why);
    if (outcome == OUTCOME_OK)
        outcome = ACT(trial, upload_write, &alice, &trial->id, 0, trial->bytes, HALF, &held, why);
    if (outcome == OUTCOME_OK)
        assert_int_equal(held, TRIAL_LARGE);
    return outcome;
}

static void prepare_written(struct trial *trial)
{
    prepare_begun(trial);
    assert_ok(run_write(trial, &store_why));
}

static enum outcome run_publish(struct trial *trial, struct failure *why)
{
    struct store_publish publish = {.upload = trial->id,
                                    .check = true,
                                    .size = TRIAL_LARGE,
                                    .check_digest = true};
    struct store_entry entry;
    publish.digest = digest_of(trial->bytes, TRIAL_LARGE);
    enum outcome outcome = ACT(trial, publish, &alice, &publish, &entry, why);
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    /* Given up, since the disk failed under it. */
    outcome = run_begin(trial, why);
    if (outcome == OUTCOME_OK)
        outcome = run_write(trial, why);
    return outcome == OUTCOME_OK ? ACT(trial, publish, &alice, &publish, &entry, why) : outcome;
}

static enum outcome run_abort(struct trial *trial, struct failure *why)
{
    return ACT(trial, upload_abort, &alice, &trial->id, why);
}

/* ---- interests ---- */

static enum outcome add(struct trial *trial, bool glob, const char *pattern, bool every, struct failure *why)
{
    struct store_interest_add what = {
        .mailbox = trial->mailbox,
        .interest = trial->interest,
        .glob = glob,
        .pattern = pattern,
        .seconds = TRIAL_SECONDS,
        .every = every,
        .present = true,
    };
    static struct store_entry entries[4];
    struct store_registration out;
    return ACT(trial, interest_add, &alice, &what, entries, 4, &out, why);
}

static enum outcome run_add(struct trial *trial, struct failure *why)
{
    return add(trial, false, trial->other, false, why);
}

static enum outcome run_add_glob(struct trial *trial, struct failure *why)
{
    return add(trial, true, "*her-[0-9]*", true, why);
}

static void prepare_waiting(struct trial *trial)
{
    assert_ok(run_add(trial, &store_why));
}

static enum outcome run_renew(struct trial *trial, struct failure *why)
{
    uint32_t left;
    return ACT(trial, interest_renew, &alice, &trial->id, &trial->mailbox, &trial->interest,
               2 * TRIAL_SECONDS, &left, why);
}

static enum outcome run_drop(struct trial *trial, struct failure *why)
{
    struct store_interest_drop what = {.op = trial->id,
                                       .mailbox = trial->mailbox,
                                       .interest = trial->interest};
    struct store_cancelled rows[2];
    size_t count = 0;
    bool more;
    enum outcome outcome = ACT(trial, interest_drop, &alice, &what, rows, 2, &count, &more, why);
    if (outcome == OUTCOME_OK)
        assert_true(count == 1 && rows[0].state == STORE_CANCELLED);
    return outcome;
}

static enum outcome run_interests(struct trial *trial, struct failure *why)
{
    struct store_interest rows[2];
    size_t count = 0;
    bool more;
    enum outcome outcome = ACT(trial, interest_list, &trial->mailbox, &none, rows, 2, &count, &more, why);
    if (outcome == OUTCOME_OK)
        assert_int_equal(count, 1);
    return outcome;
}

/* ---- mailboxes and notices ---- */

static enum outcome run_route(struct trial *trial, struct failure *why)
{
    struct store_mailbox out;
    return ACT(trial, mailbox_route, &alice, &trial->mailbox, "a route", 7, &out, why);
}

static enum outcome run_forget(struct trial *trial, struct failure *why)
{
    return ACT(trial, mailbox_forget, &trial->mailbox, why);
}

/* What was waited for has come. */
static void prepare_arrived(struct trial *trial)
{
    prepare_waiting(trial);
    assert_ok(put(trial->subject, &alice, trial->other, "here", NULL));
}

/* The same, and the last who waits has not been told: more wait before it than a publish tells by itself. */
static void prepare_untold(struct trial *trial)
{
    enum { OTHERS = 40 };
    for (int i = 0; i < OTHERS; i++) {
        const struct store_interest_add add = {.mailbox = id_random(),
                                               .interest = id_random(),
                                               .pattern = trial->other,
                                               .seconds = 3600};
        struct store_registration made;
        assert_ok(interest(trial->subject, &alice, &add, NULL, 0, &made));
    }
    prepare_arrived(trial);
}

static enum outcome run_fan_out(struct trial *trial, struct failure *why)
{
    bool left = true;
    enum outcome outcome = OUTCOME_OK;
    while (left && outcome == OUTCOME_OK)
        outcome = ACT(trial, fan_out, 10, &left, why);
    return outcome;
}

static void prepare_told(struct trial *trial)
{
    bool more;
    prepare_arrived(trial);
    fan_out(trial->subject);
    assert_int_equal(events(trial->subject, &trial->mailbox, 0, trial->events, 4, &more), 1);
    trial->number = trial->events[0].number;
}

static enum outcome run_events(struct trial *trial, struct failure *why)
{
    size_t count;
    bool more;
    return ACT(trial, mailbox_events, &trial->mailbox, trial->number, trial->events, 4, &count, &more, why);
}

static void prepare_due(struct trial *trial)
{
    prepare_told(trial);
    assert_ok(run_route(trial, &store_why));
}

/* Twice: a claim that the failure cost lapses by itself. */
static enum outcome run_claim(struct trial *trial, struct failure *why)
{
    int64_t next;
    enum outcome outcome = ACT(trial, pending_claim, 60, &trial->claim, trial->events, 4, &next, why);
    if (outcome == OUTCOME_ABSENT) {
        step(trial->subject, 61);
        outcome = ACT(trial, pending_claim, 60, &trial->claim, trial->events, 4, &next, why);
    }
    if (outcome == OUTCOME_OK)
        assert_true(id_equal(&trial->claim.mailbox, &trial->mailbox) && trial->claim.count == 1);
    return outcome;
}

static void prepare_claimed(struct trial *trial)
{
    prepare_due(trial);
    assert_ok(run_claim(trial, &store_why));
}

static enum outcome run_pending_done(struct trial *trial, struct failure *why)
{
    return ACT(trial, pending_done, &trial->mailbox, trial->claim.token, trial->claim.newest, why);
}

static enum outcome run_pending_retry(struct trial *trial, struct failure *why)
{
    return ACT(trial, pending_retry, &trial->mailbox, trial->claim.token, 1000, why);
}

/* ---- care ---- */

/* An interest, an upload and a replaced file, all long over. */
static void prepare_over(struct trial *trial)
{
    prepare_waiting(trial);
    prepare_file(trial);
    struct store_put put = put_of(trial, TRIAL_LARGE, true);
    put.op = id_random();
    assert_ok(put_as(trial->subject, &alice, &put, NULL));
    struct store_upload_begin begin = {.upload = id_random(), .name = trial->other};
    struct store_upload_state state;
    assert_ok(ACT(trial, upload_begin, &alice, &begin, &state, &store_why));
    step(trial->subject, 8 * STORE_ANSWER_SECONDS);
}

static enum outcome run_sweep(struct trial *trial, struct failure *why)
{
    struct store_sweep swept;
    int64_t next;
    bool left = true;
    enum outcome outcome = OUTCOME_OK;
    while (left && outcome == OUTCOME_OK)
        outcome = ACT(trial, sweep, &swept, &left, &next, why);
    return outcome;
}

/* Two share a blob, and the larger one is gone. */
static void prepare_waste(struct trial *trial)
{
    assert_ok(CERTAIN(put_two(trial, TRIAL_PART, TRIAL_LARGE, &store_why)));
    assert_ok(remove_name(trial->subject, &alice, NULL, trial->name, NULL));
    step(trial->subject, STORE_ANSWER_SECONDS);
}

static enum outcome run_condense(struct trial *trial, struct failure *why)
{
    static char back[TRIAL_LARGE + 1];
    enum outcome outcome = run_sweep(trial, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct store_read *read = NULL;
    struct store_entry entry;
    outcome = ACT(trial, read_open, trial->other, &none, &read, &entry, why);
    if (outcome == OUTCOME_OK)
        outcome = trial->subject->acts->read_at(read, 0, back, TRIAL_LARGE, why);
    trial->subject->acts->read_close(read);
    if (outcome == OUTCOME_OK)
        assert_memory_equal(back, trial->bytes, TRIAL_LARGE);
    return outcome;
}

static enum outcome run_health(struct trial *trial, struct failure *why)
{
    struct store_health health;
    return ACT(trial, health, &health, why);
}

static enum outcome run_audit(struct trial *trial, struct failure *why)
{
    struct store_audit audit;
    enum outcome outcome = ACT(trial, audit, true, &audit, why);
    if (outcome == OUTCOME_OK)
        assert_true(audit.missing_blobs + audit.wrong_sizes + audit.wrong_digests == 0);
    return outcome;
}

static enum outcome run_repair(struct trial *trial, struct failure *why)
{
    struct store_repair repaired = {0};
    enum outcome outcome = ACT(trial, repair, true, &repaired, why);
    assert_int_equal(repaired.set_aside, 0); /* what cannot be read just now is not lost */
    return outcome;
}

/* Closed and opened again; one that could not be opened is opened by the repeat. */
static enum outcome run_open(struct trial *trial, struct failure *why)
{
    struct subject *s = trial->subject;
    struct store_local_options options = {.folder = s->folder, .limits = s->limits, .clock = &s->clock};
    if (s->store)
        s->acts->close(s->store);
    s->store = NULL;
    return store_local_open(&options, &s->store, why);
}

/* Each to a place of its own, so that the failed one is no obstacle. */
static enum outcome run_backup(struct trial *trial, struct failure *why)
{
    char target[TRIAL_PATH_SIZE];
    struct store_backup taken;
    trial_backup_path(trial, trial->backups++, target);
    return ACT(trial, backup, target, false, &taken, why);
}

const struct act acts[] = {
    {.name = "put of 100 bytes", .run = run_put_small, .look = look_made},
    {.name = "put of some pages", .run = run_put_pages, .look = look_made},
    {.name = "put of 20,000 bytes", .run = run_put_large, .look = look_made},
    {.name = "replace", .prepare = prepare_file, .run = run_replace, .look = look_replaced},
    {.name = "put of two", .run = run_put_many},
    {.name = "put of two in one blob", .run = run_put_many_large},
    {.name = "upload, begin", .run = run_begin},
    {.name = "upload, write", .prepare = prepare_begun, .run = run_write},
    {.name = "upload, write before its turn", .prepare = prepare_begun, .run = run_write_ahead},
    {.name = "upload, publish", .prepare = prepare_written, .run = run_publish, .look = look_made},
    {.name = "upload, abort", .prepare = prepare_written, .run = run_abort},
    {.name = "stat", .prepare = prepare_file, .run = run_stat},
    {.name = "list", .prepare = prepare_file, .run = run_list},
    {.name = "read", .prepare = prepare_file, .run = run_read},
    {.name = "read many", .prepare = prepare_two, .run = run_read_many},
    {.name = "remove", .prepare = prepare_file, .run = run_remove, .look = look_removed},
    {.name = "rename", .prepare = prepare_file, .run = run_rename, .look = look_renamed},
    {.name = "interest in a name", .run = run_add, .look = look_waiting},
    {.name = "interest in a glob", .run = run_add_glob, .look = look_waiting},
    {.name = "renew", .prepare = prepare_waiting, .run = run_renew, .look = look_renewed},
    {.name = "cancel", .prepare = prepare_waiting, .run = run_drop, .look = look_dropped},
    {.name = "list of interests", .prepare = prepare_waiting, .run = run_interests},
    {.name = "route", .prepare = prepare_waiting, .run = run_route},
    {.name = "forget", .prepare = prepare_waiting, .run = run_forget, .look = look_forgotten},
    {.name = "fan out", .prepare = prepare_untold, .run = run_fan_out, .look = look_told},
    {.name = "events", .prepare = prepare_told, .run = run_events, .look = look_acknowledged, .eager = true},
    {.name = "claim", .prepare = prepare_due, .run = run_claim},
    {.name = "done", .prepare = prepare_claimed, .run = run_pending_done, .look = look_acknowledged},
    {.name = "retry", .prepare = prepare_claimed, .run = run_pending_retry},
    {.name = "sweep", .prepare = prepare_over, .run = run_sweep, .alike = true},
    {.name = "sweep that condenses", .prepare = prepare_waste, .run = run_condense, .alike = true},
    {.name = "open", .prepare = prepare_told, .run = run_open, .alike = true, .local = true},
    {.name = "health", .run = run_health},
    {.name = "audit", .prepare = prepare_file, .run = run_audit, .alike = true},
    {.name = "repair", .prepare = prepare_file, .run = run_repair, .alike = true},
    {.name = "backup", .prepare = prepare_file, .run = run_backup, .alike = true, .local = true},
};

const unsigned act_count = sizeof acts / sizeof acts[0];
