/* Files up and down through libfileshare and a real server, also when the way is cut. */
#include "client/daemon.h"
#include "client/proxy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { CHUNK = 512 << 10, LARGE = 9 * CHUNK + 4711 };

static struct daemon server;
static struct fileshare *session;
static uint8_t *bytes; /* LARGE of them */

static int begin(void **state)
{
    (void)state;
    daemon_begin(&server);
    session = daemon_session(&server, server.tcp, 0);
    bytes = pattern_bytes(LARGE, 1);
    return 0;
}

static int end(void **state)
{
    (void)state;
    free(bytes);
    fileshare_close(session);
    daemon_end(&server);
    return 0;
}

static void test_about(void **state)
{
    (void)state;
    struct fileshare_server_info info;
    int64_t ns = 0;
    fileshare_server(session, &info);
    assert_string_equal(info.address, server.tcp);
    assert_non_null(strstr(info.software, "fileshared"));
    assert_int_not_equal(info.principal[0], '\0');
    assert_true(info.now > 0);
    assert_int_equal(fileshare_ping(session, &ns, NULL), FILESHARE_OK);
    assert_true(ns > 0);
}

static void test_sizes(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 1, 65536, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, LARGE};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[32];
        snprintf(name, sizeof name, "sizes/%zu", sizes[i]);
        put_ok(session, name, bytes, sizes[i]);
        get_ok(session, name, bytes, sizes[i]);
    }
}

static void test_unix_socket(void **state)
{
    (void)state;
    struct fileshare *local = daemon_session(&server, server.local, 0);
    struct fileshare_server_info info;
    fileshare_server(local, &info);
    assert_string_equal(info.address, server.local);
    put_ok(local, "local", bytes, LARGE);
    get_ok(local, "local", bytes, LARGE);
    fileshare_close(local);
}

/* ---- pipes ---- */

struct feed {
    int fd;
    size_t size;
    useconds_t pause; /* once, in the middle */
};

static void *feed_run(void *argument)
{
    struct feed *feed = argument;
    for (size_t done = 0; done < feed->size;) {
        size_t count = feed->size - done < 50000 ? feed->size - done : 50000;
        ssize_t put = write(feed->fd, bytes + done, count);
        if (put <= 0)
            break;
        if (done < feed->size / 2 && done + (size_t)put >= feed->size / 2)
            usleep(feed->pause);
        done += (size_t)put;
    }
    close(feed->fd);
    return NULL;
}

static enum fileshare_status put_pipe(struct fileshare *with, const char *name, size_t size, bool *unchanged)
{
    int fds[2];
    pthread_t thread;
    struct fileshare_entry entry;
    assert_int_equal(pipe(fds), 0);
    struct feed feed = {.fd = fds[1], .size = size, .pause = 20000};
    pthread_create(&thread, NULL, feed_run, &feed);
    struct fileshare_put put = {.name = name, .fd = fds[0], .label = "the pipe", .mtime = INT64_MIN};
    struct fileshare_error error = {0};
    enum fileshare_status status = fileshare_put(with, &put, &entry, unchanged, &error);
    if (status == FILESHARE_OK)
        assert_int_equal(entry.size, size);
    close(fds[0]);
    pthread_join(thread, NULL);
    return status;
}

static void test_pipe(void **state)
{
    (void)state;
    const size_t sizes[] = {0, 10, CHUNK, CHUNK + 1, LARGE};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[32];
        bool unchanged = true;
        snprintf(name, sizeof name, "pipe/%zu", sizes[i]);
        assert_int_equal(put_pipe(session, name, sizes[i], &unchanged), FILESHARE_OK);
        assert_false(unchanged);
        get_ok(session, name, bytes, sizes[i]);
        assert_int_equal(put_pipe(session, name, sizes[i], &unchanged), FILESHARE_OK);
        assert_true(unchanged);
        assert_int_equal(put_pipe(session, name, sizes[i] + 1, &unchanged), FILESHARE_EXISTS);
    }
}

/* Nobody dies of it, and the next download is fine. */
static void test_get_to_a_closed_pipe(void **state)
{
    (void)state;
    int fds[2];
    sigset_t pending;
    put_ok(session, "closed", bytes, LARGE);
    assert_int_equal(pipe(fds), 0);
    close(fds[0]);
    struct fileshare_get get = {.name = "closed", .fd = fds[1], .label = "the pipe"};
    struct fileshare_error error = {0};
    assert_int_equal(fileshare_get(session, &get, NULL, &error), FILESHARE_LOCAL);
    assert_non_null(strstr(error.text, "the pipe"));
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    close(fds[1]);
    get_ok(session, "closed", bytes, LARGE);
}

