#include "server/store/local/interests.h"

#include "base/fault.h"
#include "server/store/local/answers.h"
#include "server/store/local/local.h"
#include "server/store/local/mailboxes.h"
#include "server/store/local/notices.h"

#include <stdio.h>
#include <string.h>

/* ABSENT is not described. */
static enum outcome waiter_find(struct database *db, int64_t mailbox, const struct id *interest,
                                struct waiter *out, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT " WAITER_COLUMNS
                                               " FROM interest WHERE mailbox = ? AND interest = ?");
    bind_int(&q, mailbox);
    bind_id(&q, interest);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        waiter_take(&q, out);
    return outcome;
}

/* What is pending for it is told; if its time is over it is expired, and that is told. */
static enum outcome bring_up_to_date(struct local *local, struct database *db, struct waiter *waiter,
                                     struct failure *why)
{
    if (waiter->state != STORE_WAITING)
        return OUTCOME_OK;
    enum outcome outcome = notices_settle(local, db, waiter, why);
    if (outcome == OUTCOME_OK && waiter->state == STORE_WAITING && waiter->ends <= timeline_now(&local->time))
        outcome = notices_expire(local, db, waiter, why);
    return outcome;
}

/* ---- renew ---- */

struct renewing {
    struct answer_key key;
    const struct id *mailbox, *interest;
    uint32_t seconds;
    uint32_t left;
    enum outcome answer; /* EXPIRED and CHANGED are committed: the interest may just have become so */
};

