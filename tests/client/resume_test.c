/* A transfer that is broken off goes on by itself, where the verified bytes end: cut connections, killed servers. */
#include "client/runs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct broken broken;

static int begin(void **state)
{
    (void)state;
    broken_begin(&broken, false);
    return 0;
}

static int end(void **state)
{
    (void)state;
    broken_end(&broken);
    return 0;
}

/* ---- what is told ---- */

struct story {
    unsigned lost, resumed, anew, kept;
    uint64_t from; /* where it went on last */
    uint64_t progress;
    uint64_t acknowledged; /* when it broke last */
    uint64_t moved;        /* by the relay, when it went on */
    int way;
    atomic_bool server_is_dead;
    int meddle;          /* a file that is changed while the way is lost */
    const char *replace; /* a name whose content becomes ours then */
    struct fileshare_id old;
    const char *drop; /* a name whose upload the server drops in the middle */
};

static uint64_t moved(int way)
{
    return way == 0 ? proxy_sent(broken.proxy) : proxy_received(broken.proxy);
}

static void restart_what_died(struct story *story)
{
    if (!story->server_is_dead)
        return;
    daemon_stop(&broken.server, SIGKILL);
    broken_serve(&broken);
    story->server_is_dead = false;
}

/* The sweep takes what was replaced, unless it is just being read. */
static void replace_it(struct story *story)
{
    int64_t until = milliseconds() + (int64_t)20000 * slowness();
    int fd = open("/dev/full", O_WRONLY);
    struct fileshare_get get = {.name = story->replace, .version = story->old, .fd = fd};
    assert_int_equal(put_bytes(broken.session, story->replace, broken.bytes, SIZE, true, NULL, NULL),
                     FILESHARE_OK);
    broken.owed++;
    struct fileshare_error error = {0};
    enum fileshare_status status;
    while ((status = fileshare_get(broken.session, &get, NULL, &error)) != FILESHARE_CHANGED) {
        if (milliseconds() > until)
            fail_msg("the old version does not go: %d, %s", status, error.text);
        usleep(700000);
    }
    close(fd);
}

/* On the thread that transfers: what is killed comes back once it was missed. */
static void told(void *context, const struct fileshare_incident *incident)
{
    struct story *story = context;
    switch (incident->kind) {
    case FILESHARE_LOST:
        story->lost++;
        assert_int_equal(incident->seconds, 60);
        assert_int_not_equal(incident->text[0], '\0');
        if (story->meddle > 0) {
            assert_int_equal(pwrite(story->meddle, "!", 1, 10), 1);
            story->meddle = 0;
        }
        restart_what_died(story);
        if (story->replace)
            replace_it(story);
        break;
    case FILESHARE_RESUMED:
        story->resumed++;
        story->acknowledged = story->progress;
        story->from = incident->moved;
        story->moved = moved(story->way);
        assert_false(incident->earlier);
        assert_int_equal(incident->total, SIZE);
        break;
    case FILESHARE_ANEW: story->anew++; break;
    case FILESHARE_KEPT: story->kept++; break;
    }
}

static void progress(void *context, uint64_t moved_bytes, uint64_t total)
{
    struct story *story = context;
    assert_int_equal(total, SIZE);
    story->progress = moved_bytes;
    if (story->drop && moved_bytes >= 3 * CHUNK) {
        struct id id;
        assert_true(runs_held(&broken, story->drop, &id) >= 3 * CHUNK);
        runs_drop(&broken, &id);
        story->drop = NULL;
    }
}

