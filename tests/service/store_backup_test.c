/* A store looked after: backups of one at work, repair, and the forms of other releases. */
#include "fixture.h"
#include "service/store_subject.h"

#include "server/store/local/database.h"
#include "server/store/local/schema.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BIG = 40000, FILES = 8 };

static void put_big(struct subject *s, const char *name, unsigned seed, bool again)
{
    uint8_t *bytes = malloc(BIG);
    assert_non_null(bytes);
    fill(bytes, BIG, seed);
    struct store_put p = {.op = id_random(),
                          .name = name,
                          .content = bytes,
                          .size = BIG,
                          .condition.replace = again};
    assert_ok(put_as(s, &alice, &p, NULL));
    free(bytes);
}

/* Another subject, of the folder `target`. */
static struct subject *other(const struct subject *s, const char *target)
{
    struct subject *there = calloc(1, sizeof *there);
    assert_non_null(there);
    snprintf(there->folder, sizeof there->folder, "%s", target);
    there->clock = s->clock;
    there->limits = s->limits;
    subject_open(there);
    return there;
}

static struct store_audit audit(struct subject *s)
{
    struct store_audit found;
    assert_ok(CERTAIN(s->acts->audit(s->store, true, &found, &store_why)));
    return found;
}

static void is_sound(struct subject *s)
{
    struct store_audit found = audit(s);
    assert_true(store_audit_is_sound(&found));
}

static void target_of(const struct subject *s, char target[64])
{
    snprintf(target, 64, "%.60s.b", s->folder);
}

/* The first blob's path; false if there is none. */
static bool any_blob(const char *folder, char path[512])
{
    for (unsigned shard = 0; shard < 256; shard++) {
        char where[300];
        snprintf(where, sizeof where, "%.200s/blobs/%02x", folder, shard);
        DIR *dir = opendir(where);
        assert_non_null(dir);
        struct dirent *at = readdir(dir);
        while (at && at->d_name[0] == '.')
            at = readdir(dir);
        if (at)
            snprintf(path, 512, "%.300s/%.64s", where, at->d_name);
        closedir(dir);
        if (at)
            return true;
    }
    return false;
}

/* ---- backup ---- */

static void backup_is_a_store(void **state)
{
    struct subject *s = *state;
    struct store_backup done;
    struct store_entry entry;
    char target[64], text[64];
    target_of(s, target);
    assert_true(s->acts->capabilities(s->store) & STORE_CAN_BACKUP);
    assert_ok(put(s, &alice, "small", "some words", NULL));
    put_big(s, "big", 1, false);
    put_big(s, "big", 2, true); /* the version replaced stays behind */
    struct id upload = id_random(), mailbox = id_random();
    struct store_upload_begin b = {.upload = upload, .name = "coming"};
    struct store_upload_state held;
    assert_ok(begin(s, &alice, &b, &held));
    alice_waits(s, &mailbox, "later", 1000, true);
    assert_ok(put(s, &alice, "later", "1", NULL));
    fan_out(s);

    assert_ok(s->acts->backup(s->store, target, false, &done, &store_why));
    assert_int_equal(done.rounds, 1);
    assert_int_equal(done.linked, 1);
    assert_outcome(s->acts->backup(s->store, target, false, &done, &store_why), OUTCOME_EXISTS);
    assert_ok(put(s, &alice, "after", "not in it", NULL));

    struct subject *there = other(s, target);
    is_sound(there);
    assert_int_equal(audit(there).entries, 3);
    assert_ok(content(there, "small", NULL, text, sizeof text));
    assert_string_equal(text, "some words");
    assert_outcome(stat_name(there, "after", &entry), OUTCOME_ABSENT);
    struct store_event seen[4];
    bool more;
    assert_int_equal(events(there, &mailbox, 0, seen, 4, &more), 1);
    assert_string_equal(seen[0].entry.name, "later");
    subject_free(there);
    is_sound(s);
    /* The upload goes on here. */
    uint64_t at;
    assert_ok(upload_write(s, &alice, &upload, 0, "x", 1, &at));
}

