/* What a run of torture did, in numbers. */
#include "fault/torture.h"

#include <stdio.h>

static void row(const char *label, unsigned long amount, const char *note)
{
    printf("  %-34s %12lu  %s\n", label, amount, note);
}

static void report_load(const struct stage *stage)
{
    const struct world *world = &stage->world;
    unsigned long runs = 0, kills = 0, stops = 0, bytes = 0;
    for (unsigned i = 0; i < STAGE_CALLERS; i++) {
        runs += stage->callers[i].runs;
        kills += stage->callers[i].kills;
        stops += stage->callers[i].stops;
        bytes += stage->callers[i].bytes;
    }
    printf("load\n");
    row("acts acknowledged", world->acts, "uploads, replaces, removes, renames, interests, cancels");
    row("acts in doubt", world->doubts, "their client gave up or was killed");
    row("acts refused, and repeated", world->refusals, "for want of space");
    row("events told", world->events, "each once");
    row("client processes", runs, "put, get, rm, wait, ls, interests, ping, status");
    row("  killed", kills, "kill -9");
    row("  stopped for a while", stops, "SIGSTOP, SIGCONT");
    row("  MiB through them", bytes >> 20, "");
    row("listening processes begun", stage->ears[1].starts, "of the one that comes and goes");
    row("  killed", stage->ears[1].kills, "kill -9");
    const struct ruffian *ruffian = &stage->ruffians[0];
    row("connections that say nothing", ruffian->idle, "");
    row("  with garbage", ruffian->garbage, "");
    row("  with half a record", ruffian->halves, "");
    row("  that do not read", ruffian->deaf, "thousands of calls each");
    row("  reset at once", ruffian->resets, "");
    row("calls that make no sense", ruffian->nonsense, "");
}

static void report_troubles(const struct stage *stage)
{
    const struct trouble *trouble = &stage->trouble;
    const struct relay_counts line = relay_counts(stage->relay);
    printf("faults\n");
    row("kills of the server", stage->world.kills, "kill -9, of these:");
    row("  at a named place", trouble->crashes, trouble->places.count ? "" : "(a build without them)");
    row("  at a place not come by in time", trouble->passed_crashes, "");
    row("ends by SIGTERM", trouble->ends, "");
    row("starts", trouble->starts, "");
    row("  on a failing disk", trouble->vain_starts, trouble->shim ? "" : "(no shim below this build)");
    row("freezes of the server", trouble->freezes, "SIGSTOP, SIGCONT");
    row("disk faults: one call fails", trouble->disk_calls, "ENOSPC, EIO");
    row("disk faults: all fail for a while", trouble->disk_spells, "ENOSPC, EIO, EROFS");
    row("  calls that failed", trouble->disk_failed, "");
    row("messages through the bad line", line.messages, "");
    row("  calls lost", line.calls_lost, "");
    row("  replies lost", line.replies_lost, "");
    row("  cut in their middle", line.cut, "");
    row("  late", line.late, "");
    row("calls replayed", line.replays, "the same act sent again");
    row("all connections cut at once", trouble->cuts, "");
    row("loopback down for a while", trouble->partitions,
        trouble->net.made ? "" : "(not root: no network of its own)");
    row("rpcbind killed and started", trouble->rpcbind_kills, trouble->net.made ? "" : "(likewise)");
}

static void report_process(const struct history *history)
{
    const struct gauge *base = &history->base, *peak = &history->peak, *now = &history->last;
    printf("  %s, held against a base line %u times\n", history->whose, history->checked);
    printf("    %-32s %12s %12s %12s\n", "", "base", "peak", "end");
    printf("    %-32s %12lu %12lu %12lu\n", "resident KiB", base->resident, peak->resident, now->resident);
    printf("    %-32s %12lu %12lu %12lu\n", "  of these anonymous", base->anonymous, peak->anonymous,
           now->anonymous);
    printf("    %-32s", "  of these, over the last life");
    unsigned count = history->count > 0 ? history->count : history->before;
    for (unsigned i = 0; i < count; i++)
        printf(" %lu", history->readings[i].anonymous);
    printf("\n    %-32s %12u %12u %12u\n", "threads", base->threads, peak->threads, now->threads);
    printf("    %-32s %12u %12u %12u\n", "sockets", base->sockets, peak->sockets, now->sockets);
    printf("    %-32s %12u %12u %12u\n", "files of the store", base->files, peak->files, now->files);
    printf("    %-32s %12u %12u %12u\n", "other descriptors", base->others, peak->others, now->others);
}

static void report_store(const struct stage *stage)
{
    const struct store_size *now = &stage->store, *peak = &stage->store_peak;
    printf("  the store\n    %-32s %12s %12s %12s\n", "", "listed", "peak", "end");
    printf("    %-32s %12llu %12llu %12llu\n", "content KiB", (unsigned long long)stage->listed_bytes >> 10,
           (unsigned long long)peak->content >> 10, (unsigned long long)now->content >> 10);
    printf("    %-32s %12s %12llu %12llu\n", "unfinished uploads KiB", "",
           (unsigned long long)peak->incoming >> 10, (unsigned long long)now->incoming >> 10);
    printf("    %-32s %12s %12llu %12llu\n", "database and its log KiB", "",
           (unsigned long long)peak->database >> 10, (unsigned long long)now->database >> 10);
}

void stage_report(struct stage *stage)
{
    const struct world *world = &stage->world;
    printf("\ntorture: %lld s, seed %llu\n", (long long)(milliseconds() - stage->began) / 1000,
           (unsigned long long)world->seed);
    report_load(stage);
    report_troubles(stage);
    printf("checks\n");
    row("periods of load", stage->periods, "");
    row("audits of names, bytes, events", stage->audits, "");
    row("fsck --deep of the store", stage->inspections, "");
    row("longest until all was quiet", (unsigned long)stage->longest_quiet, "ms");
    row("longest audit", (unsigned long)stage->longest_audit, "ms");
    row("found wrong", world->wrong, "");
    report_process(&stage->server);
    report_process(&stage->ears[0].history);
    report_store(stage);
    fflush(stdout);
}
