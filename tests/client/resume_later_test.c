/* A transfer that was broken off for good goes on in the next run of the same command: a killed client, and others. */
#include "client/broken.h"
#include "client/lib/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum how { CLIENT_KILLED, SERVER_KILLED, CUT };

static struct broken broken;

static int begin(void **state)
{
    (void)state;
    broken_begin(&broken, true);
    return 0;
}

static int end(void **state)
{
    (void)state;
    broken_end(&broken);
    return 0;
}

/* ---- files ---- */

static void in_folder(char path[256], const char *leaf)
{
    snprintf(path, 256, "%s/%s", broken.folder, leaf);
}

static void expect_got(const char *name, const void *bytes)
{
    char path[256];
    struct stat status;
    in_folder(path, strrchr(name, '/') + 1);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    expect_file(fd, bytes, SIZE);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0644);
    close(fd);
    unlink(path);
}

/* The only file of the folder whose name has these two parts; how many there are. */
static unsigned find(const char *folder, const char *start, const char *tail, char found[600])
{
    unsigned count = 0;
    DIR *walk = opendir(folder);
    for (struct dirent *at = walk ? readdir(walk) : NULL; at; at = readdir(walk)) {
        size_t size = strlen(at->d_name), end_size = strlen(tail);
        if (strcmp(at->d_name, ".") == 0 || strcmp(at->d_name, "..") == 0 ||
            strncmp(at->d_name, start, strlen(start)) != 0 || size < end_size ||
            strcmp(at->d_name + size - end_size, tail) != 0)
            continue;
        count++;
        snprintf(found, 600, "%s/%s", folder, at->d_name);
    }
    if (walk)
        closedir(walk);
    return count;
}

static unsigned find_note(char found[600])
{
    char folder[256];
    snprintf(folder, sizeof folder, "%s/home/fileshare/uploads", broken.server.folder);
    return find(folder, "", "", found);
}

static unsigned find_part(char found[600])
{
    return find(broken.folder, ".", ".part", found);
}

static uint64_t size_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    return (uint64_t)status.st_size;
}

/* ---- the server's view ---- */

/* The upload of the only note: what the server holds of it; UINT64_MAX: there is no note. */
static uint64_t held(const char *name, struct id *out)
{
    char path[600], line[64], hex[33];
    if (find_note(path) != 1)
        return UINT64_MAX;
    FILE *file = fopen(path, "r");
    assert_non_null(fgets(line, sizeof line, file));
    assert_int_equal(fscanf(file, "upload %32s", hex), 1);
    fclose(file);
    assert_int_equal(size_of(path) > 0, 1);
    assert_int_equal(id_parse(hex, out, NULL), OUTCOME_OK);
    fs_upload_open_args args = {.upload = translate_id(out),
                                .name = translate_name(name),
                                .size_known = true};
    fs_upload_open_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_OPEN, fs_upload_open_args, &args,
                                            fs_upload_open_res, &res);
    assert_int_equal(session_call(broken.session, &call, NULL), OUTCOME_OK);
    assert_int_equal(res.status, FS_OK);
    uint64_t bytes = res.fs_upload_open_res_u.state.held;
    session_call_end(&call);
    return bytes;
}

static uint64_t send_some(const struct id *id, uint64_t offset, const uint8_t *bytes, uint64_t count)
{
    char *copy = malloc(count);
    memcpy(copy, bytes, count);
    fs_upload_data_args args = {
        .upload = translate_id(id),
        .offset = offset,
        .content = {.fs_data_len = (u_int)count, .fs_data_val = copy},
    };
    fs_upload_data_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_DATA, fs_upload_data_args, &args,
                                            fs_upload_data_res, &res);
    assert_int_equal(session_call(broken.session, &call, NULL), OUTCOME_OK);
    assert_int_equal(res.status, FS_OK);
    uint64_t now = res.held;
    session_call_end(&call);
    free(copy);
    return now;
}

/* ---- breaking ---- */

static pid_t client;

static void kill_the_client(void *context)
{
    (void)context;
    kill(client, SIGKILL);
}

static void kill_the_server(void *context)
{
    (void)context;
    kill(broken.server.pid, SIGKILL);
}

/* Nothing gets through any more. */
static void cut_for_good(void *context)
{
    (void)context;
    proxy_shut(broken.proxy, true);
}

/*
 * Runs the client, which is broken off at that byte of the content; what ended is
 * there again afterwards. Of an upload: how much the server had answered for.
 */
