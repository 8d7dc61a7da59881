/* get: downloads files, and what wait --get shares with it. */
#include "client/cli/command.h"
#include "client/cli/fetch.h"
#include "client/cli/interrupt.h"
#include "client/cli/jobs.h"
#include "client/cli/progress.h"
#include "client/cli/translate.h"

#include "base/duration.h"
#include "base/name.h"
#include "base/scoped.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_folder(const char *path)
{
    struct stat about;
    return path[strlen(path) - (path[0] != '\0')] == '/' ||
           (stat(path, &about) == 0 && S_ISDIR(about.st_mode));
}

static bool is_stdout(const char *output)
{
    return output && strcmp(output, "-") == 0;
}

bool fetch_is_for_one(const char *output)
{
    return output && !is_stdout(output) && !is_folder(output);
}

/* a/b comes as ./b, or as DIR/b. Yours; NULL without memory. */
static char *choose_path(const char *output, const char *name)
{
    const char *slash = strrchr(name, '/'), *leaf = slash ? slash + 1 : name;
    char *path = NULL;
    if (output && !is_folder(output))
        return strdup(output);
    const char *folder = output ? output : "";
    bool ends = folder[0] == '\0' || folder[strlen(folder) - 1] == '/';
    return asprintf(&path, "%s%s%s", folder, ends ? "" : "/", leaf) < 0 ? NULL : path;
}

static void tell(const struct fetch *fetch, const struct fileshare_entry *entry, const char *path)
{
    struct client *client = fetch->client;
    struct field fields[2 + ENTRY_FIELDS] = {FIELD_WORD("result", "fetched"), FIELD_NAME("path", path)};
    output_entry_fields(entry, fields + 2);
    if (fetch->quiet)
        return;
    if (client->output.json) {
        output_line(&client->output, fields, 2 + ENTRY_FIELDS);
        return;
    }
    if (client->quiet)
        return;
    char shown[OUTPUT_TEXT_SIZE], size[DURATION_TEXT_SIZE];
    printf(_("%s: fetched, %s\n"), name_show(path, strlen(path), shown, sizeof shown),
           size_text(entry->size, size));
}

static enum fileshare_status transfer(const struct fetch *fetch, const struct fileshare_get *get,
                                      const char *path, struct fileshare_entry *out,
                                      struct fileshare_error *error)
{
    if (!is_stdout(fetch->output))
        return fileshare_get_to(fetch->session, get, path, fetch->replace, out, error);
    fflush(stdout);
    return fileshare_get(fetch->session, get, out, error);
}

enum exit_code fetch_one(const struct fetch *fetch, const char *name, const struct fileshare_id *version)
{
    struct client *client = fetch->client;
    scoped_free char *path = choose_path(fetch->output, name);
    if (!path)
        return client_complain(client, EXIT_LOCAL, name, _("no memory for its path"));
    struct progress *progress = progress_start(client, name);
    struct fileshare_get get = {
        .name = name,
        .fd = STDOUT_FILENO,
        .label = _("standard output"),
        .keep = true,
        .progress = progress_moved,
        .context = progress,
    };
    if (version)
        get.version = *version;
    struct fileshare_entry entry;
    struct fileshare_error error = {.text = ""};
    enum fileshare_status status = transfer(fetch, &get, path, &entry, &error);
    progress_end(progress);
    if (status == FILESHARE_OK && !is_stdout(fetch->output))
        tell(fetch, &entry, path);
    return client_told(client, name, status, &error);
}

enum exit_code get_check(struct client *client, const struct choices *choices,
                         const struct arguments *arguments)
{
    if (choices->output && choices->output[0] == '\0')
        return client_complain(client, EXIT_USAGE, NULL, _("-o wants a path"));
    if (choices->jobs > 1 && is_stdout(choices->output))
        return client_complain(client, EXIT_USAGE, NULL, _("--jobs and -o - do not go together"));
    if (choices->recursive && is_stdout(choices->output))
        return client_complain(client, EXIT_USAGE, NULL, _("-r wants a folder, not standard output"));
    if ((arguments->count > 1 || choices->recursive) && fetch_is_for_one(choices->output))
        return client_complain(client, EXIT_USAGE, choices->output,
                               _("several files do not fit into one; say a folder"));
    return EXIT_DONE;
}

/* ---- many ---- */

struct getting {
    const struct fetch *fetch;
    const char *folder; /* where they go */
    struct tree tree;
    struct tally tally;
    size_t above; /* bytes of a name that stand above what is fetched with -r */
    bool no_memory;
};

/* The path beneath the folder is what of the name follows `above` bytes. */
static bool take_name(struct getting *getting, const char *name, size_t above, uint64_t size)
{
    return tree_add(&getting->tree, tree_join(getting->fetch->output ? getting->folder : "", name + above),
                    strdup(name), size);
}

static bool take_listed(void *context, const struct fileshare_entry *entry)
{
    struct getting *getting = context;
    getting->no_memory = !take_name(getting, entry->name, getting->above, entry->size);
    return !getting->no_memory && interrupt_noted() == 0;
}

