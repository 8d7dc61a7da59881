#include "fault/inspect.h"

#include "server/store/store.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>

static struct store *open_store(struct world *world, const struct clock *clock)
{
    char folder[128];
    struct failure why = {0};
    struct store *store = NULL;
    snprintf(folder, sizeof folder, "%s/store", world->server.folder);
    struct store_local_options options = {.folder = folder, .limits = store_limits_default(), .clock = clock};
    if (store_local_open(&options, &store, &why) != OUTCOME_OK)
        world_wrong(world, "the store cannot be opened: %s", why.text);
    return store;
}

static void expect_sound(struct world *world, struct store *store, bool swept)
{
    struct store_audit audit = {0};
    struct failure why = {0};
    if (store->acts->audit(store, true, &audit, &why) != OUTCOME_OK)
        world_wrong(world, "the store cannot be audited: %s", why.text);
    if (!store_audit_is_whole(&audit))
        world_wrong(world,
                    "of %llu entries %llu have no content, %llu a wrong size, %llu a wrong digest, %llu rows "
                    "do not fit",
                    (unsigned long long)audit.entries, (unsigned long long)audit.missing_blobs,
                    (unsigned long long)audit.wrong_sizes, (unsigned long long)audit.wrong_digests,
                    (unsigned long long)(audit.wrong_facts + audit.unnamed));
    for (size_t i = 0; i < audit.finding_count; i++)
        world_wrong(world, "found: %s (%s)", audit.findings[i].name, audit.findings[i].where);
    if (swept && audit.orphan_blobs > 0)
        world_wrong(world, "%llu orphans are left after the sweep", (unsigned long long)audit.orphan_blobs);
}

void inspect_deep(struct world *world)
{
    struct store *store = open_store(world, clock_system());
    if (!store)
        return;
    expect_sound(world, store, false);
    store->acts->close(store);
}

static void expect_empty_incoming(struct world *world)
{
    char path[128];
    snprintf(path, sizeof path, "%s/store/incoming", world->server.folder);
    DIR *folder = opendir(path);
    if (!folder) {
        world_wrong(world, "there is no %s", path);
        return;
    }
    for (struct dirent *at = readdir(folder); at; at = readdir(folder))
        if (at->d_name[0] != '.')
            world_wrong(world, "incoming/%s is left after the sweep", at->d_name);
    closedir(folder);
}

void inspect_swept(struct world *world)
{
    struct clock clock;
    struct failure why = {0};
    int64_t week = 7 * 86400 * (int64_t)CLOCK_SECOND, next_due;
    clock_test_init(&clock, clock_elapsed(clock_system()), clock_wall(clock_system()) + week);
    struct store *store = open_store(world, &clock);
    if (!store)
        return;
    for (int again = 0; again < 2; again++) {
        bool left = true;
        while (left) {
            struct store_sweep swept = {0};
            left = false;
            if (store->acts->sweep(store, &swept, &left, &next_due, &why) != OUTCOME_OK)
                world_wrong(world, "the sweep fails: %s", why.text);
        }
        clock_test_step(&clock, week);
    }
    expect_sound(world, store, true);
    store->acts->close(store);
    expect_empty_incoming(world);
}
