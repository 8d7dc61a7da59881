#include "fault/power/verdict.h"

#include <stdlib.h>
#include <string.h>

enum { EVENTS = 512, ROWS = 128 };

/* What a mailbox holds. */
struct box {
    unsigned mailbox;
    uint64_t acknowledged; /* told to have been */
    uint64_t perhaps;      /* with what was begun */
    struct store_event *events;
    size_t count;
};

static struct box box_of(struct verdict *verdict, unsigned mailbox)
{
    struct box box = {.mailbox = mailbox, .events = malloc(EVENTS * sizeof *box.events)};
    struct failure why = {0};
    bool more = false;
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *deed = &verdict->history->deeds[i];
        bool acknowledges = (deed->kind == DEED_EVENTS || deed->kind == DEED_DONE) &&
                            deed->mailbox == mailbox;
        if (!acknowledges || !verdict_was_begun(verdict, deed))
            continue;
        if (deed->number > box.perhaps)
            box.perhaps = deed->number;
        if (verdict_was_told(verdict, deed) && deed->number > box.acknowledged)
            box.acknowledged = deed->number;
    }
    enum outcome outcome = verdict->store->acts->mailbox_events(verdict->store,
                                                                &verdict->history->mailboxes[mailbox], 0,
                                                                box.events, EVENTS, &box.count, &more, &why);
    if ((outcome != OUTCOME_OK && outcome != OUTCOME_ABSENT) || more)
        verdict_wrong(verdict, "the events of mailbox %u: %s", mailbox, more ? "too many" : why.text);
    return box;
}

/* ---- as it was left ---- */

/* What was told and not acknowledged is there, the same under its number; what was acknowledged is not. */
static void check_told(struct verdict *verdict, const struct box *box)
{
    for (size_t i = 0; i < box->count; i++)
        if (box->events[i].number <= box->acknowledged)
            verdict_wrong(verdict, "event %llu comes again, though it was acknowledged",
                          (unsigned long long)box->events[i].number);
    for (size_t i = 0; i < verdict->history->told_count; i++) {
        const struct told *told = &verdict->history->tolds[i];
        if (told->mailbox != box->mailbox || told->when > verdict->length || told->number <= box->perhaps)
            continue;
        const struct store_event *found = NULL;
        for (size_t j = 0; j < box->count; j++)
            if (box->events[j].number == told->number)
                found = &box->events[j];
        bool same = found && found->kind == told->kind && id_equal(&found->interest, &told->interest) &&
                    (told->kind != STORE_ARRIVED || id_equal(&found->entry.version, &told->version));
        if (!same)
            verdict_wrong(verdict, "event %llu, which was told and not acknowledged, is %s",
                          (unsigned long long)told->number, found ? "another" : "gone");
    }
}

void verdict_on_waiting(struct verdict *verdict)
{
    for (unsigned i = 0; i < MAILBOXES; i++) {
        struct box box = box_of(verdict, i);
        check_told(verdict, &box);
        free(box.events);
    }
}

/* ---- once everything begun was done again ---- */

static void fan_out(struct verdict *verdict)
{
    struct failure why = {0};
    bool left = true;
    while (left) {
        left = false;
        if (verdict->store->acts->fan_out(verdict->store, 100, &left, &why) != OUTCOME_OK)
            verdict_wrong(verdict, "fan out: %s", why.text);
    }
}

static bool is_owed(const struct owed *owed, enum store_event_kind kind, const struct id *interest,
                    const struct id *version)
{
    return owed->kind == kind && id_equal(&owed->interest, interest) &&
           (kind != STORE_ARRIVED || id_equal(&owed->version, version));
}

/* How often it was shown to a client that has acknowledged it, or is still to be. */
static unsigned times_told(const struct verdict *verdict, const struct box *box, const struct owed *owed)
{
    unsigned times = 0;
    for (size_t i = 0; i < box->count; i++)
        times += is_owed(owed, box->events[i].kind, &box->events[i].interest, &box->events[i].entry.version);
    for (size_t i = 0; i < verdict->history->told_count; i++) {
        const struct told *told = &verdict->history->tolds[i];
        if (told->mailbox == box->mailbox && told->number <= box->perhaps)
            times += is_owed(owed, told->kind, &told->interest, &told->version);
    }
    return times;
}

static void check_owed(struct verdict *verdict, const struct box *box)
{
    for (size_t i = 0; i < verdict->history->owed_count; i++) {
        const struct owed *owed = &verdict->history->oweds[i];
        if (owed->mailbox != box->mailbox || !verdict_was_begun(verdict, owed->deed))
            continue;
        unsigned times = times_told(verdict, box, owed);
        if (times != 1)
            verdict_wrong(verdict, "mailbox %u: what is owed since %s is told %u times", box->mailbox,
                          owed->deed->name, times);
    }
}

