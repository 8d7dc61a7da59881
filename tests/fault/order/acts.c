#include "fault/order/acts.h"

#include "fault/by_hand.h"
#include "proto/fileshare.h"
#include "server/store/local/database.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct stage stage;

/* ---- the acts ---- */

__attribute__((format(printf, 2, 3))) static void told(enum procedure procedure, const char *question, ...)
{
    va_list arguments;
    assert_true(stage.act_count < ACTS_MAX);
    struct act *act = &stage.acts[stage.act_count++];
    act->procedure = procedure;
    va_start(arguments, question);
    vsnprintf(act->question, sizeof act->question, question, arguments);
    va_end(arguments);
}

static void put(const char *name, size_t size, enum procedure procedure, bool replace)
{
    struct fileshare_entry entry;
    bool unchanged;
    uint8_t *bytes = pattern_bytes(size, (unsigned)size);
    char version[33];
    assert_int_equal(put_bytes(stage.session, name, bytes, size, replace, &unchanged, &entry), FILESHARE_OK);
    for (int i = 0; i < 16; i++)
        snprintf(version + i * 2, 3, "%02x", ((const uint8_t *)&entry.version)[i]);
    told(procedure, "SELECT count(*) FROM entry WHERE name = '%s' AND size = %zu AND version = x'%s'", name,
         size, version);
    free(bytes);
}

struct seen {
    _Atomic unsigned arrived, unmet;
};

static bool see(void *context, const struct fileshare_event *event)
{
    struct seen *seen = context;
    seen->arrived += event->kind == FILESHARE_ARRIVED;
    seen->unmet += event->kind == FILESHARE_UNMET;
    return true;
}

static void await(const char *what, const _Atomic unsigned *number, unsigned wanted)
{
    int64_t until = milliseconds() + (int64_t)20000 * slowness();
    while (*number < wanted) {
        if (milliseconds() > until)
            fail_msg("%s did not come", what);
        usleep(5000);
    }
}

/* Until the server's store says so, which it is asked without a trace. */
static void await_row(const char *question)
{
    char path[128];
    struct failure why;
    int64_t until = milliseconds() + (int64_t)20000 * slowness(), is = 0;
    snprintf(path, sizeof path, "%s/store/fileshare.db", stage.server.folder);
    while (is != 1) {
        struct database *db = NULL;
        assert_int_equal(database_open(path, false, &db, &why), OUTCOME_OK);
        {
            scoped_query struct query q = query_on(db, question);
            if (query_row(&q, &why) == OUTCOME_OK)
                is = column_int(&q);
        }
        database_close(db);
        if (milliseconds() > until)
            fail_msg("it does not come to: %s", question);
        usleep(20000);
    }
}

struct bundle {
    char path[128];
    unsigned given, told;
};

static bool next_of(void *context, struct fileshare_put_file *out)
{
    static char names[3][16];
    struct bundle *bundle = context;
    if (bundle->given == 3)
        return false;
    snprintf(names[bundle->given], sizeof names[0], "many/%u", bundle->given);
    *out = (struct fileshare_put_file){.path = bundle->path, .name = names[bundle->given++]};
    return true;
}

static void told_of(void *context, const struct fileshare_put_file *file, const struct fileshare_entry *entry,
                    bool unchanged, const struct fileshare_error *error)
{
    struct bundle *bundle = context;
    (void)file;
    (void)error;
    bundle->told += entry != NULL && !unchanged;
}

/* Three in one call: one reply tells of all. */
static void put_bundle(void)
{
    struct fileshare_error error = {0};
    struct bundle bundle = {0};
    struct fileshare_put_many many = {.next = next_of, .told = told_of, .context = &bundle};
    snprintf(bundle.path, sizeof bundle.path, "%s/bundled", stage.server.folder);
    FILE *file = fopen(bundle.path, "we");
    assert_non_null(file);
    assert_true(fputs("some words", file) >= 0 && fclose(file) == 0);
    assert_int_equal(fileshare_put_many(stage.session, &many, &error), FILESHARE_OK);
    assert_int_equal(bundle.told, 3);
    told(UPLOAD_MANY, "SELECT count(*) = 3 FROM entry WHERE name GLOB 'many/*'");
}

/* In one call, too large for the database together: their contents lie side by side in a blob. */
static void put_beside(void)
{
    enum { FILES = 3, SIZE = 40000 };
    uint8_t *bytes = pattern_bytes(SIZE, 9);
    by_hand_put_many(stage.session, "beside", FILES, bytes, SIZE);
    free(bytes);
    told(UPLOAD_MANY,
         "SELECT count(*) = 3 AND count(DISTINCT blob) = 1 AND count(DISTINCT place) = 3 FROM entry"
         " JOIN content ON content.id = content WHERE name GLOB 'beside/*'");
    stage.acts[stage.act_count - 1].blob = true;
}

