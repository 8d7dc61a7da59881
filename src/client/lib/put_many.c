/*
 * fileshare_put_many: bundles of small files, several on their way, read ahead.
 *
 * Answers are taken in the order of sending. A file that is nothing for
 * a bundle is uploaded by itself, when all before it are answered; one whose name
 * is on its way already waits for that. After a lost connection all that is not
 * answered is sent again, under the same op ids; a bundle whose answer says "try
 * again" is sent again by itself.
 */
#include "client/lib/bundle.h"
#include "client/lib/pace.h"
#include "client/lib/put.h"

#include "base/scoped.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NAME_SLOTS = 4096,
    WIRE_FIRST = 64 << 10, /* of the first bundle, so that the server has something to do early */
};

struct sending {
    struct fileshare *session;
    const struct fileshare_put_many *many;
    struct bundle *bundles[PACE_MOST]; /* `count` under way, oldest first; then spare ones, or NULL */
    unsigned count;
    struct pace pace;
    size_t wanted;                     /* bytes on the wire, of the next bundle */
    struct bundled *names[NAME_SLOTS]; /* what is under way, by name */
    struct fileshare_put_file file;    /* taken, and in no bundle yet */
    bool has_file, ended;
    int alone_fd; /* of that file, if it goes by itself; else -1 */
    int64_t alone_mtime;
    bool final;     /* what is answered "try again" is told so */
    uint64_t moved; /* bytes, of what was told */
    struct retry retry;
};

/* ---- names under way ---- */

static struct bundled **slot_of(struct sending *sending, const char *name)
{
    struct digest_value digest = digest_of(name, strlen(name));
    uint32_t hash;
    memcpy(&hash, digest.octets, sizeof hash);
    return &sending->names[hash % NAME_SLOTS];
}

static bool is_under_way(struct sending *sending, const char *name)
{
    for (const struct bundled *at = *slot_of(sending, name); at; at = at->next)
        if (strcmp(at->file.name, name) == 0)
            return true;
    return false;
}

static void note_name(struct sending *sending, struct bundled *bundled)
{
    struct bundled **slot = slot_of(sending, bundled->file.name);
    bundled->next = *slot;
    *slot = bundled;
}

static void forget_name(struct sending *sending, const struct bundled *bundled)
{
    struct bundled **at = slot_of(sending, bundled->file.name);
    while (*at != bundled)
        at = &(*at)->next;
    *at = bundled->next;
}

/* ---- telling ---- */

static void tell(const struct sending *sending, const struct fileshare_put_file *file, enum outcome outcome,
                 const struct fileshare_entry *entry, bool unchanged, const struct failure *why)
{
    struct fileshare_error error = {.status = FILESHARE_OK};
    if (outcome != OUTCOME_OK)
        translate_report(outcome, why, &error);
    sending->many->told(sending->many->context, file, outcome == OUTCOME_OK ? entry : NULL, unchanged,
                        &error);
}

static void show_moved(void *context, uint64_t moved, uint64_t total)
{
    const struct sending *sending = context;
    (void)total;
    if (sending->many->progress)
        sending->many->progress(sending->many->context, sending->moved + moved, UINT64_MAX);
}

/* The oldest bundle is done, one way or the other (`why` NULL: as it was answered), and becomes a spare one. */
static void end_oldest(struct sending *sending, enum outcome failed, const struct failure *why)
{
    struct bundle *oldest = sending->bundles[0];
    for (size_t i = 0; i < oldest->count; i++) {
        struct fileshare_entry entry;
        struct failure reason = {.outcome = OUTCOME_OK};
        bool unchanged = false;
        enum outcome outcome = why ? failed : bundle_result(oldest, i, &entry, &unchanged, &reason);
        forget_name(sending, &oldest->files[i]);
        tell(sending, &oldest->files[i].file, outcome, &entry, unchanged, why ? why : &reason);
    }
    sending->moved += oldest->used;
    if (!why && oldest->call.pending)
        pace_heard(&sending->pace, oldest->wire, rpc_pending_took(oldest->call.pending));
    pace_end(&sending->pace, oldest->wire);
    show_moved(sending, 0, UINT64_MAX);
    bundle_reset(oldest);
    memmove(sending->bundles, sending->bundles + 1, (PACE_MOST - 1) * sizeof oldest);
    sending->bundles[PACE_MOST - 1] = oldest;
    sending->count--;
}

