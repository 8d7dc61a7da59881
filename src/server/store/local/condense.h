/*
 * condense: content of many files, most of which are gone, makes room.
 *
 * Files that came together stand side by side in one piece of content, which can
 * go only as a whole. So when more than half of its bytes are nobody's any more,
 * those that are left are copied into a new piece that is as large as they are,
 * and the old one goes. What a store takes for such files is at most twice what
 * they have, and little besides.
 *
 * Which are left is looked up by the versions that they came with: `parts` of
 * the content's row. A version never moves to other content but here, and a
 * rename, which makes another version, takes the bytes along (files.c).
 *
 * Bytes first: the new content is durable before one transaction says that it is
 * theirs; the old blob goes after it. Who has the old one open reads on.
 *
 * Only the sweep calls this, and who makes room (room.h): with the sweep's lock and the store's pin (pin.h).
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>

struct local;

/* A few pieces; *left is set if there are more. Content that cannot be read stays as it is: fsck's affair. */
must_check enum outcome condense(struct local *local, bool *left, struct failure *why);
