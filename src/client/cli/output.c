#include "client/cli/output.h"

#include "base/duration.h"
#include "base/name.h"
#include "base/scoped.h"
#include "client/cli/translate.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- values as texts ---- */

char *output_time(int64_t ns, bool people, char text[OUTPUT_TIME_SIZE])
{
    int64_t nanoseconds = ns % 1000000000;
    time_t seconds = (time_t)(ns / 1000000000 - (nanoseconds < 0));
    struct tm parts;
    struct tm *known = people ? localtime_r(&seconds, &parts) : gmtime_r(&seconds, &parts);
    if (!known ||
        strftime(text, OUTPUT_TIME_SIZE, people ? "%Y-%m-%d %H:%M" : "%Y-%m-%dT%H:%M:%SZ", known) == 0)
        snprintf(text, OUTPUT_TIME_SIZE, "%lld", (long long)seconds);
    return text;
}

/* JSON's times keep their nanoseconds. */
static char *exact_time(int64_t ns, char text[OUTPUT_TIME_SIZE])
{
    char seconds[OUTPUT_TIME_SIZE];
    output_time(ns, false, seconds);
    int64_t rest = ns % 1000000000;
    size_t size = strlen(seconds);
    if (size == 0 || seconds[size - 1] != 'Z')
        size++;
    snprintf(text, OUTPUT_TIME_SIZE, "%.*s.%09lldZ", (int)size - 1, seconds,
             (long long)(rest < 0 ? rest + 1000000000 : rest));
    return text;
}

static char *hex(const uint8_t octets[16], char text[33])
{
    for (size_t i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", octets[i]);
    return text;
}

/* `people`: sizes and times for them. Returns `text`. */
static char *field_text(const struct field *field, bool people, char text[OUTPUT_TEXT_SIZE])
{
    switch (field->kind) {
    case FIELD_WORD: snprintf(text, OUTPUT_TEXT_SIZE, "%s", field->text); break;
    case FIELD_NAME: name_show(field->text, strlen(field->text), text, OUTPUT_TEXT_SIZE); break;
    case FIELD_SIZE:
        if (people) {
            size_text(field->number, text);
            break;
        }
        /* fall through */
    case FIELD_NUMBER: snprintf(text, OUTPUT_TEXT_SIZE, "%llu", (unsigned long long)field->number); break;
    case FIELD_LEFT:
        if (people)
            duration_text(field->number, text);
        else
            snprintf(text, OUTPUT_TEXT_SIZE, "%llu", (unsigned long long)field->number);
        break;
    case FIELD_TIME: output_time(field->time, people, text); break;
    case FIELD_OCTETS: hex(field->octets, text); break;
    case FIELD_FLAG: snprintf(text, OUTPUT_TEXT_SIZE, "%s", field->number ? field->key : "-"); break;
    }
    return text;
}

/* ---- JSON ---- */

static json_t *json_text(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    /* none of ours: a name that is not UTF-8 */
    char shown[OUTPUT_TEXT_SIZE];
    return json_string(name_show(text, strlen(text), shown, sizeof shown));
}

static json_t *json_value(const struct field *field)
{
    char text[OUTPUT_TEXT_SIZE];
    switch (field->kind) {
    case FIELD_WORD:
    case FIELD_NAME: return json_text(field->text);
    case FIELD_NUMBER:
    case FIELD_SIZE:
    case FIELD_LEFT: return json_integer((json_int_t)field->number);
    case FIELD_TIME: return json_string(exact_time(field->time, text));
    case FIELD_OCTETS: return json_string(hex(field->octets, text));
    case FIELD_FLAG: return json_boolean(field->number);
    }
    return NULL;
}

static void print_json(struct output *output, const struct field *fields, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        if (json_object_set_new(object, fields[i].key, json_value(&fields[i])) != 0)
            output->failed = true;
    }
    /* A terminal could be misled by characters that turn the order of a line around. */
    size_t flags = JSON_COMPACT | (output->terminal ? JSON_ENSURE_ASCII : 0);
    scoped_free char *line = object ? json_dumps(object, flags) : NULL;
    json_decref(object);
    if (!line) {
        output->failed = true;
        return;
    }
    fputs(line, stdout);
    fputc('\n', stdout);
}

/* ---- lines and cards ---- */

void output_line(struct output *output, const struct field *fields, size_t count)
{
    if (output->json) {
        print_json(output, fields, count);
        return;
    }
    bool first = true;
    for (size_t i = 0; i < count; i++) {
        char text[OUTPUT_TEXT_SIZE];
        if (fields[i].json_only)
            continue;
        if (!first)
            fputc('\t', stdout);
        fputs(fields[i].kind == FIELD_WORD ? fields[i].text : field_text(&fields[i], false, text), stdout);
        first = false;
    }
    fputc('\n', stdout);
}