/* A full disk of ours is no matter of the server's. */
static void test_get_to_a_full_disk(void **state)
{
    (void)state;
    int fd = open("/dev/full", O_WRONLY);
    struct fileshare_get get = {.name = "closed", .fd = fd, .label = "the disk"};
    struct fileshare_error error = {0};
    assert_int_equal(fileshare_get(session, &get, NULL, &error), FILESHARE_LOCAL);
    assert_non_null(strstr(error.text, "the disk"));
    close(fd);
}

/* ---- what is there already ---- */

static void test_unchanged_and_replace(void **state)
{
    (void)state;
    const size_t sizes[] = {5, LARGE};
    for (size_t i = 0; i < 2; i++) {
        char name[32];
        bool unchanged = false;
        struct fileshare_entry first, entry;
        size_t size = sizes[i];
        snprintf(name, sizeof name, "again/%zu", size);
        assert_int_equal(put_bytes(session, name, bytes, size, false, NULL, &first), FILESHARE_OK);
        assert_int_equal(put_bytes(session, name, bytes, size, false, &unchanged, &entry), FILESHARE_OK);
        assert_true(unchanged);
        assert_memory_equal(&entry.version, &first.version, sizeof first.version);
        assert_int_equal(put_bytes(session, name, bytes, size, true, &unchanged, &entry), FILESHARE_OK);
        assert_true(unchanged); /* to replace it with itself changes nothing */

        uint8_t *other = pattern_bytes(size, 2);
        assert_int_equal(put_bytes(session, name, other, size, false, &unchanged, &entry), FILESHARE_EXISTS);
        assert_int_equal(put_bytes(session, name, bytes, size - 1, false, &unchanged, &entry),
                         FILESHARE_EXISTS);
        get_ok(session, name, bytes, size);
        assert_int_equal(put_bytes(session, name, other, size, true, &unchanged, &entry), FILESHARE_OK);
        assert_false(unchanged);
        get_ok(session, name, other, size);
        free(other);

        /* The version that was replaced can still be had for a while. */
        int fd = file_of("", 0);
        struct fileshare_get get = {.name = name, .version = first.version, .fd = fd};
        assert_int_equal(fileshare_get(session, &get, &entry, NULL), FILESHARE_OK);
        expect_file(fd, bytes, size);
        get.version.octets[0] ^= 1; /* one that never was */
        assert_int_equal(fileshare_get(session, &get, &entry, NULL), FILESHARE_CHANGED);
        close(fd);
    }
}

static void test_names_that_cannot_be(void **state)
{
    (void)state;
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    const char *names[] = {"", "/a", "a/", "a//b", "..", "a\nb", "\xff"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(put_bytes(session, names[i], "x", 1, false, NULL, NULL), FILESHARE_INVALID);
        assert_int_equal(fileshare_stat(session, names[i], &entry, &error), FILESHARE_INVALID);
        assert_null(strpbrk(error.text, "\n\xff"));
    }
    assert_int_equal(fileshare_stat(session, "nothing/here", &entry, &error), FILESHARE_ABSENT);
    struct fileshare_get get = {.name = "nothing/here", .fd = 1};
    assert_int_equal(fileshare_get(session, &get, &entry, &error), FILESHARE_ABSENT);
    assert_non_null(strstr(error.text, "nothing/here"));
}

/* ---- to a path ---- */

static void in_folder(char path[256], const char *leaf)
{
    snprintf(path, 256, "%s/%s", server.folder, leaf);
}

