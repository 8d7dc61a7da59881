/*
 * fileshare_wait: a mailbox of its own, an interest for each pattern, a keeper,
 * and the thread that called, which tells what came.
 *
 * The interests are short, and renewed while the wait lives: one that was killed
 * leaves nothing for long. One that the server does not have any more (it ran
 * out while we were away) is registered anew, under a new id; what is told twice
 * by that the tally leaves out.
 */
#include "base/clock.h"
#include "base/fault.h"
#include "base/scoped.h"
#include "client/lib/keeper.h"
#include "client/lib/names.h"
#include "client/lib/news.h"
#include "client/lib/session.h"
#include "client/lib/tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    INTEREST_SECONDS = 600,
    RENEWALS = 3,      /* tries before an interest runs out */
    AGAIN_SECONDS = 2, /* after a renewal that failed */
    ASK_WITHIN = 5,    /* seconds after the server was lost and is back: not all its clients at once */
    LEAVE_MS = 3000
};

/* An interest of ours at the server. */
struct standing {
    struct id id;
    bool waiting;    /* the server has it, as far as we know */
    bool doubtful;   /* an event of it may have been dropped: it is registered anew, and what is there told */
    int64_t next_at; /* when to renew it, or to register it anew: elapsed clock */
};

struct waiting {
    struct fileshare *session;
    const struct fileshare_wait *wait;
    struct tally tally;
    struct news *news;
    struct keeper *keeper;
    struct standing *standings; /* by pattern */
    struct id mailbox;
    unsigned attached; /* how often the mailbox was, when last looked */
    bool made;         /* the server has the mailbox */
    bool ended;        /* the caller wants no more */
};

static bool is_over(const struct waiting *waiting)
{
    return waiting->ended || tally_is_done(&waiting->tally);
}

/* ---- telling ---- */

static enum outcome tell(struct waiting *waiting, size_t pattern, const struct fileshare_event *event,
                         struct failure *why)
{
    struct id version = translate_id_private(&event->entry.version);
    bool counts = false;
    if (waiting->ended)
        return OUTCOME_OK;
    enum outcome outcome = tally_take(&waiting->tally, pattern, &version, &counts, why);
    FAULT_POINT("arrival-heard");
    if (outcome == OUTCOME_OK && counts && !waiting->wait->arrived(waiting->wait->context, event))
        waiting->ended = true;
    FAULT_POINT("arrival-told");
    return outcome;
}

static enum outcome tell_present(struct waiting *waiting, size_t pattern, const struct fileshare_entry *entry,
                                 struct failure *why)
{
    struct fileshare_event event = {
        .kind = FILESHARE_ARRIVED,
        .interest = translate_id_public(&waiting->standings[pattern].id),
        .happened = entry->arrival,
        .entry = *entry,
        .route = "present",
    };
    snprintf(event.pattern, sizeof event.pattern, "%s", waiting->wait->patterns[pattern]);
    return tell(waiting, pattern, &event, why);
}

static void note(const struct waiting *waiting, const char *text)
{
    if (waiting->wait->note)
        waiting->wait->note(waiting->wait->context, text);
}

/* Which pattern an event is for; `count` if none. An earlier id of an interest still counts, by its pattern. */
static size_t pattern_of(const struct waiting *waiting, const struct event *event)
{
    size_t by_text = waiting->wait->count;
    for (size_t i = 0; i < waiting->wait->count; i++) {
        if (id_equal(&waiting->standings[i].id, &event->interest))
            return i;
        if (strcmp(waiting->wait->patterns[i], event->pattern) == 0)
            by_text = i;
    }
    return by_text;
}

static void take_expiry(struct waiting *waiting, const struct event *event)
{
    size_t pattern = pattern_of(waiting, event);
    if (pattern == waiting->wait->count || !id_equal(&waiting->standings[pattern].id, &event->interest))
        return;
    waiting->standings[pattern].waiting = false;
    waiting->standings[pattern].next_at = 0;
}

/* Any of them may have been met by what was dropped, and would wait for an event that is no more. */
static void take_loss(struct waiting *waiting, uint64_t dropped)
{
    char text[160];
    for (size_t i = 0; i < waiting->wait->count; i++) {
        if (tally_is_met(&waiting->tally, i))
            continue;
        waiting->standings[i].doubtful = true;
        waiting->standings[i].next_at = 0;
    }
    snprintf(text, sizeof text,
             "the server dropped %llu events before they could be told, the oldest first; looking at what is "
             "there",
             (unsigned long long)dropped);
    note(waiting, text);
}

