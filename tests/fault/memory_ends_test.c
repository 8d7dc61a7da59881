/*
 * Out of memory at every allocation of a request from socket to socket: in the
 * server, whose library user notices nothing of one failure; and in the library,
 * which says so and goes on. Both ends are in this program.
 */
#include "fault/inspect.h"
#include "fault/memory/memory.h"
#include "fault/world.h"

#include "place.h"
#include "server/delivery/delivery.h"
#include "server/procedures/service.h"
#include "server/upkeep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

enum {
    SMALL = 1000,
    LARGE = 2500000,
    ALLOCATIONS_MAX = 4000,
    RETRY_SECONDS = 20,
    HANG_MS = 20000,
    WAIT_SECONDS = 20
};

/* The parts of a server, on threads of this program. */
struct near {
    struct service service; /* first: the context of calls */
    struct store *store;
    struct rpc_server *server;
    struct delivery *delivery;
    struct upkeep *upkeep;
};

static struct {
    struct world world;
    struct near near;
    struct fileshare *session, *other; /* what is tried; what is never tried */
    struct fileshare_entry kept;
    unsigned serial, content, rounds, faults, refusals, nth;
    atomic_uint failed;
    bool spares_library; /* it is the server's memory that is tried */
    const char *mode, *what;
    char name[32];
} stage;

/* ---- the server ---- */

