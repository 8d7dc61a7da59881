#include "client/lib/upload.h"

#include "base/scoped.h"
#include "client/lib/flight.h"
#include "client/lib/unfinished.h"
#include "client/lib/upload_small.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    STALLS_MAX = 64,      /* rewinds in a row without a byte of progress */
    DISORDERS_MAX = 3,    /* rewinds, until there is one connection for the rest of it */
    VANISHED_MAX = 3,     /* how often the server may have dropped the upload in the middle */
    QUIET_MS = 20 * 1000, /* a slow pipe: say something to the server so often */
    WINDOW_OF_PIPE = CONTENT_KEPT - FLIGHT_BYTES /* what went in vain can be read again */
};

/* ---- bytes ---- */

struct stream {
    const struct upload *upload;
    struct id id;
    int64_t mtime;
    struct unfinished note;
    bool earlier; /* the id is of an earlier run */
    bool broke;   /* a round ended before its end */
    unsigned vanished;
    uint64_t position; /* next to be sent */
    uint64_t sent;     /* the end of what was ever sent */
    uint64_t held;     /* by the server, as far as we know */
    unsigned stalls;
    unsigned disorders; /* rewinds while there were several lanes */
    bool opened;        /* the server has it, as far as we know */
    bool in_doubt; /* a COMMIT went out that may be done, or still be at work; under an earlier id, too */
    struct flights flights;
};

struct chunk {
    struct bulk_source source;
    struct content *content;
    uint64_t offset;
    enum outcome outcome;
    struct failure why;
};

static bool chunk_fill(struct bulk_source *source, void *to, size_t count)
{
    struct chunk *chunk = (struct chunk *)source;
    chunk->outcome = content_copy(chunk->content, chunk->offset, to, count, &chunk->why);
    return chunk->outcome == OUTCOME_OK;
}

static enum outcome send_chunk(struct stream *stream, struct lane *lane, struct flight *flight,
                               uint64_t offset, size_t count, struct failure *why)
{
    struct chunk chunk = {.source = {.fill = chunk_fill},
                          .content = stream->upload->content,
                          .offset = offset,
                          .outcome = OUTCOME_OK};
    fs_upload_data_args args = {
        .upload = translate_id(&stream->id),
        .offset = offset,
        .content = {.fs_data_len = (u_int)count, .fs_data_val = (char *)&chunk.source},
    };
    enum outcome outcome = lanes_begin(stream->upload->session, lane, &flight->call, FSPROC_UPLOAD_DATA,
                                       (xdrproc_t)xdr_fs_upload_data_args, &args, &chunk.source, count, why);
    if (outcome != OUTCOME_OK && chunk.outcome != OUTCOME_OK)
        return failure_set(why, chunk.outcome, "%s", chunk.why.text);
    return outcome;
}

