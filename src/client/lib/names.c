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
    const char *glob;
    char cursor[NAME_BUFFER];
    bool more;
    bool (*each)(void *context, const struct fileshare_entry *entry);
    void *context;
};

static enum outcome take_page(struct listing *listing, const fs_list *page, struct failure *why)
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

static enum outcome list_page(struct fileshare *session, struct listing *listing, struct failure *why)
{
    char subject[NAMES_SUBJECT_SIZE];
    fs_list_args args = {
        .glob = translate_name(listing->glob),
        .cursor = translate_name(listing->cursor),
        .limit = session->greeting.list_max,
    };
    fs_list_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_LIST, fs_list_args, &args, fs_list_res, &res);
    enum outcome outcome = session_call(session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_list_res_u.failure.reason,
                                    names_subject(listing->glob[0] != '\0' ? listing->glob : "**", subject),
                                    why);
    if (outcome == OUTCOME_OK)
        outcome = take_page(listing, &res.fs_list_res_u.page, why);
    session_call_end(&call);
    return outcome;
}

enum outcome names_list(struct fileshare *session, const char *glob,
                        bool (*each)(void *context, const struct fileshare_entry *entry), void *context,
                        struct failure *why)
{
    struct listing listing = {.glob = glob ? glob : "", .more = true, .each = each, .context = context};
    if (strlen(listing.glob) > NAME_SIZE_MAX)
        return failure_set(why, OUTCOME_INVALID, "cannot list: the glob is longer than %d bytes",
                           NAME_SIZE_MAX);
    while (listing.more) {
        enum outcome outcome = list_page(session, &listing, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return OUTCOME_OK;
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