#define must(call)                               \
    do {                                         \
        struct failure why = {0};                \
        if ((call) != OUTCOME_OK)                \
            fail_msg("%s: %s", #call, why.text); \
    } while (0)

static void connection_closed(void *context, uint64_t connection)
{
    delivery_connection_closed(((struct near *)context)->delivery, connection);
}

static void start_server(void)
{
    struct near *near = &stage.near;
    char folder[128];
    struct address any, bound;
    const struct store_limits limits = store_limits_default();
    const struct store_local_options store = {.folder = folder, .limits = limits, .clock = clock_system()};
    snprintf(folder, sizeof folder, "%s/store", stage.world.server.folder);
    must(store_local_open(&store, &near->store, &why));
    must(service_init(&near->service, near->store, &limits, clock_system(), &why));
    const struct rpc_server_options server = {
        .program = service_program(),
        .limits = rpc_limits_default(),
        .clock = clock_system(),
        .name = "near",
        .closed = connection_closed,
        .context = near,
    };
    must(rpc_server_new(&server, &near->server, &why));
    must(address_ip("127.0.0.1", 0, &any, &why));
    must(rpc_server_listen(near->server, &any, &bound, &why));
    const struct delivery_options delivery = {
        .store = near->store,
        .server = near->server,
        .clock = clock_system(),
        .limits = sender_limits_default(),
        .retry_first_ms = 100,
        .retry_last_ms = 200,
    };
    must(delivery_new(&delivery, &near->delivery, &why));
    near->service.server = near->server;
    near->service.delivery = near->delivery;
    must(delivery_start(near->delivery, &why));
    must(rpc_server_start(near->server, &why));
    must(upkeep_new(&near->service, NULL, &near->upkeep, &why));
    must(upkeep_start(near->upkeep, &why));
    snprintf(stage.world.server.tcp, sizeof stage.world.server.tcp, "127.0.0.1:%u", address_port(&bound));
}

static void stop_server(void)
{
    struct near *near = &stage.near;
    upkeep_stop(near->upkeep);
    upkeep_free(near->upkeep);
    assert_int_equal(rpc_server_stop(near->server, 10000), 0);
    delivery_stop(near->delivery);
    delivery_free(near->delivery);
    rpc_server_free(near->server);
    service_fini(&near->service);
    near->store->acts->close(near->store);
}

/* `count_server`: its threads' allocations are those that fail, else the library's are. */
static void begin_world(bool count_server)
{
    struct fileshare_error error = {0};
    stage.world = (struct world){.seed = 1};
    daemon_prepare(&stage.world.server, place_in_memory());
    memory_spare(!count_server);
    start_server();
    memory_spare(true);
    stage.other = world_session(&stage.world, "other", RETRY_SECONDS);
    assert_int_equal(world_put(&stage.world, stage.other, "kept", LARGE, 1, false, &stage.kept, &error),
                     FILESHARE_OK);
    stage.content = 1;
    stage.spares_library = count_server;
}

static void end_world(void)
{
    fileshare_close(stage.session);
    stage.session = NULL;
    fileshare_close(stage.other);
    stop_server();
    inspect_deep(&stage.world);
    inspect_swept(&stage.world);
    daemon_end(&stage.world.server);
    memory_spare(false);
    assert_int_equal(stage.world.wrong, 0);
    if (memory_is_lost())
        fail_msg("memory is lost");
    print_message("%s: %u rounds, %u allocations failed, %u acts were refused for it\n", stage.mode,
                  stage.rounds, stage.faults, stage.refusals);
    stage.rounds = stage.faults = stage.refusals = 0;
}

/* ---- the acts ---- */

/* A call of the library: what the test does beside it is spared. */
#define LIBRARY(call)                         \
    ({                                        \
        memory_spare(stage.spares_library);   \
        enum fileshare_status status_ = call; \
        memory_spare(true);                   \
        status_;                              \
    })

static void recover(void)
{
    stage.failed += memory_recover();
}

typedef enum fileshare_status act_run(struct fileshare_error *error);

static enum fileshare_status put(size_t size, struct fileshare_error *error)
{
    struct fileshare_entry entry;
    struct digest_value digest;
    uint8_t *bytes = pattern_bytes(size, ++stage.content);
    int fd = file_of(bytes, size);
    struct fileshare_put what = {.name = stage.name, .fd = fd, .mtime = 1, .replace = true};
    bool unchanged;
    enum fileshare_status status = LIBRARY(fileshare_put(stage.session, &what, &entry, &unchanged, error));
    digest = digest_of(bytes, size);
    if (status == FILESHARE_OK && memcmp(entry.digest, &digest, sizeof digest) != 0)
        world_wrong(&stage.world, "%s was put as something else", stage.name);
    close(fd);
    free(bytes);
    return status;
}

static enum fileshare_status put_small(struct fileshare_error *error)
{
    return put(SMALL, error);
}

static enum fileshare_status put_large(struct fileshare_error *error)
{
    return put(LARGE, error);
}

static enum fileshare_status get(struct fileshare_error *error)
{
    int fd = file_of("", 0);
    struct fileshare_get what = {.name = "kept", .fd = fd};
    struct fileshare_entry got;
    enum fileshare_status status = LIBRARY(fileshare_get(stage.session, &what, &got, error));
    if (status == FILESHARE_OK) {
        uint8_t *bytes = pattern_bytes(LARGE, 1);
        expect_file(fd, bytes, LARGE);
        free(bytes);
    }
    close(fd);
    return status;
}

static enum fileshare_status look(struct fileshare_error *error)
{
    struct fileshare_entry entry;
    return LIBRARY(fileshare_stat(stage.session, "kept", &entry, error));
}

static bool count_one(void *context, const struct fileshare_entry *entry)
{
    (void)entry;
    ++*(unsigned *)context;
    return true;
}

static enum fileshare_status list(struct fileshare_error *error)
{
    unsigned count = 0;
    enum fileshare_status status = LIBRARY(fileshare_list(stage.session, "k*", count_one, &count, error));
    if (status == FILESHARE_OK)
        assert_int_equal(count, 1);
    return status;
}

/* A refused one may be done nevertheless: then the name is taken, or gone. */
static enum fileshare_status rename_and_remove(struct fileshare_error *error)
{
    char target[40];
    struct fileshare_entry entry;
    snprintf(target, sizeof target, "%s.new", stage.name);
    enum fileshare_status status = put(SMALL, error);
    if (status == FILESHARE_OK)
        status = LIBRARY(fileshare_rename(stage.session, stage.name, target, true, &entry, error));
    if (status == FILESHARE_OK)
        status = LIBRARY(fileshare_remove(stage.session, target, NULL, error));
    return status;
}

static void pass_over(void *context, const struct fileshare_interest *interest)
{
    (void)context;
    (void)interest;
}

static enum fileshare_status interests(struct fileshare_error *error)
{
    struct fileshare_register what = {.pattern = stage.name, .seconds = 3600};
    struct fileshare_registered registered;
    uint32_t left;
    const char *route;
    enum fileshare_status status = LIBRARY(
        fileshare_interest(stage.session, &what, NULL, NULL, &registered, error));
    if (status == FILESHARE_OK)
        status = LIBRARY(fileshare_renew(stage.session, &registered.id, 7200, &left, error));
    if (status == FILESHARE_OK)
        status = LIBRARY(fileshare_interests(stage.session, pass_over, NULL, &route, error));
    if (status == FILESHARE_OK)
        status = LIBRARY(fileshare_cancel(stage.session, &registered.id, NULL, NULL, NULL, error));
    return status;
}

static enum fileshare_status open_another(struct fileshare_error *error)
{
    struct fileshare *session = NULL;
    struct fileshare_options options = {.server = stage.world.server.tcp,
                                        .without_rpcbind = true,
                                        .state_folder = stage.world.server.folder};
    enum fileshare_status status = LIBRARY(fileshare_open(&options, &session, error));
    fileshare_close(session);
    return status;
}

static void *bring(void *unused)
{
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    (void)unused;
    /* Time to register, with and without memory; then there is some, for both ends. */
    nanosleep(&(struct timespec){.tv_nsec = 80 * 1000000}, NULL);
    recover();
    if (world_put(&stage.world, stage.other, stage.name, SMALL, ++stage.content, true, &entry, &error) !=
        FILESHARE_OK)
        world_wrong(&stage.world, "put of %s: %s", stage.name, error.text);
    return NULL;
}

static bool hear(void *context, const struct fileshare_event *event)
{
    if (strcmp(event->entry.name, stage.name) == 0)
        ++*(unsigned *)context;
    return true;
}

static enum fileshare_status wait_for(struct fileshare_error *error)
{
    pthread_t bringer;
    unsigned heard = 0;
    const char *pattern = stage.name;
    bool glob = false;
    struct fileshare_wait wait = {
        .patterns = &pattern,
        .globs = &glob,
        .count = 1,
        .seconds = (uint32_t)(WAIT_SECONDS * slowness()),
        .arrived = hear,
        .context = &heard,
    };
    size_t met = 0;
    assert_int_equal(pthread_create(&bringer, NULL, bring, NULL), 0);
    enum fileshare_status status = LIBRARY(fileshare_wait(stage.session, &wait, &met, error));
    pthread_join(bringer, NULL);
    if (status == FILESHARE_OK && (met != 1 || heard != 1))
        world_wrong(&stage.world, "%s %u: the arrival was told %u times", stage.mode, stage.nth, heard);
    return status;
}

struct act {
    const char *name;
    act_run *run;
    unsigned stride;    /* N grows by N / stride, and by 1 at least */
    bool is_tried_once; /* whatever retry_seconds says */
};

static const struct act acts[] = {
    {.name = "put, small", .run = put_small, .stride = 16},
    {.name = "put, large", .run = put_large, .stride = 6},
    {.name = "get", .run = get, .stride = 16},
    {.name = "stat", .run = look, .stride = 16},
    {.name = "list", .run = list, .stride = 16},
    {.name = "rename, remove", .run = rename_and_remove, .stride = 8},
    {.name = "interests", .run = interests, .stride = 8},
    {.name = "open", .run = open_another, .stride = 16, .is_tried_once = true},
    {.name = "wait", .run = wait_for, .stride = 4},
};

/* ---- the rounds ---- */

static void wrong(const struct fileshare_error *error)
{
    fail_msg("%s, %s, allocation %u: %d: %s", stage.mode, stage.what, stage.nth, error->status, error->text);
}

static void open_session(unsigned retry_seconds)
{
    stage.session = world_session(&stage.world, "tried", retry_seconds);
    assert_non_null(stage.session);
}

/* False once nothing failed. `must_succeed`: what fails is made good before anybody sees it. */
static bool run_round(const struct act *act, bool lasting, bool must_succeed)
{
    struct fileshare_error error = {0};
    int64_t before = milliseconds();
    snprintf(stage.name, sizeof stage.name, "name-%u", ++stage.serial);
    stage.failed = 0;
    memory_fail(stage.nth, lasting);
    enum fileshare_status status = act->run(&error);
    recover();
    unsigned failed = stage.failed;
    stage.rounds++;
    stage.faults += failed;
    stage.refusals += status != FILESHARE_OK;
    if (status != FILESHARE_OK &&
        (failed == 0 || (must_succeed && !act->is_tried_once) || error.text[0] == '\0'))
        wrong(&error);
    if (milliseconds() - before > (int64_t)HANG_MS * slowness()) {
        snprintf(error.text, sizeof error.text, "it took %lld ms", (long long)(milliseconds() - before));
        wrong(&error);
    }
    /* The same session, the same act, no new name. */
    status = act->run(&error);
    if (status != FILESHARE_OK)
        wrong(&error);
    world_get(&stage.world, stage.other, &stage.kept);
    status = fileshare_remove(stage.other, stage.name, NULL, &error);
    if (status != FILESHARE_OK && status != FILESHARE_ABSENT)
        wrong(&error);
    if (stage.world.wrong > 0)
        wrong(&error);
    return failed > 0;
}

static void break_act(const struct act *act, bool lasting, bool must_succeed)
{
    bool met = true;
    unsigned least = getenv("FILESHARE_FAULT_SECONDS") ? ALLOCATIONS_MAX : act->stride;
    stage.what = act->name;
    for (stage.nth = 1; met && stage.nth < ALLOCATIONS_MAX; stage.nth += 1 + stage.nth / least)
        met = run_round(act, lasting, must_succeed);
    assert_false(met);
}

static void break_all(const char *mode, unsigned retry_seconds, bool lasting, bool must_succeed)
{
    stage.mode = mode;
    begin_world(strstr(mode, "server") != NULL);
    open_session(retry_seconds);
    for (unsigned i = 0; i < sizeof acts / sizeof acts[0]; i++)
        break_act(&acts[i], lasting, must_succeed);
    end_world();
}

static void test_server(void **state)
{
    (void)state;
    break_all("server", RETRY_SECONDS, false, true);
}

static void test_server_lasting(void **state)
{
    (void)state;
    break_all("server, lasting", 0, true, false);
}

static void test_library(void **state)
{
    (void)state;
    break_all("library", 0, false, false);
}

static void test_library_lasting(void **state)
{
    (void)state;
    break_all("library, lasting", 0, true, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server),
        cmocka_unit_test(test_server_lasting),
        cmocka_unit_test(test_library),
        cmocka_unit_test(test_library_lasting),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("memory: both ends", tests, NULL, NULL);
}
