#include "base/options.h"

#include "base/duration.h"
#include "base/name.h"
#include "base/scoped.h"

#include <errno.h>
#include <libintl.h>
#include <popt.h>
#include <string.h>

/* Translated in a program that has a text domain. */
#define _(text) gettext(text)

enum { VALUE_HELP = 1, VALUE_VERSION = 2, VALUE_FIRST_ROW = 3 }; /* what popt answers for an option */
enum { HELP_WIDTH = 79, HELP_COLUMN = 30, SHOWN_SIZE = 96 };

struct options {
    const struct options_program *program;
    size_t row_count;
    char **kept; /* every text that a variable or an argument points to */
    size_t kept_count;
    const char **arguments;
    size_t argument_count;
    bool told;
};

static bool is_end(const struct option *row)
{
    return !row->name && !row->help;
}

enum outcome options_new(const struct options_program *program, struct options **out, struct failure *why)
{
    struct options *options = calloc(1, sizeof *options);
    if (!options)
        return failure_system(why, OUTCOME_NOMEM, ENOMEM, "cannot read options");
    options->program = program;
    while (!is_end(&program->rows[options->row_count]))
        options->row_count++;
    *out = options;
    return OUTCOME_OK;
}

void *options_free(struct options *options)
{
    if (!options)
        return NULL;
    for (size_t i = 0; i < options->row_count; i++) {
        const struct option *row = &options->program->rows[i];
        if (row->kind != OPTION_TEXTS)
            continue;
        struct option_texts *texts = row->target;
        free(texts->rows);
        *texts = (struct option_texts){ 0 };
    }
    for (size_t i = 0; i < options->kept_count; i++)
        free(options->kept[i]);
    free(options->kept);
    free(options->arguments);
    free(options);
    return NULL;
}

/* A copy of `text` that lives as long as the options; NULL without memory. */
static char *keep(struct options *options, const char *text)
{
    char **grown = realloc(options->kept, (options->kept_count + 1) * sizeof *grown);
    if (!grown)
        return NULL;
    options->kept = grown;
    char *copy = strdup(text);
    if (copy)
        options->kept[options->kept_count++] = copy;
    return copy;
}

static enum outcome no_memory(struct failure *why)
{
    return failure_system(why, OUTCOME_NOMEM, ENOMEM, "cannot keep the options");
}

static enum outcome set_flag(bool *target, const char *value, struct failure *why)
{
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on" };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(value, words[i]) == 0) {
            *target = i % 2;
            return OUTCOME_OK;
        }
    }
    return failure_set(why, OUTCOME_INVALID, _("yes or no is wanted"));
}

static enum outcome add_text(struct option_texts *texts, const char *text, struct failure *why)
{
    const char **grown = realloc(texts->rows, (texts->count + 1) * sizeof *grown);
    if (!grown)
        return no_memory(why);
    texts->rows = grown;
    texts->rows[texts->count++] = text;
    return OUTCOME_OK;
}

static enum outcome parse_number(const char *value, uint64_t *out, struct failure *why)
{
    uint64_t number = 0;
    bool is_number = *value != '\0';
    for (const char *at = value; *at && is_number; at++) {
        is_number = *at >= '0' && *at <= '9';
        number = number * 10 + (uint64_t)(*at - '0');
        is_number = is_number && number <= UINT32_MAX;
    }
    if (!is_number) {
        char shown[SHOWN_SIZE];
        return failure_set(why, OUTCOME_INVALID, _("\"%s\" is not a number up to %u"),
                           name_show(value, strlen(value), shown, sizeof shown), UINT32_MAX);
    }
    *out = number;
    return OUTCOME_OK;
}

