/* fileshare_get and fileshare_get_to: a download into what the caller has, or beside where it shall be. */
#include "client/lib/get.h"

#include "base/scoped.h"
#include "client/lib/download.h"
#include "client/lib/names.h"
#include "client/lib/partial.h"
#include "client/lib/translate.h"

/* The name as it is sent and as it is shown. */
struct subject {
    char name[NAME_BUFFER], shown[NAMES_SUBJECT_SIZE];
};

static enum outcome check(const struct fileshare_get *what, struct subject *out, struct failure *why)
{
    return names_check(what->name, names_subject(what->name, out->shown), out->name, why);
}

static struct download download_of(struct fileshare *session, const struct fileshare_get *what,
                                   const struct subject *subject, const char *label)
{
    return (struct download){
        .session = session,
        .name = subject->name,
        .subject = subject->shown,
        .label = label ? label : what->name,
        .version = translate_id_private(&what->version),
        .fd = what->fd,
        .progress = what->progress,
        .context = what->context,
    };
}

static enum outcome get(struct fileshare *session, const struct fileshare_get *what,
                        struct fileshare_entry *out, struct failure *why)
{
    struct subject subject;
    enum outcome outcome = check(what, &subject, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct download download = download_of(session, what, &subject, what->label);
    return download_receive(&download, out, why);
}

enum fileshare_status fileshare_get(struct fileshare *session, const struct fileshare_get *what,
                                    struct fileshare_entry *out, struct fileshare_error *error)
{
    struct failure why = {0};
    struct fileshare_entry entry;
    enum outcome outcome = translate_here(get(session, what, &entry, &why), &why);
    if (outcome == OUTCOME_OK && out)
        *out = entry;
    return session_report(session, outcome, &why, error);
}

/* ---- to a path ---- */

static enum outcome begin(void *place, const struct fileshare_entry *entry, bool anew, int *fd,
                          uint64_t *held, struct failure *why)
{
    struct partial *partial = place;
    struct id version = translate_id_private(&entry->version);
    enum outcome outcome = partial_begin(partial, &version, entry->size, anew, held, why);
    if (outcome == OUTCOME_OK)
        *fd = partial->fd;
    return outcome;
}

/*
 * Earlier downloads left something. Which version is it worth? Asked beforehand,
 * so that no byte comes in vain; what is of others goes.
 */
static enum outcome look_at_kept(const struct partial *partial, struct download *download,
                                 struct fileshare_entry *entry, struct failure *why)
{
    enum outcome outcome = names_stat(download->session, download->name, entry, why);
    struct id newest = {{0}};
    if (outcome == OUTCOME_OK)
        newest = translate_id_private(&entry->version);
    else if (outcome != OUTCOME_ABSENT)
        return outcome;
    bool is_pinned = !id_is_none(&download->version);
    if (outcome == OUTCOME_OK && (!is_pinned || id_equal(&download->version, &newest)))
        download->known = entry;
    if (partial_clear(partial, is_pinned ? &download->version : &newest) > 0)
        session_tell(download->session,
                     &(struct fileshare_incident){.kind = FILESHARE_ANEW,
                                                  .name = download->name,
                                                  .text = "what was kept of it is of another version",
                                                  .total = UINT64_MAX});
    return OUTCOME_OK; /* of one that is gone the download itself says so */
}

static enum outcome fill(const struct partial *partial, struct download *download,
                         struct fileshare_entry *out, struct failure *why)
{
    struct fileshare_entry entry;
    if (partial_look(partial, &download->session->clean)) {
        enum outcome outcome = look_at_kept(partial, download, &entry, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return download_receive(download, out, why);
}

static void keep(struct partial *partial, const struct download *download)
{
    uint64_t held = 0;
    if (!partial_stay(partial, &held))
        return;
    download->session->clean = (struct partial_clean){.inode = 0};
    session_tell(download->session, &(struct fileshare_incident){.kind = FILESHARE_KEPT,
                                                                 .name = download->name,
                                                                 .text = "",
                                                                 .moved = held,
                                                                 .total = partial->size});
}

/* `partial` was opened, and is closed by the caller. */
static enum outcome get_by(struct fileshare *session, const struct fileshare_get *what, struct partial *partial,
                           struct fileshare_entry *out, struct failure *why)
{
    struct subject subject;
    enum outcome outcome = check(what, &subject, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct download download = download_of(session, what, &subject, partial->path);
    download.begin = begin;
    download.place = partial;
    outcome = fill(partial, &download, out, why);
    if (download_is_only_broken(outcome))
        keep(partial, &download);
    return outcome == OUTCOME_OK ? partial_finish(partial, out->mtime, why) : outcome;
}

enum outcome get_beneath(struct fileshare *session, const struct fileshare_get *what, int folder_fd,
                         const char *path, bool replace, struct fileshare_entry *out, struct failure *why)
{
    struct partial partial;
    enum outcome outcome = partial_open_in(&partial, folder_fd, path, replace, what->keep, why);
    if (outcome == OUTCOME_OK)
        outcome = get_by(session, what, &partial, out, why);
    partial_close(&partial);
    return outcome;
}

static enum outcome get_to(struct fileshare *session, const struct fileshare_get *what, const char *path,
                           bool replace, struct fileshare_entry *out, struct failure *why)
{
    struct subject subject;
    struct partial partial;
    struct fileshare_entry entry;
    enum outcome outcome = check(what, &subject, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    outcome = partial_open(&partial, path, replace, what->keep, why);
    if (outcome == OUTCOME_OK)
        outcome = get_by(session, what, &partial, &entry, why);
    partial_close(&partial);
    if (outcome == OUTCOME_OK && out)
        *out = entry;
    return outcome;
}

enum fileshare_status fileshare_get_to(struct fileshare *session, const struct fileshare_get *what,
                                       const char *path, bool replace, struct fileshare_entry *out,
                                       struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = translate_here(get_to(session, what, path, replace, out, &why), &why);
    return session_report(session, outcome, &why, error);
}