static void do_files(void)
{
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    put("small", 1000, UPLOAD, false);
    put("middle", 100000, UPLOAD, false);
    put("large", 2500000, COMMIT, false);
    put_bundle();
    put_beside();
    put("small", 1001, UPLOAD, true);
    put("large", 2400000, COMMIT, true);
    assert_int_equal(fileshare_rename(stage.session, "middle", "moved", false, &entry, &error), FILESHARE_OK);
    told(RENAME,
         "SELECT (SELECT count(*) FROM entry WHERE name = 'moved') AND NOT (SELECT count(*) FROM entry"
         " WHERE name = 'middle')");
    assert_int_equal(fileshare_remove(stage.session, "small", NULL, &error), FILESHARE_OK);
    told(REMOVE, "SELECT NOT count(*) FROM entry WHERE name = 'small'");
}

static struct fileshare_id wait_for(const char *pattern, bool every, uint32_t seconds)
{
    struct fileshare_error error = {0};
    struct fileshare_register what = {.pattern = pattern, .every = every, .seconds = seconds};
    struct fileshare_registered registered;
    what.glob = strchr(pattern, '*') != NULL;
    assert_int_equal(fileshare_interest(stage.session, &what, NULL, NULL, &registered, &error), FILESHARE_OK);
    told(REGISTER, "SELECT count(*) FROM interest WHERE pattern = '%s' AND state = 0", pattern);
    return registered.id;
}

static void do_interests(void)
{
    struct fileshare_error error = {0};
    struct seen seen = {0};
    uint32_t left;
    struct fileshare_id kept = wait_for("kept", false, 1000);
    assert_int_equal(fileshare_renew(stage.session, &kept, 5000, &left, &error), FILESHARE_OK);
    told(RENEW,
         "SELECT ends - (SELECT time_seen FROM store) > 4000000000000 FROM interest WHERE pattern = 'kept'");
    assert_int_equal(fileshare_cancel(stage.session, &kept, NULL, NULL, NULL, &error), FILESHARE_OK);
    told(CANCEL, "SELECT NOT count(*) FROM interest WHERE pattern = 'kept'");
    assert_int_equal(fileshare_attach(stage.session, see, &seen, &error), FILESHARE_OK);
    wait_for("news/*", true, 1000);
    wait_for("once", false, 1000);
    put("news/1", 10, UPLOAD, false);
    put("once", 50000, UPLOAD, false);
    await("the arrivals", &seen.arrived, 2);
    wait_for("never", false, 1);
    await("the end of an interest", &seen.unmet, 1);
    /* All was acknowledged, and that is kept, too. */
    await_row("SELECT NOT count(*) FROM event");
    await_row("SELECT NOT count(*) FROM kept");
    fileshare_detach(stage.session);
}

/* A mailbox without a way back, which is asked, and thereby told what was shown; an upload that is given up. */
static void do_by_hand(void)
{
    const struct id mailbox = id_random(), upload = id_random();
    uint64_t numbers[FS_EVENTS_MAX];
    char bytes[1000] = "", secret[33];
    by_hand_register(stage.session, &mailbox, "asked/*");
    told(REGISTER, "SELECT count(*) FROM interest WHERE pattern = 'asked/*' AND state = 0");
    put("asked/1", 10, UPLOAD, false);
    put("asked/2", 20, UPLOAD, false);
    await_row("SELECT count(*) = 2 FROM event");
    assert_int_equal(by_hand_events(stage.session, &mailbox, 0, numbers), 2);
    const unsigned long long first = numbers[0], second = numbers[1];
    told(EVENTS, "SELECT count(*) = 2 FROM event WHERE number IN (%llu, %llu)", first, second);
    stage.acts[stage.act_count - 1].reads = true;
    assert_int_equal(by_hand_events(stage.session, &mailbox, first, numbers), 1);
    told(EVENTS, "SELECT group_concat(number) = '%llu' FROM event", second);
    by_hand_forget(stage.session, &mailbox);
    id_text(&mailbox, secret);
    told(DETACH, "SELECT NOT count(*) FROM mailbox WHERE secret = x'%s'", secret);
    assert_int_equal(by_hand_open(stage.session, &upload, "given up"), 0);
    told(OPEN, "SELECT count(*) FROM upload");
    by_hand_data(stage.session, &upload, bytes, sizeof bytes);
    by_hand_abort(stage.session, &upload);
    told(ABORT, "SELECT NOT count(*) FROM upload");
}

