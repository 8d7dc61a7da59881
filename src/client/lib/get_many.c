/*
 * fileshare_get_many: many whole files in one call, several calls under way.
 *
 * Answers are taken in the order of the calls. A call that was answered in part,
 * since no more fits into a reply, asks for its rest; a file that fits into none
 * comes by itself, after those before it. After a lost connection all that is
 * not answered is asked for again; after an answer that says "try again", what
 * that call asked for.
 */
#include "client/lib/get.h"

#include "base/scoped.h"
#include "client/lib/landing.h"
#include "client/lib/names.h"
#include "client/lib/pace.h"

#include <stdlib.h>
#include <string.h>

enum {
    ALONE_FROM = 512 << 10, /* bytes; what is said to be larger comes by itself */
    BYTES_FIRST = 64 << 10,
    BYTES_MOST = 1 << 20, /* of a reply */
    FILE_WIRE = 256,      /* of a reply, beside content and name, about */
    GUESS_FIRST = 32,     /* files, while their sizes are not known */
};

struct wanted {
    struct fileshare_get_file file;
    struct failure *trouble; /* why it is not asked for, or NULL */
};

/* Files of one call. */
struct request {
    struct wanted files[FS_MANY_MAX];
    size_t count;
    size_t done;  /* of these, told or handed over */
    size_t bytes; /* of its answer, about */
    struct lane_call call;
};

struct receiving {
    struct fileshare *session;
    const struct fileshare_get_many *many;
    struct landing landing;
    struct request *requests[PACE_MOST]; /* `count` under way, oldest first; then spare ones, or NULL */
    unsigned count;
    struct pace pace;
    size_t bytes, guess;            /* of the next request, by what is known of its files */
    struct fileshare_get_file file; /* taken, and in no request yet */
    bool has_file, ended;
    bool alone;           /* that file comes by itself */
    bool final;           /* what is answered "try again" is told so */
    bool moves;           /* something came since the last failure */
    uint64_t moved, came; /* bytes, and files in whole answers */
    struct retry retry;
};

/* ---- telling ---- */

static void tell(void *context, const struct fileshare_get_file *file, enum outcome outcome,
                 const struct fileshare_entry *entry, const struct failure *why)
{
    const struct receiving *receiving = context;
    struct fileshare_error error = {.status = FILESHARE_OK};
    struct failure here = why ? *why : (struct failure){.outcome = OUTCOME_OK};
    if (outcome != OUTCOME_OK)
        translate_report(translate_here(outcome, &here), &here, &error);
    receiving->many->told(receiving->many->context, file, outcome == OUTCOME_OK ? entry : NULL, &error);
}

static void show_moved(void *context, uint64_t moved, uint64_t total)
{
    const struct receiving *receiving = context;
    (void)total;
    if (receiving->many->progress)
        receiving->many->progress(receiving->many->context, receiving->moved + moved, UINT64_MAX);
}

/* ---- requests ---- */

static void request_forget(struct request *request)
{
    lanes_end(&request->call);
}

static void request_reset(struct request *request)
{
    request_forget(request);
    for (size_t i = 0; i < request->count; i++)
        free(request->files[i].trouble);
    request->count = request->done = request->bytes = 0;
}

static void add_wanted(struct receiving *receiving, struct request *request)
{
    struct wanted *wanted = &request->files[request->count++];
    char name[NAME_BUFFER], subject[NAMES_SUBJECT_SIZE];
    struct failure why;
    *wanted = (struct wanted){.file = receiving->file};
    receiving->has_file = false;
    enum outcome outcome = names_check(wanted->file.name, names_subject(wanted->file.name, subject), name,
                                       &why);
    if (outcome == OUTCOME_OK)
        outcome = landing_look(&receiving->landing, &wanted->file, &why);
    if (outcome == OUTCOME_OK)
        return;
    wanted->trouble = malloc(sizeof why);
    if (wanted->trouble)
        *wanted->trouble = why;
}

static bool has_next(struct receiving *receiving)
{
    if (!receiving->has_file && !receiving->ended) {
        receiving->has_file = receiving->many->next(receiving->many->context, &receiving->file);
        receiving->ended = !receiving->has_file;
    }
    return receiving->has_file;
}