static void test_get_to(void **state)
{
    (void)state;
    char path[256], other[256];
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    struct fileshare_get get = {.name = "to"};
    struct stat status;
    put_ok(session, "to", bytes, LARGE);
    in_folder(path, "target");

    assert_int_equal(fileshare_get_to(session, &get, path, false, &entry, &error), FILESHARE_OK);
    int fd = open(path, O_RDONLY);
    expect_file(fd, bytes, LARGE);
    close(fd);
    assert_int_equal(stat(path, &status), 0);
    assert_true((int64_t)status.st_mtim.tv_sec * 1000000000 + status.st_mtim.tv_nsec == 1234567890);

    /* It is kept unless told, and then keeps its mode. */
    assert_int_equal(truncate(path, 3), 0);
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(fileshare_get_to(session, &get, path, false, &entry, &error), FILESHARE_EXISTS);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, 3);
    assert_int_equal(fileshare_get_to(session, &get, path, true, &entry, &error), FILESHARE_OK);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, LARGE);
    assert_int_equal(status.st_mode & 0777, 0600);
    unlink(path);

    in_folder(other, "no/folder");
    assert_int_equal(fileshare_get_to(session, &get, other, false, &entry, &error), FILESHARE_LOCAL);
    in_folder(other, "state/");
    assert_int_equal(fileshare_get_to(session, &get, other, false, &entry, &error), FILESHARE_INVALID);
    in_folder(other, "store");
    assert_int_equal(fileshare_get_to(session, &get, other, true, &entry, &error), FILESHARE_LOCAL);
    get.name = "absent";
    in_folder(other, "absent");
    assert_int_equal(fileshare_get_to(session, &get, other, false, &entry, &error), FILESHARE_ABSENT);
    char command[300];
    snprintf(command, sizeof command, "test -z \"$(find %s -maxdepth 1 -name '*.part')\"", server.folder);
    assert_int_equal(system(command), 0); /* nothing half-written is left */
}

/* ---- the file changes under us ---- */

struct meddler {
    int fd;
    bool done;
};

static void meddle(void *context, uint64_t moved, uint64_t total)
{
    struct meddler *meddler = context;
    assert_int_equal(total, LARGE);
    if (moved == 0 || meddler->done)
        return;
    meddler->done = true;
    assert_int_equal(pwrite(meddler->fd, "!", 1, 10), 1);
}

static void test_file_changes(void **state)
{
    (void)state;
    int fd = file_of(bytes, LARGE);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    struct meddler meddler = {.fd = fd};
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    assert_int_equal(futimens(fd, times), 0);
    struct fileshare_put put = {.name = "changing", .fd = fd, .progress = meddle, .context = &meddler};
    assert_int_equal(fileshare_put(session, &put, &entry, NULL, &error), FILESHARE_CHANGED);
    assert_true(meddler.done);
    assert_int_equal(fileshare_stat(session, "changing", &entry, &error), FILESHARE_ABSENT);
    close(fd);
}

/* ---- stopped ---- */

static void stop_at_once(void *context, uint64_t moved, uint64_t total)
{
    (void)moved;
    (void)total;
    fileshare_stop(context);
}

static void test_stop(void **state)
{
    (void)state;
    struct fileshare *mine = daemon_session(&server, server.tcp, 0);
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    int fd = file_of(bytes, LARGE);
    struct fileshare_put put = {.name = "stopped", .fd = fd, .progress = stop_at_once, .context = mine};
    assert_int_equal(fileshare_put(mine, &put, &entry, NULL, &error), FILESHARE_STOPPED);
    assert_int_equal(fileshare_stat(mine, "stopped", &entry, &error), FILESHARE_ABSENT); /* it works again */
    close(fd);

    put_ok(mine, "stopped", bytes, LARGE);
    fd = file_of("", 0);
    struct fileshare_get get = {.name = "stopped", .fd = fd, .progress = stop_at_once, .context = mine};
    assert_int_equal(fileshare_get(mine, &get, &entry, &error), FILESHARE_STOPPED);
    close(fd);

    fileshare_stop(mine);
    fileshare_forget_stop(mine);
    assert_int_equal(fileshare_stat(mine, "stopped", &entry, &error), FILESHARE_OK);
    fileshare_close(mine);
}

static void *stop_later(void *argument)
{
    usleep(50000);
    fileshare_stop(argument);
    return NULL;
}

/* A server that does not answer does not hold who is told to stop. */
static void test_stop_while_the_server_hangs(void **state)
{
    (void)state;
    struct fileshare *mine = daemon_session(&server, server.tcp, 60);
    pthread_t thread;
    struct fileshare_entry entry;
    daemon_freeze(&server);
    int64_t began = milliseconds();
    pthread_create(&thread, NULL, stop_later, mine);
    assert_int_equal(fileshare_stat(mine, "x", &entry, NULL), FILESHARE_STOPPED);
    assert_true(milliseconds() - began < 1000 * slowness());
    kill(server.pid, SIGCONT);
    pthread_join(thread, NULL);
    assert_int_equal(fileshare_stat(mine, "x", &entry, NULL), FILESHARE_ABSENT);
    fileshare_close(mine);
}

