/* UPLOAD_MANY and DOWNLOAD_MANY: many files in one call, each answered by itself. */
#include "service/desk.h"

#include "base/digest.h"
#include "base/scoped.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct desk desk;

static int open_desk(void **state)
{
    (void)state;
    desk_open(&desk);
    return 0;
}

static int close_desk(void **state)
{
    (void)state;
    desk_close(&desk);
    return 0;
}

static enum outcome try_upload(int uid, fs_upload_args *files, unsigned count, fs_upload_many_res *res)
{
    fs_upload_many_args args = {.files = {count, files}};

    memset(res, 0, sizeof *res);
    return desk_try(&desk, uid, FSPROC_UPLOAD_MANY, (xdrproc_t)xdr_fs_upload_many_args, &args,
                    (xdrproc_t)xdr_fs_upload_many_res, res);
}

/* The answers, until free_answers. */
static fs_entry_res *upload(int uid, fs_upload_args *files, unsigned count, fs_upload_many_res *res)
{
    assert_int_equal(try_upload(uid, files, count, res), OUTCOME_OK);
    assert_int_equal(res->status, FS_OK);
    assert_int_equal(res->fs_upload_many_res_u.many.files.files_len, count);
    return res->fs_upload_many_res_u.many.files.files_val;
}

static void free_answers(fs_upload_many_res *res)
{
    xdr_free((xdrproc_t)xdr_fs_upload_many_res, res);
}

static fs_download_res *download(fs_download_one *files, unsigned count, fs_download_many_res *res,
                                 unsigned *answers)
{
    fs_download_many_args args = {.files = {count, files}};

    memset(res, 0, sizeof *res);
    desk_call(&desk, DESK_BOB, FSPROC_DOWNLOAD_MANY, (xdrproc_t)xdr_fs_download_many_args, &args,
              (xdrproc_t)xdr_fs_download_many_res, res);
    assert_int_equal(res->status, FS_OK);
    *answers = res->fs_download_many_res_u.many.files.files_len;
    return res->fs_download_many_res_u.many.files.files_val;
}

static void free_downloads(fs_download_many_res *res)
{
    xdr_free((xdrproc_t)xdr_fs_download_many_res, res);
}

static fs_upload_args file(unsigned op, const char *name, const void *content, size_t size)
{
    return (fs_upload_args){.op = desk_id(op), .name = desk_name(name), .content = desk_data(content, size)};
}

static fs_status stat_of(const char *name, fs_entry *entry)
{
    fs_stat_args args = {.name = desk_name(name)};
    fs_entry_res res = {0};

    desk_call(&desk, DESK_BOB, FSPROC_STAT, (xdrproc_t)xdr_fs_stat_args, &args, (xdrproc_t)xdr_fs_entry_res,
              &res);
    if (entry)
        *entry = res.fs_entry_res_u.entry;
    return res.status;
}

static void assert_content(const fs_download_res *res, const void *bytes, size_t size)
{
    assert_int_equal(res->status, FS_OK);
    assert_true(res->fs_download_res_u.download.eof);
    assert_int_equal(res->fs_download_res_u.download.content.fs_data_len, size);
    if (size > 0)
        assert_memory_equal(res->fs_download_res_u.download.content.fs_data_val, bytes, size);
}