static struct fileshare *session_of(struct story *story)
{
    char state[128];
    struct fileshare *session = NULL;
    struct fileshare_error error = {0};
    snprintf(state, sizeof state, "%s/home/fileshare", broken.server.folder);
    struct fileshare_options options = {
        .server = proxy_address(broken.proxy),
        .software = "client test",
        .retry_seconds = 60,
        .without_rpcbind = true,
        .state_folder = state,
        .told = told,
        .told_context = story,
    };
    if (fileshare_open(&options, &session, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
    return session;
}

/* ---- transfers ---- */

static void put(struct fileshare *session, struct story *story, const char *name, int fd)
{
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    struct fileshare_put put =
        {.name = name, .fd = fd, .mtime = 1234567890, .keep = true, .progress = progress, .context = story};
    if (fileshare_put(session, &put, &entry, NULL, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
}

static void get(struct fileshare *session, struct story *story, const char *name)
{
    char path[256];
    struct fileshare_error error = {0};
    struct fileshare_entry entry;
    struct fileshare_get get = {.name = name, .keep = true, .progress = progress, .context = story};
    snprintf(path, sizeof path, "%s/got", broken.folder);
    unlink(path);
    if (fileshare_get_to(session, &get, path, false, &entry, &error) != FILESHARE_OK)
        fail_msg("%s", error.text);
    int fd = open(path, O_RDONLY);
    expect_file(fd, broken.bytes, SIZE);
    close(fd);
}

static void kill_the_server(void *context)
{
    struct story *story = context;
    pid_t pid = broken.serving; /* once it is known to be dead, another may serve */
    story->server_is_dead = true;
    kill(pid, SIGKILL);
}

/* A named file, so that it could be kept. */
static int large(void)
{
    char path[256];
    snprintf(path, sizeof path, "%s/large", broken.folder);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    return fd;
}

/* The way broke at this byte; of a download with the last one it is done. */
static void expect_story(const struct story *story, uint64_t offset, bool kill_it)
{
    bool is_done = story->way == 1 && offset == SIZE;
    uint64_t whole = is_done ? 0 : broken_whole(offset);
    assert_int_equal(story->lost, kill_it && !is_done ? 1 : 0);
    assert_int_equal(story->anew + story->kept, 0);
    assert_int_equal(story->resumed, story->from > 0);
    /* Of an upload the last chunk that arrived may be taken only after the next connection asked. */
    assert_true(story->from <= whole && story->from >= story->acknowledged);
    if (!kill_it && story->way == 1)
        assert_int_equal(story->from, whole);
    if (story->resumed)
        assert_true(moved(story->way) - story->moved <=
                    broken_cost(&broken, story->way, SIZE - story->from + CHUNK));
}

static void break_off(int way, uint64_t offset, bool kill_it)
{
    char name[64];
    struct story story = {.way = way};
    unsigned cuts = proxy_cuts(broken.proxy);
    broken_name(&broken, name);
    if (way == 1)
        broken_publish(&broken, name);
    struct fileshare *session = session_of(&story);
    proxy_on_cut(broken.proxy, kill_it ? kill_the_server : NULL, &story);
    proxy_plan(broken.proxy, 1, way == 0 ? broken_at(&broken, 0, offset) : 0,
               way == 1 ? broken_at(&broken, 1, offset) : 0);
    int fd = large();
    if (way == 0)
        put(session, &story, name, fd);
    else
        get(session, &story, name);
    close(fd);
    fileshare_close(session);
    proxy_plan(broken.proxy, 0, 0, 0);
    assert_int_equal(proxy_cuts(broken.proxy), cuts + 1);
    restart_what_died(&story);
    expect_story(&story, offset, kill_it);
    if (way == 0)
        broken_expect(&broken, name);
}

static void test_upload_is_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_off(0, broken_place(&broken, i), false);
}

static void test_download_is_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_off(1, broken_place(&broken, i), false);
}

static void test_server_dies_in_an_upload(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_off(0, broken_place(&broken, i), true);
}

static void test_server_dies_in_a_download(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_off(1, broken_place(&broken, i), true);
}

/* ---- again and again ---- */

static void many_cuts(int way)
{
    char name[64];
    struct story story = {.way = way};
    broken_name(&broken, name);
    if (way == 1)
        broken_publish(&broken, name);
    struct fileshare *session = session_of(&story);
    uint64_t before = moved(way);
    unsigned cuts = proxy_cuts(broken.proxy);
    proxy_on_cut(broken.proxy, NULL, NULL);
    uint64_t each = broken_at(&broken, way, CHUNK / 2 + broken_place(&broken, PLACES) % CHUNK);
    proxy_plan(broken.proxy, 5, way == 0 ? each : 0, way == 1 ? each : 0);
    int fd = large();
    if (way == 0)
        put(session, &story, name, fd);
    else
        get(session, &story, name);
    close(fd);
    fileshare_close(session);
    proxy_plan(broken.proxy, 0, 0, 0);
    cuts = proxy_cuts(broken.proxy) - cuts;
    assert_int_equal(cuts, 5);
    /* Each cut costs the part of the chunk that it tore, and the greeting. */
    assert_true(moved(way) - before <= SIZE + cuts * CHUNK + (cuts + 1) * broken_cost(&broken, way, 0));
    if (way == 0)
        broken_expect(&broken, name);
}

static void test_many_cuts(void **state)
{
    (void)state;
    many_cuts(0);
    many_cuts(1);
}

/* ---- what is no more as it was ---- */

/* The local file is another when the way is back: all of it goes anew, with its new time. */
static void test_file_changes_meanwhile(void **state)
{
    (void)state;
    char name[64], path[256];
    uint8_t *changed = malloc(SIZE);
    memcpy(changed, broken.bytes, SIZE);
    changed[10] = '!';
    snprintf(path, sizeof path, "%s/changing", broken.folder);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    assert_int_equal(write(fd, broken.bytes, SIZE), SIZE);
    lseek(fd, 0, SEEK_SET);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1}};
    assert_int_equal(futimens(fd, times), 0);