static enum outcome send_next(struct stream *stream, struct lane *lane, size_t count, struct failure *why)
{
    struct flight *flight = flights_next(&stream->flights);
    enum outcome outcome = send_chunk(stream, lane, flight, stream->position, count, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    flights_add(&stream->flights, stream->position, count);
    stream->position += count;
    if (stream->position > stream->sent)
        stream->sent = stream->position;
    return OUTCOME_OK;
}

/* What was lost with its lane, over another one. */
static enum outcome send_again(struct stream *stream, struct failure *why)
{
    struct fileshare *session = stream->upload->session;
    enum outcome outcome = OUTCOME_OK;
    for (struct flight *lost; outcome == OUTCOME_OK && (lost = flights_lost(&stream->flights));) {
        struct lane *lane = lanes_pick(session, UINT64_MAX);
        if (!lane)
            break;
        outcome = send_chunk(stream, lane, lost, lost->offset, lost->count, why);
    }
    return outcome;
}

/* A pipe that gives nothing for long: the server shall not think that we are gone. */
static enum outcome stay_in_touch(struct fileshare *session, struct failure *why)
{
    return rpc_client_outcome(session->client, fsproc_null_1(NULL, NULL, rpc_client_handle(session->client)),
                              why);
}

/* Of a file; of a pipe nobody knows. */
static uint64_t left_of(const struct stream *stream)
{
    const struct content *content = stream->upload->content;
    if (!content_is_file(content))
        return UINT64_MAX;
    return content_size(content) > stream->position ? content_size(content) - stream->position : 0;
}

static enum outcome fill_window(struct stream *stream, struct failure *why)
{
    struct fileshare *session = stream->upload->session;
    size_t limit = session->greeting.data_max;
    if (limit > FLIGHT_BYTES)
        limit = FLIGHT_BYTES;
    lanes_widen(session, left_of(stream));
    enum outcome outcome = send_again(stream, why);
    while (outcome == OUTCOME_OK && flights_have_room(&stream->flights)) {
        struct lane *lane = lanes_pick(session, left_of(stream));
        if (!lane)
            break;
        size_t available = 0, want = lanes_piece(session, left_of(stream), limit);
        outcome = content_peek(stream->upload->content, stream->position, want, QUIET_MS, &available, why);
        if (outcome == OUTCOME_TIMEOUT && stream->flights.count > 0)
            return OUTCOME_OK;
        if (outcome == OUTCOME_TIMEOUT) {
            outcome = stay_in_touch(session, why);
            if (outcome == OUTCOME_OK)
                continue;
        }
        if (outcome != OUTCOME_OK || available == 0)
            return outcome;
        outcome = send_next(stream, lane, available, why);
    }
    return outcome;
}

static enum outcome await_oldest(struct stream *stream, fs_upload_data_res *res, struct failure *why)
{
    enum outcome outcome = lanes_await(&flights_oldest(&stream->flights)->call,
                                       (xdrproc_t)xdr_fs_upload_data_res, res, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (res->status == FS_OK || res->status == FS_OFFSET) {
        if (res->held > stream->sent)
            return failure_set(why, OUTCOME_PROTOCOL, "%s: the server holds more than was sent",
                               stream->upload->subject);
        if (res->held > stream->held) {
            stream->held = res->held;
            stream->stalls = 0;
        }
        return OUTCOME_OK;
    }
    return translate_outcome(res->status, &res->reason, stream->upload->subject, why);
}

/* Hears all that is under way, but for what was lost. */
static enum outcome hear_all(struct stream *stream, struct failure *why)
{
    while (flights_oldest(&stream->flights)) {
        struct lane_call *call = &flights_oldest(&stream->flights)->call;
        fs_upload_data_res res = {0};
        if (!call->lost && !lanes_wait(stream->upload->session, call))
            continue;
        enum outcome outcome = call->lost ? OUTCOME_OK : await_oldest(stream, &res, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        flights_end_oldest(&stream->flights);
    }
    return OUTCOME_OK;
}

/* Some bytes went in vain: goes on from what is held. */
static enum outcome rewind_to_held(struct stream *stream, struct failure *why)
{
    enum outcome outcome = hear_all(stream, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    stream->position = stream->held;
    flights_narrow(&stream->flights);
    /* A server may take bytes only where those that it holds end. */
    if (stream->upload->session->lanes.count > 1 && ++stream->disorders > DISORDERS_MAX)
        lanes_narrow(stream->upload->session);
    if (++stream->stalls > STALLS_MAX)
        return failure_set(why, OUTCOME_PROTOCOL, "%s: the server takes no more of it at byte %llu",
                           stream->upload->subject, (unsigned long long)stream->held);
    return OUTCOME_OK;
}

/* Whether the server has the bytes of the oldest, whatever it says: another copy of them came before. */
static bool has_oldest(const struct stream *stream, const struct flight *oldest)
{
    return stream->held >= oldest->offset + oldest->count;
}

static enum outcome take_reply(struct stream *stream, struct failure *why)
{
    const struct upload *upload = stream->upload;
    struct flight *oldest = flights_oldest(&stream->flights);
    fs_upload_data_res res = {0};
    if (!lanes_wait(upload->session, &oldest->call))
        return OUTCOME_OK;
    enum outcome outcome = await_oldest(stream, &res, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    bool in_vain = res.status == FS_OFFSET && !has_oldest(stream, oldest);
    if (res.status == FS_OK)
        flights_heard(&stream->flights);
    flights_end_oldest(&stream->flights);
    if (in_vain)
        return rewind_to_held(stream, why);
    if (upload->progress)
        upload->progress(upload->context, stream->held, content_size(upload->content));
    return OUTCOME_OK;
}

static enum outcome send_all(struct stream *stream, struct failure *why)
{
    for (;;) {
        enum outcome outcome = stop_check(&stream->upload->session->stop, why);
        if (outcome == OUTCOME_OK)
            outcome = fill_window(stream, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        if (flights_oldest(&stream->flights))
            outcome = take_reply(stream, why);
        else if (stream->held < stream->position)
            outcome = rewind_to_held(stream, why); /* all of it was taken, and some is missing */
        else
            return OUTCOME_OK;
        if (outcome != OUTCOME_OK)
            return outcome;
    }
}

static enum outcome send_data(struct stream *stream, struct failure *why)
{
    struct fileshare *session = stream->upload->session;
    enum outcome outcome = lanes_ready(session, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    /* While a pipe is waited for nobody would care for several connections. */
    if (!content_is_file(stream->upload->content) || stream->disorders > DISORDERS_MAX)
        lanes_narrow(session);
    flights_start(&stream->flights, session);
    outcome = send_all(stream, why);
    return outcome == OUTCOME_OK ? content_settle(stream->upload->content, why) : outcome;
}

/* ---- rounds ---- */

/* Whether what arrived may still be of use: nothing is wrong with it, only the way broke, or we were stopped. */
static bool is_only_broken(enum outcome outcome)
{
    return outcome == OUTCOME_UNREACHABLE || outcome == OUTCOME_TIMEOUT || outcome == OUTCOME_UNAVAILABLE ||
           outcome == OUTCOME_UNKNOWN || outcome == OUTCOME_STOPPED;
}

static void abort_upload(struct stream *stream, const struct id *id)
{
    struct fileshare *session = stream->upload->session;
    fs_upload_abort_args args = {.upload = translate_id(id)};
    fs_done_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_ABORT, fs_upload_abort_args, &args, fs_done_res,
                                            &res);
    /* If it is not heard, the server drops the upload when it was idle for long enough. */
    enum outcome ignored = session_try(session, &call, NULL);
    (void)ignored;
    session_call_end(&call);
}

static void tell(const struct stream *stream, enum fileshare_incident_kind kind, const char *text)
{
    const struct upload *upload = stream->upload;
    session_tell(upload->session, &(struct fileshare_incident){
                                      .kind = kind,
                                      .name = upload->name,
                                      .text = text,
                                      .moved = stream->held,
                                      .total = content_size(upload->content),
                                      .earlier = stream->earlier && !stream->broke,
                                  });
}

/* Another id, noted before the server hears of it; without a note a later run can't go on, and that is all. */
static void take_id(struct stream *stream)
{
    const struct upload *upload = stream->upload;
    char path[4096];
    stream->id = id_random();
    stream->position = stream->held = stream->sent = 0;
    stream->earlier = stream->opened = false;
    if (stream->note.fd < 0)
        return;
    const struct unfinished_key key = {upload->session->state_folder, upload->session->greeting.instance,
                                       upload->name, path};
    stream->note.upload = stream->id;
    stream->note.replace = upload->policy == FS_REPLACE;
    if (!content_identity(upload->content, &stream->note.source) ||
        !content_path(upload->content, path, sizeof path) ||
        unfinished_write(&stream->note, &key, NULL) != OUTCOME_OK)
        unfinished_end(&stream->note, false);
}

/* What is held is given up, and all is sent under another id. */
static void begin_anew(struct stream *stream, const char *text)
{
    struct id old = stream->id;
    if (text)
        tell(stream, FILESHARE_ANEW, text);
    take_id(stream);
    abort_upload(stream, &old);
}

/* Whether the server's held bytes are ours. */
static enum outcome is_ours(const struct stream *stream, const fs_upload_state *state, bool *out,
                            struct failure *why)
{
    struct content *content = stream->upload->content;
    *out = true;
    if (state->held == 0 || !content_is_file(content))
        return OUTCOME_OK; /* a pipe's are compared by the digest of the COMMIT */
    *out = false;
    if (state->held > content_size(content) || state->digest.fs_digest_len != DIGEST_SIZE)
        return OUTCOME_OK;
    struct digest_value digest;
    enum outcome outcome = content_digest_to(content, state->held, &digest, why);
    if (outcome == OUTCOME_OK)
        *out = memcmp(state->digest.fs_digest_val, digest.octets, DIGEST_SIZE) == 0;
    return outcome;
}

/* Where this round begins. */
static void go_on_from(struct stream *stream, uint64_t held)
{
    const struct upload *upload = stream->upload;
    bool lost_all = held == 0 && stream->held > 0;
    stream->position = stream->held = held;
    if (stream->sent < held)
        stream->sent = held;
    if (held > 0 && (stream->earlier || stream->broke))
        tell(stream, FILESHARE_RESUMED, "");
    else if (lost_all)
        tell(stream, FILESHARE_ANEW, "the server holds nothing of it any more");
    if (held > 0 && upload->progress)
        upload->progress(upload->context, held, content_size(upload->content));
}

/* How an OPEN went. */
struct opened {
    bool published; /* it was committed before, and `entry` is what it made */
    bool again;     /* not with this id: begin anew */
    struct fileshare_entry entry;
};

static enum outcome take_state(struct stream *stream, const fs_upload_state *state, struct opened *out,
                               struct failure *why)
{
    if (state->published) {
        /* By an earlier run: the name may hold another version by now, which the usual way finds out. */
        out->published = !stream->earlier;
        out->again = stream->earlier;
        return translate_entry(state->published, &out->entry, why);
    }
    bool ours = true;
    enum outcome outcome = is_ours(stream, state, &ours, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (ours) {
        go_on_from(stream, state->held);
        return OUTCOME_OK;
    }
    out->again = true;
    tell(stream, FILESHARE_ANEW, "what the server holds is not how the file begins");
    return OUTCOME_OK;
}

static enum outcome open_upload(struct stream *stream, struct opened *out, struct failure *why)
{
    const struct upload *upload = stream->upload;
    uint64_t size = content_size(upload->content);
    fs_upload_open_args args = {
        .upload = translate_id(&stream->id),
        .name = translate_name(upload->name),
        .policy = upload->policy,
        .size_known = size != UINT64_MAX,
        .size = size != UINT64_MAX ? size : 0,
    };
    fs_upload_open_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_OPEN, fs_upload_open_args, &args,
                                            fs_upload_open_res, &res);
    *out = (struct opened){.published = false};
    enum outcome outcome = session_try(upload->session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_upload_open_res_u.failure.reason, upload->subject,
                                    why);
    if (outcome == OUTCOME_OK) {
        stream->opened = true;
        outcome = take_state(stream, &res.fs_upload_open_res_u.state, out, why);
    } else if (stream->earlier && (outcome == OUTCOME_DENIED || outcome == OUTCOME_INVALID)) {
        /* The server takes us for somebody else than the one who began it. */
        out->again = true;
        outcome = OUTCOME_OK;
    }
    session_call_end(&call);
    return outcome;
}

static enum outcome commit_upload(struct stream *stream, struct fileshare_entry *out, struct failure *why)
{
    const struct upload *upload = stream->upload;
    struct digest_value digest = content_digest(upload->content);
    fs_upload_commit_args args = {
        .upload = translate_id(&stream->id),
        .size = content_size(upload->content),
        .digest = translate_digest(&digest),
        .mtime = event_time_to_wire(stream->mtime),
    };
    fs_entry_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_COMMIT, fs_upload_commit_args, &args, fs_entry_res,
                                            &res);
    enum outcome outcome = session_try(upload->session, &call, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_entry_res_u.failure.reason, upload->subject, why);
    stream->in_doubt |= is_only_broken(outcome) && outcome != OUTCOME_UNAVAILABLE;
    if (outcome == OUTCOME_OK)
        outcome = translate_entry(&res.fs_entry_res_u.entry, out, why);
    session_call_end(&call);
    return outcome;
}

static enum outcome send_round(struct stream *stream, struct fileshare_entry *out, struct failure *why)
{
    struct opened opened;
    enum outcome outcome = open_upload(stream, &opened, why);
    if (outcome == OUTCOME_OK && opened.again) {
        begin_anew(stream, NULL);
        outcome = open_upload(stream, &opened, why);
        if (outcome == OUTCOME_OK && opened.again)
            outcome = failure_set(why, OUTCOME_PROTOCOL, "%s: the server holds bytes of a new upload",
                                  stream->upload->subject);
    }
    if (outcome != OUTCOME_OK)
        return outcome;
    if (opened.published) {
        *out = opened.entry;
        return OUTCOME_OK;
    }
    outcome = send_data(stream, why);
    return outcome == OUTCOME_OK ? commit_upload(stream, out, why) : outcome;
}

/* After a round that broke: the file may be another by now. */
static enum outcome look_again(struct stream *stream, struct failure *why)
{
    struct content_identity before, now;
    bool changed = false;
    bool is_file = content_identity(stream->upload->content, &before);
    enum outcome outcome = content_renew(stream->upload->content, &changed, why);
    if (outcome != OUTCOME_OK || !changed || !is_file)
        return outcome;
    content_identity(stream->upload->content, &now);
    if (stream->mtime == before.mtime)
        stream->mtime = now.mtime;
    begin_anew(stream, "the file changed meanwhile");
    return OUTCOME_OK;
}

/* ---- from run to run ---- */

/* Takes up what an earlier run left of this upload; else begins with an id of its own. */
static void recall(struct stream *stream)
{
    const struct upload *upload = stream->upload;
    struct content_identity source;
    char path[4096];
    if (!upload->keep || !content_identity(upload->content, &source) ||
        !content_path(upload->content, path, sizeof path)) {
        take_id(stream);
        return;
    }
    const struct unfinished_key key = {upload->session->state_folder, upload->session->greeting.instance,
                                       upload->name, path};
    if (unfinished_hold(&key, true, &stream->note, NULL) != OUTCOME_OK || !stream->note.there) {
        take_id(stream);
        return;
    }
    stream->id = stream->note.upload;
    stream->earlier = true;
    if (!content_identity_equal(&stream->note.source, &source))
        begin_anew(stream, "the file changed since an earlier upload of it was broken off");
    else if (stream->note.replace != (upload->policy == FS_REPLACE))
        begin_anew(stream, "an earlier upload of it was begun otherwise as to replacing");
}

/* One that goes in one call needs nothing of what an earlier run left, when the file was larger. */
static void drop_unfinished(const struct upload *upload)
{
    struct stream stream = {.upload = upload, .note = {.fd = -1}};
    char path[4096];
    const struct unfinished_key key = {upload->session->state_folder, upload->session->greeting.instance,
                                       upload->name, path};
    if (!upload->keep || !content_path(upload->content, path, sizeof path) ||
        unfinished_hold(&key, false, &stream.note, NULL) != OUTCOME_OK)
        return;
    if (stream.note.there) {
        tell(&stream, FILESHARE_ANEW, "the file changed since an earlier upload of it was broken off");
        abort_upload(&stream, &stream.note.upload);
    }
    unfinished_end(&stream.note, false);
}

static void give_up(struct stream *stream, enum outcome outcome)
{
    if (stream->note.fd >= 0 && is_only_broken(outcome)) {
        if (stream->held > 0)
            tell(stream, FILESHARE_KEPT, "");
        unfinished_end(&stream->note, true);
        return;
    }
    if (outcome == OUTCOME_STOPPED)
        stop_take(&stream->upload->session->stop); /* who asks once more stops the abort, too */
    if (stream->opened && outcome != OUTCOME_UNREACHABLE && outcome != OUTCOME_TIMEOUT)
        abort_upload(stream, &stream->id);
    unfinished_end(&stream->note, false);
}

/* Whether the server dropped the upload in the middle, which then begins anew under the same id. */
static bool has_vanished(struct stream *stream, enum outcome outcome)
{
    return outcome == OUTCOME_ABSENT && stream->opened && stream->vanished++ < VANISHED_MAX;
}

static enum outcome send_large(const struct upload *upload, struct fileshare_entry *out, struct failure *why)
{
    struct stream stream = {.upload = upload, .mtime = upload->mtime, .note = {.fd = -1}};
    struct retry retry;
    retry_init(&retry);
    uint64_t best = 0;
    flights_init(&stream.flights, WINDOW_NEAR,
                 content_is_file(upload->content) ? WINDOW_MOST : WINDOW_OF_PIPE);
    recall(&stream);
    for (;;) {
        stream.stalls = 0;
        enum outcome outcome = stream.broke ? look_again(&stream, why) : OUTCOME_OK;
        if (outcome == OUTCOME_OK)
            outcome = send_round(&stream, out, why);
        if (outcome == OUTCOME_NOSPACE && stream.in_doubt)
            outcome = session_no_room_in_doubt(why);
        flights_drop(&stream.flights);
        stream.broke = true;
        if (outcome == OUTCOME_OK) {
            unfinished_end(&stream.note, false);
            return OUTCOME_OK;
        }
        flights_narrow(&stream.flights); /* what was under way went in vain */
        if (stop_is_asked(&upload->session->stop))
            outcome = stop_check(&upload->session->stop, why);
        if (stream.held > best) {
            best = stream.held;
            retry_reset(&retry);
        }
        if (has_vanished(&stream, outcome) || retry_again(&retry, upload->session, &outcome, why))
            continue;
        give_up(&stream, outcome);
        return outcome;
    }
}

enum outcome upload_send(const struct upload *upload, struct fileshare_entry *out, struct failure *why)
{
    size_t limit = upload->session->greeting.data_max;
    size_t small = limit < FLIGHT_BYTES ? limit : FLIGHT_BYTES;
    size_t available = 0;
    enum outcome outcome = content_peek(upload->content, 0, small + 1, UINT32_MAX, &available, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (available > small)
        return send_large(upload, out, why);
    drop_unfinished(upload);
    return upload_small(upload, available, out, why);
}
