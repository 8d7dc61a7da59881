/*
 * output: data on standard output, plain and as JSON lines, from one description.
 *
 * A record is an array of fields. As JSON it is an object on a line of its own.
 * Plain it is shown in one of three ways:
 *
 *   output_line   values with tabs between them, for programs; never for a
 *                 terminal's sake otherwise: sizes in bytes, times in UTC
 *   output_row    aligned with the rows before and after it (output_rows_end)
 *   output_card   a line for each field, key and value
 *
 * Rows and cards are for people where standard output is a terminal: sizes as
 * "4.2 GiB", times local. Whatever a peer chose (names, patterns, owners) goes
 * through name_show when plain, so that it can't forge lines or move a cursor.
 *
 * Whether all of it could be written is asked once, with output_flush. A struct
 * output is used by one thread at a time.
 */
#pragma once

#include "base/outcome.h"

#include <fileshare/fileshare.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum field_kind {
    FIELD_WORD, /* text of ours */
    FIELD_NAME, /* text of a peer or a user */
    FIELD_NUMBER,
    FIELD_SIZE,   /* bytes */
    FIELD_TIME,   /* ns since 1970 */
    FIELD_LEFT,   /* seconds, for people as "1h 5m" */
    FIELD_OCTETS, /* 16 octets as hex digits */
    FIELD_FLAG,   /* JSON's true or false; plain: its key, or nothing */
};

struct field {
    const char *key; /* JSON's, and a card's */
    enum field_kind kind;
    bool json_only;
    const char *text;
    uint64_t number;
    int64_t time;
    const uint8_t *octets;
};

#define FIELD_WORD(name, value)                            \
    {                                                      \
        .key = (name), .kind = FIELD_WORD, .text = (value) \
    }
#define FIELD_NAME(name, value)                            \
    {                                                      \
        .key = (name), .kind = FIELD_NAME, .text = (value) \
    }
#define FIELD_NUMBER(name, value)                              \
    {                                                          \
        .key = (name), .kind = FIELD_NUMBER, .number = (value) \
    }
#define FIELD_SIZE(name, value)                              \
    {                                                        \
        .key = (name), .kind = FIELD_SIZE, .number = (value) \
    }
#define FIELD_TIME(name, value)                            \
    {                                                      \
        .key = (name), .kind = FIELD_TIME, .time = (value) \
    }
#define FIELD_LEFT(name, value)                              \
    {                                                        \
        .key = (name), .kind = FIELD_LEFT, .number = (value) \
    }
#define FIELD_OCTETS(name, value)                              \
    {                                                          \
        .key = (name), .kind = FIELD_OCTETS, .octets = (value) \
    }
#define FIELD_FLAG(name, value)                              \
    {                                                        \
        .key = (name), .kind = FIELD_FLAG, .number = (value) \
    }

enum { OUTPUT_COLUMNS = 10, OUTPUT_ROWS = 512, OUTPUT_TEXT_SIZE = 4 * FILESHARE_NAME_SIZE };

struct output_row {
    char *cells[OUTPUT_COLUMNS];
};

/* Starts as { 0 } and what the caller says of it; output_fini. */
struct output {
    bool json;
    bool terminal;           /* standard output is one */
    struct output_row *rows; /* OUTPUT_ROWS of them, when the first came */
    size_t row_count;
    unsigned wide[OUTPUT_COLUMNS]; /* characters; never shrinks, so that later rows stay in line */
    bool right[OUTPUT_COLUMNS];
    bool failed; /* there was no memory for some of it */
};

void output_fini(struct output *output);

void output_line(struct output *output, const struct field *fields, size_t count);
void output_row(struct output *output, const struct field *fields, size_t count);
void output_rows_end(struct output *output); /* prints what is held back, and begins anew */
void output_card(struct output *output, const struct field *fields, size_t count);

/* LOCAL if something could not be written since it was last asked (with why->text "" for a pipe that its reader closed). */
must_check enum outcome output_flush(struct output *output, struct failure *why);

/* The fields of an entry, in the order of a card: name, size, digest, owner, mtime, arrival, version. */
enum { ENTRY_FIELDS = 7 };
void output_entry_fields(const struct fileshare_entry *entry, struct field fields[ENTRY_FIELDS]);

/* "2026-11-22T13:46:48Z"; local and shorter if `people`. Returns `text`. */
enum { OUTPUT_TIME_SIZE = 40 };
char *output_time(int64_t ns, bool people, char text[OUTPUT_TIME_SIZE]);