static enum outcome take_event(struct waiting *waiting, const struct event *event, const char *route,
                               struct failure *why)
{
    if (event->kind == EVENT_EXPIRED) {
        take_expiry(waiting, event);
        return OUTCOME_OK;
    }
    if (event->kind == EVENT_DROPPED) {
        take_loss(waiting, event->dropped);
        return OUTCOME_OK;
    }
    size_t pattern = pattern_of(waiting, event);
    if (pattern == waiting->wait->count)
        return OUTCOME_OK;
    if (waiting->wait->wanted == 0) {
        waiting->standings[pattern].waiting = false; /* of FS_ONCE: met */
        waiting->standings[pattern].next_at = INT64_MAX;
    }
    struct fileshare_event public;
    translate_event_public(event, route, &public);
    return tell(waiting, pattern, &public, why);
}

static enum outcome take_news(struct waiting *waiting, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    while (outcome == OUTCOME_OK) {
        scoped_free struct news_item *item = news_take(waiting->news);
        if (!item)
            break;
        if (item->route)
            outcome = take_event(waiting, &item->event, item->route, why);
        else
            note(waiting, item->note);
    }
    return outcome;
}

/* ---- interests ---- */

static uint32_t interest_seconds(const struct waiting *waiting)
{
    uint32_t most = waiting->session->greeting.interest_seconds_max;
    return most > 0 && most < INTEREST_SECONDS ? most : INTEREST_SECONDS;
}

static int64_t renewal_time(uint32_t seconds_left)
{
    int64_t pause = (int64_t)seconds_left * CLOCK_SECOND / RENEWALS;
    return clock_elapsed(clock_system()) + (pause > CLOCK_SECOND ? pause : CLOCK_SECOND);
}

struct present {
    struct waiting *waiting;
    size_t pattern;
    enum outcome outcome;
    struct failure *why;
};

static bool present_each(void *context, const struct fileshare_entry *entry)
{
    struct present *present = context;
    present->outcome = tell_present(present->waiting, present->pattern, entry, present->why);
    return present->outcome == OUTCOME_OK && !is_over(present->waiting);
}

/* What is there beyond what the registration told. */
static enum outcome tell_listed(struct waiting *waiting, size_t pattern, struct failure *why)
{
    struct present present = {waiting, pattern, OUTCOME_OK, why};
    enum outcome outcome = names_list(waiting->session, waiting->wait->patterns[pattern], present_each,
                                      &present, why);
    return outcome == OUTCOME_OK ? present.outcome : outcome;
}

static enum outcome take_registration(struct waiting *waiting, size_t pattern,
                                      const fs_registration *registration, struct failure *why)
{
    struct standing *standing = &waiting->standings[pattern];
    standing->waiting = registration->registered;
    standing->next_at = registration->registered ? renewal_time(registration->seconds_left) : INT64_MAX;
    if (registration->registered)
        waiting->made = true;
    for (u_int i = 0; i < registration->present.present_len && !waiting->ended; i++) {
        struct fileshare_entry entry;
        enum outcome outcome = translate_entry(&registration->present.present_val[i], &entry, why);
        if (outcome == OUTCOME_OK)
            outcome = tell_present(waiting, pattern, &entry, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    if (!registration->registered && !tally_is_met(&waiting->tally, pattern))
        standing->next_at = clock_elapsed(clock_system()) + (int64_t)AGAIN_SECONDS * CLOCK_SECOND;
    return OUTCOME_OK;
}

/* Registers one interest, and tells what is there already. */
static enum outcome enroll(struct waiting *waiting, size_t pattern, struct failure *why)
{
    struct standing *standing = &waiting->standings[pattern];
    const struct fileshare_wait *wait = waiting->wait;
    char subject[NAMES_SUBJECT_SIZE];
    standing->id = id_random();
    fs_register_args args = {
        .mailbox = translate_id(&waiting->mailbox),
        .interest = translate_id(&standing->id),
        .match = wait->globs[pattern] ? FS_GLOB : FS_EXACT,
        .pattern = translate_name(wait->patterns[pattern]),
        .seconds = interest_seconds(waiting),
        .repeat = wait->wanted == 0 ? FS_ONCE : FS_EVERY,
        .present = FS_TELL,
    };
    fs_register_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_REGISTER_INTEREST, fs_register_args, &args,
                                            fs_register_res, &res);
    bool more = false;
    enum outcome outcome = session_call(waiting->session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_register_res_u.failure.reason,
                                    names_subject(wait->patterns[pattern], subject), why);
    FAULT_POINT("interest-made");
    if (outcome == OUTCOME_OK) {
        more = res.fs_register_res_u.registration.more;
        outcome = take_registration(waiting, pattern, &res.fs_register_res_u.registration, why);
    }
    session_call_end(&call);
    if (outcome == OUTCOME_OK && more && wait->globs[pattern] && !is_over(waiting) &&
        !tally_is_met(&waiting->tally, pattern))
        outcome = tell_listed(waiting, pattern, why);
    return outcome;
}

static enum outcome renew(struct waiting *waiting, struct standing *standing, struct failure *why)
{
    struct id op = id_random();
    fs_renew_args args = {
        .op = translate_id(&op),
        .mailbox = translate_id(&waiting->mailbox),
        .interest = translate_id(&standing->id),
        .seconds = interest_seconds(waiting),
    };
    fs_renew_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_RENEW_INTEREST, fs_renew_args, &args, fs_renew_res, &res);
    enum outcome outcome = session_call(waiting->session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_renew_res_u.failure.reason, "renew an interest", why);
    if (outcome == OUTCOME_OK)
        standing->next_at = renewal_time(res.fs_renew_res_u.renewal.seconds_left);
    session_call_end(&call);
    return outcome;
}

