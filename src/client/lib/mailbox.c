#include "client/lib/mailbox.h"

#include "base/disk.h"
#include "base/fault.h"
#include "base/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

/* The file: lines of fixed length. A slot holds its number twice, so that half a slot is known for what it is. */
#define FIRST_LINE  "fileshare mailbox 1\n"
#define ID_FORMAT   "%32s\n"
#define PID_FORMAT  "%010ld\n"
#define SLOT_FORMAT "%020" PRIu64 " %020" PRIu64 "\n"

enum {
    FIRST_SIZE = sizeof FIRST_LINE - 1,
    ID_AT = FIRST_SIZE,
    PID_AT = ID_AT + 33,
    PID_SIZE = 11,
    SLOT_AT = PID_AT + PID_SIZE,
    SLOT_SIZE = 42,
    FILE_SIZE = SLOT_AT + 2 * SLOT_SIZE
};

/* ---- reading ---- */

static enum outcome spoilt(const char *path, struct failure *why)
{
    return failure_set(why, OUTCOME_CORRUPT,
                       "\"%s\" is no mailbox of this program; move it away, and a new one is made", path);
}

static bool read_slot(const char *text, uint64_t *out)
{
    char twice[SLOT_SIZE + 1];
    uint64_t number;
    if (sscanf(text, "%20" SCNu64, &number) != 1)
        return false;
    snprintf(twice, sizeof twice, SLOT_FORMAT, number, number);
    if (memcmp(twice, text, SLOT_SIZE) != 0)
        return false;
    *out = number;
    return true;
}

static enum outcome parse(struct mailbox *mailbox, const char *text, struct failure *why)
{
    char id[ID_TEXT_SIZE];
    memcpy(id, text + ID_AT, 32);
    id[32] = '\0';
    uint64_t numbers[2];
    bool first = read_slot(text + SLOT_AT, &numbers[0]);
    bool second = read_slot(text + SLOT_AT + SLOT_SIZE, &numbers[1]);
    if (memcmp(text, FIRST_LINE, FIRST_SIZE) != 0 || id_parse(id, &mailbox->id, NULL) != OUTCOME_OK ||
        (!first && !second))
        return spoilt(mailbox->path, why);
    unsigned best = !first || (second && numbers[1] > numbers[0]) ? 1 : 0;
    mailbox->shown = numbers[best];
    mailbox->slot = 1 - best;
    return OUTCOME_OK;
}

static enum outcome read_file(struct mailbox *mailbox, int fd, struct failure *why)
{
    char text[FILE_SIZE + 1] = "";
    ssize_t got = pread(fd, text, FILE_SIZE, 0);
    if (got < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot read \"%s\"", mailbox->path);
    if (got != FILE_SIZE)
        return spoilt(mailbox->path, why);
    return parse(mailbox, text, why);
}

/* ---- making ---- */

static enum outcome write_new(int fd, const char *path, struct failure *why)
{
    struct id id = id_random();
    char id_chars[ID_TEXT_SIZE], text[FILE_SIZE + 64];
    int size = snprintf(text, sizeof text, FIRST_LINE ID_FORMAT PID_FORMAT SLOT_FORMAT SLOT_FORMAT,
                        id_text(&id, id_chars), 0L, UINT64_C(0), UINT64_C(0), UINT64_C(0), UINT64_C(0));
    if (size != FILE_SIZE)
        return failure_set(why, OUTCOME_FAULT, "a mailbox would have %d bytes", size);
    enum outcome outcome = disk_write_at(fd, text, FILE_SIZE, 0, path, why);
    if (outcome == OUTCOME_OK && fsync(fd) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot write \"%s\"", path);
    return outcome;
}

/* Whole under another name first, then under its own: who comes second takes what the first made. */
static enum outcome make(int folder_fd, const char *folder, const char *leaf, struct failure *why)
{
    char temporary[64], text[ID_TEXT_SIZE];
    struct id random = id_random();
    snprintf(temporary, sizeof temporary, ".new.%s", id_text(&random, text));
    scoped_fd int fd = openat(folder_fd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot make a mailbox in \"%s\"", folder);
    enum outcome outcome = write_new(fd, folder, why);
    if (outcome == OUTCOME_OK && linkat(folder_fd, temporary, folder_fd, leaf, 0) != 0 && errno != EEXIST)
        outcome = failure_system(why, OUTCOME_LOCAL, errno, "cannot make a mailbox in \"%s\"", folder);
    FAULT_POINT("mailbox-linked");
    unlinkat(folder_fd, temporary, 0);
    return outcome == OUTCOME_OK ? disk_sync_folder(folder_fd, folder, why) : outcome;
}

