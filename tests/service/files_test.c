/* Uploading, downloading, and what is done with names: procedures on the real store. */
#include "service/desk.h"

#include "base/digest.h"

#include <setjmp.h>
#include <stdarg.h>
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

#define CALL(uid, PROC, args_type, res_type, args, res) \
    desk_call(&desk, uid, PROC, (xdrproc_t)xdr_##args_type, args, (xdrproc_t)xdr_##res_type, res)

static void assert_reason(const fs_text *reason, const char *words)
{
    char text[FS_TEXT_MAX + 1] = "";

    if (reason->fs_text_len > 0)
        memcpy(text, reason->fs_text_val, reason->fs_text_len);
    if (!strstr(text, words))
        fail_msg("\"%s\" does not say \"%s\"", text, words);
}

static fs_entry_res stat_of(const char *name)
{
    fs_stat_args args = {.name = desk_name(name)};
    fs_entry_res res = {0};

    CALL(DESK_BOB, FSPROC_STAT, fs_stat_args, fs_entry_res, &args, &res);
    return res;
}

static fs_download_res download(const char *name, fs_id version, uint64_t offset, unsigned count)
{
    fs_download_args args = {.name = desk_name(name), .revision = version, .offset = offset, .count = count};
    fs_download_res res = {0};

    CALL(DESK_BOB, FSPROC_DOWNLOAD, fs_download_args, fs_download_res, &args, &res);
    return res;
}

static void assert_content(const char *name, const char *content)
{
    fs_download_res res = download(name, desk_id(0), 0, FS_DATA_MAX);
    fs_download *got = &res.fs_download_res_u.download;

    assert_int_equal(res.status, FS_OK);
    assert_true(got->eof);
    assert_int_equal(got->content.fs_data_len, strlen(content));
    assert_memory_equal(got->content.fs_data_val, content, strlen(content));
}

static void a_file_goes_up_and_comes_down(void **state)
{
    const char content[] = "thirteen byte";
    struct digest_value digest = digest_of(content, 13);
    fs_upload_args args = {
        .op = desk_id(7),
        .name = desk_name("reports/März.csv"),
        .mtime = {.seconds = 1234567890, .nanoseconds = 42},
        .digest = {.fs_digest_len = DIGEST_SIZE, .fs_digest_val = (char *)digest.octets},
        .content = desk_data(content, 13),
    };
    fs_entry_res res = {0};

    (void)state;
    CALL(DESK_ALICE, FSPROC_UPLOAD, fs_upload_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_OK);
    fs_entry *entry = &res.fs_entry_res_u.entry;
    assert_int_equal(entry->size, 13);
    assert_int_equal(entry->mtime.seconds, 1234567890);
    assert_int_equal(entry->mtime.nanoseconds, 42);
    assert_memory_equal(entry->owner.fs_text_val, "unix:1001", 9);
    assert_memory_equal(entry->digest.fs_digest_val, digest.octets, DIGEST_SIZE);
    assert_memory_equal(entry->revision.octets, desk_id(7).octets, FS_ID_SIZE);
    assert_content("reports/März.csv", content);
}

static void a_wrong_digest_leaves_nothing(void **state)
{
    char digest[DIGEST_SIZE] = "not the digest";
    fs_upload_args args = {
        .op = desk_id(7),
        .name = desk_name("a"),
        .digest = {.fs_digest_len = DIGEST_SIZE, .fs_digest_val = digest},
        .content = desk_data("x", 1),
    };
    fs_entry_res res = {0};

    (void)state;
    CALL(DESK_ALICE, FSPROC_UPLOAD, fs_upload_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_CHANGED);
    assert_int_equal(stat_of("a").status, FS_ABSENT);
}

static void names_that_cannot_be_are_refused_with_a_reason(void **state)
{
    static const struct {
        const char *name, *reason;
    } rows[] = {{"", "empty"},       {"/a", "slash"},       {"a/", "slash"},
                {"a//b", "empty"},   {"a/../b", "\"..\""},  {".", "\".\""},
                {"a\tb", "control"}, {"\xc3\x28", "UTF-8"}, {"a\xc2\x85", "control"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fs_upload_args args = {.op = desk_id(1), .name = desk_name(rows[i].name)};
        fs_entry_res res = {0};
        CALL(DESK_ALICE, FSPROC_UPLOAD, fs_upload_args, fs_entry_res, &args, &res);
        assert_int_equal(res.status, FS_INVALID);
        assert_reason(&res.fs_entry_res_u.failure.reason, rows[i].reason);
    }
}

static void a_name_with_a_nul_is_refused_not_shortened(void **state)
{
    char bytes[] = "a\0b";
    fs_upload_args args = {.op = desk_id(1), .name = {.fs_name_len = 3, .fs_name_val = bytes}};
    fs_entry_res res = {0};

    (void)state;
    CALL(DESK_ALICE, FSPROC_UPLOAD, fs_upload_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_INVALID);
    assert_int_equal(stat_of("a").status, FS_ABSENT);
}

static void an_upload_repeated_counts_once(void **state)
{
    (void)state;
    assert_int_equal(desk_put(&desk, DESK_ALICE, 1, "a", "one", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_ALICE, 1, "a", "one", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_ALICE, 2, "a", "two", FS_FAIL), FS_EXISTS);
    desk_reopen(&desk);
    assert_int_equal(desk_put(&desk, DESK_ALICE, 1, "a", "one", FS_FAIL), FS_OK);
    assert_content("a", "one");
}

static void only_the_owner_and_root_replace_and_remove(void **state)
{
    fs_remove_args args = {.op = desk_id(10), .name = desk_name("a")};
    fs_done_res res = {0};

    (void)state;
    assert_int_equal(desk_put(&desk, DESK_ALICE, 1, "a", "one", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_BOB, 2, "a", "two", FS_REPLACE), FS_DENIED);
    CALL(DESK_BOB, FSPROC_REMOVE, fs_remove_args, fs_done_res, &args, &res);
    assert_int_equal(res.status, FS_DENIED);
    assert_int_equal(desk_put(&desk, DESK_ALICE, 3, "a", "three", FS_REPLACE), FS_OK);
    assert_content("a", "three");
    args.op = desk_id(11);
    CALL(DESK_ROOT, FSPROC_REMOVE, fs_remove_args, fs_done_res, &args, &res);
    assert_int_equal(res.status, FS_OK);
    assert_int_equal(stat_of("a").status, FS_ABSENT);
}

static void an_unidentified_caller_gets_null_and_hello_only(void **state)
{
    fs_stat_args args = {.name = desk_name("a")};
    fs_hello_args hello = {0};
    fs_hello_res answer = {0};
    fs_entry_res res = {0};
    char none = 0;

    (void)state;
    assert_int_equal(desk_try(&desk, -1, FSPROC_NULL, (xdrproc_t)(void (*)(void))xdr_void, &none,
                              (xdrproc_t)(void (*)(void))xdr_void, &none),
                     OUTCOME_OK);
    assert_int_equal(desk_try(&desk, -1, FSPROC_HELLO, (xdrproc_t)xdr_fs_hello_args, &hello,
                              (xdrproc_t)xdr_fs_hello_res, &answer),
                     OUTCOME_OK);
    assert_int_equal(answer.status, FS_OK);
    assert_int_equal(answer.fs_hello_res_u.hello.data_max, FS_DATA_MAX);
    assert_int_equal(desk_try(&desk, -1, FSPROC_STAT, (xdrproc_t)xdr_fs_stat_args, &args,
                              (xdrproc_t)xdr_fs_entry_res, &res),
                     OUTCOME_DENIED);
}

static void a_large_upload_goes_by_parts(void **state)
{
    fs_upload_open_args open = {.upload = desk_id(5), .name = desk_name("big")};
    fs_upload_open_res opened = {0};
    fs_upload_data_args data = {.upload = desk_id(5), .offset = 0, .content = desk_data("abcd", 4)};
    fs_upload_data_res held = {0};
    fs_upload_commit_args commit = {.upload = desk_id(5), .size = 8};
    fs_entry_res res = {0};

    (void)state;
    CALL(DESK_ALICE, FSPROC_UPLOAD_OPEN, fs_upload_open_args, fs_upload_open_res, &open, &opened);
    assert_int_equal(opened.status, FS_OK);
    assert_int_equal(opened.fs_upload_open_res_u.state.held, 0);
    CALL(DESK_ALICE, FSPROC_UPLOAD_DATA, fs_upload_data_args, fs_upload_data_res, &data, &held);
    assert_int_equal(held.status, FS_OK);
    assert_int_equal(held.held, 4);
    /* the same again, and some that leave a gap: 4 are held; too far ahead, or held in part: go on at 4 */
    CALL(DESK_ALICE, FSPROC_UPLOAD_DATA, fs_upload_data_args, fs_upload_data_res, &data, &held);
    assert_int_equal(held.status, FS_OK);
    assert_int_equal(held.held, 4);
    data.offset = 9;
    CALL(DESK_ALICE, FSPROC_UPLOAD_DATA, fs_upload_data_args, fs_upload_data_res, &data, &held);
    assert_int_equal(held.status, FS_OK);
    assert_int_equal(held.held, 4);
    data.offset = 4 + (UINT64_C(32) << 20);
    CALL(DESK_ALICE, FSPROC_UPLOAD_DATA, fs_upload_data_args, fs_upload_data_res, &data, &held);
    assert_int_equal(held.status, FS_OFFSET);
    assert_int_equal(held.held, 4);
    data.offset = 2;
    CALL(DESK_ALICE, FSPROC_UPLOAD_DATA, fs_upload_data_args, fs_upload_data_res, &data, &held);
    assert_int_equal(held.status, FS_OFFSET);
    assert_int_equal(held.held, 4);
    /* another's hands off */
    data.offset = 4;
    CALL(DESK_BOB, FSPROC_UPLOAD_DATA, fs_upload_data_args, fs_upload_data_res, &data, &held);
    assert_int_equal(held.status, FS_DENIED);
    CALL(DESK_ALICE, FSPROC_UPLOAD_OPEN, fs_upload_open_args, fs_upload_open_res, &open, &opened);
    assert_int_equal(opened.fs_upload_open_res_u.state.held, 4);
    struct digest_value digest = digest_of("abcd", 4);
    assert_memory_equal(opened.fs_upload_open_res_u.state.digest.fs_digest_val, digest.octets, DIGEST_SIZE);
    CALL(DESK_ALICE, FSPROC_UPLOAD_COMMIT, fs_upload_commit_args, fs_entry_res, &commit, &res);
    assert_int_equal(res.status, FS_CHANGED);
    assert_int_equal(stat_of("big").status, FS_ABSENT);
    CALL(DESK_ALICE, FSPROC_UPLOAD_DATA, fs_upload_data_args, fs_upload_data_res, &data, &held);
    assert_int_equal(held.held, 8);
    CALL(DESK_ALICE, FSPROC_UPLOAD_COMMIT, fs_upload_commit_args, fs_entry_res, &commit, &res);
    assert_int_equal(res.status, FS_OK);
    CALL(DESK_ALICE, FSPROC_UPLOAD_COMMIT, fs_upload_commit_args, fs_entry_res, &commit, &res);
    assert_int_equal(res.status, FS_OK);
    assert_content("big", "abcdabcd");
    opened = (fs_upload_open_res){0};
    CALL(DESK_ALICE, FSPROC_UPLOAD_OPEN, fs_upload_open_args, fs_upload_open_res, &open, &opened);
    assert_non_null(opened.fs_upload_open_res_u.state.published);
    xdr_free((xdrproc_t)xdr_fs_upload_open_res, (char *)&opened);
}

static void an_upload_given_up_leaves_nothing(void **state)
{
    fs_upload_open_args open = {.upload = desk_id(5), .name = desk_name("big")};
    fs_upload_open_res opened = {0};
    fs_upload_abort_args abort_args = {.upload = desk_id(5)};
    fs_upload_commit_args commit = {.upload = desk_id(5)};
    fs_done_res done = {0};
    fs_entry_res res = {0};

    (void)state;
    CALL(DESK_ALICE, FSPROC_UPLOAD_OPEN, fs_upload_open_args, fs_upload_open_res, &open, &opened);
    CALL(DESK_ALICE, FSPROC_UPLOAD_ABORT, fs_upload_abort_args, fs_done_res, &abort_args, &done);
    assert_int_equal(done.status, FS_OK);
    CALL(DESK_ALICE, FSPROC_UPLOAD_COMMIT, fs_upload_commit_args, fs_entry_res, &commit, &res);
    assert_int_equal(res.status, FS_ABSENT);
}

static void a_download_never_mixes_versions(void **state)
{
    (void)state;
    assert_int_equal(desk_put(&desk, DESK_ALICE, 1, "a", "first version", FS_FAIL), FS_OK);
    fs_download_res res = download("a", desk_id(0), 0, 5);
    assert_int_equal(res.fs_download_res_u.download.content.fs_data_len, 5);
    assert_false(res.fs_download_res_u.download.eof);
    fs_id version = res.fs_download_res_u.download.entry.revision;
    assert_int_equal(desk_put(&desk, DESK_ALICE, 2, "a", "SECOND VERSION", FS_REPLACE), FS_OK);
    res = download("a", version, 5, FS_DATA_MAX);
    assert_int_equal(res.status, FS_OK);
    assert_memory_equal(res.fs_download_res_u.download.content.fs_data_val, " version", 8);
    assert_int_equal(download("a", desk_id(99), 0, 1).status, FS_STALE);
    assert_int_equal(download("b", desk_id(0), 0, 1).status, FS_ABSENT);
    assert_int_equal(download("a", desk_id(0), 15, 1).status, FS_INVALID);
    res = download("a", desk_id(0), 14, 1);
    assert_int_equal(res.status, FS_OK);
    assert_true(res.fs_download_res_u.download.eof);
    assert_int_equal(res.fs_download_res_u.download.content.fs_data_len, 0);
}

static void a_list_goes_by_pages_in_byte_order(void **state)
{
    static const char *const names[] = {"b/2", "a", "b/1", "c", "B"};
    static const char *const sorted[] = {"B", "a", "b/1", "b/2", "c"};
    fs_list_args args = {.limit = 2};
    unsigned seen = 0;

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(desk_put(&desk, DESK_ALICE, i + 1, names[i], "x", FS_FAIL), FS_OK);
    char cursor[FS_NAME_MAX];
    for (bool more = true; more;) {
        fs_list_res res = {0};
        CALL(DESK_BOB, FSPROC_LIST, fs_list_args, fs_list_res, &args, &res);
        assert_int_equal(res.status, FS_OK);
        fs_list *page = &res.fs_list_res_u.page;
        for (u_int i = 0; i < page->entries.entries_len; i++, seen++)
            assert_memory_equal(page->entries.entries_val[i].name.fs_name_val, sorted[seen],
                                strlen(sorted[seen]));
        more = page->more;
        if (more) {
            memcpy(cursor, page->cursor.fs_name_val, page->cursor.fs_name_len);
            args.cursor = (fs_name){.fs_name_len = page->cursor.fs_name_len, .fs_name_val = cursor};
        }
        xdr_free((xdrproc_t)xdr_fs_list_res, (char *)&res);
    }
    assert_int_equal(seen, 5);

    fs_list_res res = {0};
    args = (fs_list_args){.glob = desk_name("b/*")};
    CALL(DESK_BOB, FSPROC_LIST, fs_list_args, fs_list_res, &args, &res);
    assert_int_equal(res.fs_list_res_u.page.entries.entries_len, 2);
    xdr_free((xdrproc_t)xdr_fs_list_res, (char *)&res);
    args.glob = desk_name("[");
    CALL(DESK_BOB, FSPROC_LIST, fs_list_args, fs_list_res, &args, &res);
    assert_int_equal(res.status, FS_INVALID);
}

static void a_list_of_the_longest_names_fits_into_records(void **state)
{
    enum { NAMES = 1100 };
    char name[FS_NAME_MAX + 1];
    unsigned seen = 0, calls = 0;
    fs_list_args args = {0};
    char cursor[FS_NAME_MAX];

    (void)state;
    for (unsigned i = 0; i < NAMES; i++) {
        memset(name, 'n', FS_NAME_MAX);
        name[FS_NAME_MAX] = '\0';
        for (unsigned slash = 255; slash < FS_NAME_MAX; slash += 256)
            name[slash] = '/';
        memcpy(name,
               (char[]){(char)('a' + i / 26 / 26 % 26), (char)('a' + i / 26 % 26), (char)('a' + i % 26)}, 3);
        assert_int_equal(desk_put(&desk, DESK_ALICE, i + 1, name, "x", FS_FAIL), FS_OK);
    }
    for (bool more = true; more; calls++) {
        fs_list_res res = {0};
        CALL(DESK_BOB, FSPROC_LIST, fs_list_args, fs_list_res, &args, &res);
        assert_int_equal(res.status, FS_OK);
        fs_list *page = &res.fs_list_res_u.page;
        seen += page->entries.entries_len;
        more = page->more;
        if (more) {
            memcpy(cursor, page->cursor.fs_name_val, page->cursor.fs_name_len);
            args.cursor = (fs_name){.fs_name_len = page->cursor.fs_name_len, .fs_name_val = cursor};
        }
        xdr_free((xdrproc_t)xdr_fs_list_res, (char *)&res);
    }
    assert_int_equal(seen, NAMES);
    assert_in_range(calls, 2, 4);
}

static void a_rename_keeps_the_content(void **state)
{
    fs_rename_args args = {.op = desk_id(20), .source = desk_name("a"), .target = desk_name("dir/b")};
    fs_entry_res res = {0};

    (void)state;
    assert_int_equal(desk_put(&desk, DESK_ALICE, 1, "a", "content", FS_FAIL), FS_OK);
    assert_int_equal(desk_put(&desk, DESK_BOB, 2, "taken", "x", FS_FAIL), FS_OK);
    CALL(DESK_BOB, FSPROC_RENAME, fs_rename_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_DENIED);
    CALL(DESK_ALICE, FSPROC_RENAME, fs_rename_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_OK);
    CALL(DESK_ALICE, FSPROC_RENAME, fs_rename_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_OK);
    assert_int_equal(stat_of("a").status, FS_ABSENT);
    assert_content("dir/b", "content");
    args = (fs_rename_args){.op = desk_id(21), .source = desk_name("dir/b"), .target = desk_name("taken")};
    CALL(DESK_ALICE, FSPROC_RENAME, fs_rename_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_EXISTS);
}

static void arguments_out_of_range_are_refused(void **state)
{
    fs_upload_args args = {.op = desk_id(1), .name = desk_name("a")};
    fs_entry_res res = {0};

    (void)state;
    args.policy = (fs_policy)2;
    CALL(DESK_ALICE, FSPROC_UPLOAD, fs_upload_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_INVALID);
    args.policy = FS_FAIL;
    args.mtime.nanoseconds = 1000000000;
    CALL(DESK_ALICE, FSPROC_UPLOAD, fs_upload_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_INVALID);
    args.mtime = (fs_time){.seconds = INT64_MAX};
    CALL(DESK_ALICE, FSPROC_UPLOAD, fs_upload_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_INVALID);
    args.mtime = (fs_time){0};
    args.digest = (fs_digest){.fs_digest_len = 15, .fs_digest_val = (char[15]){0}};
    CALL(DESK_ALICE, FSPROC_UPLOAD, fs_upload_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_INVALID);
    args.digest = (fs_digest){0};
    args.op = desk_id(0);
    CALL(DESK_ALICE, FSPROC_UPLOAD, fs_upload_args, fs_entry_res, &args, &res);
    assert_int_equal(res.status, FS_INVALID);
    assert_reason(&res.fs_entry_res_u.failure.reason, "op id is all zeros");
}

#define ON_DESK(test) cmocka_unit_test_setup_teardown(test, open_desk, close_desk)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_DESK(a_file_goes_up_and_comes_down),
        ON_DESK(a_wrong_digest_leaves_nothing),
        ON_DESK(names_that_cannot_be_are_refused_with_a_reason),
        ON_DESK(a_name_with_a_nul_is_refused_not_shortened),
        ON_DESK(an_upload_repeated_counts_once),
        ON_DESK(only_the_owner_and_root_replace_and_remove),
        ON_DESK(an_unidentified_caller_gets_null_and_hello_only),
        ON_DESK(a_large_upload_goes_by_parts),
        ON_DESK(an_upload_given_up_leaves_nothing),
        ON_DESK(a_download_never_mixes_versions),
        ON_DESK(a_list_goes_by_pages_in_byte_order),
        ON_DESK(a_list_of_the_longest_names_fits_into_records),
        ON_DESK(a_rename_keeps_the_content),
        ON_DESK(arguments_out_of_range_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