/* What a file whose size is not known may take of a reply, by those that came. */
static size_t usual_size(const struct receiving *receiving)
{
    return receiving->came > 0 ? (size_t)(receiving->moved / receiving->came) + FILE_WIRE
                               : BYTES_FIRST / GUESS_FIRST;
}

/* How many of them one request may have. Where calls are bound late they are not to be large. */
static size_t guess_of(const struct receiving *receiving)
{
    size_t fit = receiving->bytes / usual_size(receiving);
    if (!receiving->session->lanes.late || receiving->guess < fit)
        return receiving->guess;
    return fit > 0 ? fit : 1;
}

/* False: there is nothing for it now. */
static bool fill(struct receiving *receiving, struct request *request)
{
    size_t bytes = 0, unknown = 0;
    while (!receiving->alone && request->count < FS_MANY_MAX && has_next(receiving)) {
        const struct fileshare_get_file *file = &receiving->file;
        bool known = file->size != UINT64_MAX;
        if (known && file->size > ALONE_FROM) {
            receiving->alone = true;
            break;
        }
        bytes += known ? (size_t)file->size + strlen(file->name) + FILE_WIRE : 0;
        unknown += !known;
        if (request->count > 0 && (bytes > receiving->bytes || unknown > guess_of(receiving)))
            break;
        add_wanted(receiving, request);
        /* What is not known may fill a reply. */
        request->bytes = unknown == 0                     ? bytes
                         : receiving->session->lanes.late ? bytes + unknown * usual_size(receiving)
                                                          : BYTES_MOST;
    }
    return request->count > 0;
}

/* Asks for what is not done yet. */
static enum outcome request_send(struct request *request, struct fileshare *session, struct lane *lane,
                                 struct failure *why)
{
    fs_download_one ones[FS_MANY_MAX];
    fs_download_many_args args = {.files = {.files_val = ones}};
    for (size_t i = request->done; i < request->count; i++)
        if (!request->files[i].trouble)
            ones[args.files.files_len++] = (fs_download_one){
                .name = translate_name(request->files[i].file.name)};
    if (args.files.files_len == 0)
        return OUTCOME_OK;
    return lanes_begin(session, lane, &request->call, FSPROC_DOWNLOAD_MANY,
                       (xdrproc_t)xdr_fs_download_many_args, &args, NULL, request->bytes, why);
}

/* There is a connection, and how far away the server is known. */
static enum outcome get_ready(struct receiving *receiving, struct failure *why)
{
    struct fileshare *session = receiving->session;
    unsigned before = receiving->pace.connection;
    enum outcome outcome = lanes_ready_paced(session, &receiving->pace, why);
    if (outcome == OUTCOME_OK && receiving->pace.connection != before && session->lanes.late)
        rpc_client_expect_much(session->client);
    return outcome;
}

static enum outcome send_requests(struct receiving *receiving, struct failure *why)
{
    struct fileshare *session = receiving->session;
    enum outcome outcome = get_ready(receiving, why);
    for (unsigned i = 0; i < receiving->count && outcome == OUTCOME_OK; i++) {
        if (receiving->requests[i]->call.pending)
            continue;
        struct lane *lane = lanes_pick(session, UINT64_MAX);
        if (!lane)
            break;
        outcome = request_send(receiving->requests[i], session, lane, why);
    }
    return outcome;
}

/* More than one request is as good as much. */
static void widen(struct receiving *receiving)
{
    if (has_next(receiving))
        lanes_widen(receiving->session, UINT64_MAX);
}

/*
 * How far away the server is says how much the first call asks for. Without a connection there is a
 * request all the same: whose files are told so in the end.
 */
