/*
 * by_hand: calls that the library makes seldom, or never in this way, over one of its sessions: their ids and
 * numbers are the test's. A call that is not answered with OK fails the test.
 */
#pragma once

#include "base/id.h"
#include "client/lib/session.h"

#include "proto/fileshare.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A mailbox without a way back; `waiting` events are in it. */
void by_hand_attach(struct fileshare *session, const struct id *mailbox, uint64_t waiting);
void by_hand_forget(struct fileshare *session, const struct id *mailbox);
/* An interest in every arrival that the glob matches. */
void by_hand_register(struct fileshare *session, const struct id *mailbox, const char *glob);
/* Acknowledges up to `since`, asks for what follows; how many came, and their numbers. More there may not be. */
size_t by_hand_events(struct fileshare *session, const struct id *mailbox, uint64_t since,
                      uint64_t numbers[FS_EVENTS_MAX]);

/* How much of it is held. */
uint64_t by_hand_open(struct fileshare *session, const struct id *upload, const char *name);
void by_hand_data(struct fileshare *session, const struct id *upload, void *bytes, size_t count);
/* One piece of these bytes, tried once: false if there was no answer. FS_OK and FS_OFFSET are both fine. */
bool by_hand_piece(struct fileshare *session, const struct id *upload, uint8_t *bytes, uint64_t offset,
                   size_t count, fs_status *status, uint64_t *held);
/* COMMIT of all of these bytes: what it says. */
fs_status by_hand_commit(struct fileshare *session, const struct id *upload, const void *bytes, size_t size);
/* FOLDER/0, FOLDER/1... in one call, all of these bytes. At most BY_HAND_MANY. */
enum { BY_HAND_MANY = 8 };
void by_hand_put_many(struct fileshare *session, const char *folder, unsigned count, void *bytes,
                      size_t size);
void by_hand_abort(struct fileshare *session, const struct id *upload);
