#include "client/lib/bundle.h"

#include "base/scoped.h"
#include "client/lib/content.h"
#include "client/lib/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    FILE_WIRE = 16 + 4 + 4 + 16 + 12 + 4 + DIGEST_SIZE +
                4,  /* one file's arguments, but for name and content */
    STATS_MAX = 128 /* calls of STAT under way */
};

static const size_t NOT_SENT = SIZE_MAX;

/* ---- life ---- */

struct bundle *bundle_new(void)
{
    struct bundle *bundle = calloc(1, sizeof *bundle);
    if (!bundle)
        return NULL;
    bundle->files = calloc(FS_MANY_MAX, sizeof *bundle->files);
    bundle->args = calloc(FS_MANY_MAX, sizeof *bundle->args);
    /* One byte more than goes on the wire: what is read is read a byte past its end. */
    bundle->bytes = malloc(FS_DATA_MAX + 1);
    return bundle->files && bundle->args && bundle->bytes ? bundle : bundle_free(bundle);
}

void bundle_forget(struct bundle *bundle)
{
    bundle->sent = false;
    if (!bundle->call.pending && !bundle->call.lost)
        return;
    bundle->in_doubt = true;
    xdr_free((xdrproc_t)xdr_fs_upload_many_res, &bundle->res);
    memset(&bundle->res, 0, sizeof bundle->res);
    lanes_end(&bundle->call);
}

void bundle_reset(struct bundle *bundle)
{
    bundle_forget(bundle);
    for (size_t i = 0; i < bundle->count; i++) {
        free(bundle->files[i].trouble);
        free(bundle->files[i].same);
    }
    bundle->count = bundle->used = bundle->wire = 0;
    bundle->in_doubt = false;
}

void *bundle_free(struct bundle *bundle)
{
    if (!bundle)
        return NULL;
    bundle_reset(bundle);
    free(bundle->files);
    free(bundle->args);
    free(bundle->bytes);
    free(bundle);
    return NULL;
}

/* ---- reading files ---- */

static const char *label_of(const struct fileshare_put_file *file)
{
    return file->label ? file->label : file->path;
}

/* The file stands in the bundle, but is not sent. */
static void set_trouble(struct bundled *bundled, const struct failure *why)
{
    bundled->trouble = malloc(sizeof *why);
    if (bundled->trouble)
        *bundled->trouble = *why;
    else
        bundled->size = SIZE_MAX; /* told as NOMEM */
}

static bool is_in_trouble(const struct bundled *bundled)
{
    return bundled->trouble || bundled->size == SIZE_MAX;
}

/* Those of /proc say that they are empty, and are not. */
static bool has_unsaid_bytes(int fd, const struct stat *about)
{
    char byte;
    return about->st_size == 0 && pread(fd, &byte, 1, 0) > 0;
}

/* A file that is being looked at for a bundle. */
struct candidate {
    int fd;
    struct stat about;
    int64_t mtime;
};

static void candidate_fini(struct candidate *candidate)
{
    if (candidate->fd >= 0)
        close(candidate->fd);
}

static enum outcome look_at(const struct fileshare_put_file *file, struct candidate *out, struct failure *why)
{
    out->fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (out->fd < 0 || fstat(out->fd, &out->about) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "%s", label_of(file));
    if (S_ISDIR(out->about.st_mode))
        return failure_system(why, OUTCOME_LOCAL, EISDIR, "%s", label_of(file));
    const struct timespec *changed = &out->about.st_mtim;
    out->mtime = S_ISREG(out->about.st_mode) ? changed->tv_sec * INT64_C(1000000000) + changed->tv_nsec
                                             : INT64_MIN;
    return OUTCOME_OK;
}

static size_t wire_of(const struct fileshare_put_file *file, size_t size)
{
    return FILE_WIRE + RNDUP(strlen(file->name)) + RNDUP(size);
}