static enum outcome fill_window(struct receiving *receiving, struct failure *why)
{
    enum outcome outcome = has_next(receiving) ? get_ready(receiving, why) : OUTCOME_OK;
    while (receiving->count == 0 ||
           (outcome == OUTCOME_OK && lanes_have_room(receiving->session, &receiving->pace))) {
        struct request **request = &receiving->requests[receiving->count];
        if (!*request && !(*request = calloc(1, sizeof **request)))
            return failure_set(why, OUTCOME_NOMEM, "no memory for a download");
        if (!fill(receiving, *request)) {
            if (receiving->count == 0)
                return OUTCOME_OK;
            break;
        }
        receiving->count++;
        pace_add(&receiving->pace, (*request)->bytes);
        size_t most = lanes_piece(receiving->session, UINT64_MAX, BYTES_MOST);
        receiving->bytes = 2 * receiving->bytes < most ? 2 * receiving->bytes : most;
        if (outcome == OUTCOME_OK)
            outcome = send_requests(receiving, why);
        if (outcome == OUTCOME_OK)
            widen(receiving);
    }
    /* That packets are lost may be seen while there is no room, too. */
    if (outcome == OUTCOME_OK && receiving->count > 0)
        widen(receiving);
    return outcome == OUTCOME_OK && receiving->count > 0 ? send_requests(receiving, why) : outcome;
}

/* The oldest request is done, and becomes a spare one. */
static void rotate(struct receiving *receiving)
{
    struct request *oldest = receiving->requests[0];
    landing_settle(&receiving->landing);
    pace_end(&receiving->pace, oldest->bytes);
    request_reset(oldest);
    memmove(receiving->requests, receiving->requests + 1, (PACE_MOST - 1) * sizeof(struct request *));
    receiving->requests[PACE_MOST - 1] = oldest;
    receiving->count--;
}

/* ---- answers ---- */

