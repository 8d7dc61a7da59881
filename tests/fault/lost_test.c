/*
 * Each procedure that writes loses its call, and its reply: the library repeats,
 * and it counts once: the answer of the first, and one event for each arrival.
 * Those that read lose theirs, too, and are answered.
 */
#include "fault/dropper.h"
#include "fault/hearing.h"
#include "fault/world.h"

#include "proto/fileshare.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/must.h"

enum { SMALL = 1000, LARGE = 3 << 20, TOLD_WITHIN_MS = 20000, INTEREST_SECONDS = 3600 };

/* What it is done with: all through the dropper, but the witness. */
struct stage {
    struct world world;
    struct dropper *dropper;
    struct fileshare *session, *witness;
    struct hearing hearing; /* the witness's */
    unsigned serial, drops;
};

static struct stage stage;

static void must_hear(const struct fileshare_entry *entry)
{
    until_within(TOLD_WITHIN_MS, hearing_has(&stage.hearing, entry));
}

static int begin(void **state)
{
    (void)state;
    world_begin(&stage.world);
    stage.dropper = dropper_new(stage.world.server.port);
    stage.session = world_client(&stage.world, dropper_address(stage.dropper), "through", 0);
    stage.witness = world_client(&stage.world, stage.world.server.tcp, "witness", 0);
    hearing_begin(&stage.hearing, &stage.world, stage.witness);
    hearing_wants(stage.witness, "**");
    return 0;
}

static int end(void **state)
{
    (void)state;
    fileshare_close(stage.session);
    fileshare_close(stage.witness);
    dropper_free(stage.dropper);
    hearing_fini(&stage.hearing);
    print_message("%u messages lost\n", stage.drops);
    world_end(&stage.world);
    return 0;
}

static struct fileshare_entry put(struct fileshare *session, const char *name, size_t size, bool replace)
{
    struct fileshare_entry entry = {0};
    struct fileshare_error error = {0};
    must(world_put(&stage.world, session, name, size, ++stage.serial, replace, &entry, &error), error);
    return entry;
}

/* The plan came about, and the name is this version, told once. */
static void expect(const struct fileshare_entry *entry)
{
    struct fileshare_entry now;
    struct fileshare_error error = {0};
    must(fileshare_stat(stage.witness, entry->name, &now, &error), error);
    assert_memory_equal(&now.version, &entry->version, sizeof now.version);
    world_get(&stage.world, stage.witness, &now);
    must_hear(entry);
}

static void expect_dropped(void)
{
    assert_true(dropper_dropped(stage.dropper));
    assert_int_equal(stage.world.wrong, 0);
    stage.drops++;
}

static const char *fresh_name(void)
{
    static char name[32];
    snprintf(name, sizeof name, "lost/%u", ++stage.serial);
    return name;
}

static void upload_losing(uint32_t procedure, size_t size, unsigned nth)
{
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        dropper_plan(stage.dropper, procedure, lost, nth);
        struct fileshare_entry entry = put(stage.session, fresh_name(), size, false);
        expect_dropped();
        expect(&entry);
        dropper_plan(stage.dropper, procedure, lost, nth);
        struct fileshare_entry other = put(stage.session, entry.name, size, true);
        expect_dropped();
        expect(&other);
    }
}

static void test_upload(void **state)
{
    (void)state;
    upload_losing(FSPROC_UPLOAD, SMALL, 1);
    upload_losing(FSPROC_UPLOAD, 300000, 1);
}

static void test_upload_open(void **state)
{
    (void)state;
    upload_losing(FSPROC_UPLOAD_OPEN, LARGE, 1);
}

static void test_upload_data(void **state)
{
    (void)state;
    upload_losing(FSPROC_UPLOAD_DATA, LARGE, 1);
    upload_losing(FSPROC_UPLOAD_DATA, LARGE, 2);
    upload_losing(FSPROC_UPLOAD_DATA, LARGE, 3);
}

static void test_upload_commit(void **state)
{
    (void)state;
    upload_losing(FSPROC_UPLOAD_COMMIT, LARGE, 1);
}

/* ---- many at once ---- */

enum { MANY = 400, MANY_SIZE = 1500 };

struct many {
    char names[MANY][32], path[160];
    struct fileshare_entry entries[MANY];
    size_t taken, told;
};

static bool many_put(void *context, struct fileshare_put_file *out)
{
    struct many *many = context;
    if (many->taken == MANY)
        return false;
    snprintf(many->names[many->taken], sizeof many->names[0], "%s", fresh_name());
    *out = (struct fileshare_put_file){.path = many->path, .name = many->names[many->taken++]};
    return true;
}

