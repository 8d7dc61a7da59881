#include "client/cli/prompt.h"

#include "base/name.h"
#include "base/scoped.h"
#include "client/cli/command.h"
#include "client/cli/events.h"
#include "client/cli/interrupt.h"
#include "client/cli/lines.h"
#include "client/cli/translate.h"
#include "client/cli/words.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the handler of notices uses, on a thread of the library. It lives as long as the client. */
struct notices {
    struct client *client;
    struct output output; /* its own */
    bool terminal;        /* somebody types */
    const char *shown;    /* the prompt, while a line is awaited; guarded by the screen */
};

/* ---- notices ---- */

static bool on_event(void *context, const struct fileshare_event *event)
{
    struct notices *notices = context;
    struct failure why = {.text = ""};
    char text[EVENTS_TEXT_SIZE];
    client_screen_begin(notices->client);
    if (notices->terminal && !notices->output.json)
        printf("%s* %s\n", notices->shown ? "\r\033[K" : "", events_text(event, text));
    else
        events_print(&notices->output, event);
    if (notices->shown && notices->terminal)
        fputs(notices->shown, stdout);
    enum outcome outcome = output_flush(&notices->output, &why);
    client_screen_end(notices->client);
    return outcome == OUTCOME_OK;
}

/* Takes the mailbox and greets. Without notices the rest works. */
static void attach(struct client *client)
{
    struct fileshare_error error = {.text = ""};
    struct fileshare_server_info info;
    char shown[OUTPUT_TEXT_SIZE];
    fileshare_server(client->session, &info);
    if (info.principal[0] != '\0')
        client_note(client, _("connected to %s as %s"), info.address,
                    name_show(info.principal, strlen(info.principal), shown, sizeof shown));
    else
        client_note(client, _("connected to %s"), info.address);
    enum fileshare_status status = fileshare_attach(client->session, on_event, client->notices, &error);
    if (status == FILESHARE_OK)
        return;
    client_told(client, NULL, status, &error);
    client_note(client, _("no notices are shown here"));
}

/* ---- commands of the prompt alone ---- */

/* A server that can't be reached is not kept: `connect` alone leads back to the one before. */
enum exit_code connect_run(struct client *client, const struct choices *choices,
                           const struct arguments *arguments)
{
    (void)choices;
    char *server = arguments->count > 0 ? strdup(arguments->rows[0]) : NULL;
    const char *before = client->options.server;
    if (arguments->count > 0 && !server)
        return client_complain(client, EXIT_LOCAL, NULL, _("no memory for the server's name"));
    if (server)
        client->options.server = server;
    enum exit_code code = client_connect(client);
    if (code != EXIT_DONE) {
        client->options.server = before;
        free(server);
        return code;
    }
    if (server) {
        free(client->server);
        client->server = server;
    }
    attach(client);
    return EXIT_DONE;
}

enum exit_code disconnect_run(struct client *client, const struct choices *choices,
                              const struct arguments *arguments)
{
    (void)choices;
    (void)arguments;
    if (!client->session)
        return client_complain(client, EXIT_UNREACHABLE, NULL, _("there is no connection"));
    client_disconnect(client);
    return EXIT_DONE;
}

enum exit_code quit_run(struct client *client, const struct choices *choices,
                        const struct arguments *arguments)
{
    (void)choices;
    (void)arguments;
    client->quits = true;
    return EXIT_DONE;
}

/* ---- the loop ---- */

/* The prompt stands while a line is awaited; notices put it back. */
static void show_prompt(struct notices *notices, bool shown)
{
    client_screen_begin(notices->client);
    notices->shown = !shown ? NULL : notices->client->session ? "fileshare> " : "fileshare (no connection)> ";
    if (shown && notices->terminal) {
        fputs(notices->shown, stdout);
        fflush(stdout);
    }
    client_screen_end(notices->client);
}

static enum exit_code run_line(struct client *client, const char *line, enum exit_code before)
{
    scoped(words_fini) struct words words = {.count = 0};
    struct failure why = {.text = ""};
    if (words_split(line, &words, &why) != OUTCOME_OK)
        return client_complain(client, EXIT_USAGE, NULL, "%s", why.text);
    if (words.count == 0)
        return before;
    enum exit_code code = command_run(client, words.rows, words.count);
    if (client->session)
        fileshare_forget_stop(client->session);
    return code;
}

/* What a signal means between two commands, or after one. False: leave. */
static bool after_signal(struct notices *notices, enum exit_code *code)
{
    int number = interrupt_take();
    if (notices->client->session)
        fileshare_forget_stop(notices->client->session);
    if (number == 0)
        return true;
    *code = EXIT_SIGNAL + number;
    if (number != SIGINT || !notices->terminal)
        return false;
    putchar('\n');
    return true;
}

static enum exit_code loop(struct notices *notices, struct lines *lines)
{
    enum exit_code code = EXIT_DONE;
    while (!notices->client->quits) {
        const char *line;
        struct failure why = {.text = ""};
        show_prompt(notices, true);
        enum outcome outcome = lines_next(lines, &line, &why);
        show_prompt(notices, false);
        if (outcome == OUTCOME_ABSENT) {
            if (notices->terminal)
                putchar('\n'); /* Ctrl-D leaves the cursor behind the prompt */
            break;
        }
        if (outcome == OUTCOME_OK)
            code = run_line(notices->client, line, code);
        else if (outcome != OUTCOME_STOPPED)
            return client_complain(notices->client, EXIT_LOCAL, NULL, "%s", why.text);
        if (!after_signal(notices, &code))
            return code;
    }
    return notices->terminal ? EXIT_DONE : code;
}

enum exit_code prompt_run(struct client *client)
{
    struct notices notices = {
        .client = client,
        .output = {.json = client->output.json, .terminal = client->output.terminal},
        .terminal = isatty(STDIN_FILENO) && client->output.terminal,
    };
    scoped_free struct lines *lines = malloc(sizeof *lines);
    if (!lines)
        return client_complain(client, EXIT_LOCAL, NULL, _("no memory to read commands"));
    lines_init(lines, STDIN_FILENO);
    client->origin = FROM_PROMPT;
    client->stdin_is_taken = true;
    client->notices = &notices;
    interrupt_hold(true);
    if (client_connect(client) == EXIT_DONE)
        attach(client);
    if (notices.terminal)
        client_note(client, _("try: help"));
    enum exit_code code = loop(&notices, lines);
    client_disconnect(client); /* no handler runs after this */
    output_fini(&notices.output);
    client->notices = NULL;
    return code;
}
