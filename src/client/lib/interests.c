/* Interests of the durable mailbox, which this only names: whoever holds it is told their events. */
#include "client/lib/mailbox.h"
#include "client/lib/names.h"
#include "client/lib/session.h"

#include <stdio.h>
#include <string.h>

/* The mailbox belongs to the store that the session is connected to. */
static enum outcome find_mailbox(struct fileshare *session, struct id *out, struct failure *why)
{
    enum outcome outcome = session->client ? OUTCOME_OK : session_ready(session, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_here(mailbox_name(session->state_folder, &session->greeting.instance, out, why),
                                 why);
    return outcome;
}

/* ---- register ---- */

static enum outcome take_registration(const fs_registration *registration,
                                      void (*present)(void *context, const struct fileshare_entry *entry),
                                      void *context, struct failure *why)
{
    for (u_int i = 0; present && i < registration->present.present_len; i++) {
        struct fileshare_entry entry;
        enum outcome outcome = translate_entry(&registration->present.present_val[i], &entry, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        present(context, &entry);
    }
    return OUTCOME_OK;
}

static enum outcome add_interest(struct fileshare *session, const struct fileshare_register *what,
                                 void (*present)(void *context, const struct fileshare_entry *entry),
                                 void *context, struct fileshare_registered *out, struct failure *why)
{
    char subject[NAMES_SUBJECT_SIZE], checked[NAME_BUFFER];
    struct id mailbox, interest = id_random();
    names_subject(what->pattern, subject);
    enum outcome outcome = what->glob ? OUTCOME_OK : names_check(what->pattern, subject, checked, why);
    if (outcome == OUTCOME_OK && strlen(what->pattern) > NAME_SIZE_MAX)
        outcome = failure_set(why, OUTCOME_INVALID, "%s: longer than %d bytes", subject, NAME_SIZE_MAX);
    if (outcome == OUTCOME_OK)
        outcome = find_mailbox(session, &mailbox, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    fs_register_args args = {
        .mailbox = translate_id(&mailbox),
        .interest = translate_id(&interest),
        .match = what->glob ? FS_GLOB : FS_EXACT,
        .pattern = translate_name(what->pattern),
        .seconds = what->seconds,
        .repeat = what->every ? FS_EVERY : FS_ONCE,
        .present = FS_TELL,
    };
    fs_register_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_REGISTER_INTEREST, fs_register_args, &args,
                                            fs_register_res, &res);
    outcome = session_call(session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_register_res_u.failure.reason, subject, why);
    const fs_registration *registration = &res.fs_register_res_u.registration;
    if (outcome == OUTCOME_OK)
        outcome = take_registration(registration, present, context, why);
    if (outcome == OUTCOME_OK && out)
        *out = (struct fileshare_registered){
            .registered = registration->registered,
            .id = translate_id_public(&interest),
            .seconds_left = registration->seconds_left,
        };
    session_call_end(&call);
    return outcome;
}

enum fileshare_status fileshare_interest(struct fileshare *session, const struct fileshare_register *what,
                                         void (*present)(void *context, const struct fileshare_entry *entry),
                                         void *context, struct fileshare_registered *out,
                                         struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = add_interest(session, what, present, context, out, &why);
    return session_report(session, outcome, &why, error);
}

/* ---- list ---- */

typedef void interest_each(void *context, const struct fileshare_interest *interest);

static void copy_pattern(const fs_name *pattern, char out[FILESHARE_NAME_SIZE])
{
    size_t size = pattern->fs_name_len < FILESHARE_NAME_SIZE ? pattern->fs_name_len : FILESHARE_NAME_SIZE - 1;
    memcpy(out, pattern->fs_name_val, size);
    out[size] = '\0';
}

static enum fileshare_interest_state public_state(fs_interest_state state)
{
    switch (state) {
    case FS_WAITING: return FILESHARE_WAITING;
    case FS_CANCELLED: return FILESHARE_CANCELLED;
    case FS_MET: return FILESHARE_MET;
    case FS_OVER: return FILESHARE_OVER;
    case FS_NEVER: break;
    }
    return FILESHARE_NEVER;
}

static void take_row(const fs_interest *row, struct fileshare_interest *out)
{
    struct id id = translate_id_read(&row->interest);
    *out = (struct fileshare_interest){
        .id = translate_id_public(&id),
        .glob = row->match == FS_GLOB,
        .every = row->repeat == FS_EVERY,
        .seconds_left = row->seconds_left,
        .arrivals = row->arrivals,
    };
    out->state = public_state(row->state);
    if (row->pattern.fs_name_val)
        copy_pattern(&row->pattern, out->pattern);
}

static enum outcome interests_page(struct fileshare *session, const struct id *mailbox, struct id *cursor,
                                   bool *more, const char **route, interest_each *each, void *context,
                                   struct failure *why)
{
    fs_interests_args args = {.mailbox = translate_id(mailbox), .cursor = translate_id(cursor)};
    fs_interests_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_LIST_INTERESTS, fs_interests_args, &args, fs_interests_res,
                                            &res);
    enum outcome outcome = session_call(session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_interests_res_u.failure.reason,
                                    "cannot list interests", why);
    const fs_interests *page = &res.fs_interests_res_u.page;
    *more = false;
    if (outcome == OUTCOME_OK) {
        for (u_int i = 0; i < page->rows.rows_len; i++) {
            struct fileshare_interest interest;
            take_row(&page->rows.rows_val[i], &interest);
            each(context, &interest);
        }
        *route = translate_route(page->route);
        *more = page->more && page->rows.rows_len > 0;
        if (*more)
            *cursor = translate_id_read(&page->rows.rows_val[page->rows.rows_len - 1].interest);
    }
    session_call_end(&call);
    return outcome;
}

static enum outcome list_interests(struct fileshare *session, interest_each *each, void *context,
                                   const char **out_route, struct failure *why)
{
    struct id mailbox, cursor = {{0}};
    const char *route = "none";
    bool more = true;
    enum outcome outcome = find_mailbox(session, &mailbox, why);
    while (outcome == OUTCOME_OK && more)
        outcome = interests_page(session, &mailbox, &cursor, &more, &route, each, context, why);
    /* A mailbox that nothing was ever put into is not known to the server: it has no interests. */
    if (outcome == OUTCOME_ABSENT)
        outcome = OUTCOME_OK;
    if (outcome == OUTCOME_OK && out_route)
        *out_route = route;
    return outcome;
}

enum fileshare_status fileshare_interests(struct fileshare *session, interest_each *each, void *context,
                                          const char **route, struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = list_interests(session, each, context, route, &why);
    return session_report(session, outcome, &why, error);
}

/* ---- renew ---- */

static enum outcome renew(struct fileshare *session, const struct fileshare_id *id, uint32_t seconds,
                          uint32_t *seconds_left, struct failure *why)
{
    struct id mailbox, op = id_random(), interest = translate_id_private(id);
    enum outcome outcome = find_mailbox(session, &mailbox, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    fs_renew_args args = {
        .op = translate_id(&op),
        .mailbox = translate_id(&mailbox),
        .interest = translate_id(&interest),
        .seconds = seconds,
    };
    fs_renew_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_RENEW_INTEREST, fs_renew_args, &args, fs_renew_res, &res);
    outcome = session_call(session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_renew_res_u.failure.reason,
                                    "cannot renew the interest", why);
    if (outcome == OUTCOME_OK && seconds_left)
        *seconds_left = res.fs_renew_res_u.renewal.seconds_left;
    session_call_end(&call);
    return outcome;
}

enum fileshare_status fileshare_renew(struct fileshare *session, const struct fileshare_id *id,
                                      uint32_t seconds, uint32_t *seconds_left, struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = renew(session, id, seconds, seconds_left, &why);
    return session_report(session, outcome, &why, error);
}

/* ---- cancel ---- */

struct cancelling {
    struct id mailbox;
    struct id interest; /* none: by pattern */
    const char *pattern;
    interest_each *each; /* may be NULL */
    void *context;
    size_t found; /* interests that there were */
};

static void take_cancelled(struct cancelling *cancelling, const fs_cancelled *row)
{
    struct id id = translate_id_read(&row->interest);
    struct fileshare_interest interest = {.id = translate_id_public(&id)};
    interest.state = public_state(row->state);
    if (row->event)
        copy_pattern(&row->event->pattern, interest.pattern);
    else
        snprintf(interest.pattern, sizeof interest.pattern, "%s", cancelling->pattern);
    if (row->state != FS_NEVER)
        cancelling->found++;
    if (cancelling->each)
        cancelling->each(cancelling->context, &interest);
}

static enum outcome cancel_page(struct fileshare *session, struct cancelling *cancelling, bool *more,
                                struct failure *why)
{
    struct id op = id_random();
    fs_cancel_args args = {
        .op = translate_id(&op),
        .mailbox = translate_id(&cancelling->mailbox),
        .interest = translate_id(&cancelling->interest),
        .pattern = translate_name(cancelling->pattern),
    };
    fs_cancel_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_CANCEL_INTEREST, fs_cancel_args, &args, fs_cancel_res,
                                            &res);
    enum outcome outcome = session_call(session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_cancel_res_u.failure.reason,
                                    "cannot cancel the interest", why);
    *more = false;
    if (outcome == OUTCOME_OK) {
        const fs_cancel *cancel = &res.fs_cancel_res_u.cancel;
        for (u_int i = 0; i < cancel->rows.rows_len; i++)
            take_cancelled(cancelling, &cancel->rows.rows_val[i]);
        *more = cancel->more && cancel->rows.rows_len > 0;
    }
    session_call_end(&call);
    return outcome;
}

