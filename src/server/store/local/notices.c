#include "server/store/local/notices.h"

#include "base/fault.h"
#include "server/store/local/entries.h"
#include "server/store/local/local.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LOOKS_AT_PUBLISH = 64, LOOKS_IN_STEP = 8192, EVENTS_AT_PUBLISH = 32, EVENTS_IN_STEP = 512 };

/* ---- who got something ---- */

void noticed_tell(struct local *local, bool committed)
{
    struct noticed *noticed = &local->noticed;
    int64_t now = clock_elapsed(local->clock);
    for (size_t i = 0; i < noticed->count; i++) {
        struct notice *notice = &noticed->of[i];
        if (!committed)
            notice->news = due_news_free(notice->news);
        due_tell(&local->due, notice->mailbox, now, notice->news);
    }
    if (noticed->incomplete)
        due_miss(&local->due);
    if (noticed->left || !committed)
        atomic_store(&local->arrivals_left, true);
    noticed->count = 0;
    noticed->incomplete = noticed->left = false;
}

void noticed_undo(struct noticed *noticed, size_t count)
{
    while (noticed->count > count)
        due_news_free(noticed->of[--noticed->count].news);
}

void noticed_fini(struct noticed *noticed)
{
    noticed_undo(noticed, 0);
    free(noticed->of);
    *noticed = (struct noticed){.of = NULL};
}

/* Takes the news. */
static void noticed_add(struct noticed *noticed, int64_t mailbox, struct due_news *news)
{
    if (noticed->count == noticed->room) {
        size_t room = noticed->room * 2 + 64;
        struct notice *larger = realloc(noticed->of, room * sizeof *larger);
        if (!larger) {
            noticed->incomplete = true;
            due_news_free(news);
            return;
        }
        noticed->of = larger;
        noticed->room = room;
    }
    noticed->of[noticed->count++] = (struct notice){mailbox, news};
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

static enum outcome put_marker(struct local *local, struct database *db, int64_t mailbox,
                               const struct dropping *dropping, struct failure *why)
{
    const struct id none = {0};
    const struct event_row marker = {
        .mailbox = mailbox,
        .number = dropping->number,
        .kind = STORE_DROPPED,
        .interest = &none,
        .pattern = "",
        .happened = clock_wall(local->clock),
        .dropped = dropping->dropped,
    };
    return events_add(local, db, &marker, why);
}

enum outcome notices_age(struct local *local, struct database *db, int64_t mailbox, int64_t before,
                         unsigned limit, uint64_t *dropped, struct failure *why)
{
    struct dropping all = {0}, one;
    unsigned count = 0;
    uint64_t events = 0, gone;
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
    outcome = events_remove(local, db, mailbox, 0, all.number, &gone, why);
    if (outcome == OUTCOME_OK)
        outcome = put_marker(local, db, mailbox, &all, why);
    if (outcome == OUTCOME_OK) {
        *dropped += events;
        atomic_fetch_add(&local->events_dropped, events);
    }
    return outcome;
}

/* A mailbox that is to get an event. */
struct addressee {
    int64_t newest; /* number of its newest event; 0: it has none */
    struct id secret;
    size_t route_size;
    uint8_t route[STORE_ROUTE_SIZE];
};

static enum outcome find_addressee(struct database *db, int64_t mailbox, struct addressee *out,
                                   struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT (SELECT max(number) FROM event WHERE mailbox = ?1), "
                                               "secret, route FROM mailbox WHERE id = ?1");
    bind_int(&q, mailbox);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_FAULT, "a mailbox is missing") : outcome;
    out->newest = column_int(&q);
    out->secret = column_id(&q);
    const void *route = column_blob(&q, &out->route_size);
    if (out->route_size > sizeof out->route)
        out->route_size = 0;
    if (out->route_size > 0)
        memcpy(out->route, route, out->route_size);
    return OUTCOME_OK;
}

enum outcome notices_make_place(struct local *local, struct database *db, int64_t mailbox, int64_t newest,
                                struct failure *why)
{
    int64_t waiting = 0;
    enum outcome outcome = OUTCOME_OK;
    if (newest > 0)
        outcome = events_waiting(local, db, mailbox, newest, &waiting, why);
    if (outcome != OUTCOME_OK || waiting < (int64_t)local->limits.events_per_mailbox)
        return outcome;
    uint64_t dropped = 0;
    return notices_age(local, db, mailbox, INT64_MAX, 2, &dropped, why);
}

