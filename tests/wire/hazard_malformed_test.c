/*
 * Arguments that do not decode, for every procedure, through rpcgen's own
 * dispatcher and the real table: each is GARBAGE_ARGS, nothing reaches a
 * procedure, and nothing is kept of what was decoded before the failure.
 */
#include "server/procedures/service.h"
#include "wire/peer.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "wire/golden/golden.h" /* last: its macros have short names */

enum { VARIANTS = 100, ARGUMENTS_MAX = 8192, MESSAGE_MAX = ARGUMENTS_MAX + CALL_MAX };

/* Procedures by the type of their arguments; NULL and STATUS have none, so none can be malformed. */
static const struct {
    uint32_t procedure;
    const char *type;
} table[] = {
    {FSPROC_HELLO, "fs_hello_args"},
    {FSPROC_UPLOAD, "fs_upload_args"},
    {FSPROC_UPLOAD_OPEN, "fs_upload_open_args"},
    {FSPROC_UPLOAD_DATA, "fs_upload_data_args"},
    {FSPROC_UPLOAD_COMMIT, "fs_upload_commit_args"},
    {FSPROC_UPLOAD_ABORT, "fs_upload_abort_args"},
    {FSPROC_DOWNLOAD, "fs_download_args"},
    {FSPROC_LIST, "fs_list_args"},
    {FSPROC_STAT, "fs_stat_args"},
    {FSPROC_REMOVE, "fs_remove_args"},
    {FSPROC_RENAME, "fs_rename_args"},
    {FSPROC_REGISTER_INTEREST, "fs_register_args"},
    {FSPROC_CANCEL_INTEREST, "fs_cancel_args"},
    {FSPROC_RENEW_INTEREST, "fs_renew_args"},
    {FSPROC_LIST_INTERESTS, "fs_interests_args"},
    {FSPROC_ATTACH, "fs_attach_args"},
    {FSPROC_DETACH, "fs_detach_args"},
    {FSPROC_EVENTS, "fs_events_args"},
    {FSPROC_UPLOAD_MANY, "fs_upload_many_args"},
    {FSPROC_DOWNLOAD_MANY, "fs_download_many_args"},
};

static struct rpc_server *server;
static struct address address;