/* Opens the file, which is made if there is none. */
static enum outcome open_file(const char *state, const struct id *instance, struct mailbox *mailbox, int *out,
                              struct failure *why)
{
    char leaf[ID_TEXT_SIZE], folder[sizeof mailbox->path - ID_TEXT_SIZE];
    if (!state)
        return failure_set(why, OUTCOME_LOCAL,
                           "there is no folder for mailboxes: neither XDG_STATE_HOME nor HOME is set");
    id_text(instance, leaf);
    int size = snprintf(folder, sizeof folder, "%s/mailboxes", state);
    if (size < 0 || (size_t)size >= sizeof folder)
        return failure_system(why, OUTCOME_LOCAL, ENAMETOOLONG, "cannot open the folder \"%s\"", state);
    snprintf(mailbox->path, sizeof mailbox->path, "%s/%s", folder, leaf);
    enum outcome outcome = disk_make_folder(folder, 0700, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    scoped_fd int folder_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder_fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot open the folder \"%s\"", folder);
    int fd = openat(folder_fd, leaf, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        outcome = make(folder_fd, folder, leaf, why);
        if (outcome != OUTCOME_OK)
            return outcome;
        fd = openat(folder_fd, leaf, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    }
    if (fd < 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot open the mailbox \"%s\"", mailbox->path);
    *out = fd;
    return OUTCOME_OK;
}

/* ---- holding ---- */

enum outcome mailbox_name(const char *folder, const struct id *instance, struct id *out, struct failure *why)
{
    struct mailbox mailbox = {.fd = -1};
    scoped_fd int fd = -1;
    enum outcome outcome = open_file(folder, instance, &mailbox, &fd, why);
    if (outcome == OUTCOME_OK)
        outcome = read_file(&mailbox, fd, why);
    if (outcome == OUTCOME_OK)
        *out = mailbox.id;
    return outcome;
}

static enum outcome held(const struct mailbox *mailbox, int fd, struct failure *why)
{
    char text[PID_SIZE + 1] = "";
    long pid = 0;
    if (pread(fd, text, PID_SIZE, PID_AT) == PID_SIZE)
        sscanf(text, "%10ld", &pid);
    return failure_set(why, OUTCOME_HELD,
                       "the mailbox \"%s\" is held by process %ld; events are shown there, or end it first",
                       mailbox->path, pid);
}

enum outcome mailbox_hold(const char *folder, const struct id *instance, struct mailbox *out,
                          struct failure *why)
{
    struct mailbox mailbox = {.fd = -1};
    scoped_fd int fd = -1;
    enum outcome outcome = open_file(folder, instance, &mailbox, &fd, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return held(&mailbox, fd, why);
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot lock \"%s\"", mailbox.path);
    }
    outcome = read_file(&mailbox, fd, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    char pid[PID_SIZE + 16];
    snprintf(pid, sizeof pid, PID_FORMAT, (long)getpid());
    outcome = disk_write_at(fd, pid, PID_SIZE, PID_AT, mailbox.path, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    mailbox.fd = take_fd(&fd);
    *out = mailbox;
    return OUTCOME_OK;
}

enum outcome mailbox_record(struct mailbox *mailbox, uint64_t number, struct failure *why)
{
    char text[SLOT_SIZE + 1];
    snprintf(text, sizeof text, SLOT_FORMAT, number, number);
    enum outcome outcome = disk_write_at(mailbox->fd, text, SLOT_SIZE,
                                         SLOT_AT + (uint64_t)mailbox->slot * SLOT_SIZE, mailbox->path, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    FAULT_POINT("mailbox-written");
    if (fdatasync(mailbox->fd) != 0)
        return failure_system(why, OUTCOME_LOCAL, errno, "cannot write \"%s\"", mailbox->path);
    mailbox->shown = number;
    mailbox->slot = 1 - mailbox->slot;
    return OUTCOME_OK;
}

void mailbox_let_go(struct mailbox *mailbox)
{
    if (mailbox->fd >= 0)
        close(mailbox->fd);
    mailbox->fd = -1;
}
