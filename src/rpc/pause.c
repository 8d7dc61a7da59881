#include "rpc/pause.h"

#include "base/scoped.h"
#include "rpc/connection.h"

#include <assert.h>

void pause_init(struct pause *pause)
{
    pthread_mutex_init(&pause->mutex, NULL);
    list_init(&pause->waiting);
    atomic_init(&pause->count, 0);
}

void pause_fini(struct pause *pause)
{
    assert(list_is_empty(&pause->waiting));
    pthread_mutex_destroy(&pause->mutex);
}

void pause_add(struct pause *pause, struct connection *connection)
{
    connection_pause(connection);
    scoped_lock(&pause->mutex);
    list_append(&pause->waiting, &connection_ref(connection)->pause_link);
    atomic_fetch_add(&pause->count, 1);
}

static struct connection *pop(struct pause *pause)
{
    scoped_lock(&pause->mutex);
    struct connection *connection = list_first(&pause->waiting, struct connection, pause_link);
    if (connection) {
        list_remove(&connection->pause_link);
        atomic_fetch_sub(&pause->count, 1);
    }
    return connection;
}

void pause_resume_one(struct pause *pause)
{
    if (atomic_load(&pause->count) == 0)
        return;
    struct connection *connection = pop(pause);
    if (connection) {
        connection_resume(connection);
        connection_unref(connection);
    }
}

void pause_resume_all(struct pause *pause)
{
    for (unsigned left = atomic_load(&pause->count); left > 0; left--)
        pause_resume_one(pause);
}
