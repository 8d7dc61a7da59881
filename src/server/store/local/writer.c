#include "server/store/local/writer.h"

#include "base/fault.h"
#include "base/scoped.h"
#include "server/store/local/local.h"

#include <stdio.h>
#include <string.h>

enum { BATCH_MAX = 512 };

/* Acts of one caller, who waits. */
struct writer_request {
    struct writer_request *next;
    struct writer_act *acts;
    size_t count;
    bool noticed; /* an act of it gave mailboxes events */
    bool done;    /* under the writer's mutex */
    pthread_cond_t answered;
};

/* With the mutex: what waits, up to BATCH_MAX acts; but one whole request at least. NULL: nothing. */
static struct writer_request *writer_take(struct writer *writer)
{
    struct writer_request *batch = writer->first;
    struct writer_request **end = &writer->first;
    for (size_t n = 0; *end && n < BATCH_MAX; end = &(*end)->next)
        n += (*end)->count;
    writer->first = *end;
    *end = NULL;
    if (!writer->first)
        writer->last = &writer->first;
    return batch;
}

/* Takes back what the act did, and nothing else. The first one's undoing is that of the whole transaction so far. */
static enum outcome writer_undo(struct writer *writer, const struct writer_act *act, bool first,
                                struct failure *why)
{
    if (!database_in_transaction(writer->db)) {
        enum outcome trouble = act->outcome == OUTCOME_NOSPACE ? OUTCOME_NOSPACE : OUTCOME_UNAVAILABLE;
        return failure_set(why, trouble, "the database gave the transaction up");
    }
    if (!first)
        return database_undo(writer->db, why);
    database_rollback(writer->db);
    return database_begin(writer->db, why);
}

/*
 * An act in its savepoint, or, the first one of the transaction, without: a savepoint copies each page that is
 * changed in it. Anything but OK is the end of the transaction, not of the act.
 */
static enum outcome writer_run_one(struct writer *writer, struct writer_act *act, bool first,
                                   struct failure *why)
{
    enum outcome outcome = first ? OUTCOME_OK : database_savepoint(writer->db, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    uint64_t before = database_changes(writer->db);
    size_t noticed = writer->local->noticed.count;
    act->outcome = act->run(writer->local, writer->db, act->argument, act->why);
    if (act->outcome == OUTCOME_OK)
        act->outcome = events_count(writer->local, writer->db, act->why);
    act->is_new = act->outcome != OUTCOME_OK || database_changes(writer->db) != before;
    if (act->outcome == OUTCOME_OK)
        return first ? OUTCOME_OK : database_keep(writer->db, why);
    noticed_undo(&writer->local->noticed, noticed);
    events_uncount(writer->local);
    return writer_undo(writer, act, first, why);
}

/* So that the next open knows how long the store was closed. */
static enum outcome writer_note_time(struct writer *writer, bool changed, struct timeline_mark *mark,
                                     struct failure *why)
{
    *mark = timeline_mark(writer->time);
    if (!changed && !timeline_is_stale(&writer->mark, mark)) {
        *mark = writer->mark;
        return OUTCOME_OK;
    }
    scoped_query struct query q = query_on(
        writer->db, "UPDATE store SET time_seen = ?, wall_seen = ?, elapsed_seen = ?, boot_seen = ?");
    bind_int(&q, mark->store);
    bind_int(&q, mark->wall);
    bind_int(&q, mark->elapsed);
    bind_int(&q, (int64_t)mark->boot);
    return query_run(&q, why);
}

static enum outcome writer_run_all(struct writer *writer, struct writer_request *request, bool first,
                                   struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    size_t noticed = writer->local->noticed.count;
    for (size_t i = 0; i < request->count && outcome == OUTCOME_OK; i++)
        outcome = writer_run_one(writer, &request->acts[i], first && i == 0, why);
    request->noticed = writer->local->noticed.count > noticed;
    return outcome;
}

static enum outcome writer_transaction(struct writer *writer, struct writer_request *batch,
                                       struct failure *why)
{
    uint64_t before = database_changes(writer->db);
    enum outcome outcome = database_begin(writer->db, why);
    for (struct writer_request *request = batch; request && outcome == OUTCOME_OK; request = request->next)
        outcome = writer_run_all(writer, request, request == batch, why);
    bool changed = database_changes(writer->db) != before;
    struct timeline_mark mark;
    if (outcome == OUTCOME_OK)
        outcome = writer_note_time(writer, changed, &mark, why);
    FAULT_POINT("writer-before-commit");
    if (outcome == OUTCOME_OK)
        outcome = database_commit(writer->db, why);
    else
        database_rollback(writer->db);
    if (outcome == OUTCOME_OK)
        writer->mark = mark;
    if (outcome == OUTCOME_OK && changed)
        atomic_fetch_add(&writer->commits, 1);
    return outcome;
}

/*
 * The transaction failed, and all that was in it. Of what may have been done before, under the same id, "no room"
 * would be wrong: it says that the act was not done.
 */
static void writer_fail(struct writer_request *request, enum outcome outcome, const struct failure *trouble)
{
    for (size_t i = 0; i < request->count; i++) {
        struct writer_act *act = &request->acts[i];
        enum outcome told = outcome == OUTCOME_NOSPACE && !act->is_new ? OUTCOME_UNKNOWN : outcome;
        act->outcome = failure_set(act->why, told, "%s", trouble->text);
    }
}

static void writer_answer(struct writer *writer, struct writer_request *batch, enum outcome outcome,
                          const struct failure *trouble)
{
    scoped_lock(&writer->mutex);
    writer->trouble = outcome;
    if (outcome != OUTCOME_OK)
        snprintf(writer->trouble_text, sizeof writer->trouble_text, "%s", trouble->text);
    struct writer_request *next;
    for (struct writer_request *request = batch; request; request = next) {
        next = request->next; /* answered, it is its caller's again */
        if (outcome != OUTCOME_OK)
            writer_fail(request, outcome, trouble);
        request->done = true;
        pthread_cond_signal(&request->answered);
    }
}

/* In the turn. */
static void writer_write(struct writer *writer, struct writer_request *batch)
{
    struct failure trouble = {0};
    enum outcome outcome = writer_transaction(writer, batch, &trouble);
    FAULT_POINT("writer-committed");
    noticed_tell(writer->local, outcome == OUTCOME_OK);
    writer_answer(writer, batch, outcome, &trouble);
}

/* In the turn: what nobody is to wait for. */
static bool writer_has_chores(const struct writer *writer)
{
    return database_log_is_due(writer->db) || crowds_are_untidy(&writer->local->waiters.crowds);
}

static void writer_do_chores(struct writer *writer)
{
    database_tend_log(writer->db);
    crowds_tidy(&writer->local->waiters.crowds, writer->db);
    if (database_log_is_long(writer->db)) {
        readers_pause(writer->readers);
        database_begin_log_anew(writer->db);
        readers_resume(writer->readers);
    }
}

/* What came meanwhile is the thread's: it goes on at once, and all that waits has one commit. */
static void writer_end_turn(struct writer *writer, bool chores)
{
    scoped_lock(&writer->mutex);
    writer->taken = false;
    writer->chores = chores;
    if (writer->first || chores || writer->stopping)
        pthread_cond_signal(&writer->wake);
}

/* The thread's turn, once there is something to do; false: the end. */
static bool writer_begin_turn(struct writer *writer, struct writer_request **batch)
{
    scoped_lock(&writer->mutex);
    while (writer->taken || (!writer->first && !writer->chores && !writer->stopping))
        pthread_cond_wait(&writer->wake, &writer->mutex);
    if (!writer->first && !writer->chores)
        return false;
    writer->taken = true;
    *batch = writer_take(writer);
    return true;
}

static void *writer_main(void *argument)
{
    struct writer *writer = argument;
    struct writer_request *batch;
    pthread_setname_np(pthread_self(), "store-writer");
    while (writer_begin_turn(writer, &batch)) {
        if (batch)
            writer_write(writer, batch);
        writer_do_chores(writer);
        writer_end_turn(writer, false);
    }
    return NULL;
}

enum outcome writer_start(struct writer *writer, struct local *local, const struct timeline *time,
                          struct readers *readers, struct database *db, struct failure *why)
{
    *writer = (struct writer){.local = local, .db = db, .time = time, .readers = readers};
    writer->last = &writer->first;
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->wake, NULL);
    database_guard(db);
    int error = pthread_create(&writer->thread, NULL, writer_main, writer);
    writer->started = error == 0;
    if (error == 0)
        return OUTCOME_OK;
    writer->db = database_close(db);
    return failure_system(why, OUTCOME_UNAVAILABLE, error, "the store's writer thread");
}

