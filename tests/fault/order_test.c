/*
 * The order of write, sync, commit and reply, from the system calls themselves.
 * A real fileshared runs under strace while real clients do every act that writes;
 * so do "fileshared fsck --repair" and "fileshared backup". What strace wrote down
 * becomes a recording (power/trace.h), and of that is asserted:
 *
 *     when a client is told (the first byte of the reply, or of the notice, is sent),
 *         what was synced by then alone holds what it is told, in a sound store;
 *     when a file gets its name among the blobs, its bytes are synced;
 *     when a commit names a blob, its bytes and its name are synced;
 *     when a blob is removed, the database, as last synced, does not name it.
 *
 * And each kind of sync taken away is found out, and of each act the sync of its own.
 */
#include "fault/order/acts.h"
#include "fault/power/cut.h"

#include "place.h"
#include "server/store/local/database.h"
#include "server/store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- the verdict ---- */

struct judge {
    struct cut cut;
    bool silent;
    unsigned wrong;
    char text[512];                          /* the first thing that was */
    unsigned notices, named, moved, removed; /* what there was to look at */
};

__attribute__((format(printf, 2, 3))) static void wrong(struct judge *judge, const char *format, ...)
{
    va_list arguments;
    if (judge->wrong++ > 0)
        return;
    va_start(arguments, format);
    vsnprintf(judge->text, sizeof judge->text, format, arguments);
    va_end(arguments);
    print_message("%s op %zu: %s\n", judge->silent ? "after" : "WRONG after", judge->cut.length, judge->text);
}

/* What the database that is left says to a question; -1: nothing. */
static int64_t answer(struct judge *judge, const char *question)
{
    char path[128];
    struct failure why = {0};
    struct database *db = NULL;
    int64_t is = -1;
    snprintf(path, sizeof path, "%s/store/fileshare.db", stage.replay);
    if (database_open(path, false, &db, &why) != OUTCOME_OK) {
        wrong(judge, "the database does not open: %s", why.text);
        return is;
    }
    {
        scoped_query struct query q = query_on(db, question);
        if (query_row(&q, &why) == OUTCOME_OK)
            is = column_int(&q);
    }
    database_close(db);
    return is;
}

static void expect_sound(struct judge *judge, const char *leaf)
{
    char folder[128];
    struct failure why = {0};
    struct store *store = NULL;
    snprintf(folder, sizeof folder, "%s/%s", stage.replay, leaf);
    struct store_local_options options = {.folder = folder,
                                          .existing = true,
                                          .limits = store_limits_default(),
                                          .clock = clock_system()};
    if (store_local_open(&options, &store, &why) != OUTCOME_OK) {
        wrong(judge, "%s does not open: %s", leaf, why.text);
        return;
    }
    struct store_audit *audit = calloc(1, sizeof *audit);
    if (store->acts->audit(store, true, audit, &why) != OUTCOME_OK)
        wrong(judge, "the audit of %s: %s", leaf, why.text);
    if (audit->missing_blobs + audit->wrong_sizes + audit->wrong_digests > 0)
        wrong(judge, "%s: the content of %s is not there", leaf, audit->findings[0].name);
    free(audit);
    store->acts->close(store);
}

static void expect_answer(struct judge *judge, const char *question)
{
    int64_t is = answer(judge, question);
    if (is != 1)
        wrong(judge, "told, but not synced: %s (%lld)", question, (long long)is);
}

/* What was set aside lies there with its bytes, and is told of. */
static void expect_lost(struct judge *judge)
{
    char command[256];
    expect_answer(judge, "SELECT NOT count(*) FROM entry WHERE name = 'moved'");
    snprintf(command, sizeof command,
             "exec 2>/dev/null; cd %s/store/lost && grep -q moved list && test \"$(stat -c %%s $(cut -c 1-32 "
             "list))\" = 100000",
             stage.replay);
    if (system(command) != 0)
        wrong(judge, "what was set aside is not there");
}

/* The bytes that an upload has recorded are there. */
static void expect_coming(struct judge *judge)
{
    char command[200];
    snprintf(command, sizeof command, "exec 2>/dev/null; test \"$(cat %s/store/incoming/* | wc -c)\" -ge %d",
             stage.replay, ACTS_PIECE / 4);
    if (system(command) != 0)
        wrong(judge, "the bytes that an upload has recorded are not there");
}

static bool is_settled(const struct cut *cut, unsigned node)
{
    return cut->images[node].pending_count == 0;
}

/* What became of other names in its folder, as of one that was removed, does not matter. */
static bool is_name_settled(const struct cut *cut, unsigned slot)
{
    const struct image *folder = &cut->images[cut->recording->slots[slot].folder];
    for (size_t i = 0; i < folder->pending_count; i++) {
        const struct op *op = &cut->recording->ops[folder->pending[i]];
        if (op->slot == slot || (op->kind == OP_MOVE && op->to == slot))
            return false;
    }
    return true;
}