static void each_is_stored_or_refused_by_itself(void **state)
{
    char wrong_digest[DIGEST_SIZE] = "not the digest", short_digest[15] = "";
    fs_upload_args files[] = {
        file(1, "a", "one", 3),   file(2, "taken", "x", 1),  file(3, "no//name", "x", 1),
        file(0, "no op", "x", 1), file(4, "digest", "x", 1), file(5, "short", "x", 1),
        file(6, "time", "x", 1),  file(7, "policy", "x", 1), file(8, "empty", "", 0),
        file(9, "a", "two", 3),   file(1, "other", "x", 1),  file(10, "last", "end", 3),
    };
    static const fs_status expected[] = {FS_OK,      FS_EXISTS,  FS_INVALID, FS_INVALID,
                                         FS_CHANGED, FS_INVALID, FS_INVALID, FS_INVALID,
                                         FS_OK,      FS_EXISTS,  FS_INVALID, FS_OK};
    enum { COUNT = sizeof files / sizeof files[0] };
    fs_upload_many_res res;

    (void)state;
    assert_int_equal(desk_put(&desk, DESK_BOB, 90, "taken", "bob's", FS_FAIL), FS_OK);
    files[0].mtime = (fs_time){.seconds = 1234567890, .nanoseconds = 42};
    files[4].digest = (fs_digest){sizeof wrong_digest, wrong_digest};
    files[5].digest = (fs_digest){sizeof short_digest, short_digest};
    files[6].mtime.nanoseconds = 1000000000;
    files[7].policy = (fs_policy)2;
    fs_entry_res *answers = upload(DESK_ALICE, files, COUNT, &res);
    for (unsigned i = 0; i < COUNT; i++) {
        if (answers[i].status != expected[i])
            fail_msg("file %u: %d, not %d", i, (int)answers[i].status, (int)expected[i]);
        if (expected[i] != FS_OK)
            assert_true(answers[i].fs_entry_res_u.failure.reason.fs_text_len > 0);
    }
    const fs_entry *told = &answers[0].fs_entry_res_u.entry;
    struct digest_value digest = digest_of("one", 3);
    assert_int_equal(told->size, 3);
    assert_int_equal(told->mtime.seconds, 1234567890);
    assert_int_equal(told->mtime.nanoseconds, 42);
    assert_int_equal(told->name.fs_name_len, 1);
    assert_memory_equal(told->owner.fs_text_val, "unix:1001", 9);
    assert_memory_equal(told->digest.fs_digest_val, digest.octets, DIGEST_SIZE);
    assert_memory_equal(told->revision.octets, desk_id(1).octets, FS_ID_SIZE);
    fs_time arrival = told->arrival;
    free_answers(&res);

    fs_entry entry;
    assert_int_equal(stat_of("a", &entry), FS_OK);
    assert_int_equal(entry.arrival.seconds, arrival.seconds);
    assert_int_equal(entry.mtime.nanoseconds, 42);
    assert_int_equal(stat_of("last", NULL), FS_OK);
    assert_int_equal(stat_of("digest", NULL), FS_ABSENT);
    assert_int_equal(stat_of("other", NULL), FS_ABSENT);
}

static void only_who_may_replaces(void **state)
{
    fs_upload_args files[] = {file(2, "a", "two", 3), file(3, "b", "two", 3), file(4, "c", "two", 3)};
    fs_upload_many_res res;

    (void)state;
    assert_int_equal(desk_put(&desk, DESK_ALICE, 90, "a", "one", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_BOB, 91, "b", "one", FS_FAIL), FS_OK);
    for (int i = 0; i < 3; i++)
        files[i].policy = FS_REPLACE;
    files[2].expected = desk_id(77);
    fs_entry_res *answers = upload(DESK_ALICE, files, 3, &res);
    assert_int_equal(answers[0].status, FS_OK);
    assert_int_equal(answers[1].status, FS_DENIED);
    assert_int_equal(answers[2].status, FS_CHANGED);
    free_answers(&res);
    assert_int_equal(try_upload(-1, files, 3, &res), OUTCOME_DENIED);
}

static void a_repeat_counts_once_however_it_is_bundled(void **state)
{
    fs_upload_args files[] = {file(1, "a", "one", 3), file(2, "b", "two", 3), file(3, "c", "three", 5)};
    fs_upload_many_res res;

    (void)state;
    free_answers((upload(DESK_ALICE, files, 2, &res), &res));
    fs_entry before, after;
    assert_int_equal(stat_of("b", &before), FS_OK);
    fs_time arrival = before.arrival;
    clock_test_step(&desk.clock, 60 * (int64_t)CLOCK_SECOND);
    desk_reopen(&desk);
    fs_entry_res *answers = upload(DESK_ALICE, files + 1, 2, &res);
    assert_int_equal(answers[0].status, FS_OK);
    assert_int_equal(answers[0].fs_entry_res_u.entry.arrival.seconds, arrival.seconds);
    assert_int_equal(answers[1].status, FS_OK);
    free_answers(&res);
    assert_int_equal(desk_put(&desk, DESK_ALICE, 1, "a", "one", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_ALICE, 1, "a", "other", FS_FAIL), FS_INVALID);
    assert_int_equal(stat_of("b", &after), FS_OK);
    assert_int_equal(after.arrival.seconds, arrival.seconds);
    answers = upload(DESK_BOB, files, 1, &res);
    assert_int_equal(answers[0].status, FS_INVALID);
    free_answers(&res);
}

