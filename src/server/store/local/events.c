#include "server/store/local/events.h"

#include "server/store/local/entries.h"
#include "server/store/local/local.h"

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

/* ---- numbers ---- */

/*
 * An eighth of what the floor of the next open grows by with the wall clock (open.c): so that one that was set back
 * meanwhile leaves the floor above all that was given, unless by nearly as much as the store was open.
 */
enum { NUMBERS_EVERY = 8000 /* nanoseconds */ };

void events_begin(struct local *local, int64_t above)
{
    local->event_numbers = (struct event_numbers){
        .above = above,
        .last = above,
        .opened = clock_elapsed(local->clock),
    };
}

/* Where none waits they follow the clock, not one another: nobody learns from them what others are told. */
int64_t events_number(struct local *local, int64_t newest)
{
    struct event_numbers *numbers = &local->event_numbers;
    int64_t number = newest + 1;
    if (newest <= numbers->above) {
        number = numbers->above + 1 + (clock_elapsed(local->clock) - numbers->opened) / NUMBERS_EVERY;
        if (number <= numbers->last)
            number = numbers->last + 1;
    }
    if (number > numbers->last)
        numbers->last = number;
    return number;
}

/* ---- counters ---- */

static enum outcome write_arrival(struct database *db, int64_t arrival, int64_t uses, struct failure *why)
{
    if (uses != 0) {
        scoped_query struct query q = query_on(db, "UPDATE arrival SET uses = uses + ? WHERE id = ?");
        bind_int(&q, uses);
        bind_int(&q, arrival);
        enum outcome outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK || uses > 0)
            return outcome;
    }
    scoped_query struct query q = query_on(db,
                                           "DELETE FROM arrival WHERE id = ? AND uses = 0 AND pending = 0");
    bind_int(&q, arrival);
    return query_run(&q, why);
}

static enum outcome write_arrivals(struct event_counts *counts, struct database *db, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    for (; counts->arrivals > 0 && outcome == OUTCOME_OK; counts->arrivals--)
        outcome = write_arrival(db, counts->of[counts->arrivals - 1].id,
                                counts->of[counts->arrivals - 1].uses, why);
    return outcome;
}

enum outcome events_count(struct local *local, struct database *db, struct failure *why)
{
    struct event_counts *counts = &local->event_counts;
    enum outcome outcome = write_arrivals(counts, db, why);
    if (outcome != OUTCOME_OK || (counts->events == 0 && !counts->numbered))
        return outcome;
    scoped_query struct query q = query_on(db,
                                           "UPDATE store SET events = events + ?, numbers = max(numbers, ?)");
    bind_int(&q, counts->events);
    bind_int(&q, local->event_numbers.last);
    counts->events = 0;
    counts->numbered = false;
    return query_run(&q, why);
}

void events_uncount(struct local *local)
{
    local->event_counts = (struct event_counts){.events = 0};
}

