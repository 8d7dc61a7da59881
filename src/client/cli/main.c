/*
 * fileshare-client: options for the whole run, then one command, a batch, or the
 * prompt. What it exits with: exit.h.
 */
#include "client/cli/batch.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/prompt.h"
#include "client/cli/translate.h"

#include "base/options.h"
#include "base/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 11, RETRY_NOT_GIVEN = UINT32_MAX };

struct request {
    struct client *client;
    const char *program; /* as it was written */
    const char *batch;
    bool keep_going;
    uint32_t retry;
    struct option rows[ROWS]; /* these two live as long as `options`, which looks at them */
    struct options_program form;
    struct options *options;
};

static void request_fini(struct request *request)
{
    options_free(request->options);
}

/* So that texts are in the user's language; numbers stay as programs read them. */
static void choose_language(void)
{
    const char *folder = getenv("TEXTDOMAINDIR");
    setlocale(LC_CTYPE, "");
    setlocale(LC_MESSAGES, "");
    bindtextdomain("fileshare", folder && folder[0] ? folder : FILESHARE_LOCALEDIR);
    textdomain("fileshare");
}

static void list_rows(struct request *request)
{
    struct client *client = request->client;
    const struct option all[ROWS] = {
        {"server", 's', OPTION_TEXT, &client->options.server, 0, 0, "SERVER",
         _("host, host:port, [v6]:port or unix:/path; else $FILESHARE_SERVER, else this machine's server")},
        {"program", 0, OPTION_TEXT, &request->program, 0, 0, "NUMBER", _("the server's program number")},
        {"batch", 'b', OPTION_TEXT, &request->batch, 0, 0, "FILE",
         _("run the commands in FILE, one a line; - is standard input")},
        {"keep-going", 'k', OPTION_FLAG, &request->keep_going, 0, 0, NULL,
         _("go on with a batch after a command that failed")},
        {"quiet", 'q', OPTION_FLAG, &client->quiet, 0, 0, NULL,
         _("no notes, no progress; failures are told")},
        {"json", 0, OPTION_FLAG, &client->output.json, 0, 0, NULL, _("print data as JSON, an object a line")},
        {"no-rpcbind", 0, OPTION_FLAG, &client->options.without_rpcbind, 0, 0, NULL,
         _("neither ask rpcbind for the server nor register there to be called back")},
        {"retry-for", 0, OPTION_DURATION, &request->retry, 0, 86400, "D",
         _("how long to try again when the server can't be reached (30s, but at the start only if given)")},
        {"dead-after", 0, OPTION_DURATION, &client->options.dead_seconds, 1, 86400, "D",
         _("while it waits: how long a silent server is believed to be there (45s)")},
        OPTION_END,
    };
    memcpy(request->rows, all, sizeof all);
}

static enum exit_code set_program(struct request *request)
{
    char *end = NULL;
    if (!request->program)
        return EXIT_DONE;
    errno = 0;
    unsigned long number = strtoul(request->program, &end, 0);
    if (errno != 0 || *end != '\0' || strchr("+-", request->program[0]) || number == 0 || number > UINT32_MAX)
        return client_complain(request->client, EXIT_USAGE, NULL, _("--program: \"%s\" is no program number"),
                               request->program);
    request->client->options.program = (uint32_t)number;
    return EXIT_DONE;
}

static enum exit_code check(struct request *request, size_t count)
{
    struct client *client = request->client;
    if (request->batch && count > 0)
        return client_complain(client, EXIT_USAGE, NULL, _("either a command or a batch"));
    if (request->keep_going && !request->batch)
        return client_complain(client, EXIT_USAGE, NULL, _("-k is for a batch"));
    if (request->retry != RETRY_NOT_GIVEN) {
        client->options.retry_seconds = request->retry;
        client->persistent = true;
    }
    return set_program(request);
}

static enum exit_code run_words(struct client *client, const char *const *rows, size_t count)
{
    scoped_free char **words = calloc(count + 1, sizeof *words);
    if (!words)
        return client_complain(client, EXIT_LOCAL, NULL, _("no memory for the arguments"));
    memcpy(words, rows, count * sizeof *words);
    return command_run(client, words, count);
}

static enum exit_code answer(struct request *request, int argc, char **argv)
{
    struct client *client = request->client;
    struct failure why = {.text = ""};
    scoped_free char *list = command_list(FROM_ANYWHERE);
    request->form = (struct options_program){
        .name = "fileshare-client",
        .usage = _("[OPTION...] [COMMAND [ARGUMENT...]]"),
        .summary = _(
            "Uploads, lists and downloads files of a fileshare server, and waits for files that are not "
            "there yet. Without a command it asks for them at a prompt."),
        .version = "fileshare-client " FILESHARE_VERSION,
        .epilogue = list,
        .rows = request->rows,
        .stop_at_argument = true,
    };
    list_rows(request);
    enum outcome outcome = options_new(&request->form, &request->options, &why);
    if (outcome == OUTCOME_OK)
        outcome = options_parse(request->options, argc, argv, &why);
    if (outcome != OUTCOME_OK)
        return client_complain(client, EXIT_USAGE, NULL, _("%s; try: fileshare-client --help"), why.text);
    if (options_told(request->options))
        return EXIT_DONE;
    size_t count;
    const char *const *arguments = options_arguments(request->options, &count);
    enum exit_code code = check(request, count);
    if (code != EXIT_DONE)
        return code;
    if (request->batch)
        return batch_run(client, request->batch, request->keep_going);
    return count > 0 ? run_words(client, arguments, count) : prompt_run(client);
}

/*
 * Standard descriptors that are closed would be taken by the next thing opened,
 * a socket, say, which a message then went to. They are filled with what can be
 * neither read nor written in their direction, so that it fails as it should.
 */
static bool fill_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct client client;
    if (!fill_descriptors())
        return EXIT_LOCAL;
    choose_language();
    client_init(&client);
    interrupt_init();
    scoped(request_fini) struct request request = {.client = &client, .retry = RETRY_NOT_GIVEN};
    enum exit_code code = answer(&request, argc, argv);
    client_fini(&client);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EXIT_DONE)
        code = EXIT_LOCAL;
    return (int)code;
}
