#include "client/lib/download.h"

#include "base/clock.h"
#include "base/digest.h"
#include "base/disk.h"
#include "base/scoped.h"
#include "client/lib/flight.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { RENEWED_MAX = 8, HASH_CHUNK = 256 << 10, FIRST_FAR = 12 << 10 };

struct receipt {
    const struct download *download;
    int fd;
    bool begun;   /* `entry` is known */
    bool broke;   /* a round ended before its end */
    uint64_t old; /* bytes that are of an earlier run */
    unsigned renewed;
    struct fileshare_entry entry;
    struct id version;
    uint64_t position; /* next to be asked for */
    uint64_t written;
    struct digest *digest; /* of what was written */
    bool is_file;
    struct flights flights;
};

/* ---- writing ---- */

static void show_progress(const struct receipt *receipt)
{
    const struct download *download = receipt->download;
    if (download->progress)
        download->progress(download->context, receipt->written, receipt->entry.size);
}

static enum outcome write_failed(const struct receipt *receipt, struct failure *why)
{
    return failure_system(why, OUTCOME_LOCAL, errno, "cannot write \"%s\"", receipt->download->label);
}

/* A pipe may stay full for long: whoever waits for it can be stopped. */
static enum outcome write_some(const struct receipt *receipt, const char *bytes, size_t count, size_t *done,
                               struct failure *why)
{
    const struct stop *stop = &receipt->download->session->stop;
    if (!receipt->is_file) {
        struct pollfd polls[2] = {{.fd = receipt->fd, .events = POLLOUT}, {.fd = stop->fd, .events = POLLIN}};
        poll(polls, 2, -1);
    }
    enum outcome outcome = stop_check(stop, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    ssize_t put = write(receipt->fd, bytes, count);
    if (put < 0 && errno != EINTR && errno != EAGAIN)
        return write_failed(receipt, why);
    *done = put > 0 ? (size_t)put : 0;
    return OUTCOME_OK;
}

static enum outcome write_all(const struct receipt *receipt, const char *bytes, size_t count,
                              struct failure *why)
{
    while (count > 0) {
        size_t done = 0;
        enum outcome outcome = write_some(receipt, bytes, count, &done, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        bytes += done;
        count -= done;
    }
    return OUTCOME_OK;
}

/* The reader of a pipe may go: that is a failed write, and no end of the process. */
static enum outcome write_quietly(const struct receipt *receipt, const char *bytes, size_t count,
                                  struct failure *why)
{
    if (receipt->is_file)
        return write_all(receipt, bytes, count, why);
    sigset_t pipe_only, before, pending;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    enum outcome outcome = write_all(receipt, bytes, count, why);
    if (outcome == OUTCOME_LOCAL && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe_only, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return outcome;
}

static enum outcome take_bytes(struct receipt *receipt, const fs_data *data, struct failure *why)
{
    enum outcome outcome = write_quietly(receipt, data->fs_data_val, data->fs_data_len, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    digest_add(receipt->digest, data->fs_data_val, data->fs_data_len);
    receipt->written += data->fs_data_len;
    show_progress(receipt);
    return OUTCOME_OK;
}

/* ---- where to ---- */

static void tell(const struct receipt *receipt, enum fileshare_incident_kind kind, const char *text)
{
    const struct download *download = receipt->download;
    session_tell(download->session, &(struct fileshare_incident){
                                        .kind = kind,
                                        .name = download->name,
                                        .text = text,
                                        .moved = receipt->written,
                                        .total = receipt->entry.size,
                                        .earlier = receipt->old > 0 && !receipt->broke,
                                    });
}

/* Takes the `held` bytes that are there into the digest. */
static enum outcome read_held(struct receipt *receipt, uint64_t held, struct failure *why)
{
    scoped_free uint8_t *bytes = malloc(HASH_CHUNK);
    if (!bytes)
        return failure_set(why, OUTCOME_NOMEM, "%s: no memory", receipt->download->subject);
    for (uint64_t at = 0; at < held;) {
        size_t count = held - at < HASH_CHUNK ? (size_t)(held - at) : HASH_CHUNK;
        enum outcome outcome = stop_check(&receipt->download->session->stop, why);
        if (outcome == OUTCOME_OK)
            outcome = disk_read_at(receipt->fd, bytes, count, at, receipt->download->label, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        digest_add(receipt->digest, bytes, count);
        at += count;
    }
    if (lseek(receipt->fd, (off_t)held, SEEK_SET) < 0)
        return write_failed(receipt, why);
    receipt->written = receipt->old = held;
    return OUTCOME_OK;
}

/* The version is known: its bytes get their place, and what that holds counts. */
static enum outcome take_place(struct receipt *receipt, bool anew, struct failure *why)
{
    const struct download *download = receipt->download;
    struct stat status;
    uint64_t held = 0;
    receipt->written = receipt->old = 0;
    digest_reset(receipt->digest);
    if (download->begin) {
        enum outcome outcome = download->begin(download->place, &receipt->entry, anew, &receipt->fd, &held,
                                               why);
        if (outcome == OUTCOME_OK)
            outcome = read_held(receipt, held, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    receipt->is_file = fstat(receipt->fd, &status) == 0 && S_ISREG(status.st_mode);
    if (held == 0)
        return OUTCOME_OK;
    tell(receipt, FILESHARE_RESUMED, "");
    show_progress(receipt);
    return OUTCOME_OK;
}

static enum outcome know_entry(struct receipt *receipt, const struct fileshare_entry *entry,
                               struct failure *why)
{
    receipt->entry = *entry;
    receipt->version = translate_id_private(&entry->version);
    receipt->begun = true;
    return take_place(receipt, false, why);
}

/* ---- asking ---- */

static size_t chunk_size(const struct receipt *receipt)
{
    size_t limit = receipt->download->session->greeting.data_max;
    return limit < FLIGHT_BYTES ? limit : FLIGHT_BYTES;
}

static enum outcome begin_call(const struct receipt *receipt, struct lane *lane, struct flight *flight,
                               uint64_t offset, size_t count, struct failure *why)
{
    fs_download_args args = {
        .name = translate_name(receipt->download->name),
        .revision = translate_id(&receipt->version),
        .offset = offset,
        .count = (u_int)count,
    };
    return lanes_begin(receipt->download->session, lane, &flight->call, FSPROC_DOWNLOAD,
                       (xdrproc_t)xdr_fs_download_args, &args, NULL, count, why);
}

static enum outcome ask(struct receipt *receipt, struct lane *lane, size_t count, struct failure *why)
{
    enum outcome outcome = begin_call(receipt, lane, flights_next(&receipt->flights), receipt->position,
                                      count, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    flights_add(&receipt->flights, receipt->position, count);
    receipt->position += count;
    return OUTCOME_OK;
}

/*
 * How large the file is only its first answer says. Far away a small one is there round trips before a large
 * one: what TCP sends at once to begin with is there in one, and meanwhile the rest is asked for.
 */
static enum outcome ask_first(struct receipt *receipt, struct failure *why)
{
    size_t size = chunk_size(receipt);
    if (flights_oldest(&receipt->flights))
        return OUTCOME_OK;
    return ask(receipt, lanes_pick(receipt->download->session, UINT64_MAX),
               flights_are_far(&receipt->flights) && size > FIRST_FAR ? FIRST_FAR : size, why);
}

/* What was lost with its lane, over another one. */
static enum outcome ask_again(struct receipt *receipt, struct failure *why)
{
    struct fileshare *session = receipt->download->session;
    enum outcome outcome = OUTCOME_OK;
    for (struct flight *lost; outcome == OUTCOME_OK && (lost = flights_lost(&receipt->flights));) {
        struct lane *lane = lanes_pick(session, UINT64_MAX);
        if (!lane)
            break;
        outcome = begin_call(receipt, lane, lost, lost->offset, lost->count, why);
    }
    return outcome;
}

static enum outcome fill_window(struct receipt *receipt, struct failure *why)
{
    struct fileshare *session = receipt->download->session;
    if (!receipt->begun)
        return ask_first(receipt, why);
    lanes_widen(session, receipt->entry.size - receipt->position);
    enum outcome outcome = ask_again(receipt, why);
    if (!flights_are_low(&receipt->flights))
        return outcome;
    while (outcome == OUTCOME_OK && flights_have_room(&receipt->flights) &&
           receipt->position < receipt->entry.size) {
        uint64_t left = receipt->entry.size - receipt->position;
        size_t count = lanes_piece(session, left, chunk_size(receipt));
        struct lane *lane = lanes_pick(session, left);
        if (!lane)
            break;
        outcome = ask(receipt, lane, count, why);
    }
    return outcome;
}

/* ---- answers ---- */

static enum outcome check_version(struct receipt *receipt, const fs_download *answer, struct failure *why)
{
    struct fileshare_entry entry;
    enum outcome outcome = translate_entry(&answer->entry, &entry, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    struct id version = translate_id_private(&entry.version);
    if (receipt->begun || !id_is_none(&receipt->version)) {
        if (!id_equal(&version, &receipt->version) || (receipt->begun && entry.size != receipt->entry.size))
            return failure_set(why, OUTCOME_PROTOCOL, "%s: the server answers for another version",
                               receipt->download->subject);
    }
    return receipt->begun ? OUTCOME_OK : know_entry(receipt, &entry, why);
}

static enum outcome take_answer(struct receipt *receipt, const fs_download *answer, struct failure *why)
{
    struct flight asked = *flights_oldest(&receipt->flights);
    enum outcome outcome = check_version(receipt, answer, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    size_t got = answer->content.fs_data_len;
    uint64_t left = receipt->entry.size - asked.offset;
    size_t due = left < asked.count ? (size_t)left : asked.count;
    if (got > due || (got == 0 && due > 0))
        return failure_set(why, OUTCOME_PROTOCOL, "%s: the server sends %zu bytes where %zu were asked for",
                           receipt->download->subject, got, due);
    /* The first answer says the version, whose place may hold these bytes already. */
    if (asked.offset == receipt->written)
        outcome = take_bytes(receipt, &answer->content, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (got == due)
        flights_heard(&receipt->flights);
    return OUTCOME_OK;
}

static enum outcome answer_outcome(const struct receipt *receipt, const fs_download_res *res,
                                   struct failure *why)
{
    if (res->status == FS_STALE)
        return failure_set(why, OUTCOME_STALE,
                           "%s: that version is no longer kept by the server; the newest may be another",
                           receipt->download->subject);
    return translate_outcome(res->status, &res->fs_download_res_u.failure.reason, receipt->download->subject,
                             why);
}

static enum outcome take_reply(struct receipt *receipt, struct failure *why)
{
    struct flights *flights = &receipt->flights;
    fs_download_res res = {0};
    struct lane_call *call = &flights_oldest(flights)->call;
    if (!lanes_wait(receipt->download->session, call))
        return OUTCOME_OK;
    enum outcome outcome = lanes_await(call, (xdrproc_t)xdr_fs_download_res, &res, why);
    if (outcome == OUTCOME_OK)
        outcome = answer_outcome(receipt, &res, why);
    if (outcome == OUTCOME_OK)
        outcome = take_answer(receipt, &res.fs_download_res_u.download, why);
    xdr_free((xdrproc_t)xdr_fs_download_res, &res);
    if (outcome != OUTCOME_OK)
        return outcome;
    flights_end_oldest(flights);
    struct flight *next = flights_oldest(flights);
    /* After a short answer the others do not fit any more; after the first one the file may be at its end. */
    if (!next || next->offset != receipt->written) {
        flights_drop(flights);
        receipt->position = receipt->written;
    }
    return OUTCOME_OK;
}

/* A later round begins: how far we are. */
static void tell_resumed(const struct receipt *receipt)
{
    if (receipt->broke && receipt->begun && receipt->written > 0)
        tell(receipt, FILESHARE_RESUMED, "");
}

static enum outcome receive_round(struct receipt *receipt, struct failure *why)
{
    receipt->position = receipt->written;
    struct fileshare *session = receipt->download->session;
    enum outcome outcome = lanes_ready(session, why);
    if (outcome == OUTCOME_OK) {
        flights_start(&receipt->flights, session);
        if (flights_are_far(&receipt->flights))
            rpc_client_expect_much(session->client);
        tell_resumed(receipt);
    }
    while (outcome == OUTCOME_OK) {
        outcome = stop_check(&session->stop, why);
        if (outcome == OUTCOME_OK)
            outcome = fill_window(receipt, why);
        if (outcome == OUTCOME_OK && !flights_oldest(&receipt->flights))
            break;
        if (outcome == OUTCOME_OK)
            outcome = take_reply(receipt, why);
    }
    flights_drop(&receipt->flights);
    return outcome;
}

static enum outcome check_digest(const struct receipt *receipt, struct failure *why)
{
    struct digest_value digest = digest_value(receipt->digest);
    if (memcmp(digest.octets, receipt->entry.digest, sizeof digest.octets) == 0)
        return OUTCOME_OK;
    return failure_set(why, OUTCOME_CORRUPT, "%s: the bytes that came do not match the file's digest",
                       receipt->download->subject);
}

/*
 * Whether all of it is got anew: bytes of an earlier run that do not fit, or a
 * version that is gone while the newest was wanted. OK, or what it failed with.
 */
static bool is_renewed(struct receipt *receipt, enum outcome *outcome, struct failure *why)
{
    const struct download *download = receipt->download;
    bool is_spoilt = *outcome == OUTCOME_CORRUPT && receipt->begun && receipt->old > 0;
    bool is_gone = *outcome == OUTCOME_STALE && id_is_none(&download->version);
    if (!download->begin || (!is_spoilt && !is_gone) || receipt->renewed++ == RENEWED_MAX)
        return false;
    tell(receipt, FILESHARE_ANEW,
         is_spoilt ? "what was kept of it does not match the file's digest"
                   : "it was replaced on the server meanwhile");
    if (is_gone) {
        receipt->begun = false;
        receipt->version = download->version;
        receipt->written = receipt->old = 0;
        return true;
    }
    *outcome = take_place(receipt, true, why);
    return *outcome == OUTCOME_OK;
}

static enum outcome receive(struct receipt *receipt, struct failure *why)
{
    struct fileshare *session = receipt->download->session;
    struct retry retry;
    retry_init(&retry);
    uint64_t best = 0;
    flights_init(&receipt->flights, WINDOW_NEAR, WINDOW_MOST);
    for (;;) {
        enum outcome outcome = receive_round(receipt, why);
        if (outcome == OUTCOME_OK)
            outcome = check_digest(receipt, why);
        if (outcome == OUTCOME_OK)
            return OUTCOME_OK;
        flights_narrow(&receipt->flights); /* what was under way went in vain */
        if (stop_is_asked(&session->stop))
            outcome = stop_check(&session->stop, why);
        if (is_renewed(receipt, &outcome, why)) {
            best = 0;
            continue;
        }
        if (receipt->written > best) {
            best = receipt->written;
            retry_reset(&retry);
        }
        if (!retry_again(&retry, session, &outcome, why))
            return outcome;
        receipt->broke = true;
    }
}

static void digest_free_at(struct digest **digest)
{
    digest_free(*digest);
}

bool download_is_only_broken(enum outcome outcome)
{
    return outcome == OUTCOME_UNREACHABLE || outcome == OUTCOME_TIMEOUT || outcome == OUTCOME_UNAVAILABLE ||
           outcome == OUTCOME_UNKNOWN || outcome == OUTCOME_STOPPED;
}

enum outcome download_receive(const struct download *download, struct fileshare_entry *out,
                              struct failure *why)
{
    scoped(digest_free_at) struct digest *digest = digest_new();
    if (!digest)
        return failure_set(why, OUTCOME_NOMEM, "%s: no memory", download->subject);
    struct receipt receipt = {
        .download = download,
        .fd = download->fd,
        .version = download->version,
        .entry = {.size = UINT64_MAX},
        .digest = digest,
    };
    enum outcome outcome = download->known ? know_entry(&receipt, download->known, why) : OUTCOME_OK;
    if (outcome == OUTCOME_OK)
        outcome = receive(&receipt, why);
    if (outcome == OUTCOME_OK)
        *out = receipt.entry;
    return outcome;
}