static enum bundle_fit fits(const struct bundle *bundle, const struct fileshare_put_file *file,
                            const struct candidate *candidate, size_t wanted, size_t most)
{
    const struct stat *about = &candidate->about;
    if (!S_ISREG(about->st_mode) || about->st_size > BUNDLE_FILE_MAX ||
        has_unsaid_bytes(candidate->fd, about))
        return BUNDLE_ALONE;
    size_t wire = wire_of(file, (size_t)about->st_size);
    if (wire > most)
        return BUNDLE_ALONE;
    return bundle->wire + wire > wanted && bundle->count > 0 ? BUNDLE_FULL : BUNDLE_TAKEN;
}

static enum outcome read_file(struct bundle *bundle, struct bundled *bundled,
                              const struct candidate *candidate, struct failure *why)
{
    uint8_t *to = bundle->bytes + bundle->used;
    enum outcome outcome = content_take(candidate->fd, label_of(&bundled->file), &candidate->about, to, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    bundled->mtime = candidate->mtime;
    bundled->at = bundle->used;
    bundled->size = (size_t)candidate->about.st_size;
    bundled->digest = digest_of(to, bundled->size);
    bundle->used += bundled->size;
    bundle->wire += wire_of(&bundled->file, bundled->size);
    return OUTCOME_OK;
}

static struct id next_id(struct bundle *bundle)
{
    if (bundle->ids_left == 0) {
        id_random_many(bundle->ids, BUNDLE_IDS);
        bundle->ids_left = BUNDLE_IDS;
    }
    return bundle->ids[--bundle->ids_left];
}

enum bundle_fit bundle_add(struct bundle *bundle, const struct fileshare_put_file *file, size_t wanted,
                           size_t most, int *fd, int64_t *mtime)
{
    char name[NAME_BUFFER], subject[NAMES_SUBJECT_SIZE];
    struct failure why = {.outcome = OUTCOME_OK};
    scoped(candidate_fini) struct candidate candidate = {.fd = -1};
    if (bundle->count == FS_MANY_MAX)
        return BUNDLE_FULL;
    struct bundled *bundled = &bundle->files[bundle->count];
    *bundled = (struct bundled){.file = *file, .op = next_id(bundle), .answer = NOT_SENT};
    enum outcome outcome = names_check(file->name, names_subject(file->name, subject), name, &why);
    if (outcome == OUTCOME_OK)
        outcome = look_at(file, &candidate, &why);
    enum bundle_fit fit = outcome == OUTCOME_OK ? fits(bundle, file, &candidate, wanted, most) : BUNDLE_TAKEN;
    if (fit == BUNDLE_ALONE) {
        *mtime = candidate.mtime;
        *fd = take_fd(&candidate.fd);
    }
    if (fit != BUNDLE_TAKEN)
        return fit;
    if (outcome == OUTCOME_OK)
        outcome = read_file(bundle, bundled, &candidate, &why);
    if (outcome != OUTCOME_OK)
        set_trouble(bundled, &why);
    bundle->count++;
    return fit;
}

/* ---- whether the server has it already ---- */

static enum outcome ask_begin(struct fileshare *session, const struct bundled *bundled,
                              struct rpc_pending **out, struct failure *why)
{
    fs_stat_args args = {.name = translate_name(bundled->file.name)};
    return rpc_client_begin(session->client, FSPROC_STAT, (xdrproc_t)xdr_fs_stat_args, &args, NULL, out, why);
}

static enum outcome note_same(struct bundled *bundled, const fs_entry *there, struct failure *why)
{
    struct fileshare_entry entry;
    enum outcome outcome = translate_entry(there, &entry, why);
    if (outcome != OUTCOME_OK || entry.size != bundled->size ||
        memcmp(entry.digest, bundled->digest.octets, sizeof entry.digest) != 0)
        return outcome;
    bundled->same = malloc(sizeof entry);
    if (!bundled->same)
        return failure_set(why, OUTCOME_NOMEM, "no memory for an answer");
    *bundled->same = entry;
    return OUTCOME_OK;
}

/* What only this file's answer says is its own trouble. */
static enum outcome note_answer(struct bundled *bundled, const fs_entry_res *res, struct failure *why)
{
    char subject[NAMES_SUBJECT_SIZE];
    struct failure reason = {.outcome = OUTCOME_OK};
    if (res->status == FS_OK)
        return note_same(bundled, &res->fs_entry_res_u.entry, why);
    enum outcome outcome = translate_outcome(res->status, &res->fs_entry_res_u.failure.reason,
                                             names_subject(bundled->file.name, subject), &reason);
    if (outcome == OUTCOME_UNAVAILABLE || outcome == OUTCOME_UNKNOWN)
        return failure_set(why, outcome, "%s", reason.text);
    if (outcome != OUTCOME_ABSENT)
        set_trouble(bundled, &reason);
    return OUTCOME_OK;
}

static enum outcome ask_end(struct fileshare *session, struct bundled *bundled, struct rpc_pending *pending,
                            struct failure *why)
{
    fs_entry_res res = {0};
    enum outcome outcome = rpc_client_await(session->client, pending, (xdrproc_t)xdr_fs_entry_res, &res, why);
    if (outcome == OUTCOME_OK)
        outcome = note_answer(bundled, &res, why);
    xdr_free((xdrproc_t)xdr_fs_entry_res, &res);
    bundled->asked = outcome == OUTCOME_OK;
    return outcome;
}

/* Files from *at on for which `wants` is true, STATS_MAX of them at most: all calls go out before the first is awaited. */
static enum outcome ask_some(struct bundle *bundle, struct fileshare *session,
                             bool (*wants)(const struct bundle *bundle, const struct bundled *bundled),
                             size_t *at, struct failure *why)
{
    struct rpc_pending *pendings[STATS_MAX];
    struct bundled *files[STATS_MAX];
    size_t count = 0;
    enum outcome outcome = OUTCOME_OK;
    for (; *at < bundle->count && count < STATS_MAX && outcome == OUTCOME_OK; (*at)++) {
        files[count] = &bundle->files[*at];
        if (files[count]->asked || is_in_trouble(files[count]) || !wants(bundle, files[count]))
            continue;
        outcome = ask_begin(session, files[count], &pendings[count], why);
        count += outcome == OUTCOME_OK;
    }
    /* All are heard, also after a failure: what is known need not be asked again. */
    for (size_t i = 0; i < count; i++) {
        enum outcome ended = ask_end(session, files[i], pendings[i], outcome == OUTCOME_OK ? why : NULL);
        outcome = outcome == OUTCOME_OK ? ended : outcome;
        rpc_pending_free(session->client, pendings[i]);
    }
    return outcome;
}

static enum outcome ask(struct bundle *bundle, struct fileshare *session,
                        bool (*wants)(const struct bundle *bundle, const struct bundled *bundled),
                        struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    for (size_t at = 0; at < bundle->count && outcome == OUTCOME_OK;)
        outcome = ask_some(bundle, session, wants, &at, why);
    return outcome;
}

static bool may_replace(const struct bundle *bundle, const struct bundled *bundled)
{
    (void)bundle;
    return bundled->file.replace;
}

static const fs_entry_res *answer_of(const struct bundle *bundle, const struct bundled *bundled)
{
    return &bundle->res.fs_upload_many_res_u.many.files.files_val[bundled->answer];
}

static bool was_taken(const struct bundle *bundle, const struct bundled *bundled)
{
    return bundled->answer != NOT_SENT && answer_of(bundle, bundled)->status == FS_EXISTS;
}

/* ---- the call ---- */

static fs_upload_args args_of(const struct bundle *bundle, const struct bundled *bundled)
{
    return (fs_upload_args){
        .op = translate_id(&bundled->op),
        .name = translate_name(bundled->file.name),
        .policy = bundled->file.replace ? FS_REPLACE : FS_FAIL,
        .mtime = event_time_to_wire(bundled->mtime),
        .digest = translate_digest(&bundled->digest),
        .content = {.fs_data_len = (u_int)bundled->size, .fs_data_val = (char *)bundle->bytes + bundled->at},
    };
}

enum outcome bundle_send(struct bundle *bundle, struct fileshare *session, struct lane *lane,
                         struct failure *why)
{
    enum outcome outcome = ask(bundle, session, may_replace, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    fs_upload_many_args args = {.files = {.files_val = bundle->args}};
    for (size_t i = 0; i < bundle->count; i++) {
        struct bundled *bundled = &bundle->files[i];
        bundled->answer = NOT_SENT;
        if (is_in_trouble(bundled) || bundled->same)
            continue;
        bundled->answer = args.files.files_len;
        bundle->args[args.files.files_len++] = args_of(bundle, bundled);
    }
    bundle->sent = true;
    if (args.files.files_len == 0)
        return OUTCOME_OK;
    return lanes_begin(session, lane, &bundle->call, FSPROC_UPLOAD_MANY, (xdrproc_t)xdr_fs_upload_many_args,
                       &args, NULL, bundle->wire, why);
}

/* As many answers as files were sent, and none that asks for a repeat. */
static enum outcome check_answers(const struct bundle *bundle, bool final, struct failure *why)
{
    const fs_upload_many *many = &bundle->res.fs_upload_many_res_u.many;
    size_t sent = 0;
    for (size_t i = 0; i < bundle->count; i++)
        sent += bundle->files[i].answer != NOT_SENT;
    if (many->files.files_len != sent)
        return failure_set(why, OUTCOME_PROTOCOL, "%zu files were sent, and %u answered", sent,
                           many->files.files_len);
    for (size_t i = 0; i < sent && !final; i++) {
        const fs_entry_res *answer = &many->files.files_val[i];
        if (answer->status == FS_NOSPACE && bundle->in_doubt)
            return session_no_room_in_doubt(why);
        if (answer->status == FS_UNAVAILABLE || answer->status == FS_UNKNOWN)
            return translate_outcome(answer->status, &answer->fs_entry_res_u.failure.reason, "upload", why);
    }
    return OUTCOME_OK;
}

enum outcome bundle_receive(struct bundle *bundle, struct fileshare *session, bool final, struct failure *why)
{
    if (!bundle->call.pending)
        return OUTCOME_OK;
    enum outcome outcome = lanes_await(&bundle->call, (xdrproc_t)xdr_fs_upload_many_res, &bundle->res, why);
    if (outcome == OUTCOME_OK)
        outcome = translate_outcome(bundle->res.status, &bundle->res.fs_upload_many_res_u.failure.reason,
                                    "upload", why);
    if (outcome == OUTCOME_OK)
        outcome = check_answers(bundle, final, why);
    return outcome == OUTCOME_OK ? ask(bundle, session, was_taken, why) : outcome;
}

enum outcome bundle_result(const struct bundle *bundle, size_t n, struct fileshare_entry *out,
                           bool *unchanged, struct failure *why)
{
    const struct bundled *bundled = &bundle->files[n];
    char subject[NAMES_SUBJECT_SIZE];
    *unchanged = bundled->same != NULL;
    if (bundled->same) {
        *out = *bundled->same;
        return OUTCOME_OK;
    }
    if (bundled->trouble)
        return failure_set(why, bundled->trouble->outcome, "%s", bundled->trouble->text);
    if (bundled->answer == NOT_SENT)
        return failure_set(why, OUTCOME_NOMEM, "%s: no memory", names_subject(bundled->file.name, subject));
    const fs_entry_res *answer = answer_of(bundle, bundled);
    if (answer->status == FS_OK)
        return translate_entry(&answer->fs_entry_res_u.entry, out, why);
    if (answer->status == FS_NOSPACE && bundle->in_doubt)
        return session_no_room_in_doubt(why);
    return translate_outcome(answer->status, &answer->fs_entry_res_u.failure.reason,
                             names_subject(bundled->file.name, subject), why);
}
