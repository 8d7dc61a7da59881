/* growth, names: what an upload, a STAT and a page of LIST cost in a store of so many names. */
#include "growth.h"

#include <stdio.h>
#include <stdlib.h>

enum { FOLDER = 100, SMALL = 4096, PAGE = 100, EACH = 8 };

/* The Nth name: a hundred to a folder. */
static char *name_of(uint64_t number, char text[64])
{
    snprintf(text, 64, "folder-%06llu/file-%02llu", (unsigned long long)(number / FOLDER),
             (unsigned long long)(number % FOLDER));
    return text;
}

static uint64_t any_of(const struct target *target)
{
    return growth_any(target->amount);
}

/* ---- filling: bundles of empty files ---- */

struct bundle {
    fs_upload_args files[FS_MANY_MAX];
    char names[FS_MANY_MAX][64];
    fs_upload_many_args arguments;
    fs_upload_many_res results;
    struct growth_call call;
};

static void bundle_begin(struct target *target, struct bundle *bundle, uint64_t from, uint64_t to)
{
    u_int count = (u_int)(to - from);

    for (u_int i = 0; i < count; i++) {
        bundle->files[i] = (fs_upload_args){.name = growth_name(name_of(from + i, bundle->names[i]))};
        growth_id(&bundle->files[i].op);
    }
    bundle->arguments = (fs_upload_many_args){.files = {.files_len = count, .files_val = bundle->files}};
    bundle->results = (fs_upload_many_res){0};
    bundle->call = (struct growth_call){.procedure = FSPROC_UPLOAD_MANY,
                                        .encode = (xdrproc_t)xdr_fs_upload_many_args,
                                        .decode = (xdrproc_t)xdr_fs_upload_many_res,
                                        .arguments = &bundle->arguments,
                                        .results = &bundle->results};
    growth_begin(target->client, &bundle->call);
}

static void bundle_end(struct bundle *bundle)
{
    if (!bundle->call.client)
        return;
    growth_await(&bundle->call);
    growth_expect(bundle->results.status, "a bundle");
    for (u_int i = 0; i < bundle->results.fs_upload_many_res_u.many.files.files_len; i++)
        growth_expect(bundle->results.fs_upload_many_res_u.many.files.files_val[i].status,
                      "a file of a bundle");
    growth_free(&bundle->call);
    bundle->call.client = NULL;
}

void names_fill(struct target *target, uint64_t amount)
{
    enum { FLIGHT = 4 };
    struct bundle *bundles = calloc(FLIGHT, sizeof *bundles);
    unsigned at = 0;

    if (!bundles)
        growth_fail("no memory");
    for (uint64_t from = 0; from < amount; from += FS_MANY_MAX, at = (at + 1) % FLIGHT) {
        bundle_end(&bundles[at]);
        bundle_begin(target, &bundles[at], from, from + FS_MANY_MAX < amount ? from + FS_MANY_MAX : amount);
    }
    for (unsigned i = 0; i < FLIGHT; i++)
        bundle_end(&bundles[(at + i) % FLIGHT]);
    free(bundles);
}

/* ---- one call each ---- */

/* Between names that are there, anywhere: the worst place for a tree that is kept in order. */
static void upload(struct target *target)
{
    char near[64], name[96];

    snprintf(name, sizeof name, "%s-more-%llu", name_of(any_of(target), near),
             (unsigned long long)target->serial++);
    growth_expect(growth_upload(target->client, name, FS_FAIL, SMALL), "an upload");
}

/*
 * Those that read, EACH at once: one alone is mostly the price of waking a sleeping core, which comes and goes by
 * a factor of four on a virtual machine.
 */
struct reading {
    char name[64], cursor[64];
    fs_stat_args stat;
    fs_entry_res entry;
    fs_list_args list;
    fs_list_res page;
    struct growth_call call;
};

static void stat_begin(struct target *target, struct reading *one)
{
    one->stat = (fs_stat_args){.name = growth_name(name_of(any_of(target), one->name))};
    one->entry = (fs_entry_res){0};
    one->call = (struct growth_call){.procedure = FSPROC_STAT,
                                     .encode = (xdrproc_t)xdr_fs_stat_args,
                                     .decode = (xdrproc_t)xdr_fs_entry_res,
                                     .arguments = &one->stat,
                                     .results = &one->entry};
    growth_begin(target->client, &one->call);
}

static void list_begin(struct target *target, struct reading *one)
{
    one->list = (fs_list_args){.glob = growth_name(one->name),
                               .cursor = growth_name(one->cursor),
                               .limit = PAGE};
    one->page = (fs_list_res){0};
    one->call = (struct growth_call){.procedure = FSPROC_LIST,
                                     .encode = (xdrproc_t)xdr_fs_list_args,
                                     .decode = (xdrproc_t)xdr_fs_list_res,
                                     .arguments = &one->list,
                                     .results = &one->page};
    growth_begin(target->client, &one->call);
}

static void list_end(const struct target *target, struct reading *one)
{
    growth_await(&one->call);
    growth_expect(one->page.status, "a page of LIST");
    if (target->amount >= 2 * PAGE && one->page.fs_list_res_u.page.entries.entries_len == 0)
        growth_fail("a page of LIST is empty");
    growth_free(&one->call);
}

static void stats(struct target *target)
{
    struct reading all[EACH];

    for (unsigned i = 0; i < EACH; i++)
        stat_begin(target, &all[i]);
    for (unsigned i = 0; i < EACH; i++) {
        growth_await(&all[i].call);
        growth_expect(all[i].entry.status, "a STAT");
        growth_free(&all[i].call);
    }
}

static void pages(struct target *target)
{
    struct reading all[EACH];

    for (unsigned i = 0; i < EACH; i++) {
        all[i].name[0] = all[i].cursor[0] = 0;
        if (target->amount > 2 * PAGE) /* a hundred from there on */
            name_of(any_of(target) % (target->amount - PAGE), all[i].cursor);
        list_begin(target, &all[i]);
    }
    for (unsigned i = 0; i < EACH; i++)
        list_end(target, &all[i]);
}

static void globs(struct target *target)
{
    struct reading all[EACH];

    for (unsigned i = 0; i < EACH; i++) {
        all[i].cursor[0] = 0;
        snprintf(all[i].name, sizeof all[i].name, "folder-%06llu/*",
                 (unsigned long long)(any_of(target) / FOLDER));
        list_begin(target, &all[i]);
    }
    for (unsigned i = 0; i < EACH; i++)
        list_end(target, &all[i]);
}

void names_measure(struct target *reference, struct target *subject)
{
    const struct growth_work work[] = {
        {"stat", EACH, 100, NULL, stats},
        {"page of list", EACH, 20, NULL, pages},
        {"glob with a prefix", EACH, 20, NULL, globs},
        {"upload", 1, 150, NULL, upload},
    };
    growth_measure(reference, subject, work, sizeof work / sizeof work[0]);
}
