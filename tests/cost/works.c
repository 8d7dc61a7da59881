/*
 * cost_works SERVER FOLDER: for each line "WORK COUNT" that it reads, does one kind of work COUNT times, one after the
 * other in a session of their own, and says "done"; before the first, "ready".
 *
 * tests/cost/measure counts what that takes, here and in the server. Nothing is done here that the number of
 * times would add to, but for what a caller of the library has to do: files are made before.
 *
 *     null                NULL calls
 *     upload, download    files of FOLDER/small, one a call, as upload-COUNT/I
 *     bundle, unbundle    the same, all of them in one go, as bundle-COUNT/I, back to FOLDER/got
 *     bulk, fetch         FOLDER/bulk-COUNT, of COUNT MiB, as bulk-COUNT, back to FOLDER/got
 *     list                the names that bundle uploaded
 *     arrival             uploads of which a mailbox of this process is told, each before the next
 */
#include "fileshare/fileshare.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct works {
    struct fileshare *session;
    const char *server, *folder;
    unsigned count;
    unsigned taken, told;     /* of many files; rows of a list */
    char name[64], path[256]; /* of a file that is told before the next is taken, else in `files` */
    struct file *files;
    pthread_mutex_t mutex; /* of `arrived`, which a thread of the library sets */
    pthread_cond_t changed;
    unsigned arrived;
};

struct file {
    char name[64], path[256];
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "cost_works: %s: %s\n", what, why);
    exit(1);
}

static void check(enum fileshare_status status, const char *what, const struct fileshare_error *error)
{
    if (status != FILESHARE_OK)
        die(what, error->text);
}

static struct fileshare *open_session(const struct works *works)
{
    char state[256];
    struct fileshare *session = NULL;
    struct fileshare_error error;
    snprintf(state, sizeof state, "%s/state", works->folder);
    const struct fileshare_options options = {
        .server = works->server,
        .software = "cost",
        .without_rpcbind = true,
        .state_folder = state,
    };
    check(fileshare_open(&options, &session, &error), works->server, &error);
    return session;
}

static void do_null(struct works *works)
{
    int64_t ns;
    struct fileshare_error error;
    for (unsigned i = 0; i < works->count; i++)
        check(fileshare_ping(works->session, &ns, &error), "null", &error);
}

static void put_path(struct works *works, const char *name, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct fileshare_error error;
    struct fileshare_entry entry;
    bool unchanged = true;
    if (fd < 0)
        die(path, strerror(errno));
    const struct fileshare_put put = {.name = name, .fd = fd, .mtime = 1234567890};
    check(fileshare_put(works->session, &put, &entry, &unchanged, &error), name, &error);
    if (unchanged)
        die(name, "it was there already");
    close(fd);
}

static void get_path(struct works *works, const char *name, const char *path)
{
    struct fileshare_error error;
    struct fileshare_entry entry;
    const struct fileshare_get get = {.name = name};
    check(fileshare_get_to(works->session, &get, path, true, &entry, &error), name, &error);
}

static void do_upload(struct works *works)
{
    for (unsigned i = 0; i < works->count; i++) {
        snprintf(works->name, sizeof works->name, "upload-%u/%u", works->count, i);
        snprintf(works->path, sizeof works->path, "%s/small/%u", works->folder, i);
        put_path(works, works->name, works->path);
    }
}

static void do_download(struct works *works)
{
    snprintf(works->path, sizeof works->path, "%s/got/one", works->folder);
    for (unsigned i = 0; i < works->count; i++) {
        snprintf(works->name, sizeof works->name, "upload-%u/%u", works->count, i);
        get_path(works, works->name, works->path);
    }
}

static void do_bulk(struct works *works)
{
    snprintf(works->name, sizeof works->name, "bulk-%u", works->count);
    snprintf(works->path, sizeof works->path, "%s/bulk-%u", works->folder, works->count);
    put_path(works, works->name, works->path);
}

static void do_fetch(struct works *works)
{
    snprintf(works->name, sizeof works->name, "bulk-%u", works->count);
    snprintf(works->path, sizeof works->path, "%s/got/bulk", works->folder);
    get_path(works, works->name, works->path);
}

/* ---- many in one go ---- */

static struct file *next_file(struct works *works)
{
    if (works->taken == works->count)
        return NULL;
    struct file *file = &works->files[works->taken];
    snprintf(file->name, sizeof file->name, "bundle-%u/%u", works->count, works->taken);
    snprintf(file->path, sizeof file->path, "%s/small/%u", works->folder, works->taken);
    works->taken++;
    return file;
}

static void tell(struct works *works, const char *name, const struct fileshare_entry *entry,
                 const struct fileshare_error *error)
{
    if (!entry)
        die(name, error->text);
    works->told++;
}

static bool next_put(void *context, struct fileshare_put_file *out)
{
    struct file *file = next_file(context);
    if (file)
        *out = (struct fileshare_put_file){.path = file->path, .name = file->name};
    return file;
}

static void told_put(void *context, const struct fileshare_put_file *file,
                     const struct fileshare_entry *entry, bool unchanged, const struct fileshare_error *error)
{
    if (unchanged)
        die(file->name, "it was there already");
    tell(context, file->name, entry, error);
}

