#include "client/cli/incidents.h"

#include "base/duration.h"
#include "base/name.h"
#include "client/cli/translate.h"

#include <stdio.h>
#include <string.h>

enum { HOW_FAR_SIZE = 128 };

/* "34%, 3.4 MiB of 10 MiB". */
static char *how_far(const struct fileshare_incident *incident, char text[HOW_FAR_SIZE])
{
    char moved[DURATION_TEXT_SIZE], total[DURATION_TEXT_SIZE];
    size_text(incident->moved, moved);
    if (incident->total == UINT64_MAX || incident->total == 0)
        snprintf(text, HOW_FAR_SIZE, "%s", moved);
    else
        snprintf(text, HOW_FAR_SIZE, _("%u%%, %s of %s"),
                 (unsigned)((double)incident->moved / (double)incident->total * 100), moved,
                 size_text(incident->total, total));
    return text;
}

void incidents_tell(void *context, const struct fileshare_incident *incident)
{
    struct client *client = context;
    const char *raw = incident->name ? incident->name : "";
    char name[OUTPUT_TEXT_SIZE], far[HOW_FAR_SIZE], seconds[DURATION_TEXT_SIZE];
    name_show(raw, strlen(raw), name, sizeof name);
    how_far(incident, far);
    switch (incident->kind) {
    case FILESHARE_LOST:
        client_note(client, _("%s; trying again for %s"), incident->text,
                    duration_text(incident->seconds, seconds));
        break;
    case FILESHARE_RESUMED:
        if (incident->earlier)
            client_note(client, _("%s: going on where it was broken off (%s)"), name, far);
        else
            client_note(client, _("%s: connected again, going on (%s)"), name, far);
        break;
    case FILESHARE_ANEW: client_note(client, _("%s: %s; starting anew"), name, incident->text); break;
    case FILESHARE_KEPT:
        client_note(client, _("%s: what moved is kept (%s); the same command goes on from there"), name, far);
        break;
    }
}
