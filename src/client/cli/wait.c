/* wait: sleeps until files came, and tells each arrival (events.h has the line). */
#include "client/cli/command.h"
#include "client/cli/events.h"
#include "client/cli/fetch.h"
#include "client/cli/translate.h"

#include "base/scoped.h"

#include <stdlib.h>

struct waiting {
    struct client *client;
    bool get;
    struct fileshare *downloads; /* a session of its own: the other one waits meanwhile */
    struct tally tally;          /* of downloads */
    bool lost;                   /* what was printed could not be written */
    enum exit_code stopped;      /* a signal ended a download */
};

static void waiting_fini(struct waiting *waiting)
{
    client_close(waiting->downloads);
}

static enum exit_code download(struct waiting *waiting, const struct fileshare_entry *entry)
{
    enum exit_code code = waiting->downloads ? EXIT_DONE : client_open(waiting->client, &waiting->downloads);
    const struct fetch fetch = {.client = waiting->client, .session = waiting->downloads, .quiet = true};
    return code == EXIT_DONE ? fetch_one(&fetch, entry->name, &entry->version) : code;
}

/* The line of an arrival is printed when its file is there. */
static bool on_arrival(void *context, const struct fileshare_event *event)
{
    struct waiting *waiting = context;
    struct client *client = waiting->client;
    struct failure why = {.text = ""};
    if (waiting->get) {
        enum exit_code code = download(waiting, &event->entry);
        tally_add(&waiting->tally, code);
        if (code > EXIT_SIGNAL)
            waiting->stopped = code;
        if (code != EXIT_DONE)
            return code < EXIT_SIGNAL;
    }
    client_screen_begin(client);
    events_print_arrival(&client->output, event);
    enum outcome outcome = output_flush(&client->output, &why);
    client_screen_end(client);
    if (outcome == OUTCOME_OK)
        return true;
    if (why.text[0] != '\0')
        client_complain(client, EXIT_LOCAL, NULL, "%s", why.text);
    waiting->lost = true;
    return false;
}

static void on_note(void *context, const char *note)
{
    struct waiting *waiting = context;
    client_note(waiting->client, "%s", note);
}

static enum exit_code finish(struct waiting *waiting, enum fileshare_status status,
                             const struct fileshare_error *error)
{
    enum exit_code code = client_told(waiting->client, NULL, status, error);
    if (waiting->stopped != EXIT_DONE)
        return waiting->stopped;
    if (waiting->lost)
        return EXIT_LOCAL;
    return code != EXIT_DONE ? code : tally_code(&waiting->tally);
}

enum exit_code wait_check(struct client *client, const struct choices *choices,
                          const struct arguments *arguments)
{
    (void)arguments;
    if (choices->any && choices->count > 0)
        return client_complain(client, EXIT_USAGE, NULL, _("--any and --count do not go together"));
    return EXIT_DONE;
}

enum exit_code wait_run(struct client *client, const struct choices *choices,
                        const struct arguments *arguments)
{
    scoped(waiting_fini) struct waiting waiting = {.client = client, .get = choices->get};
    scoped_free bool *globs = calloc(arguments->count, sizeof *globs);
    if (!globs)
        return client_complain(client, EXIT_LOCAL, NULL, _("no memory to wait for so many names"));
    for (size_t i = 0; i < arguments->count; i++)
        globs[i] = command_is_glob(choices, arguments->rows[i]);
    const struct fileshare_wait wait = {
        .patterns = arguments->rows,
        .globs = globs,
        .count = arguments->count,
        .wanted = choices->any ? 1 : choices->count,
        .seconds = choices->timeout,
        .arrived = on_arrival,
        .note = on_note,
        .context = &waiting,
    };
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = fileshare_wait(client->session, &wait, NULL, &error);
    return finish(&waiting, status, &error);
}