static uint64_t run_broken(enum how how, int way, uint64_t offset, const char *const *arguments)
{
    void (*const hooks[])(void *) = {kill_the_client, kill_the_server, cut_for_good};
    unsigned cuts = proxy_cuts(broken.proxy);
    uint64_t before = proxy_received(broken.proxy);
    proxy_on_cut(broken.proxy, hooks[how], NULL);
    proxy_plan(broken.proxy, 1, way == 0 ? broken_at(&broken, 0, offset) : 0,
               way == 1 ? broken_at(&broken, 1, offset) : 0);
    client = broken_client(&broken, arguments);
    int status = broken_wait(client);
    assert_int_equal(proxy_cuts(broken.proxy), cuts + 1);
    proxy_plan(broken.proxy, 0, 0, 0);
    proxy_shut(broken.proxy, false);
    if (how == SERVER_KILLED) {
        daemon_stop(&broken.server, SIGKILL);
        daemon_start(&broken.server);
    }
    if (way == 1 && offset == SIZE)
        assert_true(status == 0 || status == -SIGKILL); /* it had all */
    else
        assert_int_equal(status, how == CLIENT_KILLED ? -SIGKILL : 5);
    return broken_answered(&broken, proxy_received(broken.proxy) - before);
}

/* ---- uploads ---- */

static void put_words(const char *words[8], const char *name)
{
    const char *all[8] = {"--retry-for", "0", "put", "large", "--as", name, NULL};
    memcpy(words, all, sizeof all);
}

static void break_upload(enum how how, uint64_t offset)
{
    char name[64], note[600];
    const char *words[8];
    struct id id;
    broken_name(&broken, name);
    put_words(words, name);
    uint64_t answered = run_broken(how, 0, offset, words);
    /* What was answered for is there; what was under way may be. */
    uint64_t there = held(name, &id);
    assert_int_not_equal(there, UINT64_MAX);
    assert_true(there <= broken_whole(offset) && there >= answered);
    if (how != CLIENT_KILLED && there > CHUNK)
        assert_true(broken_said(&broken, "what moved is kept"));

    uint64_t before = proxy_sent(broken.proxy);
    broken_run(&broken, words);
    assert_int_equal(broken_said(&broken, "going on where it was broken off"), there > 0);
    assert_true(proxy_sent(broken.proxy) - before <= broken_cost(&broken, 0, SIZE - there));
    assert_int_equal(find_note(note), 0);
    broken_expect(&broken, name);
}

static void test_client_dies_in_an_upload(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_upload(CLIENT_KILLED, broken_place(&broken, i));
}

static void test_server_dies_in_an_upload(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_upload(SERVER_KILLED, broken_place(&broken, i));
}

static void test_upload_is_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_upload(CUT, broken_place(&broken, i));
}

/* Whatever the server holds, also what no chunk of the client's ends at. */
static void test_upload_goes_on_at_any_byte(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        char name[64], note[600];
        const char *words[8];
        struct id id;
        uint64_t place = broken_place(&broken, i);
        broken_name(&broken, name);
        put_words(words, name);
        run_broken(CLIENT_KILLED, 0, 0, words);
        assert_int_equal(held(name, &id), 0);
        for (uint64_t at = 0; at < place;)
            at = send_some(&id, at, broken.bytes + at, place - at < CHUNK ? place - at : CHUNK);
        uint64_t before = proxy_sent(broken.proxy);
        broken_run(&broken, words);
        assert_true(proxy_sent(broken.proxy) - before <= broken_cost(&broken, 0, SIZE - place));
        assert_int_equal(find_note(note), 0);
        broken_expect(&broken, name);
    }
}

static void test_each_arrival_was_told_once(void **state)
{
    (void)state;
    broken_expect_events(&broken);
}

/* ---- downloads ---- */

static void get_words(const char *words[8], const char *name)
{
    const char *all[8] = {"--retry-for", "0", "get", name, NULL};
    memcpy(words, all, sizeof all);
}

/* The second run; `there` bytes are in the part. */
static void get_the_rest(const char *name, uint64_t there)
{
    char part[600];
    const char *words[8];
    get_words(words, name);
    uint64_t before = proxy_received(broken.proxy);
    broken_run(&broken, words);
    assert_int_equal(broken_said(&broken, "going on where it was broken off"), there > 0);
    assert_true(proxy_received(broken.proxy) - before <= broken_cost(&broken, 1, SIZE - there));
    assert_int_equal(find_part(part), 0);
    expect_got(name, broken.bytes);
}

static void break_download(enum how how, uint64_t offset)
{
    char name[64], part[600], path[256];
    const char *words[8];
    broken_name(&broken, name);
    broken_publish(&broken, name);
    get_words(words, name);
    run_broken(how, 1, offset, words);
    in_folder(path, strrchr(name, '/') + 1);
    if (access(path, F_OK) == 0) { /* it had all before it was killed */
        assert_int_equal(offset, SIZE);
        expect_got(name, broken.bytes);
        return;
    }
    unsigned parts = find_part(part);
    uint64_t there = parts > 0 ? size_of(part) : 0;
    assert_true(parts <= 1);
    /* A killed client wrote what it had come to, the others all that was whole. */
    if (how == CUT)
        assert_int_equal(there, broken_whole(offset));
    assert_true(there <= broken_whole(offset));
    get_the_rest(name, there);
}

