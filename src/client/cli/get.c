/* get: downloads files, and what wait --get shares with it. */
#include "client/cli/command.h"
#include "client/cli/fetch.h"
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
    if (arguments->count > 1 && fetch_is_for_one(choices->output))
        return client_complain(client, EXIT_USAGE, choices->output,
                               _("several files do not fit into one; say a folder"));
    return EXIT_DONE;
}

enum exit_code get_run(struct client *client, const struct choices *choices,
                       const struct arguments *arguments)
{
    struct tally tally = {.items = 0};
    struct fetch fetch = {.client = client,
                          .session = client->session,
                          .output = choices->output,
                          .replace = choices->replace};
    for (size_t i = 0; i < arguments->count; i++) {
        enum exit_code code = fetch_one(&fetch, arguments->rows[i], NULL);
        if (code > EXIT_SIGNAL)
            return code;
        tally_add(&tally, code);
    }
    return tally_code(&tally);
}
