/*
 * Out of memory at every allocation of every procedure, from the call's bytes to
 * those of its reply: once, and from there on. The caller is told so, the server
 * serves on, nothing is half done, and the same call again is done once.
 */
#include "fault/memory/memory.h"
#include "service/desk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CALLS_MAX = 3000, INTEREST_SECONDS = 3600, LARGE = 50000, LEAKS_EVERY = 8 };

/* Names and ids of one round: nobody else's, the same when the call is repeated. */
struct scene {
    char name[32], other[32];
    fs_id op, version, mailbox, interest;
    uint64_t event;
};

/* What is seen of it in the store. */
enum sight { NOT_DONE, DONE, HALF_DONE };

struct procedure {
    const char *name;
    uint32_t number;
    void (*prepare)(void);
    enum outcome (*call)(fs_status *status);
    enum sight (*look)(void);
};

static struct {
    struct desk desk;
    struct scene scene;
    unsigned serial, nth;
    bool lasting, armed;
    unsigned rounds, faults, refusals, doubts, silences;
    char bytes[LARGE];
} stage;

static void serving(bool begins)
{
    if (!stage.armed)
        return;
    if (begins)
        memory_fail(stage.nth, stage.lasting);
    else
        stage.faults += memory_recover();
}

static fs_id fresh(unsigned which)
{
    return desk_id(stage.serial * 8 + which + 1);
}

/* ---- the calls ---- */

