/*
 * schema: what the database holds, as one text (schema.c), and the way there
 * from the forms of earlier releases.
 *
 * Whoever changes schema_text adds one to SCHEMA_VERSION, a step that makes the
 * new form of the old one, and a small store of the old form to tests/fixtures.
 */
#pragma once

#include "base/outcome.h"
#include "server/store/local/database.h"

enum {
    SCHEMA_APPLICATION = 0x46534852, /* "FSHR": PRAGMA application_id of our databases */
    SCHEMA_VERSION = 5, /* PRAGMA user_version; a store with a higher one is from a newer release */
};

/* Content of many files, more than half of which is nobody's any more (condense.h); an index holds these. */
#define CONTENT_WASTED "parts IS NOT NULL AND live * 2 < size"

extern const char schema_text[];

/* Statements that make form `from` + 1 of form `from`. */
struct schema_step {
    int from;
    const char *text; /* NULL ends a table */
};
extern const struct schema_step schema_steps[];

/*
 * From form `version` to form `target`, each step a transaction of its own: what
 * breaks in the middle is at the form it came to, and goes on there. CORRUPT if
 * there is no step from a form on the way (no release ever made it).
 */
must_check enum outcome schema_upgrade(struct database *db, const struct schema_step *steps, int version,
                                       int target, struct failure *why);
