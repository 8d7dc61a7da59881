#include "fault/stock.h"

#include "base/scoped.h"
#include "client/daemon.h"
#include "place.h"
#include "server/store/local/database.h"
#include "server/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { SMALL = 300, LARGE = 20000, OWNER = 1000 };

static const struct store_caller owner = {.principal = "unix:1000"};
static struct failure why;

static void ok(enum outcome outcome)
{
    if (outcome != OUTCOME_OK)
        fail_msg("%s", why.text);
}

/* ---- paths ---- */

const char *stock_path(const struct stock *stock, const char *store, char out[STOCK_PATH])
{
    snprintf(out, STOCK_PATH, "%s/%s", stock->folder, store);
    return out;
}

void stock_blob_path(const struct stock *stock, const char *store, const struct id *blob,
                     char out[STOCK_PATH])
{
    char text[ID_TEXT_SIZE];
    id_text(blob, text);
    snprintf(out, STOCK_PATH, "%s/%s/blobs/%.2s/%s", stock->folder, store, text, text);
}

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    assert_int_equal(system(command), 0);
}

void stock_copy(const struct stock *stock, const char *from, const char *to)
{
    shell("cd '%s' && rm -rf '%s' && cp -a '%s' '%s'", stock->folder, to, from, to);
}

/* ---- what is in it ---- */

static struct store *open_store(const struct stock *stock, const char *name, bool existing)
{
    char path[STOCK_PATH];
    struct store *store = NULL;
    struct store_local_options options = {.folder = stock_path(stock, name, path),
                                          .existing = existing,
                                          .limits = store_limits_default(),
                                          .clock = clock_system()};
    options.limits.reserve_bytes = 0;
    ok(store_local_open(&options, &store, &why));
    return store;
}

static void put(struct store *store, const char *name, const void *bytes, size_t size, bool again)
{
    struct store_entry entry;
    struct store_put put = {.op = id_random(),
                            .name = name,
                            .content = bytes,
                            .size = size,
                            .condition.replace = again};
    ok(store->acts->put(store, &owner, &put, &entry, &why));
}

static void wait_for(struct store *store, struct id mailbox, const char *pattern, bool glob)
{
    struct store_registration registration;
    struct store_interest_add add = {.mailbox = mailbox,
                                     .interest = id_random(),
                                     .pattern = pattern,
                                     .glob = glob,
                                     .seconds = 100000,
                                     .every = true};
    ok(store->acts->interest_add(store, &owner, &add, NULL, 0, &registration, &why));
}

/* Of its files those from `first` on, in one call. */
static void put_together(struct stock *stock, struct store *store, unsigned first, size_t size)
{
    struct store_put puts[STOCK_TOGETHER];
    struct store_put_answer answers[STOCK_TOGETHER];
    uint8_t *bytes[STOCK_TOGETHER];
    for (unsigned i = 0; i < STOCK_TOGETHER; i++) {
        struct stock_file *file = &stock->files[first + i];
        snprintf(file->name, sizeof file->name, "file-%02u", first + i);
        file->size = size + i;
        bytes[i] = pattern_bytes(file->size, first + i);
        file->digest = digest_of(bytes[i], file->size);
        puts[i] = (struct store_put){.op = id_random(),
                                     .name = file->name,
                                     .content = bytes[i],
                                     .size = file->size};
    }
    ok(store->acts->put_many(store, &owner, puts, STOCK_TOGETHER, answers, &why));
    for (unsigned i = 0; i < STOCK_TOGETHER; i++) {
        assert_int_equal(answers[i].outcome, OUTCOME_OK);
        free(bytes[i]);
    }
}

static void fill_store(struct stock *stock, struct store *store)
{
    bool left = true;
    struct id mailbox = id_random(), second = id_random();
    wait_for(store, mailbox, "file-0*", true);
    wait_for(store, second, "**", true);
    wait_for(store, second, "never", false);
    for (unsigned i = 0; i < STOCK_ALONE; i++) {
        struct stock_file *file = &stock->files[i];
        snprintf(file->name, sizeof file->name, "file-%02u", i);
        file->size = i % 2 == 0 || i == 1 ? LARGE + i * 1000 : SMALL + i;
        if (i == 1)
            file->size = stock->files[0].size;
        scoped_free uint8_t *bytes = pattern_bytes(file->size, i == 1 ? 0 : i);
        file->digest = digest_of(bytes, file->size);
        if (i == 2)
            put(store, file->name, "replaced soon", 13, false);
        put(store, file->name, bytes, file->size, i == 2);
    }
    put_together(stock, store, STOCK_ALONE, LARGE);
    put_together(stock, store, STOCK_ALONE + STOCK_TOGETHER, SMALL);
    while (left)
        ok(store->acts->fan_out(store, 100, &left, &why));
}

/* As a rename leaves it for a moment: two names of one content. */
static const char share[] =
    "DELETE FROM entry WHERE name = 'file-01';"
    "UPDATE content SET uses = uses - 1 WHERE id NOT IN (SELECT content FROM entry UNION SELECT content FROM "
    "kept);"
    "DELETE FROM content WHERE uses = 0;"
    "INSERT INTO entry (name, version, owner, size, mtime, arrival, digest, content, made)"
    " SELECT 'file-01', randomblob(16), owner, size, mtime, arrival, digest, content,"
    " (SELECT arrivals FROM store) + 1 FROM entry WHERE name = 'file-00';"
    "UPDATE store SET arrivals = arrivals + 1, files = files + 1,"
    " bytes = bytes + (SELECT size FROM entry WHERE name = 'file-01');"
    "UPDATE content SET uses = uses + 1 WHERE id = (SELECT content FROM entry WHERE name = 'file-00');";

