#include "fault/power/verdict.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- uploads ---- */

/* What became of an upload, as far as the cut saw. */
struct fate {
    const struct deed *publish, *abort; /* that were begun; NULL */
    uint64_t sent;                      /* bytes of writes begun */
    uint64_t kept;                      /* of these, written before the server was stopped in order */
    bool idle;                          /* a sweep may have given it up */
};

static struct fate fate_of(const struct verdict *verdict, const struct deed *upload)
{
    struct fate fate = {0};
    uint64_t told = 0;
    int64_t touched = upload->wall;
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *deed = &verdict->history->deeds[i];
        if (!verdict_was_begun(verdict, deed))
            continue;
        bool same = id_equal(&deed->id, &upload->id);
        if (same && deed->kind == DEED_WRITE) {
            fate.sent += deed->count;
            told += verdict_was_told(verdict, deed) ? deed->count : 0;
            touched = deed->wall;
        }
        if (same && deed->kind == DEED_PUBLISH)
            fate.publish = deed;
        if (same && deed->kind == DEED_ABORT)
            fate.abort = deed;
        if (deed->kind == DEED_CLOSE && verdict_was_told(verdict, deed))
            fate.kept = told;
        int64_t idle = verdict->history->limits.upload_idle_seconds * (int64_t)CLOCK_SECOND;
        fate.idle |= deed->kind == DEED_SWEEP && deed->begun >= upload->begun && deed->wall - touched > idle;
    }
    return fate;
}

static bool take_up(struct verdict *verdict, const struct deed *upload, struct store_upload_state *at)
{
    struct failure why = {0};
    struct store_upload_begin begin = {.upload = upload->id,
                                       .name = upload->name,
                                       .condition.replace = upload->replace,
                                       .size_known = true,
                                       .size = upload->size};
    enum outcome outcome = verdict->store->acts->upload_begin(verdict->store, &history_caller, &begin, at,
                                                              &why);
    if (outcome != OUTCOME_OK)
        verdict_wrong(verdict, "the upload of %s cannot be taken up: %s", upload->name, why.text);
    return outcome == OUTCOME_OK;
}

static void check_held(struct verdict *verdict, const struct deed *upload, const struct fate *fate,
                       const struct store_upload_state *at)
{
    if (at->held > fate->sent) {
        verdict_wrong(verdict, "of the upload of %s more is held than was sent", upload->name);
        return;
    }
    if (at->held < fate->kept && !fate->idle)
        verdict_wrong(verdict, "of the upload of %s %llu bytes are held, %llu were recorded", upload->name,
                      (unsigned long long)at->held, (unsigned long long)fate->kept);
    struct digest_value digest = digest_of(upload->bytes, (size_t)at->held);
    if (memcmp(&digest, &at->digest, sizeof digest) != 0)
        verdict_wrong(verdict, "the upload of %s holds other bytes than were sent", upload->name);
}

/* The client of the upload comes back: the rest is sent, and it is published. */
static void go_on(struct verdict *verdict, const struct deed *upload, const struct fate *fate)
{
    enum { STEP = 1 << 20 };
    const struct store_acts *acts = verdict->store->acts;
    struct store_upload_state at;
    struct failure why = {0};
    if (!take_up(verdict, upload, &at))
        return;
    if (!at.published)
        check_held(verdict, upload, fate, &at);
    enum outcome outcome = OUTCOME_OK;
    uint64_t held = at.held;
    while (!at.published && outcome == OUTCOME_OK && held < upload->size) {
        size_t step = upload->size - held < STEP ? (size_t)(upload->size - held) : STEP;
        outcome = acts->upload_write(verdict->store, &history_caller, &upload->id, held, upload->bytes + held,
                                     step, &held, &why);
    }
    struct deed publish = *upload;
    publish.kind = DEED_PUBLISH;
    if (outcome == OUTCOME_OK)
        outcome = deed_do(verdict->history, verdict->store, &publish, &why);
    if (outcome != OUTCOME_OK)
        verdict_wrong(verdict, "the upload of %s does not go on: %s", upload->name, why.text);
}

void verdict_on_uploads(struct verdict *verdict)
{
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *upload = &verdict->history->deeds[i];
        if (upload->kind != DEED_BEGIN || !verdict_was_begun(verdict, upload))
            continue;
        struct fate fate = fate_of(verdict, upload);
        bool done = fate.publish && verdict_was_told(verdict, fate.publish);
        if (done || fate.abort)
            continue;
        /* Those that nobody asked to be published yet: some go on, the others are left to the sweep. */
        if (!fate.publish && dice_throw(&verdict->dice, 4) == 0)
            continue;
        go_on(verdict, upload, &fate);
        verdict_name(verdict, upload);
    }
}

/* ---- backups ---- */

/* Each file that was there when the backup began, whole; and it is sound. */
static void check_backup(struct verdict *verdict, const struct deed *backup, const char *folder)
{
    struct verdict then = {.history = verdict->history, .length = backup->begun, .folder = folder};
    struct failure why = {0};
    struct store_entry entry;
    verdict_read_ledger(&then);
    if (history_open_at(verdict->history, folder, &then.clock, &then.store, &why) != OUTCOME_OK) {
        verdict_wrong(verdict, "the backup does not open: %s", why.text);
        return;
    }
    struct store_audit *audit = calloc(1, sizeof *audit);
    if (then.store->acts->audit(then.store, true, audit, &why) != OUTCOME_OK)
        verdict_wrong(verdict, "the backup's audit: %s", why.text);
    if (audit->missing_blobs + audit->wrong_sizes + audit->wrong_digests + audit->orphan_blobs > 0)
        verdict_wrong(verdict, "the backup is not sound");
    free(audit);
    for (size_t i = 0; i < then.name_count; i++) {
        const struct deed *made = then.names[i].before;
        enum outcome outcome = then.store->acts->stat(then.store, then.names[i].name, &entry, &why);
        bool right = made ? outcome == OUTCOME_OK && id_equal(&entry.version, &made->id)
                          : outcome == OUTCOME_ABSENT;
        if (!right)
            verdict_wrong(verdict, "in the backup %s is not what it was", then.names[i].name);
    }
    then.store->acts->close(then.store);
}

void verdict_on_backups(struct verdict *verdict)
{
    for (size_t i = 0; i < verdict->history->deed_count; i++) {
        const struct deed *backup = &verdict->history->deeds[i];
        char folder[128];
        struct stat status;
        if (backup->kind != DEED_BACKUP || !verdict_was_begun(verdict, backup))
            continue;
        snprintf(folder, sizeof folder, "%s/%s", verdict->folder, backup->name);
        if (stat(folder, &status) == 0)
            check_backup(verdict, backup, folder);
        else if (verdict_was_told(verdict, backup))
            verdict_wrong(verdict, "the backup that was told is not there");
    }
}