    struct story story = {.meddle = fd};
    struct fileshare *session = session_of(&story);
    broken_name(&broken, name);
    proxy_on_cut(broken.proxy, kill_the_server, &story);
    proxy_plan(broken.proxy, 1, broken_at(&broken, 0, 3 * CHUNK), 0);
    put(session, &story, name, fd);
    assert_int_equal(story.lost, 1);
    assert_int_equal(story.anew, 1);
    assert_int_equal(story.resumed, 0);
    get_ok(broken.session, name, changed, SIZE);
    broken.owed++;
    fileshare_close(session);
    close(fd);
    free(changed);
}

/* Replaced on the server, and the old version no more kept: the newest, from its first byte. */
static void test_version_goes_meanwhile(void **state)
{
    (void)state;
    char name[64];
    broken_name(&broken, name);
    uint8_t *other = pattern_bytes(SIZE, 77);
    struct fileshare_entry old;
    assert_int_equal(put_bytes(broken.session, name, other, SIZE, false, NULL, &old), FILESHARE_OK);
    broken.owed++;
    free(other);
    struct story story = {.way = 1, .replace = name, .old = old.version};
    struct fileshare *session = session_of(&story);
    proxy_on_cut(broken.proxy, kill_the_server, &story);
    proxy_plan(broken.proxy, 1, 0, broken_at(&broken, 1, 3 * CHUNK));
    get(session, &story, name); /* broken.bytes, which came in between */
    assert_int_equal(story.lost, 1);
    assert_int_equal(story.anew, 1);
    fileshare_close(session);
}

/* The server drops the upload while it is sent: it begins anew, over the same connection. */
static void test_upload_is_dropped(void **state)
{
    (void)state;
    char name[64];
    struct story story = {.drop = broken_name(&broken, name)};
    struct fileshare *session = session_of(&story);
    unsigned connections = proxy_connections(broken.proxy);
    int fd = large();
    put(session, &story, name, fd);
    close(fd);
    assert_null(story.drop);
    assert_int_equal(story.anew, 1);
    assert_int_equal(proxy_connections(broken.proxy), connections);
    fileshare_close(session);
    broken_expect(&broken, name);
}

static void test_each_arrival_was_told_once(void **state)
{
    (void)state;
    broken_expect_events(&broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upload_is_cut),
        cmocka_unit_test(test_download_is_cut),
        cmocka_unit_test(test_server_dies_in_an_upload),
        cmocka_unit_test(test_server_dies_in_a_download),
        cmocka_unit_test(test_many_cuts),
        cmocka_unit_test(test_file_changes_meanwhile),
        cmocka_unit_test(test_version_goes_meanwhile),
        cmocka_unit_test(test_upload_is_dropped),
        cmocka_unit_test(test_each_arrival_was_told_once),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
