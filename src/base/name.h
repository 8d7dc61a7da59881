/*
 * name: what a file may be called on the wire.
 *
 * A name is UTF-8, kept byte for byte, up to NAME_SIZE_MAX bytes, '/' between
 * parts of up to NAME_PART_MAX bytes. It is never a path. Names come as bytes
 * with a count; once checked they hold no NUL and are passed on as C strings.
 */
#pragma once

#include "base/outcome.h"

#include <stddef.h>

enum { NAME_SIZE_MAX = 1023, NAME_PART_MAX = 255, NAME_BUFFER = NAME_SIZE_MAX + 1 };

/*
 * OK, or INVALID with a reason that says what and where: empty; too long; a
 * part too long; a control character (C0, DEL, C1) at byte N; a slash at either
 * end; an empty part; a part "." or ".."; invalid UTF-8 at byte N. Bytes count
 * from 0. On OK `out` holds the name and a NUL. The reason never repeats the
 * name's own bytes, so it may be shown as it is.
 */
must_check enum outcome name_check(const void *bytes, size_t count, char out[NAME_BUFFER], struct failure *why);

/*
 * For terminals and logs: control characters, invalid UTF-8, bidirectional
 * controls and line separators byte by byte as \xNN, a backslash as \\; all
 * else as it is. Writes at most `size` bytes with a NUL (cut with "..." if
 * longer, never inside a character or an escape). `bytes` may be NULL if `count`
 * is 0. Returns `out`.
 */
char *name_show(const void *bytes, size_t count, char *out, size_t size);
/* The same for another's words, which show the names in them already: a backslash stays as it is. */
char *name_show_words(const void *bytes, size_t count, char *out, size_t size);
