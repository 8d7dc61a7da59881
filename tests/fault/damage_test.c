/*
 * A store is damaged at random, in one to three ways: fsck says what and where,
 * and what to do; repair makes it sound where it can, never at the cost of a
 * good file, and does nothing when it is run again.
 *
 *     FILESHARE_FAULT_SEED=N     the same damages again
 *     FILESHARE_FAULT_ROUNDS=N   so many stores
 */
#include "fault/stock.h"

#include "client/daemon.h"
#include "fault/world.h"
#include "server/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROUNDS = 40, WAYS_MAX = 3, PAGE = 4096 };

static struct stock stock;
static struct dice dice;

struct damaged {
    bool bad[STOCK_FILES];
    bool lasting;      /* repair cannot help */
    const char *words; /* of fsck */
    unsigned file;
};

/* ---- ways ---- */

/* A file that no way has damaged yet, and with others' content of its own: blobs, or what is in the database. */
static bool pick(struct damaged *damaged, bool in_database)
{
    for (unsigned tries = 0; tries < 100; tries++) {
        unsigned i = 2 + dice_throw(&dice, STOCK_ALONE - 2);
        if (damaged->bad[i] || stock.files[i].is_inline != in_database)
            continue;
        damaged->bad[i] = true;
        damaged->file = i;
        return true;
    }
    return false;
}

/* The same among those that share a blob, or a row. */
static bool pick_part(struct damaged *damaged)
{
    for (unsigned tries = 0; tries < 100; tries++) {
        unsigned i = STOCK_ALONE + dice_throw(&dice, STOCK_FILES - STOCK_ALONE);
        if (damaged->bad[i])
            continue;
        damaged->bad[i] = true;
        damaged->file = i;
        return true;
    }
    return false;
}

static const char *blob(const struct damaged *damaged)
{
    static char path[STOCK_PATH];
    stock_blob_path(&stock, "store", &stock.files[damaged->file].blob, path);
    return path;
}

static void sql(const struct damaged *damaged, const char *format)
{
    char text[512];
    const char *name = stock.files[damaged->file].name, *mark = strchr(format, '#');
    snprintf(text, sizeof text, "%.*s'%s'%s", mark ? (int)(mark - format) : (int)strlen(format), format, name,
             mark ? mark + 1 : "");
    if (!mark)
        snprintf(text, sizeof text, "%s", format);
    stock_sql(&stock, "store", text);
}