static enum outcome cancel(struct waiting *waiting, const struct standing *standing, struct failure *why);

/* Whatever becomes of it, another takes its place: ABSENT. */
static enum outcome give_up(struct waiting *waiting, const struct standing *standing, struct failure *why)
{
    enum outcome outcome = cancel(waiting, standing, why);
    return outcome == OUTCOME_OK ? OUTCOME_ABSENT : outcome;
}

/* What is due: a renewal, or a new registration. Only what ends the wait is an outcome. */
static enum outcome tend(struct waiting *waiting, size_t pattern, struct failure *why)
{
    struct standing *standing = &waiting->standings[pattern];
    struct failure reason;
    enum outcome outcome = !standing->waiting   ? OUTCOME_ABSENT
                           : standing->doubtful ? give_up(waiting, standing, &reason)
                                                : renew(waiting, standing, &reason);
    if (outcome == OUTCOME_CHANGED) { /* met: its event is on the way */
        standing->waiting = false;
        standing->next_at = INT64_MAX;
        return OUTCOME_OK;
    }
    if (outcome == OUTCOME_ABSENT || outcome == OUTCOME_EXPIRED) {
        standing->waiting = false;
        outcome = enroll(waiting, pattern, &reason);
    }
    if (outcome == OUTCOME_OK) {
        standing->doubtful = false;
        return OUTCOME_OK;
    }
    if (outcome == OUTCOME_STOPPED || outcome == OUTCOME_NOMEM)
        return failure_set(why, outcome, "%s", reason.text);
    note(waiting, reason.text);
    standing->next_at = clock_elapsed(clock_system()) + (int64_t)AGAIN_SECONDS * CLOCK_SECOND;
    return OUTCOME_OK;
}

/*
 * The server was away. Does it have our interests still? A store that was put
 * back from a backup has only those that it had then.
 */
static void doubt_server(struct waiting *waiting)
{
    unsigned attached = keeper_attached(waiting->keeper), before = waiting->attached;
    waiting->attached = attached;
    if (before == 0 || before == attached)
        return;
    int64_t at = clock_elapsed(clock_system()) +
                 ASK_WITHIN * (int64_t)CLOCK_SECOND / 256 * id_random().octets[0];
    for (size_t i = 0; i < waiting->wait->count; i++)
        if (waiting->standings[i].waiting && waiting->standings[i].next_at > at)
            waiting->standings[i].next_at = at;
}

static enum outcome tend_all(struct waiting *waiting, int64_t *next_at, struct failure *why)
{
    *next_at = INT64_MAX;
    for (size_t i = 0; i < waiting->wait->count && !is_over(waiting); i++) {
        struct standing *standing = &waiting->standings[i];
        if (tally_is_met(&waiting->tally, i))
            continue;
        if (standing->next_at <= clock_elapsed(clock_system())) {
            enum outcome outcome = tend(waiting, i, why);
            if (outcome != OUTCOME_OK)
                return outcome;
        }
        if (standing->next_at < *next_at)
            *next_at = standing->next_at;
    }
    return OUTCOME_OK;
}

/* ---- the end ---- */

static enum outcome take_wire_event(struct waiting *waiting, const fs_event *wire, struct failure *why)
{
    struct event event;
    enum outcome outcome = event_from_wire(wire, &event, why);
    return outcome == OUTCOME_OK ? take_event(waiting, &event, "pull", why) : outcome;
}

