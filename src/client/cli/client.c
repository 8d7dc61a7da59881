#include "client/cli/client.h"

#include "base/clock.h"
#include "base/name.h"
#include "base/scoped.h"
#include "client/cli/incidents.h"
#include "client/cli/interrupt.h"
#include "client/cli/translate.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MESSAGE_SIZE = 2048, ITEM_SIZE = 256, RETRY_FIRST_MS = 100, RETRY_LAST_MS = 2000 };

void client_init(struct client *client)
{
    *client = (struct client){
        .options = {.software = "fileshare-client " FILESHARE_VERSION,
                    .retry_seconds = CLIENT_RETRY_SECONDS,
                    .told = incidents_tell,
                    .told_context = client},
        .origin = FROM_COMMAND_LINE,
        .place = "",
        .command = "",
        .output = {.terminal = isatty(STDOUT_FILENO)},
    };
    pthread_mutex_init(&client->screen, NULL);
}

void client_fini(struct client *client)
{
    client_disconnect(client);
    output_fini(&client->output);
    free(client->server);
    pthread_mutex_destroy(&client->screen);
}

/* ---- the session ---- */

static bool may_come_back(enum fileshare_status status)
{
    return status == FILESHARE_UNREACHABLE || status == FILESHARE_TIMEOUT || status == FILESHARE_UNAVAILABLE;
}

/* Tries again with --retry-for, as long as it says. */
static enum fileshare_status open_patiently(struct client *client, struct fileshare **out,
                                            struct fileshare_error *error)
{
    int64_t until = clock_elapsed(clock_system()) + (int64_t)client->options.retry_seconds * CLOCK_SECOND;
    for (int pause = RETRY_FIRST_MS;; pause = pause * 2 < RETRY_LAST_MS ? pause * 2 : RETRY_LAST_MS) {
        enum fileshare_status status = fileshare_open(&client->options, out, error);
        bool late = clock_elapsed(clock_system()) + (int64_t)pause * 1000000 > until;
        if (!client->persistent || late || !may_come_back(status))
            return status;
        if (pause == RETRY_FIRST_MS)
            incidents_tell(client, &(struct fileshare_incident){.kind = FILESHARE_LOST,
                                                                .text = error->text,
                                                                .seconds = client->options.retry_seconds});
        struct pollfd polled = {.fd = interrupt_fd(), .events = POLLIN};
        if (poll(&polled, 1, pause) > 0)
            return status;
    }
}

enum exit_code client_open(struct client *client, struct fileshare **out)
{
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = open_patiently(client, out, &error);
    if (status == FILESHARE_OK) {
        interrupt_add(*out);
        return EXIT_DONE;
    }
    enum exit_code code = client_told(client, NULL, status, &error);
    return status == FILESHARE_TIMEOUT ? EXIT_UNREACHABLE : code;
}

void client_close(struct fileshare *session)
{
    interrupt_remove(session);
    fileshare_close(session);
}

enum exit_code client_connect(struct client *client)
{
    client_disconnect(client);
    return client_open(client, &client->session);
}

void client_disconnect(struct client *client)
{
    client_close(client->session);
    client->session = NULL;
}

enum exit_code client_ready(struct client *client)
{
    if (client->session)
        return EXIT_DONE;
    if (client->origin == FROM_PROMPT)
        return client_complain(client, EXIT_UNREACHABLE, NULL, _("there is no connection; try: connect"));
    return client_connect(client);
}

/* ---- standard error ---- */

void client_screen_begin(struct client *client)
{
    pthread_mutex_lock(&client->screen);
    if (client->bar_is_drawn)
        fputs("\r\033[K", stderr);
    client->bar_is_drawn = false;
}

void client_screen_end(struct client *client)
{
    pthread_mutex_unlock(&client->screen);
}

/* What is no part of a line becomes '?'; the rest was made to be shown. */
static char *clean(char *text)
{
    for (char *at = text; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    }
    return text;
}

static void print_message(struct client *client, const char *item, char *text)
{
    char shown[ITEM_SIZE];
    client_screen_begin(client);
    fputs(client->place, stderr);
    if (client->command[0] != '\0')
        fprintf(stderr, "%s: ", client->command);
    else if (client->place[0] == '\0' && client->origin == FROM_COMMAND_LINE)
        fputs("fileshare-client: ", stderr);
    if (item)
        fprintf(stderr, "%s: ", item[0] ? name_show(item, strlen(item), shown, sizeof shown) : "\"\"");
    fprintf(stderr, "%s\n", clean(text));
    client_screen_end(client);
}

enum exit_code client_complain(struct client *client, enum exit_code code, const char *item,
                               const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_message(client, item, text);
    return code;
}

/* Whether the text says already what it is about: 'ITEM: ...', or '... "ITEM" ...'. */
static bool names_item(const char *text, const char *item)
{
    char shown[ITEM_SIZE]; /* cut as the library cuts it */
    size_t size = strlen(name_show(item, strlen(item), shown, sizeof shown));
    if (strncmp(text, shown, size) == 0 && text[size] == ':')
        return true;
    for (const char *at = strchr(text, '"'); at; at = strchr(at + 1, '"')) {
        if (strncmp(at + 1, shown, size) == 0 && at[1 + size] == '"')
            return true;
    }
    return false;
}

enum exit_code client_told(struct client *client, const char *item, enum fileshare_status status,
                           const struct fileshare_error *error)
{
    char text[MESSAGE_SIZE];
    if (status == FILESHARE_OK)
        return EXIT_DONE;
    if (status == FILESHARE_STOPPED)
        return interrupt_code();
    snprintf(text, sizeof text, "%s", error->text);
    print_message(client, item && !names_item(text, item) ? item : NULL, text);
    return exit_of_status(status);
}

void client_note(struct client *client, const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list arguments;
    if (client->quiet)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_message(client, NULL, text);
}