/* One more arrival, and its event's number. */
static uint64_t next_event(struct subject *s, const struct id *mailbox, uint64_t after)
{
    struct store_event seen[8];
    bool more;
    assert_ok(replace(s, &alice, "later", "again", NULL));
    fan_out(s);
    size_t count = events(s, mailbox, after, seen, 8, &more);
    assert_true(count > 0);
    assert_true(seen[count - 1].number > after);
    return seen[count - 1].number;
}

/*
 * The same backup in the store's place, again and again: a client asks for what
 * comes after the last event that it saw, of whichever of them, and hears.
 */
static void numbers_go_on_whichever_store_is_put_back(void **state)
{
    struct subject *s = *state;
    struct store_backup done;
    char target[64];
    target_of(s, target);
    struct id mailbox = id_random(), later_mailbox = id_random();
    struct store_interest_add add = {.mailbox = mailbox,
                                     .interest = id_random(),
                                     .pattern = "later",
                                     .seconds = 1000,
                                     .every = true};
    struct store_registration registration;
    assert_ok(interest(s, &alice, &add, NULL, 0, &registration));
    uint64_t seen_later = 0, seen = next_event(s, &mailbox, 0);
    assert_int_equal(seen, 1); /* a new store counts from the beginning */
    for (unsigned again = 0; again < 3; again++) {
        step(s, 1);
        if (again == 0)
            assert_ok(store_local_backup(s->folder, target, false, &done, &store_why));
        struct subject *there = other(s, target);
        for (unsigned n = 0; n < 5; n++)
            seen = next_event(there, &mailbox, seen);
        assert_true(seen < UINT64_C(1) << 53); /* a number also in JSON */
        /* one that the backup does not know, made anew by a client that remembers where it was */
        add.mailbox = later_mailbox;
        add.interest = id_random();
        assert_ok(interest(there, &alice, &add, NULL, 0, &registration));
        seen_later = next_event(there, &later_mailbox, seen_later);
        subject_free(there);
        assert_ok(store_local_backup(s->folder, target, false, &done, &store_why));
    }
    /* and in the store that went on all the while */
    step(s, 1);
    subject_restart(s);
    next_event(s, &mailbox, seen);
}

static void copies_share_nothing(void **state)
{
    struct subject *s = *state;
    struct store_backup done;
    struct stat status;
    char target[64], path[512];
    target_of(s, target);
    put_big(s, "big", 1, false);
    assert_ok(store_local_backup(s->folder, target, true, &done, &store_why));
    assert_int_equal(done.copied, 1);
    assert_true(any_blob(target, path));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_nlink, 1);
    struct subject *there = other(s, target);
    is_sound(there);
    subject_free(there);
}

static void refused_leaves_nothing(void **state)
{
    struct subject *s = *state;
    struct store_backup done;
    char target[64], path[512];
    target_of(s, target);
    assert_outcome(store_local_backup(target, "/nowhere/x", false, &done, &store_why), OUTCOME_ABSENT);
    assert_outcome(store_local_backup(s->folder, "/nowhere/x", false, &done, &store_why), OUTCOME_LOCAL);
    put_big(s, "gone", 1, false);
    assert_true(any_blob(s->folder, path));
    assert_int_equal(unlink(path), 0);
    assert_outcome(store_local_backup(s->folder, target, false, &done, &store_why), OUTCOME_CORRUPT);
    assert_non_null(strstr(store_why.text, "gone"));
    assert_int_equal(access(target, F_OK), -1);
    /* nor what was begun beside it */
    char pattern[80];
    snprintf(pattern, sizeof pattern, "%s.new-", target);
    const char *leaf = strrchr(pattern, '/') + 1;
    char above[64];
    snprintf(above, sizeof above, "%.*s", (int)(leaf - pattern), pattern);
    DIR *dir = opendir(above);
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        assert_int_not_equal(strncmp(entry->d_name, leaf, strlen(leaf)), 0);
    closedir(dir);
}

