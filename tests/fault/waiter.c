#include "fault/waiter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATIENCE_SECONDS = 120, WAIT_SECONDS = 90 };

static bool hear(void *context, const struct fileshare_event *event)
{
    struct waiter *waiter = context;
    waiter->heard++;
    waiter->heard_entry = event->entry;
    waiter->world->events++;
    return true;
}

static void *bring(void *argument)
{
    struct waiter *waiter = argument;
    struct fileshare_error error = {0};
    usleep(waiter->delay);
    enum fileshare_status status;
    do
        status = world_put(waiter->world, waiter->bringer, waiter->name, 100 + waiter->delay, waiter->serial,
                           false, &waiter->brought, &error);
    while (world_refused(waiter->world, status));
    if (status != FILESHARE_OK)
        world_wrong(waiter->world, "put of %s: %s", waiter->name, error.text);
    waiter->world->acts++;
    return NULL;
}

static void act(struct waiter *waiter)
{
    pthread_t bringer;
    struct fileshare_error error = {0};
    size_t met = 0;
    const char *pattern = waiter->name;
    bool glob = false;
    snprintf(waiter->name, sizeof waiter->name, "x%u/%u", waiter->number, ++waiter->serial);
    waiter->heard = 0;
    waiter->delay = dice_throw(&waiter->dice, 60000);
    struct fileshare_wait wait = {
        .patterns = &pattern,
        .globs = &glob,
        .count = 1,
        .seconds = (uint32_t)(WAIT_SECONDS * slowness()),
        .arrived = hear,
        .context = waiter,
    };
    if (pthread_create(&bringer, NULL, bring, waiter) != 0)
        abort();
    enum fileshare_status status;
    do
        status = fileshare_wait(waiter->session, &wait, &met, &error);
    while (world_refused(waiter->world, status));
    pthread_join(bringer, NULL);
    if (status != FILESHARE_OK)
        world_wrong(waiter->world, "the wait for %s ended with %d: %s", waiter->name, status, error.text);
    else if (met != 1 || waiter->heard != 1)
        world_wrong(waiter->world, "the arrival of %s was told %u times", waiter->name, waiter->heard);
    else if (memcmp(&waiter->heard_entry.version, &waiter->brought.version, sizeof waiter->brought.version) !=
             0)
        world_wrong(waiter->world, "of %s another version was told than was brought", waiter->name);
    do
        status = fileshare_remove(waiter->session, waiter->name, NULL, &error);
    while (world_refused(waiter->world, status));
    if (status != FILESHARE_OK)
        world_wrong(waiter->world, "remove of %s: %s", waiter->name, error.text);
}

static void *waiter_run(void *argument)
{
    struct waiter *waiter = argument;
    while (world_enter(waiter->world)) {
        act(waiter);
        world_leave(waiter->world);
        usleep(dice_throw(&waiter->dice, 5000));
    }
    return NULL;
}

void waiter_begin(struct waiter *waiter, struct world *world, unsigned number)
{
    char who[32];
    snprintf(who, sizeof who, "waiter%u", number);
    *waiter = (struct waiter){.world = world, .number = number, .dice = dice_of(world->seed, 200 + number)};
    waiter->session = world_session(world, who, PATIENCE_SECONDS);
    waiter->bringer = world_session(world, who, PATIENCE_SECONDS);
    if (!waiter->session || !waiter->bringer ||
        pthread_create(&waiter->thread, NULL, waiter_run, waiter) != 0)
        abort();
}

void waiter_end(struct waiter *waiter)
{
    pthread_join(waiter->thread, NULL);
    fileshare_close(waiter->session);
    fileshare_close(waiter->bringer);
}
