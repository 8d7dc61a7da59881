#include "server/store/local/schema.h"

#include "base/fault.h"

#include <stdio.h>

/*
 * Ids are 16 bytes as they are. Times are nanoseconds: "wall" ones since 1970,
 * for people; "store" ones on the store's own time line (timeline.h), which
 * never goes backwards. Names are TEXT and compare by their bytes.
 *
 * Counters that limits are held against are kept by triggers, so that they are
 * right whatever act changes a row, and are undone with it. But for entries that
 * are made, and for events: a trigger for each costs what the row costs, so whoever
 * makes them counts them once (publish.h, struct tally; events.h).
 */
/* Waiting ones count for the store, the mailbox and who pays; those that are over for the first two. */
#define INTEREST_COUNT(sign, row)                                                           \
    "UPDATE store SET interests = interests " sign " 1,"                                    \
    "  open_globs = open_globs " sign " (" row ".prefix IS '');"                            \
    "UPDATE mailbox SET interests = interests " sign " 1,"                                  \
    "  open_globs = open_globs " sign " (" row ".prefix IS '') WHERE id = " row ".mailbox;" \
    "UPDATE principal SET interests = interests " sign " 1,"                                \
    "  open_globs = open_globs " sign " (" row ".prefix IS '') WHERE id = " row ".principal;"
#define INTEREST_OVER(sign, row)               \
    "UPDATE store SET over = over " sign " 1;" \
    "UPDATE mailbox SET over = over " sign " 1 WHERE id = " row ".mailbox;"
#define INTEREST_COUNTERS                                                                                    \
    "CREATE TRIGGER interest_made AFTER INSERT ON interest BEGIN " INTEREST_COUNT(                           \
        "+", "new") " END;"                                                                                  \
                    "CREATE TRIGGER interest_done AFTER UPDATE OF state ON interest"                         \
                    "  WHEN old.state = 0 AND new.state <> 0 BEGIN " INTEREST_COUNT("-", "new")              \
                        INTEREST_OVER(                                                                       \
                            "+", "new") " END;"                                                              \
                                        "CREATE TRIGGER interest_dropped AFTER DELETE ON interest WHEN "     \
                                        "old.state = 0 BEGIN " INTEREST_COUNT(                               \
                                            "-", "old") " END;"                                              \
                                                        "CREATE TRIGGER interest_forgotten AFTER DELETE ON " \
                                                        "interest WHEN old.state <> 0 BEGIN " INTEREST_OVER( \
                                                            "-", "old") " END;"
#define CONTENT_WASTE "CREATE INDEX content_waste ON content (id) WHERE " CONTENT_WASTED ";"
#define MAILBOX_IDLE  "CREATE INDEX mailbox_idle ON mailbox (touched) WHERE interests = 0 AND over = 0;"
#define MAILBOX_GONE                                            \
    "CREATE TRIGGER mailbox_gone AFTER DELETE ON mailbox BEGIN" \
    "  UPDATE store SET mailboxes = mailboxes - 1;"             \
    "  UPDATE principal SET mailboxes = mailboxes - 1 WHERE id = old.principal; END;"
#define PRINCIPAL_UNUSED \
    "CREATE INDEX principal_unused ON principal (id) WHERE answers = 0 AND mailboxes = 0 AND interests = 0;"

