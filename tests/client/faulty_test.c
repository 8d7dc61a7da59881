/*
 * A server whose store answers "not done" and "perhaps done" again and again: the
 * library repeats, and everything counts once. The server is in this process, so
 * that its store can be made faulty.
 */
#include "client/crowd.h"
#include "client/daemon.h"
#include "client/proxy.h"
#include "server/procedures/service.h"

#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { LARGE = 5 * (512 << 10) + 99 };

/* `call` fills in a struct failure that is called `why`. */
#define must(call)                               \
    do {                                         \
        struct failure why = {0};                \
        if ((call) != OUTCOME_OK)                \
            fail_msg("%s: %s", #call, why.text); \
    } while (0)

struct stage {
    struct store *store;
    struct rpc_server *server;
    struct delivery *delivery;
    struct service service;
    struct daemon daemon; /* its folder and address alone */
};

static void stage_open(struct stage *stage, const struct store_faulty_plan *plan)
{
    const struct store_limits limits = store_limits_default();
    struct address address, bound;
    *stage = (struct stage){.daemon.state = "state"};
    snprintf(stage->daemon.folder, sizeof stage->daemon.folder, "/tmp/faulty_test.XXXXXX");
    assert_non_null(mkdtemp(stage->daemon.folder));
    const struct store_local_options local = {.folder = stage->daemon.folder,
                                              .limits = limits,
                                              .clock = clock_system()};
    struct store *inner = NULL;
    must(store_local_open(&local, &inner, &why));
    must(store_faulty_new(inner, plan, &stage->store, &why));
    must(service_init(&stage->service, stage->store, &limits, clock_system(), &why));
    const struct rpc_server_options options = {
        .program = service_program(),
        .limits = rpc_limits_default(),
        .clock = clock_system(),
        .name = "faulty",
        .context = &stage->service,
    };
    must(rpc_server_new(&options, &stage->server, &why));
    const struct delivery_options delivery = {
        .store = stage->store,
        .server = stage->server,
        .clock = clock_system(),
        .limits = sender_limits_default(),
        .retry_first_ms = 1000,
        .retry_last_ms = 1000,
    };
    must(delivery_new(&delivery, &stage->delivery, &why));
    stage->service.server = stage->server;
    stage->service.delivery = stage->delivery;
    must(address_ip("127.0.0.1", 0, &address, &why));
    must(rpc_server_listen(stage->server, &address, &bound, &why));
    must(rpc_server_start(stage->server, &why));
    stage->daemon.port = address_port(&bound);
    snprintf(stage->daemon.tcp, sizeof stage->daemon.tcp, "127.0.0.1:%u", stage->daemon.port);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void stage_close(struct stage *stage)
{
    rpc_server_stop(stage->server, 5000);
    delivery_free(stage->delivery);
    rpc_server_free(stage->server);
    service_fini(&stage->service);
    stage->store->acts->close(stage->store);
    nftw(stage->daemon.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- */

static bool count_entry(void *context, const struct fileshare_entry *entry)
{
    (void)entry;
    ++*(size_t *)context;
    return true;
}

/* Each answer is the one that a sound store would have given. */
static void do_everything(struct fileshare *session, const uint8_t *bytes)
{
    struct fileshare_error error = {0};
    struct fileshare_entry entry, moved;
    enum { FILES = 3 };
    size_t count = 0;
    for (size_t i = 0; i < FILES; i++) {
        char name[32], other[32];
        snprintf(name, sizeof name, "in/%zu", i);
        snprintf(other, sizeof other, "out/%zu", i);
        put_ok(session, name, bytes, i % 2 ? LARGE : 1000);
        assert_int_equal(put_bytes(session, name, bytes + 1, 5000, true, NULL, &entry), FILESHARE_OK);
        assert_int_equal(fileshare_rename(session, name, other, false, &moved, &error), FILESHARE_OK);
        assert_int_equal(fileshare_stat(session, name, &entry, &error), FILESHARE_ABSENT);
        assert_int_equal(fileshare_stat(session, other, &entry, &error), FILESHARE_OK);
        assert_memory_equal(&entry.version, &moved.version, sizeof entry.version);
        get_ok(session, other, bytes + 1, 5000);
    }
    assert_int_equal(fileshare_list(session, "out/*", count_entry, &count, &error), FILESHARE_OK);
    assert_int_equal(count, FILES);
    for (size_t i = 0; i < FILES; i++) {
        char other[32];
        snprintf(other, sizeof other, "out/%zu", i);
        assert_int_equal(fileshare_remove(session, other, NULL, &error), FILESHARE_OK);
        assert_int_equal(fileshare_remove(session, other, NULL, &error), FILESHARE_ABSENT);
    }
}

static void do_interests(struct fileshare *session)
{
    struct fileshare_error error = {0};
    for (int i = 0; i < 3; i++) {
        struct fileshare_register what = {.pattern = "soon", .seconds = 60};
        struct fileshare_registered registered = {0};
        uint32_t left = 0;
        assert_int_equal(fileshare_interest(session, &what, NULL, NULL, &registered, &error), FILESHARE_OK);
        assert_true(registered.registered);
        assert_int_equal(fileshare_renew(session, &registered.id, 100, &left, &error), FILESHARE_OK);
        assert_in_range(left, 90, 100);
        assert_int_equal(fileshare_cancel(session, &registered.id, NULL, NULL, NULL, &error), FILESHARE_OK);
    }
}

static void do_many(struct fileshare *session, const char *folder)
{
    struct fileshare_error error = {0};
    struct crowd *crowd = crowd_new(folder, "many", 60, 1001, 30000, 1);
    for (int replace = 0; replace < 2; replace++) {
        crowd->replace = replace;
        assert_int_equal(crowd_put(crowd, session, &error), FILESHARE_OK);
        crowd_all(crowd, FILESHARE_OK);
        for (size_t n = 0; n < crowd->count; n++)
            assert_int_equal(crowd->unchanged[n], replace);
    }
    assert_int_equal(crowd_get(crowd, session, folder, &error), FILESHARE_OK);
    crowd_all(crowd, FILESHARE_OK);
    crowd_compare(crowd);
    crowd_free(crowd);
}

static void with_plan(unsigned every, bool after)
{
    const struct store_faulty_plan plan = {.every = every, .by_chance = every > 3, .after = after};
    struct stage stage;
    uint8_t *bytes = pattern_bytes(LARGE, every);
    stage_open(&stage, &plan);
    struct fileshare *session = daemon_session(&stage.daemon, stage.daemon.tcp, 60 * (unsigned)slowness());
    do_everything(session, bytes);
    do_interests(session);
    if (every > 3) /* of three acts one fails: of dozens in one call always some */
        do_many(session, stage.daemon.folder);
    fileshare_close(session);
    stage_close(&stage);
    free(bytes);
}

static void not_done(void **state)
{
    (void)state;
    with_plan(3, false);
    with_plan(7, false);
}

static void perhaps_done(void **state)
{
    (void)state;
    with_plan(3, true);
    with_plan(7, true);
}

/* ---- "no room", after an act whose answer was lost ---- */

static const struct store_acts *sound;
static unsigned tries;

static enum outcome put_once(struct store *store, const struct store_caller *caller,
                             const struct store_put *put, struct store_entry *out, struct failure *why)
{
    if (tries++ > 0)
        return failure_set(why, OUTCOME_NOSPACE, "no room any more");
    enum outcome outcome = sound->put(store, caller, put, out, why);
    return outcome == OUTCOME_OK ? failure_set(why, OUTCOME_UNKNOWN, "the answer is lost") : outcome;
}

static enum outcome put_many_once(struct store *store, const struct store_caller *caller,
                                  const struct store_put *all, size_t count, struct store_put_answer *answers,
                                  struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    if (tries++ == 0) {
        outcome = sound->put_many(store, caller, all, count, answers, why);
        return outcome == OUTCOME_OK ? failure_set(why, OUTCOME_UNKNOWN, "the answer is lost") : outcome;
    }
    for (size_t i = 0; i < count; i++)
        answers[i].outcome = failure_set(&answers[i].why, OUTCOME_NOSPACE, "no room any more");
    return outcome;
}

/* What was done is not told to be refused. */
static void no_room_in_doubt(void **state)
{
    (void)state;
    const struct store_faulty_plan plan = {.every = 0};
    struct stage stage;
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    uint8_t *bytes = pattern_bytes(1000, 1);
    stage_open(&stage, &plan);
    sound = stage.store->acts;
    struct store_acts acts = *sound;
    acts.put = put_once;
    acts.put_many = put_many_once;
    stage.store->acts = &acts;
    struct fileshare *session = daemon_session(&stage.daemon, stage.daemon.tcp, 0);
    tries = 0;
    assert_int_equal(put_bytes(session, "one", bytes, 1000, false, NULL, &entry), FILESHARE_UNAVAILABLE);
    assert_int_equal(fileshare_stat(session, "one", &entry, &error), FILESHARE_OK);
    assert_int_equal(put_bytes(session, "two", bytes, 1000, false, NULL, &entry), FILESHARE_NOSPACE);
    tries = 0;
    struct crowd *crowd = crowd_new(stage.daemon.folder, "many", 5, 100, 100, 1);
    assert_int_equal(crowd_put(crowd, session, &error), FILESHARE_OK);
    crowd_all(crowd, FILESHARE_UNAVAILABLE);
    crowd_free(crowd);
    fileshare_close(session);
    stage.store->acts = sound;
    stage_close(&stage);
    free(bytes);
}

/* ---- one of many calls under way is answered "try again" ---- */

static atomic_uint reads;

static enum outcome read_all_but_one(struct store_read *read, uint64_t offset, void *to, size_t count,
                                     struct failure *why)
{
    enum { THE_ONE = 700 };
    if (atomic_fetch_add(&reads, 1) == THE_ONE)
        return failure_set(why, OUTCOME_UNAVAILABLE, "not now");
    return sound->read_at(read, offset, to, count, why);
}

static atomic_uint bundles;

static enum outcome put_many_but_one(struct store *store, const struct store_caller *caller,
                                     const struct store_put *all, size_t count,
                                     struct store_put_answer *answers, struct failure *why)
{
    if (atomic_fetch_add(&bundles, 1) == 2)
        return failure_set(why, OUTCOME_UNAVAILABLE, "not now");
    return sound->put_many(store, caller, all, count, answers, why);
}

/* That call alone is made again: what the others under way bring is not brought twice. */
static void one_call_again(void **state)
{
    (void)state;
    const struct store_faulty_plan plan = {.every = 0};
    struct stage stage;
    struct fileshare_error error = {0};
    stage_open(&stage, &plan);
    sound = stage.store->acts;
    struct store_acts acts = *sound;
    acts.read_at = read_all_but_one;
    acts.put_many = put_many_but_one;
    stage.store->acts = &acts;
    struct fileshare *session = daemon_session(&stage.daemon, stage.daemon.tcp, 60 * (unsigned)slowness());
    struct crowd *crowd = crowd_new(stage.daemon.folder, "again", CROWD_MAX, 4000, 4001, 1);
    atomic_store(&bundles, 0);
    assert_int_equal(crowd_put(crowd, session, &error), FILESHARE_OK);
    crowd_all(crowd, FILESHARE_OK);
    unsigned whole = atomic_load(&bundles);
    assert_in_range(whole, 6, 10);
    atomic_store(&reads, 0);
    assert_int_equal(crowd_get(crowd, session, stage.daemon.folder, &error), FILESHARE_OK);
    crowd_all(crowd, FILESHARE_OK);
    crowd_compare(crowd);
    print_message("%u bundles, %u reads\n", whole, atomic_load(&reads));
    assert_in_range(atomic_load(&reads), CROWD_MAX + 1, CROWD_MAX + 400);
    crowd_free(crowd);
    fileshare_close(session);
    stage.store->acts = sound;
    stage_close(&stage);
}

/* What becomes of the first COMMIT, and what refuses the client when it comes back. */
static struct {
    enum { DONE_AND_SAID_UNKNOWN, DONE_AND_REPLY_LOST, AT_WORK_MEANWHILE, NEVER_BEGUN } first;
    struct proxy *proxy;
} doubt;

static enum outcome publish_once(struct store *store, const struct store_caller *caller,
                                 const struct store_publish *publish, struct store_entry *out,
                                 struct failure *why)
{
    enum outcome outcome = OUTCOME_OK;
    bool again = tries++ > 0;
    if (doubt.first != NEVER_BEGUN && (again || doubt.first != AT_WORK_MEANWHILE))
        outcome = sound->publish(store, caller, publish, out, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    if (doubt.first == DONE_AND_REPLY_LOST)
        proxy_cut_all(doubt.proxy);
    return again || doubt.first == NEVER_BEGUN ? failure_set(why, OUTCOME_NOSPACE, "no room any more")
                                               : failure_set(why, OUTCOME_UNKNOWN, "the answer is lost");
}

static enum outcome begin_once(struct store *store, const struct store_caller *caller,
                               const struct store_upload_begin *begin, struct store_upload_state *out,
                               struct failure *why)
{
    if (tries > 0 && doubt.first < AT_WORK_MEANWHILE)
        return failure_set(why, OUTCOME_NOSPACE, "no room any more");
    return sound->upload_begin(store, caller, begin, out, why);
}

/* The same of what is sent in many calls, whichever of them is refused. */
static void no_room_in_doubt_of_large(void **state)
{
    (void)state;
    static const struct {
        enum fileshare_status told, there;
        const char *name;
    } expected[] = {
        [DONE_AND_SAID_UNKNOWN] = {FILESHARE_UNAVAILABLE, FILESHARE_OK, "said"},
        [DONE_AND_REPLY_LOST] = {FILESHARE_UNAVAILABLE, FILESHARE_OK, "lost"},
        [AT_WORK_MEANWHILE] = {FILESHARE_OK, FILESHARE_OK, "meanwhile"},
        [NEVER_BEGUN] = {FILESHARE_NOSPACE, FILESHARE_ABSENT, "never"},
    };
    const struct store_faulty_plan plan = {.every = 0};
    struct stage stage;
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    uint8_t *bytes = pattern_bytes(LARGE, 2);
    stage_open(&stage, &plan);
    sound = stage.store->acts;
    struct store_acts acts = *sound;
    acts.publish = publish_once;
    acts.upload_begin = begin_once;
    stage.store->acts = &acts;
    doubt.proxy = proxy_new(stage.daemon.port);
    struct fileshare *session = daemon_session(&stage.daemon, proxy_address(doubt.proxy), 0);
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        doubt.first = i;
        tries = 0;
        assert_int_equal(put_bytes(session, expected[i].name, bytes, LARGE, false, NULL, &entry),
                         expected[i].told);
        assert_int_equal(fileshare_stat(session, expected[i].name, &entry, &error), expected[i].there);
        if (doubt.first == NEVER_BEGUN)
            assert_int_equal(tries, 1);
    }
    fileshare_close(session);
    proxy_free(doubt.proxy);
    stage.store->acts = sound;
    stage_close(&stage);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_done),
        cmocka_unit_test(perhaps_done),
        cmocka_unit_test(one_call_again),
        cmocka_unit_test(no_room_in_doubt),
        cmocka_unit_test(no_room_in_doubt_of_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
