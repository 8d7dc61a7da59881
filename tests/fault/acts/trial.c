#include "fault/acts/trial.h"

#include "fault/acts/trial_acts.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

void trial_begin(struct trial *trial, struct subject *subject, unsigned serial)
{
    *trial = (struct trial){.subject = subject, .serial = serial};
    snprintf(trial->name, sizeof trial->name, "name-%u", serial);
    snprintf(trial->other, sizeof trial->other, "other-%u", serial);
    trial->id = id_random();
    trial->mailbox = id_random();
    trial->interest = id_random();
    fill(trial->bytes, sizeof trial->bytes, serial);
}

void trial_backup_path(const struct trial *trial, unsigned nth, char out[TRIAL_PATH_SIZE])
{
    snprintf(out, TRIAL_PATH_SIZE, "%.60s.backup-%u-%u", trial->subject->folder, trial->serial, nth);
}

/* Also what could not be removed on a disk that failed: TARGET.new-... */
static void remove_backups(struct trial *trial)
{
    char pattern[TRIAL_PATH_SIZE];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%.60s.backup-%u-*", trial->subject->folder, trial->serial);
    if (trial->backups > 0 && glob(pattern, 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++)
            subject_remove_folder(found.gl_pathv[i]);
        globfree(&found);
    }
    trial->backups = 0;
}

void trial_end(struct trial *trial)
{
    struct subject *s = trial->subject;
    remove_backups(trial);
    const char *const names[] = {trial->name, trial->other};
    for (unsigned i = 0; i < 2; i++) {
        enum outcome outcome = remove_name(s, &alice, NULL, names[i], NULL);
        if (outcome != OUTCOME_ABSENT)
            assert_ok(outcome);
    }
    assert_ok(abort_upload(s, &alice, &trial->id));
    assert_ok(s->acts->mailbox_forget(s->store, &trial->mailbox, &store_why));
    bool left = true;
    while (left)
        assert_ok(s->acts->fan_out(s->store, 10, &left, &store_why));
    if (trial->serial % 16 == 0) {
        step(s, STORE_ANSWER_SECONDS + 100);
        sweep(s, NULL, NULL);
    }
}

/* ---- what is to be seen ---- */

static bool has_version(struct subject *subject, const char *name, const struct id *version)
{
    struct store_entry entry;
    enum outcome outcome = stat_name(subject, name, &entry);
    if (outcome != OUTCOME_ABSENT)
        assert_ok(outcome);
    return outcome == OUTCOME_OK && id_equal(&entry.version, version);
}

enum trial_state look_made(const struct trial *trial, struct subject *subject)
{
    return has_version(subject, trial->name, &trial->id) ? TRIAL_DONE : TRIAL_NOT;
}

enum trial_state look_replaced(const struct trial *trial, struct subject *subject)
{
    if (has_version(subject, trial->name, &trial->id))
        return TRIAL_DONE;
    return has_version(subject, trial->name, &trial->version) ? TRIAL_NOT : TRIAL_HALF;
}

enum trial_state look_removed(const struct trial *trial, struct subject *subject)
{
    return has_version(subject, trial->name, &trial->version) ? TRIAL_NOT : TRIAL_DONE;
}

enum trial_state look_renamed(const struct trial *trial, struct subject *subject)
{
    bool source = has_version(subject, trial->name, &trial->version);
    bool target = has_version(subject, trial->other, &trial->id);
    if (source == target)
        return TRIAL_HALF;
    return target ? TRIAL_DONE : TRIAL_NOT;
}

/* Whether it waits, and how long yet. */
static bool find_interest(const struct trial *trial, struct subject *subject, struct store_interest *out)
{
    size_t count = interests(subject, &trial->mailbox, out, 1);
    return count == 1 && id_equal(&out->interest, &trial->interest) && out->state == STORE_WAITING;
}

enum trial_state look_waiting(const struct trial *trial, struct subject *subject)
{
    struct store_interest row = {0};
    return find_interest(trial, subject, &row) ? TRIAL_DONE : TRIAL_NOT;
}

enum trial_state look_renewed(const struct trial *trial, struct subject *subject)
{
    struct store_interest row = {0};
    if (!find_interest(trial, subject, &row))
        return TRIAL_HALF;
    return row.seconds_left > TRIAL_SECONDS ? TRIAL_DONE : TRIAL_NOT;
}

enum trial_state look_dropped(const struct trial *trial, struct subject *subject)
{
    struct store_interest row = {0};
    return find_interest(trial, subject, &row) ? TRIAL_NOT : TRIAL_DONE;
}

enum trial_state look_forgotten(const struct trial *trial, struct subject *subject)
{
    struct store_event none[1];
    size_t count;
    bool more;
    enum outcome outcome = subject->acts->mailbox_events(subject->store, &trial->mailbox, 0, none, 1, &count,
                                                         &more, &store_why);
    if (outcome != OUTCOME_ABSENT)
        assert_ok(outcome);
    return outcome == OUTCOME_ABSENT ? TRIAL_DONE : TRIAL_NOT;
}

/* Events of the trial's mailbox; one too many is half an act. */
static size_t count_events(const struct trial *trial, struct subject *subject)
{
    struct store_event some[4];
    bool more = false;
    size_t count = events(subject, &trial->mailbox, 0, some, 4, &more);
    return more ? 5 : count;
}

enum trial_state look_told(const struct trial *trial, struct subject *subject)
{
    size_t count = count_events(trial, subject);
    return count > 1 ? TRIAL_HALF : count == 1 ? TRIAL_DONE : TRIAL_NOT;
}

enum trial_state look_acknowledged(const struct trial *trial, struct subject *subject)
{
    size_t count = count_events(trial, subject);
    return count > 1 ? TRIAL_HALF : count == 0 ? TRIAL_DONE : TRIAL_NOT;
}