static void many_put_told(void *context, const struct fileshare_put_file *file,
                          const struct fileshare_entry *entry, bool unchanged,
                          const struct fileshare_error *error)
{
    struct many *many = context;
    if (!entry || unchanged)
        fail_msg("%s: %s", file->name, entry ? "unchanged" : error->text);
    many->entries[many->told++] = *entry;
}

static bool many_get(void *context, struct fileshare_get_file *out)
{
    struct many *many = context;
    if (many->taken == MANY)
        return false;
    const char *name = many->names[many->taken++];
    *out = (struct fileshare_get_file){.name = name, .path = name, .size = UINT64_MAX, .replace = true};
    return true;
}

static void many_get_told(void *context, const struct fileshare_get_file *file,
                          const struct fileshare_entry *entry, const struct fileshare_error *error)
{
    struct many *many = context;
    if (!entry)
        fail_msg("%s: %s", file->name, error->text);
    assert_memory_equal(&entry->version, &many->entries[many->told++].version, sizeof entry->version);
}

/* Several bundles are under way when one is lost: each file of each counts once. */
static void many_losing(enum lost lost, unsigned nth)
{
    struct many *many = calloc(1, sizeof *many);
    struct fileshare_error error = {0};
    assert_non_null(many);
    snprintf(many->path, sizeof many->path, "%s/one-of-many", stage.world.server.folder);
    FILE *file = fopen(many->path, "w");
    assert_non_null(file);
    for (int i = 0; i < MANY_SIZE; i++)
        fputc(i, file);
    assert_int_equal(fclose(file), 0);
    dropper_plan(stage.dropper, FSPROC_UPLOAD_MANY, lost, nth);
    const struct fileshare_put_many puts = {.next = many_put, .told = many_put_told, .context = many};
    must(fileshare_put_many(stage.session, &puts, &error), error);
    expect_dropped();
    assert_int_equal(many->told, MANY);
    for (size_t i = 0; i < MANY; i++)
        must_hear(&many->entries[i]);
    for (size_t i = 0; i < MANY; i += 40)
        expect(&many->entries[i]);
    many->taken = many->told = 0;
    dropper_plan(stage.dropper, FSPROC_DOWNLOAD_MANY, lost, nth);
    const struct fileshare_get_many gets = {.folder = stage.world.server.folder,
                                            .next = many_get,
                                            .told = many_get_told,
                                            .context = many};
    must(fileshare_get_many(stage.session, &gets, &error), error);
    expect_dropped();
    assert_int_equal(many->told, MANY);
    free(many);
}

static void test_many(void **state)
{
    (void)state;
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++)
        for (unsigned nth = 1; nth <= 3; nth++)
            many_losing(lost, nth);
}

static void test_remove(void **state)
{
    (void)state;
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        struct fileshare_entry entry = put(stage.witness, fresh_name(), SMALL, false), now;
        struct fileshare_error error = {0};
        dropper_plan(stage.dropper, FSPROC_REMOVE, lost, 1);
        must(fileshare_remove(stage.session, entry.name, NULL, &error), error);
        expect_dropped();
        assert_int_equal(fileshare_stat(stage.witness, entry.name, &now, &error), FILESHARE_ABSENT);
    }
}

static void test_rename(void **state)
{
    (void)state;
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        struct fileshare_entry source = put(stage.witness, fresh_name(), SMALL, false), made, now;
        struct fileshare_error error = {0};
        dropper_plan(stage.dropper, FSPROC_RENAME, lost, 1);
        must(fileshare_rename(stage.session, source.name, fresh_name(), false, &made, &error), error);
        expect_dropped();
        expect(&made);
        assert_memory_equal(made.digest, source.digest, sizeof made.digest);
        assert_int_equal(fileshare_stat(stage.witness, source.name, &now, &error), FILESHARE_ABSENT);
    }
}

/* ---- interests ---- */

struct seen {
    unsigned count;
    struct fileshare_interest last;
};

static void see(void *context, const struct fileshare_interest *interest)
{
    struct seen *seen = context;
    seen->count++;
    seen->last = *interest;
}

static struct fileshare_id interest_in(const char *name)
{
    struct fileshare_register what = {.pattern = name, .seconds = INTEREST_SECONDS};
    struct fileshare_registered registered;
    struct fileshare_error error = {0};
    must(fileshare_interest(stage.session, &what, NULL, NULL, &registered, &error), error);
    assert_true(registered.registered);
    return registered.id;
}

