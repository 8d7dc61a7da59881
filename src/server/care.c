#include "server/care.h"

#include "base/options.h"
#include "base/scoped.h"
#include "server/command_line.h"

#include <stdio.h>
#include <string.h>

enum { EXIT_TROUBLE = 1, EXIT_USAGE = 2 };

#define STORE_ROWS(care)                                                                                 \
    {"config", 'c', OPTION_TEXT, &(care)->file, 0, 0, "FILE", "read where the store is from this file"}, \
    {                                                                                                    \
        "store", 0, OPTION_TEXT, &(care)->store, 0, 0, "FOLDER", "the store"                             \
    }

struct care {
    const char *file, *store; /* as given */
    bool deep, repair, copy;
    const char *target;
    struct config *config;
};

static void care_fini(struct care *care)
{
    config_free(care->config);
}

static void options_fini(struct options **options)
{
    options_free(*options);
}

static int complain(const char *command, const struct failure *why, int code)
{
    fflush(stdout);
    fprintf(stderr, "fileshared %s: %s\n", command, why->text);
    return code;
}

/* Of fsck, with what is to be done. */
static int complain_of_store(const struct care *care, const struct failure *why)
{
    int code = complain("fsck", why, EXIT_TROUBLE);
    if (why->outcome == OUTCOME_CORRUPT)
        fprintf(stderr,
                "A damaged database is not repaired: put a backup in the place of %s (see fileshared(8)).\n",
                care->config->store);
    return code;
}

static unsigned long long shown(uint64_t number)
{
    return number;
}

/* ---- fsck ---- */

static void tell_finding(const struct store_finding *finding)
{
    static const char *const words[] = {
        [STORE_MISSING] = "its content is missing",
        [STORE_WRONG_SIZE] = "its content has another size",
        [STORE_WRONG_DIGEST] = "its content has another digest",
        [STORE_UNREADABLE] = "its content cannot be looked at",
        [STORE_UNNAMED] = "content that belongs to no file",
        [STORE_WRONG_FACTS] = "the database",
    };
    char name[NAME_BUFFER];
    const char *word = words[finding->kind];
    if (finding->name[0])
        printf("%s: %s (%s)\n", name_show(finding->name, strlen(finding->name), name, sizeof name), word,
               finding->where);
    else if (finding->kind == STORE_UNREADABLE)
        printf("content cannot be looked at (%s)\n", finding->where);
    else
        printf(finding->kind == STORE_UNNAMED ? "%s (%s)\n" : "%s: %s\n", word, finding->where);
}

static void tell_findings(const struct store_audit *found)
{
    uint64_t wrong = found->missing_blobs + found->wrong_sizes + found->wrong_digests + found->unreadable +
                     found->unnamed;
    for (size_t i = 0; i < found->finding_count; i++)
        tell_finding(&found->findings[i]);
    if (found->finding_count == STORE_FINDINGS && wrong > STORE_FINDINGS)
        printf("and %llu more\n", shown(wrong - STORE_FINDINGS));
    printf("%llu files: %llu without content, %llu of another size, %llu of another digest; "
           "%llu pieces of content without a file\n",
           shown(found->entries), shown(found->missing_blobs), shown(found->wrong_sizes),
           shown(found->wrong_digests), shown(found->orphan_blobs + found->unnamed));
}

/* What is to be done, where something is left. */
static void tell_advice(const struct store_audit *found, bool repaired)
{
    if (found->unreadable > 0)
        printf("what cannot be looked at is left as it is: let this user read it, or look after the disk, "
               "and try again\n");
    if (repaired || store_audit_is_sound(found))
        return;
    printf("\"fileshared fsck --repair\" sets files aside whose content is missing or wrong, removes what a "
           "crash left over, and counts again; a backup may have the files whole\n");
}

