#include "client/lib/upload_small.h"

#include "base/scoped.h"

#include <stdlib.h>

enum outcome upload_small(const struct upload *upload, size_t size, struct fileshare_entry *out,
                          struct failure *why)
{
    scoped_free uint8_t *bytes = malloc(size > 0 ? size : 1);
    if (!bytes)
        return failure_set(why, OUTCOME_NOMEM, "%s: no memory", upload->subject);
    enum outcome outcome = content_copy(upload->content, 0, bytes, size, why);
    if (outcome == OUTCOME_OK)
        outcome = content_settle(upload->content, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct digest_value digest = content_digest(upload->content);
    struct id op = id_random();
    fs_upload_args args = {
        .op = translate_id(&op),
        .name = translate_name(upload->name),
        .policy = upload->policy,
        .mtime = event_time_to_wire(upload->mtime),
        .digest = translate_digest(&digest),
        .content = {.fs_data_len = (u_int)size, .fs_data_val = (char *)bytes},
    };
    fs_entry_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD, fs_upload_args, &args, fs_entry_res, &res);
    outcome = session_call(upload->session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_entry_res_u.failure.reason, upload->subject, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_entry(&res.fs_entry_res_u.entry, out, why);
    session_call_end(&call);
    if (outcome == OUTCOME_OK && upload->progress)
        upload->progress(upload->context, size, size);
    return outcome;
}
