#include "server/store/local/mailboxes.h"

#include "base/fault.h"
#include "server/store/local/answers.h"
#include "server/store/local/local.h"
#include "server/store/local/notices.h"

/* ---- rows ---- */

/* ABSENT is not described. */
static enum outcome look_up(struct database *db, const struct id *secret, struct mailbox *out,
                            struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT id, interests, open_globs, over, touched FROM mailbox WHERE secret = ?");
    bind_id(&q, secret);
    enum outcome outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->row = column_int(&q);
    out->interests = (uint32_t)column_int(&q);
    out->open_globs = (uint32_t)column_int(&q);
    out->over = (uint32_t)column_int(&q);
    out->touched = column_int(&q);
    return OUTCOME_OK;
}

enum outcome mailbox_find(struct database *db, const struct id *secret, struct mailbox *out,
                          struct failure *why)
{
    enum outcome outcome = look_up(db, secret, out, why);
    return outcome == OUTCOME_ABSENT ? failure_set(why, outcome, "there is no such mailbox") : outcome;
}

static enum outcome touch(struct local *local, struct database *db, int64_t row, struct failure *why)
{
    scoped_query struct query q = query_on(db, "UPDATE mailbox SET touched = ? WHERE id = ?");
    bind_int(&q, timeline_now(&local->time));
    bind_int(&q, row);
    return query_run(&q, why);
}