static void test_client_dies_in_a_download(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_download(CLIENT_KILLED, broken_place(&broken, i));
}

static void test_server_dies_in_a_download(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_download(SERVER_KILLED, broken_place(&broken, i));
}

static void test_download_is_cut(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++)
        break_download(CUT, broken_place(&broken, i));
}

/* A part as a run leaves it that was killed in the middle; its path. */
static void leave_part(char name[64], char part[600])
{
    const char *words[8];
    broken_name(&broken, name);
    broken_publish(&broken, name);
    get_words(words, name);
    run_broken(CUT, 1, SIZE - 1, words);
    assert_int_equal(find_part(part), 1);
}

static void test_download_goes_on_at_any_byte(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        char name[64], part[600];
        uint64_t place = broken_place(&broken, i);
        leave_part(name, part);
        int fd = open(part, O_WRONLY | O_TRUNC);
        for (uint64_t at = 0; at < place;)
            at += (uint64_t)write(fd, broken.bytes + at, place - at);
        close(fd);
        get_the_rest(name, place);
    }
}

/* ---- what is no more as it was ---- */

static void break_in_the_middle(int way, const char *const *words)
{
    run_broken(CUT, way, 3 * CHUNK, words);
}

/* Touched, rewritten in place, replaced by another of that name: sent anew, and the server need not keep the old. */
static void test_local_file_changed(void **state)
{
    (void)state;
    const char *const changes[] = {
        "touch large", "printf ! | dd of=large bs=1 seek=10 conv=notrunc status=none",
        "cp large other && mv other large", "printf ! >>large", "printf small >large"};
    char command[512];
    for (unsigned i = 0; i < 5; i++) {
        char name[64];
        const char *words[8];
        struct id id;
        broken_name(&broken, name);
        put_words(words, name);
        break_in_the_middle(0, words);
        assert_true(held(name, &id) > 0);
        snprintf(command, sizeof command, "cd %s && cp -p large kept && %s", broken.folder, changes[i]);
        assert_int_equal(system(command), 0);
        broken_run(&broken, words);
        assert_true(broken_said(&broken, "changed since an earlier upload"));
        assert_true(broken_said(&broken, "starting anew"));
        snprintf(command, sizeof command,
                 "cd %s && %s/fileshare-client -q -s %s --no-rpcbind get %s -o check && cmp check large && "
                 "rm check && mv kept large && rmdir ../home/fileshare/uploads",
                 broken.folder, getenv("FILESHARE_BUILD"), broken.server.tcp, name);
        assert_int_equal(system(command), 0);
        broken.owed++;
    }
}

/* The same size, time and inode, but other bytes: the digest tells. */
static void test_other_bytes_unnoticed(void **state)
{
    (void)state;
    char name[64], command[512];
    const char *words[8];
    broken_name(&broken, name);
    put_words(words, name);
    snprintf(command, sizeof command,
             "cd %s && cp -p large kept && touch -r kept large && printf ! | dd of=large bs=1 seek=10 "
             "conv=notrunc "
             "status=none && touch -r kept large && cmp -s large kept; test $? = 1",
             broken.folder);
    break_in_the_middle(0, words);
    assert_int_equal(system(command), 0);
    broken_run(&broken, words);
    assert_true(broken_said(&broken, "not how the file begins; starting anew"));
    snprintf(command, sizeof command,
             "cd %s && %s/fileshare-client -q -s %s --no-rpcbind get %s -o check && cmp check large && "
             "rm check && mv kept large",
             broken.folder, getenv("FILESHARE_BUILD"), broken.server.tcp, name);
    assert_int_equal(system(command), 0);
    broken.owed++;
}

/* One part for each version; those of others go. */
static void test_version_changed(void **state)
{
    (void)state;
    char name[64], part[600], other[600];
    const char *words[8];
    uint8_t *newer = pattern_bytes(SIZE, 99);
    leave_part(name, part);
    assert_int_equal(put_bytes(broken.session, name, newer, SIZE, true, NULL, NULL), FILESHARE_OK);
    broken.owed++;
    get_words(words, name);
    broken_run(&broken, words);
    assert_true(broken_said(&broken, "of another version; starting anew"));
    expect_got(name, newer);
    assert_int_equal(find_part(other), 0);
    free(newer);
}