static bool next_get(void *context, struct fileshare_get_file *out)
{
    struct file *file = next_file(context);
    if (file)
        *out = (struct fileshare_get_file){.name = file->name,
                                           .path = file->name,
                                           .size = 4096,
                                           .replace = true};
    return file;
}

static void told_get(void *context, const struct fileshare_get_file *file,
                     const struct fileshare_entry *entry, const struct fileshare_error *error)
{
    tell(context, file->name, entry, error);
}

static void do_bundle(struct works *works)
{
    struct fileshare_error error;
    const struct fileshare_put_many many = {.next = next_put, .told = told_put, .context = works};
    check(fileshare_put_many(works->session, &many, &error), "bundle", &error);
    if (works->told != works->count)
        die("bundle", "not all files were told");
}

static void do_unbundle(struct works *works)
{
    char folder[256];
    struct fileshare_error error;
    snprintf(folder, sizeof folder, "%s/got", works->folder);
    const struct fileshare_get_many many = {.folder = folder,
                                            .next = next_get,
                                            .told = told_get,
                                            .context = works};
    check(fileshare_get_many(works->session, &many, &error), "unbundle", &error);
    if (works->told != works->count)
        die("unbundle", "not all files were told");
}

static bool count_row(void *context, const struct fileshare_entry *entry)
{
    struct works *works = context;
    (void)entry;
    works->told++;
    return true;
}

static void do_list(struct works *works)
{
    struct fileshare_error error;
    snprintf(works->name, sizeof works->name, "bundle-%u/*", works->count);
    check(fileshare_list(works->session, works->name, count_row, works, &error), works->name, &error);
    if (works->told != works->count)
        die(works->name, "another number of names");
}

/* ---- being called back ---- */

static bool count_arrival(void *context, const struct fileshare_event *event)
{
    struct works *works = context;
    pthread_mutex_lock(&works->mutex);
    works->arrived += event->kind == FILESHARE_ARRIVED;
    pthread_cond_signal(&works->changed);
    pthread_mutex_unlock(&works->mutex);
    return true;
}

static void await_arrivals(struct works *works, unsigned count)
{
    pthread_mutex_lock(&works->mutex);
    while (works->arrived < count)
        pthread_cond_wait(&works->changed, &works->mutex);
    pthread_mutex_unlock(&works->mutex);
}

/* Until the route is proved: the first ones would come another way. */
static void await_route(struct fileshare *session)
{
    struct fileshare_callback callback = {.route = "none"};
    while (!fileshare_callback(session, &callback) || strcmp(callback.route, "dial-back") != 0)
        usleep(20000);
}

static void do_arrival(struct works *works)
{
    struct fileshare_error error;
    struct fileshare_registered registered;
    struct fileshare *waiting = open_session(works);
    char glob[64];
    snprintf(glob, sizeof glob, "arrival-%u/*", works->count);
    const struct fileshare_register wanted = {.pattern = glob, .glob = true, .every = true, .seconds = 600};
    check(fileshare_attach(waiting, count_arrival, works, &error), "attach", &error);
    check(fileshare_interest(waiting, &wanted, NULL, NULL, &registered, &error), glob, &error);
    await_route(waiting);
    for (unsigned i = 0; i < works->count; i++) {
        snprintf(works->name, sizeof works->name, "arrival-%u/%u", works->count, i);
        snprintf(works->path, sizeof works->path, "%s/small/%u", works->folder, i);
        put_path(works, works->name, works->path);
        await_arrivals(works, i + 1);
    }
    check(fileshare_cancel(waiting, &registered.id, NULL, NULL, NULL, &error), "cancel", &error);
    fileshare_detach(waiting);
    fileshare_close(waiting);
}

static void do_work(struct works *works, const char *name)
{
    static const struct {
        const char *name;
        void (*work)(struct works *works);
    } kinds[] = {
        {"null", do_null},         {"upload", do_upload}, {"download", do_download},
        {"bundle", do_bundle},     {"bulk", do_bulk},     {"fetch", do_fetch},
        {"unbundle", do_unbundle}, {"list", do_list},     {"arrival", do_arrival},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].name, name) == 0) {
            works->session = open_session(works);
            kinds[i].work(works);
            fileshare_close(works->session);
            return;
        }
    die(name, "no such work");
}

int main(int argc, char **argv)
{
    char line[64], work[32];
    if (argc != 3) {
        fprintf(stderr, "usage: cost_works SERVER FOLDER\n");
        return 2;
    }
    puts("ready");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        struct works works = {
            .server = argv[1],
            .folder = argv[2],
            .mutex = PTHREAD_MUTEX_INITIALIZER,
            .changed = PTHREAD_COND_INITIALIZER,
        };
        if (sscanf(line, "%31s %u", work, &works.count) != 2 || works.count == 0)
            die("line", line);
        works.files = calloc(works.count, sizeof *works.files);
        if (!works.files)
            die("memory", strerror(errno));
        do_work(&works, work);
        free(works.files);
        puts("done");
        fflush(stdout);
    }
    return 0;
}