static void each_arrival_is_told(void **state)
{
    enum { FILES = 40 };
    fs_upload_args files[FILES];
    char names[FILES][16];
    fs_register_args interest = {.mailbox = desk_id(500),
                                 .interest = desk_id(501),
                                 .match = FS_GLOB,
                                 .pattern = desk_name("n/*"),
                                 .seconds = 3600,
                                 .repeat = FS_EVERY};
    fs_register_res registered = {0};
    fs_upload_many_res res;

    (void)state;
    desk_call(&desk, DESK_BOB, FSPROC_REGISTER_INTEREST, (xdrproc_t)xdr_fs_register_args, &interest,
              (xdrproc_t)xdr_fs_register_res, &registered);
    assert_int_equal(registered.status, FS_OK);
    for (unsigned i = 0; i < FILES; i++) {
        snprintf(names[i], sizeof names[i], "n/%u", i);
        files[i] = file(i + 1, names[i], names[i], strlen(names[i]));
    }
    for (int time = 0; time < 2; time++)
        free_answers((upload(DESK_ALICE, files, FILES, &res), &res));
    /* What the publisher leaves is upkeep's work, which does not run here. */
    for (bool left = true; left;)
        assert_int_equal(desk.store->acts->fan_out(desk.store, 100, &left, NULL), OUTCOME_OK);
    fs_events_args args = {.mailbox = desk_id(500)};
    fs_events_res events = {0};
    desk_call(&desk, DESK_BOB, FSPROC_EVENTS, (xdrproc_t)xdr_fs_events_args, &args,
              (xdrproc_t)xdr_fs_events_res, &events);
    assert_int_equal(events.fs_events_res_u.page.rows.rows_len, FILES);
    xdr_free((xdrproc_t)xdr_fs_events_res, &events);
}

/* What our own encoder refuses to send. */
static bool_t xdr_unbounded(XDR *xdrs, fs_upload_many_args *args)
{
    bool_t fine = xdr_u_int(xdrs, &args->files.files_len);

    for (u_int i = 0; i < args->files.files_len && fine; i++)
        fine = xdr_fs_upload_args(xdrs, &args->files.files_val[i]);
    return fine;
}

static void assert_garbage(fs_upload_args *files, unsigned count)
{
    fs_upload_many_args args = {.files = {count, files}};
    fs_upload_many_res res = {0};

    assert_int_equal(desk_try(&desk, DESK_ALICE, FSPROC_UPLOAD_MANY, (xdrproc_t)xdr_unbounded, &args,
                              (xdrproc_t)xdr_fs_upload_many_res, &res),
                     OUTCOME_INVALID);
}

/* FS_MANY_MAX of them, all with the longest names, up and down; one more is garbage. */
static void as_many_as_the_contract_says(void **state)
{
    enum { FILES = FS_MANY_MAX + 1 };
    scoped_free fs_upload_args *files = calloc(FILES, sizeof *files);
    scoped_free fs_download_one *ones = calloc(FILES, sizeof *ones);
    scoped_free char *names = malloc((size_t)FILES * (FS_NAME_MAX + 1));
    fs_upload_many_res res;
    fs_download_many_res downloaded;
    unsigned answered;

    (void)state;
    for (unsigned i = 0; i < FILES; i++) {
        char *name = names + (size_t)i * (FS_NAME_MAX + 1);
        memset(name, 'n', FS_NAME_MAX);
        name[FS_NAME_MAX] = '\0';
        for (unsigned slash = 255; slash < FS_NAME_MAX; slash += 256)
            name[slash] = '/';
        memcpy(name, (char[]){(char)('a' + i / 26 / 26), (char)('a' + i / 26 % 26), (char)('a' + i % 26)}, 3);
        files[i] = file(i + 1, name, name, 3);
        ones[i].name = desk_name(name);
    }
    assert_garbage(files, FILES);
    assert_int_equal(stat_of(names, NULL), FS_ABSENT);
    fs_entry_res *answers = upload(DESK_ALICE, files, FS_MANY_MAX, &res);
    for (unsigned i = 0; i < FS_MANY_MAX; i++)
        assert_int_equal(answers[i].status, FS_OK);
    free_answers(&res);
    fs_download_res *got = download(ones, FS_MANY_MAX, &downloaded, &answered);
    assert_int_equal(answered, FS_MANY_MAX);
    for (unsigned i = 0; i < FS_MANY_MAX; i++)
        assert_content(&got[i], ones[i].name.fs_name_val, 3);
    free_downloads(&downloaded);
}

/* None at all is fine, both ways. */
static void none_is_nothing(void **state)
{
    fs_upload_many_res res;
    fs_download_many_res downloaded;
    unsigned answered;

    (void)state;
    upload(DESK_ALICE, NULL, 0, &res);
    free_answers(&res);
    download(NULL, 0, &downloaded, &answered);
    assert_int_equal(answered, 0);
    free_downloads(&downloaded);
}