static struct database *open_database(const struct stock *stock, const char *store)
{
    char path[STOCK_PATH + 16];
    struct database *db = NULL;
    snprintf(path, sizeof path, "%s/%s/fileshare.db", stock->folder, store);
    ok(database_open(path, false, &db, &why));
    return db;
}

void stock_sql(const struct stock *stock, const char *store, const char *text)
{
    struct database *db = open_database(stock, store);
    enum outcome outcome = database_execute(db, text, &why);
    database_close(db);
    ok(outcome);
}

static void find_blobs(struct stock *stock)
{
    struct database *db = open_database(stock, "base");
    for (unsigned i = 0; i < STOCK_FILES; i++) {
        scoped_query struct query q = query_on(
            db, "SELECT blob, place, parts IS NOT NULL FROM entry"
                " JOIN (SELECT id, blob, parts FROM content) AS held ON held.id = content WHERE name = ?");
        bind_text(&q, stock->files[i].name);
        ok(query_row(&q, &why));
        stock->files[i].is_inline = column_is_null(&q);
        stock->files[i].blob = column_id(&q);
        stock->files[i].place = (size_t)column_int(&q);
        stock->files[i].is_part = column_int(&q) != 0;
    }
    database_close(db);
}

void stock_begin(struct stock *stock)
{
    *stock = (struct stock){0};
    assert_non_null(place_make(stock->folder, place_in_memory(), "stock"));
    struct store *store = open_store(stock, "base", false);
    fill_store(stock, store);
    store->acts->close(store);
    stock_sql(stock, "base", share);
    /* The blob that file-01 had belongs to nobody now. */
    struct stock_said said;
    stock_run(stock, NULL, &said, "fsck --repair --store base");
    assert_int_equal(said.code, 0);
    stock_run(stock, NULL, &said, "fsck --deep --store base");
    if (said.code != 0)
        fail_msg("%s", said.text);
    find_blobs(stock);
    assert_true(id_equal(&stock->files[0].blob, &stock->files[1].blob) && !stock->files[0].is_inline);
    assert_true(stock->files[3].is_inline && !stock->files[2].is_inline);
    for (unsigned i = 0; i < STOCK_FILES; i++)
        assert_int_equal(stock->files[i].is_part, i >= STOCK_ALONE);
    const struct stock_file *blob = &stock->files[STOCK_ALONE], *row = blob + STOCK_TOGETHER;
    assert_true(!blob[1].is_inline && id_equal(&blob[0].blob, &blob[1].blob) && blob[1].place == LARGE);
    assert_true(row[1].is_inline && row[1].place == SMALL);
}

void stock_end(struct stock *stock)
{
    shell("rm -rf '%s'", stock->folder);
}

/* ---- commands ---- */

void stock_run(const struct stock *stock, const char *crash, struct stock_said *said, const char *format, ...)
{
    char words[256], command[768];
    const char *build = getenv("FILESHARE_BUILD");
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    snprintf(command, sizeof command, "cd '%s' && exec env FILESHARE_CRASH_AT='%s' '%s/fileshared' %s 2>&1",
             stock->folder, crash ? crash : "", build ? build : ".", words);
    FILE *pipe = popen(command, "re");
    assert_non_null(pipe);
    size_t count = fread(said->text, 1, sizeof said->text - 1, pipe);
    said->text[count] = '\0';
    int status = pclose(pipe);
    if (!WIFEXITED(status) && !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL))
        fail_msg("%s ended with status %x: %s", words, (unsigned)status, said->text);
    said->code = WIFEXITED(status) ? WEXITSTATUS(status) : -SIGKILL;
    if (said->code > 2)
        fail_msg("%s: exit status %d: %s", words, said->code, said->text);
}

/* ---- is it still what it was? ---- */

static bool is_whole(struct store *store, const struct stock_file *file)
{
    struct id newest = {0};
    struct store_read *read = NULL;
    struct store_entry entry;
    enum outcome outcome = store->acts->read_open(store, file->name, &newest, &read, &entry, &why);
    if (outcome == OUTCOME_ABSENT)
        return false;
    ok(outcome);
    scoped_free uint8_t *bytes = calloc(1, entry.size + 1);
    assert_non_null(bytes);
    outcome = store->acts->read_at(read, 0, bytes, (size_t)entry.size, &why);
    store->acts->read_close(read);
    ok(outcome);
    struct digest_value digest = digest_of(bytes, (size_t)entry.size);
    if (memcmp(&digest, &file->digest, sizeof digest) != 0)
        fail_msg("%s has other bytes", file->name);
    return true;
}

void stock_expect(const struct stock *stock, const char *name, const bool *bad)
{
    struct store *store = open_store(stock, name, true);
    for (unsigned i = 0; i < STOCK_FILES; i++)
        if (!is_whole(store, &stock->files[i]) && !(bad && bad[i]))
            fail_msg("%s is no more", stock->files[i].name);
    store->acts->close(store);
}
