#include "client/cli/command.h"

#include "base/options.h"
#include "base/scoped.h"
#include "client/cli/interrupt.h"
#include "client/cli/jobs.h"
#include "client/cli/translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct command *command_find(const char *name)
{
    for (const struct command *command = command_table; command->name; command++) {
        if (strcmp(command->name, name) == 0)
            return command;
    }
    return NULL;
}

bool command_is_glob(const struct choices *choices, const char *text)
{
    return !choices->exact && fileshare_is_glob(text);
}

char *command_glob_of(const char *name)
{
    char *glob = malloc(2 * strlen(name) + 1), *to = glob;
    if (!glob)
        return NULL;
    for (; *name; name++) {
        if (strchr("*?[]\\", *name))
            *to++ = '\\';
        *to++ = *name;
    }
    *to = '\0';
    return glob;
}

/* ---- options ---- */

/* The row of one choice, filling its place in *choices. */
static struct option choice_row(enum choice choice, struct choices *choices)
{
    struct option rows[CHOICES] = {
        [CHOICE_AS] = {"as", 0, OPTION_TEXT, &choices->as, 0, 0, "NAME",
                       N_("the name that it gets; for one file")},
        [CHOICE_TO] = {"to", 0, OPTION_TEXT, &choices->to, 0, 0, "PREFIX/",
                       N_("put this before the names of all files")},
        [CHOICE_OUTPUT] = {"output", 'o', OPTION_TEXT, &choices->output, 0, 0, "PATH|DIR/|-",
                           N_("where it goes; - is standard output")},
        [CHOICE_RECURSIVE] = {"recursive", 'r', OPTION_FLAG, &choices->recursive, 0, 0, NULL,
                              N_("folders, with all that is in them")},
        [CHOICE_JOBS] = {"jobs", 0, OPTION_NUMBER, &choices->jobs, 1, JOBS_MAX, "N",
                         N_("several files over so many connections at once (1; 16 at most)")},
        [CHOICE_CONNECTIONS] = {"connections", 0, OPTION_NUMBER, &choices->connections, 1,
                                FILESHARE_CONNECTIONS_MAX, "N",
                                N_("one file over so many connections (by the way there; 8 at most)")},
        [CHOICE_REPLACE] = {"replace", 0, OPTION_FLAG, &choices->replace, 0, 0, NULL,
                            N_("take the place of what has that name")},
        [CHOICE_DETAILS] = {"long", 'l', OPTION_FLAG, &choices->details, 0, 0, NULL,
                            N_("with size, owner and time of arrival")},
        [CHOICE_ANY] = {"any", 0, OPTION_FLAG, &choices->any, 0, 0, NULL, N_("one arrival is enough")},
        [CHOICE_COUNT] = {"count", 0, OPTION_NUMBER, &choices->count, 1, 0, "N", N_("wait for N arrivals")},
        [CHOICE_TIMEOUT] = {"timeout", 0, OPTION_DURATION, &choices->timeout, 1, 0, "D",
                            N_("give up after that long: 30, 30s, 5m, 2h, 1d")},
        [CHOICE_FOR] = {"for", 0, OPTION_DURATION, &choices->duration, 1, 0, "D",
                        N_("how long: 30, 30s, 5m, 2h, 1d")},
        [CHOICE_GET] = {"get", 0, OPTION_FLAG, &choices->get, 0, 0, NULL,
                        N_("download what arrives, as get would")},
        [CHOICE_EVERY] = {"every", 0, OPTION_FLAG, &choices->every, 0, 0, NULL,
                          N_("each arrival, not the first alone")},
        [CHOICE_EXACT] = {"exact", 0, OPTION_FLAG, &choices->exact, 0, 0, NULL,
                          N_("*, ?, [ and \\ in names are nothing special")},
        [CHOICE_JSON] = {"json", 0, OPTION_FLAG, &choices->json, 0, 0, NULL,
                         N_("print data as JSON, an object a line")},
        [CHOICE_QUIET] = {"quiet", 'q', OPTION_FLAG, &choices->quiet, 0, 0, NULL,
                          N_("no notes, no progress; failures are told")},
    };
    struct option row = rows[choice];
    row.help = _(row.help);
    return row;
}

struct parsed {
    struct option rows[COMMAND_CHOICES + 1];
    char title[64];
    struct options_program program;
    struct options *options;
};

static void parsed_fini(struct parsed *parsed)
{
    options_free(parsed->options);
}

static void describe(struct parsed *parsed, const struct command *command, struct choices *choices,
                     const struct client *client)
{
    size_t count = 0;
    for (; count < COMMAND_CHOICES && command->choices[count] != CHOICE_END; count++)
        parsed->rows[count] = choice_row(command->choices[count], choices);
    parsed->rows[count] = (struct option)OPTION_END;
    const char *program = client->origin == FROM_COMMAND_LINE ? "fileshare-client " : "";
    snprintf(parsed->title, sizeof parsed->title, "%s%s", program, command->name);
    parsed->program = (struct options_program){
        .name = parsed->title,
        .usage = command->usage[0] ? _(command->usage) : _("[OPTION...]"),
        .summary = _(command->summary),
        .epilogue = command->more ? _(command->more) : NULL,
        .rows = parsed->rows,
    };
}