static void flip_byte(struct damaged *damaged)
{
    uint8_t byte;
    off_t at = dice_throw(&dice, (uint32_t)stock.files[damaged->file].size);
    int fd = open(blob(damaged), O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= (uint8_t)(1u << dice_throw(&dice, 8));
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static void cut(struct damaged *damaged)
{
    assert_int_equal(truncate(blob(damaged), dice_throw(&dice, (uint32_t)stock.files[damaged->file].size)),
                     0);
}

static void lengthen(struct damaged *damaged)
{
    off_t more = 1 + dice_throw(&dice, 10000);
    assert_int_equal(truncate(blob(damaged), (off_t)stock.files[damaged->file].size + more), 0);
}

static void empty(struct damaged *damaged)
{
    assert_int_equal(truncate(blob(damaged), 0), 0);
}

static void delete_blob(struct damaged *damaged)
{
    assert_int_equal(unlink(blob(damaged)), 0);
}

/* As a folder nobody, root either, can read its bytes. */
static void not_a_file(struct damaged *damaged)
{
    delete_blob(damaged);
    assert_int_equal(mkdir(blob(damaged), 0700), 0);
}

static void orphan(struct damaged *damaged)
{
    (void)damaged;
    char path[STOCK_PATH];
    struct id made = id_random();
    stock_blob_path(&stock, "store", &made, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "whose?", 6), 6);
    close(fd);
}

static void other_bytes(struct damaged *damaged)
{
    sql(damaged, "UPDATE content SET bytes = zeroblob(size)"
                 " WHERE id = (SELECT content FROM entry WHERE name = #)");
}

static void other_size(struct damaged *damaged)
{
    sql(damaged, "UPDATE entry SET size = size + 1 WHERE name = #");
}

static void other_digest(struct damaged *damaged)
{
    sql(damaged, "UPDATE entry SET digest = randomblob(length(digest)) WHERE name = #");
}

static void no_entry(struct damaged *damaged)
{
    sql(damaged, "DELETE FROM entry WHERE name = #");
}

static void no_content(struct damaged *damaged)
{
    sql(damaged, "DELETE FROM content WHERE id = (SELECT content FROM entry WHERE name = #)");
}

/* ---- of those that stand together: the others must come through ---- */

static void byte_of_one(struct damaged *damaged)
{
    const struct stock_file *file = &stock.files[damaged->file];
    uint8_t byte;
    off_t at = (off_t)(file->place + dice_throw(&dice, (uint32_t)file->size));
    if (file->is_inline) {
        sql(damaged, "UPDATE entry SET digest = zeroblob(16) WHERE name = #");
        return;
    }
    int fd = open(blob(damaged), O_RDWR | O_CLOEXEC);
    if (fd < 0 || pread(fd, &byte, 1, at) != 1) { /* another way had the whole blob */
        sql(damaged, "UPDATE entry SET digest = zeroblob(16) WHERE name = #");
    } else {
        byte ^= (uint8_t)(1u << dice_throw(&dice, 8));
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    if (fd >= 0)
        close(fd);
}

static void place_of_one(struct damaged *damaged)
{
    sql(damaged, "UPDATE entry SET place = 10000000 WHERE name = #");
}

/* What stands behind it is gone, too. */
static void cut_within_one(struct damaged *damaged)
{
    unsigned last = STOCK_ALONE + STOCK_TOGETHER - 1, file = STOCK_ALONE + 1;
    damaged->file = file;
    for (unsigned i = file; i <= last; i++)
        damaged->bad[i] = true;
    if (truncate(blob(damaged), (off_t)stock.files[file].place + 1) != 0)
        assert_int_equal(errno, ENOENT);
}

static void delete_all_of_one(struct damaged *damaged)
{
    damaged->file = STOCK_ALONE;
    for (unsigned i = 0; i < STOCK_TOGETHER; i++)
        damaged->bad[STOCK_ALONE + i] = true;
    if (unlink(blob(damaged)) != 0)
        assert_int_equal(errno, ENOENT);
}

static void interest_of_nobody(struct damaged *damaged)
{
    sql(damaged, "UPDATE interest SET mailbox = 4711 WHERE id = (SELECT max(id) FROM interest)");
}

static void event_of_nobody(struct damaged *damaged)
{
    sql(damaged, "UPDATE event SET mailbox = 4711 WHERE (mailbox, number) ="
                 " (SELECT mailbox, number FROM event ORDER BY mailbox, number LIMIT 1 OFFSET 1)");
}

static void event_of_nothing(struct damaged *damaged)
{
    sql(damaged, "UPDATE event SET arrival = 4711 WHERE (mailbox, number) ="
                 " (SELECT mailbox, number FROM event ORDER BY mailbox, number LIMIT 1 OFFSET 2)");
}

static void count_wrong(struct damaged *damaged)
{
    static const char *const texts[] = {
        "UPDATE store SET files = files + 3",
        "UPDATE store SET bytes = 0",
        "UPDATE store SET events = events + 1",
        "UPDATE content SET uses = uses + 1 WHERE id = (SELECT min(id) FROM content)",
        "UPDATE arrival SET uses = 9",
        "UPDATE principal SET answers = -1",
        "UPDATE store SET arrivals = 0",
        "UPDATE store SET numbers = 0",
        "UPDATE mailbox SET interests = 8",
        "UPDATE principal SET interests = 8",
        "UPDATE content SET live = 1 WHERE parts IS NOT NULL",
    };
    sql(damaged, texts[dice_throw(&dice, sizeof texts / sizeof texts[0])]);
}

struct way {
    const char *what;
    void (*act)(struct damaged *damaged);
    enum { NO_FILE, BLOB, INLINE, EITHER, PART } of;
    bool lasting;
    const char *words;
};

static const struct way ways[] = {
    {"a byte", flip_byte, BLOB, false, "its content has another digest"},
    {"cut", cut, BLOB, false, "its content has another size"},
    {"lengthened", lengthen, BLOB, false, "its content has another size"},
    {"emptied", empty, BLOB, false, "its content has another size"},
    {"deleted", delete_blob, BLOB, false, "its content is missing"},
    {"a folder", not_a_file, BLOB, true, "its content cannot be looked at"},
    {"orphan", orphan, NO_FILE, false, "pieces of content without a file"},
    {"bytes in the database", other_bytes, INLINE, false, "its content has another digest (the database)"},
    {"entry's size", other_size, BLOB, false, "its content has another size"},
    {"entry's digest", other_digest, EITHER, false, "its content has another digest"},
    {"no entry", no_entry, EITHER, false, "content that belongs to no file"},
    {"no content", no_content, EITHER, false, "its content is missing (the database)"},
    {"a byte of many", byte_of_one, PART, false, ""},
    {"a place among many", place_of_one, PART, false, ""},
    {"many cut", cut_within_one, NO_FILE, false, ""},
    {"many deleted", delete_all_of_one, NO_FILE, false, ""},
    {"interest of nobody", interest_of_nobody, NO_FILE, false, "interests of a mailbox that is not there"},
    {"event of nobody", event_of_nobody, NO_FILE, false, "events of a mailbox that is not there"},
    {"event of nothing", event_of_nothing, NO_FILE, false, "events of an arrival that is not there"},
    {"counter", count_wrong, NO_FILE, false, "the database: "},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

/* Once in a round; false: there is no file left to damage so. */
static bool damage(struct damaged *damaged, const struct way *way)
{
    if (way->of == PART && !pick_part(damaged))
        return false;
    if (way->of != NO_FILE && way->of != PART &&
        !pick(damaged, way->of == INLINE || (way->of == EITHER && dice_throw(&dice, 2))))
        return false;
    way->act(damaged);
    damaged->lasting |= way->lasting;
    return true;
}

/* ---- a round ---- */

static void complain(const struct stock_said *said, const char *what)
{
    fail_msg("%s: %d: %s", what, said->code, said->text);
}

static void must_say(const struct stock_said *said, const char *words)
{
    if (!strstr(said->text, words))
        complain(said, words);
}

static void repaired(const struct damaged *damaged)
{
    static struct stock_said said, again;
    int code = damaged->lasting ? 1 : 0;
    stock_run(&stock, NULL, &said, "fsck --deep --repair --store store");
    if (said.code != code)
        complain(&said, "repair");
    if (damaged->lasting)
        must_say(&said, "what cannot be looked at is left as it is");
    stock_run(&stock, NULL, &again, "fsck --deep --store store");
    if (again.code != code)
        complain(&again, "after the repair");
    stock_run(&stock, NULL, &again, "fsck --deep --repair --store store");
    if (again.code != code || strstr(again.text, "set aside") ||
        (damaged->lasting && !strstr(again.text, "removed 0 pieces of content, set 0 rows")))
        complain(&again, "the second repair");
}

static void one_round(unsigned round)
{
    static struct stock_said said;
    struct damaged damaged = {0};
    bool used[WAYS] = {false};
    unsigned count = 1 + dice_throw(&dice, WAYS_MAX);
    stock_copy(&stock, "base", "store");
    for (unsigned i = 0; i < count; i++) {
        unsigned which = i == 0 ? round % WAYS : dice_throw(&dice, WAYS);
        used[which] |= !used[which] && damage(&damaged, &ways[which]);
    }
    stock_run(&stock, NULL, &said, "fsck --deep --store store");
    if (said.code != 1)
        complain(&said, "not found");
    must_say(&said, "is not sound");
    must_say(&said, damaged.lasting ? "let this user read it" : "fsck --repair");
    for (unsigned i = 0; i < WAYS; i++)
        if (used[i])
            must_say(&said, ways[i].words);
    repaired(&damaged);
    if (!damaged.lasting)
        stock_expect(&stock, "store", damaged.bad);
}

static void test_damaged_at_random(void **state)
{
    (void)state;
    const char *text = getenv("FILESHARE_FAULT_ROUNDS");
    unsigned rounds = text && atoi(text) > 0 ? (unsigned)atoi(text) : ROUNDS;
    for (unsigned round = 0; round < rounds; round++)
        one_round(round);
    print_message("%u stores damaged\n", rounds);
}

/* ---- pages ---- */

/* What SQLite itself keeps: each page, in turn, becomes noise. */
static bool spoil_page(unsigned page)
{
    char path[STOCK_PATH + 16], folder[STOCK_PATH];
    uint8_t noise[PAGE];
    struct stat status;
    stock_copy(&stock, "base", "store");
    snprintf(path, sizeof path, "%s/fileshare.db", stock_path(&stock, "store", folder));
    assert_int_equal(stat(path, &status), 0);
    if ((off_t)page * PAGE >= status.st_size)
        return false;
    for (unsigned i = 0; i < PAGE; i++)
        noise[i] = (uint8_t)dice_throw(&dice, 256);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, noise, PAGE, (off_t)page * PAGE), PAGE);
    close(fd);
    return true;
}

/* Files of the store, but for its database's, and their sizes. */
static void list_blobs(char *out, size_t size)
{
    char command[256];
    snprintf(command, sizeof command, "cd '%s/store' && find blobs -type f -printf '%%p %%s\\n' | sort",
             stock.folder);
    FILE *list = popen(command, "re");
    assert_non_null(list);
    out[fread(out, 1, size - 1, list)] = '\0';
    assert_int_equal(pclose(list), 0);
}

static void test_pages(void **state)
{
    (void)state;
    static struct stock_said said;
    static char before[8192], after[8192];
    unsigned page = 0, found = 0;
    for (; spoil_page(page); page++) {
        list_blobs(before, sizeof before);
        stock_run(&stock, NULL, &said, "fsck --deep --repair --store store");
        if (said.code == 0) { /* a page that holds nothing */
            stock_expect(&stock, "store", NULL);
            continue;
        }
        found++;
        must_say(&said, "put a backup in the place of");
        list_blobs(after, sizeof after);
        assert_string_equal(before, after); /* content is left for whoever can read more out of it */
    }
    print_message("%u pages, damage found in %u\n", page, found);
    assert_true(page > 10 && found > page / 2);
}

/* ---- names ---- */

/* A bit is flipped where the name stands for the `nth` time; false: it does not. */
static bool spoil_name(const char *name, unsigned nth)
{
    static uint8_t all[1 << 20];
    char path[STOCK_PATH + 16], folder[STOCK_PATH];
    stock_copy(&stock, "base", "store");
    snprintf(path, sizeof path, "%s/fileshare.db", stock_path(&stock, "store", folder));
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ssize_t size = pread(fd, all, sizeof all, 0);
    assert_in_range(size, PAGE, sizeof all - 1);
    const uint8_t *at = all;
    for (unsigned n = 0; at && n <= nth; n++)
        at = memmem(at + 1, (size_t)(all + size - at - 1), name, strlen(name));
    if (at) {
        uint8_t flipped = *at ^ 1;
        assert_int_equal(pwrite(fd, &flipped, 1, at - all), 1);
    }
    close(fd);
    return at != NULL;
}

static bool pass_over(void *context, const struct store_entry *entry)
{
    (void)context;
    (void)entry;
    return true;
}

/* As a server lists it, so many names at a time: to its end, or to the damage. */
static enum outcome list_all(size_t limit)
{
    char folder[STOCK_PATH];
    struct failure why = {0};
    struct store *store = NULL;
    struct store_page page = {.more = true};
    const struct store_local_options options = {.folder = stock_path(&stock, "store", folder),
                                                .existing = true,
                                                .limits = store_limits_default(),
                                                .clock = clock_system()};
    assert_int_equal(store_local_open(&options, &store, &why), OUTCOME_OK);
    enum outcome outcome = OUTCOME_OK;
    for (unsigned pages = 0; outcome == OUTCOME_OK && page.more; pages++) {
        const struct store_list list = {.cursor = page.cursor, .limit = limit, .take = pass_over};
        assert_in_range(pages, 0, STOCK_FILES);
        outcome = store->acts->list(store, &list, &page, &why);
    }
    store->acts->close(store);
    return outcome;
}

/* A name that is out of order leads nobody in a circle; what an index says otherwise is found by --deep. */
static void test_names(void **state)
{
    (void)state;
    static struct stock_said said, deep;
    unsigned nth = 0, found = 0, found_deep = 0, not_listed = 0;
    for (; spoil_name(stock.files[5].name, nth); nth++) {
        stock_run(&stock, NULL, &said, "fsck --store store");
        stock_run(&stock, NULL, &deep, "fsck --deep --store store");
        found_deep += deep.code == 1;
        for (size_t limit = 1; limit <= STOCK_FILES; limit++) {
            enum outcome outcome = list_all(limit);
            assert_true(outcome == OUTCOME_OK || outcome == OUTCOME_CORRUPT);
            not_listed += outcome == OUTCOME_CORRUPT;
        }
        if (said.code == 0)
            continue;
        found++;
        must_say(&said, "names are out of order");
        must_say(&said, "put a backup in the place of");
        must_say(&deep, "put a backup in the place of");
    }
    print_message("a name flipped in %u places, found in %u, with --deep in %u, refused by %u lists\n", nth,
                  found, found_deep, not_listed);
    assert_true(found > 0 && found_deep > found && not_listed > 0);
}

static int set_up(void **state)
{
    (void)state;
    const char *text = getenv("FILESHARE_FAULT_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    print_message("FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)seed);
    dice = dice_of(seed, 0);
    stock_begin(&stock);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stock_end(&stock);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_damaged_at_random), cmocka_unit_test(test_pages),
                                       cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
