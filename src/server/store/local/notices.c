#include "server/store/local/notices.h"

#include "base/fault.h"
#include "server/store/local/entries.h"
#include "server/store/local/local.h"

#include <string.h>
#include <unistd.h>

enum { LOOKS_AT_PUBLISH = 64, LOOKS_IN_STEP = 8192 };

void event_take(struct query *query, struct store_event *out)
{
    *out = (struct store_event){.number = (uint64_t)column_int(query)};
    out->kind = (enum store_event_kind)column_int(query);
    out->interest = column_id(query);
    column_text(query, out->pattern, sizeof out->pattern);
    out->happened = column_int(query);
    out->dropped = (uint64_t)column_int(query);
    entry_take(query, &out->entry);
}

void noticed_tell(struct local *local, const struct noticed *noticed)
{
    int64_t now = clock_elapsed(local->clock);
    for (size_t i = 0; i < noticed->count; i++)
        due_poke(&local->due, noticed->mailboxes[i], now, false);
    if (noticed->count > 0)
        local_wake(local);
}

static void noticed_add(struct noticed *noticed, int64_t mailbox)
{
    for (size_t i = noticed->count; i > 0 && noticed->count - i < 16; i--)
        if (noticed->mailboxes[i - 1] == mailbox)
            return;
    if (noticed->count < NOTICE_BATCH)
        noticed->mailboxes[noticed->count++] = mailbox;
}

/* ---- one event ---- */

struct dropping {
    int64_t number;
    int64_t dropped; /* events that it stands for, itself included */
    bool marker;     /* it stands for those that were dropped before */
};

/* The oldest event that was stored before `before`. ABSENT. */
static enum outcome oldest_event(struct database *db, int64_t mailbox, int64_t before, int64_t after,
                                 struct dropping *out, struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT number, kind, dropped, stored FROM event WHERE mailbox = ? AND number > ?"
            " ORDER BY number LIMIT 1");
    bind_int(&q, mailbox);
    bind_int(&q, after);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->number = column_int(&q);
    out->marker = column_int(&q) == STORE_DROPPED;
    int64_t dropped = column_int(&q);
    out->dropped = out->marker ? dropped : 1;
    return column_int(&q) < before ? OUTCOME_OK : OUTCOME_ABSENT;
}

static enum outcome drop_events(struct database *db, int64_t mailbox, int64_t up_to, struct failure *why)
{
    scoped_query struct query q = query_on(db, "DELETE FROM event WHERE mailbox = ? AND number <= ?");
    bind_int(&q, mailbox);
    bind_int(&q, up_to);
    return query_run(&q, why);
}

static enum outcome put_marker(struct local *local, struct database *db, int64_t mailbox,
                               const struct dropping *dropping, struct failure *why)
{
    struct id none = {0};
    scoped_query struct query q = query_on(
        db, "INSERT INTO event (mailbox, number, kind, interest, pattern, happened, stored, dropped)"
            " VALUES (?, ?, ?, ?, '', ?, ?, ?)");
    bind_int(&q, mailbox);
    bind_int(&q, dropping->number);
    bind_int(&q, STORE_DROPPED);
    bind_id(&q, &none);
    bind_int(&q, clock_wall(local->clock));
    bind_int(&q, timeline_now(&local->time));
    bind_int(&q, dropping->dropped);
    return query_run(&q, why);
}

enum outcome notices_age(struct local *local, struct database *db, int64_t mailbox, int64_t before,
                         unsigned limit, uint64_t *dropped, struct failure *why)
{
    struct dropping all = {0}, one;
    unsigned count = 0;
    uint64_t events = 0;
    enum outcome outcome = OUTCOME_OK;
    while (count < limit && outcome == OUTCOME_OK) {
        outcome = oldest_event(db, mailbox, before, all.number, &one, why);
        if (outcome == OUTCOME_OK) {
            all = (struct dropping){.number = one.number, .dropped = all.dropped + one.dropped};
            events += !one.marker;
            count++;
        }
    }
    if (count == 0 || (outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT))
        return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
    outcome = drop_events(db, mailbox, all.number, why);
    if (outcome == OUTCOME_OK)
        outcome = put_marker(local, db, mailbox, &all, why);
    if (outcome == OUTCOME_OK) {
        *dropped += events;
        atomic_fetch_add(&local->events_dropped, events);
    }
    return outcome;
}

