/* upload_small: a small file goes up in one call. */
#pragma once

#include "client/lib/upload.h"

/* All of the content, which is so many bytes; as upload_send. */
must_check enum outcome upload_small(const struct upload *upload, size_t size, struct fileshare_entry *out,
                                     struct failure *why);