/* Whether there is room for one more, in all and of this principal. */
static enum outcome room_for_mailbox(struct local *local, struct database *db, const char *name,
                                     int64_t *principal, struct failure *why)
{
    enum outcome outcome = answers_principal(db, name, principal, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(
        db, "SELECT mailboxes, (SELECT mailboxes FROM principal WHERE id = ?) FROM store");
    bind_int(&q, *principal);
    outcome = query_row(&q, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? failure_set(why, OUTCOME_FAULT, "the store's own row is missing")
                                         : outcome;
    int64_t all = column_int(&q);
    int64_t own = column_int(&q);
    if (all >= (int64_t)local->limits.mailboxes)
        return failure_set(why, OUTCOME_LIMIT,
                           "the server keeps %u mailboxes at most, and has as many; try again later",
                           local->limits.mailboxes);
    if (own >= (int64_t)local->limits.mailboxes_per_principal)
        return failure_set(
            why, OUTCOME_LIMIT,
            "%s may have %u mailboxes at most, and has as many; end some waits, or try again later", name,
            local->limits.mailboxes_per_principal);
    return OUTCOME_OK;
}

enum outcome mailbox_make(struct local *local, struct database *db, const struct id *secret,
                          const char *principal, struct mailbox *out, struct failure *why)
{
    enum outcome outcome = look_up(db, secret, out, why);
    if (outcome == OUTCOME_OK)
        return touch(local, db, out->row, why);
    int64_t payer = 0;
    if (outcome == OUTCOME_ABSENT)
        outcome = room_for_mailbox(local, db, principal, &payer, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(
        db, "INSERT INTO mailbox (secret, principal, touched) VALUES (?, ?, ?)");
    bind_id(&q, secret);
    bind_int(&q, payer);
    bind_int(&q, timeline_now(&local->time));
    outcome = query_run(&q, why);
    if (outcome == OUTCOME_OK)
        *out = (struct mailbox){.row = database_last_row(db)};
    return outcome;
}

static enum outcome delete_of(struct database *db, const char *text, int64_t row, struct failure *why)
{
    scoped_query struct query q = query_on(db, text);
    bind_int(&q, row);
    return query_run(&q, why);
}

enum outcome mailbox_end(struct local *local, struct database *db, int64_t row, struct failure *why)
{
    uint64_t gone;
    enum outcome outcome = events_remove(local, db, row, 0, INT64_MAX, &gone, why);
    if (outcome == OUTCOME_OK)
        outcome = delete_of(db, "DELETE FROM interest WHERE mailbox = ?", row, why);
    return outcome == OUTCOME_OK ? delete_of(db, "DELETE FROM mailbox WHERE id = ?", row, why) : outcome;
}

/*
 * Events that were on their way when they were dropped came after all: those up to
 * `number` are not lost. Numbers follow one another but where the store was opened
 * while some waited, so what follows `number` is at most what was dropped. What
 * stands for dropped events is the oldest there is.
 */
static enum outcome told_before_dropped(struct database *db, int64_t row, int64_t oldest, int64_t number,
                                        struct failure *why)
{
    scoped_query struct query q = query_on(
        db,
        "UPDATE event SET dropped = min(dropped, number - ?) WHERE mailbox = ? AND number = ? AND kind = ?");
    bind_int(&q, number);
    bind_int(&q, row);
    bind_int(&q, oldest);
    bind_int(&q, STORE_DROPPED);
    return query_run(&q, why);
}

/* What is acknowledged, and by whom. */
struct received {
    struct mailbox mailbox;
    bool any;     /* events are, each of which was noted as gone */
    int64_t left; /* number of the oldest that is not; 0: no other waits */
};

/* ABSENT (described). */
static enum outcome note_received(struct local *local, struct database *db, const struct id *secret,
                                  int64_t number, struct received *out, struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT mailbox.id, mailbox.touched, event.number, event.arrival FROM mailbox"
            " LEFT JOIN event ON event.mailbox = mailbox.id WHERE secret = ? ORDER BY event.number");
    bind_id(&q, secret);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_ABSENT)
        return failure_set(why, outcome, "there is no such mailbox");
    while (outcome == OUTCOME_OK) {
        out->mailbox.row = column_int(&q);
        out->mailbox.touched = column_int(&q);
        int64_t of = column_int(&q); /* 0: there is none */
        if (of == 0 || of > number) {
            out->left = of;
            return OUTCOME_OK;
        }
        out->any = true;
        outcome = events_note_removed(local, db, column_int(&q), why);
        if (outcome == OUTCOME_OK)
            outcome = query_row(&q, why);
    }
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

enum outcome mailbox_acknowledge(struct local *local, struct database *db, const struct id *secret,
                                 uint64_t number, int64_t *row, bool *left, struct failure *why)
{
    struct received received = {0};
    int64_t up_to = number > INT64_MAX ? INT64_MAX : (int64_t)number;
    enum outcome outcome = note_received(local, db, secret, up_to, &received, why);
    const struct mailbox *mailbox = &received.mailbox;
    if (outcome == OUTCOME_OK && received.any)
        outcome = events_remove_noted(db, mailbox->row, 0, up_to, why);
    if (outcome == OUTCOME_OK && received.left > 0)
        outcome = told_before_dropped(db, mailbox->row, received.left, up_to, why);
    if (outcome == OUTCOME_OK && mailbox->touched < timeline_now(&local->time) - MAILBOX_TOUCH_EVERY)
        outcome = touch(local, db, mailbox->row, why);
    if (outcome == OUTCOME_OK) {
        *row = mailbox->row;
        *left = received.left > 0;
    }
    return outcome;
}

enum outcome mailbox_read(struct database *db, int64_t row, uint64_t since, struct store_event *events,
                          size_t capacity, size_t *count, bool *more, struct failure *why)
{
    scoped_query struct query q = query_on(db, EVENT_SELECT
                                           "WHERE mailbox = ? AND number > ? ORDER BY number LIMIT ?");
    bind_int(&q, row);
    bind_int(&q, since > INT64_MAX ? INT64_MAX : (int64_t)since);
    bind_int(&q, (int64_t)capacity + 1);
    size_t found = 0;
    enum outcome outcome = query_row(&q, why);
    while (outcome == OUTCOME_OK && found < capacity) {
        event_take(&q, &events[found++]);
        outcome = query_row(&q, why);
    }
    if (outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT)
        return outcome;
    *count = found;
    *more = outcome == OUTCOME_OK;
    return OUTCOME_OK;
}

/* ---- route ---- */

struct routing {
    const struct store_caller *caller; /* NULL: no mailbox is made */
    const struct id *secret;
    const void *route;
    size_t size;
    int64_t row;
    struct store_mailbox state;
};

static enum outcome what_waits(struct local *local, struct database *db, int64_t row,
                               struct store_mailbox *out, struct failure *why)
{
    int64_t newest = 0, count = 0;
    enum outcome outcome = events_newest(db, row, &newest, why);
    if (outcome == OUTCOME_OK && newest > 0)
        outcome = events_waiting(local, db, row, newest, &count, why);
    if (outcome == OUTCOME_OK)
        *out = (struct store_mailbox){.waiting = (uint64_t)count, .newest = (uint64_t)newest};
    return outcome;
}

static enum outcome route_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct routing *routing = argument;
    struct mailbox mailbox;
    enum outcome outcome = routing->caller ? mailbox_make(local, db, routing->secret,
                                                          routing->caller->principal, &mailbox, why)
                                           : look_up(db, routing->secret, &mailbox, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
    routing->row = mailbox.row;
    {
        scoped_query struct query q = query_on(db, "UPDATE mailbox SET route = ? WHERE id = ?");
        if (routing->size > 0)
            bind_blob(&q, routing->route, routing->size);
        else
            bind_null(&q);
        bind_int(&q, mailbox.row);
        outcome = query_run(&q, why);
    }
    if (outcome != OUTCOME_OK)
        return outcome;
    return what_waits(local, db, mailbox.row, &routing->state, why);
}

enum outcome local_mailbox_route(struct store *store, const struct store_caller *caller,
                                 const struct id *secret, const void *route, size_t size,
                                 struct store_mailbox *out, struct failure *why)
{
    struct local *local = local_of(store);
    if (size > STORE_ROUTE_SIZE)
        return failure_set(why, OUTCOME_INVALID, "a route of %zu bytes", size);
    struct routing routing = {.caller = caller, .secret = secret, .route = route, .size = size};
    enum outcome outcome = writer_do(&local->writer, route_run, &routing, why);
    FAULT_POINT("route-committed");
    if (outcome != OUTCOME_OK)
        return outcome;
    if (size > 0 && routing.row != 0) {
        due_poke(&local->due, routing.row, clock_elapsed(local->clock), true);
        local_wake(local);
    } else if (routing.row != 0) {
        due_unlearn(&local->due, routing.row); /* the route that stands there is no more */
    }
    *out = routing.state;
    return OUTCOME_OK;
}

/* ---- forget ---- */

struct forgetting {
    const struct id *secret;
    int64_t row; /* 0: there was none */
};

static enum outcome forget_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct forgetting *forgetting = argument;
    struct mailbox mailbox;
    enum outcome outcome = look_up(db, forgetting->secret, &mailbox, why);
    if (outcome != OUTCOME_OK)
        return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
    forgetting->row = mailbox.row;
    return mailbox_end(local, db, mailbox.row, why);
}

enum outcome local_mailbox_forget(struct store *store, const struct id *secret, struct failure *why)
{
    struct local *local = local_of(store);
    struct forgetting forgetting = {.secret = secret};
    enum outcome outcome = writer_do(&local->writer, forget_run, &forgetting, why);
    FAULT_POINT("forget-committed");
    if (outcome == OUTCOME_OK && forgetting.row != 0)
        due_forget(&local->due, forgetting.row);
    return outcome;
}

/* ---- events ---- */

struct acknowledging {
    const struct id *secret;
    uint64_t number;
};

static enum outcome acknowledge_run(struct local *local, struct database *db, void *argument,
                                    struct failure *why)
{
    const struct acknowledging *acknowledging = argument;
    int64_t row;
    bool left;
    return mailbox_acknowledge(local, db, acknowledging->secret, acknowledging->number, &row, &left, why);
}

/*
 * Whether events up to `since` are still here, or among those that were dropped, or the mailbox was not touched for
 * long. The oldest event tells: what stands for dropped ones is that.
 */
static enum outcome needs_writing(struct local *local, struct database *db, int64_t row, uint64_t since,
                                  bool *needs, struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT touched < ?1 OR coalesce((SELECT number <= ?3 OR (kind = ?4 AND dropped > number - ?3)"
            " FROM event WHERE mailbox = ?2 ORDER BY number LIMIT 1), 0) FROM mailbox WHERE id = ?2");
    bind_int(&q, timeline_now(&local->time) - MAILBOX_TOUCH_EVERY);
    bind_int(&q, row);
    bind_int(&q, since > INT64_MAX ? INT64_MAX : (int64_t)since);
    bind_int(&q, STORE_DROPPED);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *needs = column_int(&q) != 0;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

enum outcome local_mailbox_events(struct store *store, const struct id *secret, uint64_t since,
                                  struct store_event *events, size_t capacity, size_t *count, bool *more,
                                  struct failure *why)
{
    struct local *local = local_of(store);
    struct mailbox mailbox = {0};
    bool needs = false;
    {
        scoped_reader struct reader reader = {0};
        enum outcome outcome = readers_take(&local->readers, &reader, why);
        if (outcome == OUTCOME_OK)
            outcome = mailbox_find(reader.db, secret, &mailbox, why);
        if (outcome == OUTCOME_OK)
            outcome = needs_writing(local, reader.db, mailbox.row, since, &needs, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    if (needs) {
        struct acknowledging acknowledging = {secret, since};
        enum outcome outcome = writer_do(&local->writer, acknowledge_run, &acknowledging, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        due_unlearn(&local->due, mailbox.row);
    }
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    return outcome == OUTCOME_OK
               ? mailbox_read(reader.db, mailbox.row, since, events, capacity, count, more, why)
               : outcome;
}