static void put_bytes(unsigned op, const char *name, const void *bytes, size_t size)
{
    fs_upload_args args = file(op, name, bytes, size);
    fs_entry_res res = {0};

    desk_call(&desk, DESK_ALICE, FSPROC_UPLOAD, (xdrproc_t)xdr_fs_upload_args, &args,
              (xdrproc_t)xdr_fs_entry_res, &res);
    assert_int_equal(res.status, FS_OK);
}

static void put_large(unsigned op, const char *name, size_t size)
{
    scoped_free char *bytes = calloc(1, FS_DATA_MAX);
    fs_upload_open_args open = {.upload = desk_id(op), .name = desk_name(name)};
    fs_upload_open_res opened = {0};
    fs_upload_commit_args commit = {.upload = desk_id(op), .size = size};
    fs_entry_res entry = {0};

    desk_call(&desk, DESK_ALICE, FSPROC_UPLOAD_OPEN, (xdrproc_t)xdr_fs_upload_open_args, &open,
              (xdrproc_t)xdr_fs_upload_open_res, &opened);
    for (size_t at = 0; at < size;) {
        size_t count = size - at < FS_DATA_MAX ? size - at : FS_DATA_MAX;
        fs_upload_data_args data = {.upload = desk_id(op), .offset = at, .content = desk_data(bytes, count)};
        fs_upload_data_res held = {0};
        desk_call(&desk, DESK_ALICE, FSPROC_UPLOAD_DATA, (xdrproc_t)xdr_fs_upload_data_args, &data,
                  (xdrproc_t)xdr_fs_upload_data_res, &held);
        assert_int_equal(held.status, FS_OK);
        at += count;
    }
    desk_call(&desk, DESK_ALICE, FSPROC_UPLOAD_COMMIT, (xdrproc_t)xdr_fs_upload_commit_args, &commit,
              (xdrproc_t)xdr_fs_entry_res, &entry);
    assert_int_equal(entry.status, FS_OK);
}