static enum outcome cancel(struct waiting *waiting, const struct standing *standing, struct failure *why)
{
    struct id op = id_random();
    fs_cancel_args args = {
        .op = translate_id(&op),
        .mailbox = translate_id(&waiting->mailbox),
        .interest = translate_id(&standing->id),
    };
    fs_cancel_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_CANCEL_INTEREST, fs_cancel_args, &args, fs_cancel_res,
                                            &res);
    enum outcome outcome = session_call(waiting->session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_cancel_res_u.failure.reason, "cancel an interest",
                                    why);
    const fs_cancel *answer = &res.fs_cancel_res_u.cancel;
    for (u_int i = 0; outcome == OUTCOME_OK && i < answer->rows.rows_len; i++)
        if (answer->rows.rows_val[i].event)
            outcome = take_wire_event(waiting, answer->rows.rows_val[i].event, why);
    session_call_end(&call);
    return outcome;
}

/* A page of the mailbox after `*since`, which moves on. */
static enum outcome pull_page(struct waiting *waiting, uint64_t *since, bool *more, struct failure *why)
{
    fs_events_args args = {.mailbox = translate_id(&waiting->mailbox),
                           .since = *since,
                           .limit = FS_EVENTS_MAX};
    fs_events_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_EVENTS, fs_events_args, &args, fs_events_res, &res);
    enum outcome outcome = session_call(waiting->session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_events_res_u.failure.reason, "cannot ask for events",
                                    why);
    const fs_events *page = &res.fs_events_res_u.page;
    for (u_int i = 0; outcome == OUTCOME_OK && i < page->rows.rows_len && !is_over(waiting); i++) {
        *since = page->rows.rows_val[i].number;
        outcome = take_wire_event(waiting, &page->rows.rows_val[i], why);
    }
    *more = outcome == OUTCOME_OK && page->more && page->rows.rows_len > 0;
    session_call_end(&call);
    return outcome;
}

/* What is in the mailbox and was not told yet. */
static enum outcome pull_rest(struct waiting *waiting, struct failure *why)
{
    uint64_t since = 0;
    bool more = true;
    enum outcome outcome = OUTCOME_OK;
    while (outcome == OUTCOME_OK && more && !is_over(waiting))
        outcome = pull_page(waiting, &since, &more, why);
    return outcome;
}

/* Cancels what still waits; an arrival that came before is told. Failures are not: nothing more can be done. */
static void cancel_all(struct waiting *waiting)
{
    enum outcome outcome = take_news(waiting, NULL);
    for (size_t i = 0; outcome == OUTCOME_OK && i < waiting->wait->count && !is_over(waiting); i++)
        if (waiting->standings[i].waiting)
            outcome = cancel(waiting, &waiting->standings[i], NULL);
    if (outcome == OUTCOME_OK && waiting->made && !is_over(waiting))
        outcome = pull_rest(waiting, NULL);
}

static void forget_mailbox(struct waiting *waiting)
{
    fs_detach_args args = {.mailbox = translate_id(&waiting->mailbox), .forget = true};
    fs_done_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_DETACH, fs_detach_args, &args, fs_done_res, &res);
    /* Unheard, the server drops it all when the interests run out. */
    enum outcome ignored = session_call(waiting->session, &call, NULL);
    (void)ignored;
    FAULT_POINT("mailbox-forgotten");
    session_call_end(&call);
}

static void leave(struct waiting *waiting, enum outcome outcome)
{
    struct fileshare *session = waiting->session;
    session_limit(session, LEAVE_MS, LEAVE_MS);
    if (outcome == OUTCOME_STOPPED)
        stop_take(&session->stop); /* who asks once more stops this, too */
    if (outcome != OUTCOME_OK)
        cancel_all(waiting);
    waiting->keeper = keeper_stop(waiting->keeper, false);
    if (outcome != OUTCOME_OK && take_news(waiting, NULL) != OUTCOME_OK)
        waiting->ended = true; /* no memory: nothing more is told */
    if (waiting->made)
        forget_mailbox(waiting);
}

/* ---- the wait ---- */

static bool keeper_event(void *context, const struct event *event, const char *route)
{
    return news_put(context, event, route);
}

static void keeper_note(void *context, const char *text)
{
    news_note(context, text);
}

