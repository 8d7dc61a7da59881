/* fileshare_put: an upload, and the question whether it was needed. */
#include "client/lib/put.h"

#include "base/clock.h"
#include "client/lib/content.h"
#include "client/lib/names.h"
#include "client/lib/session.h"
#include "client/lib/upload.h"

#include <string.h>

/*
 * Whether our content is that of `entry`. Reads a pipe to its end, so that only
 * an answer can follow.
 */
static enum outcome is_same(struct content *content, const struct fileshare_entry *entry, bool *out,
                            struct failure *why)
{
    struct digest_value digest;
    *out = false;
    if (content_is_file(content)) {
        if (content_size(content) != entry->size)
            return OUTCOME_OK;
        enum outcome outcome = content_digest_to(content, entry->size, &digest, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    } else {
        enum outcome outcome = content_drain(content, entry->size, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (content_size(content) != entry->size)
            return OUTCOME_OK;
        digest = content_digest(content);
    }
    *out = memcmp(digest.octets, entry->digest, sizeof entry->digest) == 0;
    return OUTCOME_OK;
}

/* Looks at what is there; *same only if something is. */
static enum outcome compare(const struct upload *upload, struct fileshare_entry *out, bool *same,
                            struct failure *why)
{
    struct fileshare_entry entry;
    struct failure absent;
    enum outcome outcome = names_stat(upload->session, upload->name, &entry, &absent);
    if (outcome == OUTCOME_ABSENT)
        return OUTCOME_OK;
    if (outcome != OUTCOME_OK)
        return failure_set(why, outcome, "%s", absent.text);
    outcome = is_same(upload->content, &entry, same, why);
    if (outcome == OUTCOME_OK && *same)
        *out = entry;
    return outcome;
}

/* With `replace` it is looked at first, if that can be done without reading a pipe to its end. */
static enum outcome replace(struct upload *upload, struct fileshare_entry *out, bool *same,
                            struct failure *why)
{
    upload->policy = FS_REPLACE;
    if (content_is_file(upload->content)) {
        enum outcome outcome = compare(upload, out, same, why);
        if (outcome != OUTCOME_OK || *same)
            return outcome;
    }
    return upload_send(upload, out, why);
}

static enum outcome put_new(struct upload *upload, struct fileshare_entry *out, bool *same,
                            struct failure *why)
{
    upload->policy = FS_FAIL;
    enum outcome outcome = upload_send(upload, out, why);
    if (outcome != OUTCOME_EXISTS)
        return outcome;
    struct failure other;
    enum outcome compared = compare(upload, out, same, &other);
    if (compared != OUTCOME_OK)
        return failure_set(why, compared, "%s", other.text);
    return *same ? OUTCOME_OK : outcome;
}

enum outcome put_one(struct fileshare *session, const struct fileshare_put *put, struct fileshare_entry *out,
                     bool *unchanged, struct failure *why)
{
    char name[NAME_BUFFER], subject[NAMES_SUBJECT_SIZE];
    enum outcome outcome = names_check(put->name, names_subject(put->name, subject), name, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct content *content = NULL;
    outcome = content_open(put->fd, put->label ? put->label : put->name, &session->stop, &content, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct upload upload = {
        .session = session,
        .content = content,
        .name = name,
        .subject = subject,
        .mtime = put->mtime != INT64_MIN ? put->mtime : clock_wall(clock_system()),
        .keep = put->keep,
        .progress = put->progress,
        .context = put->context,
    };
    bool same = false;
    struct fileshare_entry entry;
    outcome = put->replace ? replace(&upload, &entry, &same, why) : put_new(&upload, &entry, &same, why);
    content_close(content);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (out)
        *out = entry;
    if (unchanged)
        *unchanged = same;
    return OUTCOME_OK;
}

enum fileshare_status fileshare_put(struct fileshare *session, const struct fileshare_put *what,
                                    struct fileshare_entry *out, bool *unchanged,
                                    struct fileshare_error *error)
{
    struct failure why = {0};
    enum outcome outcome = put_one(session, what, out, unchanged, &why);
    return session_report(session, outcome, &why, error);
}