static enum outcome cancel(struct fileshare *session, struct cancelling *cancelling, struct failure *why)
{
    char subject[NAMES_SUBJECT_SIZE];
    bool more = true;
    if (strlen(cancelling->pattern) > NAME_SIZE_MAX)
        return failure_set(why, OUTCOME_INVALID, "cannot cancel: the name is longer than %d bytes",
                           NAME_SIZE_MAX);
    enum outcome outcome = find_mailbox(session, &cancelling->mailbox, why);
    while (outcome == OUTCOME_OK && more)
        outcome = cancel_page(session, cancelling, &more, why);
    if ((outcome == OUTCOME_OK && cancelling->found == 0) || outcome == OUTCOME_ABSENT)
        return failure_set(why, OUTCOME_ABSENT, "%s: there is none",
                           cancelling->pattern[0] != '\0' ? names_subject(cancelling->pattern, subject)
                                                          : "cannot cancel the interest");
    return outcome;
}

enum fileshare_status fileshare_cancel(struct fileshare *session, const struct fileshare_id *id,
                                       const char *pattern, interest_each *each, void *context,
                                       struct fileshare_error *error)
{
    struct failure why = {0};
    struct cancelling cancelling = {
        .interest = id ? translate_id_private(id) : (struct id){{0}},
        .pattern = pattern && !id ? pattern : "",
        .each = each,
        .context = context,
    };
    enum outcome outcome = id || pattern
                               ? cancel(session, &cancelling, &why)
                               : failure_set(&why, OUTCOME_INVALID, "neither an id nor a name to cancel");
    return session_report(session, outcome, &why, error);
}
