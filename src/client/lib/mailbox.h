/*
 * mailbox: the durable mailbox of this user at one store: a small file.
 *
 * <state folder>/mailboxes/<instance>, mode 0600, made when first needed. It
 * holds the mailbox's secret, the pid of who holds it, and the number of the last
 * event that was shown, in two slots written in turn: whatever a crash cuts off,
 * one of them is whole, and the higher one counts. All of it lies in one sector.
 *
 *     mailbox_name                        its secret, for who only names it
 *     mailbox_hold -> mailbox_record ... -> mailbox_let_go
 *
 * It is held under flock: by one process at a time, until it lets go or ends.
 */
#pragma once

#include "base/id.h"
#include "base/outcome.h"

#include <stdint.h>

struct mailbox {
    int fd; /* -1: not held */
    struct id id;
    uint64_t shown; /* number of the last event that was shown */
    unsigned slot;  /* to be written next */
    char path[4096];
};

/* Makes the file if there is none. LOCAL, NOSPACE; CORRUPT if it is no mailbox. `folder` NULL: LOCAL. */
must_check enum outcome mailbox_name(const char *folder, const struct id *instance, struct id *out,
                                     struct failure *why);

/* Besides: HELD, with the pid of who has it. */
must_check enum outcome mailbox_hold(const char *folder, const struct id *instance, struct mailbox *out,
                                     struct failure *why);

/* Durable when it answers. `number` must not fall. */
must_check enum outcome mailbox_record(struct mailbox *mailbox, uint64_t number, struct failure *why);

void mailbox_let_go(struct mailbox *mailbox); /* one that is not held is fine */
