/*
 * get: one file comes down.
 */
#pragma once

#include "client/lib/session.h"

/* As fileshare_get_to, but that the folder of `path` is `folder_fd`. */
must_check enum outcome get_beneath(struct fileshare *session, const struct fileshare_get *what, int folder_fd,
                                    const char *path, bool replace, struct fileshare_entry *out,
                                    struct failure *why);
