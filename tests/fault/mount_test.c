/*
 * Real file systems, small ones: full, and full to the last byte; a database
 * that is full, or that another process holds; one that the kernel makes
 * read-only in service. In mount namespaces of this process's own.
 */
#include "fault/inspect.h"
#include "fault/world.h"
#include "place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* In doubt the library tries some times by itself, with pauses. */
enum { REFUSALS = 300, DOUBTS = 45, INTERESTS_MAX = 5000, LARGE = 700000 };

struct stage {
    struct world world;
    struct fileshare *session;
    struct fileshare_entry kept;
    bool mounted;
    unsigned serial;
};

static struct stage stage;

/* ---- the file system ---- */

static bool has_mounts_of_its_own(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static void store_path(char out[128])
{
    snprintf(out, 128, "%s/store", stage.world.server.folder);
}

/* Bytes that are nobody's: the file system has `leave` left, or none at all. */
static void fill_up(uint64_t leave)
{
    enum { STEP = 4096 };
    char path[160], folder[128], step[STEP] = {1};
    store_path(folder);
    snprintf(path, sizeof path, "%s/filler", folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    while (write(fd, step, sizeof step) > 0)
        continue;
    assert_int_equal(errno, ENOSPC);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(ftruncate(fd, status.st_size > (off_t)leave ? status.st_size - (off_t)leave : 0), 0);
    close(fd);
}

static void make_room(void)
{
    char path[160], folder[128];
    store_path(folder);
    snprintf(path, sizeof path, "%s/filler", folder);
    assert_int_equal(unlink(path), 0);
}

/* ---- the server ---- */

static void open_session(void)
{
    stage.session = world_session(&stage.world, "mount", 0);
    assert_non_null(stage.session);
}

static void begin_serving(void)
{
    struct fileshare_error error = {0};
    static const char *const options[] = {"--reserve", "4M", NULL};
    stage.world.server.options = options;
    daemon_start(&stage.world.server);
    open_session();
    assert_int_equal(world_put(&stage.world, stage.session, "kept", 300000, 1, false, &stage.kept, &error),
                     FILESHARE_OK);
}

static int begin(void **state)
{
    (void)state;
    char folder[128];
    stage = (struct stage){.world.seed = 1}; /* nothing here is random */
    daemon_prepare(&stage.world.server, place_on_disk());
    store_path(folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    char folder[128];
    store_path(folder);
    fileshare_close(stage.session);
    if (stage.world.server.pid != 0)
        daemon_stop(&stage.world.server, SIGTERM);
    bool well = stage.world.wrong == 0;
    if (stage.mounted) {
        inspect_deep(&stage.world);
        inspect_swept(&stage.world);
        well = stage.world.wrong == 0;
        if (umount(folder) != 0)
            well = false;
    }
    daemon_end(&stage.world.server);
    return well ? 0 : -1;
}

/* False: this user cannot. */
static bool serve_on_tmpfs(const char *size)
{
    char folder[128], options[64];
    if (!has_mounts_of_its_own()) {
        print_message("no mounts of its own: %s\n", strerror(errno));
        return false;
    }
    store_path(folder);
    snprintf(options, sizeof options, "size=%s,mode=0700", size);
    assert_int_equal(mount("tmpfs", folder, "tmpfs", 0, options), 0);
    stage.mounted = true;
    begin_serving();
    return true;
}

/* ---- what is seen ---- */

static unsigned count_lines(const char *words)
{
    char path[128], line[1024];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/log", stage.world.server.folder);
    FILE *log = fopen(path, "re");
    assert_non_null(log);
    while (fgets(line, sizeof line, log))
        count += strstr(line, words) != NULL;
    fclose(log);
    return count;
}

static void await_line(const char *words, unsigned count)
{
    int64_t until = milliseconds() + (int64_t)60000 * slowness();
    while (count_lines(words) < count) {
        if (milliseconds() > until) {
            daemon_show_log(&stage.world.server);
            fail_msg("the log does not say \"%s\"", words);
        }
        nanosleep(&(struct timespec){.tv_nsec = 50 * 1000000}, NULL);
    }
}

static enum fileshare_status put(const char *name, size_t size, struct fileshare_error *error)
{
    struct fileshare_entry entry;
    return world_put(&stage.world, stage.session, name, size, ++stage.serial, true, &entry, error);
}

static void expect(enum fileshare_status status, enum fileshare_status expected,
                   const struct fileshare_error *error)
{
    if (status == expected)
        return;
    daemon_show_log(&stage.world.server);
    fail_msg("%d, not %d: %s", status, expected, error->text);
}

/* Reading, listing and asking go on whatever the disk does. */
static void expect_readers_served(void)
{
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    int64_t ns;
    expect(fileshare_ping(stage.session, &ns, &error), FILESHARE_OK, &error);
    expect(fileshare_stat(stage.session, "kept", &entry, &error), FILESHARE_OK, &error);
    world_get(&stage.world, stage.session, &stage.kept);
    assert_int_equal(stage.world.wrong, 0);
}

static enum fileshare_status register_one(struct fileshare_id *id, struct fileshare_error *error)
{
    struct fileshare_register what = {.pattern = "what does not come", .seconds = 3600};
    struct fileshare_registered registered;
    enum fileshare_status status = fileshare_interest(stage.session, &what, NULL, NULL, &registered, error);
    *id = registered.id;
    return status;
}

/* ---- the tests ---- */

/* `fileshare-client put`: its words, and that no byte was sent. */
static void expect_refused_before_bytes(void)
{
    char path[128], command[640], line[512] = "";
    uint64_t before = counted(stage.session, "calls.upload_data");
    snprintf(path, sizeof path, "%s/report.csv", stage.world.server.folder);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, (off_t)3 << 29) == 0);
    close(fd);
    snprintf(command, sizeof command, "LC_ALL=C %s/fileshare-client --server %s --no-rpcbind put %s 2>&1",
             getenv("FILESHARE_BUILD"), stage.world.server.tcp, path);
    FILE *client = popen(command, "r");
    assert_non_null(client);
    assert_non_null(fgets(line, sizeof line, client));
    while (fgetc(client) != EOF)
        continue;
    int status = pclose(client);
    if (!strstr(line, "put: ") || !strstr(line, "report.csv: server is out of space (needs 1.5 GiB, has "))
        fail_msg("the client says: %s", line);
    assert_int_not_equal(status, 0);
    assert_int_equal(counted(stage.session, "calls.upload_data"), before);
}

static void test_full(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    struct fileshare_id id;
    if (!serve_on_tmpfs("24m"))
        skip();
    expect_refused_before_bytes();
    expect(put("doomed", LARGE, &error), FILESHARE_OK, &error);
    fill_up(2 << 20); /* less than the reserve */
    for (unsigned i = 0; i < REFUSALS; i++) {
        expect(put("more", i % 2 ? 1000 : LARGE, &error), FILESHARE_NOSPACE, &error);
        assert_non_null(strstr(error.text, "out of space"));
        if (i % 50 == 0)
            expect_readers_served();
    }
    /* The reserve is for this: what makes room, and what is owed. */
    expect(register_one(&id, &error), FILESHARE_OK, &error);
    expect(fileshare_cancel(stage.session, &id, NULL, NULL, NULL, &error), FILESHARE_OK, &error);
    expect(fileshare_rename(stage.session, "doomed", "renamed", false, &(struct fileshare_entry){0}, &error),
           FILESHARE_OK, &error);
    expect(fileshare_remove(stage.session, "renamed", NULL, &error), FILESHARE_OK, &error);
    await_line("the disk is full up to the reserve of 4.0 MiB", 1);
    make_room();
    await_line("all is well again", 1);
    expect(put("more", LARGE, &error), FILESHARE_OK, &error);
    if (count_lines("error") != 1 || count_lines("all is well again") != 1) {
        daemon_show_log(&stage.world.server);
        fail_msg("the log says it more than once");
    }
}

/* Not a byte is left, not for the database either. */
static void test_full_database(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    struct fileshare_id id;
    enum fileshare_status status = FILESHARE_OK;
    if (!serve_on_tmpfs("24m"))
        skip();
    fill_up(64 << 10);
    unsigned made = 0;
    while (made < INTERESTS_MAX && status == FILESHARE_OK) {
        status = register_one(&id, &error);
        made += status == FILESHARE_OK;
    }
    expect(status, FILESHARE_NOSPACE, &error);
    for (unsigned i = 0; i < REFUSALS; i++) {
        expect(register_one(&id, &error), FILESHARE_NOSPACE, &error);
        if (i % 50 == 0)
            expect_readers_served();
    }
    if (count_lines("error") > 1) {
        daemon_show_log(&stage.world.server);
        fail_msg("the log says it more than once");
    }
    make_room();
    expect(register_one(&id, &error), FILESHARE_OK, &error);
    expect(put("more", LARGE, &error), FILESHARE_OK, &error);
    /* What was acknowledged outlives a kill. */
    fileshare_close(stage.session);
    daemon_stop(&stage.world.server, SIGKILL);
    daemon_start(&stage.world.server);
    open_session();
    assert_int_equal(counted(stage.session, "calls.upload_data"), 0);
    expect_readers_served();
    print_message("%u interests found room\n", made);
}

/* Another process that writes into the database, and takes its time. */
struct holder {
    sqlite3 *database;
    unsigned ms;
};

static void *hold_and_release(void *argument)
{
    struct holder *holder = argument;
    nanosleep(&(struct timespec){.tv_sec = holder->ms / 1000, .tv_nsec = holder->ms % 1000 * 1000000L}, NULL);
    sqlite3_exec(holder->database, "ROLLBACK", NULL, NULL, NULL);
    return NULL;
}

static void test_busy_database(void **state)
{
    (void)state;
    char folder[128], path[160];
    struct holder holder = {.ms = 500};
    struct fileshare_error error = {0};
    pthread_t thread;
    begin_serving();
    store_path(folder);
    snprintf(path, sizeof path, "%s/fileshare.db", folder);
    assert_int_equal(sqlite3_open(path, &holder.database), SQLITE_OK);
    /* For a moment: who writes waits. */
    assert_int_equal(sqlite3_exec(holder.database, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(pthread_create(&thread, NULL, hold_and_release, &holder), 0);
    expect(put("a", 1000, &error), FILESHARE_OK, &error);
    pthread_join(thread, NULL);
    /* For long: who writes is told, who reads is served. */
    assert_int_equal(sqlite3_exec(holder.database, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    expect_readers_served();
    expect(put("b", 1000, &error), FILESHARE_UNAVAILABLE, &error);
    assert_non_null(strstr(error.text, "locked"));
    expect_readers_served();
    sqlite3_exec(holder.database, "ROLLBACK", NULL, NULL, NULL);
    expect(put("b", 1000, &error), FILESHARE_OK, &error);
    sqlite3_close(holder.database);
    assert_true(count_lines("error") <= 1);
}

/* ---- read-only ---- */

/* Runs it; its first line into `out`. */
__attribute__((format(printf, 2, 3))) static bool shell(char out[256], const char *format, ...)
{
    char command[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    FILE *pipe = popen(command, "r");
    out[0] = '\0';
    if (!pipe)
        return false;
    if (fgets(out, 256, pipe))
        out[strcspn(out, "\n")] = '\0';
    while (fgetc(pipe) != EOF)
        continue;
    return pclose(pipe) == 0;
}

/* An ext4 that the kernel makes read-only when it meets an error; false: there are no loop devices. */
static bool serve_on_ext4(char device[256])
{
    char folder[128], ignored[256];
    if (!has_mounts_of_its_own())
        return false;
    store_path(folder);
    if (!shell(ignored, "truncate -s 64M %s.image && mkfs.ext4 -q -F %s.image 2>&1", folder, folder) ||
        !shell(ignored, "mount -o loop,errors=remount-ro %s.image %s 2>&1", folder, folder) ||
        !shell(device, "findmnt -n -o SOURCE %s", folder)) {
        print_message("no ext4 on a loop device: %s\n", ignored);
        return false;
    }
    stage.mounted = true;
    begin_serving();
    return true;
}

static void test_read_only(void **state)
{
    (void)state;
    char device[256], folder[128], text[256];
    struct fileshare_error error = {0};
    struct fileshare_id id;
    if (!serve_on_ext4(device))
        skip();
    store_path(folder);
    if (!shell(text, "echo 1 > /sys/fs/ext4/%s/trigger_fs_error", strrchr(device, '/') + 1)) {
        print_message("the kernel takes no errors of %s\n", device);
        skip();
    }
    for (unsigned i = 0; i < DOUBTS; i++) {
        enum fileshare_status status = i % 3 == 0   ? put("more", LARGE, &error)
                                       : i % 3 == 1 ? register_one(&id, &error)
                                                    : fileshare_remove(stage.session, "kept", NULL, &error);
        expect(status, FILESHARE_UNAVAILABLE, &error);
        assert_non_null(strstr(error.text, "the server's disk"));
        if (i % 15 == 0)
            expect_readers_served();
    }
    print_message("refused with: %s\n", error.text);
    if (count_lines("error") != 1) {
        daemon_show_log(&stage.world.server);
        fail_msg("the log says it not once");
    }
    /* ext4 comes back when it is mounted anew, and for that the server must let it go. */
    fileshare_close(stage.session);
    daemon_stop(&stage.world.server, SIGTERM);
    assert_int_equal(umount(folder), 0);
    shell(text, "e2fsck -p -f %s.image 2>&1", folder);
    assert_true(shell(text, "mount -o loop %s.image %s 2>&1", folder, folder));
    daemon_start(&stage.world.server);
    open_session();
    expect_readers_served();
    expect(put("more", LARGE, &error), FILESHARE_OK, &error);
}

#define MOUNT_TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        MOUNT_TEST(test_busy_database), /* no namespace yet: anybody can */
        MOUNT_TEST(test_full),
        MOUNT_TEST(test_full_database),
        MOUNT_TEST(test_read_only),
    };
    return cmocka_run_group_tests_name("real file systems", tests, NULL, NULL);
}