static void test_interest(void **state)
{
    (void)state;
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        struct seen seen = {0};
        struct fileshare_error error = {0};
        const char *name = fresh_name();
        uint32_t left = 0;
        dropper_plan(stage.dropper, FSPROC_REGISTER_INTEREST, lost, 1);
        struct fileshare_id id = interest_in(name);
        expect_dropped();
        must(fileshare_interests(stage.session, see, &seen, NULL, &error), error);
        assert_int_equal(seen.count, 1);
        assert_memory_equal(&seen.last.id, &id, sizeof id);
        dropper_plan(stage.dropper, FSPROC_RENEW_INTEREST, lost, 1);
        must(fileshare_renew(stage.session, &id, 2 * INTEREST_SECONDS, &left, &error), error);
        expect_dropped();
        assert_true(left > INTEREST_SECONDS && left <= 2 * INTEREST_SECONDS);
        dropper_plan(stage.dropper, FSPROC_CANCEL_INTEREST, lost, 1);
        seen = (struct seen){0};
        must(fileshare_cancel(stage.session, &id, NULL, see, &seen, &error), error);
        expect_dropped();
        assert_int_equal(seen.count, 1);
        assert_int_equal(seen.last.state, FILESHARE_CANCELLED);
    }
}

/* ---- the way of events: ATTACH, DETACH ---- */

static bool count_one(void *context, const struct fileshare_event *event)
{
    (void)event;
    atomic_fetch_add((atomic_uint *)context, 1);
    return true;
}

static void test_attach(void **state)
{
    (void)state;
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        atomic_uint heard = 0;
        struct fileshare_error error = {0};
        const char *name = fresh_name();
        interest_in(name);
        dropper_plan(stage.dropper, FSPROC_ATTACH, lost, 1);
        must(fileshare_attach(stage.session, count_one, &heard, &error), error);
        struct fileshare_entry entry = put(stage.witness, name, SMALL, false);
        must_hear(&entry);
        until_within(TOLD_WITHIN_MS, heard > 0);
        expect_dropped();
        dropper_plan(stage.dropper, FSPROC_DETACH, lost, 1);
        fileshare_detach(stage.session);
        expect_dropped();
        assert_int_equal(heard, 1);
    }
}

/* ---- what only reads: asked again, it is answered ---- */

static bool take_entry(void *context, const struct fileshare_entry *entry)
{
    *(unsigned *)context += entry != NULL;
    return true;
}

static void take_counter(void *context, const char *label, uint64_t amount)
{
    (void)label;
    (void)amount;
    ++*(unsigned *)context;
}

static void test_reading(void **state)
{
    (void)state;
    for (enum lost lost = LOST_CALL; lost <= LOST_REPLY; lost++) {
        struct fileshare_entry entry = put(stage.witness, fresh_name(), SMALL, false), now;
        struct fileshare_error error = {0};
        struct seen seen = {0};
        unsigned listed = 0, counters = 0;
        dropper_plan(stage.dropper, FSPROC_STAT, lost, 1);
        must(fileshare_stat(stage.session, entry.name, &now, &error), error);
        expect_dropped();
        assert_memory_equal(&now.version, &entry.version, sizeof now.version);
        dropper_plan(stage.dropper, FSPROC_LIST, lost, 1);
        must(fileshare_list(stage.session, entry.name, take_entry, &listed, &error), error);
        expect_dropped();
        assert_int_equal(listed, 1);
        dropper_plan(stage.dropper, FSPROC_DOWNLOAD, lost, 1);
        world_get(&stage.world, stage.session, &entry);
        expect_dropped();
        dropper_plan(stage.dropper, FSPROC_LIST_INTERESTS, lost, 1);
        must(fileshare_interests(stage.session, see, &seen, NULL, &error), error);
        expect_dropped();
        dropper_plan(stage.dropper, FSPROC_STATUS, lost, 1);
        must(fileshare_counters(stage.session, take_counter, &counters, &error), error);
        expect_dropped();
        assert_true(counters > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upload),      cmocka_unit_test(test_upload_open),
        cmocka_unit_test(test_upload_data), cmocka_unit_test(test_upload_commit),
        cmocka_unit_test(test_many),        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_rename),      cmocka_unit_test(test_interest),
        cmocka_unit_test(test_attach),      cmocka_unit_test(test_reading),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