/* ---- an upload that is broken off ---- */

struct sending {
    int fd;
    pthread_t thread;
    struct fileshare *session;
    atomic_bool goes_on;
};

/* Half-way it waits until the server is gone. */
static void hold_up(void *context, uint64_t moved, uint64_t total)
{
    struct sending *sending = context;
    while (moved >= total / 2 && !sending->goes_on)
        usleep(5000);
}

static void *send_main(void *argument)
{
    struct sending *sending = argument;
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    bool unchanged;
    struct fileshare_put put = {.name = "half",
                                .fd = sending->fd,
                                .mtime = 1,
                                .progress = hold_up,
                                .context = sending};
    enum fileshare_status status = fileshare_put(sending->session, &put, &entry, &unchanged, &error);
    return status == FILESHARE_OK ? argument : NULL;
}

/* Bytes that the server holds of the only upload. */
static off_t bytes_coming(void)
{
    char path[128];
    off_t size = 0;
    snprintf(path, sizeof path, "%s/store/incoming", stage.server.folder);
    DIR *walk = opendir(path);
    assert_non_null(walk);
    for (struct dirent *at = readdir(walk); at; at = readdir(walk)) {
        struct stat status;
        if (at->d_name[0] != '.' && fstatat(dirfd(walk), at->d_name, &status, 0) == 0)
            size += status.st_size;
    }
    closedir(walk);
    return size;
}

/* The server is stopped in the middle of it: what came is recorded, and durable. */
static void stop_in_an_upload(void)
{
    uint8_t *bytes = pattern_bytes(ACTS_PIECE, 5);
    struct sending sending = {.fd = file_of(bytes, ACTS_PIECE), .session = stage.session};
    void *done = NULL;
    int64_t until = milliseconds() + (int64_t)20000 * slowness();
    free(bytes);
    pthread_create(&sending.thread, NULL, send_main, &sending);
    while (bytes_coming() < ACTS_PIECE / 4) {
        if (milliseconds() > until)
            fail_msg("no bytes come");
        usleep(5000);
    }
    daemon_stop(&stage.server, SIGTERM);
    sending.goes_on = true;
    pthread_join(sending.thread, &done);
    assert_null(done);
    close(sending.fd);
}

void acts_do(void)
{
    do_files();
    do_interests();
    do_by_hand();
    stop_in_an_upload();
}

/* ---- other programs ---- */

void acts_run_traced(const char *trace, const char *const *words)
{
    const char *all[TRACE_WORDS + 16];
    char program[512];
    int status = 0;
    snprintf(program, sizeof program, "%s/fileshared", getenv("FILESHARE_BUILD"));
    trace_strace(trace, all);
    size_t count = 0;
    while (all[count])
        count++;
    all[count++] = program;
    while (*words)
        all[count++] = *words++;
    all[count] = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(126);
        execvp(all[0], (char *const *)(uintptr_t)all);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* The tracer ends after what it traced: its last word is that the process is gone. */
void acts_await_tracer(const char *trace)
{
    char command[200];
    snprintf(command, sizeof command, "tail -n 1 %s | grep -q '+++ exited with\\|+++ killed'", trace);
    int64_t until = milliseconds() + (int64_t)20000 * slowness();
    while (system(command) != 0) {
        if (milliseconds() > until)
            fail_msg("%s has no end", trace);
        usleep(20000);
    }
}

/* Somebody writes into a blob; the file that has it is set aside. */
void acts_repair(const char *store, const char *trace)
{
    char path[256], name[33] = "";
    struct failure why;
    struct database *db = NULL;
    snprintf(path, sizeof path, "%s/fileshare.db", store);
    assert_int_equal(database_open(path, false, &db, &why), OUTCOME_OK);
    {
        scoped_query struct query q = query_on(db, "SELECT lower(hex(blob)) FROM content WHERE id = (SELECT "
                                                   "content FROM entry WHERE name = 'moved')");
        assert_int_equal(query_row(&q, &why), OUTCOME_OK);
        column_text(&q, name, sizeof name);
    }
    database_close(db);
    snprintf(path, sizeof path, "%s/blobs/%.2s/%s", store, name, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "?!", 2, 777), 2);
    close(fd);
    trace_note_write(&stage.trace, path, "?!", 2, 777);
    acts_run_traced(trace, (const char *const[]){"fsck", "--repair", "--deep", "--store", store, NULL});
    acts_await_tracer(trace);
    trace_read(&stage.trace, trace);
}