static enum outcome renew_waiting(struct local *local, struct database *db, struct renewing *renewing,
                                  const struct waiter *waiter, struct failure *why)
{
    {
        scoped_query struct query q = query_on(db, "UPDATE interest SET ends = ? WHERE id = ?");
        bind_int(&q, timeline_now(&local->time) + timeline_seconds(renewing->seconds));
        bind_int(&q, waiter->row);
        enum outcome outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    renewing->left = renewing->seconds;
    scoped_pack struct pack body = {0};
    pack_number(&body, renewing->left);
    return answers_keep(db, &renewing->key, timeline_now(&local->time), &body,
                        local->limits.answers_per_principal, why);
}

static enum outcome renew_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct renewing *renewing = argument;
    scoped_pack struct pack body = {0};
    enum outcome outcome = answers_find(db, &renewing->key, &body, why);
    if (outcome == OUTCOME_OK) {
        struct unpacking from = {.bytes = body.bytes, .left = body.count};
        renewing->left = (uint32_t)unpack_number(&from);
    }
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    struct mailbox mailbox;
    struct waiter waiter;
    outcome = mailbox_find(db, renewing->mailbox, &mailbox, why);
    if (outcome == OUTCOME_OK)
        outcome = waiter_find(db, mailbox.row, renewing->interest, &waiter, why);
    if (outcome == OUTCOME_ABSENT)
        return failure_set(why, OUTCOME_ABSENT, "there is no such interest");
    if (outcome == OUTCOME_OK)
        outcome = bring_up_to_date(local, db, &waiter, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (waiter.state == STORE_WAITING)
        return renew_waiting(local, db, renewing, &waiter, why);
    renewing->answer = waiter.state == STORE_MET
                           ? failure_set(why, OUTCOME_CHANGED, "the interest was met")
                           : failure_set(why, OUTCOME_EXPIRED, "the interest's time is over");
    return OUTCOME_OK;
}

enum outcome local_interest_renew(struct store *store, const struct store_caller *caller, const struct id *op,
                                  const struct id *mailbox, const struct id *interest, uint32_t seconds,
                                  uint32_t *seconds_left, struct failure *why)
{
    struct local *local = local_of(store);
    scoped_pack struct pack arguments = {0};
    pack_id(&arguments, mailbox);
    pack_id(&arguments, interest);
    pack_number(&arguments, seconds);
    struct renewing renewing = {
        .key = {.id = op, .caller = caller, .act = ANSWER_RENEW, .arguments = answers_arguments(&arguments)},
        .mailbox = mailbox,
        .interest = interest,
        .seconds = seconds,
    };
    enum outcome outcome = writer_do(&local->writer, renew_run, &renewing, why);
    FAULT_POINT("renew-committed");
    if (outcome != OUTCOME_OK)
        return outcome;
    if (renewing.answer == OUTCOME_OK)
        *seconds_left = renewing.left;
    return renewing.answer;
}

/* ---- drop ---- */

struct dropping {
    struct answer_key key;
    const struct store_interest_drop *drop;
    struct store_cancelled *rows;
    size_t capacity, count;
    bool more;
};

static enum outcome drop_unpack(struct dropping *dropping, const struct pack *body, struct failure *why)
{
    struct unpacking from = {.bytes = body->bytes, .left = body->count};
    dropping->more = unpack_number(&from) != 0;
    uint64_t count = unpack_number(&from);
    for (uint64_t i = 0; i < count && !from.failed; i++) {
        struct store_cancelled row = {.interest = unpack_id(&from)};
        row.state = (enum store_interest_state)unpack_number(&from);
        row.has_event = unpack_number(&from) != 0;
        if (row.has_event)
            unpack_event(&from, &row.event);
        if (dropping->count < dropping->capacity)
            dropping->rows[dropping->count++] = row;
    }
    return unpacked_whole(&from) ? OUTCOME_OK
                                 : failure_set(why, OUTCOME_FAULT, "a kept answer cannot be read");
}

static void drop_pack(const struct dropping *dropping, struct pack *body)
{
    pack_number(body, dropping->more);
    pack_number(body, dropping->count);
    for (size_t i = 0; i < dropping->count; i++) {
        const struct store_cancelled *row = &dropping->rows[i];
        pack_id(body, &row->interest);
        pack_number(body, row->state);
        pack_number(body, row->has_event);
        if (row->has_event)
            pack_event(body, &row->event);
    }
}

static enum outcome met_event(struct database *db, const struct waiter *waiter, struct store_cancelled *row,
                              struct failure *why)
{
    scoped_query struct query q = query_on(db, EVENT_SELECT "WHERE mailbox = ? AND number = ? AND kind = 0");
    bind_int(&q, waiter->mailbox);
    bind_int(&q, (int64_t)waiter->event);
    enum outcome outcome = query_row(&q, why);
    row->has_event = outcome == OUTCOME_OK;
    if (outcome == OUTCOME_OK)
        event_take(&q, &row->event);
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome drop_one(struct local *local, struct database *db, struct dropping *dropping,
                             struct waiter *waiter, struct failure *why)
{
    enum outcome outcome = bring_up_to_date(local, db, waiter, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct store_cancelled *row = &dropping->rows[dropping->count++];
    *row = (struct store_cancelled){.interest = waiter->interest, .state = waiter->state};
    if (waiter->state == STORE_WAITING)
        row->state = STORE_CANCELLED;
    if (waiter->state == STORE_MET)
        outcome = met_event(db, waiter, row, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(db, "DELETE FROM interest WHERE id = ?");
    bind_int(&q, waiter->row);
    return query_run(&q, why);
}

/* The next of the mailbox, in the order of ids after `after`, with exactly this pattern. ABSENT is not described. */
static enum outcome next_with_pattern(struct database *db, int64_t mailbox, const char *pattern,
                                      const struct id *after, struct waiter *out, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT " WAITER_COLUMNS " FROM interest WHERE mailbox = ?"
                                               " AND interest > ? AND pattern = ? ORDER BY interest LIMIT 1");
    bind_int(&q, mailbox);
    bind_id(&q, after);
    bind_text(&q, pattern);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        waiter_take(&q, out);
    return outcome;
}

static enum outcome drop_by_id(struct local *local, struct database *db, struct dropping *dropping,
                               int64_t mailbox, struct failure *why)
{
    struct waiter waiter;
    const struct id *interest = &dropping->drop->interest;
    enum outcome outcome = waiter_find(db, mailbox, interest, &waiter, why);
    if (outcome == OUTCOME_OK)
        return drop_one(local, db, dropping, &waiter, why);
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    dropping->rows[dropping->count++] = (struct store_cancelled){.interest = *interest, .state = STORE_NEVER};
    return OUTCOME_OK;
}

static enum outcome drop_by_pattern(struct local *local, struct database *db, struct dropping *dropping,
                                    int64_t mailbox, struct failure *why)
{
    struct waiter waiter = {0};
    for (;;) {
        struct id after = waiter.interest;
        enum outcome outcome = next_with_pattern(db, mailbox, dropping->drop->pattern, &after, &waiter, why);
        dropping->more = outcome == OUTCOME_OK && dropping->count == dropping->capacity;
        if (outcome == OUTCOME_OK && !dropping->more)
            outcome = drop_one(local, db, dropping, &waiter, why);
        if (outcome != OUTCOME_OK || dropping->more)
            return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
    }
}

static enum outcome drop_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    struct dropping *dropping = argument;
    scoped_pack struct pack body = {0};
    enum outcome outcome = answers_find(db, &dropping->key, &body, why);
    if (outcome == OUTCOME_OK)
        return drop_unpack(dropping, &body, why);
    if (outcome != OUTCOME_ABSENT)
        return outcome;
    struct mailbox mailbox = {0};
    outcome = mailbox_find(db, &dropping->drop->mailbox, &mailbox, why);
    if (outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT)
        return outcome;
    outcome = id_is_none(&dropping->drop->interest) ? drop_by_pattern(local, db, dropping, mailbox.row, why)
                                                    : drop_by_id(local, db, dropping, mailbox.row, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    drop_pack(dropping, &body);
    return answers_keep(db, &dropping->key, timeline_now(&local->time), &body,
                        local->limits.answers_per_principal, why);
}

enum outcome local_interest_drop(struct store *store, const struct store_caller *caller,
                                 const struct store_interest_drop *drop, struct store_cancelled *rows,
                                 size_t capacity, size_t *count, bool *more, struct failure *why)
{
    struct local *local = local_of(store);
    if (capacity == 0 || (id_is_none(&drop->interest) && !drop->pattern))
        return failure_set(why, OUTCOME_INVALID, "neither an interest nor a pattern to cancel");
    scoped_pack struct pack arguments = {0};
    pack_id(&arguments, &drop->mailbox);
    pack_id(&arguments, &drop->interest);
    pack_text(&arguments, drop->pattern ? drop->pattern : "");
    struct dropping dropping = {
        .key = {.id = &drop->op,
                .caller = caller,
                .act = ANSWER_DROP,
                .arguments = answers_arguments(&arguments)},
        .drop = drop,
        .rows = rows,
        .capacity = capacity,
    };
    enum outcome outcome = writer_do(&local->writer, drop_run, &dropping, why);
    FAULT_POINT("cancel-committed");
    if (outcome != OUTCOME_OK)
        return outcome;
    *count = dropping.count;
    *more = dropping.more;
    return OUTCOME_OK;
}

/* ---- list ---- */

static void interest_of(const struct waiter *waiter, int64_t now, struct store_interest *out)
{
    *out = (struct store_interest){
        .interest = waiter->interest,
        .glob = waiter->glob,
        .every = waiter->every,
        .state = waiter->state,
        .arrivals = waiter->arrivals,
    };
    if (waiter->state == STORE_WAITING)
        out->seconds_left = timeline_left(waiter->ends, now);
    memcpy(out->pattern, waiter->pattern, sizeof out->pattern);
}

enum outcome local_interest_list(struct store *store, const struct id *mailbox, const struct id *cursor,
                                 struct store_interest *rows, size_t capacity, size_t *count, bool *more,
                                 struct failure *why)
{
    struct local *local = local_of(store);
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_query struct query q = query_on(
        reader.db, "SELECT " WAITER_COLUMNS " FROM interest WHERE interest > ?"
                   " AND mailbox = (SELECT id FROM mailbox WHERE secret = ?) ORDER BY interest LIMIT ?");
    bind_id(&q, cursor);
    bind_id(&q, mailbox);
    bind_int(&q, (int64_t)capacity + 1);
    size_t found = 0;
    int64_t now = timeline_now(&local->time);
    outcome = query_row(&q, why);
    while (outcome == OUTCOME_OK && found < capacity) {
        struct waiter waiter;
        waiter_take(&q, &waiter);
        interest_of(&waiter, now, &rows[found++]);
        outcome = query_row(&q, why);
    }
    if (outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT)
        return outcome;
    *count = found;
    *more = outcome == OUTCOME_OK;
    return OUTCOME_OK;
}