/* A number of the row's kind, in its range. */
static enum outcome parse_quantity(const struct option *row, const char *value, uint64_t *out, struct failure *why)
{
    uint64_t quantity = 0;
    uint32_t seconds = 0;
    enum outcome outcome;
    if (row->kind == OPTION_DURATION) {
        outcome = duration_parse(value, &seconds, why);
        quantity = seconds;
    } else if (row->kind == OPTION_SIZE)
        outcome = size_parse(value, &quantity, why);
    else
        outcome = parse_number(value, &quantity, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (quantity < row->least)
        return failure_set(why, OUTCOME_INVALID, _("%llu is too little, at least %llu is wanted"),
                           (unsigned long long)quantity, (unsigned long long)row->least);
    if (row->most > 0 && quantity > row->most)
        return failure_set(why, OUTCOME_INVALID, _("%llu is too much, at most %llu may be"),
                           (unsigned long long)quantity, (unsigned long long)row->most);
    *out = quantity;
    return OUTCOME_OK;
}

static enum outcome set_quantity(const struct option *row, const char *value, struct failure *why)
{
    uint64_t quantity = 0;
    enum outcome outcome = parse_quantity(row, value, &quantity, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (row->kind == OPTION_SIZE)
        *(uint64_t *)row->target = quantity;
    else if (row->kind == OPTION_DURATION)
        *(uint32_t *)row->target = (uint32_t)quantity;
    else
        *(unsigned *)row->target = (unsigned)quantity;
    return OUTCOME_OK;
}

static enum outcome set_text(struct options *options, const struct option *row, const char *value,
                             struct failure *why)
{
    const char *text = keep(options, value);
    if (!text)
        return no_memory(why);
    if (row->kind == OPTION_TEXTS)
        return add_text(row->target, text, why);
    *(const char **)row->target = text;
    return OUTCOME_OK;
}

/* `title`: what the failure calls the option. */
static enum outcome set_row(struct options *options, const struct option *row, const char *title, const char *value,
                            struct failure *why)
{
    struct failure own = { .text = "" };
    enum outcome outcome;
    if (row->kind == OPTION_FLAG)
        outcome = set_flag(row->target, value, &own);
    else if (row->kind == OPTION_TEXT || row->kind == OPTION_TEXTS)
        outcome = set_text(options, row, value, &own);
    else
        outcome = set_quantity(row, value, &own);
    return outcome == OUTCOME_OK ? OUTCOME_OK : failure_set(why, outcome, "%s%s: %s", title, row->name, own.text);
}

enum outcome options_set(struct options *options, const char *name, const char *value, struct failure *why)
{
    for (size_t i = 0; i < options->row_count; i++) {
        const struct option *row = &options->program->rows[i];
        if (row->name && strcmp(row->name, name) == 0)
            return set_row(options, row, "", value, why);
    }
    char shown[SHOWN_SIZE];
    return failure_set(why, OUTCOME_ABSENT, "%s: there is no such setting",
                       name_show(name, strlen(name), shown, sizeof shown));
}

/* 'h' where no row has it. */
static char help_letter(const struct options_program *program)
{
    for (const struct option *row = program->rows; !is_end(row); row++) {
        if (row->letter == 'h')
            return '\0';
    }
    return 'h';
}

/* The same table as popt wants it; yours (free), NULL without memory. */
static struct poptOption *popt_table(const struct options *options)
{
    struct poptOption *table = calloc(options->row_count + 3, sizeof *table);
    if (!table)
        return NULL;
    struct poptOption *at = table;
    *at++ = (struct poptOption){ .longName = "help",
                                 .shortName = help_letter(options->program),
                                 .argInfo = POPT_ARG_NONE,
                                 .val = VALUE_HELP };
    if (options->program->version)
        *at++ = (struct poptOption){ .longName = "version", .argInfo = POPT_ARG_NONE, .val = VALUE_VERSION };
    for (size_t i = 0; i < options->row_count; i++) {
        const struct option *row = &options->program->rows[i];
        if (row->kind != OPTION_HEADING)
            *at++ = (struct poptOption){ .longName = row->name,
                                         .shortName = row->letter,
                                         .argInfo = row->kind == OPTION_FLAG ? POPT_ARG_NONE : POPT_ARG_STRING,
                                         .val = VALUE_FIRST_ROW + (int)i };
    }
    return table;
}

/*
 * popt replaces "!#:+" in a value by the next argument. So that values come as
 * they were written, every '!' goes to popt with a guard behind it, which is
 * taken out of all that comes back.
 */
enum { GUARD = 1 };

static char *guarded(const char *word)
{
    char *copy = malloc(2 * strlen(word) + 1);
    char *to = copy;
    for (; copy && *word; word++) {
        *to++ = *word;
        if (*word == '!')
            *to++ = GUARD;
    }
    if (copy)
        *to = '\0';
    return copy;
}

static char *unguarded(char *word)
{
    char *to = word;
    for (const char *from = word; *from; from++) {
        *to++ = *from;
        if (*from == '!' && from[1] == GUARD)
            from++;
    }
    *to = '\0';
    return word;
}

struct guarded_words {
    char **rows;
    int count;
};

static void free_words(struct guarded_words *words)
{
    for (int i = 0; i < words->count; i++)
        free(words->rows[i]);
    free(words->rows);
}

static bool guard_words(struct guarded_words *words, int argc, char *const *argv)
{
    words->rows = calloc((size_t)argc + 1, sizeof *words->rows);
    for (; words->rows && words->count < argc; words->count++) {
        words->rows[words->count] = guarded(argv[words->count]);
        if (!words->rows[words->count])
            return false;
    }
    return words->rows != NULL;
}

static void free_context(poptContext *context)
{
    poptFreeContext(*context);
}

static enum outcome refuse(poptContext context, int error, struct failure *why)
{
    const char *bad = poptBadOption(context, POPT_BADOPTION_NOALIAS);
    char option[SHOWN_SIZE], shown[SHOWN_SIZE];
    /* without the value, which may be long or none of the log's business */
    snprintf(option, sizeof option, "%.*s", bad ? (int)strcspn(bad, "=") : 1, bad ? bad : "?");
    unguarded(option);
    name_show(option, strlen(option), shown, sizeof shown);
    switch (error) {
    case POPT_ERROR_BADOPT: return failure_set(why, OUTCOME_INVALID, _("%s: there is no such option"), shown);
    case POPT_ERROR_NOARG: return failure_set(why, OUTCOME_INVALID, _("%s: a value is wanted"), shown);
    case POPT_ERROR_UNWANTEDARG: return failure_set(why, OUTCOME_INVALID, _("%s: no value is wanted"), shown);
    default: return failure_set(why, OUTCOME_INVALID, "%s: %s", shown, poptStrerror(error));
    }
}

static enum outcome keep_arguments(struct options *options, poptContext context, struct failure *why)
{
    const char **left = poptGetArgs(context);
    size_t count = 0;
    while (left && left[count])
        count++;
    options->arguments = calloc(count + 1, sizeof *options->arguments);
    if (!options->arguments)
        return no_memory(why);
    for (; options->argument_count < count; options->argument_count++) {
        char *text = keep(options, left[options->argument_count]);
        if (!text)
            return no_memory(why);
        options->arguments[options->argument_count] = unguarded(text);
    }
    return OUTCOME_OK;
}

static void tell(struct options *options, int value)
{
    if (value == VALUE_HELP)
        options_help(options->program, stdout);
    else
        printf("%s\n", options->program->version);
    fflush(stdout);
    options->told = true;
}

enum outcome options_parse(struct options *options, int argc, char *const *argv, struct failure *why)
{
    scoped_free struct poptOption *table = popt_table(options);
    if (!table)
        return no_memory(why);
    scoped(free_words) struct guarded_words words = { 0 };
    if (!guard_words(&words, argc, argv))
        return no_memory(why);
    /* popt wants its words const; before C23 that takes a copy of the pointer */
    const char **rows;
    memcpy(&rows, &words.rows, sizeof rows);
    scoped(free_context) poptContext context = poptGetContext(
        NULL, argc, rows, table, options->program->stop_at_argument ? POPT_CONTEXT_POSIXMEHARDER : 0);
    if (!context)
        return no_memory(why);
    int value;
    while ((value = poptGetNextOpt(context)) > 0) {
        if (value < VALUE_FIRST_ROW) {
            tell(options, value);
            return OUTCOME_OK;
        }
        const struct option *row = &options->program->rows[value - VALUE_FIRST_ROW];
        scoped_free char *text = poptGetOptArg(context);
        const char *given = text ? unguarded(text) : "";
        enum outcome outcome = set_row(options, row, "--", row->kind == OPTION_FLAG ? "yes" : given, why);
        if (outcome != OUTCOME_OK)
            return outcome;
    }
    return value == -1 ? keep_arguments(options, context, why) : refuse(context, value, why);
}

bool options_told(const struct options *options)
{
    return options->told;
}

const char *const *options_arguments(const struct options *options, size_t *out_count)
{
    static const char *const none[] = { NULL };
    if (out_count)
        *out_count = options->argument_count;
    return options->arguments ? options->arguments : none;
}

/* Words of `text` from column `at` on, further lines from column `indent`. */
static void print_wrapped(const char *text, size_t at, size_t indent, FILE *to)
{
    bool first = true;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (!first && at + 1 + word > HELP_WIDTH) {
            fprintf(to, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            fputc(' ', to);
            at++;
        }
        fwrite(text, 1, word, to);
        at += word;
        text += word;
        text += strspn(text, " ");
        first = false;
    }
    fputc('\n', to);
}

static void print_row(const struct option *row, FILE *to)
{
    char letter[] = "    ", left[128];
    if (row->letter)
        memcpy(letter, (char[]){ '-', row->letter, ',', ' ' }, 4);
    int used = snprintf(left, sizeof left, "  %s--%s%s%s", letter, row->name, row->argument ? "=" : "",
                        row->argument ? row->argument : "");
    size_t wide = used < 0 ? 0 : (size_t)used < sizeof left ? (size_t)used : sizeof left - 1;
    if (wide + 2 > HELP_COLUMN)
        fprintf(to, "%s\n%*s", left, HELP_COLUMN, "");
    else
        fprintf(to, "%-*s", HELP_COLUMN, left);
    print_wrapped(row->help ? row->help : "", HELP_COLUMN, HELP_COLUMN, to);
}

void options_help(const struct options_program *program, FILE *to)
{
    fputs(_("Usage: "), to);
    size_t indent = strlen(_("Usage: ")) + strlen(program->name) + 1;
    fprintf(to, "%s ", program->name);
    print_wrapped(program->usage, indent, indent < HELP_COLUMN ? indent : HELP_COLUMN, to);
    if (program->summary) {
        fputc('\n', to);
        print_wrapped(program->summary, 0, 0, to);
    }
    fputc('\n', to);
    for (const struct option *row = program->rows; !is_end(row); row++) {
        if (row->kind == OPTION_HEADING)
            fprintf(to, "%s%s\n", row == program->rows ? "" : "\n", row->help);
        else
            print_row(row, to);
    }
    print_row(&(struct option){ .name = "help", .letter = help_letter(program), .help = _("show this and exit") }, to);
    if (program->version)
        print_row(&(struct option){ .name = "version", .help = _("show the version and exit") }, to);
    if (program->epilogue)
        fprintf(to, "\n%s\n", program->epilogue);
}
