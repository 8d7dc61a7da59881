/*
 * events: what mailboxes are to be told, as rows, and what counts them.
 *
 * A mailbox's row counts its own events. The store's row counts all of them, and
 * an arrival those that tell it; the events of one act are many mailboxes' and of
 * few arrivals, so these counters are gathered in memory while the act runs, and
 * written once, at its end (events_count): a statement for each event, or a
 * trigger, would cost as much as the event.
 *
 * Nobody else makes or removes rows of `event`. All in the writer's turn, in a
 * transaction.
 */
#pragma once

#include "server/store/local/database.h"
#include "server/store/store.h"

struct local;

enum { EVENT_ARRIVALS = 8 };

/* What the act that runs has not written yet. The writer's. */
struct event_counts {
    int64_t events; /* made less removed */
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

/* The mailbox's own count is the caller's to write. */
must_check enum outcome events_add(struct local *local, struct database *db, const struct event_row *event,
                                   struct failure *why);
/* Those of the mailbox that are numbered above `after`, up to `up_to`; *gone of them. */
must_check enum outcome events_remove(struct local *local, struct database *db, int64_t mailbox,
                                      int64_t after, int64_t up_to, uint64_t *gone, struct failure *why);

/* The same in two steps, for who reads those events anyway: each is noted, then all of them go. */
must_check enum outcome events_note_removed(struct local *local, struct database *db, int64_t arrival,
                                            struct failure *why);
must_check enum outcome events_remove_noted(struct database *db, int64_t mailbox, int64_t after,
                                            int64_t up_to, uint64_t count, struct failure *why);

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