void output_card(struct output *output, const struct field *fields, size_t count)
{
    if (output->json) {
        print_json(output, fields, count);
        return;
    }
    int wide = 0;
    for (size_t i = 0; i < count; i++) {
        int size = (int)strlen(fields[i].key);
        wide = size > wide ? size : wide;
    }
    for (size_t i = 0; i < count; i++) {
        char text[OUTPUT_TEXT_SIZE];
        if (!fields[i].json_only)
            printf("%-*s  %s\n", wide, fields[i].key, field_text(&fields[i], output->terminal, text));
    }
}

/* ---- rows ---- */

/* Characters, near enough for alignment. */
static unsigned characters(const char *text)
{
    unsigned count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static void rows_drop(struct output *output)
{
    for (size_t i = 0; i < output->row_count; i++) {
        for (size_t column = 0; column < OUTPUT_COLUMNS; column++) {
            free(output->rows[i].cells[column]);
            output->rows[i].cells[column] = NULL;
        }
    }
    output->row_count = 0;
}

void output_fini(struct output *output)
{
    rows_drop(output);
    free(output->rows);
    output->rows = NULL;
}

static void print_row(const struct output *output, const struct output_row *row)
{
    for (size_t column = 0; column < OUTPUT_COLUMNS && row->cells[column]; column++) {
        const char *cell = row->cells[column];
        bool last = column + 1 == OUTPUT_COLUMNS || !row->cells[column + 1];
        int pad = (int)(output->wide[column] - characters(cell));
        if (output->right[column])
            printf("%*s%s", pad, "", cell);
        else
            printf("%s%*s", cell, last ? 0 : pad, "");
        fputs(last ? "\n" : "  ", stdout);
    }
}

static void print_rows(struct output *output)
{
    for (size_t i = 0; i < output->row_count; i++)
        print_row(output, &output->rows[i]);
    rows_drop(output);
}

void output_rows_end(struct output *output)
{
    print_rows(output);
    memset(output->wide, 0, sizeof output->wide);
}

static void hold_row(struct output *output, const struct field *fields, size_t count)
{
    struct output_row *row = &output->rows[output->row_count++];
    size_t column = 0;
    for (size_t i = 0; i < count && column < OUTPUT_COLUMNS; i++) {
        char text[OUTPUT_TEXT_SIZE];
        if (fields[i].json_only)
            continue;
        row->cells[column] = strdup(field_text(&fields[i], output->terminal, text));
        if (!row->cells[column]) {
            output->failed = true;
            return;
        }
        unsigned wide = characters(text);
        if (wide > output->wide[column])
            output->wide[column] = wide;
        output->right[column] = fields[i].kind == FIELD_NUMBER || fields[i].kind == FIELD_SIZE;
        column++;
    }
}

void output_row(struct output *output, const struct field *fields, size_t count)
{
    if (output->json) {
        print_json(output, fields, count);
        return;
    }
    if (output->row_count == OUTPUT_ROWS)
        print_rows(output);
    if (!output->rows)
        output->rows = calloc(OUTPUT_ROWS, sizeof *output->rows);
    if (output->rows)
        hold_row(output, fields, count);
    else
        output->failed = true;
}

/* ---- the end ---- */

enum outcome output_flush(struct output *output, struct failure *why)
{
    print_rows(output);
    bool failed = output->failed;
    output->failed = false;
    int flushed = fflush(stdout), error = errno;
    if (flushed != 0 || ferror(stdout)) {
        clearerr(stdout);
        if (flushed != 0 && error == EPIPE) {
            why->text[0] = '\0';
            return OUTCOME_LOCAL;
        }
        if (flushed == 0) /* it failed before, and nobody knows why any more */
            return failure_set(why, OUTCOME_LOCAL, _("not all could be written to standard output"));
        return failure_system(why, OUTCOME_LOCAL, error, _("cannot write to standard output"));
    }
    if (failed)
        return failure_set(why, OUTCOME_NOMEM, _("no memory for all of the output"));
    return OUTCOME_OK;
}

void output_entry_fields(const struct fileshare_entry *entry, struct field fields[ENTRY_FIELDS])
{
    const struct field rows[ENTRY_FIELDS] = {
        FIELD_NAME("name", entry->name),
        FIELD_SIZE("size", entry->size),
        FIELD_OCTETS("digest", entry->digest),
        FIELD_NAME("owner", entry->owner),
        FIELD_TIME("mtime", entry->mtime),
        FIELD_TIME("arrival", entry->arrival),
        FIELD_OCTETS("version", entry->version.octets),
    };
    memcpy(fields, rows, sizeof rows);
}
