/* put: uploads files, each under a name of its own. */
#include "client/cli/command.h"
#include "client/cli/interrupt.h"
#include "client/cli/jobs.h"
#include "client/cli/progress.h"
#include "client/cli/translate.h"

#include "base/duration.h"
#include "base/name.h"
#include "base/scoped.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum exit_code put_check(struct client *client, const struct choices *choices,
                         const struct arguments *arguments)
{
    if (choices->as && choices->to)
        return client_complain(client, EXIT_USAGE, NULL, _("--as and --to do not go together"));
    if (choices->as && (arguments->count > 1 || choices->recursive))
        return client_complain(client, EXIT_USAGE, NULL, _("--as is for one file"));
    if (choices->to && choices->to[0] == '\0')
        return client_complain(client, EXIT_USAGE, NULL, _("--to wants a prefix, as reports/"));
    for (size_t i = 0; i < arguments->count; i++) {
        if (strcmp(arguments->rows[i], "-") != 0)
            continue;
        if (!choices->as)
            return client_complain(client, EXIT_USAGE, "-", _("standard input has no name; say --as NAME"));
        if (client->stdin_is_taken)
            return client_complain(client, EXIT_USAGE, "-", _("commands are read from standard input"));
    }
    return EXIT_DONE;
}

/* dir/a goes as a. One byte too many is left to the library, which says what may be. */
static const char *choose_name(const struct choices *choices, const char *path,
                               char name[2 * FILESHARE_NAME_SIZE])
{
    const char *slash = strrchr(path, '/'), *leaf = slash ? slash + 1 : path;
    if (choices->as)
        return choices->as;
    if (!choices->to)
        return leaf;
    bool ends = choices->to[strlen(choices->to) - 1] == '/';
    snprintf(name, 2 * FILESHARE_NAME_SIZE, "%s%s%s", choices->to, ends ? "" : "/", leaf);
    return name;
}

static enum exit_code open_file(struct client *client, const char *path, int *out_fd, int64_t *out_mtime)
{
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return client_complain(client, EXIT_LOCAL, path, "%s", strerror(errno));
    struct stat about;
    if (fstat(fd, &about) != 0 || S_ISDIR(about.st_mode)) {
        int error = S_ISDIR(about.st_mode) ? EISDIR : errno;
        close(fd);
        return client_complain(client, EXIT_LOCAL, path, "%s", strerror(error));
    }
    *out_mtime = S_ISREG(about.st_mode) ? about.st_mtim.tv_sec * INT64_C(1000000000) + about.st_mtim.tv_nsec
                                        : INT64_MIN;
    *out_fd = fd;
    return EXIT_DONE;
}

static void tell(struct client *client, const struct fileshare_entry *entry, bool unchanged)
{
    struct field fields[1 + ENTRY_FIELDS] = {FIELD_WORD("result", unchanged ? "unchanged" : "stored")};
    output_entry_fields(entry, fields + 1);
    if (client->output.json) {
        output_line(&client->output, fields, 1 + ENTRY_FIELDS);
        return;
    }
    if (client->quiet)
        return;
    char shown[OUTPUT_TEXT_SIZE], size[DURATION_TEXT_SIZE];
    name_show(entry->name, strlen(entry->name), shown, sizeof shown);
    if (unchanged)
        printf(_("%s: unchanged\n"), shown);
    else
        printf(_("%s: stored, %s\n"), shown, size_text(entry->size, size));
}

/* The library cannot know what the option is called. */
static void say_what_to_do(struct fileshare_error *error)
{
    size_t used = strlen(error->text);

    snprintf(error->text + used, sizeof error->text - used, "%s",
             _("; --replace puts this one in its place"));
}

static enum exit_code put_one(struct client *client, const struct choices *choices, const char *path)
{
    char name[2 * FILESHARE_NAME_SIZE], label[OUTPUT_TEXT_SIZE];
    struct fileshare_put put = {
        .name = choose_name(choices, path, name),
        .label = strcmp(path, "-") == 0 ? _("standard input")
                                        : name_show(path, strlen(path), label, sizeof label),
        .replace = choices->replace,
        .keep = true,
    };
    scoped_fd int fd = -1;
    enum exit_code code = open_file(client, path, &fd, &put.mtime);
    if (code != EXIT_DONE)
        return code;
    put.fd = fd;
    struct progress *progress = progress_start(client, put.name);
    put.progress = progress_moved;
    put.context = progress;
    struct fileshare_entry entry;
    struct fileshare_error error = {.text = ""};
    bool unchanged = false;
    enum fileshare_status status = fileshare_put(client->session, &put, &entry, &unchanged, &error);
    progress_end(progress);
    if (status == FILESHARE_OK)
        tell(client, &entry, unchanged);
    if (status == FILESHARE_EXISTS)
        say_what_to_do(&error);
    return client_told(client, put.name, status, &error);
}