/* ---- the window ---- */

static size_t wire_most(const struct sending *sending)
{
    size_t most = sending->session->greeting.data_max;
    return most < FS_DATA_MAX ? most : FS_DATA_MAX;
}

/* What the next bundle may be, after one of so many bytes. */
static size_t wanted_next(const struct sending *sending)
{
    size_t most = lanes_piece(sending->session, UINT64_MAX, wire_most(sending));
    return 2 * sending->wanted < most ? 2 * sending->wanted : most;
}

static bool has_next(struct sending *sending)
{
    if (!sending->has_file && !sending->ended) {
        sending->has_file = sending->many->next(sending->many->context, &sending->file);
        sending->ended = !sending->has_file;
    }
    return sending->has_file;
}

/* Files into a bundle. False: there is none for it now. */
static bool fill(struct sending *sending, struct bundle *bundle)
{
    enum bundle_fit fit = BUNDLE_TAKEN;
    while (fit == BUNDLE_TAKEN && sending->alone_fd < 0 && has_next(sending) &&
           !is_under_way(sending, sending->file.name)) {
        fit = bundle_add(bundle, &sending->file, sending->wanted, wire_most(sending), &sending->alone_fd,
                         &sending->alone_mtime);
        if (fit != BUNDLE_TAKEN)
            break;
        sending->has_file = false;
        note_name(sending, &bundle->files[bundle->count - 1]);
    }
    return bundle->count > 0;
}

static enum outcome send_bundles(struct sending *sending, struct failure *why)
{
    struct fileshare *session = sending->session;
    enum outcome outcome = lanes_ready_paced(session, &sending->pace, why);
    for (unsigned i = 0; i < sending->count && outcome == OUTCOME_OK; i++) {
        struct bundle *bundle = sending->bundles[i];
        if (bundle->call.lost)
            bundle_forget(bundle);
        if (bundle->sent)
            continue;
        struct lane *lane = lanes_pick(session, UINT64_MAX);
        if (!lane)
            break;
        outcome = bundle_send(bundle, session, lane, why);
    }
    return outcome;
}

/* More than one bundle is as good as much. */
static void widen(struct sending *sending)
{
    if (has_next(sending))
        lanes_widen(sending->session, UINT64_MAX);
}

static enum outcome fill_window(struct sending *sending, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    while (lanes_have_room(sending->session, &sending->pace) && outcome == OUTCOME_OK) {
        struct bundle **bundle = &sending->bundles[sending->count];
        if (!*bundle && !(*bundle = bundle_new()))
            return failure_set(why, OUTCOME_NOMEM, "no memory for an upload");
        if (!fill(sending, *bundle))
            break;
        sending->count++;
        pace_add(&sending->pace, (*bundle)->wire);
        sending->wanted = wanted_next(sending);
        outcome = send_bundles(sending, why);
        if (outcome == OUTCOME_OK)
            widen(sending);
    }
    /* That packets are lost may be seen while there is no room, too. */
    if (outcome == OUTCOME_OK && sending->count > 0)
        widen(sending);
    return outcome == OUTCOME_OK && sending->count > 0 ? send_bundles(sending, why) : outcome;
}

/* Its answer, or there is none to wait for. */
static bool is_to_be_taken(struct sending *sending, struct bundle *bundle)
{
    bool is_all_told = bundle->sent && !bundle->call.pending && !bundle->call.lost;
    return is_all_told || lanes_wait(sending->session, &bundle->call);
}

