/* listen: holds the durable mailbox and prints each event (events.h has the lines). */
#include "client/cli/command.h"
#include "client/cli/events.h"
#include "client/cli/interrupt.h"
#include "client/cli/translate.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { LOOK_MS = 200, LOOK_SELDOM_MS = 1000, TOLD_SIZE = 256 };

struct listening {
    struct client *client;
    struct output output; /* the handler's own */
    _Atomic bool lost;    /* an event could not be printed */
};

/* Printed and flushed, or it will come again. */
static bool on_event(void *context, const struct fileshare_event *event)
{
    struct listening *listening = context;
    struct failure why = {.text = ""};
    char text[EVENTS_TEXT_SIZE];
    if (atomic_load(&listening->lost))
        return false;
    client_screen_begin(listening->client);
    events_print(&listening->output, event);
    enum outcome outcome = output_flush(&listening->output, &why);
    client_screen_end(listening->client);
    if (outcome == OUTCOME_OK && event->kind == FILESHARE_DROPPED)
        client_note(listening->client, "%s", events_text(event, text));
    if (outcome == OUTCOME_OK)
        return true;
    if (why.text[0] != '\0')
        client_complain(listening->client, EXIT_LOCAL, NULL, "%s", why.text);
    atomic_store(&listening->lost, true);
    return false;
}

/* Says by which way events come, when that is known, and when it changes. */
static bool note_route(struct client *client, char told[TOLD_SIZE])
{
    struct fileshare_callback callback;
    char now[TOLD_SIZE];
    if (!fileshare_callback(client->session, &callback) || strcmp(callback.route, "proving") == 0)
        return false;
    bool called = strcmp(callback.route, "none") != 0;
    snprintf(now, sizeof now, "%s %s", callback.route, called ? callback.address : "");
    if (strcmp(told, now) != 0) {
        if (!called)
            client_note(client, _("not called back for now; the server is asked instead"));
        else
            client_note(client, _("called back as program 0x%x at %s, by the route %s"), callback.program,
                        callback.address, callback.route);
        memcpy(told, now, sizeof now);
    }
    return called;
}

enum exit_code listen_run(struct client *client, const struct choices *choices,
                          const struct arguments *arguments)
{
    (void)choices;
    (void)arguments;
    struct listening listening = {
        .client = client,
        .output = {.json = client->output.json, .terminal = client->output.terminal},
    };
    struct fileshare_error error = {.text = ""};
    char told[TOLD_SIZE] = "";
    interrupt_hold(true);
    enum fileshare_status status = fileshare_attach(client->session, on_event, &listening, &error);
    if (status != FILESHARE_OK)
        return client_told(client, NULL, status, &error);
    while (interrupt_noted() == 0 && !atomic_load(&listening.lost)) {
        bool settled = note_route(client, told);
        struct pollfd polled = {.fd = interrupt_fd(), .events = POLLIN};
        poll(&polled, 1, settled ? LOOK_SELDOM_MS : LOOK_MS);
    }
    fileshare_detach(client->session);
    output_fini(&listening.output);
    return interrupt_noted() != 0 ? interrupt_code() : EXIT_LOCAL;
}
