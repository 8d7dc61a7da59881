#include "fault/ear.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    TOLD_WITHIN_MS = 60000,
    ENDS_WITHIN_MS = 60000,
    STAY_MS = 1500,
    AWAY_MS = 300,
    LOOK_US = 10000,
    EXIT_ROOM = 8 /* of fileshare-client */
};

static void start(struct ear *ear)
{
    const char *arguments[] = {"-s", ear->server, "-q", "--retry-for=1h", "listen", NULL};
    process_start(&ear->process, ear->folder, arguments, -1);
    ear->starts++;
}

/* One that begins on a full disk cannot say where it is to be called, and says so. */
static bool was_refused(struct ear *ear)
{
    if (ear->stays || !ear->disk_failed || process_code(&ear->process) != EXIT_ROOM)
        return false;
    ear->world->refusals++;
    return true;
}

/* ---- what it printed ---- */

static struct heard *row_of(struct ear *ear, const char *name, uint64_t size, const char *digest)
{
    for (size_t i = 0; i < ear->heard_count; i++) {
        struct heard *at = &ear->heard[i];
        if (at->size == size && strcmp(at->name, name) == 0 && strcmp(at->digest, digest) == 0)
            return at;
    }
    if (ear->heard_count == ear->heard_room) {
        ear->heard_room = ear->heard_room * 2 + 64;
        ear->heard = realloc(ear->heard, ear->heard_room * sizeof *ear->heard);
        if (!ear->heard)
            abort();
    }
    struct heard *row = &ear->heard[ear->heard_count++];
    *row = (struct heard){.size = size};
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->digest, sizeof row->digest, "%s", digest);
    return row;
}

static void take_line(struct ear *ear, const char *line)
{
    unsigned long long number = 0, size = 0;
    char word[16] = "", name[32] = "", digest[33] = "";
    if (sscanf(line, "%llu\t%15[a-z]\t%31[^\t]\t%llu\t%32[0-9a-f]", &number, word, name, &size, digest) !=
            5 ||
        strcmp(word, "arrived") != 0) {
        world_wrong(ear->world, "listen %u prints: %.100s", ear->number, line);
        return;
    }
    ear->told++;
    ear->world->events++;
    if (number == ear->last && ear->may_repeat) {
        ear->may_repeat = false;
        return;
    }
    if (number <= ear->last)
        world_wrong(ear->world, "listen %u shows event %llu after event %llu", ear->number, number,
                    (unsigned long long)ear->last);
    ear->may_repeat = false;
    ear->last = number;
    row_of(ear, name, size, digest)->balance--;
}

/* The file is cut when all of it was read, so that it does not grow without end. */
static void take_output(struct ear *ear, bool may_cut)
{
    char path[160];
    size_t size;
    char *text = process_read(ear->folder, "out", &size);
    for (char *at = text + ear->read, *stop; (stop = strchr(at, '\n')); at = stop + 1) {
        *stop = '\0';
        take_line(ear, at);
        ear->read = (size_t)(stop + 1 - text);
    }
    bool whole = ear->read == size;
    free(text);
    snprintf(path, sizeof path, "%s/out", ear->folder);
    if (may_cut && whole && size > 0 && truncate(path, 0) == 0)
        ear->read = 0;
}

/* ---- the actor that comes and goes ---- */

/* What it printed is read before it counts as killed: only what the next one prints may be a repetition. */
static void end(struct ear *ear)
{
    int signal = dice_throw(&ear->dice, 2) == 0 ? SIGKILL : SIGTERM;
    if (!process_stop(&ear->process, signal, (int64_t)ENDS_WITHIN_MS * slowness()))
        world_wrong(ear->world, "listen %u does not end", ear->number);
    take_output(ear, false);
    /* One that has only just begun has not yet said what SIGTERM is to do. */
    if (signal == SIGKILL || process_code(&ear->process) == 256 + SIGTERM) {
        ear->kills++;
        ear->may_repeat = true;
    } else if (!was_refused(ear) && process_code(&ear->process) != 128 + SIGTERM) {
        world_wrong(ear->world, "listen %u ended with %d", ear->number, process_code(&ear->process));
    }
}

