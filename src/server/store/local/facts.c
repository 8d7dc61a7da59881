#include "server/store/local/facts.h"

#include "base/fault.h"
#include "server/store/local/local.h"

struct rule {
    const char *words;
    const char *count;  /* a query: how many rows break it */
    const char *repair; /* one statement */
};

/* Tables of what counters should be: "i" is the counted row. */
#define CONTENT_USES                                                                                      \
    "(SELECT content.id AS i, content.uses AS was, count(user.used) AS n,"                                \
    " iif(parts IS NULL, 0, live) AS lived, iif(parts IS NULL, 0, coalesce(sum(bulk), 0)) AS lives FROM " \
    "content"                                                                                             \
    " LEFT JOIN (SELECT content AS used, entry.size AS bulk FROM entry"                                   \
    " UNION ALL SELECT content, kept.size FROM kept) AS user"                                             \
    " ON user.used = content.id GROUP BY content.id)"
#define USES_WRONG "n > 0 AND (was <> n OR lived <> lives)"
#define ARRIVAL_USES                                                                                   \
    "(SELECT arrival.id AS i, arrival.uses AS was, coalesce(told.n, 0) AS n FROM arrival"              \
    " LEFT JOIN (SELECT arrival AS a, count(*) AS n FROM event GROUP BY arrival) AS told ON told.a = " \
    "arrival.id)"
#define PRINCIPAL_COUNTS                                                                                     \
    "(SELECT principal.id AS i, coalesce(a.n, 0) AS answered, coalesce(m.n, 0) AS paid,"                     \
    " coalesce(w.n, 0) AS waits, coalesce(w.open, 0) AS opens FROM principal"                                \
    " LEFT JOIN (SELECT principal AS p, count(*) AS n FROM answer GROUP BY principal) AS a ON a.p = "        \
    "principal.id"                                                                                           \
    " LEFT JOIN (SELECT principal AS p, count(*) AS n FROM mailbox GROUP BY principal) AS m ON m.p = "       \
    "principal.id"                                                                                           \
    " LEFT JOIN (SELECT principal AS p, count(*) AS n, sum(prefix IS '') AS open FROM interest WHERE state " \
    "= 0"                                                                                                    \
    " GROUP BY principal) AS w ON w.p = principal.id)"
#define PRINCIPAL_WRONG \
    "(answers <> answered OR mailboxes <> paid OR interests <> waits OR open_globs <> opens)"
#define MAILBOX_COUNTS                                                                                     \
    "(SELECT mailbox.id AS i, coalesce(waiting, 0) AS waits, coalesce(open, 0) AS opens,"                  \
    " coalesce(past, 0) AS pasts FROM mailbox"                                                             \
    " LEFT JOIN (SELECT mailbox AS b, sum(state = 0) AS waiting, sum(state = 0 AND prefix IS '') AS open," \
    " sum(state <> 0) AS past FROM interest GROUP BY mailbox) AS x ON x.b = mailbox.id)"
#define STORE_COUNTS                                                                                    \
    "(SELECT (SELECT count(*) FROM entry) AS f, (SELECT coalesce(sum(size), 0) FROM entry) AS b,"       \
    " (SELECT coalesce(sum(size), 0) FROM kept) AS k, (SELECT coalesce(max(made), 0) FROM entry) AS a," \
    " (SELECT count(*) FROM interest WHERE state = 0) AS i,"                                            \
    " (SELECT count(*) FROM interest WHERE state = 0 AND prefix IS '') AS g,"                           \
    " (SELECT count(*) FROM interest WHERE state <> 0) AS o, (SELECT count(*) FROM mailbox) AS m,"      \
    " (SELECT count(*) FROM event) AS e, (SELECT coalesce(max(number), 0) FROM event) AS n)"

#define NO_MAILBOX   "mailbox NOT IN (SELECT id FROM mailbox)"
#define NO_CONTENT   "content NOT IN (SELECT id FROM content)"
#define NO_PRINCIPAL "principal NOT IN (SELECT id FROM principal)" /* not of one that is NULL */
#define NO_ARRIVAL   "kind = 0 AND (arrival IS NULL OR arrival NOT IN (SELECT id FROM arrival))"

