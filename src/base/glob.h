/*
 * glob: patterns over names.
 *
 * '*' and '?' stop at '/', '**' crosses it, '?' is one UTF-8 character, '[...]'
 * a set of characters and ranges ('!' or '^' first negates; ']' first is
 * literal, '-' first or last too; never matches '/'), '\' takes the next
 * character literally, in a set as well. Both stars may stand for nothing, but
 * slashes beside them are wanted as they stand: "**.c" matches "x.c" and "a/x.c",
 * "a/?**" what is below "a". Case counts; there is no locale, and no [:class:].
 * Matching takes time linear in the name times the pattern at worst, never
 * exponential.
 *
 * A struct glob is made once by glob_new and may then be matched from any
 * thread.
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>

struct glob;

/*
 * `pattern`: up to NAME_SIZE_MAX bytes of UTF-8, NUL-ended, without control
 * characters. INVALID with the place (bytes count from 0) and the reason for one
 * that can't be (a '[' without end, a range that runs backwards, '\' at the end,
 * an empty or too long pattern); NOMEM.
 */
must_check enum outcome glob_new(const char *pattern, struct glob **out, struct failure *why);
void *glob_free(struct glob *glob); /* NULL is fine; returns NULL */

/* Any C string may be asked about; a byte that is not UTF-8 counts as a character that only wildcards match. */
bool glob_match(const struct glob *glob, const char *name);

/* The literal bytes every matching name begins with (unescaped, NUL-ended, maybe empty). Lives as long as the glob. */
const char *glob_prefix(const struct glob *glob);

/* Whether `text` holds any character that a glob would take as special (* ? [ \). */
bool glob_is_pattern(const char *text);