/* Replaces files, and keeps nothing that was replaced, until told to stop. */
struct busy {
    struct subject *subject;
    _Atomic bool stop;
    _Atomic unsigned rounds;
};

static void *be_busy(void *argument)
{
    struct busy *busy = argument;
    struct subject *s = busy->subject;
    for (unsigned n = 0; !busy->stop; n++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", n % FILES);
        put_big(s, name, n, true);
        sweep(s, NULL, NULL);
        busy->rounds++;
    }
    return NULL;
}

static void backup_under_change(void **state)
{
    (void)state;
    struct subject *s = subject_new();
    s->limits.kept_seconds = 0;
    s->limits.kept_bytes = 0;
    subject_open(s);
    for (unsigned n = 0; n < FILES; n++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", n);
        put_big(s, name, n, false);
    }
    struct busy busy = {.subject = s};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, be_busy, &busy), 0);
    for (unsigned n = 0; n < 5; n++) {
        struct store_backup done;
        char target[64];
        target_of(s, target);
        struct failure why;
        enum outcome outcome = store_local_backup(s->folder, target, false, &done, &why);
        if (outcome != OUTCOME_OK)
            print_error("%s\n", why.text);
        assert_int_equal(outcome, OUTCOME_OK);
        assert_int_equal(done.rounds, 1); /* nothing went that was to be taken */
        struct subject there = {.clock = s->clock, .limits = s->limits};
        struct store_local_options options = {.folder = target, .limits = s->limits, .clock = &there.clock};
        struct store_audit found;
        assert_int_equal(store_local_open(&options, &there.store, &why), OUTCOME_OK);
        assert_int_equal(there.store->acts->audit(there.store, true, &found, &why), OUTCOME_OK);
        assert_int_equal(found.entries, FILES);
        assert_true(store_audit_is_sound(&found));
        there.store->acts->close(there.store);
        subject_remove_folder(target);
    }
    busy.stop = true;
    pthread_join(thread, NULL);
    assert_true(busy.rounds > 0);
    print_message("%u replaces\n", busy.rounds);
    sweep(s, NULL, NULL); /* what stayed for the backups goes */
    is_sound(s);
    subject_free(s);
}

/* ---- repair ---- */

static void repair_keeps_what_is_sound(void **state)
{
    struct subject *s = *state;
    struct store_repair done;
    struct store_entry entry;
    char path[512], list[512], version[ID_TEXT_SIZE];
    assert_true(s->acts->capabilities(s->store) & STORE_CAN_REPAIR);
    put_big(s, "damaged", 1, false);
    assert_true(any_blob(s->folder, path));
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "?", 1, 5), 1);
    close(fd);
    assert_ok(stat_name(s, "damaged", &entry));
    assert_ok(put(s, &alice, "sound", "words", NULL));
    put_big(s, "sound2", 2, false);
    snprintf(path, sizeof path, "%s/blobs/00/00112233445566778899aabbccddeeff", s->folder);
    close(open(path, O_WRONLY | O_CREAT, 0600));

    /* Without deep the altered byte does not show. */
    assert_ok(s->acts->repair(s->store, false, &done, &store_why));
    assert_int_equal(done.removed, 1);
    assert_int_equal(done.set_aside, 0);
    struct store_audit found = audit(s);
    assert_int_equal(found.wrong_digests, 1);
    assert_int_equal(found.finding_count, 1);
    assert_int_equal(found.findings[0].kind, STORE_WRONG_DIGEST);
    assert_string_equal(found.findings[0].name, "damaged");
    assert_ok(s->acts->repair(s->store, true, &done, &store_why));
    assert_int_equal(done.set_aside, 1);
    assert_int_equal(done.removed, 0);
    is_sound(s);
    assert_int_equal(audit(s).entries, 2);
    assert_outcome(stat_name(s, "damaged", &entry), OUTCOME_ABSENT);

    snprintf(path, sizeof path, "%s/lost/%s", s->folder, id_text(&entry.version, version));
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, BIG);
    snprintf(path, sizeof path, "%s/lost/list", s->folder);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(list, sizeof list, file));
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
    assert_non_null(strstr(list, version));
    assert_non_null(strstr(list, " digest 40000 "));
    assert_non_null(strstr(list, " unix:1000 damaged\n"));
    /* The name is free, the counters are right. */
    put_big(s, "damaged", 3, false);
    struct store_health health;
    assert_ok(s->acts->health(s->store, &health, &store_why));
    assert_int_equal(health.files, 3);
    assert_int_equal(health.bytes, 2 * BIG + 5);
}