/* Nobody is told of what did not happen. An upload that went on after the cut did. */
static void check_known(struct verdict *verdict, const struct box *box)
{
    for (size_t i = 0; i < box->count; i++) {
        const struct store_event *event = &box->events[i];
        bool known = false;
        for (size_t j = 0; j < verdict->history->owed_count && !known; j++)
            known = verdict_was_begun(verdict, verdict->history->oweds[j].deed) &&
                    is_owed(&verdict->history->oweds[j], event->kind, &event->interest,
                            &event->entry.version);
        for (size_t j = 0; j < verdict->history->deed_count && !known; j++)
            known = verdict->history->deeds[j].kind == DEED_BEGIN &&
                    id_equal(&verdict->history->deeds[j].id, &event->entry.version);
        if (!known)
            verdict_wrong(verdict, "mailbox %u is told of something that did not happen: %s", box->mailbox,
                          event->entry.name);
    }
}

/* ---- interests ---- */

struct should {
    bool dropped, expired, met;
    int64_t ends;
};

static struct should should_be(const struct verdict *verdict, const struct deed *interest)
{
    struct should should = {.ends = interest->wall + interest->seconds * (int64_t)CLOCK_SECOND};
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *deed = &verdict->history->deeds[i];
        if (!verdict_was_begun(verdict, deed))
            continue;
        should.expired |= deed->kind == DEED_SWEEP && deed->wall >= should.ends;
        if (!id_equal(&deed->interest, &interest->interest))
            continue;
        should.dropped |= deed->kind == DEED_DROP;
        /* Renewed again after the cut, it counts from then. */
        if (deed->kind == DEED_RENEW)
            should.ends = (verdict_was_told(verdict, deed) ? deed->wall : clock_wall(&verdict->clock)) +
                          deed->seconds * (int64_t)CLOCK_SECOND;
    }
    for (size_t i = 0; i < verdict->history->owed_count; i++) {
        const struct owed *owed = &verdict->history->oweds[i];
        if (!id_equal(&owed->interest, &interest->interest) || !verdict_was_begun(verdict, owed->deed))
            continue;
        should.met |= owed->kind == STORE_ARRIVED && !interest->every;
    }
    return should;
}

static void check_interest(struct verdict *verdict, const struct deed *interest,
                           const struct store_interest *row)
{
    enum { SECOND_ROUNDED = 2 };
    struct should should = should_be(verdict, interest);
    if (should.dropped && row)
        verdict_wrong(verdict, "the interest in %s was cancelled, and is there", interest->name);
    if (should.dropped || !row) {
        if (!should.dropped)
            verdict_wrong(verdict, "the interest in %s is gone", interest->name);
        return;
    }
    enum store_interest_state state = should.met ? STORE_MET : should.expired ? STORE_OVER : STORE_WAITING;
    /* It may have been met by an upload that went on. */
    if (row->state != state && !(state == STORE_WAITING && row->state == STORE_MET))
        verdict_wrong(verdict, "the interest in %s is in state %u, not %u", interest->name, row->state,
                      state);
    int64_t left = (should.ends - clock_wall(&verdict->clock)) / CLOCK_SECOND;
    if (row->state == STORE_WAITING && llabs(left - row->seconds_left) > SECOND_ROUNDED)
        verdict_wrong(verdict, "the interest in %s has %u seconds left, not %lld", interest->name,
                      row->seconds_left, (long long)left);
}

static void check_interests(struct verdict *verdict, unsigned mailbox)
{
    struct id start = {0};
    struct failure why = {0};
    size_t count = 0;
    bool more = false;
    struct store_interest *rows = calloc(ROWS, sizeof *rows);
    if (verdict->store->acts->interest_list(verdict->store, &verdict->history->mailboxes[mailbox], &start,
                                            rows, ROWS, &count, &more, &why) != OUTCOME_OK)
        verdict_wrong(verdict, "the interests of mailbox %u: %s", mailbox, why.text);
    size_t known = 0;
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *deed = &verdict->history->deeds[i];
        if (deed->kind != DEED_ADD || deed->mailbox != mailbox || !verdict_was_begun(verdict, deed))
            continue;
        const struct store_interest *row = NULL;
        for (size_t j = 0; j < count; j++)
            if (id_equal(&rows[j].interest, &deed->interest))
                row = &rows[j];
        known += row != NULL;
        check_interest(verdict, deed, row);
    }
    if (known != count || more)
        verdict_wrong(verdict, "mailbox %u has an interest that nobody has", mailbox);
    free(rows);
}

void verdict_on_events(struct verdict *verdict)
{
    fan_out(verdict);
    for (unsigned i = 0; i < MAILBOXES; i++) {
        struct box box = box_of(verdict, i);
        check_told(verdict, &box);
        check_owed(verdict, &box);
        check_known(verdict, &box);
        check_interests(verdict, i);
        free(box.events);
    }
}
