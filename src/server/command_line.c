#include "server/command_line.h"

#include "base/options.h"
#include "base/scoped.h"

#include <string.h>

#define DEFAULT_FILE "/etc/fileshare/fileshare.conf"

enum { EXTRA_ROWS = 6, SECTIONS_MAX = 8 };

/* What the options fill in: of each key the texts it was given, or that its flag was. */
struct given {
    struct option_texts texts;
    bool flag;
};

struct reading {
    const struct config_key *keys;
    size_t count;
    struct given *given;     /* `count` of them */
    struct option *rows;     /* of the keys, with headings, and the extra ones */
    size_t row_count;
    const char *file;
    bool debug;
    struct command_line *out;
};

static void reading_fini(struct reading *reading)
{
    free(reading->given);
    free(reading->rows);
}

static void options_fini(struct options **options)
{
    options_free(*options);
}

static const char *heading(const char *section)
{
    static const struct {
        const char *section, *text;
    } headings[] = {{"server", "Where it is found"},
                    {"store", "What it keeps"},
                    {"log", "What it tells"},
                    {"engine", "Bounds of the engine"},
                    {"callback", "Calling back"}};

    for (size_t i = 0; i < sizeof headings / sizeof headings[0]; i++)
        if (strcmp(headings[i].section, section) == 0)
            return headings[i].text;
    return section;
}

static struct option *add_row(struct reading *reading, struct option row)
{
    reading->rows[reading->row_count] = row;
    return &reading->rows[reading->row_count++];
}

/* A flag that is on by default is an option that takes it back. */
static void add_key(struct reading *reading, const struct config_key *key, struct given *given)
{
    if (key->kind == CONFIG_FLAG && strcmp(key->preset, "yes") == 0)
        add_row(reading, (struct option){"no-rpcbind", 0, OPTION_FLAG, &given->flag, 0, 0, NULL,
                                         "do not register with rpcbind"});
    else if (key->kind == CONFIG_FLAG)
        add_row(reading, (struct option){key->name, 0, OPTION_FLAG, &given->flag, 0, 0, NULL, key->help});
    else
        add_row(reading, (struct option){key->name, 0, OPTION_TEXTS, &given->texts, 0, 0, key->label, key->help});
}

static enum outcome reading_init(struct reading *reading, struct command_line *out, struct failure *why)
{
    const char *section = "";

    reading->keys = config_keys(&reading->count);
    reading->given = calloc(reading->count, sizeof *reading->given);
    reading->rows = calloc(reading->count + SECTIONS_MAX + EXTRA_ROWS, sizeof *reading->rows);
    reading->out = out;
    if (!reading->given || !reading->rows)
        return failure_set(why, OUTCOME_NOMEM, "no memory for the options");
    add_row(reading, (struct option){"config", 'c', OPTION_TEXT, &reading->file, 0, 0, "FILE",
                                     "read this file (default: " DEFAULT_FILE ", if it is there)"});
    add_row(reading, (struct option){"check-config", 't', OPTION_FLAG, &out->check, 0, 0, NULL,
                                     "say whether the configuration is sound, and end"});
    add_row(reading, (struct option){"dump-config", 'T', OPTION_FLAG, &out->dump, 0, 0, NULL,
                                     "write the configuration in force, as a file would hold it, and end"});
    add_row(reading,
            (struct option){"debug", 'd', OPTION_FLAG, &reading->debug, 0, 0, NULL, "the same as --log debug"});
    for (size_t i = 0; i < reading->count; i++) {
        if (strcmp(section, reading->keys[i].section) != 0) {
            section = reading->keys[i].section;
            add_row(reading, (struct option){.kind = OPTION_HEADING, .help = heading(section)});
        }
        add_key(reading, &reading->keys[i], &reading->given[i]);
    }
    add_row(reading, (struct option)OPTION_END);
    return OUTCOME_OK;
}

/* Applies what the command line gave for one key. */
static enum outcome apply_key(struct config *config, const struct config_key *key, const struct given *given,
                              struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;

    if (given->flag)
        return config_set(config, key, strcmp(key->preset, "yes") == 0 ? "no" : "yes", why);
    for (size_t i = 0; i < given->texts.count && outcome == OUTCOME_OK; i++) {
        /* The command line's list takes the place of the file's. */
        if (i == 0 && key->kind == CONFIG_LIST)
            ((struct config_list *)((char *)config + key->offset))->from_default = true;
        outcome = config_set(config, key, given->texts.rows[i], why);
    }
    return outcome;
}

enum outcome command_line_file(const char *file, struct config *config, struct failure *why)
{
    enum outcome outcome = config_read(config, file ? file : DEFAULT_FILE, why);

    return outcome == OUTCOME_ABSENT && !file ? OUTCOME_OK : outcome;
}

static enum outcome build_config(const struct reading *reading, struct config *config, struct failure *why)
{
    enum outcome outcome = command_line_file(reading->file, config, why);

    for (size_t i = 0; i < reading->count && outcome == OUTCOME_OK; i++) {
        if (reading->debug && strcmp(reading->keys[i].name, "log") == 0)
            outcome = config_set(config, &reading->keys[i], "debug", why);
        if (outcome == OUTCOME_OK)
            outcome = apply_key(config, &reading->keys[i], &reading->given[i], why);
    }
    return outcome == OUTCOME_OK ? config_finish(config, why) : outcome;
}

enum outcome command_line_read(int argc, char *const *argv, struct command_line *out, struct failure *why)
{
    scoped(reading_fini) struct reading reading = {0};
    scoped(options_fini) struct options *options = NULL;
    struct config *config = NULL;
    size_t left = 0;
    enum outcome outcome = reading_init(&reading, out, why);
    const struct options_program program = {
        .name = "fileshared",
        .usage = "[OPTION...] | fsck [OPTION...] | backup [OPTION...] FOLDER",
        .summary = "Serves files over ONC RPC, and calls clients back when a file they wait for has come. "
                   "Runs in the foreground until SIGTERM or SIGINT.",
        .version = "fileshared " FILESHARE_VERSION,
        .epilogue = "Commands, each with a --help of its own:\n"
                    "  fsck      says whether the store is sound\n"
                    "  backup    copies the store, also while it is served",
        .rows = reading.rows,
    };

    if (outcome == OUTCOME_OK)
        outcome = options_new(&program, &options, why);
    if (outcome == OUTCOME_OK)
        outcome = options_parse(options, argc, argv, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    out->told = options_told(options);
    if (out->told)
        return OUTCOME_OK;
    const char *const *arguments = options_arguments(options, &left);
    if (left > 0)
        return failure_set(why, OUTCOME_INVALID, "there is nothing to do with \"%s\": options, or \"fsck\" or \"backup\" before all else, are known",
                           arguments[0]);
    outcome = config_new(&config, why);
    if (outcome == OUTCOME_OK)
        outcome = build_config(&reading, config, why);
    if (outcome != OUTCOME_OK) {
        config_free(config);
        return outcome;
    }
    out->config = config;
    return OUTCOME_OK;
}
