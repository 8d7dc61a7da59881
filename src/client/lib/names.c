#include "client/lib/names.h"

#include "base/glob.h"

#include <stdio.h>
#include <string.h>

char *names_subject(const char *name, char subject[NAMES_SUBJECT_SIZE])
{
    if (name[0] == '\0')
        return strcpy(subject, "\"\"");
    return name_show(name, strlen(name), subject, NAMES_SUBJECT_SIZE);
}

enum outcome names_check(const char *name, const char *subject, char out[NAME_BUFFER], struct failure *why)
{
    struct failure reason;
    enum outcome outcome = name_check(name, strlen(name), out, &reason);
    if (outcome != OUTCOME_OK)
        return failure_set(why, outcome, "%s: %s", subject, reason.text);
    return OUTCOME_OK;
}

/* ---- stat ---- */

enum outcome names_stat(struct fileshare *session, const char *name, struct fileshare_entry *out,
                        struct failure *why)
{
    char checked[NAME_BUFFER], subject[NAMES_SUBJECT_SIZE];
    enum outcome outcome = names_check(name, names_subject(name, subject), checked, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    fs_stat_args args = {.name = translate_name(checked)};
    fs_entry_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_STAT, fs_stat_args, &args, fs_entry_res, &res);
    outcome = session_call(session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_entry_res_u.failure.reason, subject, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_entry(&res.fs_entry_res_u.entry, out, why);
    session_call_end(&call);
    return outcome;
}

enum fileshare_status fileshare_stat(struct fileshare *session, const char *name, struct fileshare_entry *out,
                                     struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = names_stat(session, name, out, &why);
    return session_report(session, outcome, &why, error);
}

/* ---- list ---- */

struct listing {
    struct fileshare *session;
    const char *glob;
    char cursor[NAME_BUFFER];
    bool more;
    bool (*each)(void *context, const struct fileshare_entry *entry);
    void *context;
    struct rpc_client *client; /* of `ahead` */
    struct rpc_pending *ahead; /* the call for the next page, while this one is shown; or NULL */
};

static void forget_ahead(struct listing *listing)
{
    if (listing->ahead)
        listing->ahead = rpc_pending_free(listing->client, listing->ahead);
}

static fs_list_args page_args(const struct listing *listing)
{
    return (fs_list_args){
        .glob = translate_name(listing->glob),
        .cursor = translate_name(listing->cursor),
        .limit = listing->session->greeting.list_max,
    };
}

static enum outcome take_cursor(struct listing *listing, const fs_list *page, struct failure *why)
{
    listing->more = page->more;
    if (!page->more)
        return OUTCOME_OK;
    char cursor[NAME_BUFFER];
    enum outcome outcome = name_check(page->cursor.fs_name_val, page->cursor.fs_name_len, cursor, NULL);
    if (outcome != OUTCOME_OK || strcmp(cursor, listing->cursor) <= 0)
        return failure_set(why, OUTCOME_PROTOCOL, "cannot list: the server's pages do not go forward");
    memcpy(listing->cursor, cursor, sizeof cursor);
    return OUTCOME_OK;
}

/* The server is at the next page while this one is shown. If that does not go, it is asked for in its turn. */
static void ask_ahead(struct listing *listing, struct rpc_client *client)
{
    fs_list_args args = page_args(listing);
    if (!listing->more)
        return;
    listing->client = client;
    if (rpc_client_begin(client, FSPROC_LIST, (xdrproc_t)xdr_fs_list_args, &args, NULL, &listing->ahead,
                         NULL) != OUTCOME_OK)
        listing->ahead = NULL;
}

static enum outcome show_page(struct listing *listing, const fs_list *page, struct failure *why)
{
    for (u_int i = 0; i < page->entries.entries_len; i++) {
        struct fileshare_entry entry;
        enum outcome outcome = translate_entry(&page->entries.entries_val[i], &entry, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (!listing->each(listing->context, &entry)) {
            listing->more = false;
            return OUTCOME_OK;
        }
    }
    return OUTCOME_OK;
}

/* The page that was asked for ahead, if it came, and is one. */
static bool take_ahead(struct listing *listing, struct rpc_pending **pending, fs_list_res *res)
{
    if (!listing->ahead)
        return false;
    *pending = listing->ahead;
    listing->ahead = NULL;
    if (rpc_client_await(listing->client, *pending, (xdrproc_t)xdr_fs_list_res, res, NULL) == OUTCOME_OK &&
        res->status == FS_OK)
        return true;
    xdr_free((xdrproc_t)xdr_fs_list_res, res);
    *res = (fs_list_res){0};
    *pending = rpc_pending_free(listing->client, *pending);
    return false;
}

static enum outcome list_page(struct listing *listing, struct failure *why)
{
    char subject[NAMES_SUBJECT_SIZE];
    fs_list_args args = page_args(listing);
    fs_list_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_LIST, fs_list_args, &args, fs_list_res, &res);
    enum outcome outcome = OUTCOME_OK;
    if (take_ahead(listing, &call.pending, &res))
        call.client = listing->client;
    else
        outcome = session_call(listing->session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_list_res_u.failure.reason,
                                    names_subject(listing->glob[0] != '\0' ? listing->glob : "**", subject),
                                    why);
    if (outcome == OUTCOME_OK)
        outcome = take_cursor(listing, &res.fs_list_res_u.page, why);
    if (outcome == OUTCOME_OK)
        ask_ahead(listing, call.client);
    if (outcome == OUTCOME_OK)
        outcome = show_page(listing, &res.fs_list_res_u.page, why);
    session_call_end(&call);
    return outcome;
}

enum outcome names_list(struct fileshare *session, const char *glob,
                        bool (*each)(void *context, const struct fileshare_entry *entry), void *context,
                        struct failure *why)
{
    struct listing listing = {.session = session,
                              .glob = glob ? glob : "",
                              .more = true,
                              .each = each,
                              .context = context};
    enum outcome outcome = OUTCOME_OK;
    if (strlen(listing.glob) > NAME_SIZE_MAX)
        return failure_set(why, OUTCOME_INVALID, "cannot list: the glob is longer than %d bytes",
                           NAME_SIZE_MAX);
    while (listing.more && outcome == OUTCOME_OK) {
        /* A page that came ahead would hide that a stop was asked for. */
        outcome = stop_check(&session->stop, why);
        if (outcome == OUTCOME_OK)
            outcome = list_page(&listing, why);
    }
    forget_ahead(&listing);
    return outcome;
}

enum fileshare_status fileshare_list(struct fileshare *session, const char *glob,
                                     bool (*each)(void *context, const struct fileshare_entry *entry),
                                     void *context, struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = names_list(session, glob, each, context, &why);
    return session_report(session, outcome, &why, error);
}

bool fileshare_is_glob(const char *text)
{
    return glob_is_pattern(text);
}

/* ---- remove, rename ---- */

static enum outcome remove_name(struct fileshare *session, const char *name,
                                const struct fileshare_id *expected, struct failure *why)
{
    char checked[NAME_BUFFER], subject[NAMES_SUBJECT_SIZE];
    enum outcome outcome = names_check(name, names_subject(name, subject), checked, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct id op = id_random(), version = expected ? translate_id_private(expected) : (struct id){{0}};
    fs_remove_args args = {.op = translate_id(&op),
                           .name = translate_name(checked),
                           .expected = translate_id(&version)};
    fs_done_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_REMOVE, fs_remove_args, &args, fs_done_res, &res);
    outcome = session_call(session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.reason, subject, why);
    session_call_end(&call);
    return outcome;
}

enum fileshare_status fileshare_remove(struct fileshare *session, const char *name,
                                       const struct fileshare_id *expected, struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = remove_name(session, name, expected, &why);
    return session_report(session, outcome, &why, error);
}

static enum outcome rename_name(struct fileshare *session, const char *source, const char *target,
                                bool replace, struct fileshare_entry *out, struct failure *why)
{
    char from[NAME_BUFFER], to[NAME_BUFFER], subject[NAMES_SUBJECT_SIZE];
    enum outcome outcome = names_check(source, names_subject(source, subject), from, why);
    if (outcome == OUTCOME_OK)
        outcome = names_check(target, names_subject(target, subject), to, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct id op = id_random();
    fs_rename_args args = {
        .op = translate_id(&op),
        .source = translate_name(from),
        .target = translate_name(to),
        .policy = replace ? FS_REPLACE : FS_FAIL,
    };
    fs_entry_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_RENAME, fs_rename_args, &args, fs_entry_res, &res);
    outcome = session_call(session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_entry_res_u.failure.reason,
                                    names_subject(source, subject), why);
    struct fileshare_entry entry;
    if (outcome == OUTCOME_OK)
        outcome = translate_entry(&res.fs_entry_res_u.entry, &entry, why);
    session_call_end(&call);
    if (outcome == OUTCOME_OK && out)
        *out = entry;
    return outcome;
}

enum fileshare_status fileshare_rename(struct fileshare *session, const char *source, const char *target,
                                       bool replace, struct fileshare_entry *out,
                                       struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = rename_name(session, source, target, replace, out, &why);
    return session_report(session, outcome, &why, error);
}

/* ---- ids as text ---- */

char *fileshare_id_text(const struct fileshare_id *id, char text[33])
{
    struct id private = translate_id_private(id);
    return id_text(&private, text);
}

enum fileshare_status fileshare_id_parse(const char *text, struct fileshare_id *out)
{
    struct id id;
    if (id_parse(text, &id, NULL) != OUTCOME_OK)
        return FILESHARE_INVALID;
    *out = translate_id_public(&id);
    return FILESHARE_OK;
}
