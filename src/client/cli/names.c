/* ls, stat, rm, mv. */
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/translate.h"

#include "base/scoped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- ls ---- */

struct listing {
    struct client *client;
    bool details;
    size_t count;
};

static bool list_entry_shown(void *context, const struct fileshare_entry *entry)
{
    struct listing *listing = context;
    struct output *output = &listing->client->output;
    const bool plain = !listing->details;
    const struct field fields[] = {
        {.key = "size", .kind = FIELD_SIZE, .json_only = plain, .number = entry->size},
        {.key = "owner", .kind = FIELD_NAME, .json_only = plain, .text = entry->owner},
        {.key = "arrival", .kind = FIELD_TIME, .json_only = plain, .time = entry->arrival},
        FIELD_NAME("name", entry->name),
        {.key = "digest", .kind = FIELD_OCTETS, .json_only = true, .octets = entry->digest},
        {.key = "mtime", .kind = FIELD_TIME, .json_only = true, .time = entry->mtime},
        {.key = "version", .kind = FIELD_OCTETS, .json_only = true, .octets = entry->version.octets},
    };
    listing->count++;
    if (plain)
        output_line(output, fields, sizeof fields / sizeof fields[0]);
    else
        output_row(output, fields, sizeof fields / sizeof fields[0]);
    return !ferror(stdout) && interrupt_noted() == 0;
}

enum exit_code ls_run(struct client *client, const struct choices *choices, const struct arguments *arguments)
{
    const char *glob = arguments->count > 0 ? arguments->rows[0] : NULL;
    scoped_free char *escaped = NULL;
    if (glob && choices->exact) {
        glob = escaped = command_glob_of(glob);
        if (!escaped)
            return client_complain(client, EXIT_LOCAL, NULL, _("no memory for a list"));
    }
    struct listing listing = {.client = client, .details = choices->details};
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = fileshare_list(client->session, glob, list_entry_shown, &listing, &error);
    output_rows_end(&client->output);
    if (interrupt_noted() != 0)
        return interrupt_code();
    if (status == FILESHARE_OK && glob && listing.count == 0)
        return client_complain(client, EXIT_ABSENT, arguments->rows[0], _("there is no such file"));
    return client_told(client, glob ? arguments->rows[0] : NULL, status, &error);
}

/* ---- stat, rm, mv ---- */

enum exit_code stat_run(struct client *client, const struct choices *choices,
                        const struct arguments *arguments)
{
    (void)choices;
    struct fileshare_entry entry;
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = fileshare_stat(client->session, arguments->rows[0], &entry, &error);
    if (status == FILESHARE_OK) {
        struct field fields[ENTRY_FIELDS];
        output_entry_fields(&entry, fields);
        output_card(&client->output, fields, ENTRY_FIELDS);
    }
    return client_told(client, arguments->rows[0], status, &error);
}

enum exit_code rm_run(struct client *client, const struct choices *choices, const struct arguments *arguments)
{
    (void)choices;
    struct tally tally = {.items = 0};
    for (size_t i = 0; i < arguments->count; i++) {
        struct fileshare_error error = {.text = ""};
        enum fileshare_status status = fileshare_remove(client->session, arguments->rows[i], NULL, &error);
        enum exit_code code = client_told(client, arguments->rows[i], status, &error);
        if (code > EXIT_SIGNAL)
            return code;
        tally_add(&tally, code);
    }
    return tally_code(&tally);
}

enum exit_code mv_run(struct client *client, const struct choices *choices, const struct arguments *arguments)
{
    struct fileshare_entry entry;
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = fileshare_rename(client->session, arguments->rows[0], arguments->rows[1],
                                                    choices->replace, &entry, &error);
    return client_told(client, NULL, status, &error); /* it says which of the two */
}