/* Every result begins with its status. */
#define CALL(PROC, args_type, res_type, ...)                                                                \
    static enum outcome call_##PROC(fs_status *status)                                                      \
    {                                                                                                       \
        const struct scene *scene = &stage.scene;                                                           \
        args_type args = {__VA_ARGS__};                                                                     \
        res_type result = {0};                                                                              \
        (void)scene;                                                                                        \
        enum outcome outcome = desk_try(&stage.desk, DESK_ALICE, FSPROC_##PROC, (xdrproc_t)xdr_##args_type, \
                                        &args, (xdrproc_t)xdr_##res_type, &result);                         \
        memcpy(status, &result, sizeof *status);                                                            \
        xdr_free((xdrproc_t)xdr_##res_type, &result);                                                       \
        return outcome;                                                                                     \
    }

CALL(HELLO, fs_hello_args, fs_hello_res, .software = {4, (char[]){"test"}})
CALL(UPLOAD, fs_upload_args, fs_entry_res, .op = scene->op, .name = desk_name(scene->name),
     .content = desk_data(stage.bytes, LARGE))
CALL(UPLOAD_OPEN, fs_upload_open_args, fs_upload_open_res, .upload = scene->op,
     .name = desk_name(scene->name))
CALL(UPLOAD_DATA, fs_upload_data_args, fs_upload_data_res, .upload = scene->op,
     .content = desk_data(stage.bytes, LARGE))
CALL(UPLOAD_COMMIT, fs_upload_commit_args, fs_entry_res, .upload = scene->op, .size = LARGE)
CALL(UPLOAD_ABORT, fs_upload_abort_args, fs_done_res, .upload = scene->op)
CALL(DOWNLOAD, fs_download_args, fs_download_res, .name = desk_name(scene->name), .count = LARGE)
CALL(LIST, fs_list_args, fs_list_res, .glob = desk_name("*am[e]*"), .limit = 100)
CALL(STAT, fs_stat_args, fs_entry_res, .name = desk_name(scene->name))
CALL(REMOVE, fs_remove_args, fs_done_res, .op = scene->op, .name = desk_name(scene->name))
CALL(RENAME, fs_rename_args, fs_entry_res, .op = scene->op, .source = desk_name(scene->name),
     .target = desk_name(scene->other))
CALL(REGISTER_INTEREST, fs_register_args, fs_register_res, .mailbox = scene->mailbox,
     .interest = scene->interest, .pattern = desk_name(scene->other), .seconds = INTEREST_SECONDS)
#define A_CALLBACK                                                                                       \
    {                                                                                                    \
        .prog = 0x40000001, .netid = {3, (char[]){"tcp"}}, .address = {15, (char[]){"127.0.0.1.200.1"}}, \
        .proof = scene->op, .ticket = scene->version                                                     \
    }

CALL(CANCEL_INTEREST, fs_cancel_args, fs_cancel_res, .op = scene->op, .mailbox = scene->mailbox,
     .interest = scene->interest)
CALL(RENEW_INTEREST, fs_renew_args, fs_renew_res, .op = scene->op, .mailbox = scene->mailbox,
     .interest = scene->interest, .seconds = 2 * INTEREST_SECONDS)
CALL(LIST_INTERESTS, fs_interests_args, fs_interests_res, .mailbox = scene->mailbox)
CALL(ATTACH, fs_attach_args, fs_attach_res, .mailbox = scene->mailbox, .callback = A_CALLBACK)
CALL(DETACH, fs_detach_args, fs_done_res, .mailbox = scene->mailbox, .forget = true)
CALL(EVENTS, fs_events_args, fs_events_res, .mailbox = scene->mailbox, .since = scene->event)

/* Of the type that calls are made with. */
static bool_t no_arguments(XDR *xdrs, ...)
{
    (void)xdrs;
    return TRUE;
}

static enum outcome call_register_with_callback(fs_status *status)
{
    const struct scene *scene = &stage.scene;
    fs_callback callback = A_CALLBACK;
    fs_register_args args = {.mailbox = scene->mailbox,
                             .interest = scene->interest,
                             .match = FS_GLOB,
                             .pattern = desk_name("*her-[0-9]*"),
                             .seconds = INTEREST_SECONDS,
                             .repeat = FS_EVERY,
                             .callback = &callback};
    fs_register_res result = {0};
    enum outcome outcome = desk_try(&stage.desk, DESK_ALICE, FSPROC_REGISTER_INTEREST,
                                    (xdrproc_t)xdr_fs_register_args, &args, (xdrproc_t)xdr_fs_register_res,
                                    &result);
    *status = result.status;
    xdr_free((xdrproc_t)xdr_fs_register_res, &result);
    return outcome;
}

static enum outcome call_nothing(uint32_t number, xdrproc_t decode, void *result)
{
    return desk_try(&stage.desk, DESK_ALICE, number, no_arguments, NULL, decode, result);
}

static enum outcome call_NULL(fs_status *status)
{
    *status = FS_OK;
    return call_nothing(FSPROC_NULL, no_arguments, NULL);
}

static enum outcome call_STATUS(fs_status *status)
{
    fs_status_res result = {0};
    enum outcome outcome = call_nothing(FSPROC_STATUS, (xdrproc_t)xdr_fs_status_res, &result);
    *status = result.status;
    xdr_free((xdrproc_t)xdr_fs_status_res, &result);
    return outcome;
}

/* Each file is an act of its own, with its status: the status of all if they agree, else nobody knows. */
static void agree(fs_status one, fs_status *all)
{
    if (one != *all)
        *all = FS_UNKNOWN;
}

static enum outcome call_UPLOAD_MANY(fs_status *status)
{
    const struct scene *scene = &stage.scene;
    fs_upload_args files[2] = {
        {.op = scene->op, .name = desk_name(scene->name), .content = desk_data(stage.bytes, LARGE)},
        {.op = fresh(6), .name = desk_name(scene->other), .content = desk_data(stage.bytes, 100)},
    };
    fs_upload_many_args args = {.files = {2, files}};
    fs_upload_many_res result = {0};
    enum outcome outcome = desk_try(&stage.desk, DESK_ALICE, FSPROC_UPLOAD_MANY,
                                    (xdrproc_t)xdr_fs_upload_many_args, &args,
                                    (xdrproc_t)xdr_fs_upload_many_res, &result);
    *status = result.status;
    if (outcome == OUTCOME_OK && result.status == FS_OK) {
        const fs_upload_many *many = &result.fs_upload_many_res_u.many;
        assert_int_equal(many->files.files_len, 2);
        *status = many->files.files_val[0].status;
        agree(many->files.files_val[1].status, status);
    }
    xdr_free((xdrproc_t)xdr_fs_upload_many_res, &result);
    return outcome;
}

static enum outcome call_DOWNLOAD_MANY(fs_status *status)
{
    fs_download_one files[2] = {{.name = desk_name(stage.scene.name)},
                                {.name = desk_name(stage.scene.other)}};
    fs_download_many_args args = {.files = {2, files}};
    fs_download_many_res result = {0};
    enum outcome outcome = desk_try(&stage.desk, DESK_ALICE, FSPROC_DOWNLOAD_MANY,
                                    (xdrproc_t)xdr_fs_download_many_args, &args,
                                    (xdrproc_t)xdr_fs_download_many_res, &result);
    *status = result.status;
    if (outcome == OUTCOME_OK && result.status == FS_OK) {
        const fs_download_many *many = &result.fs_download_many_res_u.many;
        assert_int_equal(many->files.files_len, 2);
        *status = many->files.files_val[0].status;
        agree(many->files.files_val[1].status, status);
    }
    xdr_free((xdrproc_t)xdr_fs_download_many_res, &result);
    return outcome;
}

/* ---- before ---- */

static void must(enum outcome (*call)(fs_status *status))
{
    fs_status status;
    assert_int_equal(call(&status), OUTCOME_OK);
    assert_int_equal(status, FS_OK);
}

static void file_is_there(void)
{
    struct scene *scene = &stage.scene;
    fs_id op = scene->op;
    scene->op = scene->version; /* the act that made it has another id */
    must(call_UPLOAD);
    scene->op = op;
}

static void two_are_there(void)
{
    must(call_UPLOAD_MANY);
}

static void upload_is_open(void)
{
    must(call_UPLOAD_OPEN);
}

static void upload_is_full(void)
{
    upload_is_open();
    must(call_UPLOAD_DATA);
}

static void interest_waits(void)
{
    must(call_REGISTER_INTEREST);
}

/* Two: the later one answers a call that must not lose it. */
static void event_waits(void)
{
    interest_waits();
    assert_int_equal(
        desk_put(&stage.desk, DESK_BOB, stage.serial * 8 + 7, stage.scene.other, "here", FS_FAIL), FS_OK);
}

/* ---- after ---- */

static bool is_version(const char *name, const fs_id *version)
{
    struct store *store = stage.desk.store;
    struct store_entry entry;
    struct failure why = {0};
    enum outcome outcome = store->acts->stat(store, name, &entry, &why);
    assert_true(outcome == OUTCOME_OK || outcome == OUTCOME_ABSENT);
    return outcome == OUTCOME_OK && memcmp(entry.version.octets, version->octets, FS_ID_SIZE) == 0;
}

static enum sight see_uploaded(void)
{
    return is_version(stage.scene.name, &stage.scene.op) ? DONE : NOT_DONE;
}

static enum sight see_both(void)
{
    const fs_id second = fresh(6);
    return is_version(stage.scene.name, &stage.scene.op) && is_version(stage.scene.other, &second) ? DONE
                                                                                                   : NOT_DONE;
}

static enum sight see_removed(void)
{
    return is_version(stage.scene.name, &stage.scene.version) ? NOT_DONE : DONE;
}

static enum sight see_renamed(void)
{
    bool source = is_version(stage.scene.name, &stage.scene.version);
    bool target = is_version(stage.scene.other, &stage.scene.op);
    return source == target ? HALF_DONE : target ? DONE : NOT_DONE;
}

static enum sight see_interest(uint32_t longer_than)
{
    struct store *store = stage.desk.store;
    struct store_interest rows[2];
    struct id mailbox, start = {0};
    struct failure why = {0};
    size_t count = 0;
    bool more;
    memcpy(mailbox.octets, stage.scene.mailbox.octets, FS_ID_SIZE);
    enum outcome outcome = store->acts->interest_list(store, &mailbox, &start, rows, 2, &count, &more, &why);
    assert_int_equal(outcome, OUTCOME_OK);
    if (count > 1)
        return HALF_DONE;
    return count == 1 && rows[0].state == STORE_WAITING && rows[0].seconds_left > longer_than ? DONE
                                                                                              : NOT_DONE;
}

static enum sight see_waiting(void)
{
    return see_interest(0);
}

static enum sight see_renewed(void)
{
    return see_interest(INTEREST_SECONDS);
}

static enum sight see_cancelled(void)
{
    return see_interest(0) == DONE ? NOT_DONE : DONE;
}

static const struct procedure procedures[] = {
    {"NULL", FSPROC_NULL, NULL, call_NULL, NULL},
    {"HELLO", FSPROC_HELLO, NULL, call_HELLO, NULL},
    {"UPLOAD", FSPROC_UPLOAD, NULL, call_UPLOAD, see_uploaded},
    {"UPLOAD_OPEN", FSPROC_UPLOAD_OPEN, NULL, call_UPLOAD_OPEN, NULL},
    {"UPLOAD_DATA", FSPROC_UPLOAD_DATA, upload_is_open, call_UPLOAD_DATA, NULL},
    {"UPLOAD_COMMIT", FSPROC_UPLOAD_COMMIT, upload_is_full, call_UPLOAD_COMMIT, see_uploaded},
    {"UPLOAD_ABORT", FSPROC_UPLOAD_ABORT, upload_is_full, call_UPLOAD_ABORT, NULL},
    {"DOWNLOAD", FSPROC_DOWNLOAD, file_is_there, call_DOWNLOAD, NULL},
    {"LIST", FSPROC_LIST, file_is_there, call_LIST, NULL},
    {"STAT", FSPROC_STAT, file_is_there, call_STAT, NULL},
    {"REMOVE", FSPROC_REMOVE, file_is_there, call_REMOVE, see_removed},
    {"RENAME", FSPROC_RENAME, file_is_there, call_RENAME, see_renamed},
    {"REGISTER_INTEREST", FSPROC_REGISTER_INTEREST, NULL, call_REGISTER_INTEREST, see_waiting},
    {"REGISTER_INTEREST, callback", FSPROC_REGISTER_INTEREST, NULL, call_register_with_callback, see_waiting},
    {"CANCEL_INTEREST", FSPROC_CANCEL_INTEREST, interest_waits, call_CANCEL_INTEREST, see_cancelled},
    {"CANCEL_INTEREST, met", FSPROC_CANCEL_INTEREST, event_waits, call_CANCEL_INTEREST, NULL},
    {"RENEW_INTEREST", FSPROC_RENEW_INTEREST, interest_waits, call_RENEW_INTEREST, see_renewed},
    {"LIST_INTERESTS", FSPROC_LIST_INTERESTS, interest_waits, call_LIST_INTERESTS, NULL},
    {"ATTACH", FSPROC_ATTACH, interest_waits, call_ATTACH, NULL},
    {"DETACH", FSPROC_DETACH, interest_waits, call_DETACH, NULL},
    {"EVENTS", FSPROC_EVENTS, event_waits, call_EVENTS, NULL},
    {"UPLOAD_MANY", FSPROC_UPLOAD_MANY, NULL, call_UPLOAD_MANY, see_both},
    {"DOWNLOAD_MANY", FSPROC_DOWNLOAD_MANY, two_are_there, call_DOWNLOAD_MANY, NULL},
    {"STATUS", FSPROC_STATUS, NULL, call_STATUS, NULL},
};

enum { PROCEDURES = sizeof procedures / sizeof procedures[0] };

/* ---- one round ---- */

static void begin_scene(void)
{
    struct scene *scene = &stage.scene;
    stage.serial++;
    *scene = (struct scene){.op = fresh(0), .version = fresh(1), .mailbox = fresh(2), .interest = fresh(3)};
    snprintf(scene->name, sizeof scene->name, "name-%u", stage.serial);
    snprintf(scene->other, sizeof scene->other, "other-%u", stage.serial);
}

static void remove_file(const char *name, unsigned which)
{
    struct scene *scene = &stage.scene;
    fs_remove_args args = {.op = fresh(which), .name = desk_name(name)};
    fs_done_res result = {0};
    (void)scene;
    desk_call(&stage.desk, DESK_ROOT, FSPROC_REMOVE, (xdrproc_t)xdr_fs_remove_args, &args,
              (xdrproc_t)xdr_fs_done_res, &result);
    assert_true(result.status == FS_OK || result.status == FS_ABSENT);
    xdr_free((xdrproc_t)xdr_fs_done_res, &result);
}

static void end_scene(void)
{
    must(call_UPLOAD_ABORT);
    must(call_DETACH);
    remove_file(stage.scene.name, 4);
    remove_file(stage.scene.other, 5);
    must(call_NULL);
}

static void wrong(const struct procedure *procedure, const char *what, int number)
{
    fail_msg("%s, allocation %u%s: %s (%d)", procedure->name, stage.nth, stage.lasting ? " and later" : "",
             what, number);
}

static void judge(const struct procedure *procedure, enum outcome outcome, fs_status status, unsigned failed)
{
    bool answered = outcome == OUTCOME_OK;
    bool refused = answered && status == FS_UNAVAILABLE;
    /* No reply: the connection is cut. SYSTEM_ERR, read as UNKNOWN: there was no room for the right one. */
    if (!answered && outcome != OUTCOME_UNKNOWN && outcome != OUTCOME_UNREACHABLE)
        wrong(procedure, "the reply is of another kind", (int)outcome);
    if (!answered && outcome == OUTCOME_UNREACHABLE && !stage.lasting)
        wrong(procedure, "one failure, and the connection is of no use", 0);
    if (answered && status != FS_OK && status != FS_UNAVAILABLE && status != FS_UNKNOWN)
        wrong(procedure, "another status", (int)status);
    if (failed == 0 && !(answered && status == FS_OK))
        wrong(procedure, "refused though nothing failed", (int)status);
    stage.refusals += refused;
    stage.doubts += !refused && !(answered && status == FS_OK);
    stage.silences += outcome == OUTCOME_UNREACHABLE;
    if (!procedure->look)
        return;
    enum sight sight = procedure->look();
    if (sight == HALF_DONE)
        wrong(procedure, "half done", (int)status);
    if (refused && sight != NOT_DONE)
        wrong(procedure, "refused, but done", (int)status);
    if (answered && status == FS_OK && sight != DONE)
        wrong(procedure, "it is not done", (int)status);
}

/* False once nothing failed. */
static bool run_round(const struct procedure *procedure)
{
    fs_status status = FS_OK;
    unsigned before = stage.faults;
    if (procedure->prepare)
        procedure->prepare();
    stage.armed = true;
    enum outcome outcome = procedure->call(&status);
    stage.armed = false;
    unsigned failed = stage.faults - before;
    stage.rounds++;
    judge(procedure, outcome, status, failed);
    must(call_NULL);
    outcome = procedure->call(&status);
    if (outcome != OUTCOME_OK)
        wrong(procedure, "the repeat gets no answer", (int)outcome);
    if (status != FS_OK)
        wrong(procedure, "the repeat is refused", (int)status);
    if (procedure->look && procedure->look() != DONE)
        wrong(procedure, "repeated, it is not done", (int)status);
    return failed > 0;
}

static void break_procedure(const struct procedure *procedure)
{
    bool met = true;
    for (stage.nth = 1; met && stage.nth < CALLS_MAX; stage.nth++) {
        begin_scene();
        met = run_round(procedure);
        end_scene();
        if (stage.nth % LEAKS_EVERY == 1 && memory_is_lost())
            wrong(procedure, "memory is lost", 0);
    }
    if (met)
        wrong(procedure, "it has no end", 0);
}

/* What is kept from the first time on is there: the engine's large buffers. */
static void do_each_once(void)
{
    fs_status status;
    desk_open(&stage.desk);
    for (unsigned i = 0; i < PROCEDURES; i++) {
        begin_scene();
        if (procedures[i].prepare)
            procedures[i].prepare();
        assert_int_equal(procedures[i].call(&status), OUTCOME_OK);
        end_scene();
    }
    desk_close(&stage.desk);
}

static void break_all(bool lasting)
{
    long before;
    struct store_audit audit;
    struct failure why = {0};
    stage.lasting = lasting;
    do_each_once();
    for (unsigned i = 0; i < PROCEDURES; i++) {
        const struct procedure *procedure = &procedures[i];
        before = memory_blocks();
        desk_open(&stage.desk);
        stage.desk.serving = serving;
        break_procedure(procedure);
        struct store *store = stage.desk.store;
        assert_int_equal(store->acts->audit(store, true, &audit, &why), OUTCOME_OK);
        assert_true(audit.missing_blobs + audit.wrong_sizes + audit.wrong_digests == 0);
        desk_close(&stage.desk);
        if (memory_blocks() > before)
            wrong(procedure, "more blocks are held than before", (int)(memory_blocks() - before));
    }
    print_message("%u calls in all, %u allocations failed, %u refused, %u in doubt, %u without a reply\n",
                  stage.rounds, stage.faults, stage.refusals, stage.doubts, stage.silences);
}

static void test_once(void **state)
{
    (void)state;
    break_all(false);
}

static void test_lasting(void **state)
{
    (void)state;
    break_all(true);
}

static void test_all_are_tried(void **state)
{
    (void)state;
    for (uint32_t number = 0; number < service_program()->count; number++) {
        bool found = false;
        for (unsigned i = 0; i < PROCEDURES; i++)
            found |= procedures[i].number == number;
        if (!found)
            fail_msg("procedure %u is not tried", number);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_are_tried),
        cmocka_unit_test(test_once),
        cmocka_unit_test(test_lasting),
    };
    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0); /* so that each of SQLite's allocations is one of ours */
    memset(stage.bytes, 'x', sizeof stage.bytes);
    return cmocka_run_group_tests_name("memory: the procedures", tests, NULL, NULL);
}