/* One event more or less, which may tell an arrival. */
static enum outcome note(struct local *local, struct database *db, int64_t arrival, int by,
                         struct failure *why)
{
    struct event_counts *counts = &local->event_counts;
    counts->events += by;
    if (arrival == 0)
        return OUTCOME_OK;
    unsigned i = 0;
    while (i < counts->arrivals && counts->of[i].id != arrival)
        i++;
    if (i == EVENT_ARRIVALS) {
        enum outcome outcome = write_arrivals(counts, db, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        i = 0;
    }
    if (i == counts->arrivals) {
        counts->of[i].id = arrival;
        counts->of[i].uses = 0;
        counts->arrivals++;
    }
    counts->of[i].uses += by;
    return OUTCOME_OK;
}

enum outcome events_told(struct local *local, struct database *db, int64_t arrival, struct failure *why)
{
    return note(local, db, arrival, 0, why);
}

/* ---- rows ---- */

enum outcome events_add(struct local *local, struct database *db, const struct event_row *event,
                        struct failure *why)
{
    {
        scoped_query struct query q = query_on(
            db,
            "INSERT INTO event (mailbox, number, kind, interest, pattern, happened, stored, dropped, arrival)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
        bind_int(&q, event->mailbox);
        bind_int(&q, event->number);
        bind_int(&q, event->kind);
        bind_id(&q, event->interest);
        bind_text(&q, event->pattern);
        bind_int(&q, event->happened);
        bind_int(&q, timeline_now(&local->time));
        bind_int(&q, event->dropped);
        if (event->arrival != 0)
            bind_int(&q, event->arrival);
        enum outcome outcome = query_run(&q, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    local->event_counts.numbered = true;
    return note(local, db, event->arrival, 1, why);
}

enum outcome events_note_removed(struct local *local, struct database *db, int64_t arrival,
                                 struct failure *why)
{
    return note(local, db, arrival, -1, why);
}

/* Those of a mailbox above `after`, up to `up_to`: `text` ends in EVENTS_BETWEEN. */
#define EVENTS_BETWEEN " FROM event WHERE mailbox = ? AND number > ? AND number <= ?"
static struct query query_between(struct database *db, const char *text, int64_t mailbox, int64_t after,
                                  int64_t up_to)
{
    struct query q = query_on(db, text);
    bind_int(&q, mailbox);
    bind_int(&q, after);
    bind_int(&q, up_to);
    return q;
}

enum outcome events_remove_noted(struct database *db, int64_t mailbox, int64_t after, int64_t up_to,
                                 struct failure *why)
{
    scoped_query struct query q = query_between(db, "DELETE" EVENTS_BETWEEN, mailbox, after, up_to);
    return query_run(&q, why);
}

enum outcome events_remove(struct local *local, struct database *db, int64_t mailbox, int64_t after,
                           int64_t up_to, uint64_t *gone, struct failure *why)
{
    uint64_t count = 0;
    {
        scoped_query struct query q = query_between(db, "SELECT arrival" EVENTS_BETWEEN, mailbox, after,
                                                    up_to);
        enum outcome outcome = query_row(&q, why);
        for (; outcome == OUTCOME_OK; count++) {
            outcome = events_note_removed(local, db, column_int(&q), why);
            if (outcome == OUTCOME_OK)
                outcome = query_row(&q, why);
        }
        if (outcome != OUTCOME_ABSENT)
            return outcome;
    }
    *gone = count;
    return count > 0 ? events_remove_noted(db, mailbox, after, up_to, why) : OUTCOME_OK;
}

/* ---- how many wait ---- */

enum outcome events_newest(struct database *db, int64_t mailbox, int64_t *newest, struct failure *why)
{
    scoped_query struct query q = query_on(db, "SELECT max(number) FROM event WHERE mailbox = ?");
    bind_int(&q, mailbox);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *newest = column_int(&q);
    return outcome;
}

/* The number of the mailbox's oldest event above `after`; as it was if there is none. */
static enum outcome oldest(struct database *db, int64_t mailbox, int64_t after, int64_t *number,
                           struct failure *why)
{
    scoped_query struct query q = query_on(
        db, "SELECT number FROM event WHERE mailbox = ? AND number > ? ORDER BY number LIMIT 1");
    bind_int(&q, mailbox);
    bind_int(&q, after);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *number = column_int(&q);
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static enum outcome count_up_to(struct database *db, int64_t mailbox, int64_t number, int64_t *count,
                                struct failure *why)
{
    scoped_query struct query q = query_on(db,
                                           "SELECT count(*) FROM event WHERE mailbox = ? AND number <= ?");
    bind_int(&q, mailbox);
    bind_int(&q, number);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *count = column_int(&q);
    return outcome;
}

/*
 * Those that waited when the store was opened, `first` the oldest of them. None is added, and they
 * go from the oldest on: so the oldest says how many there are, whatever was undone meanwhile.
 */
static enum outcome count_older(struct local *local, struct database *db, int64_t mailbox, int64_t first,
                                int64_t *count, struct failure *why)
{
    struct events_older *known = &local->event_numbers.older[(uint64_t)mailbox % EVENTS_OLDER];
    if (known->mailbox == mailbox && known->first + 1 == first) {
        known->first = first; /* one went, as whenever a full mailbox gets one more */
        known->count--;
    }
    if (known->mailbox != mailbox || known->first != first) {
        int64_t all = 0;
        enum outcome outcome = count_up_to(db, mailbox, local->event_numbers.above, &all, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        *known = (struct events_older){.mailbox = mailbox, .first = first, .count = all};
    }
    *count = known->count;
    return OUTCOME_OK;
}

enum outcome events_waiting(struct local *local, struct database *db, int64_t mailbox, int64_t newest,
                            int64_t *count, struct failure *why)
{
    const int64_t above = local->event_numbers.above;
    int64_t first = newest, older = 0;
    enum outcome outcome = oldest(db, mailbox, 0, &first, why);
    if (outcome == OUTCOME_OK && first <= above) {
        outcome = count_older(local, db, mailbox, first, &older, why);
        if (outcome == OUTCOME_OK && newest > above)
            outcome = oldest(db, mailbox, above, &first, why);
    }
    if (outcome == OUTCOME_OK)
        *count = older + (newest > above ? newest - first + 1 : 0);
    return outcome;
}
