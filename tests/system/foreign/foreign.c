/*
 * A client of fileshare as anybody would write one: rpcgen's stubs from
 * proto/fileshare.x, libtirpc's clnt_create over TCP, AUTH_SYS. No line of our
 * libraries is in it, and nothing but the .x tells it what to send.
 *
 *     foreign_client [-n] [-6] HOST COMMAND...
 *
 *     -n  AUTH_NONE instead of AUTH_SYS       -6  TCP over IPv6
 *
 *     null                   hello              status
 *     version NUMBER         NULL of another version of the program
 *     put NAME FILE          one UPLOAD
 *     put-parts NAME FILE    UPLOAD_OPEN, UPLOAD_DATA..., UPLOAD_COMMIT without a digest
 *     get NAME FILE          DOWNLOAD, as often as it takes
 *     list [GLOB]            names and sizes
 *     await NAME SECONDS     an interest without a callback; polls EVENTS until it is met
 *     listen NAME SECONDS    the same with a stock callback program, until it is notified
 *     claim PORT             no call of fileshare's: says to HOST's rpcbind, by version 2 over TCP, that it is there
 *
 * Exits 0 if the server did it, 1 if it answered another status, 2 if the call
 * failed or made no sense. What was answered goes to stdout.
 */
#include "callback.h"

#include <rpc/pmap_prot.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1000000, UPLOAD_MAX = 1000000 };

static fs_id new_id(void)
{
    fs_id id;

    if (getrandom(id.octets, sizeof(id.octets), 0) != (ssize_t)sizeof(id.octets)) {
        perror("getrandom");
        exit(2);
    }
    return id;
}

static fs_name name_of(char *text)
{
    return (fs_name){(u_int)strlen(text), text};
}

/* A stub answers NULL if the call itself failed. */
static void *answered(CLIENT *server, void *answer)
{
    if (answer)
        return answer;
    struct rpc_err error;
    clnt_geterr(server, &error);
    printf("%s", clnt_sperrno(error.re_status));
    if (error.re_status == RPC_PROGVERSMISMATCH)
        printf(", versions %lu to %lu", (unsigned long)error.re_vers.low, (unsigned long)error.re_vers.high);
    if (error.re_status == RPC_AUTHERROR)
        printf(", %d", (int)error.re_why);
    printf("\n");
    exit(2);
}

static int refused(fs_status status, fs_text reason)
{
    printf("status %d: %.*s\n", (int)status, (int)reason.fs_text_len, reason.fs_text_val);
    return 1;
}

static void show_entry(const fs_entry *entry)
{
    printf("%.*s %llu\n", (int)entry->name.fs_name_len, entry->name.fs_name_val,
           (unsigned long long)entry->size);
}

static FILE *open_file(const char *path, const char *mode)
{
    FILE *file = fopen(path, mode);

    if (!file) {
        perror(path);
        exit(2);
    }
    return file;
}

static int null(CLIENT *server)
{
    answered(server, fsproc_null_1(NULL, server));
    printf("ready\n");
    return 0;
}

static int hello(CLIENT *server)
{
    fs_hello_args args = {.software = {7, (char[]){"foreign"}}};
    fs_hello_res *res = answered(server, fsproc_hello_1(&args, server));

    if (res->status != FS_OK)
        return refused(res->status, res->fs_hello_res_u.failure.reason);
    const fs_hello *said = &res->fs_hello_res_u.hello;
    printf("principal %.*s data_max %u list_max %u\n", (int)said->principal.fs_text_len,
           said->principal.fs_text_val, said->data_max, said->list_max);
    return 0;
}

static int status(CLIENT *server)
{
    fs_status_res *res = answered(server, fsproc_status_1(NULL, server));

    if (res->status != FS_OK)
        return refused(res->status, res->fs_status_res_u.failure.reason);
    for (u_int i = 0; i < res->fs_status_res_u.report.counters.counters_len; i++) {
        const fs_counter *counter = &res->fs_status_res_u.report.counters.counters_val[i];
        printf("%.*s %llu\n", (int)counter->label.label_len, counter->label.label_val,
               (unsigned long long)counter->amount);
    }
    return 0;
}