/* What does not fit is left for the next call; what never will is said to be larger. */
static void whole_files_as_many_as_fit(void **state)
{
    enum { HALF = FS_DATA_MAX / 2 };
    scoped_free char *bytes = malloc(FS_DATA_MAX);
    fs_download_one ones[] = {
        {.name = desk_name("small")}, {.name = desk_name("half")}, {.name = desk_name("gone")},
        {.name = desk_name("most")},  {.name = desk_name("more")}, {.name = desk_name("no/")},
        {.name = desk_name("empty")}, {.name = desk_name("half")}, {.name = desk_name("half")}};
    enum { ONES = sizeof ones / sizeof ones[0] };
    fs_download_many_res res;
    unsigned answered;

    (void)state;
    for (size_t i = 0; i < FS_DATA_MAX; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    put_bytes(1, "small", "three", 5);
    put_bytes(2, "half", bytes, HALF);
    put_bytes(3, "most", bytes, FS_DATA_MAX);
    put_bytes(4, "empty", "", 0);
    put_large(5, "more", FS_DATA_MAX + 1);
    fs_download_res *got = download(ones, ONES, &res, &answered);
    assert_int_equal(answered, 3);
    assert_content(&got[0], "three", 5);
    assert_content(&got[1], bytes, HALF);
    assert_int_equal(got[2].status, FS_ABSENT);
    free_downloads(&res);
    got = download(ones + 3, ONES - 3, &res, &answered);
    assert_int_equal(answered, 4);
    assert_content(&got[0], bytes, FS_DATA_MAX);
    assert_int_equal(got[1].status, FS_OK);
    assert_false(got[1].fs_download_res_u.download.eof);
    assert_int_equal(got[1].fs_download_res_u.download.content.fs_data_len, 0);
    assert_int_equal(got[1].fs_download_res_u.download.entry.size, FS_DATA_MAX + 1);
    assert_int_equal(got[2].status, FS_INVALID);
    assert_content(&got[3], "", 0);
    free_downloads(&res);
    got = download(ones + 7, ONES - 7, &res, &answered);
    assert_int_equal(answered, 2);
    assert_content(&got[1], bytes, HALF);
    free_downloads(&res);
}

/* Each from another blob: a call holds a number of them open, and the next goes on from there. */
static void scattered_files_come_in_several_calls(void **state)
{
    enum { BLOBS = 80, TINY = 1000, SIZE = 65000 };
    scoped_free char *bytes = calloc(1, SIZE);
    static char names[2][BLOBS][16];
    fs_download_one ones[BLOBS] = {0};
    fs_download_many_res res;
    unsigned answered = 0, calls = 0;

    (void)state;
    for (unsigned i = 0; i < BLOBS; i++) {
        fs_upload_many_res stored = {0};
        snprintf(names[0][i], sizeof names[0][i], "tiny/%02u", i);
        snprintf(names[1][i], sizeof names[1][i], "filler/%02u", i);
        fs_upload_args files[] = {file(2 * i + 1, names[0][i], bytes, TINY),
                                  file(2 * i + 2, names[1][i], bytes, SIZE)};
        upload(DESK_ALICE, files, 2, &stored);
        assert_int_equal(stored.fs_upload_many_res_u.many.files.files_val[0].status, FS_OK);
        free_answers(&stored);
        ones[i] = (fs_download_one){.name = desk_name(names[0][i])};
    }
    for (unsigned done = 0; done < BLOBS; done += answered, calls++) {
        fs_download_res *got = download(ones + done, BLOBS - done, &res, &answered);
        assert_true(answered > 0);
        for (unsigned i = 0; i < answered; i++)
            assert_content(&got[i], bytes, TINY);
        free_downloads(&res);
    }
    assert_int_equal(calls, 2);
}

static void a_version_is_brought_as_long_as_it_is_kept(void **state)
{
    fs_download_one ones[] = {{.name = desk_name("a"), .revision = desk_id(1)},
                              {.name = desk_name("a")},
                              {.name = desk_name("a"), .revision = desk_id(9)}};
    fs_download_many_res res;
    unsigned answered;

    (void)state;
    assert_int_equal(desk_put(&desk, DESK_ALICE, 1, "a", "first", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_ALICE, 2, "a", "second", FS_REPLACE), FS_OK);
    fs_download_res *got = download(ones, 3, &res, &answered);
    assert_int_equal(answered, 3);
    assert_content(&got[0], "first", 5);
    assert_content(&got[1], "second", 6);
    assert_int_equal(got[2].status, FS_STALE);
    free_downloads(&res);
}

/* What cannot be read is answered so, alone; the others of the reply come. */
static void content_that_is_cut_short_fails_alone(void **state)
{
    enum { SIZE = 30000 };
    scoped_free char *bytes = calloc(1, SIZE);
    char command[200];
    fs_download_one ones[] = {{.name = desk_name("first")},
                              {.name = desk_name("cut")},
                              {.name = desk_name("cut")},
                              {.name = desk_name("last")}};
    fs_download_many_res res;
    fs_download_args args = {.name = desk_name("cut"), .count = FS_DATA_MAX};
    fs_download_res alone = {0};
    unsigned answered;

    (void)state;
    put_bytes(2, "cut", bytes, SIZE);
    snprintf(command, sizeof command, "truncate -s 29999 $(find %s/blobs -type f)", desk.folder);
    assert_int_equal(system(command), 0);
    put_bytes(1, "first", bytes, SIZE);
    put_bytes(3, "last", "end", 3);
    fs_download_res *got = download(ones, 4, &res, &answered);
    assert_int_equal(answered, 4);
    assert_content(&got[0], bytes, SIZE);
    assert_int_equal(got[1].status, FS_CORRUPT);
    assert_int_equal(got[2].status, FS_CORRUPT);
    assert_true(got[2].fs_download_res_u.failure.reason.fs_text_len > 0);
    assert_content(&got[3], "end", 3);
    free_downloads(&res);
    desk_call(&desk, DESK_BOB, FSPROC_DOWNLOAD, (xdrproc_t)xdr_fs_download_args, &args,
              (xdrproc_t)xdr_fs_download_res, &alone);
    assert_int_equal(alone.status, FS_CORRUPT);
}

#define ON_DESK(test) cmocka_unit_test_setup_teardown(test, open_desk, close_desk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DESK(each_is_stored_or_refused_by_itself),
        ON_DESK(only_who_may_replaces),
        ON_DESK(a_repeat_counts_once_however_it_is_bundled),
        ON_DESK(each_arrival_is_told),
        ON_DESK(as_many_as_the_contract_says),
        ON_DESK(none_is_nothing),
        ON_DESK(whole_files_as_many_as_fit),
        ON_DESK(scattered_files_come_in_several_calls),
        ON_DESK(a_version_is_brought_as_long_as_it_is_kept),
        ON_DESK(content_that_is_cut_short_fails_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