const char schema_text[] =
    /* The store itself, one row: who it is, where its time line stood, counters. */
    "CREATE TABLE store ("
    "  only INTEGER PRIMARY KEY CHECK (only = 1),"
    "  instance BLOB NOT NULL,"
    "  time_seen INTEGER NOT NULL,"          /* all clocks, read together (timeline.h): */
    "  wall_seen INTEGER NOT NULL,"          /* the next open goes on from here */
    "  arrivals INTEGER NOT NULL DEFAULT 0," /* number of the newest arrival; grows */
    "  numbers INTEGER NOT NULL DEFAULT 0,"  /* highest number of an event that was ever given */
    "  files INTEGER NOT NULL DEFAULT 0,"
    "  bytes INTEGER NOT NULL DEFAULT 0,"
    "  kept_bytes INTEGER NOT NULL DEFAULT 0,"
    "  interests INTEGER NOT NULL DEFAULT 0,"  /* waiting ones */
    "  open_globs INTEGER NOT NULL DEFAULT 0," /* of these, globs that begin with a wildcard */
    "  over INTEGER NOT NULL DEFAULT 0,"       /* interests met or run out, remembered for a while */
    "  mailboxes INTEGER NOT NULL DEFAULT 0,"
    "  events INTEGER NOT NULL DEFAULT 0,"
    "  elapsed_seen INTEGER NOT NULL DEFAULT 0,"
    "  boot_seen INTEGER NOT NULL DEFAULT 0" /* 0: elapsed_seen means nothing */
    ") STRICT;"

    /* ---- files ---- */

    /*
     * Bytes that never change: in a blob of that id below blobs/, or here. A blob
     * may hold many files that came together, side by side: `parts` are the
     * versions that they had then, one after the other.
     */
    "CREATE TABLE content ("
    "  id INTEGER PRIMARY KEY,"
    "  blob BLOB UNIQUE," /* NULL: the bytes are here */
    "  size INTEGER NOT NULL,"
    "  uses INTEGER NOT NULL," /* rows of entry and kept that name it */
    "  bytes BLOB,"
    "  parts BLOB,"                     /* NULL: it is one file's */
    "  live INTEGER NOT NULL DEFAULT 0" /* with parts: bytes of it that are named */
    ") STRICT;" CONTENT_WASTE

    /* The newest version of each name. */
    "CREATE TABLE entry ("
    "  name TEXT PRIMARY KEY,"
    "  version BLOB NOT NULL UNIQUE,"
    "  owner TEXT NOT NULL,"
    "  size INTEGER NOT NULL,"
    "  mtime INTEGER NOT NULL,"
    "  arrival INTEGER NOT NULL," /* wall */
    "  digest BLOB NOT NULL,"
    "  content INTEGER NOT NULL REFERENCES content,"
    "  made INTEGER NOT NULL UNIQUE,"        /* number of its arrival */
    "  place INTEGER NOT NULL DEFAULT 0,"    /* where in the content it begins */
    "  act INTEGER NOT NULL DEFAULT 0,"      /* that made it (enum answer_act), its answer being this */
    "  arguments BLOB NOT NULL DEFAULT x''," /* row; 0: the answer stands in `answer`, or nowhere */
    "  done INTEGER NOT NULL DEFAULT 0"      /* store time of that act */
    ") STRICT, WITHOUT ROWID;"
    "CREATE TRIGGER entry_gone AFTER DELETE ON entry BEGIN"
    "  UPDATE store SET files = files - 1, bytes = bytes - old.size; END;"

    /* Versions replaced or removed, while they may still be read. */
    "CREATE TABLE kept ("
    "  version BLOB PRIMARY KEY,"
    "  name TEXT NOT NULL,"
    "  owner TEXT NOT NULL,"
    "  size INTEGER NOT NULL,"
    "  mtime INTEGER NOT NULL,"
    "  arrival INTEGER NOT NULL,"
    "  digest BLOB NOT NULL,"
    "  content INTEGER NOT NULL REFERENCES content,"
    "  until INTEGER NOT NULL,"          /* store time; moved on by reads */
    "  place INTEGER NOT NULL DEFAULT 0" /* where in the content it begins */
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX kept_until ON kept (until);"
    "CREATE TRIGGER kept_made AFTER INSERT ON kept BEGIN"
    "  UPDATE store SET kept_bytes = kept_bytes + new.size; END;"
    "CREATE TRIGGER kept_gone AFTER DELETE ON kept BEGIN"
    "  UPDATE store SET kept_bytes = kept_bytes - old.size; END;"

    /* Uploads on their way; the bytes are in incoming/. */
    "CREATE TABLE upload ("
    "  upload BLOB PRIMARY KEY,"
    "  blob BLOB NOT NULL,"
    "  owner TEXT NOT NULL,"
    "  name TEXT NOT NULL,"
    "  replace INTEGER NOT NULL,"
    "  expected BLOB NOT NULL,"
    "  size INTEGER,"                      /* NULL: not known beforehand */
    "  synced INTEGER NOT NULL DEFAULT 0," /* bytes that are durable */
    "  touched INTEGER NOT NULL"           /* store time */
    ") STRICT, WITHOUT ROWID;"

    /* ---- acts and their answers ---- */

    /* On whose account things are kept. */
    "CREATE TABLE principal ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  name TEXT NOT NULL UNIQUE,"
    "  answers INTEGER NOT NULL DEFAULT 0,"
    "  mailboxes INTEGER NOT NULL DEFAULT 0,"
    "  interests INTEGER NOT NULL DEFAULT 0," /* waiting ones */
    "  open_globs INTEGER NOT NULL DEFAULT 0"
    ") STRICT;" PRINCIPAL_UNUSED

    /*
     * What an act was answered, for those who ask again. Not of an act that made
     * an entry which is still there: that row answers (answers.h).
     */
    "CREATE TABLE answer ("
    "  seq INTEGER PRIMARY KEY,"
    "  id BLOB NOT NULL UNIQUE,"
    "  principal INTEGER NOT NULL REFERENCES principal,"
    "  act INTEGER NOT NULL,"    /* enum answer_act */
    "  arguments BLOB NOT NULL," /* digest of them */
    "  done INTEGER NOT NULL,"   /* store time */
    "  body BLOB NOT NULL"
    ") STRICT;"
    "CREATE INDEX answer_principal ON answer (principal);"
    "CREATE TRIGGER answer_made AFTER INSERT ON answer BEGIN"
    "  UPDATE principal SET answers = answers + 1 WHERE id = new.principal; END;"
    "CREATE TRIGGER answer_gone AFTER DELETE ON answer BEGIN"
    "  UPDATE principal SET answers = answers - 1 WHERE id = old.principal; END;"

    /* ---- who waits ---- */

    "CREATE TABLE mailbox ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT," /* never used twice */
    "  secret BLOB NOT NULL UNIQUE,"
    "  principal INTEGER," /* who pays; NULL: nobody in particular */
    "  route BLOB,"
    "  touched INTEGER NOT NULL," /* store time */
    "  interests INTEGER NOT NULL DEFAULT 0,"
    "  open_globs INTEGER NOT NULL DEFAULT 0,"
    "  over INTEGER NOT NULL DEFAULT 0"
    ") STRICT;" MAILBOX_IDLE MAILBOX_GONE "CREATE TRIGGER mailbox_made AFTER INSERT ON mailbox BEGIN"
    "  UPDATE store SET mailboxes = mailboxes + 1;"
    "  UPDATE principal SET mailboxes = mailboxes + 1 WHERE id = new.principal; END;"

    /*
     * An interest counts arrivals numbered above `seen`: those after it was
     * registered, each once. `prefix` is NULL for an exact name; else the
     * literal bytes the glob begins with.
     */
    "CREATE TABLE interest ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  mailbox INTEGER NOT NULL REFERENCES mailbox,"
    "  interest BLOB NOT NULL,"
    "  pattern TEXT NOT NULL,"
    "  prefix TEXT,"
    "  every INTEGER NOT NULL,"
    "  state INTEGER NOT NULL," /* enum store_interest_state; WAITING is 0 */
    "  ends INTEGER NOT NULL,"  /* store time; once over: when it is forgotten */
    "  seen INTEGER NOT NULL,"
    "  arrivals INTEGER NOT NULL DEFAULT 0,"
    "  event INTEGER NOT NULL DEFAULT 0," /* number of the event that met it */
    "  principal INTEGER,"                /* who registered it, and pays; NULL: nobody in particular */
    "  UNIQUE (mailbox, interest)"
    ") STRICT;"
    "CREATE INDEX interest_exact ON interest (pattern) WHERE state = 0 AND prefix IS NULL;"
    "CREATE INDEX interest_prefix ON interest (prefix) WHERE state = 0 AND prefix IS NOT NULL;"
    "CREATE INDEX interest_ends ON interest (ends) WHERE state = 0;"
    "CREATE INDEX interest_over ON interest (ends) WHERE state <> 0;" INTEREST_COUNTERS

    /*
     * Arrivals that somebody may wait for, as long as they are pending (the
     * outbox) or an event tells them. (stage, after) is how far fan_out came.
     */
    "CREATE TABLE arrival ("
    "  id INTEGER PRIMARY KEY,"
    "  name TEXT NOT NULL,"
    "  version BLOB NOT NULL,"
    "  owner TEXT NOT NULL,"
    "  size INTEGER NOT NULL,"
    "  mtime INTEGER NOT NULL,"
    "  arrival INTEGER NOT NULL,"
    "  digest BLOB NOT NULL,"
    "  pending INTEGER NOT NULL,"
    "  stage INTEGER NOT NULL,"
    "  after INTEGER NOT NULL,"
    "  uses INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE INDEX arrival_pending ON arrival (id) WHERE pending = 1;"

    "CREATE TABLE event ("
    "  mailbox INTEGER NOT NULL REFERENCES mailbox,"
    "  number INTEGER NOT NULL,"
    "  kind INTEGER NOT NULL," /* enum store_event_kind */
    "  interest BLOB NOT NULL,"
    "  pattern TEXT NOT NULL,"
    "  happened INTEGER NOT NULL," /* wall */
    "  stored INTEGER NOT NULL,"   /* store time */
    "  dropped INTEGER NOT NULL DEFAULT 0,"
    "  arrival INTEGER REFERENCES arrival,"
    "  PRIMARY KEY (mailbox, number)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX event_stored ON event (stored);";