static void *ear_run(void *argument)
{
    struct ear *ear = argument;
    while (world_enter(ear->world)) {
        ear->disk_failed |= ear->world->disk_fails;
        if (ear->process.pid == 0) {
            start(ear);
            usleep(dice_throw(&ear->dice, STAY_MS * 1000));
        } else {
            end(ear);
            usleep(dice_throw(&ear->dice, AWAY_MS * 1000));
        }
        world_leave(ear->world);
        usleep(LOOK_US);
    }
    return NULL;
}

static void register_interest(struct ear *ear, const char *glob)
{
    struct process process = {0};
    const char *arguments[] = {"-s", ear->server, "interest", glob, "--for=1d", "--every", NULL};
    process_start(&process, ear->folder, arguments, -1);
    if (!process_ended(&process, (int64_t)ENDS_WITHIN_MS * slowness()) || process_code(&process) != 0) {
        fprintf(stderr, "listen %u: its interest is not registered: %d\n", ear->number,
                process_code(&process));
        abort();
    }
    char path[160];
    snprintf(path, sizeof path, "%s/out", ear->folder);
    (void)!truncate(path, 0);
}

void ear_begin(struct ear *ear, struct world *world, unsigned number, bool stays, const char *server)
{
    char glob[32];
    *ear = (struct ear){.world = world,
                        .number = number,
                        .stays = stays,
                        .dice = dice_of(world->seed, 300 + number)};
    snprintf(ear->folder, sizeof ear->folder, "%s/ear%u", world->server.folder, number);
    snprintf(ear->server, sizeof ear->server, "%s", server);
    snprintf(glob, sizeof glob, "w%u/**", number);
    if (mkdir(ear->folder, 0700) != 0)
        abort();
    register_interest(ear, glob);
    history_begin(&ear->history, "the client that listens");
    if (stays)
        start(ear);
    else if (pthread_create(&ear->thread, NULL, ear_run, ear) != 0)
        abort();
}

void ear_end(struct ear *ear)
{
    if (!ear->stays)
        pthread_join(ear->thread, NULL);
    if (ear->process.pid != 0 && !process_stop(&ear->process, SIGTERM, (int64_t)ENDS_WITHIN_MS * slowness()))
        world_wrong(ear->world, "listen %u does not end", ear->number);
    free(ear->heard);
}

/* ---- the audit ---- */

static void owe_all(struct ear *ear, struct writer *writer)
{
    for (size_t i = 0; i < writer->made_count; i++) {
        const struct fileshare_entry *entry = &writer->made[i];
        struct fileshare_id id;
        char digest[33];
        memcpy(id.octets, entry->digest, sizeof id.octets);
        row_of(ear, entry->name, entry->size, fileshare_id_text(&id, digest))->balance++;
    }
    writer->made_count = 0;
}

static bool is_told(const struct ear *ear)
{
    for (size_t i = 0; i < ear->heard_count; i++)
        if (ear->heard[i].balance > 0)
            return false;
    return true;
}

void ear_audit(struct ear *ear, struct writer *writer)
{
    owe_all(ear, writer);
    if (ear->process.pid != 0 && process_ended(&ear->process, 0) && !was_refused(ear))
        world_wrong(ear->world, "listen %u ended by itself with %d", ear->number,
                    process_code(&ear->process));
    ear->disk_failed = false;
    if (ear->process.pid == 0)
        start(ear);
    int64_t until = milliseconds() + (int64_t)TOLD_WITHIN_MS * slowness();
    take_output(ear, false);
    while (!is_told(ear) && milliseconds() < until) {
        usleep(LOOK_US);
        take_output(ear, false);
    }
    if (process_ended(&ear->process, 0))
        world_wrong(ear->world, "listen %u ended by itself with %d", ear->number,
                    process_code(&ear->process));
    for (size_t i = 0; i < ear->heard_count; i++)
        if (ear->heard[i].balance != 0)
            world_wrong(ear->world, "listen %u: the arrival of %s (%s) was told %s", ear->number,
                        ear->heard[i].name, ear->heard[i].digest,
                        ear->heard[i].balance > 0 ? "too seldom" : "too often");
    ear->heard_count = 0;
    take_output(ear, true);
}