/* *sound: at the end. */
static enum outcome check_and_repair(struct store *store, const struct care *care, bool *sound,
                                     struct failure *why)
{
    scoped_free struct store_audit *found = calloc(1, sizeof *found);
    struct store_repair repaired;
    if (!found)
        return failure_set(why, OUTCOME_NOMEM, "no memory for an audit");
    enum outcome outcome = store->acts->audit(store, care->deep, found, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    tell_findings(found);
    *sound = store_audit_is_sound(found);
    if (*sound || !care->repair) {
        tell_advice(found, false);
        return OUTCOME_OK;
    }
    outcome = store->acts->repair(store, care->deep, &repaired, why);
    if (outcome == OUTCOME_OK)
        outcome = store->acts->audit(store, care->deep, found, why);
    if (outcome != OUTCOME_OK)
        return outcome;
    *sound = store_audit_is_sound(found);
    if (repaired.set_aside + repaired.unnamed > 0)
        printf("set aside %llu files and %llu pieces of content without a file: %s/lost/list tells which\n",
               shown(repaired.set_aside), shown(repaired.unnamed), care->config->store);
    printf("removed %llu pieces of content, set %llu rows of the database right\n", shown(repaired.removed),
           shown(repaired.righted));
    if (!*sound)
        tell_findings(found);
    tell_advice(found, true);
    return OUTCOME_OK;
}

static int fsck_run(const struct care *care)
{
    struct store *store = NULL;
    struct failure why = {0};
    bool sound = false;
    const struct store_local_options options = {
        .folder = care->config->store,
        .existing = true,
        .limits = care->config->store_limits,
        .clock = clock_system(),
    };
    if (store_local_open(&options, &store, &why) != OUTCOME_OK)
        return complain_of_store(care, &why);
    enum outcome outcome = check_and_repair(store, care, &sound, &why);
    store->acts->close(store);
    if (outcome != OUTCOME_OK)
        return complain_of_store(care, &why);
    printf("the store %s is %s\n", care->config->store, sound ? "sound" : "not sound");
    return sound ? EXIT_SUCCESS : EXIT_TROUBLE;
}

/* ---- backup ---- */

static int backup_run(const struct care *care)
{
    struct store_backup done;
    struct failure why = {0};
    if (store_local_backup(care->config->store, care->target, care->copy, &done, &why) != OUTCOME_OK)
        return complain("backup", &why, EXIT_TROUBLE);
    printf("the store %s is backed up in %s (%llu pieces of content linked, %llu copied)\n",
           care->config->store, care->target, shown(done.linked), shown(done.copied));
    return EXIT_SUCCESS;
}

/* ---- the command line ---- */

/* Nothing is served here, so what config refuses to serve does not matter. */
static enum outcome find_store(struct care *care, struct failure *why)
{
    const struct config_key *keys;
    size_t count;
    enum outcome outcome = config_new(&care->config, why);
    if (outcome == OUTCOME_OK)
        outcome = command_line_file(care->file, care->config, why);
    keys = config_keys(&count);
    for (size_t i = 0; i < count && outcome == OUTCOME_OK && care->store; i++)
        if (strcmp(keys[i].name, "store") == 0)
            outcome = config_set(care->config, &keys[i], care->store, why);
    if (outcome == OUTCOME_OK)
        care->config->insecure = true;
    return outcome == OUTCOME_OK ? config_finish(care->config, why) : outcome;
}

/* OK and *told: --help was answered. `wanted` arguments, of which the first becomes the target. */
static enum outcome care_read(struct care *care, const struct options_program *program, size_t wanted,
                              int argc, char *const *argv, struct options **options, struct failure *why)
{
    size_t count = 0;
    enum outcome outcome = options_new(program, options, why);
    if (outcome == OUTCOME_OK)
        outcome = options_parse(*options, argc, argv, why);
    if (outcome != OUTCOME_OK || options_told(*options))
        return outcome;
    const char *const *arguments = options_arguments(*options, &count);
    if (count > wanted)
        return failure_set(why, OUTCOME_INVALID, "there is nothing to do with \"%s\"", arguments[wanted]);
    if (count < wanted)
        return failure_set(why, OUTCOME_INVALID, "which folder shall be the backup?");
    care->target = wanted > 0 ? arguments[0] : NULL;
    return find_store(care, why);
}

static int care_do(struct care *care, const struct options_program *program, size_t wanted, int argc,
                   char *const *argv, int (*run)(const struct care *care))
{
    scoped(options_fini) struct options *options = NULL;
    struct failure why = {0};
    if (care_read(care, program, wanted, argc, argv, &options, &why) != OUTCOME_OK) {
        fprintf(stderr, "%s: %s\nTry \"%s --help\".\n", program->name, why.text, program->name);
        return EXIT_USAGE;
    }
    int code = options_told(options) ? EXIT_SUCCESS : run(care);
    return fflush(stdout) == 0 ? code : EXIT_TROUBLE;
}

static int fsck_main(int argc, char *const *argv)
{
    scoped(care_fini) struct care care = {0};
    const struct option rows[] = {
        {"deep", 0, OPTION_FLAG, &care.deep, 0, 0, NULL, "read all content, and compare digests"},
        {"repair", 0, OPTION_FLAG, &care.repair, 0, 0, NULL,
         "remove content without a file; set files aside whose content is missing or wrong"},
        STORE_ROWS(&care),
        OPTION_END,
    };
    const struct options_program program = {
        .name = "fileshared fsck",
        .usage = "[OPTION...]",
        .summary = "Says whether the store is sound: whether each file has its content, and all content a "
                   "file. The store must not be served meanwhile.",
        .epilogue = "Exit status: 0 it is sound (or is now), 1 it is not, or is in use, 2 usage.",
        .rows = rows,
    };
    return care_do(&care, &program, 0, argc, argv, fsck_run);
}

static int backup_main(int argc, char *const *argv)
{
    scoped(care_fini) struct care care = {0};
    const struct option rows[] = {
        {"copy", 0, OPTION_FLAG, &care.copy, 0, 0, NULL, "copy content also where it could be linked"},
        STORE_ROWS(&care),
        OPTION_END,
    };
    const struct options_program program = {
        .name = "fileshared backup",
        .usage = "[OPTION...] FOLDER",
        .summary = "Makes FOLDER a copy of the store as it is at one moment, while it is served or not. "
                   "The copy is a store.",
        .epilogue = "Exit status: 0 it is there as a whole, 1 there is none, 2 usage.",
        .rows = rows,
    };
    return care_do(&care, &program, 1, argc, argv, backup_run);
}

bool care_is_command(const char *word)
{
    return strcmp(word, "fsck") == 0 || strcmp(word, "backup") == 0;
}

int care_run(int argc, char *const *argv)
{
    return strcmp(argv[0], "fsck") == 0 ? fsck_main(argc, argv) : backup_main(argc, argv);
}
