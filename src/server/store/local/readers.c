#include "server/store/local/readers.h"

#include <assert.h>

void readers_init(struct readers *readers, const char *path)
{
    *readers = (struct readers){.path = path};
    pthread_mutex_init(&readers->mutex, NULL);
    pthread_cond_init(&readers->given, NULL);
}

void readers_fini(struct readers *readers)
{
    assert(readers->idle_count == readers->opened);
    while (readers->idle_count > 0)
        database_close(readers->idle[--readers->idle_count]);
    pthread_cond_destroy(&readers->given);
    pthread_mutex_destroy(&readers->mutex);
}

enum outcome readers_take(struct readers *readers, struct reader *out, struct failure *why)
{
    struct database *db = NULL;
    pthread_mutex_lock(&readers->mutex);
    while (readers->paused || (readers->idle_count == 0 && readers->opened == READERS_MAX))
        pthread_cond_wait(&readers->given, &readers->mutex);
    if (readers->idle_count > 0)
        db = readers->idle[--readers->idle_count];
    else
        readers->opened++;
    pthread_mutex_unlock(&readers->mutex);

    enum outcome outcome = db ? OUTCOME_OK : database_open(readers->path, false, &db, why);
    if (outcome != OUTCOME_OK) {
        scoped_lock(&readers->mutex);
        readers->opened--;
        pthread_cond_broadcast(&readers->given);
        return outcome;
    }
    *out = (struct reader){readers, db};
    return OUTCOME_OK;
}

void readers_give(struct reader *reader)
{
    if (!reader->db)
        return;
    struct readers *readers = reader->readers;
    scoped_lock(&readers->mutex);
    readers->idle[readers->idle_count++] = reader->db;
    reader->db = NULL;
    pthread_cond_broadcast(&readers->given); /* takers wait for it, and the one who pauses */
}

void readers_pause(struct readers *readers)
{
    scoped_lock(&readers->mutex);
    readers->paused = true;
    while (readers->idle_count != readers->opened)
        pthread_cond_wait(&readers->given, &readers->mutex);
}

void readers_resume(struct readers *readers)
{
    scoped_lock(&readers->mutex);
    readers->paused = false;
    pthread_cond_broadcast(&readers->given);
}