static bool is_blob(const struct recording *recording, unsigned slot)
{
    char path[256];
    const struct slot *at = &recording->slots[slot];
    return strncmp(recording_path(recording, at->folder, path), "store/blobs/", 12) == 0;
}

/* The name of a blob, as the database keeps it. */
static void octets_of(const char *name, uint8_t octets[16])
{
    for (int i = 0; i < 16; i++) {
        unsigned octet = 0;
        sscanf(name + i * 2, "%2x", &octet);
        octets[i] = (uint8_t)octet;
    }
}

/* The blobs among those that stand now, which the frames of a commit name, are synced, and their names are. */
static void check_commit(struct judge *judge, size_t from, size_t to)
{
    const struct recording *r = judge->cut.recording;
    for (size_t slot = 0; slot < r->slot_count; slot++) {
        uint8_t octets[16];
        unsigned node = judge->cut.stands[slot];
        if (node == ~0U || !is_blob(r, (unsigned)slot))
            continue;
        octets_of(r->slots[slot].name, octets);
        bool named = false;
        for (size_t i = from; i < to && !named; i++)
            named = r->ops[i].kind == OP_WRITE &&
                    memmem(r->bytes + r->ops[i].at, r->ops[i].count, octets, sizeof octets) != NULL;
        judge->named += named;
        if (named && !is_settled(&judge->cut, node))
            wrong(judge, "a commit names the blob %s, whose bytes are not synced", r->slots[slot].name);
        if (named && !is_name_settled(&judge->cut, (unsigned)slot))
            wrong(judge, "a commit names the blob %s, whose name is not synced", r->slots[slot].name);
    }
}

/* Whether a write to the log ends a transaction: a frame's header with the size of the database in it. */
static bool is_commit(const struct recording *r, const struct op *op)
{
    char path[256];
    static const uint8_t none[4];
    return op->kind == OP_WRITE && op->count == 24 &&
           strcmp(recording_path(r, op->node, path), "store/fileshare.db-wal") == 0 &&
           memcmp(r->bytes + op->at + 4, none, sizeof none) != 0;
}

static void check_removal(struct judge *judge, const struct op *op)
{
    char question[128];
    const char *name = judge->cut.recording->slots[op->slot].name;
    judge->removed++;
    cut_make(&judge->cut, CUT_NONE, 0, stage.replay);
    snprintf(question, sizeof question, "SELECT NOT count(*) FROM content WHERE blob = x'%s'", name);
    if (answer(judge, question) != 1)
        wrong(judge, "the blob %s is removed while the database names it", name);
}

/* Up to `length`, op by op. */
static void go_on(struct judge *judge, size_t length, size_t *transaction)
{
    const struct recording *r = judge->cut.recording;
    while (judge->cut.length < length) {
        const struct op *op = &r->ops[judge->cut.length];
        bool comes = op->kind == OP_MOVE ? is_blob(r, op->to) : op->kind == OP_ENTER && is_blob(r, op->slot);
        bool moved = comes && (op->kind == OP_MOVE || r->nodes[op->node].first != op->slot);
        judge->moved += moved;
        if (moved && !is_settled(&judge->cut, op->node))
            wrong(judge, "%s becomes a blob, and its bytes are not synced", r->slots[op->slot].name);
        if (op->kind == OP_LEAVE && is_blob(r, op->slot))
            check_removal(judge, op);
        if (is_commit(r, op)) {
            cut_make(&judge->cut, CUT_ALL, 0, stage.replay); /* what stands now */
            check_commit(judge, *transaction,
                         judge->cut.length + 2 < length ? judge->cut.length + 2 : length);
            *transaction = judge->cut.length + 2;
        }
        cut_advance(&judge->cut, judge->cut.length + 1);
    }
}

/* Everything, with a disk that may lie; how much was wrong. */
static unsigned judge_all(const char *lie)
{
    struct judge judge = {.silent = lie != NULL};
    size_t done = 0, transaction = 0;
    cut_begin(&judge.cut, &stage.trace.recording);
    judge.cut.lie = lie;
    for (size_t i = 0; i < stage.trace.message_count; i++) {
        const struct trace_message *message = &stage.trace.messages[i];
        bool notice = !message->is_reply && message->procedure == NOTIFY;
        bool act = message->is_reply && done < stage.act_count &&
                   message->procedure == stage.acts[done].procedure;
        if (!notice && !act)
            continue;
        go_on(&judge, message->ops, &transaction);
        cut_make(&judge.cut, CUT_NONE, 0, stage.replay);
        if (act)
            stage.acts[done].ops = message->ops;
        if (act)
            expect_answer(&judge, stage.acts[done++].question);
        else
            expect_answer(&judge, "SELECT count(*) > 0 FROM event");
        judge.notices += notice;
        expect_sound(&judge, "store");
        if (judge.silent && judge.wrong > 0)
            break;
    }
    go_on(&judge, stage.served, &transaction);
    cut_make(&judge.cut, CUT_NONE, 0, stage.replay);
    expect_answer(&judge, "SELECT NOT count(*) FROM event");
    expect_answer(&judge, "SELECT synced >= 2097152 FROM upload");
    expect_coming(&judge);
    go_on(&judge, stage.trace.recording.op_count, &transaction);
    cut_make(&judge.cut, CUT_NONE, 0, stage.replay);
    expect_sound(&judge, "store");
    expect_sound(&judge, "backup");
    expect_lost(&judge);
    cut_fini(&judge.cut);
    if (lie)
        return judge.wrong;
    print_message("%zu acts told, %u notices, %u times a commit named a blob, %u moved, %u removed\n", done,
                  judge.notices, judge.named, judge.moved, judge.removed);
    assert_int_equal(done, stage.act_count);
    assert_true(judge.notices > 0 && judge.named > 0 && judge.moved > 0 && judge.removed > 0);
    return judge.wrong;
}

