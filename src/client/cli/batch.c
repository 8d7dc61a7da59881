#include "client/cli/batch.h"

#include "base/name.h"
#include "base/scoped.h"
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/lines.h"
#include "client/cli/translate.h"
#include "client/cli/words.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct batch {
    struct client *client;
    struct lines *lines;
    char title[256];
    char place[320]; /* of the line that runs */
    size_t number;
    struct tally tally;
    enum exit_code last;
};

static void next_place(struct batch *batch)
{
    snprintf(batch->place, sizeof batch->place, "%s:%zu: ", batch->title, ++batch->number);
    batch->client->place = batch->place;
}

static enum exit_code run_line(struct batch *batch, const char *line)
{
    scoped(words_fini) struct words words = {.count = 0};
    struct failure why = {.text = ""};
    enum outcome outcome = words_split(line, &words, &why);
    if (outcome != OUTCOME_OK)
        return client_complain(batch->client, outcome == OUTCOME_INVALID ? EXIT_USAGE : EXIT_LOCAL, NULL,
                               "%s", why.text);
    return words.count > 0 ? command_run(batch->client, words.rows, words.count) : EXIT_DONE;
}

static bool has_words(const char *line)
{
    line += strspn(line, " \t\r");
    return *line != '\0' && *line != '#';
}

/* Reads and runs one line. False: that was the last one. */
static bool step(struct batch *batch)
{
    const char *line;
    struct failure why = {.text = ""};
    enum outcome outcome = lines_next(batch->lines, &line, &why);
    batch->last = EXIT_DONE;
    if (outcome == OUTCOME_ABSENT)
        return false;
    next_place(batch);
    if (outcome == OUTCOME_STOPPED)
        batch->last = interrupt_code();
    else if (outcome != OUTCOME_OK)
        batch->last = client_complain(batch->client, outcome == OUTCOME_LOCAL ? EXIT_LOCAL : EXIT_USAGE, NULL,
                                      "%s", why.text);
    else if (has_words(line)) {
        batch->last = run_line(batch, line);
        tally_add(&batch->tally, batch->last);
    }
    return outcome == OUTCOME_OK && batch->last < EXIT_SIGNAL && !batch->client->quits;
}

static enum exit_code run(struct batch *batch, bool keep_going)
{
    while (step(batch)) {
        if (batch->last != EXIT_DONE && !keep_going)
            return batch->last;
    }
    batch->client->place = "";
    return batch->last > EXIT_SIGNAL || batch->tally.items == 0 || !keep_going ? batch->last
                                                                               : tally_code(&batch->tally);
}

enum exit_code batch_run(struct client *client, const char *path, bool keep_going)
{
    bool from_stdin = strcmp(path, "-") == 0;
    struct batch batch = {.client = client};
    scoped_fd int fd = from_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return client_complain(client, EXIT_LOCAL, path, "%s", strerror(errno));
    scoped_free struct lines *lines = malloc(sizeof *lines);
    if (!lines)
        return client_complain(client, EXIT_LOCAL, path, _("no memory to read it"));
    lines_init(lines, fd);
    batch.lines = lines;
    if (from_stdin)
        snprintf(batch.title, sizeof batch.title, "%s", _("standard input"));
    else
        name_show(path, strlen(path), batch.title, sizeof batch.title);
    client->origin = FROM_BATCH;
    client->stdin_is_taken = from_stdin;
    enum exit_code code = run(&batch, keep_going);
    client->place = "";
    return code;
}
