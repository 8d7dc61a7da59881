/* ping and status: about the server itself. */
#include "client/cli/command.h"

#include <stdio.h>

enum exit_code ping_run(struct client *client, const struct choices *choices,
                        const struct arguments *arguments)
{
    (void)choices;
    (void)arguments;
    int64_t ns = 0;
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = fileshare_ping(client->session, &ns, &error);
    if (status != FILESHARE_OK)
        return client_told(client, NULL, status, &error);
    struct fileshare_server_info info;
    fileshare_server(client->session, &info);
    if (client->output.json) {
        const struct field fields[] = {FIELD_NAME("server", info.address), FIELD_NUMBER("ns", (uint64_t)ns)};
        output_line(&client->output, fields, sizeof fields / sizeof fields[0]);
    } else {
        char text[64];
        snprintf(text, sizeof text, "%.3f ms", (double)ns / 1e6);
        const struct field fields[] = {FIELD_NAME("server", info.address), FIELD_WORD("time", text)};
        output_row(&client->output, fields, sizeof fields / sizeof fields[0]);
    }
    return EXIT_DONE;
}

static void show_counter(void *context, const char *label, uint64_t amount)
{
    struct client *client = context;
    const struct field fields[] = {FIELD_NAME("label", label), FIELD_NUMBER("amount", amount)};
    output_row(&client->output, fields, sizeof fields / sizeof fields[0]);
}

/* Who answers, and whom it takes us for: a first row for programs, a card for people. */
static void show_server(struct client *client)
{
    struct fileshare_server_info info;
    fileshare_server(client->session, &info);
    const struct field fields[] = {
        FIELD_NAME("server", info.address),    FIELD_NAME("host", info.host),
        FIELD_NAME("software", info.software), FIELD_OCTETS("store", info.instance.octets),
        FIELD_NAME("you", info.principal),     FIELD_TIME("time", info.now),
    };
    output_card(&client->output, fields, sizeof fields / sizeof fields[0]);
}

enum exit_code status_run(struct client *client, const struct choices *choices,
                          const struct arguments *arguments)
{
    (void)choices;
    (void)arguments;
    struct fileshare_error error = {.text = ""};
    show_server(client);
    enum fileshare_status status = fileshare_counters(client->session, show_counter, client, &error);
    output_rows_end(&client->output);
    return client_told(client, NULL, status, &error);
}
