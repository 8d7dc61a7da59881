#include "fault/power/work.h"

#include "server/store/local/database.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { NAMES = 5, INLINE_MOST = 16384, ACTORS = 3, A_WHILE = 200000 };

/* ---- files of one thread ---- */

struct actor {
    struct history *history;
    struct dice dice;
    char prefix[8];
    unsigned steps;
    const struct deed *there[NAMES]; /* what made it; NULL: it is not there */
    pthread_t thread;
};

static const char *name_of(const struct actor *actor, unsigned which, char name[HISTORY_NAME])
{
    snprintf(name, HISTORY_NAME, "%s/%u", actor->prefix, which);
    return name;
}

static size_t some_size(struct dice *dice)
{
    switch (dice_throw(dice, 6)) {
    case 0: return dice_throw(dice, 2);
    case 1:
    case 2: return dice_throw(dice, 3000);
    case 3: return INLINE_MOST - 1 + dice_throw(dice, 3);
    default: return INLINE_MOST + 1 + dice_throw(dice, 30000);
    }
}

static void put_something(struct actor *actor, unsigned which)
{
    char name[HISTORY_NAME];
    actor->there[which] = history_put(actor->history, name_of(actor, which, name), some_size(&actor->dice),
                                      actor->there[which] != NULL);
}

static void upload_something(struct actor *actor, unsigned which)
{
    char name[HISTORY_NAME];
    size_t size = some_size(&actor->dice) * 2;
    struct deed *upload = history_upload(actor->history, name_of(actor, which, name), size,
                                         actor->there[which] != NULL);
    if (dice_throw(&actor->dice, 8) == 0) {
        history_abort(actor->history, upload);
        return;
    }
    for (size_t at = 0; at < size;) {
        size_t step = 1 + dice_throw(&actor->dice, 20000);
        step = step < size - at ? step : size - at;
        history_write(actor->history, upload, at, step);
        at += step;
    }
    actor->there[which] = history_publish(actor->history, upload);
}

static void put_all(struct actor *actor)
{
    char names[NAMES][HISTORY_NAME];
    const char *list[NAMES];
    for (unsigned i = 0; i < NAMES; i++)
        list[i] = name_of(actor, i, names[i]);
    history_put_many(actor->history, list, NAMES, some_size(&actor->dice), actor->there);
}

static void rename_something(struct actor *actor, unsigned which)
{
    char name[HISTORY_NAME], to[HISTORY_NAME];
    unsigned target = (which + 1) % NAMES;
    actor->there[target] = history_rename(actor->history, actor->there[which], name_of(actor, which, name),
                                          name_of(actor, target, to), actor->there[target] != NULL);
    actor->there[which] = NULL;
}

static void file_step(struct actor *actor)
{
    char name[HISTORY_NAME];
    unsigned which = dice_throw(&actor->dice, NAMES), what = dice_throw(&actor->dice, 9);
    if (what == 8) {
        put_all(actor);
    } else if (what < 3 || !actor->there[which]) {
        put_something(actor, which);
    } else if (what < 5) {
        upload_something(actor, which);
    } else if (what < 7) {
        rename_something(actor, which);
    } else {
        history_remove(actor->history, name_of(actor, which, name));
        actor->there[which] = NULL;
    }
}

static void *actor_main(void *argument)
{
    struct actor *actor = argument;
    for (unsigned i = 0; i < actor->steps; i++)
        file_step(actor);
    return NULL;
}

static void work_at_once(struct history *history, struct actor actors[ACTORS], unsigned steps)
{
    for (unsigned i = 0; i < ACTORS; i++) {
        actors[i].steps = steps;
        assert_int_equal(pthread_create(&actors[i].thread, NULL, actor_main, &actors[i]), 0);
    }
    for (unsigned i = 0; i < ACTORS; i++)
        pthread_join(actors[i].thread, NULL);
    (void)history;
}

/* ---- who waits ---- */

struct waiting {
    const struct deed *once, *every;
};

/* Some of the names are waited for, for a long time; one that never comes, for a short one. */
static void interest_step(struct history *history, struct waiting *waiting)
{
    switch (dice_throw(&history->dice, 5)) {
    case 0:
        if (waiting->every)
            history_drop(history, waiting->every);
        waiting->every = waiting->every ? NULL : history_add(history, 0, "m/*", true, A_WHILE);
        break;
    case 1: waiting->once = history_add(history, 1, "m/2", false, A_WHILE); break;
    case 2:
        if (waiting->every)
            history_renew(history, waiting->every, A_WHILE + 777);
        break;
    case 3:
        history_add(history, 0, "never", false, 5);
        history_step(history, 6);
        history_sweep(history);
        break;
    default: history_add(history, 1, "m/?", false, A_WHILE); break;
    }
}