static int set_up(void **state)
{
    const struct rpc_server_options options = {.program = service_program(),
                                               .limits = rpc_limits_default(),
                                               .clock = clock_system(),
                                               .name = "bad"};
    struct address any;

    (void)state;
    assert_int_equal(rpc_server_new(&options, &server, NULL), OUTCOME_OK);
    assert_int_equal(address_ip("127.0.0.1", 0, &any, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_listen(server, &any, &address, NULL), OUTCOME_OK);
    assert_int_equal(rpc_server_start(server, NULL), OUTCOME_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    rpc_server_stop(server, 5000);
    server = rpc_server_free(server);
    return 0;
}

/* Well-formed arguments of this type: the longest there are among the golden ones. */
static size_t arguments_of(const char *type, uint8_t *to)
{
    size_t families, longest = 0;
    const struct golden_family *const *family = golden_families(&families);

    for (size_t f = 0; f < families; f++)
        for (size_t i = 0; i < family[f]->count; i++) {
            const struct golden *golden = &family[f]->cases[i];
            uint8_t bytes[ARGUMENTS_MAX];
            size_t length;
            if (strcmp(golden->type, type) != 0)
                continue;
            assert_true(golden_bytes(golden->hex, bytes, sizeof bytes, &length));
            if (length > longest) {
                longest = length;
                memcpy(to, bytes, length);
            }
        }
    assert_true(longest > 0);
    return longest;
}

static size_t encode(uint32_t procedure, const void *arguments, size_t size, uint8_t *to)
{
    static uint8_t credential[64];
    struct call_form form = call_of(FILESHARE_PROG, FILESHARE_V1, procedure);

    form.flavor = AUTH_SYS;
    form.credential = credential;
    form.credential_size = credential_of(1, credential);
    form.arguments = arguments;
    form.arguments_size = size;
    return call_encode(&form, to, MESSAGE_MAX);
}

static void expect_garbage(int fd, const uint8_t *message, size_t size)
{
    uint8_t reply[CALL_MAX];

    peer_send_record(fd, message, size);
    assert_int_equal(peer_receive(fd, reply, sizeof reply), REPLY_HEADER);
    assert_int_equal(reply[REPLY_HEADER - 1], GARBAGE_ARGS);
}

/* Cut off after each of up to `VARIANTS` places, spread over its length. */
static void send_cut(int fd, uint32_t procedure, const uint8_t *arguments, size_t length)
{
    uint8_t message[MESSAGE_MAX];

    for (unsigned i = 0; i < VARIANTS; i++) {
        size_t size = encode(procedure, arguments, length * i / VARIANTS & ~(size_t)3, message);
        expect_garbage(fd, message, size);
        if (i * 4 % VARIANTS == 0) {
            peer_null(fd, FILESHARE_PROG);
        }
    }
}

static void send_all(int fd)
{
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        uint8_t arguments[ARGUMENTS_MAX];
        size_t length = arguments_of(table[i].type, arguments);
        send_cut(fd, table[i].procedure, arguments, length);
    }
}

/* 100 malformed calls of every procedure, again and again: memory stays as it is. */
static void test_cut_arguments(void **state)
{
    struct rpc_server_counters counters;
    unsigned rounds = slowness() > 1 ? 2 : 10;

    (void)state;
    assert_int_equal(sizeof table / sizeof table[0] + 2, service_program()->count);
    int fd = peer_connect(&address);
    send_all(fd);
    size_t before = resident_bytes();
    for (unsigned i = 0; i < rounds; i++)
        send_all(fd);
    assert_true(resident_grew_less(before, 1 << 20));
    rpc_server_count(server, &counters);
    assert_int_equal(counters.calls_refused, (rounds + 1) * VARIANTS * (sizeof table / sizeof table[0]));
    /* The last record is given back after its reply was sent. */
    for (int64_t until = now_ms() + 10000 * slowness(); counters.in_flight_bytes > 0 && now_ms() < until;)
        rpc_server_count(server, &counters);
    assert_int_equal(counters.in_flight_bytes, 0);
    close(fd);
}

/* Each word in its turn made enormous: a count, a length or a discriminant that makes no sense, or a value like any other. */
static void test_claims_in_arguments(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        uint8_t arguments[ARGUMENTS_MAX], message[MESSAGE_MAX];
        size_t length = arguments_of(table[i].type, arguments);
        /* Cut one word short as well, so that no variant can decode and reach a procedure. */
        length -= 4;
        int fd = peer_connect(&address);
        for (size_t at = 0; at + 4 <= length; at += 4) {
            uint8_t saved[4];
            memcpy(saved, arguments + at, 4);
            memcpy(arguments + at, "\x20\0\0\0", 4);
            expect_garbage(fd, message, encode(table[i].procedure, arguments, length, message));
            memcpy(arguments + at, "\xff\xff\xff\xff", 4);
            expect_garbage(fd, message, encode(table[i].procedure, arguments, length, message));
            memcpy(arguments + at, saved, 4);
        }
        close(fd);
    }
}

/* Arguments to procedures that take none are no harm. */
static void test_needless_arguments(void **state)
{
    uint8_t message[MESSAGE_MAX], reply[CALL_MAX];

    (void)state;
    int fd = peer_connect(&address);
    peer_send_record(fd, message, encode(FSPROC_NULL, "abcdefgh", 8, message));
    assert_int_equal(peer_receive(fd, reply, sizeof reply), REPLY_HEADER);
    assert_int_equal(reply[REPLY_HEADER - 1], SUCCESS);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cut_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_claims_in_arguments, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_needless_arguments, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
