/*
 * duration: lengths of time ("30", "30s", "5m", "2h", "1d") and sizes ("512",
 * "64K", "2M") as people write and read them.
 */
#pragma once

#include "base/outcome.h"

#include <stddef.h>
#include <stdint.h>

enum { DURATION_TEXT_SIZE = 32 };

/* Seconds, 0 to UINT32_MAX. INVALID for anything else (sign, space, unknown unit, overflow), naming the text. */
must_check enum outcome duration_parse(const char *text, uint32_t *out_seconds, struct failure *why);

/* "1h 30m", "45s", "2d 3h": the largest unit and the one below it, the rest cut off. Returns `text`. */
char *duration_text(uint64_t seconds, char text[DURATION_TEXT_SIZE]);

/* "4.2 GiB", "812 B": powers of 1,024, rounded, one decimal below 10. Returns `text`. */
char *size_text(uint64_t bytes, char text[DURATION_TEXT_SIZE]);

/*
 * Bytes, 0 to UINT64_MAX: a number, and K, M, G or T (either case) for powers of
 * 1,024. INVALID for anything else, naming the text.
 */
must_check enum outcome size_parse(const char *text, uint64_t *out_bytes, struct failure *why);
