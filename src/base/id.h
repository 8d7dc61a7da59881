/*
 * id: sixteen random bytes that name an act, an upload, an interest, a mailbox.
 *
 * Ids are compared and hashed as bytes; all zeros means "none". Those that are
 * secrets (mailboxes, proofs, tickets) are never printed or logged, and are
 * compared in constant time with id_equal_secret.
 */
#pragma once

#include "base/outcome.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ID_SIZE = 16, ID_TEXT_SIZE = 33 };

struct id {
    uint8_t octets[ID_SIZE];
};

/* From the kernel's random source; aborts the process if there is none. Never all zeros. */
struct id id_random(void);
/* As many at once: a system call for each sixteen. */
void id_random_many(struct id *ids, size_t count);

bool id_is_none(const struct id *id);
bool id_equal(const struct id *a, const struct id *b);
bool id_equal_secret(const struct id *a, const struct id *b);

/* Lower-case hex and a NUL, into ID_TEXT_SIZE bytes. Returns `text`. */
char *id_text(const struct id *id, char text[ID_TEXT_SIZE]);

/* Reads 32 hex digits, no more and no fewer. INVALID otherwise. */
must_check enum outcome id_parse(const char *text, struct id *out, struct failure *why);
