/*
 * put: one file goes up, and the question whether it had to.
 */
#pragma once

#include "client/lib/session.h"

/* As fileshare_put. */
must_check enum outcome put_one(struct fileshare *session, const struct fileshare_put *put,
                                struct fileshare_entry *out, bool *unchanged, struct failure *why);
