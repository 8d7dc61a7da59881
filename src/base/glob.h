/*
 * glob: patterns over names.
 *
 * '*' and '?' stop at '/', '**' crosses it, '?' is one UTF-8 character, '[...]'
 * a set of characters and ranges ('!' or '^' first negates; ']' first is
 * literal; never matches '/'), '\' takes the next character literally. Case
 * counts; there is no locale. Matching takes time linear in the name times the
 * pattern at worst, never exponential.
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
 * characters. INVALID with the place and the reason for one that can't be (a
 * '[' without end, '\' at the end, an empty pattern); NOMEM.
 */
must_check enum outcome glob_new(const char *pattern, struct glob **out, struct failure *why);
void *glob_free(struct glob *glob); /* NULL is fine; returns NULL */

bool glob_match(const struct glob *glob, const char *name);

/* The literal bytes every matching name begins with (unescaped, NUL-ended, maybe empty). Lives as long as the glob. */
const char *glob_prefix(const struct glob *glob);

/* Whether `text` holds any character that a glob would take as special (* ? [ \). */
bool glob_is_pattern(const char *text);