/* ---- many ---- */

struct putting {
    struct client *client;
    const struct choices *choices;
    struct tree tree;
    struct tally tally;
};

/* dir/b goes as b/..., b/. as what is in it. Yours; NULL without memory. */
static char *prefix_of(const struct choices *choices, const char *folder)
{
    size_t size = strlen(folder);
    while (size > 0 && folder[size - 1] == '/')
        size--;
    size_t leaf = size;
    while (leaf > 0 && folder[leaf - 1] != '/')
        leaf--;
    const char *to = choices->to ? choices->to : "";
    bool ends = *to == '\0' || to[strlen(to) - 1] == '/';
    bool nameless = size == leaf || strncmp(folder + leaf, ".", size - leaf) == 0 ||
                    strncmp(folder + leaf, "..", size - leaf) == 0;
    char *prefix = NULL;
    int count = asprintf(&prefix, "%s%s%.*s%s", to, ends ? "" : "/", nameless ? 0 : (int)(size - leaf),
                         folder + leaf, nameless ? "" : "/");
    return count < 0 ? NULL : prefix;
}

static enum exit_code take_argument(struct putting *putting, const char *path)
{
    struct stat about;
    if (putting->choices->recursive && stat(path, &about) == 0 && S_ISDIR(about.st_mode)) {
        scoped_free char *prefix = prefix_of(putting->choices, path);
        if (prefix)
            tree_walk(&putting->tree, putting->client, path, prefix, &putting->tally);
        return prefix ? EXIT_DONE : EXIT_LOCAL;
    }
    char name[2 * FILESHARE_NAME_SIZE];
    return tree_add(&putting->tree, strdup(path), strdup(choose_name(putting->choices, path, name)),
                    UINT64_MAX)
               ? EXIT_DONE
               : EXIT_LOCAL;
}

static bool next_put(void *context, struct fileshare_put_file *out)
{
    struct job *job = context;
    const struct putting *putting = job_context(job);
    struct tree_row *row = job_next(job);
    if (!row)
        return false;
    *out = (struct fileshare_put_file){
        .path = row->path,
        .name = row->name,
        .replace = putting->choices->replace,
        .item = row,
    };
    return true;
}

static void put_told(void *context, const struct fileshare_put_file *file,
                     const struct fileshare_entry *entry, bool unchanged, const struct fileshare_error *error)
{
    job_told(context, file->item, entry, unchanged, error);
}

static enum fileshare_status put_share(struct job *job, struct fileshare *session,
                                       struct fileshare_error *error)
{
    const struct fileshare_put_many many = {.next = next_put,
                                            .told = put_told,
                                            .keep = true,
                                            .progress = job_moved,
                                            .context = job};
    return fileshare_put_many(session, &many, error);
}

static void tell_row(void *context, const struct tree_row *row, const struct fileshare_entry *entry,
                     bool unchanged, const struct fileshare_error *error)
{
    struct putting *putting = context;
    struct client *client = putting->client;
    struct fileshare_error said = *error;
    if (error->status == FILESHARE_EXISTS)
        say_what_to_do(&said);
    if (entry) {
        client_screen_begin(client);
        tell(client, entry, unchanged);
        client_screen_end(client);
    }
    const char *item = error->status == FILESHARE_LOCAL ? row->path : row->name;
    tally_add(&putting->tally, client_told(client, item, said.status, &said));
}

static const char *name_of(const struct tree_row *row)
{
    return row->name;
}

static enum exit_code put_many(struct client *client, const struct choices *choices,
                               const struct arguments *arguments)
{
    struct putting putting = {.client = client, .choices = choices};
    struct jobs jobs = {
        .client = client,
        .tree = &putting.tree,
        .title = arguments->rows[0],
        .most = choices->jobs,
        .key = name_of,
        .transfer = put_share,
        .told = tell_row,
        .context = &putting,
    };
    enum exit_code code = EXIT_DONE;
    for (size_t i = 0; i < arguments->count && code == EXIT_DONE; i++)
        code = take_argument(&putting, arguments->rows[i]);
    if (code != EXIT_DONE)
        client_complain(client, code, NULL, _("no memory for so many files"));
    if (interrupt_noted() != 0)
        code = interrupt_code();
    if (code == EXIT_DONE)
        code = jobs_run(&jobs);
    tree_fini(&putting.tree);
    return code != EXIT_DONE ? code : tally_code(&putting.tally);
}

enum exit_code put_run(struct client *client, const struct choices *choices,
                       const struct arguments *arguments)
{
    if (arguments->count > 1 || choices->recursive)
        return put_many(client, choices, arguments);
    return put_one(client, choices, arguments->rows[0]);
}