/* The clocks' marks; and interests are charged to who registers them, up to then to who made the mailbox. */
static const char from_1[] =
    "ALTER TABLE store ADD COLUMN elapsed_seen INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE store ADD COLUMN boot_seen INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE principal ADD COLUMN interests INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE principal ADD COLUMN open_globs INTEGER NOT NULL DEFAULT 0;"
    "DROP INDEX principal_unused;" PRINCIPAL_UNUSED "ALTER TABLE interest ADD COLUMN principal INTEGER;"
    "UPDATE interest SET principal = (SELECT principal FROM mailbox WHERE id = interest.mailbox);"
    "UPDATE principal SET"
    "  interests = (SELECT count(*) FROM interest WHERE principal = principal.id AND state = 0),"
    "  open_globs = (SELECT count(*) FROM interest"
    "    WHERE principal = principal.id AND state = 0 AND prefix = '');"
    "DROP TRIGGER interest_made; DROP TRIGGER interest_done;"
    "DROP TRIGGER interest_dropped; DROP TRIGGER interest_forgotten;" INTEREST_COUNTERS;

/* Many files in one blob; entries that answer for the act that made them, and are counted by it. */
static const char from_2[] = "ALTER TABLE content ADD COLUMN parts BLOB;"
                             "ALTER TABLE content ADD COLUMN live INTEGER NOT NULL DEFAULT 0;" CONTENT_WASTE
                             "ALTER TABLE entry ADD COLUMN place INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE entry ADD COLUMN act INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE entry ADD COLUMN arguments BLOB NOT NULL DEFAULT x'';"
                             "ALTER TABLE entry ADD COLUMN done INTEGER NOT NULL DEFAULT 0;"
                             "ALTER TABLE kept ADD COLUMN place INTEGER NOT NULL DEFAULT 0;"
                             "DROP TRIGGER entry_made;";