/* Until nothing is under way. */
static enum outcome send_all(struct sending *sending, struct failure *why)
{
    for (;;) {
        enum outcome outcome = stop_check(&sending->session->stop, why);
        if (outcome == OUTCOME_OK)
            outcome = fill_window(sending, why);
        if (outcome != OUTCOME_OK || sending->count == 0)
            return outcome;
        if (!is_to_be_taken(sending, sending->bundles[0]))
            continue;
        outcome = bundle_receive(sending->bundles[0], sending->session, sending->final, why);
        if (outcome != OUTCOME_OK) {
            bundle_forget(sending->bundles[0]);
            return outcome;
        }
        end_oldest(sending, OUTCOME_OK, NULL);
        retry_reset(&sending->retry);
        sending->final = false;
    }
}

/* What was cut off: whether it goes on. */
static bool go_on(struct sending *sending, enum outcome *outcome, struct failure *why)
{
    if (!session_goes_on(sending->session, *outcome)) {
        for (unsigned i = 0; i < sending->count; i++)
            bundle_forget(sending->bundles[i]);
        pace_narrow(&sending->pace);
    }
    if (stop_is_asked(&sending->session->stop))
        *outcome = stop_check(&sending->session->stop, why);
    if (*outcome == OUTCOME_STOPPED || *outcome == OUTCOME_NOMEM)
        return false;
    if (retry_again(&sending->retry, sending->session, outcome, why))
        return true;
    if (*outcome == OUTCOME_STOPPED)
        return false;
    if ((*outcome == OUTCOME_UNAVAILABLE || *outcome == OUTCOME_UNKNOWN) && !sending->final) {
        sending->final = true;
        return true;
    }
    while (sending->count > 0)
        end_oldest(sending, *outcome, why);
    retry_init(&sending->retry);
    sending->final = false;
    return true;
}

/* ---- a file by itself ---- */

static enum outcome send_alone(struct sending *sending, struct failure *why)
{
    const struct fileshare_put_file *file = &sending->file;
    const struct fileshare_put put = {
        .name = file->name,
        .fd = sending->alone_fd,
        .label = file->label ? file->label : file->path,
        .mtime = sending->alone_mtime,
        .replace = file->replace,
        .keep = sending->many->keep,
        .progress = show_moved,
        .context = sending,
    };
    struct fileshare_entry entry;
    bool unchanged = false;
    enum outcome outcome = put_one(sending->session, &put, &entry, &unchanged, why);
    close(take_fd(&sending->alone_fd));
    if (outcome == OUTCOME_STOPPED)
        return outcome;
    sending->moved += outcome == OUTCOME_OK ? entry.size : 0;
    sending->has_file = false;
    tell(sending, file, outcome, &entry, unchanged, why);
    return OUTCOME_OK;
}

static enum outcome put_many(struct sending *sending, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    while (outcome == OUTCOME_OK && (!sending->ended || sending->has_file || sending->count > 0)) {
        outcome = send_all(sending, why);
        if (outcome != OUTCOME_OK && go_on(sending, &outcome, why))
            outcome = OUTCOME_OK;
        else if (outcome == OUTCOME_OK && sending->alone_fd >= 0)
            outcome = send_alone(sending, why);
    }
    return outcome;
}

enum fileshare_status fileshare_put_many(struct fileshare *session, const struct fileshare_put_many *many,
                                         struct fileshare_error *error)
{
    struct failure why = {.outcome = OUTCOME_NOMEM, .text = "no memory for an upload"};
    struct sending *sending = calloc(1, sizeof *sending);
    enum outcome outcome = OUTCOME_NOMEM;
    if (sending) {
        *sending = (struct sending){.session = session, .many = many, .wanted = WIRE_FIRST, .alone_fd = -1};
        retry_init(&sending->retry);
        pace_init(&sending->pace);
        outcome = put_many(sending, &why);
        for (unsigned i = 0; i < PACE_MOST; i++)
            bundle_free(sending->bundles[i]);
        if (sending->alone_fd >= 0)
            close(sending->alone_fd);
        free(sending);
    }
    return session_report(session, outcome, &why, error);
}