/* ---- cut off ---- */

static void test_upload_resumes(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    struct fileshare *through = daemon_session(&server, proxy_address(proxy), 30);
    const uint64_t cuts[] = {1, CHUNK / 2, CHUNK + 100, 3 * CHUNK, LARGE};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        char name[32];
        unsigned before = proxy_cuts(proxy);
        snprintf(name, sizeof name, "cut/%zu", i);
        proxy_plan(proxy, 3, cuts[i], 0);
        put_ok(through, name, bytes, LARGE);
        assert_true(proxy_cuts(proxy) > before);
        proxy_plan(proxy, 0, 0, 0);
        get_ok(through, name, bytes, LARGE);
    }
    /* The replies are lost, and what was done counts once. */
    for (size_t i = 0; i < 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "lost/%zu", i);
        proxy_plan(proxy, 1, 0, 200 + i * 150);
        put_ok(through, name, bytes, i % 2 ? 100 : LARGE);
        proxy_plan(proxy, 0, 0, 0);
        get_ok(through, name, bytes, i % 2 ? 100 : LARGE);
    }
    fileshare_close(through);
    proxy_free(proxy);
}

static void test_pipe_resumes(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    struct fileshare *through = daemon_session(&server, proxy_address(proxy), 30);
    bool unchanged;
    proxy_plan(proxy, 2, 2 * CHUNK, 0);
    assert_int_equal(put_pipe(through, "cut/pipe", LARGE, &unchanged), FILESHARE_OK);
    assert_true(proxy_cuts(proxy) > 0);
    proxy_plan(proxy, 0, 0, 0);
    get_ok(through, "cut/pipe", bytes, LARGE);
    fileshare_close(through);
    proxy_free(proxy);
}

static void test_download_resumes(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    struct fileshare *through = daemon_session(&server, proxy_address(proxy), 30);
    put_ok(session, "cut/down", bytes, LARGE);
    proxy_plan(proxy, 4, 0, 2 * CHUNK);
    get_ok(through, "cut/down", bytes, LARGE);
    assert_int_equal(proxy_cuts(proxy), 4);
    fileshare_close(through);
    proxy_free(proxy);
}

/* What TCP's checksum lets through, the digest finds. */
static void test_spoilt_on_the_way(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    struct fileshare *through = daemon_session(&server, proxy_address(proxy), 0);
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    const size_t sizes[] = {CHUNK, LARGE};
    for (size_t i = 0; i < 2; i++) {
        char name[32];
        snprintf(name, sizeof name, "spoilt/%zu", i);
        fileshare_close(through);
        through = daemon_session(&server, proxy_address(proxy), 0);
        proxy_spoil(proxy, CHUNK / 2, 0);
        assert_int_equal(put_bytes(through, name, bytes, sizes[i], false, NULL, NULL), FILESHARE_CHANGED);
        assert_int_equal(fileshare_stat(session, name, &entry, &error), FILESHARE_ABSENT);
        put_ok(session, name, bytes, sizes[i]);
        fileshare_close(through);
        through = daemon_session(&server, proxy_address(proxy), 0);
        proxy_spoil(proxy, 0, CHUNK / 2);
        int fd = file_of("", 0);
        struct fileshare_get get = {.name = name, .fd = fd};
        assert_int_equal(fileshare_get(through, &get, &entry, &error), FILESHARE_CORRUPT);
        close(fd);
    }
    fileshare_close(through);
    proxy_free(proxy);
}

