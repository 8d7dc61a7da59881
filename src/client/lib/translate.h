/*
 * translate: between the structs of proto/fileshare.x and the values of this library.
 *
 * Bytes that go to the wire stay where they are: what they are taken from must
 * outlive the call. Bytes that come from it are copied, and never trusted: text
 * for people is made fit to print.
 */
#pragma once

#include "base/digest.h"
#include "base/id.h"
#include "base/outcome.h"
#include "callback/event.h"
#include "fileshare/fileshare.h"

#include "proto/fileshare.h"
#include <stddef.h>
#include <stdint.h>

fs_name translate_name(const char *name);
fs_text translate_text(const char *text);
fs_address translate_address(const char *text);
fs_id translate_id(const struct id *id);
fs_digest translate_digest(const struct digest_value *digest);

struct id translate_id_read(const fs_id *id);
/* For people: printable, cut to `size`, NUL-ended. */
void translate_text_read(const fs_text *text, char *out, size_t size);

/*
 * The outcome that a status means, described as "<subject>: <the server's
 * reason, or our own words>". FS_OK is OUTCOME_OK.
 */
must_check enum outcome translate_outcome(fs_status status, const fs_text *reason, const char *subject,
                                          struct failure *why);

/* Checked as event.h says. */
must_check enum outcome translate_entry(const fs_entry *wire, struct fileshare_entry *out,
                                        struct failure *why);
void translate_entry_public(const struct event_entry *entry, struct fileshare_entry *out);
void translate_event_public(const struct event *event, const char *route, struct fileshare_event *out);

struct fileshare_id translate_id_public(const struct id *id);
struct id translate_id_private(const struct fileshare_id *id);

/* "dial-back" and so on; static. */
const char *translate_route(fs_route route);

/* To callers NOSPACE is the server's; that of a disk of this machine is LOCAL. Other outcomes pass. */
enum outcome translate_here(enum outcome outcome, struct failure *why);

/* Fills `error` (may be NULL), and returns the public status. */
enum fileshare_status translate_report(enum outcome outcome, const struct failure *why,
                                       struct fileshare_error *error);