/* ---- the tests ---- */

static void test_order(void **state)
{
    (void)state;
    print_message("%zu calls, %zu messages, %zu acts\n", stage.trace.recording.op_count,
                  stage.trace.message_count, stage.act_count);
    assert_int_equal(judge_all(NULL), 0);
}

static void test_taken_away(void **state)
{
    (void)state;
    static const char *const lies[] = {
        "store/fileshare.db-wal",
        "store/incoming/*",
        "store/incoming",
        "store/blobs/[0-9a-f]?",
        "store/blobs/[0-9a-f]?/*",
        "store/blobs",
        "store",
        "",
        "backup.new-*",
        "backup.new-*/blobs/[0-9a-f]?",
        "store/lost",
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        print_message("without syncs of \"%s\" ", lies[i]);
        if (judge_all(lies[i]) == 0)
            fail_msg("nobody minds");
    }
}

/* Between the act before it and its own answer the disk lies: is what it was told missed? */
static bool is_missed(size_t act, const char *lie)
{
    struct judge judge = {.silent = true};
    cut_begin(&judge.cut, &stage.trace.recording);
    cut_advance(&judge.cut, act > 0 ? stage.acts[act - 1].ops : 0);
    judge.cut.lie = lie;
    cut_advance(&judge.cut, stage.acts[act].ops);
    cut_make(&judge.cut, CUT_NONE, 0, stage.replay);
    expect_answer(&judge, stage.acts[act].question);
    expect_sound(&judge, "store");
    cut_fini(&judge.cut);
    return judge.wrong > 0;
}

static void test_each_act_has_its_sync(void **state)
{
    (void)state;
    static const char *const lies[] = {"store/fileshare.db-wal", "store/blobs/[0-9a-f]?/*",
                                       "store/blobs/[0-9a-f]?"};
    unsigned blobs = 0;
    for (size_t i = 0; i < stage.act_count; i++) {
        const struct act *act = &stage.acts[i];
        for (size_t lie = 0; lie < (act->blob ? 3 : 1); lie++)
            if (!act->reads && !is_missed(i, lies[lie]))
                fail_msg("nobody minds that procedure %u does not sync %s: %s", act->procedure, lies[lie],
                         act->question);
        blobs += act->blob;
    }
    assert_int_equal(blobs, 1);
}

static int begin(void **state)
{
    (void)state;
    static char served[128], checked[128], saved[128], store[128], backup[128];
    static const char *launcher[TRACE_WORDS];
    static const char *const options[] = {"--kept", "1s", NULL};
    const char *parent = place_in_memory();
    daemon_prepare(&stage.server, parent);
    if (!place_make(stage.replay, parent, "order_replay"))
        return -1;
    snprintf(served, sizeof served, "%s/served.trace", stage.server.folder);
    snprintf(checked, sizeof checked, "%s/checked.trace", stage.server.folder);
    snprintf(saved, sizeof saved, "%s/saved.trace", stage.server.folder);
    snprintf(store, sizeof store, "%s/store", stage.server.folder);
    snprintf(backup, sizeof backup, "%s/backup", stage.server.folder);
    trace_strace(served, launcher);
    stage.server.launcher = launcher;
    stage.server.options = options;
    daemon_start(&stage.server);
    stage.session = daemon_session(&stage.server, stage.server.local, 0);
    acts_do();
    fileshare_close(stage.session);
    acts_await_tracer(served);
    trace_begin(&stage.trace, stage.server.folder);
    trace_read(&stage.trace, served);
    stage.served = stage.trace.recording.op_count;
    acts_repair(store, checked);
    acts_run_traced(saved, (const char *const[]){"backup", "--store", store, backup, NULL});
    acts_await_tracer(saved);
    trace_read(&stage.trace, saved);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char command[160];
    trace_fini(&stage.trace);
    snprintf(command, sizeof command, "rm -rf %s", stage.replay);
    int left = system(command);
    daemon_end(&stage.server);
    return left;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_order),
                                       cmocka_unit_test(test_each_act_has_its_sync),
                                       cmocka_unit_test(test_taken_away)};
    return cmocka_run_group_tests(tests, begin, end);
}
