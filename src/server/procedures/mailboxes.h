/*
 * mailboxes: ATTACH, DETACH, EVENTS; and what REGISTER_INTEREST shares with
 * ATTACH.
 */
#pragma once

#include "server/procedures/wire.h"

/* Gives the mailbox the way back that the client hands over. `out` may be NULL. Answers as delivery_attach. */
must_check enum outcome mailboxes_attach(struct rpc_call *call, const struct id *mailbox,
                                         const fs_callback *callback, fs_attachment *out, struct failure *why);