static void test_no_retry_says_so(void **state)
{
    (void)state;
    struct proxy *proxy = proxy_new(server.port);
    struct fileshare *through = daemon_session(&server, proxy_address(proxy), 0);
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    int64_t ns;
    proxy_plan(proxy, 100, CHUNK, 0);
    assert_int_equal(put_bytes(through, "never", bytes, LARGE, false, NULL, &entry), FILESHARE_UNREACHABLE);
    proxy_plan(proxy, 0, 0, 0);
    assert_int_equal(fileshare_stat(through, "never", &entry, &error), FILESHARE_ABSENT);
    /* A connection that went while nothing was done is no failure. */
    proxy_cut_all(proxy);
    assert_int_equal(fileshare_ping(through, &ns, &error), FILESHARE_OK);
    proxy_cut_all(proxy);
    assert_int_equal(fileshare_stat(through, "never", &entry, &error), FILESHARE_ABSENT);
    proxy_cut_all(proxy);
    put_ok(through, "idle", bytes, LARGE);
    proxy_cut_all(proxy);
    get_ok(through, "idle", bytes, LARGE);
    fileshare_close(through);
    proxy_free(proxy);
}

/* kill -9 in the middle: the upload goes on with what the server still holds. */
struct killer {
    bool done;
};

static void kill_the_server(void *context, uint64_t moved, uint64_t total)
{
    struct killer *killer = context;
    (void)total;
    if (moved < LARGE / 2 || killer->done)
        return;
    killer->done = true;
    daemon_stop(&server, SIGKILL);
    daemon_start(&server);
}

static void test_server_killed(void **state)
{
    (void)state;
    struct fileshare *mine = daemon_session(&server, server.tcp, 30);
    struct killer killer = {false};
    struct fileshare_entry entry;
    struct fileshare_error error = {0};
    int fd = file_of(bytes, LARGE);
    struct fileshare_put put = {.name = "killed", .fd = fd, .progress = kill_the_server, .context = &killer};
    if (fileshare_put(mine, &put, &entry, NULL, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
    assert_true(killer.done);
    close(fd);
    get_ok(mine, "killed", bytes, LARGE);

    fd = file_of("", 0);
    killer.done = false;
    struct fileshare_get get = {.name = "killed", .fd = fd, .progress = kill_the_server, .context = &killer};
    if (fileshare_get(mine, &get, &entry, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
    assert_true(killer.done);
    expect_file(fd, bytes, LARGE);
    close(fd);
    fileshare_close(mine);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct fileshare *none = NULL;
    struct fileshare_error error = {0};
    struct fileshare_options options = {.server = "127.0.0.1:1", .connect_seconds = 2};
    assert_int_equal(fileshare_open(&options, &none, &error), FILESHARE_UNREACHABLE);
    assert_non_null(strstr(error.text, "127.0.0.1:1"));
    options.server = "unix:/no/such/socket";
    assert_int_equal(fileshare_open(&options, &none, &error), FILESHARE_UNREACHABLE);
    options.server = "host:";
    assert_int_equal(fileshare_open(&options, &none, &error), FILESHARE_INVALID);
    assert_null(none);
}

static void test_connects_later(void **state)
{
    (void)state;
    struct fileshare *later = NULL;
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    int64_t ns = 0;
    struct fileshare_options options = {.server = "127.0.0.1:1", .connect_later = true};
    assert_int_equal(fileshare_open(&options, &later, &error), FILESHARE_OK);
    assert_int_equal(fileshare_ping(later, &ns, &error), FILESHARE_UNREACHABLE);
    fileshare_close(later);
    options.server = server.tcp;
    assert_int_equal(fileshare_open(&options, &later, &error), FILESHARE_OK);
    fileshare_stop(later);
    assert_int_equal(fileshare_ping(later, &ns, &error), FILESHARE_STOPPED);
    assert_int_equal(fileshare_ping(later, &ns, &error), FILESHARE_OK);
    assert_true(ns > 0);
    put_ok(later, "later", "x", 1);
    assert_int_equal(fileshare_stat(later, "later", &entry, &error), FILESHARE_OK);
    fileshare_close(later);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_about),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_pipe),
        cmocka_unit_test(test_get_to_a_closed_pipe),
        cmocka_unit_test(test_get_to_a_full_disk),
        cmocka_unit_test(test_unchanged_and_replace),
        cmocka_unit_test(test_names_that_cannot_be),
        cmocka_unit_test(test_get_to),
        cmocka_unit_test(test_file_changes),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_stop_while_the_server_hangs),
        cmocka_unit_test(test_upload_resumes),
        cmocka_unit_test(test_pipe_resumes),
        cmocka_unit_test(test_download_resumes),
        cmocka_unit_test(test_spoilt_on_the_way),
        cmocka_unit_test(test_no_retry_says_so),
        cmocka_unit_test(test_server_killed),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_connects_later),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
