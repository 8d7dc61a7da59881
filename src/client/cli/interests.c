/*
 * interest, interests, renew, cancel: the interests of the durable mailbox. Their
 * plain lines, values with tabs between:
 *
 *   interest    waiting <tab> ID <tab> PATTERN <tab> SECONDS    it was registered
 *               present <tab> NAME <tab> SIZE <tab> DIGEST      it is there already
 *   interests   aligned: ID STATE SECONDS once|every exact|glob ARRIVALS ROUTE PATTERN
 *   renew       waiting <tab> ID <tab> SECONDS
 *   cancel      cancelled|met|expired <tab> ID <tab> PATTERN
 */
#include "client/cli/command.h"
#include "client/cli/translate.h"

#include "base/scoped.h"

#include <stdlib.h>

/* ---- interest ---- */

static void show_present(void *context, const struct fileshare_entry *entry)
{
    struct client *client = context;
    struct field fields[1 + ENTRY_FIELDS] = {FIELD_WORD("state", "present")};
    output_entry_fields(entry, fields + 1);
    for (size_t i = 4; i < 1 + ENTRY_FIELDS; i++)
        fields[i].json_only = true; /* plain: name, size, digest */
    output_line(&client->output, fields, 1 + ENTRY_FIELDS);
}

enum exit_code interest_check(struct client *client, const struct choices *choices,
                              const struct arguments *arguments)
{
    (void)arguments;
    if (choices->duration == 0)
        return client_complain(client, EXIT_USAGE, NULL, _("say for how long: --for 2h"));
    return EXIT_DONE;
}

enum exit_code interest_run(struct client *client, const struct choices *choices,
                            const struct arguments *arguments)
{
    const struct fileshare_register what = {
        .pattern = arguments->rows[0],
        .glob = command_is_glob(choices, arguments->rows[0]),
        .every = choices->every,
        .seconds = choices->duration,
    };
    struct fileshare_registered registered = {.registered = false};
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = fileshare_interest(client->session, &what, show_present, client,
                                                      &registered, &error);
    if (status == FILESHARE_OK && registered.registered) {
        const struct field fields[] = {
            FIELD_WORD("state", "waiting"),
            FIELD_OCTETS("id", registered.id.octets),
            FIELD_NAME("pattern", what.pattern),
            FIELD_LEFT("seconds", registered.seconds_left),
        };
        output_line(&client->output, fields, sizeof fields / sizeof fields[0]);
    }
    return client_told(client, arguments->rows[0], status, &error);
}

/* ---- interests ---- */

static const char *state_word(const struct fileshare_interest *interest)
{
    switch (interest->state) {
    case FILESHARE_WAITING: return "waiting";
    case FILESHARE_CANCELLED: return "cancelled";
    case FILESHARE_MET: return "met";
    case FILESHARE_OVER: return "expired";
    case FILESHARE_NEVER: break;
    }
    return "unknown";
}

/* The route is told after the last of them, and stands in every row. */
struct interest_rows {
    struct fileshare_interest *rows;
    size_t count, size;
    bool failed; /* no memory */
};

static void rows_fini(struct interest_rows *rows)
{
    free(rows->rows);
}

static void keep_interest(void *context, const struct fileshare_interest *interest)
{
    struct interest_rows *rows = context;
    if (rows->count == rows->size) {
        size_t size = rows->size > 0 ? 2 * rows->size : 64;
        struct fileshare_interest *grown = realloc(rows->rows, size * sizeof *grown);
        if (!grown) {
            rows->failed = true;
            return;
        }
        rows->rows = grown;
        rows->size = size;
    }
    rows->rows[rows->count++] = *interest;
}

static void show_interest(struct output *output, const struct fileshare_interest *interest, const char *route)
{
    const struct field fields[] = {
        FIELD_OCTETS("id", interest->id.octets),
        FIELD_WORD("state", state_word(interest)),
        FIELD_LEFT("seconds", interest->seconds_left),
        FIELD_WORD("repeat", interest->every ? "every" : "once"),
        FIELD_WORD("match", interest->glob ? "glob" : "exact"),
        FIELD_NUMBER("arrivals", interest->arrivals),
        FIELD_WORD("route", route),
        FIELD_NAME("pattern", interest->pattern),
    };
    output_row(output, fields, sizeof fields / sizeof fields[0]);
}

enum exit_code interests_run(struct client *client, const struct choices *choices,
                             const struct arguments *arguments)
{
    (void)choices;
    (void)arguments;
    const char *route = "none";
    scoped(rows_fini) struct interest_rows rows = {.count = 0};
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = fileshare_interests(client->session, keep_interest, &rows, &route, &error);
    for (size_t i = 0; i < rows.count && status == FILESHARE_OK; i++)
        show_interest(&client->output, &rows.rows[i], route);
    output_rows_end(&client->output);
    if (rows.failed)
        return client_complain(client, EXIT_LOCAL, NULL, _("no memory for a list"));
    return client_told(client, NULL, status, &error);
}

/* ---- renew, cancel ---- */

enum exit_code renew_check(struct client *client, const struct choices *choices,
                           const struct arguments *arguments)
{
    struct fileshare_id id;
    if (choices->duration == 0)
        return client_complain(client, EXIT_USAGE, NULL, _("say for how long: --for 2h"));
    if (fileshare_id_parse(arguments->rows[0], &id) != FILESHARE_OK)
        return client_complain(client, EXIT_USAGE, arguments->rows[0],
                               _("this is no id, of 32 hex digits, as interests shows it"));
    return EXIT_DONE;
}

enum exit_code renew_run(struct client *client, const struct choices *choices,
                         const struct arguments *arguments)
{
    struct fileshare_id id;
    uint32_t left = 0;
    if (fileshare_id_parse(arguments->rows[0], &id) != FILESHARE_OK)
        return EXIT_USAGE; /* it was told by the check */
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = fileshare_renew(client->session, &id, choices->duration, &left, &error);
    if (status == FILESHARE_OK) {
        const struct field fields[] = {FIELD_WORD("state", "waiting"), FIELD_OCTETS("id", id.octets),
                                       FIELD_LEFT("seconds", left)};
        output_line(&client->output, fields, sizeof fields / sizeof fields[0]);
    }
    return client_told(client, arguments->rows[0], status, &error);
}

static void show_cancelled(void *context, const struct fileshare_interest *interest)
{
    struct client *client = context;
    const struct field fields[] = {
        FIELD_WORD("state", state_word(interest)),
        FIELD_OCTETS("id", interest->id.octets),
        FIELD_NAME("pattern", interest->pattern),
    };
    if (interest->state != FILESHARE_NEVER)
        output_line(&client->output, fields, sizeof fields / sizeof fields[0]);
}

/* What looks like an id may be a name, too: then there is no such id. */
enum exit_code cancel_run(struct client *client, const struct choices *choices,
                          const struct arguments *arguments)
{
    const char *text = arguments->rows[0];
    struct fileshare_id id;
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = FILESHARE_ABSENT;
    if (!choices->exact && fileshare_id_parse(text, &id) == FILESHARE_OK)
        status = fileshare_cancel(client->session, &id, NULL, show_cancelled, client, &error);
    if (status == FILESHARE_ABSENT)
        status = fileshare_cancel(client->session, NULL, text, show_cancelled, client, &error);
    return client_told(client, text, status, &error);
}