/* What happens between the last act and the end counts, too. The thread is gone: the database is ours. */
static void writer_last_mark(struct writer *writer)
{
    struct timeline_mark mark;
    enum outcome outcome = database_begin(writer->db, NULL);
    if (outcome == OUTCOME_OK)
        outcome = writer_note_time(writer, true, &mark, NULL);
    if (outcome == OUTCOME_OK)
        outcome = database_commit(writer->db, NULL);
    if (outcome != OUTCOME_OK)
        database_rollback(writer->db); /* then the mark is a little older */
}

void writer_stop(struct writer *writer)
{
    if (!writer->started)
        return;
    pthread_mutex_lock(&writer->mutex);
    writer->stopping = true;
    pthread_cond_signal(&writer->wake);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    writer_last_mark(writer);
    writer->db = database_close(writer->db);
    pthread_cond_destroy(&writer->wake);
    pthread_mutex_destroy(&writer->mutex);
    writer->started = false;
}

/* Hands it over, and waits; or, where nobody else is at it, has the turn: then it is the batch. */
static struct writer_request *writer_queue(struct writer *writer, struct writer_request *request)
{
    scoped_lock(&writer->mutex);
    *writer->last = request;
    writer->last = &request->next;
    if (!writer->taken && writer->first == request) {
        writer->taken = true;
        return writer_take(writer);
    }
    while (!request->done)
        pthread_cond_wait(&request->answered, &writer->mutex);
    return NULL;
}

void writer_do_all(struct writer *writer, struct writer_act *acts, size_t count)
{
    struct writer_request request = {.acts = acts, .count = count};
    pthread_cond_init(&request.answered, NULL);
    struct writer_request *batch = writer_queue(writer, &request);
    if (batch) {
        writer_write(writer, batch);
        writer_end_turn(writer, writer_has_chores(writer));
    }
    pthread_cond_destroy(&request.answered);
    if (request.noticed)
        local_tell(writer->local);
}

enum outcome writer_do(struct writer *writer, writer_run *run, void *argument, struct failure *why)
{
    struct writer_act act = {.run = run, .argument = argument, .why = why};
    writer_do_all(writer, &act, 1);
    return act.outcome;
}

bool writer_is_well(struct writer *writer, char text[FAILURE_TEXT_MAX])
{
    scoped_lock(&writer->mutex);
    if (writer->trouble == OUTCOME_OK)
        return true;
    memcpy(text, writer->trouble_text, sizeof writer->trouble_text);
    return false;
}
