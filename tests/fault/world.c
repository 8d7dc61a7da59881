#include "fault/world.h"

#include "base/digest.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/must.h"

enum { WRONG_SHOWN = 20 };

struct dice dice_of(uint64_t seed, uint64_t who)
{
    return (struct dice){.state = seed * UINT64_C(0x9e3779b97f4a7c15) + who * UINT64_C(0xd1b54a32d192ed03)};
}

uint32_t dice_throw(struct dice *dice, uint32_t below)
{
    uint64_t word = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    word = (word ^ (word >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    word = (word ^ (word >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((word ^ (word >> 31)) % below);
}

unsigned world_seconds(unsigned otherwise)
{
    const char *text = getenv("FILESHARE_FAULT_SECONDS");
    return text && atoi(text) > 0 ? (unsigned)atoi(text) : otherwise;
}

void world_prepare(struct world *world, const char *parent)
{
    const char *text = getenv("FILESHARE_FAULT_SEED");
    *world = (struct world){.seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL)};
    print_message("FILESHARE_FAULT_SEED=%llu\n", (unsigned long long)world->seed);
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&world->gate, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    daemon_prepare(&world->server, parent);
}

void world_begin(struct world *world)
{
    world_prepare(world, place_in_memory());
    daemon_start(&world->server);
}

void world_end(struct world *world)
{
    daemon_end(&world->server);
    pthread_rwlock_destroy(&world->gate);
}

bool world_enter(struct world *world)
{
    pthread_rwlock_rdlock(&world->gate);
    if (!world->stopping)
        return true;
    pthread_rwlock_unlock(&world->gate);
    return false;
}

void world_leave(struct world *world)
{
    pthread_rwlock_unlock(&world->gate);
}

void world_wrong(struct world *world, const char *format, ...)
{
    char line[1024];
    va_list arguments;
    if (atomic_fetch_add(&world->wrong, 1) >= WRONG_SHOWN)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    fprintf(stderr, "WRONG after %lu kills: %s\n", world->kills, line);
}

bool world_refused(struct world *world, enum fileshare_status status)
{
    enum { AGAIN_US = 5000 };
    if (status != FILESHARE_NOSPACE || !world->disk_fails)
        return false;
    world->refusals++;
    usleep(AGAIN_US);
    return true;
}

static enum fileshare_status open_by(const struct world *world, const char *who,
                                     struct fileshare_options *options, struct fileshare **out,
                                     struct fileshare_error *error)
{
    char state[128];
    snprintf(state, sizeof state, "%s/%s", world->server.folder, who);
    options->software = "fault test";
    options->without_rpcbind = true;
    options->state_folder = state;
    return fileshare_open(options, out, error);
}

struct fileshare *world_session_by(struct world *world, const char *address, const char *who,
                                   unsigned retry_seconds)
{
    struct fileshare *session = NULL;
    struct fileshare_error error = {0};
    struct fileshare_options options = {.server = address, .retry_seconds = retry_seconds};
    if (open_by(world, who, &options, &session, &error) != FILESHARE_OK)
        world_wrong(world, "%s gets no session: %s", who, error.text);
    return session;
}

struct fileshare *world_client(struct world *world, const char *address, const char *who,
                               unsigned dead_seconds)
{
    struct fileshare *session = NULL;
    struct fileshare_error error = {0};
    struct fileshare_options options = {.server = address, .retry_seconds = 60, .dead_seconds = dead_seconds};
    must(open_by(world, who, &options, &session, &error), error);
    return session;
}

struct fileshare *world_session(struct world *world, const char *who, unsigned retry_seconds)
{
    return world_session_by(world, world->way ? world->way : world->server.tcp, who, retry_seconds);
}

/* A file of memory alone, at its start. */
static int memory_of(const void *bytes, size_t size)
{
    int fd = memfd_create("fault", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0)
        abort();
    return fd;
}

enum fileshare_status world_put(struct world *world, struct fileshare *session, const char *name, size_t size,
                                unsigned serial, bool replace, struct fileshare_entry *out,
                                struct fileshare_error *error)
{
    uint8_t *bytes = pattern_bytes(size, serial);
    int fd = memory_of(bytes, size);
    struct fileshare_put put = {.name = name, .fd = fd, .mtime = serial, .replace = replace};
    bool unchanged = false;
    enum fileshare_status status = fileshare_put(session, &put, out, &unchanged, error);
    if (status == FILESHARE_OK) {
        struct digest_value digest = digest_of(bytes, size);
        if (unchanged || out->size != size || memcmp(out->digest, &digest, sizeof digest) != 0)
            /* The words are of a refusal before, if there was one. */
            world_wrong(world, "%s was put as something else%s; said before: %s", name,
                        unchanged ? ": unchanged" : "", error->text);
    }
    close(fd);
    free(bytes);
    return status;
}

struct fileshare_entry world_put_next(struct world *world, struct fileshare *session, const char *folder,
                                      unsigned *serial)
{
    enum { SMALL = 1000 };
    char name[32];
    struct fileshare_entry entry = {0};
    struct fileshare_error error = {0};
    snprintf(name, sizeof name, "%s/%05u", folder, ++*serial);
    must(world_put(world, session, name, SMALL, *serial, false, &entry, &error), error);
    return entry;
}

void world_get(struct world *world, struct fileshare *session, const struct fileshare_entry *entry)
{
    int fd = memory_of("", 0);
    struct fileshare_get get = {.name = entry->name, .version = entry->version, .fd = fd};
    struct fileshare_entry got;
    struct fileshare_error error = {0};
    if (fileshare_get(session, &get, &got, &error) != FILESHARE_OK)
        world_wrong(world, "%s is listed but cannot be had: %s", entry->name, error.text);
    else if (memcmp(got.digest, entry->digest, sizeof got.digest) != 0 || got.size != entry->size)
        world_wrong(world, "%s is listed with another digest or size than it has", entry->name);
    close(fd);
}
