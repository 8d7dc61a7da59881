/* A transfer that was broken off for good goes on in the next run of the same command. */
#include "client/runs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

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

/* ---- uploads ---- */

static void break_upload(enum how how, uint64_t offset)
{
    char name[64], note[600];
    const char *words[8];
    struct id id;
    broken_name(&broken, name);
    runs_put(words, name);
    uint64_t answered = runs_break(&broken, how, 0, offset, words);
    /* What was answered for is there; what was under way may be. */
    uint64_t there = runs_held(&broken, name, &id);
    assert_int_not_equal(there, UINT64_MAX);
    assert_true(there <= broken_whole(offset) && there >= answered);
    if (how != CLIENT_KILLED && there > CHUNK)
        assert_true(broken_said(&broken, "what moved is kept"));

    uint64_t before = proxy_sent(broken.proxy);
    broken_run(&broken, words);
    assert_int_equal(broken_said(&broken, "going on where it was broken off"), there > 0);
    assert_true(proxy_sent(broken.proxy) - before <= broken_cost(&broken, 0, SIZE - there));
    assert_int_equal(runs_note(&broken, note), 0);
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
        runs_put(words, name);
        runs_break(&broken, CLIENT_KILLED, 0, 0, words);
        assert_int_equal(runs_held(&broken, name, &id), 0);
        for (uint64_t at = 0; at < place;)
            at = runs_send(&broken, &id, at, broken.bytes + at, place - at < CHUNK ? place - at : CHUNK);
        uint64_t before = proxy_sent(broken.proxy);
        broken_run(&broken, words);
        assert_true(proxy_sent(broken.proxy) - before <= broken_cost(&broken, 0, SIZE - place));
        assert_int_equal(runs_note(&broken, note), 0);
        broken_expect(&broken, name);
    }
}

/* ---- downloads ---- */

/* The second run; `there` bytes are in the part. */
static void get_the_rest(const char *name, uint64_t there)
{
    char part[600];
    const char *words[8];
    runs_get(words, name);
    uint64_t before = proxy_received(broken.proxy);
    broken_run(&broken, words);
    assert_int_equal(broken_said(&broken, "going on where it was broken off"), there > 0);
    assert_true(proxy_received(broken.proxy) - before <= broken_cost(&broken, 1, SIZE - there));
    assert_int_equal(runs_part(&broken, part), 0);
    runs_expect_got(&broken, name, broken.bytes);
}

static void break_download(enum how how, uint64_t offset)
{
    char name[64], part[600], path[256];
    const char *words[8];
    broken_name(&broken, name);
    broken_publish(&broken, name);
    runs_get(words, name);
    runs_break(&broken, how, 1, offset, words);
    runs_path(&broken, path, strrchr(name, '/') + 1);
    if (access(path, F_OK) == 0) { /* it had all before it was killed */
        assert_int_equal(offset, SIZE);
        runs_expect_got(&broken, name, broken.bytes);
        return;
    }
    unsigned parts = runs_part(&broken, part);
    uint64_t there = parts > 0 ? runs_size(part) : 0;
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

static void test_download_goes_on_at_any_byte(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        char name[64], part[600];
        uint64_t place = broken_place(&broken, i);
        runs_leave_part(&broken, name, part);
        int fd = open(part, O_WRONLY | O_TRUNC);
        for (uint64_t at = 0; at < place;)
            at += (uint64_t)write(fd, broken.bytes + at, place - at);
        close(fd);
        get_the_rest(name, place);
    }
}

/* ---- again and again ---- */

/* FILESHARE_FAULT_SECONDS, or so many. */
static int64_t until_then(int seconds)
{
    const char *text = getenv("FILESHARE_FAULT_SECONDS");
    return milliseconds() + (text && atoi(text) > 0 ? atoi(text) : seconds) * 1000LL;
}

static unsigned throw_dice(unsigned below)
{
    return (unsigned)(broken_place(&broken, PLACES) % below);
}

/* Some bytes further on it is broken again, in some way; false if it came to its end. */
static bool break_once_more(int way, const char *const *words)
{
    enum how how = (enum how)throw_dice(3);
    uint64_t at = broken_at(&broken, way, 1 + broken_place(&broken, PLACES) % (3 * CHUNK));
    return runs_some(&broken, how, way, at, words) != 0;
}

/* One transfer, broken up to six times; how often it was. */
static unsigned break_all_the_way(int way)
{
    char name[64], file[600];
    const char *words[8];
    unsigned times = 1 + throw_dice(6), breaks = 0;
    bool unfinished = true;
    broken_name(&broken, name);
    if (way == 0) {
        runs_put(words, name);
    } else {
        runs_get(words, name);
        broken_publish(&broken, name);
    }
    while (unfinished && breaks < times) {
        unfinished = break_once_more(way, words);
        breaks += unfinished;
    }
    runs_path(&broken, file, strrchr(name, '/') + 1);
    if (way == 1 && access(file, F_OK) == 0)
        unfinished = false; /* killed behind its end */
    if (unfinished)
        broken_run(&broken, words);
    if (way == 0)
        broken_expect(&broken, name);
    else
        runs_expect_got(&broken, name, broken.bytes);
    assert_int_equal(runs_note(&broken, file) + runs_part(&broken, file), 0);
    return breaks;
}

static void test_again_and_again(void **state)
{
    (void)state;
    unsigned transfers = 0, breaks = 0;
    uint64_t before = proxy_sent(broken.proxy) + proxy_received(broken.proxy);
    for (int64_t until = until_then(4); milliseconds() < until; transfers++)
        breaks += break_all_the_way((int)throw_dice(2));
    uint64_t moved = proxy_sent(broken.proxy) + proxy_received(broken.proxy) - before;
    print_message("%u transfers broken %u times: what moved is %.2f times their bytes\n", transfers, breaks,
                  (double)moved / ((double)transfers * SIZE));
}

static void test_each_arrival_was_told_once(void **state)
{
    (void)state;
    broken_expect_events(&broken);
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
        cmocka_unit_test(test_again_and_again),
        cmocka_unit_test(test_each_arrival_was_told_once),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
