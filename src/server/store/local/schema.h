/*
 * schema: what the database holds, as one text (schema.c).
 */
#pragma once

enum {
    SCHEMA_APPLICATION = 0x46534852, /* "FSHR": PRAGMA application_id of our databases */
    SCHEMA_VERSION = 1, /* PRAGMA user_version; a store with a higher one is from a newer release */
};

extern const char schema_text[];