static bool room_for_interests(const struct history *history)
{
    unsigned live = 0;
    for (unsigned i = 0; i < HISTORY_LIVE; i++)
        live += history->live[i] != NULL;
    return live + 2 < HISTORY_LIVE;
}

static void other_step(struct history *history, struct waiting *waiting)
{
    switch (dice_throw(&history->dice, 6)) {
    case 0:
        history_step(history, 700);
        history_sweep(history);
        break;
    case 1: history_events(history, 0); break;
    case 2: history_deliver(history, 1); break;
    case 3:
        history_close(history);
        history_open(history);
        break;
    default:
        if (room_for_interests(history))
            interest_step(history, waiting);
        break;
    }
}

void work_at_random(struct history *history, unsigned steps)
{
    struct actor actors[ACTORS + 1];
    struct waiting waiting = {0};
    for (unsigned i = 0; i <= ACTORS; i++) {
        actors[i] = (struct actor){.history = history, .dice = dice_of(history->dice.state, 10 + i)};
        snprintf(actors[i].prefix, sizeof actors[i].prefix, i < ACTORS ? "t%u" : "m", i);
    }
    history_open(history);
    history_add(history, 0, "nobody sends this", false, A_WHILE);
    history_add(history, 1, "m/*", true, A_WHILE);
    history_add(history, 2, "**", true, A_WHILE);
    for (unsigned i = 0; i < steps; i++) {
        if (i == steps / 2)
            work_at_once(history, actors, 3 + steps / 20);
        if (i == steps * 3 / 4)
            history_backup(history, "backup", dice_throw(&history->dice, 2) == 0);
        if (dice_throw(&history->dice, 3) == 0)
            other_step(history, &waiting);
        else
            file_step(&actors[ACTORS]);
        if (i % 8 == 7)
            history_events(history, 2);
    }
}

/* ---- on purpose ---- */

void work_at_uploads(struct history *history)
{
    enum { SIZE = 9 << 20, STEP = 3 << 19, RECORDED_AFTER = 700 };
    history_open(history);
    history_add(history, 2, "**", true, A_WHILE);
    struct deed *upload = history_upload(history, "large", SIZE, false);
    size_t at = 0;
    for (; at < SIZE / 2; at += STEP)
        history_write(history, upload, at, STEP);
    history_close(history);
    history_open(history);
    history_step(history, RECORDED_AFTER); /* then the next step of write-back is recorded as well */
    for (; at < SIZE; at += STEP)
        history_write(history, upload, at, at + STEP < SIZE ? STEP : SIZE - at);
    history_publish(history, upload);
    struct deed *left = history_upload(history, "left", 50000, false);
    history_write(history, left, 0, 20000);
    history_close(history);
    history_open(history);
    history_step(history, 8 * 86400);
    history_sweep(history);
}

void work_at_log(struct history *history)
{
    enum { PUTS = 420, SIZE = 16000 };
    char name[HISTORY_NAME];
    history_open(history);
    for (unsigned i = 0; i < PUTS; i++) {
        if (i == PUTS - 1)
            history->recording.first = recording_now();
        snprintf(name, sizeof name, "n/%u", i % 24);
        history_put(history, name, SIZE - i, i >= 24);
    }
}

/* Names of one letter: so many in one call, of which the first few stay. */
static void put_and_leave(struct history *history, char letter, size_t size)
{
    enum { PARTS = 6, STAY = 2 };
    char names[PARTS][HISTORY_NAME];
    const char *list[PARTS];
    const struct deed *made[PARTS];
    for (unsigned i = 0; i < PARTS; i++) {
        snprintf(names[i], sizeof names[i], "%c/%u", letter, i);
        list[i] = names[i];
    }
    history_put_many(history, list, PARTS, size, made);
    for (unsigned i = STAY; i < PARTS; i++)
        history_remove(history, names[i]);
}

/* So many contents are of several files, in so many bytes. */
static void expect_together(const struct history *history, int64_t contents, int64_t bytes)
{
    char path[128];
    struct database *db = NULL;
    struct failure why;
    snprintf(path, sizeof path, "%s/store/fileshare.db", history->folder);
    assert_int_equal(database_open(path, false, &db, &why), OUTCOME_OK);
    {
        scoped_query struct query q = query_on(
            db, "SELECT count(*), sum(size) FROM content WHERE parts IS NOT NULL");
        assert_int_equal(query_row(&q, &why), OUTCOME_OK);
        assert_int_equal(column_int(&q), contents);
        assert_int_equal(column_int(&q), bytes);
    }
    database_close(db);
}