/* All names below `prefix`; "." has all below it. */
static enum exit_code take_below(struct getting *getting, const char *prefix)
{
    struct client *client = getting->fetch->client;
    struct fileshare_error error = {.text = ""};
    scoped_free char *below = strdup(prefix);
    size_t size = below ? strlen(below) : 0, before = getting->tree.count;
    while (size > 1 && below[size - 1] == '/')
        below[--size] = '\0';
    scoped_free char *escaped = below ? command_glob_of(below) : NULL;
    scoped_free char *glob = NULL;
    bool all = strcmp(prefix, ".") == 0;
    if (!escaped || asprintf(&glob, "%s%s**", all ? "" : escaped, all ? "" : "/") < 0)
        return client_complain(client, EXIT_LOCAL, prefix, _("no memory for a list"));
    const char *slash = strrchr(below, '/');
    getting->above = slash ? (size_t)(slash + 1 - below) : 0;
    enum fileshare_status status = fileshare_list(client->session, glob, take_listed, getting, &error);
    if (interrupt_noted() != 0)
        return interrupt_code();
    if (getting->no_memory)
        return client_complain(client, EXIT_LOCAL, prefix, _("no memory for a list"));
    if (status == FILESHARE_OK && getting->tree.count == before)
        return client_complain(client, EXIT_ABSENT, prefix, _("there is no file below it"));
    return client_told(client, prefix, status, &error);
}

static enum exit_code take_argument(struct getting *getting, const char *name, bool recursive)
{
    if (recursive)
        return take_below(getting, name);
    const char *slash = strrchr(name, '/');
    if (take_name(getting, name, slash ? (size_t)(slash + 1 - name) : 0, UINT64_MAX))
        return EXIT_DONE;
    return client_complain(getting->fetch->client, EXIT_LOCAL, name, _("no memory for its path"));
}

static bool next_get(void *context, struct fileshare_get_file *out)
{
    struct job *job = context;
    const struct getting *getting = job_context(job);
    struct tree_row *row = job_next(job);
    if (!row)
        return false;
    size_t folder = getting->fetch->output ? strlen(getting->folder) : 0;
    folder += folder > 0 && getting->folder[folder - 1] != '/';
    *out = (struct fileshare_get_file){
        .name = row->name,
        .path = row->path + folder,
        .size = row->size,
        .replace = getting->fetch->replace,
        .item = row,
    };
    return true;
}

static void get_told(void *context, const struct fileshare_get_file *file,
                     const struct fileshare_entry *entry, const struct fileshare_error *error)
{
    job_told(context, file->item, entry, false, error);
}

static enum fileshare_status get_share(struct job *job, struct fileshare *session,
                                       struct fileshare_error *error)
{
    const struct getting *getting = job_context(job);
    const struct fileshare_get_many many = {
        .folder = getting->folder,
        .next = next_get,
        .told = get_told,
        .keep = true,
        .progress = job_moved,
        .context = job,
    };
    return fileshare_get_many(session, &many, error);
}

static void tell_row(void *context, const struct tree_row *row, const struct fileshare_entry *entry,
                     bool unchanged, const struct fileshare_error *error)
{
    struct getting *getting = context;
    struct client *client = getting->fetch->client;
    (void)unchanged;
    if (entry) {
        client_screen_begin(client);
        tell(getting->fetch, entry, row->path);
        client_screen_end(client);
    }
    tally_add(&getting->tally, client_told(client, row->name, error->status, error));
}

static const char *path_of(const struct tree_row *row)
{
    return row->path;
}

static enum exit_code get_many(const struct fetch *fetch, const struct choices *choices,
                               const struct arguments *arguments)
{
    struct client *client = fetch->client;
    struct getting getting = {.fetch = fetch, .folder = fetch->output ? fetch->output : "."};
    struct jobs jobs = {
        .client = client,
        .tree = &getting.tree,
        .title = arguments->rows[0],
        .most = choices->jobs,
        .key = path_of,
        .transfer = get_share,
        .told = tell_row,
        .context = &getting,
    };
    enum exit_code code = EXIT_DONE;
    for (size_t i = 0; i < arguments->count && code <= EXIT_SIGNAL; i++) {
        code = take_argument(&getting, arguments->rows[i], choices->recursive);
        if (code != EXIT_DONE && code <= EXIT_SIGNAL)
            tally_add(&getting.tally, code);
    }
    if (code <= EXIT_SIGNAL && getting.tree.count > 0) {
        code = jobs_run(&jobs);
        if (code != EXIT_DONE && code <= EXIT_SIGNAL)
            tally_add(&getting.tally, code);
    }
    tree_fini(&getting.tree);
    return code > EXIT_SIGNAL ? code : tally_code(&getting.tally);
}

enum exit_code get_run(struct client *client, const struct choices *choices,
                       const struct arguments *arguments)
{
    struct tally tally = {.items = 0};
    struct fetch fetch = {.client = client,
                          .session = client->session,
                          .output = choices->output,
                          .replace = choices->replace};
    if (choices->recursive || (arguments->count > 1 && !is_stdout(choices->output)))
        return get_many(&fetch, choices, arguments);
    for (size_t i = 0; i < arguments->count; i++) {
        enum exit_code code = fetch_one(&fetch, arguments->rows[i], NULL);
        if (code > EXIT_SIGNAL)
            return code;
        tally_add(&tally, code);
    }
    return tally_code(&tally);
}
