#include "fault/by_hand.h"

#include "base/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { INTEREST_SECONDS = 3600 };

static void must_answer(struct fileshare *session, struct session_call *call)
{
    struct failure why = {.text = ""};
    fs_status status;
    if (session_call(session, call, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    memcpy(&status, call->results, sizeof status);
    if (status != FS_OK)
        fail_msg("procedure %u answers status %d", call->procedure, status);
}

void by_hand_attach(struct fileshare *session, const struct id *mailbox, uint64_t waiting)
{
    fs_attach_args args = {.mailbox = translate_id(mailbox), .callback = {.ticket = translate_id(mailbox)}};
    fs_attach_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_ATTACH, fs_attach_args, &args, fs_attach_res, &res);
    must_answer(session, &call);
    assert_int_equal(res.fs_attach_res_u.attachment.waiting, waiting);
    session_call_end(&call);
}

void by_hand_forget(struct fileshare *session, const struct id *mailbox)
{
    fs_detach_args args = {.mailbox = translate_id(mailbox), .forget = true};
    fs_done_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_DETACH, fs_detach_args, &args, fs_done_res, &res);
    must_answer(session, &call);
    session_call_end(&call);
}

void by_hand_register(struct fileshare *session, const struct id *mailbox, const char *glob)
{
    struct id interest = id_random();
    fs_register_args args = {
        .mailbox = translate_id(mailbox),
        .interest = translate_id(&interest),
        .match = FS_GLOB,
        .pattern = translate_name(glob),
        .seconds = INTEREST_SECONDS,
        .repeat = FS_EVERY,
        .present = FS_IGNORE,
    };
    fs_register_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_REGISTER_INTEREST, fs_register_args, &args,
                                            fs_register_res, &res);
    must_answer(session, &call);
    session_call_end(&call);
}

size_t by_hand_events(struct fileshare *session, const struct id *mailbox, uint64_t since,
                      uint64_t numbers[FS_EVENTS_MAX])
{
    fs_events_args args = {.mailbox = translate_id(mailbox), .since = since, .limit = FS_EVENTS_MAX};
    fs_events_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_EVENTS, fs_events_args, &args, fs_events_res, &res);
    must_answer(session, &call);
    const fs_events *page = &res.fs_events_res_u.page;
    size_t count = page->rows.rows_len;
    for (size_t i = 0; i < count; i++)
        numbers[i] = page->rows.rows_val[i].number;
    assert_false(page->more);
    session_call_end(&call);
    return count;
}

uint64_t by_hand_open(struct fileshare *session, const struct id *upload, const char *name)
{
    fs_upload_open_args args = {.upload = translate_id(upload), .name = translate_name(name)};
    fs_upload_open_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_OPEN, fs_upload_open_args, &args,
                                            fs_upload_open_res, &res);
    must_answer(session, &call);
    uint64_t held = res.fs_upload_open_res_u.state.held;
    session_call_end(&call);
    return held;
}

void by_hand_data(struct fileshare *session, const struct id *upload, void *bytes, size_t count)
{
    fs_upload_data_args args = {.upload = translate_id(upload),
                                .content = {.fs_data_len = (u_int)count, .fs_data_val = bytes}};
    fs_upload_data_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_DATA, fs_upload_data_args, &args,
                                            fs_upload_data_res, &res);
    must_answer(session, &call);
    assert_int_equal(res.held, count);
    session_call_end(&call);
}

bool by_hand_piece(struct fileshare *session, const struct id *upload, uint8_t *bytes, uint64_t offset,
                   size_t count, fs_status *status, uint64_t *held)
{
    fs_upload_data_args args = {
        .upload = translate_id(upload),
        .offset = offset,
        .content = {.fs_data_len = (u_int)count, .fs_data_val = (char *)bytes + offset}};
    fs_upload_data_res res = {0};
    struct failure why = {.text = ""};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_DATA, fs_upload_data_args, &args,
                                            fs_upload_data_res, &res);
    bool answered = session_try(session, &call, &why) == OUTCOME_OK;
    if (answered) {
        assert_true(res.status == FS_OK || res.status == FS_OFFSET);
        *status = res.status;
        *held = res.held;
    }
    session_call_end(&call);
    return answered;
}

fs_status by_hand_commit(struct fileshare *session, const struct id *upload, const void *bytes, size_t size)
{
    struct digest_value digest = digest_of(bytes, size);
    fs_upload_commit_args args = {.upload = translate_id(upload),
                                  .size = size,
                                  .digest = translate_digest(&digest)};
    fs_entry_res res = {0};
    struct failure why = {.text = ""};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_COMMIT, fs_upload_commit_args, &args, fs_entry_res,
                                            &res);
    if (session_call(session, &call, &why) != OUTCOME_OK)
        fail_msg("%s", why.text);
    fs_status status = res.status;
    session_call_end(&call);
    return status;
}

void by_hand_put_many(struct fileshare *session, const char *folder, unsigned count, void *bytes, size_t size)
{
    fs_upload_args files[BY_HAND_MANY];
    char names[BY_HAND_MANY][64];
    fs_upload_many_args args = {.files = {.files_len = count, .files_val = files}};
    fs_upload_many_res res = {0};
    assert_true(count <= BY_HAND_MANY);
    for (unsigned i = 0; i < count; i++) {
        const struct id op = id_random();
        snprintf(names[i], sizeof names[i], "%s/%u", folder, i);
        files[i] = (fs_upload_args){.op = translate_id(&op),
                                    .name = translate_name(names[i]),
                                    .content = {.fs_data_len = (u_int)size, .fs_data_val = bytes}};
    }
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_MANY, fs_upload_many_args, &args,
                                            fs_upload_many_res, &res);
    must_answer(session, &call);
    assert_int_equal(res.fs_upload_many_res_u.many.files.files_len, count);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(res.fs_upload_many_res_u.many.files.files_val[i].status, FS_OK);
    session_call_end(&call);
}

void by_hand_abort(struct fileshare *session, const struct id *upload)
{
    fs_upload_abort_args args = {.upload = translate_id(upload)};
    fs_done_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_ABORT, fs_upload_abort_args, &args, fs_done_res,
                                            &res);
    must_answer(session, &call);
    session_call_end(&call);
}
