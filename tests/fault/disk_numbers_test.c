/*
 * Events' numbers where commits fail, or nobody knows whether they did: who remembers the
 * highest that it had hears of each arrival once, from the store that goes on as well as from
 * one that finds what a kill would have left just then.
 */
#include "fault/shim/shim.h"
#include "service/store_subject.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { MOST = 64, CALLS = 12 /* at the disk, for a small file; some more than it makes */ };

static struct shim shim = {.below = "/store."};

struct listener {
    struct id box;
    uint64_t seen;
    size_t owed;
};

/* What comes above what it has had: all that it is owed, and `more`. It remembers those. */
static void hears(struct subject *s, struct listener *of, size_t more)
{
    struct store_event found[MOST];
    bool left;
    assert_int_equal(events(s, &of->box, of->seen, found, MOST, &left), of->owed + more);
    for (size_t i = 0; i < of->owed + more; i++) {
        assert_true(found[i].number > of->seen);
        of->seen = found[i].number;
    }
    of->owed = 0;
}

static void copy_file(const char *from, const char *to, const char *name)
{
    char path[128];
    static char bytes[1 << 20];
    snprintf(path, sizeof path, "%s/%s", from, name);
    FILE *in = fopen(path, "r");
    snprintf(path, sizeof path, "%s/%s", to, name);
    FILE *out = fopen(path, "w");
    assert_true(in && out);
    for (size_t count; (count = fread(bytes, 1, sizeof bytes, in)) > 0;)
        assert_int_equal(fwrite(bytes, 1, count, out), count);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/* The act is done again, with the same id, and counts once. */
static void again(struct subject *s, const struct store_put *put)
{
    struct store_entry entry;
    assert_ok(put_as(s, &alice, put, &entry));
    fan_out(s);
}

static void after_a_kill(const struct subject *s, const struct store_put *put, const struct listener all[2])
{
    struct subject copy = *s;
    struct listener listeners[] = {all[0], all[1]};
    snprintf(copy.folder, sizeof copy.folder, "%.50s.killed", s->folder);
    assert_int_equal(mkdir(copy.folder, 0700), 0);
    copy_file(s->folder, copy.folder, "fileshare.db");
    copy_file(s->folder, copy.folder, "fileshare.db-wal");
    subject_open(&copy);
    again(&copy, put);
    for (unsigned i = 0; i < 2; i++)
        hears(&copy, &listeners[i], 1);
    copy.acts->close(copy.store);
    subject_remove_folder(copy.folder);
}

/* The Nth call fails; to the first listener nothing is owed, to the second now and then some. */
static unsigned one_round(struct subject *s, struct listener all[2], unsigned nth, bool lasting)
{
    struct store_entry entry;
    const struct store_put put = {.op = id_random(),
                                  .name = "f",
                                  .content = "x",
                                  .size = 1,
                                  .condition.replace = true};
    shim_use(&shim);
    shim.failed = 0;
    shim.lasts = lasting;
    shim.left = (int)nth;
    enum outcome outcome = s->acts->put(s->store, &alice, &put, &entry, &store_why);
    shim.left = shim.lasting = shim.lasts = 0;
    shim_use(NULL);
    after_a_kill(s, &put, all);
    again(s, &put);
    hears(s, &all[0], 1);
    all[1].owed++;
    if (nth % 4 == 0)
        hears(s, &all[1], 0);
    if (nth % 3 == 0)
        hears(s, &all[0], 0); /* and it is acknowledged: the mailbox is empty */
    step(s, nth % 2);
    return outcome != OUTCOME_OK;
}

static void try(struct subject *s, int error, bool reads)
{
    struct listener all[2] = {0};
    unsigned failed = 0;
    for (unsigned i = 0; i < 2; i++) {
        all[i].box = id_random();
        alice_waits(s, &all[i].box, "f", 3600, true);
    }
    shim.error = error;
    shim.reads = reads;
    for (unsigned lasting = 0; lasting < 2; lasting++)
        for (unsigned nth = 1; nth <= CALLS; nth++)
            failed += one_round(s, all, nth, lasting);
    print_message("%u of %u failed\n", failed, 2 * CALLS);
    assert_true(failed > 0);
}

static void full(void **state)
{
    try(*state, ENOSPC, false);
}

static void broken(void **state)
{
    try(*state, EIO, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(full, subject_setup, subject_teardown),
        cmocka_unit_test_setup_teardown(broken, subject_setup, subject_teardown),
    };
    return cmocka_run_group_tests_name("disk: numbers of events", tests, NULL, NULL);
}
