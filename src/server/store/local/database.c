#include "server/store/local/database.h"

#include "server/store/local/log_tail.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

enum {
    STATEMENTS = 256,
    BUSY_MS = 5000,
    LOG_DUE = 4000,   /* pages of the log (of 4 KiB) that are worth a checkpoint */
    LOG_LONG = 16000, /* pages at which it should begin anew */
};

struct statement {
    const char *text; /* a literal: its address is the key */
    sqlite3_stmt *stmt;
    bool busy;
};

struct database {
    sqlite3 *sql;
    bool committing; /* database_commit is at work */
    int log_pages;   /* after the last commit */
    bool log_due;    /* since the last commit: some of it should go into the database */
    struct statement statements[STATEMENTS];
};

/* ---- failures ---- */

static enum outcome outcome_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL: return OUTCOME_NOSPACE;
    case SQLITE_NOMEM: return OUTCOME_NOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return OUTCOME_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY: return OUTCOME_UNAVAILABLE;
    default: return OUTCOME_FAULT;
    }
}

/* For who is refused; what stands after it is for who looks after the store. */
static const char *sentence_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL: return "the server's disk is full: ";
    case SQLITE_NOMEM: return "the server is out of memory: ";
    case SQLITE_BUSY:
    case SQLITE_LOCKED: return "another process has the store's database: ";
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: return "the server's disk fails, or takes no writing: ";
    case SQLITE_READONLY: return "the server's disk takes no writing: ";
    default: return "";
    }
}

static enum outcome database_failed(const struct database *db, int code, const char *doing,
                                    struct failure *why)
{
    /* The message of the connection belongs to its last call, which may not be the one that failed. */
    const char *text = db->sql && sqlite3_errcode(db->sql) == (code & 0xff) ? sqlite3_errmsg(db->sql)
                                                                            : sqlite3_errstr(code);
    return failure_set(why, outcome_of(code), "%sdatabase: %.100s: %s (%d)", sentence_of(code), doing, text,
                       code);
}

/* ---- life ---- */

static enum outcome database_settings(struct database *db, struct failure *why)
{
    sqlite3_extended_result_codes(db->sql, 1);
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    return database_execute(db,
                            "PRAGMA journal_mode = WAL;"
                            "PRAGMA synchronous = FULL;"
                            "PRAGMA journal_size_limit = 67108864;"
                            "PRAGMA cache_size = -4096;"
                            "PRAGMA temp_store = MEMORY;"
                            "PRAGMA trusted_schema = OFF;",
                            why);
}