static void repair_of_what_is_missing(void **state)
{
    struct subject *s = *state;
    struct store_repair done;
    char path[512];
    for (unsigned n = 0; n < STORE_FINDINGS + 2; n++) {
        char name[16];
        snprintf(name, sizeof name, "f%u", n);
        put_big(s, name, n, false);
    }
    while (any_blob(s->folder, path))
        assert_int_equal(unlink(path), 0);
    struct store_audit found = audit(s);
    assert_int_equal(found.missing_blobs, STORE_FINDINGS + 2);
    assert_int_equal(found.finding_count, STORE_FINDINGS);
    assert_ok(s->acts->repair(s->store, false, &done, &store_why));
    assert_int_equal(done.set_aside, STORE_FINDINGS + 2);
    subject_restart(s);
    is_sound(s);
    assert_int_equal(audit(s).entries, 0);
}

/* ---- forms ---- */

static enum outcome open_form(struct subject *s, const char *statement)
{
    char path[128];
    snprintf(path, sizeof path, "%s/fileshare.db", s->folder);
    struct database *db = NULL;
    assert_ok(database_open(path, true, &db, &store_why));
    assert_ok(database_execute(db, statement, &store_why));
    database_close(db);
    struct store_local_options options = {.folder = s->folder, .limits = s->limits, .clock = &s->clock};
    struct store *store = NULL;
    enum outcome outcome = store_local_open(&options, &store, &store_why);
    if (outcome == OUTCOME_OK)
        store->acts->close(store);
    return outcome;
}

static void forms_of_other_releases(void **state)
{
    struct subject *s = *state;
    char text[80];
    s->acts->close(s->store);
    s->store = NULL;
    snprintf(text, sizeof text, "PRAGMA user_version = %d", SCHEMA_VERSION + 1);
    assert_outcome(open_form(s, text), OUTCOME_INVALID);
    assert_non_null(strstr(store_why.text, "newer release"));
    struct store_backup done;
    char target[64];
    target_of(s, target);
    assert_outcome(store_local_backup(s->folder, target, false, &done, &store_why), OUTCOME_INVALID);
    assert_outcome(open_form(s, "PRAGMA user_version = 0"), OUTCOME_CORRUPT); /* that no release had */
    snprintf(text, sizeof text, "PRAGMA user_version = %d", SCHEMA_VERSION);
    assert_ok(open_form(s, text));
    assert_outcome(open_form(s, "PRAGMA application_id = 7"), OUTCOME_CORRUPT);
}

static int64_t number(struct database *db, const char *text)
{
    scoped_query struct query q = query_on(db, text);
    assert_ok(query_row(&q, &store_why));
    return column_int(&q);
}