/* The mailbox's next number; the oldest event goes if there is no room for one more. */
static enum outcome next_number(struct local *local, struct database *db, int64_t mailbox, int64_t *number,
                                struct failure *why)
{
    int64_t events = 0;
    {
        scoped_query struct query q = query_on(
            db, "UPDATE mailbox SET number = max(number, ?) + 1 WHERE id = ? RETURNING number, events");
        bind_int(&q, local->numbers_above);
        bind_int(&q, mailbox);
        enum outcome outcome = query_row(&q, why);
        if (outcome == OUTCOME_OK) {
            *number = column_int(&q);
            events = column_int(&q);
            outcome = query_run(&q, why);
        }
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_FAULT, "a mailbox is missing")
                                             : outcome;
    }
    if (events < (int64_t)local->limits.events_per_mailbox)
        return OUTCOME_OK;
    uint64_t dropped = 0;
    return notices_age(local, db, mailbox, INT64_MAX, 2, &dropped, why);
}

/* `arrival` 0: the interest ran out. */
static enum outcome put_event(struct local *local, struct database *db, struct waiter *waiter,
                              int64_t arrival, int64_t happened, struct noticed *noticed, struct failure *why)
{
    int64_t number = 0;
    enum outcome outcome = next_number(local, db, waiter->mailbox, &number, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    waiter->event = (uint64_t)number;
    noticed_add(noticed, waiter->mailbox);
    scoped_query struct query q = query_on(
        db, "INSERT INTO event (mailbox, number, kind, interest, pattern, happened, stored, arrival)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    bind_int(&q, waiter->mailbox);
    bind_int(&q, number);
    bind_int(&q, arrival ? STORE_ARRIVED : STORE_EXPIRED);
    bind_id(&q, &waiter->interest);
    bind_text(&q, waiter->pattern);
    bind_int(&q, happened);
    bind_int(&q, timeline_now(&local->time));
    if (arrival)
        bind_int(&q, arrival);
    return query_run(&q, why);
}

static enum outcome put_waiter(struct database *db, const struct waiter *waiter, struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "UPDATE interest SET state = ?, ends = ?, seen = ?, arrivals = ?, event = ? WHERE id = ?");
    bind_int(&q, waiter->state);
    bind_int(&q, waiter->ends);
    bind_int(&q, waiter->seen);
    bind_int(&q, (int64_t)waiter->arrivals);
    bind_int(&q, (int64_t)waiter->event);
    bind_int(&q, waiter->row);
    return query_run(&q, why);
}

/* From here on it is remembered for those who ask, and then forgotten. */
static void waiter_over(struct local *local, struct waiter *waiter, enum store_interest_state state)
{
    waiter->state = state;
    waiter->ends = timeline_now(&local->time) + timeline_seconds(STORE_ANSWER_SECONDS);
}

static enum outcome deliver(struct local *local, struct database *db, struct waiter *waiter, int64_t arrival,
                            int64_t happened, struct noticed *noticed, struct failure *why)
{
    enum outcome outcome = put_event(local, db, waiter, arrival, happened, noticed, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    waiter->seen = arrival;
    waiter->arrivals++;
    if (!waiter->every)
        waiter_over(local, waiter, STORE_MET);
    return put_waiter(db, waiter, why);
}

enum outcome notices_expire(struct local *local, struct database *db, struct waiter *waiter,
                            struct noticed *noticed, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    if (waiter->arrivals == 0)
        outcome = put_event(local, db, waiter, 0, clock_wall(local->clock), noticed, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    waiter_over(local, waiter, STORE_OVER);
    return put_waiter(db, waiter, why);
}

/* ---- arrivals ---- */

enum outcome notices_arrived(struct local *local, struct database *db, const struct store_entry *entry,
                             int64_t made, struct failure *why)
{
    struct waiter anybody;
    struct waiter_search search = {.looks = LOOKS_AT_PUBLISH};
    enum outcome outcome = waiter_next(&local->waiters, db, entry->name, INT64_MAX, &search, &anybody, why);
    if (outcome == OUTCOME_ABSENT)
        return OUTCOME_OK;
    if (outcome != OUTCOME_OK && outcome != OUTCOME_LIMIT)
        return outcome;
    scoped_query struct query q = query_on(db, "INSERT INTO arrival (" ENTRY_COLUMNS
                                               ", id, pending, stage, after)"
                                               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0, 0)");
    entry_bind(&q, entry);
    bind_int(&q, made);
    return query_run(&q, why);
}

struct pending {
    int64_t id, happened;
    struct waiter_search search;
    char name[NAME_BUFFER];
};

/* The oldest pending arrival numbered above `after`. ABSENT. */
static enum outcome pending_next(struct database *db, int64_t after, struct pending *out, struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT id, arrival, stage, after, name FROM arrival WHERE pending = 1 AND id > ?"
            " ORDER BY id LIMIT 1");
    bind_int(&q, after);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->id = column_int(&q);
    out->happened = column_int(&q);
    out->search = (struct waiter_search){.stage = column_int(&q)};
    out->search.after = column_int(&q);
    column_text(&q, out->name, sizeof out->name);
    return OUTCOME_OK;
}

enum outcome notices_settle(struct local *local, struct database *db, struct waiter *waiter,
                            struct noticed *noticed, struct failure *why)
{
    struct pending pending = {.id = waiter->seen};
    while (waiter->state == STORE_WAITING) {
        enum outcome outcome = pending_next(db, pending.id, &pending, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
        bool wants = false;
        outcome = waiter_wants(&local->waiters, waiter, pending.name, &wants, why);
        if (outcome == OUTCOME_OK && wants)
            outcome = deliver(local, db, waiter, pending.id, pending.happened, noticed, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_OK;
}

/* ---- fan_out ---- */

struct fan_out_step {
    size_t limit; /* arrivals */
    size_t done;
    bool left;
    struct noticed noticed;
};

static enum outcome arrival_told(struct database *db, int64_t arrival, struct failure *why)
{
    {
        scoped_query struct query q = query_on(db, "UPDATE arrival SET pending = 0 WHERE id = ?");
        bind_int(&q, arrival);
        enum outcome outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    scoped_query struct query q = query_on(db, "DELETE FROM arrival WHERE id = ? AND uses = 0");
    bind_int(&q, arrival);
    return query_run(&q, why);
}

static enum outcome arrival_put_off(struct database *db, const struct pending *pending, struct failure *why)
{
    scoped_query struct query q = query_on(db, "UPDATE arrival SET stage = ?, after = ? WHERE id = ?");
    bind_int(&q, pending->search.stage);
    bind_int(&q, pending->search.after);
    bind_int(&q, pending->id);
    return query_run(&q, why);
}

/* Gives one arrival's waiters their events, as many as this step has room for. */
static enum outcome fan_out_one(struct local *local, struct database *db, struct pending *pending,
                                struct fan_out_step *step, unsigned *looks, struct failure *why)
{
    struct waiter waiter;
    enum outcome outcome = OUTCOME_OK;
    pending->search.looks = *looks;
    while (outcome == OUTCOME_OK && step->noticed.count < NOTICE_BATCH) {
        outcome = waiter_next(&local->waiters, db, pending->name, pending->id, &pending->search, &waiter,
                              why);
        if (outcome == OUTCOME_OK)
            outcome = deliver(local, db, &waiter, pending->id, pending->happened, &step->noticed, why);
    }
    *looks = pending->search.looks;
    if (outcome == OUTCOME_ABSENT) {
        step->done++;
        return arrival_told(db, pending->id, why);
    }
    step->left = true;
    return outcome == OUTCOME_OK || outcome == OUTCOME_LIMIT ? arrival_put_off(db, pending, why) : outcome;
}

static enum outcome fan_out_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct fan_out_step *step = argument;
    struct pending pending = {0};
    unsigned looks = LOOKS_IN_STEP;
    enum outcome outcome = OUTCOME_OK;
    while (outcome == OUTCOME_OK && !step->left) {
        outcome = pending_next(db, 0, &pending, why);
        if (outcome == OUTCOME_OK && step->done == step->limit)
            step->left = true;
        else if (outcome == OUTCOME_OK)
            outcome = fan_out_one(local, db, &pending, step, &looks, why);
    }
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome anything_pending(struct local *local, bool *any, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(reader.db, "SELECT 1 FROM arrival WHERE pending = 1 LIMIT 1");
    outcome = query_row(&q, why);
    *any = outcome == OUTCOME_OK;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

enum outcome local_fan_out(struct store *store, size_t limit, bool *left, struct failure *why)
{
    struct local *local = local_of(store);
    bool any = false;
    /* Mostly nobody waits: that must not cost a commit. */
    enum outcome outcome = anything_pending(local, &any, why);
    size_t done = 0;
    while (outcome == OUTCOME_OK && any && done < limit) {
        struct fan_out_step step = {.limit = limit - done};
        outcome = writer_do(&local->writer, fan_out_run, &step, why);
        FAULT_POINT("fan-out-committed");
        if (outcome == OUTCOME_OK) {
            noticed_tell(local, &step.noticed);
            done += step.done;
            any = step.left;
        }
    }
    if (outcome == OUTCOME_OK)
        *left = any;
    return outcome;
}
