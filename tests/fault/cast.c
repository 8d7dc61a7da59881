#include "fault/cast.h"

#include "fault/inspect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>

#include <cmocka.h>

void cast_begin(struct cast *cast)
{
    world_begin(&cast->world);
    cast->dice = dice_of(cast->world.seed, 999);
    cast->auditor = world_session(&cast->world, "auditor", 120);
    for (unsigned i = 0; i < CAST_LISTENERS; i++)
        listener_begin(&cast->listeners[i], &cast->world, i);
    for (unsigned i = 0; i < CAST_WRITERS; i++)
        writer_begin(&cast->writers[i], &cast->world, i);
    for (unsigned i = 0; i < CAST_WAITERS; i++)
        waiter_begin(&cast->waiters[i], &cast->world, i);
}

void cast_kill(struct cast *cast)
{
    daemon_stop(&cast->world.server, SIGKILL);
    cast->world.kills++;
}

/* The gate is closed. */
static void look(struct cast *cast, enum cast_audit depth)
{
    for (unsigned i = 0; i < CAST_WRITERS; i++)
        writer_audit(&cast->writers[i], cast->auditor);
    for (unsigned i = 0; i < CAST_LISTENERS && depth >= CAST_EVENTS; i++)
        listener_audit(&cast->listeners[i], &cast->writers[i]);
    if (depth < CAST_INSIDE)
        return;
    cast_kill(cast);
    inspect_deep(&cast->world);
}

void cast_audit(struct cast *cast, enum cast_audit depth)
{
    pthread_rwlock_wrlock(&cast->world.gate);
    look(cast, depth);
    if (depth == CAST_INSIDE)
        daemon_start(&cast->world.server);
    pthread_rwlock_unlock(&cast->world.gate);
}

void cast_end(struct cast *cast)
{
    struct world *world = &cast->world;
    if (world->server.pid == 0)
        daemon_start(&world->server);
    pthread_rwlock_wrlock(&world->gate);
    world->stopping = true;
    look(cast, CAST_INSIDE);
    inspect_swept(world);
    pthread_rwlock_unlock(&world->gate);
    daemon_start(&world->server); /* for those who take their leave */
    for (unsigned i = 0; i < CAST_WAITERS; i++)
        waiter_end(&cast->waiters[i]);
    for (unsigned i = 0; i < CAST_LISTENERS; i++)
        listener_end(&cast->listeners[i]);
    for (unsigned i = 0; i < CAST_WRITERS; i++)
        writer_end(&cast->writers[i]);
    fileshare_close(cast->auditor);
    print_message("%lu kills, %lu acts acknowledged, %lu in doubt, %lu events told, %u wrong\n", world->kills,
                  world->acts, world->doubts, world->events, world->wrong);
    if (world->wrong > 0)
        print_error("the store and the logs are left in %s\n", world->server.folder);
    assert_int_equal(world->wrong, 0);
    assert_true(world->kills > 0 && world->acts > 0 && world->events > 0);
    world_end(world);
}