/* Events are counted by the act that makes or removes them (events.h). */
static const char from_3[] = "DROP TRIGGER event_made; DROP TRIGGER event_gone;"
                             "DROP INDEX mailbox_ready; DROP INDEX mailbox_empty;" MAILBOX_IDLE;

/* What mailboxes' events are numbered and counted by stands in no mailbox's row (events.h). */
static const char from_4[] =
    "UPDATE store SET numbers = max(numbers, (SELECT coalesce(max(number), 0) FROM mailbox));"
    "DROP TRIGGER mailbox_gone;" MAILBOX_GONE "ALTER TABLE mailbox DROP COLUMN number;"
    "ALTER TABLE mailbox DROP COLUMN events;";

const struct schema_step schema_steps[] = {{1, from_1}, {2, from_2}, {3, from_3}, {4, from_4}, {0, NULL}};

static enum outcome upgrade_one(struct database *db, const struct schema_step *step, struct failure *why)
{
    char settings[48];
    snprintf(settings, sizeof settings, "PRAGMA user_version = %d;", step->from + 1);
    enum outcome outcome = database_begin(db, why);
    if (outcome == OUTCOME_OK)
        outcome = database_execute(db, step->text, why);
    if (outcome == OUTCOME_OK)
        outcome = database_execute(db, settings, why);
    FAULT_POINT("care-schema-stepped");
    if (outcome == OUTCOME_OK)
        outcome = database_commit(db, why);
    FAULT_POINT("care-schema-committed");
    if (outcome == OUTCOME_OK)
        return OUTCOME_OK;
    database_rollback(db);
    return outcome;
}

enum outcome schema_upgrade(struct database *db, const struct schema_step *steps, int version, int target,
                            struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    for (; version < target && outcome == OUTCOME_OK; version++) {
        const struct schema_step *step = steps;
        while (step->text && step->from != version)
            step++;
        if (!step->text)
            return failure_set(why, OUTCOME_CORRUPT, "the store's form %d is none that a release had",
                               version);
        outcome = upgrade_one(db, step, why);
    }
    return outcome;
}