/* The event as it will be claimed, if it is all that the mailbox has. NULL: it is to be looked up. */
static struct due_news *news_of(const struct addressee *to, const struct waiter *waiter,
                                const struct store_entry *entry)
{
    if (to->newest > 0 || to->route_size == 0)
        return NULL;
    struct store_event event = {
        .number = waiter->event,
        .kind = STORE_ARRIVED,
        .interest = waiter->interest,
        .happened = entry->arrival,
        .entry = *entry,
    };
    memcpy(event.pattern, waiter->pattern, sizeof event.pattern);
    return due_news_new(&to->secret, to->route, to->route_size, &event);
}

/* What an event tells of. `id` 0: the interest ran out. */
struct arrival {
    int64_t id, happened;
    const struct store_entry *entry;
};

static enum outcome put_event(struct local *local, struct database *db, struct waiter *waiter,
                              const struct arrival *arrival, struct failure *why)
{
    struct addressee to = {.newest = 0};
    enum outcome outcome = find_addressee(db, waiter->mailbox, &to, why);
    if (outcome == OUTCOME_OK)
        outcome = notices_make_place(local, db, waiter->mailbox, to.newest, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    int64_t number = events_number(local, to.newest);
    waiter->event = (uint64_t)number;
    noticed_add(&local->noticed, waiter->mailbox, arrival->id ? news_of(&to, waiter, arrival->entry) : NULL);
    const struct event_row event = {
        .mailbox = waiter->mailbox,
        .number = number,
        .kind = arrival->id ? STORE_ARRIVED : STORE_EXPIRED,
        .interest = &waiter->interest,
        .pattern = waiter->pattern,
        .happened = arrival->happened,
        .arrival = arrival->id,
    };
    return events_add(local, db, &event, why);
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

/* One that goes on waiting: what indexes are made of stays as it is. */
static enum outcome put_progress(struct database *db, const struct waiter *waiter, struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "UPDATE interest SET seen = ?, arrivals = ?, event = ? WHERE id = ?");
    bind_int(&q, waiter->seen);
    bind_int(&q, (int64_t)waiter->arrivals);
    bind_int(&q, (int64_t)waiter->event);
    bind_int(&q, waiter->row);
    return query_run(&q, why);
}

static enum outcome deliver(struct local *local, struct database *db, struct waiter *waiter,
                            const struct arrival *arrival, struct failure *why)
{
    enum outcome outcome = put_event(local, db, waiter, arrival, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    waiter->seen = arrival->id;
    waiter->arrivals++;
    if (waiter->every)
        return put_progress(db, waiter, why);
    waiter_over(local, waiter, STORE_MET);
    return put_waiter(db, waiter, why);
}

enum outcome notices_expire(struct local *local, struct database *db, struct waiter *waiter,
                            struct failure *why)
{
    const struct arrival none = {.id = 0, .happened = clock_wall(local->clock)};
    enum outcome outcome = OUTCOME_OK;
    if (waiter->arrivals == 0)
        outcome = put_event(local, db, waiter, &none, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    waiter_over(local, waiter, STORE_OVER);
    return put_waiter(db, waiter, why);
}

/* ---- arrivals ---- */

struct pending {
    int64_t id;
    struct waiter_search search;
    struct store_entry entry;
};

/* The oldest pending arrival numbered above `after`. ABSENT. */
static enum outcome pending_next(struct database *db, int64_t after, struct pending *out, struct failure *why)
{
    scoped_query struct query q = query_on(db,
                                           "SELECT id, stage, after, " ENTRY_COLUMNS
                                           " FROM arrival WHERE pending = 1 AND id > ? ORDER BY id LIMIT 1");
    bind_int(&q, after);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->id = column_int(&q);
    out->search = (struct waiter_search){.stage = column_int(&q)};
    out->search.after = column_int(&q);
    entry_take(&q, &out->entry);
    return OUTCOME_OK;
}

static struct arrival arrival_of(const struct pending *pending)
{
    return (struct arrival){.id = pending->id, .happened = pending->entry.arrival, .entry = &pending->entry};
}

enum outcome notices_settle(struct local *local, struct database *db, struct waiter *waiter,
                            struct failure *why)
{
    struct pending pending = {.id = waiter->seen};
    while (waiter->state == STORE_WAITING) {
        enum outcome outcome = pending_next(db, pending.id, &pending, why);
        if (outcome != OUTCOME_OK)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
        bool wants = false;
        const struct arrival arrival = arrival_of(&pending);
        outcome = waiter_wants(&local->waiters, waiter, pending.entry.name, &wants, why);
        if (outcome == OUTCOME_OK && wants)
            outcome = deliver(local, db, waiter, &arrival, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_OK;
}

static enum outcome arrival_told(struct local *local, struct database *db, int64_t arrival,
                                 struct failure *why)
{
    {
        scoped_query struct query q = query_on(db, "UPDATE arrival SET pending = 0 WHERE id = ?");
        bind_int(&q, arrival);
        enum outcome outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return events_told(local, db, arrival, why);
}

static enum outcome arrival_put_off(struct database *db, const struct pending *pending, struct failure *why)
{
    scoped_query struct query q = query_on(db, "UPDATE arrival SET stage = ?, after = ? WHERE id = ?");
    bind_int(&q, pending->search.stage);
    bind_int(&q, pending->search.after);
    bind_int(&q, pending->id);
    return query_run(&q, why);
}

/* How much a transaction may do of it. */
struct fan_out_step {
    size_t limit; /* arrivals */
    size_t room;  /* events */
    unsigned looks;
    size_t done;
    bool left;
};

/* Gives one arrival's waiters their events, as many as this step has room for. */
static enum outcome fan_out_one(struct local *local, struct database *db, struct pending *pending,
                                struct fan_out_step *step, struct failure *why)
{
    struct waiter waiter;
    enum outcome outcome = OUTCOME_OK;
    const struct arrival arrival = arrival_of(pending);
    pending->search.looks = step->looks;
    for (; outcome == OUTCOME_OK && step->room > 0; step->room--) {
        outcome = waiter_next(&local->waiters, db, pending->entry.name, pending->id, &pending->search,
                              &waiter, why);
        if (outcome == OUTCOME_OK)
            outcome = deliver(local, db, &waiter, &arrival, why);
    }
    step->looks = pending->search.looks;
    if (outcome == OUTCOME_ABSENT) {
        step->done++;
        return arrival_told(local, db, pending->id, why);
    }
    step->left = true;
    return outcome == OUTCOME_OK || outcome == OUTCOME_LIMIT ? arrival_put_off(db, pending, why) : outcome;
}

static enum outcome put_arrival(struct database *db, const struct store_entry *entry, int64_t made,
                                struct failure *why)
{
    scoped_query struct query q = query_on(db, "INSERT INTO arrival (" ENTRY_COLUMNS
                                               ", id, pending, stage, after)"
                                               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, 0, 0)");
    entry_bind(&q, entry);
    bind_int(&q, made);
    return query_run(&q, why);
}

/* Older ones come first: an interest that has seen this one would not be told of them. */
static enum outcome older_pending(struct database *db, int64_t than, bool *any, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT 1 FROM arrival WHERE pending = 1 AND id < ? LIMIT 1");
    bind_int(&q, than);
    enum outcome outcome = query_row(&q, why);
    *any = outcome == OUTCOME_OK;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

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
    bool older = true, found = outcome == OUTCOME_OK;
    outcome = put_arrival(db, entry, made, why);
    if (outcome == OUTCOME_OK && found)
        outcome = older_pending(db, made, &older, why);
    local->noticed.left |= older;
    if (outcome != OUTCOME_OK || older)
        return outcome;
    struct pending pending = {.id = made, .search = search, .entry = *entry};
    struct fan_out_step step = {.room = EVENTS_AT_PUBLISH, .looks = search.looks};
    const struct arrival arrival = arrival_of(&pending);
    outcome = deliver(local, db, &anybody, &arrival, why);
    if (outcome == OUTCOME_OK)
        outcome = fan_out_one(local, db, &pending, &step, why);
    local->noticed.left |= step.left;
    return outcome;
}

/* ---- fan_out ---- */

static enum outcome fan_out_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct fan_out_step *step = argument;
    struct pending pending = {0};
    enum outcome outcome = OUTCOME_OK;
    while (outcome == OUTCOME_OK && !step->left) {
        outcome = pending_next(db, 0, &pending, why);
        if (outcome == OUTCOME_OK && step->done == step->limit)
            step->left = true;
        else if (outcome == OUTCOME_OK)
            outcome = fan_out_one(local, db, &pending, step, why);
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
    *left = false;
    if (!atomic_exchange(&local->arrivals_left, false))
        return OUTCOME_OK;
    enum outcome outcome = anything_pending(local, &any, why);
    size_t done = 0;
    while (outcome == OUTCOME_OK && any && done < limit) {
        struct fan_out_step step = {.limit = limit - done, .room = EVENTS_IN_STEP, .looks = LOOKS_IN_STEP};
        outcome = writer_do(&local->writer, fan_out_run, &step, why);
        FAULT_POINT("fan-out-committed");
        if (outcome == OUTCOME_OK) {
            done += step.done;
            any = step.left;
        }
    }
    if (outcome == OUTCOME_OK)
        *left = any;
    if (outcome != OUTCOME_OK || any)
        atomic_store(&local->arrivals_left, true);
    return outcome;
}
