/*
 * database: one connection to SQLite, its prepared statements, its transaction.
 *
 *     database_open; then, any number of times:
 *         scoped_query struct query q = query_on(db, "SELECT ... WHERE name = ?");
 *         bind_text(&q, name);                     in the order of the "?"
 *         outcome = query_row(&q, why);            OK: a row; ABSENT: no more
 *         size = column_int(&q);                   in the order of the columns
 *     database_close
 *
 * A query that went wrong remembers it: binding and reading go on doing
 * nothing, and query_row or query_run tells. Statements are prepared once and
 * kept, by the address of their text: the text must be a literal. What is bound
 * must live until the query's scope ends.
 *
 * A transaction begins and ends only here; a commit by any other road is turned
 * into a rollback by a hook. Savepoints stand inside one, one deep.
 *
 * A connection belongs to one thread at a time.
 *
 * Outcomes: NOSPACE, NOMEM, CORRUPT, UNAVAILABLE (trouble with the disk, or
 * busy: nothing was done), FAULT. query_row's ABSENT is no failure and leaves
 * `why` alone.
 */
#pragma once

#include "base/id.h"
#include "base/outcome.h"
#include "base/scoped.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct database;
struct sqlite3_stmt;

/* Opens `path`, makes it if `make`. The schema is the caller's affair. */
must_check enum outcome database_open(const char *path, bool make, struct database **out,
                                      struct failure *why);
void *database_close(struct database *db); /* NULL is fine; returns NULL */

/* Several statements without results, outside of transactions, before database_guard. */
must_check enum outcome database_execute(struct database *db, const char *text, struct failure *why);
/* The writer's connection: from now on only database_commit commits. */
void database_guard(struct database *db);
/*
 * After a commit, once those who wait for it were told: writes what can be of a log
 * that has grown into the database, which syncs it. The log begins anew by
 * itself when no reader looks at it; under readers that overlap it would grow
 * without end. So when it is long: no reader at work, then database_begin_log_anew.
 */
void database_tend_log(struct database *db);
bool database_log_is_due(const struct database *db); /* for either */
bool database_log_is_long(const struct database *db);
void database_begin_log_anew(struct database *db);

/* From here to the end queries all see one moment. Of a connection that only reads; no query is open at the end. */
must_check enum outcome database_begin_reading(struct database *db, struct failure *why);
void database_end_reading(struct database *db);

must_check enum outcome database_begin(struct database *db, struct failure *why);
/* UNKNOWN if the disk failed under it, or memory ran out: it may be done or not. In every case there is no transaction after it. */
must_check enum outcome database_commit(struct database *db, struct failure *why);
void database_rollback(struct database *db);
must_check enum outcome database_savepoint(struct database *db, struct failure *why);
must_check enum outcome database_keep(struct database *db,
                                      struct failure *why); /* ends the savepoint, keeps what was done */
must_check enum outcome database_undo(struct database *db,
                                      struct failure *why); /* ends it, undoes what was done */
/* False once SQLite gave the whole transaction up by itself (disk full, I/O error). */
bool database_in_transaction(const struct database *db);

/* Rows changed by this connection so far; and by the statement last run. */
uint64_t database_changes(const struct database *db);
uint64_t database_changed(const struct database *db);
int64_t database_last_row(const struct database *db);

struct statement;

struct query {
    struct database *db;
    struct sqlite3_stmt *stmt;
    struct statement *kept; /* NULL: prepared for this query alone */
    int code;               /* SQLite's, once something went wrong */
    int bound;
    int column;
};

struct query query_on(struct database *db, const char *text);
void query_end(struct query *query);
#define scoped_query scoped(query_end)

void bind_int(struct query *query, int64_t value);
void bind_text(struct query *query, const char *text);
void bind_id(struct query *query, const struct id *id);
void bind_blob(struct query *query, const void *bytes, size_t count);
void bind_null(struct query *query);

must_check enum outcome query_row(struct query *query, struct failure *why);
/* To its end; rows are thrown away. */
must_check enum outcome query_run(struct query *query, struct failure *why);

int64_t column_int(struct query *query);
/* Copies with a NUL; too long is cut. */
void column_text(struct query *query, char *out, size_t size);
/* Sixteen bytes; zeros if there are not as many. */
struct id column_id(struct query *query);
/* Borrowed until the next row; NULL if it is NULL or empty. */
const void *column_blob(struct query *query, size_t *count);
/* Whether the column that would be read next is NULL. Does not step over it. */
bool column_is_null(struct query *query);