static fs_time mtime_of(FILE *file)
{
    struct stat about;

    if (fstat(fileno(file), &about) != 0) {
        perror("fstat");
        exit(2);
    }
    return (fs_time){about.st_mtim.tv_sec, (u_int)about.st_mtim.tv_nsec};
}

static int show_published(CLIENT *server, fs_entry_res *answer)
{
    fs_entry_res *res = answered(server, answer);

    if (res->status != FS_OK)
        return refused(res->status, res->fs_entry_res_u.failure.reason);
    show_entry(&res->fs_entry_res_u.entry);
    return 0;
}

static int put(CLIENT *server, char *name, const char *path)
{
    static char content[UPLOAD_MAX];
    FILE *file = open_file(path, "r");
    size_t length = fread(content, 1, sizeof(content), file);
    fs_upload_args args = {.op = new_id(),
                           .name = name_of(name),
                           .policy = FS_FAIL,
                           .mtime = mtime_of(file),
                           .content = {(u_int)length, content}};

    fclose(file);
    return show_published(server, fsproc_upload_1(&args, server));
}

/* Sends the file in parts; answers how many bytes the server holds. */
static uint64_t send_parts(CLIENT *server, fs_id upload, FILE *file)
{
    static char content[CHUNK];
    uint64_t held = 0;
    size_t length;

    while ((length = fread(content, 1, sizeof(content), file)) > 0) {
        fs_upload_data_args args = {.upload = upload, .offset = held, .content = {(u_int)length, content}};
        fs_upload_data_res *res = answered(server, fsproc_upload_data_1(&args, server));
        if (res->status != FS_OK)
            exit(refused(res->status, res->reason));
        if (res->held != held + length) {
            printf("held %llu after %llu\n", (unsigned long long)res->held,
                   (unsigned long long)(held + length));
            exit(1);
        }
        held = res->held;
    }
    return held;
}

static int put_parts(CLIENT *server, char *name, const char *path)
{
    FILE *file = open_file(path, "r");
    fs_upload_open_args begin = {.upload = new_id(), .name = name_of(name), .policy = FS_FAIL};
    fs_upload_open_res *opened = answered(server, fsproc_upload_open_1(&begin, server));

    if (opened->status != FS_OK)
        return refused(opened->status, opened->fs_upload_open_res_u.failure.reason);
    fs_upload_commit_args commit = {.upload = begin.upload, .mtime = mtime_of(file)};
    commit.size = send_parts(server, begin.upload, file);
    fclose(file);
    return show_published(server, fsproc_upload_commit_1(&commit, server));
}

static int get(CLIENT *server, char *name, const char *path)
{
    FILE *file = open_file(path, "w");
    fs_download_args args = {.name = name_of(name), .count = CHUNK};
    bool_t eof = FALSE;

    while (!eof) {
        fs_download_res *res = answered(server, fsproc_download_1(&args, server));
        if (res->status != FS_OK)
            return refused(res->status, res->fs_download_res_u.failure.reason);
        fs_download *part = &res->fs_download_res_u.download;
        if (part->content.fs_data_len > 0 && fwrite(part->content.fs_data_val, 1, part->content.fs_data_len,
                                                    file) != part->content.fs_data_len) {
            perror(path);
            return 2;
        }
        eof = part->eof;
        args.revision = part->entry.revision;
        args.offset += part->content.fs_data_len;
        if (eof)
            show_entry(&part->entry);
        clnt_freeres(server, (xdrproc_t)xdr_fs_download_res, (char *)res);
    }
    return fclose(file) == 0 ? 0 : 2;
}

