/*
 * repair: what audit finds wrong is set right, without touching what is sound.
 *
 * An entry whose content is not what it says is set aside: its bytes, if there
 * are any, become lost/VERSION, a line in lost/list says what they were
 *
 *     VERSION <missing|size|digest> SIZE DIGEST OWNER NAME
 *
 * and then the entry goes, with versions kept of the same content. Bytes and
 * line are durable before the entry goes; broken in between, the next repair
 * does the rest (and adds the line again).
 *
 * Content that has a row which no entry uses becomes lost/BLOB with a line of its
 * own ("BLOB unnamed"): no crash leaves such, so it was somebody's. Content without a row is
 * what a crash leaves, and is removed. Then facts are made to fit (facts.h). What
 * cannot be looked at is left alone.
 */
#pragma once

#include "server/store/store.h"

enum outcome local_repair(struct store *store, bool deep, struct store_repair *out, struct failure *why)
    must_check;