static enum exit_code parse(struct client *client, const struct command *command, struct parsed *parsed,
                            char *const *words, size_t count)
{
    struct failure why = {.text = ""};
    enum outcome outcome = options_new(&parsed->program, &parsed->options, &why);
    if (outcome == OUTCOME_OK)
        outcome = options_parse(parsed->options, (int)count, words, &why);
    if (outcome != OUTCOME_OK)
        return client_complain(client, outcome == OUTCOME_INVALID ? EXIT_USAGE : EXIT_LOCAL, NULL, "%s",
                               why.text);
    if (options_told(parsed->options))
        return EXIT_DONE;
    size_t given;
    options_arguments(parsed->options, &given);
    if (given < command->least || given > command->most)
        return client_complain(client, EXIT_USAGE, NULL, _("usage: %s %s"), command->name,
                               parsed->program.usage);
    return EXIT_DONE;
}

/* ---- running ---- */

static enum exit_code ready(struct client *client, const struct choices *choices)
{
    client->options.connections = choices->connections; /* of the sessions of --jobs, too */
    enum exit_code code = client_ready(client);
    if (code == EXIT_DONE)
        fileshare_use_connections(client->session, choices->connections);
    return code;
}

static enum exit_code run_parsed(struct client *client, const struct command *command,
                                 const struct choices *choices, const struct parsed *parsed)
{
    struct arguments arguments;
    arguments.rows = options_arguments(parsed->options, &arguments.count);
    client->quiet = client->quiet || choices->quiet;
    client->output.json = client->output.json || choices->json;
    enum exit_code code = command->check ? command->check(client, choices, &arguments) : EXIT_DONE;
    if (code == EXIT_DONE && !command->alone)
        code = ready(client, choices);
    return code == EXIT_DONE ? command->run(client, choices, &arguments) : code;
}

/* What could not be printed was not done. */
static enum exit_code flush(struct client *client, enum exit_code code)
{
    struct failure why = {.text = ""};
    client_screen_begin(client);
    enum outcome outcome = output_flush(&client->output, &why);
    client_screen_end(client);
    if (outcome == OUTCOME_OK)
        return code;
    if (interrupt_noted() != 0)
        return interrupt_code();
    if (why.text[0] != '\0') /* whoever closed a pipe knows it */
        client_complain(client, EXIT_LOCAL, NULL, "%s", why.text);
    return code == EXIT_DONE ? EXIT_LOCAL : code;
}

static enum exit_code run_command(struct client *client, const struct command *command, char *const *words,
                                  size_t count)
{
    struct choices choices = {.as = NULL};
    scoped(parsed_fini) struct parsed parsed = {.options = NULL};
    if ((command->origins & (int)client->origin) == 0)
        return client_complain(client, EXIT_USAGE, NULL,
                               client->origin == FROM_COMMAND_LINE ? _("this is for the prompt")
                                                                   : _("this can't be done here"));
    describe(&parsed, command, &choices, client);
    enum exit_code code = parse(client, command, &parsed, words, count);
    if (code == EXIT_DONE && !options_told(parsed.options))
        code = run_parsed(client, command, &choices, &parsed);
    return flush(client, code);
}

enum exit_code command_run(struct client *client, char *const *words, size_t count)
{
    const struct command *command = command_find(words[0]);
    if (!command)
        return client_complain(client, EXIT_USAGE, words[0], _("there is no such command; try: help"));
    bool quiet = client->quiet, json = client->output.json;
    client->command = command->name;
    enum exit_code code = run_command(client, command, words, count);
    client->command = "";
    client->quiet = quiet;
    client->output.json = json;
    return code;
}

/* ---- help ---- */

char *command_list(int origins)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return NULL;
    fputs(_("Commands:"), to);
    for (const struct command *command = command_table; command->name; command++) {
        if ((command->origins & origins) != 0)
            fprintf(to, "\n  %-12s%s", command->name, _(command->summary));
    }
    if (fclose(to) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static enum exit_code help_on(struct client *client, const char *name)
{
    const struct command *command = command_find(name);
    if (!command)
        return client_complain(client, EXIT_USAGE, name, _("there is no such command; try: help"));
    struct choices choices;
    struct parsed parsed;
    describe(&parsed, command, &choices, client);
    options_help(&parsed.program, stdout);
    return EXIT_DONE;
}

enum exit_code help_run(struct client *client, const struct choices *choices,
                        const struct arguments *arguments)
{
    (void)choices;
    if (arguments->count == 1)
        return help_on(client, arguments->rows[0]);
    scoped_free char *list = command_list((int)client->origin);
    if (!list)
        return client_complain(client, EXIT_LOCAL, NULL, _("no memory for the help"));
    printf("%s\n\n%s\n", list, _("More on each: help COMMAND"));
    return EXIT_DONE;
}