static int list(CLIENT *server, char *glob)
{
    char cursor[FS_NAME_MAX];
    fs_list_args args = {.glob = name_of(glob), .cursor = {0, cursor}, .limit = 2};
    bool_t more = TRUE;

    while (more) {
        fs_list_res *res = answered(server, fsproc_list_1(&args, server));
        if (res->status != FS_OK)
            return refused(res->status, res->fs_list_res_u.failure.reason);
        fs_list *page = &res->fs_list_res_u.page;
        for (u_int i = 0; i < page->entries.entries_len; i++)
            show_entry(&page->entries.entries_val[i]);
        more = page->more;
        args.cursor.fs_name_len = page->cursor.fs_name_len;
        if (page->cursor.fs_name_len)
            memcpy(cursor, page->cursor.fs_name_val, page->cursor.fs_name_len);
        clnt_freeres(server, (xdrproc_t)xdr_fs_list_res, (char *)res);
    }
    return 0;
}

void callback_show(const fs_event *event)
{
    printf("event %d ", (int)event->kind);
    if (event->entry)
        show_entry(event->entry);
    else
        printf("%.*s\n", (int)event->pattern.fs_name_len, event->pattern.fs_name_val);
}

/* Asks until there is an event or the time is over; the number of the last one, or 0. */
static u_quad_t poll_events(CLIENT *server, fs_id mailbox, int seconds)
{
    fs_events_args args = {.mailbox = mailbox, .since = 0, .limit = 10};
    time_t deadline = time(NULL) + seconds;

    while (time(NULL) < deadline) {
        fs_events_res *res = answered(server, fsproc_events_1(&args, server));
        if (res->status != FS_OK)
            exit(refused(res->status, res->fs_events_res_u.failure.reason));
        u_quad_t last = 0;
        for (u_int i = 0; i < res->fs_events_res_u.page.rows.rows_len; i++) {
            const fs_event *event = &res->fs_events_res_u.page.rows.rows_val[i];
            callback_show(event);
            last = event->number;
        }
        clnt_freeres(server, (xdrproc_t)xdr_fs_events_res, (char *)res);
        if (last)
            return last;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    printf("nothing came\n");
    return 0;
}

static int acknowledge(CLIENT *server, fs_id mailbox, u_quad_t number)
{
    fs_events_args args = {.mailbox = mailbox, .since = number, .limit = 10};
    fs_events_res *res = answered(server, fsproc_events_1(&args, server));

    if (res->status != FS_OK)
        return refused(res->status, res->fs_events_res_u.failure.reason);
    printf("left %u\n", res->fs_events_res_u.page.rows.rows_len);
    return 0;
}

/* An interest in one name, once; whether there is something to wait for. */
static bool_t registered(CLIENT *server, fs_id mailbox, char *name, int seconds, fs_callback *callback)
{
    fs_register_args args = {.mailbox = mailbox,
                             .interest = new_id(),
                             .match = FS_EXACT,
                             .pattern = name_of(name),
                             .seconds = (u_int)seconds,
                             .repeat = FS_ONCE,
                             .present = FS_TELL,
                             .callback = callback};
    fs_register_res *res = answered(server, fsproc_register_interest_1(&args, server));

    if (res->status != FS_OK)
        exit(refused(res->status, res->fs_register_res_u.failure.reason));
    const fs_registration *made = &res->fs_register_res_u.registration;
    for (u_int i = 0; i < made->present.present_len; i++)
        show_entry(&made->present.present_val[i]);
    if (made->registered)
        printf("registered\n");
    fflush(stdout);
    return made->registered;
}

static int await(CLIENT *server, char *name, int seconds)
{
    fs_id mailbox = new_id();

    if (!registered(server, mailbox, name, seconds, NULL))
        return 0;
    u_quad_t number = poll_events(server, mailbox, seconds + 10);
    return number ? acknowledge(server, mailbox, number) : 1;
}

static int listen_for(CLIENT *server, char *name, int seconds)
{
    fs_callback callback;

    callback_begin(new_id(), new_id(), &callback);
    if (!registered(server, new_id(), name, seconds, &callback))
        return 0;
    return callback_serve(seconds + 10) ? 0 : 1;
}

static int run(CLIENT *server, int count, char **words)
{
    const char *command = words[0];

    if (count == 1 && strcmp(command, "null") == 0)
        return null(server);
    if (count == 1 && strcmp(command, "hello") == 0)
        return hello(server);
    if (count == 1 && strcmp(command, "status") == 0)
        return status(server);
    if (count == 2 && strcmp(command, "version") == 0) {
        u_long number = strtoul(words[1], NULL, 0);
        clnt_control(server, CLSET_VERS, (char *)&number);
        return null(server);
    }
    if (count == 3 && strcmp(command, "put") == 0)
        return put(server, words[1], words[2]);
    if (count == 3 && strcmp(command, "put-parts") == 0)
        return put_parts(server, words[1], words[2]);
    if (count == 3 && strcmp(command, "get") == 0)
        return get(server, words[1], words[2]);
    if ((count == 1 || count == 2) && strcmp(command, "list") == 0)
        return list(server, count == 2 ? words[1] : (char[]){""});
    if (count == 3 && strcmp(command, "await") == 0)
        return await(server, words[1], atoi(words[2]));
    if (count == 3 && strcmp(command, "listen") == 0)
        return listen_for(server, words[1], atoi(words[2]));
    fprintf(stderr, "foreign_client: no such command: %s\n", command);
    return 2;
}

/* As Java and Python register: rpcbind does not know who asks. */
static int claim(const char *host, const char *port)
{
    struct pmap entry = {.pm_prog = FILESHARE_PROG,
                         .pm_vers = FILESHARE_V1,
                         .pm_prot = IPPROTO_TCP,
                         .pm_port = strtoul(port, NULL, 10)};
    struct timeval limit = {.tv_sec = 25};
    bool_t set = FALSE;
    CLIENT *rpcbind = clnt_create(host, PMAPPROG, PMAPVERS, "tcp");

    if (!rpcbind) {
        clnt_pcreateerror(host);
        return 2;
    }
    enum clnt_stat status = clnt_call(rpcbind, PMAPPROC_SET, (xdrproc_t)xdr_pmap, (char *)&entry,
                                      (xdrproc_t)xdr_bool, (char *)&set, limit);
    if (status != RPC_SUCCESS)
        clnt_perror(rpcbind, host);
    clnt_destroy(rpcbind);
    return status != RPC_SUCCESS ? 2 : set ? 0 : 1;
}

/* TCP over IPv6 has no name that clnt_create takes; it has a netid. */
static CLIENT *connect_to(const char *host, bool_t over_ipv6)
{
    if (!over_ipv6)
        return clnt_create(host, FILESHARE_PROG, FILESHARE_V1, "tcp");
    struct netconfig *tcp6 = getnetconfigent("tcp6");
    CLIENT *server = clnt_tp_create(host, FILESHARE_PROG, FILESHARE_V1, tcp6);
    freenetconfigent(tcp6);
    return server;
}

int main(int argc, char **argv)
{
    bool_t anonymous = FALSE, over_ipv6 = FALSE;

    for (; argc > 1 && argv[1][0] == '-'; argc--, argv++) {
        if (strcmp(argv[1], "-n") == 0)
            anonymous = TRUE;
        if (strcmp(argv[1], "-6") == 0)
            over_ipv6 = TRUE;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: foreign_client [-n] [-6] HOST COMMAND...\n");
        return 2;
    }
    if (argc == 4 && strcmp(argv[2], "claim") == 0)
        return claim(argv[1], argv[3]);
    CLIENT *server = connect_to(argv[1], over_ipv6);
    if (!server) {
        clnt_pcreateerror(argv[1]);
        return 2;
    }
    if (!anonymous) {
        auth_destroy(server->cl_auth);
        server->cl_auth = authunix_create_default();
    }
    int result = run(server, argc - 2, argv + 2);
    auth_destroy(server->cl_auth);
    clnt_destroy(server);
    return result;
}
