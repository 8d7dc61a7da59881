#include "server/store/local/crowds.h"

#include <stdlib.h>
#include <string.h>

enum { TIDY_SLACK = 1024, READ_IN_STEP = 4096, CROWD_ROWS_MAX = 200000 };

/* At most `limit` more, in the order of rows. *whole: there are no others. */
static enum outcome crowd_read(struct crowd *crowd, struct database *db, size_t limit, struct failure *why)
{
    struct sieves *sieves = &crowd->sieves;
    scoped_query struct query q = query_on(db, "SELECT id, pattern FROM interest WHERE prefix = ? AND id > ?"
                                               " AND prefix IS NOT NULL AND state = 0 ORDER BY id");
    bind_text(&q, crowd->prefix);
    bind_int(&q, sieves->count > 0 ? sieves->rows[sieves->count - 1].row : 0);
    enum outcome outcome = query_row(&q, why);
    for (size_t n = 0; outcome == OUTCOME_OK && n < limit; n++) {
        char pattern[NAME_BUFFER];
        int64_t row = column_int(&q);
        column_text(&q, pattern, sizeof pattern);
        if (!sieves_add(sieves, row, pattern))
            return failure_set(why, OUTCOME_NOMEM, "no memory for the globs of those who wait");
        outcome = query_row(&q, why);
    }
    crowd->whole = outcome == OUTCOME_ABSENT;
    sieves->tidy_at = 2 * sieves->count + TIDY_SLACK;
    return outcome == OUTCOME_ABSENT ? OUTCOME_OK : outcome;
}

static void crowd_forget(struct crowd *crowd)
{
    free(crowd->prefix);
    sieves_fini(&crowd->sieves);
    *crowd = (struct crowd){0};
}

static enum outcome crowd_begin(struct crowd *crowd, const char *prefix, struct failure *why)
{
    *crowd = (struct crowd){.prefix = strdup(prefix)};
    return crowd->prefix ? OUTCOME_OK
                         : failure_set(why, OUTCOME_NOMEM, "no memory for the globs of those who wait");
}

/* That of the first `size` bytes of `text`, which is in memory as a whole; NULL if there is none. */
static struct crowd *crowd_of(struct crowds *crowds, const char *text, size_t size)
{
    for (unsigned i = 0; i < CROWDS; i++) {
        struct crowd *crowd = &crowds->of[i];
        if (crowd->whole && strlen(crowd->prefix) == size && memcmp(crowd->prefix, text, size) == 0)
            return crowd;
    }
    return NULL;
}

/* Of globs that begin with a wildcard; what there was stays if it fails. */
enum outcome crowds_load(struct crowds *crowds, struct database *db, struct failure *why)
{
    struct crowd open;
    enum outcome outcome = crowd_begin(&open, "", why);
    if (outcome == OUTCOME_OK)
        outcome = crowd_read(&open, db, SIZE_MAX, why);
    if (outcome != OUTCOME_OK) {
        crowd_forget(&open);
        return outcome;
    }
    crowd_forget(&crowds->of[0]);
    crowds->of[0] = open;
    return OUTCOME_OK;
}

enum outcome crowds_note_glob(struct crowds *crowds, int64_t row, const char *prefix, const char *pattern,
                              struct failure *why)
{
    struct crowd *crowd = crowd_of(crowds, prefix, strlen(prefix));
    if (!crowd || sieves_add(&crowd->sieves, row, pattern))
        return OUTCOME_OK;
    if (crowd == &crowds->of[0])
        return failure_set(why, OUTCOME_NOMEM, "no memory for the globs of those who wait");
    crowd_forget(crowd); /* the index finds them, too */
    return OUTCOME_OK;
}

/* The wanted one takes the place of another. */
static void crowd_make(struct crowds *crowds)
{
    struct crowd *crowd = &crowds->of[1 + crowds->next];
    crowds->next = (crowds->next + 1) % (CROWDS - 1);
    crowds->wanted = false;
    crowd_forget(crowd);
    enum outcome outcome = crowd_begin(crowd, crowds->wanted_prefix, NULL);
    (void)outcome; /* without memory there is no crowd */
}

static size_t crowd_rows(const struct crowds *crowds)
{
    size_t rows = 0;
    for (unsigned i = 1; i < CROWDS; i++)
        rows += crowds->of[i].sieves.count;
    return rows;
}

/* One step of reading it. */
static void crowd_go_on(struct crowds *crowds, struct crowd *crowd, struct database *db)
{
    if (crowd_read(crowd, db, READ_IN_STEP, NULL) != OUTCOME_OK || crowd_rows(crowds) > CROWD_ROWS_MAX ||
        (crowd->whole && crowd->sieves.count < CROWD_LEAST))
        crowd_forget(crowd);
}

static bool has_outgrown(const struct crowd *crowd)
{
    return crowd->sieves.count >= crowd->sieves.tidy_at;
}

bool crowds_are_untidy(const struct crowds *crowds)
{
    bool untidy = crowds->wanted || has_outgrown(&crowds->of[0]);
    for (unsigned i = 1; i < CROWDS && !untidy; i++)
        untidy = crowds->of[i].whole ? has_outgrown(&crowds->of[i]) : crowds->of[i].prefix != NULL;
    return untidy;
}

void crowds_tidy(struct crowds *crowds, struct database *db)
{
    struct crowd *open = &crowds->of[0];
    if (database_in_transaction(db))
        return; /* one that could not be undone yet: what it shows is not so */
    if (has_outgrown(open)) {
        open->sieves.tidy_at = 2 * open->sieves.count; /* if it fails now: what there is will do */
        enum outcome outcome = crowds_load(crowds, db, NULL);
        (void)outcome;
    }
    for (unsigned i = 1; i < CROWDS; i++) {
        struct crowd *crowd = &crowds->of[i];
        if (crowd->whole && has_outgrown(crowd))
            crowd_forget(crowd); /* it is read anew if it still is one */
        else if (crowd->prefix && !crowd->whole)
            return crowd_go_on(crowds, crowd, db);
    }
    if (crowds->wanted)
        crowd_make(crowds);
}

void crowds_fini(struct crowds *crowds)
{
    for (unsigned i = 0; i < CROWDS; i++)
        crowd_forget(&crowds->of[i]);
}

const struct crowd *crowds_find(struct crowds *crowds, const char *text, size_t size)
{
    return crowd_of(crowds, text, size);
}

bool crowds_has_open(const struct crowds *crowds)
{
    return crowds->of[0].sieves.count > 0;
}

void crowds_want(struct crowds *crowds, const char *text, size_t size)
{
    if (crowds->wanted)
        return;
    crowds->wanted = true;
    memcpy(crowds->wanted_prefix, text, size);
    crowds->wanted_prefix[size] = 0;
}