void work_at_bundles(struct history *history)
{
    enum { LARGE = 40000, SMALL = 900 }; /* together a blob, and a row */
    history_open(history);
    history_add(history, 2, "**", true, A_WHILE);
    put_and_leave(history, 'b', LARGE);
    put_and_leave(history, 'r', SMALL);
    expect_together(history, 2, 6 * (LARGE + SMALL) + 2 * 15);
    recording_settle();
    history->recording.first = recording_now();
    history_step(history, history->limits.kept_seconds + 100);
    history_sweep(history);
    expect_together(history, 2, 2 * (LARGE + SMALL) + 2 * 1);
    history_put(history, "b/5", 70000, false);
}

/* What tests/fixtures/store-1.sql holds, as if somebody had been told of it just now. */
static void remember_old(struct history *history)
{
    static const struct {
        const char *name, *version, *digest;
        size_t size;
    } files[] = {
        {"empty", "c10c63c8ffbd6685d9bef6ac409fdbcc", "99aa06d3014798d86001c324468d497f", 0},
        {"notes/first.txt", "7af69935ed3365e610a0f8de5b653fff", "739469cabd41a9b1b5b778363fbec28a", 25},
    };
    struct failure why;
    struct id digest;
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        struct deed *deed = deed_begin(history, DEED_PUT, files[i].name);
        assert_int_equal(id_parse(files[i].version, &deed->id, &why), OUTCOME_OK);
        assert_int_equal(id_parse(files[i].digest, &digest, &why), OUTCOME_OK);
        memcpy(deed->digest.octets, digest.octets, sizeof digest.octets);
        deed->size = files[i].size;
        deed_told(history, deed);
    }
    struct deed *deed = deed_begin(history, DEED_ADD, "reports/*.csv");
    assert_int_equal(id_parse("7cb1f4f6123e0391036142d34c4a1e5e", &deed->interest, &why), OUTCOME_OK);
    deed->glob = deed->every = true;
    deed->seconds = 2592000;
    deed_told(history, deed);
    history->live[0] = deed;
    history->mailboxes[0] = (struct id){.octets = {1}};
}

void work_at_old(struct history *history, const char *statements)
{
    char path[128];
    struct database *db = NULL;
    struct failure why;
    snprintf(path, sizeof path, "%s/store", history->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof path, "%s/store/fileshare.db", history->folder);
    assert_int_equal(database_open(path, true, &db, &why), OUTCOME_OK);
    assert_int_equal(database_execute(db, statements, &why), OUTCOME_OK);
    database_close(db);
    recording_settle();
    history->recording.first = recording_now();
    remember_old(history);
    history_open(history);
    history_put(history, "reports/new.csv", 30000, false);
    history_close(history);
    history_open(history);
    history_put(history, "notes/second.txt", 10, false);
    history_events(history, 0);
}

/* ---- repair ---- */

/* The path of the only blob below the store; fails the test if there is none. */
static void only_blob(const struct history *history, char path[512])
{
    for (unsigned shard = 0; shard < 256; shard++) {
        char where[128];
        snprintf(where, sizeof where, "%s/store/blobs/%02x", history->folder, shard);
        DIR *walk = opendir(where);
        assert_non_null(walk);
        struct dirent *at = readdir(walk);
        while (at && at->d_name[0] == '.')
            at = readdir(walk);
        if (at)
            snprintf(path, 512, "%s/%.60s", where, at->d_name);
        closedir(walk);
        if (at)
            return;
    }
    fail_msg("no blob");
}

void work_at_repair(struct history *history)
{
    char altered[512];
    struct failure why;
    history_open(history);
    history_put(history, "altered", 20000, false);
    only_blob(history, altered);
    history_put(history, "sound", 30000, false);
    history_put(history, "small", 300, false);
    history_close(history);
    int fd = open(altered, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?!", 2, 777), 2);
    close(fd);
    recording_settle();
    history->recording.first = recording_now();
    history_open(history);
    struct deed *deed = deed_begin(history, DEED_REPAIR, "altered");
    assert_int_equal(deed_do(history, history->store, deed, &why), OUTCOME_OK);
    deed_told(history, deed);
    history_put(history, "altered", 100, false);
}
