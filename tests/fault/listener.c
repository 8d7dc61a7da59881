#include "fault/listener.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAMES = 12, PATIENCE_SECONDS = 120, TOLD_WITHIN_MS = 60000, INTEREST_SECONDS = 86400 };

static const struct fileshare_id none;

static bool hear(void *context, const struct fileshare_event *event)
{
    struct listener *listener = context;
    bool arrived = event->kind == FILESHARE_ARRIVED;
    listener->world->events++;
    if (event->kind == FILESHARE_DROPPED)
        world_wrong(listener->world, "listener %u: %llu events were dropped", listener->number,
                    (unsigned long long)event->dropped);
    pthread_mutex_lock(&listener->lock);
    unsigned times = roll_add(&listener->told, &event->interest, arrived ? &event->entry.version : &none);
    roll_add(&listener->interests, &event->interest, &none);
    pthread_mutex_unlock(&listener->lock);
    if (times > 1)
        world_wrong(listener->world, "listener %u: %s of %s was told %u times, now as event %llu by %s",
                    listener->number, arrived ? "the arrival" : "the end", event->pattern, times,
                    (unsigned long long)event->number, event->route);
    return true;
}

static void owe(struct listener *listener, enum owed_kind kind, const struct fileshare_id *interest,
                const struct fileshare_id *version)
{
    if (listener->owed_count == listener->owed_room) {
        listener->owed_room = listener->owed_room * 2 + 64;
        listener->owed = realloc(listener->owed, listener->owed_room * sizeof *listener->owed);
        if (!listener->owed)
            abort();
    }
    listener->owed[listener->owed_count++] = (struct owed){.kind = kind,
                                                           .interest = *interest,
                                                           .version = *version};
}

static bool publish(struct listener *listener, const char *name, struct fileshare_entry *out)
{
    struct fileshare_error error = {0};
    unsigned serial = 4000000000U - listener->number * 100000000 - listener->serial;
    size_t size = 1 + dice_throw(&listener->dice, 20000);
    enum fileshare_status status;
    do
        status = world_put(listener->world, listener->session, name, size, serial, false, out, &error);
    while (world_refused(listener->world, status));
    if (status == FILESHARE_OK) {
        listener->world->acts++;
        return true;
    }
    world_wrong(listener->world, "listener %u: put of %s: %s", listener->number, name, error.text);
    return false;
}

static void keep_state(void *context, const struct fileshare_interest *interest)
{
    *(enum fileshare_interest_state *)context = interest->state;
}

static void cancel(struct listener *listener, const struct fileshare_id *id,
                   enum fileshare_interest_state wanted)
{
    enum fileshare_interest_state state = FILESHARE_NEVER;
    struct fileshare_error error = {0};
    enum fileshare_status status;
    do
        status = fileshare_cancel(listener->session, id, NULL, keep_state, &state, &error);
    while (world_refused(listener->world, status));
    listener->world->acts += status == FILESHARE_OK;
    if (status != FILESHARE_OK || state != wanted)
        world_wrong(listener->world, "listener %u: cancel answers %d, state %d instead of %d: %s",
                    listener->number, status, state, wanted, error.text);
}

static void renew(struct listener *listener, const struct fileshare_id *id)
{
    struct fileshare_error error = {0};
    uint32_t left;
    enum fileshare_status status;
    do
        status = fileshare_renew(listener->session, id, INTEREST_SECONDS, &left, &error);
    while (world_refused(listener->world, status));
    listener->world->acts += status == FILESHARE_OK;
    if (status != FILESHARE_OK)
        world_wrong(listener->world, "listener %u: renew answers %d: %s", listener->number, status,
                    error.text);
}

/* An interest of one arrival, in a name that is not there. */
static bool register_in(struct listener *listener, const char *name, uint32_t seconds,
                        struct fileshare_id *out)
{
    struct fileshare_error error = {0};
    struct fileshare_registered registered = {0};
    struct fileshare_register what = {.pattern = name, .seconds = seconds};
    enum fileshare_status status;
    do
        status = fileshare_interest(listener->session, &what, NULL, NULL, &registered, &error);
    while (world_refused(listener->world, status));
    if (status != FILESHARE_OK || !registered.registered) {
        world_wrong(listener->world, "listener %u: interest in %s: %s", listener->number, name, error.text);
        return false;
    }
    listener->world->acts++;
    *out = registered.id;
    return true;
}

static void let_run_out(struct listener *listener)
{
    char name[32];
    struct fileshare_id id;
    snprintf(name, sizeof name, "never%u/%u", listener->number, listener->serial);
    if (register_in(listener, name, 1, &id))
        owe(listener, OWED_UNMET, &id, &none);
}

static void clear(struct listener *listener, const char *name)
{
    struct fileshare_error error = {0};
    enum fileshare_status status;
    do
        status = fileshare_remove(listener->session, name, NULL, &error);
    while (world_refused(listener->world, status));
    if (status != FILESHARE_OK)
        world_wrong(listener->world, "remove of %s: %s", name, error.text);
}