/* A part that is not what it was: the digest at the end tells, and all is got once more. */
static void test_part_is_spoilt(void **state)
{
    (void)state;
    char name[64], part[600];
    const char *words[8];
    leave_part(name, part);
    int fd = open(part, O_WRONLY);
    assert_int_equal(pwrite(fd, "!", 1, 10), 1);
    close(fd);
    get_words(words, name);
    broken_run(&broken, words);
    assert_true(broken_said(&broken, "does not match the file's digest; starting anew"));
    expect_got(name, broken.bytes);
    assert_int_equal(find_part(part), 0);
}

/* Neither a part that somebody fills nor one that may not be ours is taken; the file comes all the same. */
static void test_part_is_not_for_us(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        char name[64], part[600], command[1400];
        const char *words[8];
        leave_part(name, part);
        int fd = open(part, O_RDWR);
        const char *const does[] = {"true", "ln $p second", "mv $p real && ln -s real $p",
                                    "rm $p && mkfifo -m 600 $p"};
        snprintf(command, sizeof command, "cd %s && p='%s' && %s", broken.folder, part, does[i]);
        assert_int_equal(system(command), 0);
        if (i == 0)
            assert_int_equal(flock(fd, LOCK_EX), 0);
        get_words(words, name);
        broken_run(&broken, words);
        assert_false(broken_said(&broken, "going on"));
        expect_got(name, broken.bytes);
        assert_int_equal(find_part(part), 1); /* as it was, and nothing besides */
        close(fd);
        snprintf(command, sizeof command, "cd %s && rm -f '%s' second real", broken.folder, part);
        assert_int_equal(system(command), 0);
    }
}

/* Two puts of one file at once: the second has no note, and spoils nothing. */
static void test_two_at_once(void **state)
{
    (void)state;
    char name[64], note[600];
    const char *words[8];
    struct id id;
    broken_name(&broken, name);
    put_words(words, name);
    break_in_the_middle(0, words);
    assert_true(held(name, &id) > 0);
    assert_int_equal(find_note(note), 1);
    int fd = open(note, O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    broken_run(&broken, words);
    assert_false(broken_said(&broken, "going on"));
    broken_expect(&broken, name);
    close(fd);
    /* The first one finds its file there already, and its upload is dropped. */
    broken_run(&broken, words);
    assert_int_equal(find_note(note), 0);
}

/* Committed, but the answer never came: the next run says so, and nobody is told twice. */
static void test_commit_without_answer(void **state)
{
    (void)state;
    char name[64], note[600];
    const char *words[8];
    struct fileshare_entry entry;
    broken_name(&broken, name);
    put_words(words, name);
    proxy_on_cut(broken.proxy, kill_the_client, NULL);
    proxy_plan(broken.proxy, 1, 0, broken.greeting + (CHUNKS + 1) * broken.answer + 1);
    client = broken_client(&broken, words);
    assert_int_equal(broken_wait(client), -SIGKILL);
    proxy_plan(broken.proxy, 0, 0, 0);
    assert_int_equal(fileshare_stat(broken.session, name, &entry, NULL), FILESHARE_OK);
    assert_int_equal(find_note(note), 1);
    broken_run(&broken, words);
    assert_int_equal(find_note(note), 0);
    broken_expect(&broken, name);
}

/* The server dropped it meanwhile: all of it goes, and nothing is the worse for it. */
static void test_upload_is_gone(void **state)
{
    (void)state;
    char name[64], note[600];
    const char *words[8];
    struct id id;
    broken_name(&broken, name);
    put_words(words, name);
    break_in_the_middle(0, words);
    assert_true(held(name, &id) > 0);
    fs_upload_abort_args args = {.upload = translate_id(&id)};
    fs_done_res res = {0};
    struct session_call call = SESSION_CALL(FSPROC_UPLOAD_ABORT, fs_upload_abort_args, &args, fs_done_res,
                                            &res);
    assert_int_equal(session_call(broken.session, &call, NULL), OUTCOME_OK);
    session_call_end(&call);
    broken_run(&broken, words);
    assert_int_equal(find_note(note), 0);
    broken_expect(&broken, name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_dies_in_an_upload),
        cmocka_unit_test(test_server_dies_in_an_upload),
        cmocka_unit_test(test_upload_is_cut),
        cmocka_unit_test(test_upload_goes_on_at_any_byte),
        cmocka_unit_test(test_client_dies_in_a_download),
        cmocka_unit_test(test_server_dies_in_a_download),
        cmocka_unit_test(test_download_is_cut),
        cmocka_unit_test(test_download_goes_on_at_any_byte),
        cmocka_unit_test(test_local_file_changed),
        cmocka_unit_test(test_other_bytes_unnoticed),
        cmocka_unit_test(test_version_changed),
        cmocka_unit_test(test_part_is_spoilt),
        cmocka_unit_test(test_part_is_not_for_us),
        cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_commit_without_answer),
        cmocka_unit_test(test_upload_is_gone),
        cmocka_unit_test(test_each_arrival_was_told_once),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