static enum outcome start_keeper(struct waiting *waiting, struct failure *why)
{
    struct keeper_options options = {
        .target = &waiting->session->target,
        .mailbox = waiting->mailbox,
        .event = keeper_event,
        .note = keeper_note,
        .context = waiting->news,
    };
    enum outcome outcome = session_ready(waiting->session, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    rpc_client_local(waiting->session->client, &options.local);
    return keeper_start(&options, &waiting->keeper, why);
}

static enum outcome watch(struct waiting *waiting, int64_t until, struct failure *why)
{
    while (!is_over(waiting)) {
        int64_t next_at;
        enum outcome outcome = take_news(waiting, why);
        if (outcome == OUTCOME_OK && !is_over(waiting))
            outcome = stop_check(&waiting->session->stop, why);
        if (outcome == OUTCOME_OK && !is_over(waiting) && clock_elapsed(clock_system()) >= until)
            outcome = failure_set(why, OUTCOME_TIMEOUT, "time ran out: %zu of %zu came", waiting->tally.told,
                                  waiting->wait->wanted ? waiting->wait->wanted : waiting->wait->count);
        doubt_server(waiting);
        if (outcome == OUTCOME_OK)
            outcome = tend_all(waiting, &next_at, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (!is_over(waiting))
            news_rest(waiting->news, &waiting->session->stop, next_at < until ? next_at : until);
    }
    return OUTCOME_OK;
}

static enum outcome enroll_all(struct waiting *waiting, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    for (size_t i = 0; i < waiting->wait->count && outcome == OUTCOME_OK && !is_over(waiting); i++)
        outcome = enroll(waiting, i, why);
    return outcome;
}

static enum outcome wait_for_all(struct waiting *waiting, struct failure *why)
{
    struct fileshare *session = waiting->session;
    unsigned retry_seconds = session->retry_seconds, dead_ms = session->target.dead_ms;
    unsigned connect_ms = session->target.connect_ms, call_ms = session->call_ms;
    int64_t until = waiting->wait->seconds == 0
                        ? INT64_MAX
                        : clock_elapsed(clock_system()) + (int64_t)waiting->wait->seconds * CLOCK_SECOND;
    enum outcome outcome = enroll_all(waiting, why);
    /* From here on we come back to it by ourselves, and have the keeper; a call that hangs holds up what came. */
    session->retry_seconds = 0;
    session_limit(session, connect_ms < dead_ms ? connect_ms : dead_ms, dead_ms / 3);
    if (outcome == OUTCOME_OK && !is_over(waiting))
        outcome = start_keeper(waiting, why);
    if (outcome == OUTCOME_OK)
        outcome = watch(waiting, until, why);
    leave(waiting, outcome);
    session->retry_seconds = retry_seconds;
    session_limit(session, connect_ms, call_ms);
    bool late = outcome == OUTCOME_TIMEOUT || outcome == OUTCOME_STOPPED;
    return late && is_over(waiting) ? OUTCOME_OK : outcome;
}

static enum outcome check_patterns(const struct fileshare_wait *wait, struct failure *why)
{
    if (wait->count == 0)
        return failure_set(why, OUTCOME_INVALID, "no name to wait for");
    for (size_t i = 0; i < wait->count; i++) {
        char subject[NAMES_SUBJECT_SIZE], checked[NAME_BUFFER];
        names_subject(wait->patterns[i], subject);
        enum outcome outcome = wait->globs[i] ? OUTCOME_OK
                                              : names_check(wait->patterns[i], subject, checked, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (strlen(wait->patterns[i]) > NAME_SIZE_MAX)
            return failure_set(why, OUTCOME_INVALID, "%s: longer than %d bytes", subject, NAME_SIZE_MAX);
    }
    return OUTCOME_OK;
}

static enum outcome wait_here(struct fileshare *session, const struct fileshare_wait *wait, size_t *met,
                              struct failure *why)
{
    struct waiting waiting = {.session = session, .wait = wait, .mailbox = id_random()};
    if (met)
        *met = 0;
    enum outcome outcome = check_patterns(wait, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_free struct standing *standings = calloc(wait->count, sizeof *standings);
    waiting.standings = standings;
    if (!standings)
        return failure_set(why, OUTCOME_NOMEM, "no memory to wait for %zu names", wait->count);
    outcome = news_new(&waiting.news, why);
    if (outcome == OUTCOME_OK)
        outcome = tally_init(&waiting.tally, wait->count, wait->wanted, why);
    if (outcome == OUTCOME_OK)
        outcome = wait_for_all(&waiting, why);
    if (met)
        *met = waiting.tally.told;
    tally_fini(&waiting.tally);
    news_free(waiting.news);
    return outcome;
}

enum fileshare_status fileshare_wait(struct fileshare *session, const struct fileshare_wait *wait,
                                     size_t *met, struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = wait_here(session, wait, met, &why);
    return session_report(session, outcome, &why, error);
}
