/*
 * readers: connections for looking things up, one per thread at a time.
 *
 *     scoped_reader struct reader reader = {0};
 *     outcome = readers_take(&local->readers, &reader, why);
 *     ... reader.db ...
 *
 * They are opened when needed, READERS_MAX at most; who finds none waits for
 * one. A thread takes one at a time, and holds none while it waits for the
 * writer or the disk for long. Each statement is a snapshot of its own.
 */
#pragma once

#include "server/store/local/database.h"

#include <pthread.h>

enum { READERS_MAX = 8 };

struct readers {
    const char *path; /* lives as long */
    pthread_mutex_t mutex;
    pthread_cond_t given;
    unsigned opened;
    unsigned idle_count;
    bool paused;
    struct database *idle[READERS_MAX];
};

struct reader {
    struct readers *readers;
    struct database *db;
};

void readers_init(struct readers *readers, const char *path);
void readers_fini(struct readers *readers); /* all have been given back */

/*
 * From readers_pause to readers_resume nobody holds one: it waits for those that
 * are out, and who wants one waits for the end of it. The writer's thread alone;
 * hence nobody who holds one may wait for the writer, or take a second one.
 */
void readers_pause(struct readers *readers);
void readers_resume(struct readers *readers);

must_check enum outcome readers_take(struct readers *readers, struct reader *out, struct failure *why);
void readers_give(struct reader *reader);
#define scoped_reader scoped(readers_give)
