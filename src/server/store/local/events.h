/*
 * events: what mailboxes are to be told, as rows, and what counts and numbers them.
 *
 * The store's row counts events, and an arrival those that tell it; the events of
 * one act are many mailboxes' and of few arrivals, so these counters are gathered
 * in memory while the act runs, and written once, at its end (events_count): a
 * statement for each event, or a trigger, would cost as much as the event. For the
 * same reason nothing about them stands in their mailboxes' rows.
 *
 * Numbers of a mailbox's events grow. While some wait they follow one another, but
 * where the store was opened meanwhile; into an empty mailbox comes a number above
 * all that the store has given. The highest one is the store's row's to remember.
 *
 * Nobody else makes or removes rows of `event`. All in the writer's turn, in a
 * transaction.
 */
#pragma once

#include "server/store/local/database.h"
#include "server/store/store.h"

struct local;

enum { EVENT_ARRIVALS = 8, EVENTS_OLDER = 1024 };

/*
 * The writer's. Above `above` a mailbox's numbers leave no gap, so the first and the
 * last of them tell how many there are; events below are counted, and remembered.
 */
struct event_numbers {
    int64_t above;  /* given before the store was opened, or as high */
    int64_t last;   /* the highest that was given */
    int64_t opened; /* clock_elapsed */
    struct events_older {
        int64_t mailbox; /* 0: none */
        int64_t first, count;
    } older[EVENTS_OLDER]; /* by mailbox; a later one takes the place */
};

/* What the act that runs has not written yet. The writer's. */
struct event_counts {
    int64_t events; /* made less removed */
    bool numbered;  /* some were made */
    unsigned arrivals;
    struct {
        int64_t id, uses;
    } of[EVENT_ARRIVALS];
};

struct event_row {
    int64_t mailbox, number;
    enum store_event_kind kind;
    const struct id *interest;
    const char *pattern;
    int64_t happened;
    int64_t dropped;
    int64_t arrival; /* 0: none */
};

/* No number of an event that was given before is above `above`. */
void events_begin(struct local *local, int64_t above);
/* Of a mailbox's next event. `newest` is that of the newest that waits in it, 0 if none does. */
int64_t events_number(struct local *local, int64_t newest);

must_check enum outcome events_add(struct local *local, struct database *db, const struct event_row *event,
                                   struct failure *why);
/* Those of the mailbox that are numbered above `after`, up to `up_to`; *gone of them. */
must_check enum outcome events_remove(struct local *local, struct database *db, int64_t mailbox,
                                      int64_t after, int64_t up_to, uint64_t *gone, struct failure *why);
/* The same in two steps, for who reads those events anyway: each is noted, then all of them go. */
must_check enum outcome events_note_removed(struct local *local, struct database *db, int64_t arrival,
                                            struct failure *why);
must_check enum outcome events_remove_noted(struct database *db, int64_t mailbox, int64_t after,
                                            int64_t up_to, struct failure *why);

/* The number of the newest that waits in the mailbox; 0 if none does. */
must_check enum outcome events_newest(struct database *db, int64_t mailbox, int64_t *newest,
                                      struct failure *why);
/* How many of the mailbox's wait, of which `newest` (not 0) is the newest: without a look at each. */
must_check enum outcome events_waiting(struct local *local, struct database *db, int64_t mailbox,
                                       int64_t newest, int64_t *count, struct failure *why);

/* The arrival is not pending any more: it goes at the end of the act if no event tells it. */
must_check enum outcome events_told(struct local *local, struct database *db, int64_t arrival,
                                    struct failure *why);
/* Writes what was gathered; an arrival that nothing tells any more, and that is not pending, goes. */
must_check enum outcome events_count(struct local *local, struct database *db, struct failure *why);
/* The act was undone. */
void events_uncount(struct local *local);

/* The columns that event_take reads, with its tables. */
#define EVENT_SELECT                                                                                 \
    "SELECT number, kind, interest, pattern, happened, dropped, name, version, owner, size, mtime, " \
    "arrival.arrival,"                                                                               \
    " digest FROM event LEFT JOIN arrival ON arrival.id = event.arrival "
void event_take(struct query *query, struct store_event *out);