/* Nobody asks SQLite how much memory it has, and counting it takes a lock for every piece. */
static void count_no_memory(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

enum outcome database_open(const char *path, bool make, struct database **out, struct failure *why)
{
    static pthread_once_t configured = PTHREAD_ONCE_INIT;
    pthread_once(&configured, count_no_memory);
    struct database *db = calloc(1, sizeof *db);
    if (!db)
        return failure_set(why, OUTCOME_NOMEM, "database: no memory");
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (make ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(path, &db->sql, flags, NULL);
    enum outcome outcome = code == SQLITE_OK ? database_settings(db, why)
                                             : database_failed(db, code, path, why);
    if (outcome != OUTCOME_OK) {
        database_close(db);
        return outcome;
    }
    *out = db;
    return OUTCOME_OK;
}

void *database_close(struct database *db)
{
    if (!db)
        return NULL;
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(db->statements[i].stmt);
    sqlite3_close(db->sql);
    free(db);
    return NULL;
}

enum outcome database_execute(struct database *db, const char *text, struct failure *why)
{
    int code = sqlite3_exec(db->sql, text, NULL, NULL, NULL);
    return code == SQLITE_OK ? OUTCOME_OK : database_failed(db, code, "settings", why);
}

static int refuse_stray_commit(void *argument)
{
    const struct database *db = argument;
    return !db->committing;
}

/* After each commit, with the pages that the log holds. */
static int note_log(void *argument, sqlite3 *sql, const char *name, int pages)
{
    (void)sql, (void)name;
    struct database *db = argument;
    db->log_pages = pages;
    db->log_due = pages >= LOG_DUE;
    return SQLITE_OK;
}

void database_guard(struct database *db)
{
    sqlite3_commit_hook(db->sql, refuse_stray_commit, db);
    sqlite3_wal_hook(db->sql, note_log, db);
}

void database_tend_log(struct database *db)
{
    if (db->log_due)
        sqlite3_wal_checkpoint_v2(db->sql, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    db->log_due = false; /* what could not be done now is tried after the next commit */
}

bool database_log_is_due(const struct database *db)
{
    return db->log_due || database_log_is_long(db);
}

bool database_log_is_long(const struct database *db)
{
    return db->log_pages >= LOG_LONG;
}

void database_begin_log_anew(struct database *db)
{
    /* Another process that reads (a backup) may take long: nobody waits for it. */
    sqlite3_busy_timeout(db->sql, 0);
    sqlite3_wal_checkpoint_v2(db->sql, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    sqlite3_busy_timeout(db->sql, BUSY_MS);
    db->log_pages = 0; /* if it failed, the next commit says so */
}

/* ---- transactions ---- */

static enum outcome database_do(struct database *db, const char *text, struct failure *why)
{
    scoped_query struct query q = query_on(db, text);
    return query_run(&q, why);
}

enum outcome database_begin_reading(struct database *db, struct failure *why)
{
    database_end_reading(db); /* as in database_begin */
    return database_do(db, "BEGIN", why);
}

void database_end_reading(struct database *db)
{
    database_rollback(db);
}

enum outcome database_begin(struct database *db, struct failure *why)
{
    /* One that could not be undone when it should have been (no memory) must not stand in the way for ever. */
    database_rollback(db);
    return database_do(db, "BEGIN IMMEDIATE", why);
}

enum outcome database_commit(struct database *db, struct failure *why)
{
    db->committing = true;
    struct failure trouble = {0};
    enum outcome outcome = database_do(db, "COMMIT", &trouble);
    db->committing = false;
    if (outcome == OUTCOME_OK)
        return OUTCOME_OK;
    database_rollback(db);
    /* The log may hold all of it although what came after failed: the next open would find it done. */
    if (outcome == OUTCOME_UNAVAILABLE || outcome == OUTCOME_NOMEM ||
        (outcome == OUTCOME_NOSPACE && log_tail_commits(sqlite3_db_filename(db->sql, "main"))))
        outcome = OUTCOME_UNKNOWN;
    return failure_set(why, outcome, "%s", trouble.text);
}

void database_rollback(struct database *db)
{
    if (database_in_transaction(db)) {
        enum outcome outcome = database_do(db, "ROLLBACK", NULL);
        (void)outcome; /* there is nothing left to do about it; the next begin tells */
    }
}

enum outcome database_savepoint(struct database *db, struct failure *why)
{
    return database_do(db, "SAVEPOINT act", why);
}

enum outcome database_keep(struct database *db, struct failure *why)
{
    return database_do(db, "RELEASE act", why);
}

enum outcome database_undo(struct database *db, struct failure *why)
{
    enum outcome outcome = database_do(db, "ROLLBACK TO act", why);
    return outcome == OUTCOME_OK ? database_do(db, "RELEASE act", why) : outcome;
}

bool database_in_transaction(const struct database *db)
{
    return sqlite3_get_autocommit(db->sql) == 0;
}

uint64_t database_changes(const struct database *db)
{
    return (uint64_t)sqlite3_total_changes64(db->sql);
}

uint64_t database_changed(const struct database *db)
{
    return (uint64_t)sqlite3_changes64(db->sql);
}

int64_t database_last_row(const struct database *db)
{
    return sqlite3_last_insert_rowid(db->sql);
}

/* ---- queries ---- */

/* The place of `text` among the kept statements: its own, or a free one; NULL if there is neither. */
static struct statement *statement_find(struct database *db, const char *text)
{
    size_t start = ((uintptr_t)text * UINT64_C(0x9e3779b97f4a7c15)) >> 56;
    for (size_t i = 0; i < STATEMENTS; i++) {
        struct statement *at = &db->statements[(start + i) % STATEMENTS];
        if (at->text == text || !at->text)
            return at;
    }
    return NULL;
}

struct query query_on(struct database *db, const char *text)
{
    struct query query = {.db = db, .code = SQLITE_OK};
    struct statement *kept = statement_find(db, text);
    if (kept && kept->busy)
        kept = NULL; /* the same text is at work further up: this one is prepared for itself */
    if (!kept || !kept->text)
        query.code = sqlite3_prepare_v3(db->sql, text, -1, kept ? SQLITE_PREPARE_PERSISTENT : 0, &query.stmt,
                                        NULL);
    else
        query.stmt = kept->stmt;
    if (query.code != SQLITE_OK || !kept)
        return query;
    *kept = (struct statement){.text = text, .stmt = query.stmt, .busy = true};
    query.kept = kept;
    return query;
}

void query_end(struct query *query)
{
    if (query->kept) {
        sqlite3_reset(query->stmt);
        sqlite3_clear_bindings(query->stmt);
        query->kept->busy = false;
    } else {
        sqlite3_finalize(query->stmt);
    }
    query->stmt = NULL;
    query->kept = NULL;
}

void bind_int(struct query *query, int64_t value)
{
    if (query->code == SQLITE_OK)
        query->code = sqlite3_bind_int64(query->stmt, ++query->bound, value);
}

void bind_text(struct query *query, const char *text)
{
    if (query->code == SQLITE_OK)
        query->code = sqlite3_bind_text(query->stmt, ++query->bound, text, -1, SQLITE_STATIC);
}

void bind_id(struct query *query, const struct id *id)
{
    bind_blob(query, id->octets, sizeof id->octets);
}

void bind_blob(struct query *query, const void *bytes, size_t count)
{
    /* A NULL pointer would bind NULL, and no bytes are not NULL. */
    if (query->code == SQLITE_OK)
        query->code = sqlite3_bind_blob64(query->stmt, ++query->bound, bytes ? bytes : "", count,
                                          SQLITE_STATIC);
}

void bind_null(struct query *query)
{
    query->bound++; /* what is not bound is NULL */
}

enum outcome query_row(struct query *query, struct failure *why)
{
    query->column = 0;
    if (query->code == SQLITE_OK) {
        int code = sqlite3_step(query->stmt);
        if (code == SQLITE_ROW)
            return OUTCOME_OK;
        if (code == SQLITE_DONE)
            return OUTCOME_ABSENT;
        query->code = code;
    }
    return database_failed(query->db, query->code, query->stmt ? sqlite3_sql(query->stmt) : "prepare", why);
}

enum outcome query_run(struct query *query, struct failure *why)
{
    enum outcome outcome = query_row(query, why);
    while (outcome == OUTCOME_OK)
        outcome = query_row(query, why);
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

int64_t column_int(struct query *query)
{
    return sqlite3_column_int64(query->stmt, query->column++);
}

void column_text(struct query *query, char *out, size_t size)
{
    size_t count;
    const void *bytes = column_blob(query, &count);
    if (count >= size)
        count = size - 1;
    if (count > 0)
        memcpy(out, bytes, count);
    out[count] = 0;
}

struct id column_id(struct query *query)
{
    struct id id = {0};
    size_t count;
    const void *bytes = column_blob(query, &count);
    if (count == sizeof id.octets)
        memcpy(id.octets, bytes, count);
    return id;
}

const void *column_blob(struct query *query, size_t *count)
{
    int column = query->column++;
    const void *bytes = sqlite3_column_blob(query->stmt, column);
    *count = bytes ? (size_t)sqlite3_column_bytes(query->stmt, column) : 0;
    return bytes;
}

bool column_is_null(struct query *query)
{
    return sqlite3_column_type(query->stmt, query->column) == SQLITE_NULL;
}
