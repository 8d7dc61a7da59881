#include "client/cli/events.h"

#include "base/duration.h"
#include "base/name.h"
#include "client/cli/translate.h"

#include <stdio.h>
#include <string.h>

void events_print_arrival(struct output *output, const struct fileshare_event *event)
{
    const struct fileshare_entry *entry = &event->entry;
    const struct field fields[] = {
        FIELD_WORD("event", "arrived"),
        FIELD_NAME("name", entry->name),
        {.key = "size", .kind = FIELD_NUMBER, .number = entry->size},
        FIELD_OCTETS("digest", entry->digest),
        {.key = "owner", .kind = FIELD_NAME, .json_only = true, .text = entry->owner},
        {.key = "mtime", .kind = FIELD_TIME, .json_only = true, .time = entry->mtime},
        {.key = "arrival", .kind = FIELD_TIME, .json_only = true, .time = entry->arrival},
        {.key = "version", .kind = FIELD_OCTETS, .json_only = true, .octets = entry->version.octets},
        {.key = "pattern", .kind = FIELD_NAME, .json_only = true, .text = event->pattern},
        {.key = "route", .kind = FIELD_WORD, .json_only = true, .text = event->route},
    };
    output_line(output, fields, sizeof fields / sizeof fields[0]);
}

static void print_arrived(struct output *output, const struct fileshare_event *event)
{
    const struct fileshare_entry *entry = &event->entry;
    const struct field fields[] = {
        FIELD_NUMBER("number", event->number),
        FIELD_WORD("event", "arrived"),
        FIELD_NAME("name", entry->name),
        FIELD_SIZE("size", entry->size),
        FIELD_OCTETS("digest", entry->digest),
        FIELD_NAME("owner", entry->owner),
        FIELD_TIME("time", event->happened),
        {.key = "mtime", .kind = FIELD_TIME, .json_only = true, .time = entry->mtime},
        {.key = "version", .kind = FIELD_OCTETS, .json_only = true, .octets = entry->version.octets},
        {.key = "pattern", .kind = FIELD_NAME, .json_only = true, .text = event->pattern},
        {.key = "interest", .kind = FIELD_OCTETS, .json_only = true, .octets = event->interest.octets},
        {.key = "route", .kind = FIELD_WORD, .json_only = true, .text = event->route},
    };
    output_line(output, fields, sizeof fields / sizeof fields[0]);
}

/* The same columns; those that mean nothing here are "-" when plain, and left out as JSON. */
static void print_other(struct output *output, const struct fileshare_event *event)
{
    const bool expired = event->kind == FILESHARE_UNMET;
    struct field fields[8] = {FIELD_NUMBER("number", event->number),
                              FIELD_WORD("event", expired ? "expired" : "dropped")};
    const struct field pattern = FIELD_NAME("pattern", event->pattern), none = FIELD_WORD("", "-");
    const struct field count = FIELD_NUMBER("count", event->dropped),
                       time = FIELD_TIME("time", event->happened);
    const struct field route = {.key = "route", .kind = FIELD_WORD, .json_only = true, .text = event->route};
    size_t used = 2;
    if (expired)
        fields[used++] = pattern;
    else if (!output->json)
        fields[used++] = none;
    if (!expired)
        fields[used++] = count;
    for (size_t blank = expired ? 3 : 2; !output->json && blank > 0; blank--)
        fields[used++] = none;
    fields[used++] = time;
    if (output->json)
        fields[used++] = route;
    output_line(output, fields, used);
}

void events_print(struct output *output, const struct fileshare_event *event)
{
    if (event->kind == FILESHARE_ARRIVED)
        print_arrived(output, event);
    else
        print_other(output, event);
}

char *events_text(const struct fileshare_event *event, char text[EVENTS_TEXT_SIZE])
{
    char shown[OUTPUT_TEXT_SIZE], owner[4 * FILESHARE_PRINCIPAL_SIZE], size[DURATION_TEXT_SIZE];
    const struct fileshare_entry *entry = &event->entry;
    switch (event->kind) {
    case FILESHARE_ARRIVED:
        snprintf(text, EVENTS_TEXT_SIZE, _("%s has arrived (%s, from %s)"),
                 name_show(entry->name, strlen(entry->name), shown, sizeof shown),
                 size_text(entry->size, size),
                 name_show(entry->owner, strlen(entry->owner), owner, sizeof owner));
        break;
    case FILESHARE_UNMET:
        snprintf(text, EVENTS_TEXT_SIZE, _("nothing came for %s; the interest is over"),
                 name_show(event->pattern, strlen(event->pattern), shown, sizeof shown));
        break;
    case FILESHARE_DROPPED:
        snprintf(text, EVENTS_TEXT_SIZE,
                 _("%llu events were dropped, the oldest first: too many waited, or for too long; \"ls\" "
                   "shows what is there"),
                 (unsigned long long)event->dropped);
        break;
    }
    return text;
}