/* A name that nobody has: its interest, its arrival, and a cancel before, after or not at all. */
static void meet(struct listener *listener)
{
    char name[32];
    struct fileshare_id id;
    struct fileshare_entry entry;
    unsigned kind = dice_throw(&listener->dice, 6);
    snprintf(name, sizeof name, "n%u/%02u", listener->number, listener->serial++ % NAMES);
    if (listener->serial > NAMES)
        clear(listener, name);
    if (!register_in(listener, name, INTEREST_SECONDS, &id))
        return;
    if (kind == 0)
        cancel(listener, &id, FILESHARE_CANCELLED);
    else if (kind == 1)
        renew(listener, &id);
    if (!publish(listener, name, &entry))
        return;
    owe(listener, kind == 0 ? OWED_NOTHING : OWED_ARRIVAL, &id, &entry.version);
    if (kind == 2)
        cancel(listener, &id, FILESHARE_MET);
}

static void act(struct listener *listener)
{
    if (dice_throw(&listener->dice, 10) == 0)
        let_run_out(listener);
    else
        meet(listener);
}

static void *listener_run(void *argument)
{
    struct listener *listener = argument;
    while (world_enter(listener->world)) {
        act(listener);
        world_leave(listener->world);
        usleep(dice_throw(&listener->dice, 8000));
    }
    return NULL;
}

void listener_begin(struct listener *listener, struct world *world, unsigned number)
{
    char who[32], pattern[32];
    struct fileshare_error error = {0};
    struct fileshare_registered registered;
    snprintf(who, sizeof who, "listener%u", number);
    snprintf(pattern, sizeof pattern, "w%u/**", number);
    *listener = (struct listener){.world = world,
                                  .number = number,
                                  .dice = dice_of(world->seed, 100 + number)};
    pthread_mutex_init(&listener->lock, NULL);
    if (number % 2 == 1)
        listener->relay = dropper_between(
            &(struct dropper_way){.target_port = world->server.port, .from = "127.0.0.2"});
    listener->session = world_session_by(
        world, listener->relay ? dropper_address(listener->relay) : world->server.tcp, who, PATIENCE_SECONDS);
    struct fileshare_register what = {.pattern = pattern,
                                      .glob = true,
                                      .every = true,
                                      .seconds = INTEREST_SECONDS};
    if (!listener->session || fileshare_attach(listener->session, hear, listener, &error) != FILESHARE_OK ||
        fileshare_interest(listener->session, &what, NULL, NULL, &registered, &error) != FILESHARE_OK ||
        pthread_create(&listener->thread, NULL, listener_run, listener) != 0) {
        fprintf(stderr, "listener %u: %s\n", number, error.text);
        abort();
    }
    listener->every = registered.id;
}

void listener_end(struct listener *listener)
{
    pthread_join(listener->thread, NULL);
    fileshare_close(listener->session);
    dropper_free(listener->relay);
    pthread_mutex_destroy(&listener->lock);
    roll_fini(&listener->told);
    roll_fini(&listener->interests);
    free(listener->owed);
}

/* ---- the audit ---- */

static unsigned times_told(struct listener *listener, const struct owed *owed)
{
    pthread_mutex_lock(&listener->lock);
    unsigned times = owed->kind == OWED_NOTHING ? roll_times(&listener->interests, &owed->interest, &none)
                     : owed->kind == OWED_UNMET
                         ? roll_times(&listener->told, &owed->interest, &none)
                         : roll_times(&listener->told, &owed->interest, &owed->version);
    pthread_mutex_unlock(&listener->lock);
    return times;
}

static void expect(struct listener *listener, const struct owed *owed, int64_t until)
{
    while (owed->kind != OWED_NOTHING && times_told(listener, owed) == 0 && milliseconds() < until)
        usleep(5000);
    if (owed->kind == OWED_NOTHING && times_told(listener, owed) > 0)
        world_wrong(listener->world, "listener %u was told of what it had cancelled", listener->number);
    if (owed->kind != OWED_NOTHING && times_told(listener, owed) == 0)
        world_wrong(listener->world, "listener %u: an event is lost: %s", listener->number,
                    owed->kind == OWED_UNMET ? "of an interest that ran out"
                    : memcmp(&owed->interest, &listener->every, sizeof owed->interest) == 0 ? "of its glob"
                                                                                            : "of a name");
}

void listener_audit(struct listener *listener, struct writer *writer)
{
    for (size_t i = 0; i < writer->made_count; i++)
        owe(listener, OWED_ARRIVAL, &listener->every, &writer->made[i].version);
    writer->made_count = 0;
    int64_t until = milliseconds() + (int64_t)TOLD_WITHIN_MS * slowness();
    size_t kept = 0;
    for (size_t i = 0; i < listener->owed_count; i++) {
        expect(listener, &listener->owed[i], until);
        /* What was cancelled is looked at again: it may come too late. */
        if (listener->owed[i].kind == OWED_NOTHING)
            listener->owed[kept++] = listener->owed[i];
    }
    listener->owed_count = kept;
}