/* Rows first, then what counts them. */
static const struct rule rules[] = {
    {"interests of a mailbox that is not there", "SELECT count(*) FROM interest WHERE " NO_MAILBOX,
     "DELETE FROM interest WHERE " NO_MAILBOX},
    {"events of a mailbox that is not there", "SELECT count(*) FROM event WHERE " NO_MAILBOX,
     "DELETE FROM event WHERE " NO_MAILBOX},
    {"events of an arrival that is not there", "SELECT count(*) FROM event WHERE " NO_ARRIVAL,
     "UPDATE event SET kind = 2, dropped = 1, arrival = NULL, pattern = '', interest = zeroblob(16)"
     " WHERE " NO_ARRIVAL},
    {"replaced versions without content", "SELECT count(*) FROM kept WHERE " NO_CONTENT,
     "DELETE FROM kept WHERE " NO_CONTENT},
    {"answers to nobody", "SELECT count(*) FROM answer WHERE " NO_PRINCIPAL,
     "DELETE FROM answer WHERE " NO_PRINCIPAL},
    {"mailboxes on nobody's account", "SELECT count(*) FROM mailbox WHERE " NO_PRINCIPAL,
     "UPDATE mailbox SET principal = NULL WHERE " NO_PRINCIPAL},
    {"interests on nobody's account", "SELECT count(*) FROM interest WHERE state = 0 AND " NO_PRINCIPAL,
     "UPDATE interest SET principal = NULL WHERE state = 0 AND " NO_PRINCIPAL},
    {"wrong counts of who uses content", "SELECT count(*) FROM " CONTENT_USES " WHERE " USES_WRONG,
     "UPDATE content SET uses = n, live = lives FROM " CONTENT_USES " WHERE id = i AND " USES_WRONG},
    {"wrong counts of who tells an arrival", "SELECT count(*) FROM " ARRIVAL_USES " WHERE was <> n",
     "UPDATE arrival SET uses = n FROM " ARRIVAL_USES " WHERE id = i AND was <> n"},
    {"arrivals that nobody waits for",
     "SELECT count(*) FROM " ARRIVAL_USES " JOIN arrival ON id = i WHERE n = 0 AND pending = 0",
     "DELETE FROM arrival WHERE uses = 0 AND pending = 0"},
    {"wrong counts of what is kept on an account",
     "SELECT count(*) FROM principal JOIN " PRINCIPAL_COUNTS " ON id = i WHERE " PRINCIPAL_WRONG,
     "UPDATE principal SET answers = answered, mailboxes = paid, interests = waits, open_globs = opens "
     "FROM " PRINCIPAL_COUNTS " WHERE id = i AND " PRINCIPAL_WRONG},
    {"mailboxes that count wrong",
     "SELECT count(*) FROM mailbox JOIN " MAILBOX_COUNTS " ON id = i WHERE interests <> waits"
     " OR open_globs <> opens OR over <> pasts",
     "UPDATE mailbox SET interests = waits, open_globs = opens, over = pasts FROM " MAILBOX_COUNTS
     " WHERE id = i AND (interests <> waits OR open_globs <> opens OR over <> pasts)"},
    {"store that counts wrong",
     "SELECT count(*) FROM store JOIN " STORE_COUNTS " WHERE files <> f OR bytes <> b OR kept_bytes <> k"
     " OR arrivals < a OR interests <> i OR open_globs <> g OR over <> o OR mailboxes <> m OR events <> e"
     " OR numbers < n",
     "UPDATE store SET files = f, bytes = b, kept_bytes = k, arrivals = max(arrivals, a), interests = i,"
     " open_globs = g, over = o, mailboxes = m, events = e, numbers = max(numbers, n) FROM " STORE_COUNTS},
};
enum { RULES = sizeof rules / sizeof rules[0] };

static enum outcome count_broken(struct database *db, const struct rule *rule, uint64_t *out,
                                 struct failure *why)
{
    scoped_query struct query q = query_on(db, rule->count);
    enum outcome outcome = query_row(&q, why);
    if (outcome == OUTCOME_OK)
        *out = (uint64_t)column_int(&q);
    return outcome;
}

enum outcome facts_check(struct local *local, facts_told *told, void *argument, struct failure *why)
{
    scoped_reader struct reader reader = {0};
    enum outcome outcome = readers_take(&local->readers, &reader, why);
    for (size_t i = 0; i < RULES && outcome == OUTCOME_OK; i++) {
        uint64_t count = 0;
        outcome = count_broken(reader.db, &rules[i], &count, why);
        if (outcome == OUTCOME_OK && count > 0)
            told(rules[i].words, count, argument);
    }
    return outcome;
}

struct righting {
    const struct rule *rule;
    uint64_t count;
};

static enum outcome right_run(struct local *local, struct database *db, void *argument, struct failure *why)
{
    (void)local;
    struct righting *righting = argument;
    enum outcome outcome = count_broken(db, righting->rule, &righting->count, why);
    if (outcome != OUTCOME_OK || righting->count == 0)
        return outcome;
    scoped_query struct query q = query_on(db, righting->rule->repair);
    return query_run(&q, why);
}

enum outcome facts_repair(struct local *local, uint64_t *righted, struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    for (size_t i = 0; i < RULES && outcome == OUTCOME_OK; i++) {
        struct righting righting = {.rule = &rules[i]};
        outcome = writer_do(&local->writer, right_run, &righting, why);
        FAULT_POINT("care-facts-righted");
        *righted += outcome == OUTCOME_OK ? righting.count : 0;
    }
    return outcome;
}
