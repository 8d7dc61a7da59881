#include "fault/hearing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/scoped.h"
#include "client/must.h"

enum { INTEREST_SECONDS = 3600 };

static const struct fileshare_id none;

static bool hear(void *context, const struct fileshare_event *event)
{
    struct hearing *hearing = context;
    scoped_lock(&hearing->lock);
    if (event->kind != FILESHARE_ARRIVED || roll_add(&hearing->heard, &event->entry.version, &none) > 1)
        world_wrong(hearing->world, "event %llu of %s is one too many", (unsigned long long)event->number,
                    event->entry.name);
    if (event->number <= hearing->last)
        world_wrong(hearing->world, "event %llu of %s comes after %llu", (unsigned long long)event->number,
                    event->entry.name, (unsigned long long)hearing->last);
    hearing->last = event->number;
    hearing->count++;
    snprintf(hearing->route, sizeof hearing->route, "%s", event->route);
    if (hearing->also)
        hearing->also(hearing->context, event);
    return true;
}

void hearing_begin(struct hearing *hearing, struct world *world, struct fileshare *session)
{
    struct fileshare_error error = {0};
    hearing->world = world;
    pthread_mutex_init(&hearing->lock, NULL);
    must(fileshare_attach(session, hear, hearing, &error), error);
}

void hearing_fini(struct hearing *hearing)
{
    roll_fini(&hearing->heard);
    pthread_mutex_destroy(&hearing->lock);
}

void hearing_wants(struct fileshare *session, const char *glob)
{
    const struct fileshare_register what = {.pattern = glob,
                                            .glob = true,
                                            .every = true,
                                            .seconds = INTEREST_SECONDS};
    struct fileshare_registered registered;
    struct fileshare_error error = {0};
    must(fileshare_interest(session, &what, NULL, NULL, &registered, &error), error);
}

bool hearing_has(struct hearing *hearing, const struct fileshare_entry *entry)
{
    scoped_lock(&hearing->lock);
    return roll_times(&hearing->heard, &entry->version, &none) > 0;
}

size_t hearing_count(struct hearing *hearing)
{
    scoped_lock(&hearing->lock);
    return hearing->count;
}

bool hearing_came_by(struct hearing *hearing, const char *route)
{
    scoped_lock(&hearing->lock);
    return strcmp(hearing->route, route) == 0;
}