static void steps_lead_to_the_newest(void **state)
{
    struct subject *s = *state;
    static const struct schema_step steps[] = {
        {2, "UPDATE t SET a = a * 10;"},
        {1, "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (4);"},
        {3, "UPDATE t SET a = 99; INSERT INTO nowhere VALUES (1);"},
        {0, NULL},
    };
    char path[128];
    snprintf(path, sizeof path, "%s/other.db", s->folder);
    struct database *db = NULL;
    assert_ok(database_open(path, true, &db, &store_why));
    assert_ok(schema_upgrade(db, steps, 1, 3, &store_why));
    assert_int_equal(number(db, "SELECT a FROM t"), 40);
    assert_int_equal(number(db, "PRAGMA user_version"), 3);
    /* A step that fails is undone as a whole. */
    assert_outcome(schema_upgrade(db, steps, 3, 4, &store_why), OUTCOME_FAULT);
    assert_int_equal(number(db, "SELECT a FROM t"), 40);
    assert_int_equal(number(db, "PRAGMA user_version"), 3);
    assert_outcome(schema_upgrade(db, steps, 4, 5, &store_why), OUTCOME_CORRUPT);
    assert_ok(schema_upgrade(db, steps, 3, 3, &store_why));
    database_close(db);
    /* The product's own: a step from each form that was. */
    for (int from = 1; from < SCHEMA_VERSION; from++) {
        const struct schema_step *step = schema_steps;
        while (step->text && step->from != from)
            step++;
        assert_non_null(step->text);
    }
}

/* The interest that is there is charged to alice, who may have one. */
static void expect_charged(struct subject *s, const struct id *mailbox)
{
    struct store_interest_add add = {.mailbox = *mailbox,
                                     .interest = id_random(),
                                     .pattern = "another",
                                     .seconds = 10};
    struct store_registration made;
    assert_outcome(interest(s, &alice, &add, NULL, 0, &made), OUTCOME_LIMIT);
    assert_ok(interest(s, &bob, &add, NULL, 0, &made));
    struct store_interest_drop gone = {.op = id_random(), .mailbox = *mailbox, .interest = add.interest};
    struct store_cancelled row;
    size_t count;
    bool more;
    assert_ok(drop(s, &bob, &gone, &row, 1, &count, &more));
}

/* The small stores of tests/fixtures, one of each form: they open, and all is there. */
static void stores_of_each_release_open(void **state)
{
    (void)state;
    for (int form = 1; form <= SCHEMA_VERSION; form++) {
        struct subject *s = subject_new();
        char text[64], *statements = fixture_store(form);
        assert_non_null(statements);
        assert_ok(open_form(s, statements));
        free(statements);
        s->limits.interests_per_principal = 1;
        subject_open(s);
        is_sound(s);
        assert_int_equal(audit(s).entries, 2);
        assert_ok(content(s, "notes/first.txt", NULL, text, sizeof text));
        assert_string_equal(text, "a file of the first form\n");
        struct store_entry entry;
        assert_ok(stat_name(s, "empty", &entry));
        assert_string_equal(entry.owner, "unix:1000");
        assert_int_equal(entry.size, 0);
        struct store_interest rows[2];
        struct id mailbox = {.octets = {1}};
        assert_int_equal(interests(s, &mailbox, rows, 2), 1);
        assert_string_equal(rows[0].pattern, "reports/*.csv");
        expect_charged(s, &mailbox);
        /* and it goes on being one */
        put_big(s, "reports/new.csv", 7, false);
        fan_out(s);
        struct store_event seen[2];
        bool more;
        assert_int_equal(events(s, &mailbox, 0, seen, 2, &more), 1);
        subject_free(s);
    }
}

static int tidy(void **state)
{
    struct subject *s = *state;
    char target[64];
    target_of(s, target);
    subject_remove_folder(target);
    return subject_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(backup_is_a_store, subject_setup, tidy),
        cmocka_unit_test_setup_teardown(numbers_go_on_whichever_store_is_put_back, subject_setup, tidy),
        cmocka_unit_test_setup_teardown(copies_share_nothing, subject_setup, tidy),
        cmocka_unit_test_setup_teardown(refused_leaves_nothing, subject_setup, tidy),
        cmocka_unit_test(backup_under_change),
        cmocka_unit_test_setup_teardown(repair_keeps_what_is_sound, subject_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(repair_of_what_is_missing, subject_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(forms_of_other_releases, subject_setup, tidy),
        cmocka_unit_test_setup_teardown(steps_lead_to_the_newest, subject_setup, subject_teardown),
        cmocka_unit_test(stores_of_each_release_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
