#include "fault/torture.h"

#include "fault/inspect.h"
#include "place.h"
#include "proto/fileshare.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    PATIENCE_SECONDS = 120,
    TROUBLE_MS = 350, /* at most, between two troubles */
    PEAK_MS = 250,    /* how often the peak is looked at */
    SETTLE_MS = 40000,
    STILL_MS = 300, /* what was sent before is served by then */
    SOON_MS = 30000,
    SOON_CUT_OFF_MS = 100000, /* a peer that closed while the network was gone is missed by keepalive alone */
    LOOK_US = 100000,
    ALONE_MIN =
        65537, /* files below this size may share content: in the database, or with as much waste again */
    DATABASE_MAX = 192 << 20,
    UNSENT_MAX = 64 << 10,
};

/* Events must outlive a load's end after a cut (SOON_CUT_OFF_MS), and the audit after it. */
static const char *const options[] = {"--kept",       "3",  "--upload-idle",  "10", "--event-age", "300",
                                      "--open-reads", "24", "--stop-seconds", "5",  NULL};

volatile sig_atomic_t stage_interrupted;

static void interrupt(int signal)
{
    (void)signal;
    stage_interrupted = 1;
}

static void catch_interrupts(void)
{
    /* A second one ends us at once; all that we started dies with us. */
    const struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND | SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- life ---- */

static void begin_actors(struct stage *stage)
{
    struct world *world = &stage->world;
    stage->auditor = world_session(world, "auditor", PATIENCE_SECONDS);
    world->way = relay_address(stage->relay);
    for (unsigned i = 0; i < STAGE_LISTENERS; i++)
        listener_begin(&stage->listeners[i], world, i);
    for (unsigned i = 0; i < STAGE_EARS; i++)
        ear_begin(&stage->ears[i], world, STAGE_LISTENERS + i, i == 0,
                  i == 0 ? world->way : world->server.local);
    for (unsigned i = 0; i < STAGE_WRITERS; i++)
        writer_begin(&stage->writers[i], world, i);
    for (unsigned i = 0; i < STAGE_WAITERS; i++)
        waiter_begin(&stage->waiters[i], world, i);
    for (unsigned i = 0; i < STAGE_CALLERS; i++)
        caller_begin(&stage->callers[i], world, i, world->way);
    for (unsigned i = 0; i < STAGE_RUFFIANS; i++)
        ruffian_begin(&stage->ruffians[i], world, i);
}

void stage_begin(struct stage *stage)
{
    struct world *world = &stage->world;
    world_prepare(world, place_in_memory());
    catch_interrupts();
    trouble_begin(&stage->trouble, world); /* its network comes before any thread */
    world->server.options = options;
    trouble_start_server(&stage->trouble);
    stage->relay = relay_new(world->server.port, world->seed);
    stage->trouble.relay = stage->relay;
    stage->began = milliseconds();
    history_begin(&stage->server, "the server");
    begin_actors(stage);
}

static void end_actors(struct stage *stage)
{
    for (unsigned i = 0; i < STAGE_RUFFIANS; i++)
        ruffian_end(&stage->ruffians[i]);
    for (unsigned i = 0; i < STAGE_CALLERS; i++)
        caller_end(&stage->callers[i]);
    for (unsigned i = 0; i < STAGE_WAITERS; i++)
        waiter_end(&stage->waiters[i]);
    for (unsigned i = 0; i < STAGE_EARS; i++)
        ear_end(&stage->ears[i]);
    for (unsigned i = 0; i < STAGE_LISTENERS; i++)
        listener_end(&stage->listeners[i]);
    for (unsigned i = 0; i < STAGE_WRITERS; i++)
        writer_end(&stage->writers[i]);
    fileshare_close(stage->auditor);
}

void stage_end(struct stage *stage)
{
    struct world *world = &stage->world;
    world->stopping = true;
    stage_go_on(stage);
    end_actors(stage);
    relay_free(stage->relay);
    if (world->server.pid != 0)
        trouble_stop_server(&stage->trouble);
    inspect_deep(world);
    inspect_swept(world);
    trouble_end(&stage->trouble);
    if (world->wrong > 0)
        print_error("the store and the logs are left in %s\n", world->server.folder);
    assert_int_equal(world->wrong, 0);
    world_end(world);
}

/* ---- at work, and quiet ---- */

static void look_at_peaks(struct stage *stage)
{
    history_peak(&stage->server, stage->world.server.pid);
    history_peak(&stage->ears[0].history, stage->ears[0].process.pid);
    struct store_size now;
    char folder[128];
    snprintf(folder, sizeof folder, "%s/store", stage->world.server.folder);
    store_measure(folder, &now);
    if (now.content + now.incoming + now.database >
        stage->store_peak.content + stage->store_peak.incoming + stage->store_peak.database)
        stage->store_peak = now;
}

void stage_work(struct stage *stage, int64_t ms, unsigned kinds, unsigned rough)
{
    int64_t until = milliseconds() + ms, look_at = 0;
    stage->periods++;
    relay_rough(stage->relay, rough);
    while (milliseconds() < until && !stage_interrupted && stage->world.wrong == 0) {
        usleep(dice_throw(&stage->trouble.dice, TROUBLE_MS * 1000));
        trouble_make(&stage->trouble, kinds);
        if (milliseconds() >= look_at) {
            look_at_peaks(stage);
            look_at = milliseconds() + PEAK_MS;
        }
    }
}

/* Once the line is good and the disk well, whatever was begun ends soon: no time-out of a minute lies hidden. */
static void note_time(struct stage *stage, const char *what, int64_t ms, int64_t *longest)
{
    if (ms > *longest)
        *longest = ms;
    bool cut_off = stage->trouble.partitions > stage->partitions_before;
    if (ms > (int64_t)(cut_off ? SOON_CUT_OFF_MS : SOON_MS) * slowness())
        world_wrong(&stage->world, "%s takes %lld ms", what, (long long)ms);
}

void stage_quiet(struct stage *stage)
{
    int64_t began = milliseconds();
    relay_rough(stage->relay, 0);
    pthread_rwlock_wrlock(&stage->world.gate);
    note_time(stage, "what was begun", milliseconds() - began, &stage->longest_quiet);
    for (unsigned i = 0; i < STAGE_EARS; i++)
        stage->ears[i].disk_failed |= stage->world.disk_fails;
    trouble_end_all(&stage->trouble);
    stage->is_quiet = true;
    usleep(STILL_MS * 1000 * (unsigned)slowness());
}

void stage_go_on(struct stage *stage)
{
    if (stage->is_quiet)
        pthread_rwlock_unlock(&stage->world.gate);
    stage->is_quiet = false;
}

/* ---- what must be there ---- */

void stage_audit(struct stage *stage)
{
    int64_t began = milliseconds();
    for (unsigned i = 0; i < STAGE_WRITERS; i++)
        writer_audit(&stage->writers[i], stage->auditor);
    for (unsigned i = 0; i < STAGE_CALLERS; i++)
        caller_audit(&stage->callers[i], stage->auditor);
    for (unsigned i = 0; i < STAGE_LISTENERS; i++)
        listener_audit(&stage->listeners[i], &stage->writers[i]);
    for (unsigned i = 0; i < STAGE_EARS; i++)
        ear_audit(&stage->ears[i], &stage->writers[STAGE_LISTENERS + i]);
    note_time(stage, "an audit", milliseconds() - began, &stage->longest_audit);
    stage->partitions_before = stage->trouble.partitions;
    stage->audits++;
}

struct listed {
    uint64_t files, bytes, alone; /* of the bytes: in blobs of their own */
};

static bool add_listed(void *context, const struct fileshare_entry *entry)
{
    struct listed *listed = context;
    listed->files++;
    listed->bytes += entry->size;
    listed->alone += entry->size >= ALONE_MIN ? entry->size : 0;
    return true;
}

struct counters {
    uint64_t uploads, unsent, waiting, leftovers;
};

static void take_counter(void *context, const char *label, uint64_t amount)
{
    struct counters *counters = context;
    if (strcmp(label, "store.uploads") == 0)
        counters->uploads = amount;
    else if (strcmp(label, "bytes.unsent") == 0)
        counters->unsent = amount;
    else if (strcmp(label, "calls.waiting") == 0)
        counters->waiting = amount;
    else if (strcmp(label, "store.leftovers") == 0)
        counters->leftovers = amount;
}

/* Whether nothing is left but what names have; if not, `text` says what is. */
static bool is_settled(struct stage *stage, char text[256])
{
    struct listed listed = {0};
    struct counters counters = {0};
    struct fileshare_error error = {0};
    char folder[128];
    if (fileshare_list(stage->auditor, NULL, add_listed, &listed, &error) != FILESHARE_OK ||
        fileshare_counters(stage->auditor, take_counter, &counters, &error) != FILESHARE_OK) {
        snprintf(text, 256, "%.200s", error.text);
        return false;
    }
    snprintf(folder, sizeof folder, "%s/store", stage->world.server.folder);
    store_measure(folder, &stage->store);
    const uint64_t least = listed.alone, most = listed.bytes + (listed.bytes - listed.alone);
    stage->listed_files = listed.files;
    stage->listed_bytes = listed.bytes;
    bool found = !stage->trouble.net.made ||
                 private_net_tells(&stage->trouble.net, FILESHARE_PROG, stage->world.server.port);
    snprintf(text, 256,
             "%u unfinished uploads in the folder, %llu by the counter, %llu bytes of content where %llu to "
             "%llu may be, %llu bytes unsent, %llu calls waiting, rpcbind %s",
             stage->store.uploads, (unsigned long long)counters.uploads,
             (unsigned long long)stage->store.content, (unsigned long long)least, (unsigned long long)most,
             (unsigned long long)counters.unsent, (unsigned long long)counters.waiting,
             found ? "well" : "does not tell our port");
    /* What this very connection was answered may not be written off yet. */
    return found && stage->store.uploads == 0 && counters.uploads == 0 && counters.unsent < UNSENT_MAX &&
           counters.waiting == 0 && stage->store.content >= least && stage->store.content <= most;
}

void stage_settle(struct stage *stage)
{
    char text[256] = "";
    int64_t until = milliseconds() + (int64_t)SETTLE_MS * slowness();
    while (!is_settled(stage, text)) {
        if (milliseconds() >= until) {
            world_wrong(&stage->world, "it does not settle: %s", text);
            break;
        }
        usleep(LOOK_US);
    }
    if (stage->store.database > DATABASE_MAX)
        world_wrong(&stage->world, "the database has %llu bytes", (unsigned long long)stage->store.database);
}

void stage_measure(struct stage *stage)
{
    struct world *world = &stage->world;
    if (world->server.pid == 0)
        return;
    history_add(&stage->server, world, world->server.pid);
    history_add(&stage->ears[0].history, world, stage->ears[0].process.pid);
    stage->measurements++;
}

/* ---- the next life ---- */

static void check_from_outside(struct stage *stage)
{
    char command[512];
    const char *build = getenv("FILESHARE_BUILD"), *folder = stage->world.server.folder;
    snprintf(command, sizeof command, "'%s/fileshared' fsck --deep --store '%s/store' >'%s/fsck' 2>&1",
             build ? build : ".", folder, folder);
    int status = system(command);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        world_wrong(&stage->world, "fsck --deep ends with status %x: see %s/fsck", (unsigned)status, folder);
    stage->inspections++;
}

/*
 * What failed acts and kills left over goes by itself, soon. A server that is ended before it came to that leaves the
 * rest to the next start.
 */
static void await_sweep(struct stage *stage)
{
    struct counters counters = {0};
    struct fileshare_error error = {0};
    int64_t until = milliseconds() + (int64_t)SOON_MS * slowness();
    while (fileshare_counters(stage->auditor, take_counter, &counters, &error) != FILESHARE_OK ||
           counters.leftovers > 0) {
        if (milliseconds() >= until) {
            world_wrong(&stage->world, "%llu leftovers stay, %.200s", (unsigned long long)counters.leftovers,
                        error.text);
            return;
        }
        usleep(LOOK_US);
    }
}

void stage_renew(struct stage *stage)
{
    await_sweep(stage);
    trouble_stop_server(&stage->trouble);
    check_from_outside(stage);
    inspect_deep(&stage->world);
    trouble_start_server(&stage->trouble);
    history_begin(&stage->server, "the server");
}
