#include "fault/gauge.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Memory: what a base line lets pass, in KiB. The server's caches of the database fill slowly, up to 4 MiB for each
 * of nine connections, and freed memory stays with the allocator; a leak shows in the trend, which for a cache
 * flattens out. Descriptors: connections that come back a little later.
 */
enum {
    MEMORY_SLACK = 40 << 10,
    MEMORY_NOISE = 1 << 10,
    DESCRIPTOR_SLACK = 32,
    DESCRIPTOR_NOISE = 4,
    TREND_FROM = 9, /* readings */
};

static unsigned long field(const char *text, const char *label)
{
    const char *at = strstr(text, label);
    return at ? strtoul(at + strlen(label), NULL, 10) : 0;
}

static void count_descriptor(const char *link, struct gauge *out)
{
    if (strncmp(link, "socket:", 7) == 0)
        out->sockets++;
    else if (strstr(link, "/store/"))
        out->files++;
    else
        out->others++;
}

static bool count_descriptors(pid_t pid, struct gauge *out)
{
    char path[64], link[512];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    if (!folder)
        return false;
    for (struct dirent *at = readdir(folder); at; at = readdir(folder)) {
        ssize_t size = at->d_name[0] == '.' ? -1
                                            : readlinkat(dirfd(folder), at->d_name, link, sizeof link - 1);
        if (size < 0)
            continue;
        link[size] = '\0';
        count_descriptor(link, out);
    }
    closedir(folder);
    return true;
}

bool gauge_read(pid_t pid, struct gauge *out)
{
    char path[64], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = pid > 0 ? fopen(path, "re") : NULL;
    if (!file)
        return false;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    *out = (struct gauge){
        .resident = field(text, "VmRSS:"),
        .anonymous = field(text, "RssAnon:"),
        .threads = (unsigned)field(text, "Threads:"),
    };
    return out->threads > 0 && count_descriptors(pid, out);
}

/* ---- a life ---- */

void history_begin(struct history *history, const char *whose)
{
    history->whose = whose;
    history->before = history->count;
    history->count = 0;
}

static unsigned long larger(unsigned long one, unsigned long other)
{
    return one > other ? one : other;
}

static void raise_peak(struct history *history, const struct gauge *now)
{
    struct gauge *peak = &history->peak;
    peak->resident = larger(peak->resident, now->resident);
    peak->anonymous = larger(peak->anonymous, now->anonymous);
    peak->threads = (unsigned)larger(peak->threads, now->threads);
    peak->sockets = (unsigned)larger(peak->sockets, now->sockets);
    peak->files = (unsigned)larger(peak->files, now->files);
    peak->others = (unsigned)larger(peak->others, now->others);
}

static unsigned long memory_of(const struct gauge *gauge)
{
    return gauge->anonymous;
}

static unsigned long descriptors_of(const struct gauge *gauge)
{
    return gauge_descriptors(gauge);
}

struct range {
    unsigned long lowest, highest;
};

static struct range range_of(const struct history *history, unsigned from, unsigned to,
                             unsigned long (*value)(const struct gauge *))
{
    struct range range = {.lowest = ~0UL};
    for (unsigned i = from; i < to; i++) {
        unsigned long now = value(&history->readings[i]);
        range.highest = larger(range.highest, now);
        range.lowest = now < range.lowest ? now : range.lowest;
    }
    return range;
}

/* Whether each third lies above all of the one before, and the last rises by no less than half as much as the second. */
static bool rises(const struct history *history, unsigned long (*value)(const struct gauge *),
                  unsigned long noise)
{
    unsigned third = history->count / 3;
    if (history->count < TREND_FROM)
        return false;
    struct range first = range_of(history, 0, third, value);
    struct range second = range_of(history, third, 2 * third, value);
    struct range last = range_of(history, 2 * third, history->count, value);
    return second.lowest > first.highest + noise && last.lowest > second.highest + noise &&
           last.highest - second.highest >= (second.highest - first.highest) / 2;
}

/* Sanitizers keep freed memory for a while: nothing can be said of it then. */
static void judge(const struct history *history, struct world *world, const struct gauge *now)
{
    const struct gauge *base = &history->base;
    bool judges_memory = slowness() == 1;
    if (judges_memory && now->anonymous > base->anonymous + MEMORY_SLACK)
        world_wrong(world, "%s holds %lu KiB, and held %lu at first", history->whose, now->anonymous,
                    base->anonymous);
    if (judges_memory && rises(history, memory_of, MEMORY_NOISE))
        world_wrong(world, "the memory of %s grows from period to period: now %lu KiB, at first %lu",
                    history->whose, now->anonymous, base->anonymous);
    if (now->threads != base->threads)
        world_wrong(world, "%s has %u threads, and had %u", history->whose, now->threads, base->threads);
    if (gauge_descriptors(now) > gauge_descriptors(base) + DESCRIPTOR_SLACK ||
        rises(history, descriptors_of, DESCRIPTOR_NOISE))
        world_wrong(
            world, "%s has %u sockets, %u files of the store, %u other descriptors; it had %u, %u, %u",
            history->whose, now->sockets, now->files, now->others, base->sockets, base->files, base->others);
}

void history_add(struct history *history, struct world *world, pid_t pid)
{
    struct gauge now;
    if (!gauge_read(pid, &now)) {
        world_wrong(world, "%s is not there to be measured", history->whose);
        return;
    }
    raise_peak(history, &now);
    if (history->count == HISTORY_MAX)
        memmove(history->readings, history->readings + 1, sizeof history->readings[0] * --history->count);
    if (history->count == 0)
        history->base = now;
    history->readings[history->count++] = history->last = now;
    if (history->count > 1) {
        history->checked++;
        judge(history, world, &now);
    }
}

void history_peak(struct history *history, pid_t pid)
{
    struct gauge now;
    if (gauge_read(pid, &now))
        raise_peak(history, &now);
}

/* ---- the store ---- */

static void add_folder(const char *path, uint64_t *bytes, unsigned *files)
{
    DIR *folder = opendir(path);
    struct stat about;
    if (!folder)
        return;
    for (struct dirent *at = readdir(folder); at; at = readdir(folder)) {
        if (at->d_name[0] == '.' || fstatat(dirfd(folder), at->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        char inner[600];
        snprintf(inner, sizeof inner, "%s/%s", path, at->d_name);
        if (S_ISDIR(about.st_mode)) {
            add_folder(inner, bytes, files);
        } else {
            *bytes += (uint64_t)about.st_size;
            ++*files;
        }
    }
    closedir(folder);
}

void store_measure(const char *folder, struct store_size *out)
{
    char path[256];
    uint64_t all = 0;
    unsigned files = 0;
    *out = (struct store_size){0};
    snprintf(path, sizeof path, "%s/blobs", folder);
    add_folder(path, &out->content, &out->contents);
    snprintf(path, sizeof path, "%s/incoming", folder);
    add_folder(path, &out->incoming, &out->uploads);
    add_folder(folder, &all, &files);
    out->database = all - out->content - out->incoming;
}