static enum outcome take_whole(struct receiving *receiving, const struct fileshare_get_file *file,
                               const fs_download *download, struct failure *why)
{
    char subject[NAMES_SUBJECT_SIZE];
    struct fileshare_entry entry;
    enum outcome outcome = translate_entry(&download->entry, &entry, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (download->content.fs_data_len != entry.size)
        return failure_set(why, OUTCOME_PROTOCOL, "%s: the server sends %u bytes of %llu as all of them",
                           names_subject(file->name, subject), download->content.fs_data_len,
                           (unsigned long long)entry.size);
    receiving->moved += entry.size;
    receiving->came++;
    return landing_add(&receiving->landing, file, &entry, &download->content, why);
}

/* UNAVAILABLE, UNKNOWN: to be asked for again. All else is told. *alone: it comes by itself. */
static enum outcome take_answer(struct receiving *receiving, const struct fileshare_get_file *file,
                                const fs_download_res *answer, bool *alone, struct failure *why)
{
    const fs_download *download = &answer->fs_download_res_u.download;
    char subject[NAMES_SUBJECT_SIZE];
    enum outcome outcome = translate_outcome(answer->status, &answer->fs_download_res_u.failure.reason,
                                             names_subject(file->name, subject), why);
    if ((outcome == OUTCOME_UNAVAILABLE || outcome == OUTCOME_UNKNOWN) && !receiving->final)
        return outcome;
    *alone = outcome == OUTCOME_OK && !download->eof;
    if (*alone)
        return OUTCOME_OK;
    if (outcome == OUTCOME_OK)
        outcome = take_whole(receiving, file, download, why);
    if (outcome != OUTCOME_OK)
        landing_fail(&receiving->landing, file, outcome, why);
    return OUTCOME_OK;
}

/* As many files of the request as there are answers for, and those that were not asked for. */
static enum outcome take_answers(struct receiving *receiving, struct request *request,
                                 const fs_download_many *many, bool *alone, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    for (size_t n = 0; request->done < request->count && outcome == OUTCOME_OK && !*alone;) {
        const struct wanted *wanted = &request->files[request->done];
        if (wanted->trouble)
            landing_fail(&receiving->landing, &wanted->file, wanted->trouble->outcome, wanted->trouble);
        else if (n == many->files.files_len)
            break;
        else
            outcome = take_answer(receiving, &wanted->file, &many->files.files_val[n++], alone, why);
        request->done += outcome == OUTCOME_OK && !*alone;
        receiving->moves = receiving->moves || outcome == OUTCOME_OK;
    }
    show_moved(receiving, 0, UINT64_MAX);
    return outcome;
}

static enum outcome take_reply(struct receiving *receiving, struct request *request, bool *alone,
                               struct failure *why)
{
    fs_download_many_res res = {0};
    enum outcome outcome = OUTCOME_OK;
    bool asked = request->call.pending != NULL;
    size_t before = request->done;
    if (asked)
        outcome = lanes_await(&request->call, (xdrproc_t)xdr_fs_download_many_res, &res, why);
    if (outcome == OUTCOME_OK && asked)
        pace_heard(&receiving->pace, request->bytes, rpc_pending_took(request->call.pending));
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(res.status, &res.fs_download_many_res_u.failure.reason, "download", why);
    if (outcome == OUTCOME_OK)
        outcome = take_answers(receiving, request, &res.fs_download_many_res_u.many, alone, why);
    if (outcome == OUTCOME_OK && asked && !*alone && request->done == before)
        outcome = failure_set(why, OUTCOME_PROTOCOL, "the server answers for none of the files");
    /* What it points to is in the landing no more: files are written as they come. */
    xdr_free((xdrproc_t)xdr_fs_download_many_res, &res);
    request_forget(request);
    size_t answered = request->done - before;
    if (outcome == OUTCOME_OK && !*alone)
        receiving->guess = request->done < request->count       ? answered
                           : 2 * receiving->guess < FS_MANY_MAX ? 2 * receiving->guess
                                                                : FS_MANY_MAX;
    return outcome;
}

/* ---- a file by itself ---- */

static enum outcome bring_alone(struct receiving *receiving, const struct fileshare_get_file *file,
                                struct fileshare_entry *out, struct failure *why)
{
    const struct fileshare_get get = {
        .name = file->name,
        .keep = receiving->many->keep,
        .progress = show_moved,
        .context = receiving,
    };
    scoped_free char *path = NULL;
    int folder_fd = -1;
    enum outcome outcome = landing_look(&receiving->landing, file, why);
    if (outcome == OUTCOME_OK)
        outcome = landing_enter(&receiving->landing, file, &folder_fd, &path, why);
    if (outcome == OUTCOME_OK)
        outcome = get_beneath(receiving->session, &get, folder_fd, path, file->replace, out, why);
    return outcome;
}

/* Nothing else may be under way: the connection may be made anew. */
static enum outcome receive_alone(struct receiving *receiving, const struct fileshare_get_file *file,
                                  struct failure *why)
{
    struct fileshare_entry entry;
    for (unsigned i = 0; i < receiving->count; i++)
        request_forget(receiving->requests[i]);
    landing_settle(&receiving->landing);
    enum outcome outcome = bring_alone(receiving, file, &entry, why);
    if (outcome == OUTCOME_STOPPED)
        return outcome;
    receiving->moved += outcome == OUTCOME_OK ? entry.size : 0;
    tell(receiving, file, outcome, &entry, why);
    return OUTCOME_OK;
}

/* The first file of the oldest request that is not done. */
static enum outcome next_alone(struct receiving *receiving, struct failure *why)
{
    struct request *request = receiving->requests[0];
    enum outcome outcome = receive_alone(receiving, &request->files[request->done].file, why);
    request->done += outcome == OUTCOME_OK;
    return outcome;
}

/* ---- all ---- */

static bool wants_answer(const struct request *request)
{
    for (size_t i = request->done; i < request->count; i++)
        if (!request->files[i].trouble)
            return true;
    return false;
}

/* Its answer, or there is none to wait for. */
static bool is_to_be_taken(struct receiving *receiving, struct request *request)
{
    return !wants_answer(request) || lanes_wait(receiving->session, &request->call);
}

/* Until nothing is under way. */
static enum outcome receive_all(struct receiving *receiving, struct failure *why)
{
    for (;;) {
        bool alone = false;
        enum outcome outcome = stop_check(&receiving->session->stop, why);
        if (outcome == OUTCOME_OK)
            outcome = fill_window(receiving, why);
        if (outcome != OUTCOME_OK || receiving->count == 0)
            return outcome;
        if (!is_to_be_taken(receiving, receiving->requests[0]))
            continue;
        outcome = take_reply(receiving, receiving->requests[0], &alone, why);
        if (outcome == OUTCOME_OK && alone)
            outcome = next_alone(receiving, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        retry_reset(&receiving->retry);
        receiving->final = false;
        if (receiving->requests[0]->done == receiving->requests[0]->count)
            rotate(receiving);
    }
}

static void fail_requests(struct receiving *receiving, enum outcome outcome, const struct failure *why)
{
    while (receiving->count > 0) {
        struct request *request = receiving->requests[0];
        for (; request->done < request->count; request->done++) {
            const struct wanted *wanted = &request->files[request->done];
            landing_fail(&receiving->landing, &wanted->file,
                         wanted->trouble ? wanted->trouble->outcome : outcome,
                         wanted->trouble ? wanted->trouble : why);
        }
        rotate(receiving);
    }
}

static bool is_of_connection(enum outcome outcome)
{
    return outcome == OUTCOME_UNREACHABLE || outcome == OUTCOME_TIMEOUT;
}

/* What was cut off: whether it goes on. */
static bool go_on(struct receiving *receiving, enum outcome *outcome, struct failure *why)
{
    if (!session_goes_on(receiving->session, *outcome)) {
        for (unsigned i = 0; i < receiving->count; i++)
            request_forget(receiving->requests[i]);
        pace_narrow(&receiving->pace);
    }
    if (stop_is_asked(&receiving->session->stop))
        *outcome = stop_check(&receiving->session->stop, why);
    if (*outcome == OUTCOME_STOPPED || *outcome == OUTCOME_NOMEM)
        return false;
    if (receiving->moves)
        retry_reset(&receiving->retry);
    receiving->moves = false;
    if (retry_again(&receiving->retry, receiving->session, outcome, why))
        return true;
    if (*outcome == OUTCOME_STOPPED)
        return false;
    if ((*outcome == OUTCOME_UNAVAILABLE || *outcome == OUTCOME_UNKNOWN) && !receiving->final) {
        receiving->final = true;
        return true;
    }
    /* What is wrong with one file makes the whole call fail: DOWNLOAD finds out which one it is. */
    if (!is_of_connection(*outcome) && receiving->count > 0) {
        *outcome = next_alone(receiving, why);
        if (*outcome != OUTCOME_OK)
            return false;
        if (receiving->requests[0]->done == receiving->requests[0]->count)
            rotate(receiving);
    } else {
        fail_requests(receiving, *outcome, why);
    }
    retry_init(&receiving->retry);
    receiving->final = false;
    return true;
}

static enum outcome get_many(struct receiving *receiving, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    while (outcome == OUTCOME_OK && (!receiving->ended || receiving->has_file || receiving->count > 0)) {
        outcome = receive_all(receiving, why);
        if (outcome != OUTCOME_OK && go_on(receiving, &outcome, why))
            outcome = OUTCOME_OK;
        else if (outcome == OUTCOME_OK && receiving->alone) {
            outcome = receive_alone(receiving, &receiving->file, why);
            receiving->alone = receiving->has_file = false;
        }
    }
    return outcome;
}

enum fileshare_status fileshare_get_many(struct fileshare *session, const struct fileshare_get_many *many,
                                         struct fileshare_error *error)
{
    struct failure why = {.outcome = OUTCOME_NOMEM, .text = "no memory for a download"};
    struct receiving *receiving = calloc(1, sizeof *receiving);
    if (!receiving)
        return session_report(session, OUTCOME_NOMEM, &why, error);
    receiving->session = session;
    receiving->many = many;
    receiving->bytes = BYTES_FIRST;
    receiving->guess = GUESS_FIRST;
    retry_init(&receiving->retry);
    pace_init(&receiving->pace);
    enum outcome outcome = landing_init(&receiving->landing, many->folder, tell, receiving, &why);
    if (outcome == OUTCOME_OK) {
        outcome = get_many(receiving, &why);
        landing_fini(&receiving->landing);
    }
    for (unsigned i = 0; i < PACE_MOST; i++) {
        if (receiving->requests[i])
            request_reset(receiving->requests[i]);
        free(receiving->requests[i]);
    }
    free(receiving);
    return session_report(session, outcome, &why, error);
}
