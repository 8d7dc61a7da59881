/* Headers of calls and replies: rpc/message.h. */
#include "rpc/message.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct message_target target = {0x20465348, 1, 9};

/* Bytes of words in network order, in memory of exactly their size. */
static uint8_t *wire(const uint32_t *words, size_t count)
{
    uint8_t *bytes = malloc(count * 4 + 1);

    for (size_t i = 0; i < count; i++) {
        uint32_t word = htonl(words[i]);
        memcpy(bytes + 4 * i, &word, 4);
    }
    return bytes;
}

static struct record *begun_call(AUTH *auth, uint32_t argument)
{
    struct record *record = record_new(1024);
    struct failure why;
    XDR xdrs;

    assert_int_equal(message_begin_call(record, &xdrs, 77, &target, auth, &why), OUTCOME_OK);
    assert_true(xdr_u_int(&xdrs, &argument));
    message_end(record, &xdrs);
    return record;
}

static void test_call_bytes(void **state)
{
    struct record *record = begun_call(NULL, 5);
    const uint32_t expected[] = {0x80000000 | 44, 77, 0, 2, 0x20465348, 1, 9, 0, 0, 0, 0, 5};
    uint8_t *bytes = wire(expected, 12);

    (void)state;
    assert_int_equal(record->size, 48);
    assert_memory_equal(record->bytes, bytes, 48);
    free(bytes);
    record_free(record);
}

static void test_call_there_and_back(void **state)
{
    gid_t groups[16] = {1, 2, 3};
    char host[] = "host.example";
    AUTH *auth = authunix_create(host, 1000, 1000, 16, groups);
    struct record *record = begun_call(auth, 5);
    struct message_call call;
    struct failure why;

    (void)state;
    assert_int_equal(message_parse_call(record->bytes + 4, record->size - 4, &call, &why), OUTCOME_OK);
    assert_int_equal(call.xid, 77);
    assert_int_equal(call.rpc_version, 2);
    assert_int_equal(call.program, 0x20465348);
    assert_int_equal(call.version, 1);
    assert_int_equal(call.procedure, 9);
    assert_int_equal(call.flavor, AUTH_SYS);
    assert_int_equal(call.credential_size, 4 + 4 + 12 + 4 + 4 + 4 + 16 * 4);
    assert_int_equal(call.arguments_at, record->size - 4 - 4);
    assert_ptr_equal(call.credential, record->bytes + 4 + 32);

    /* Cut anywhere in the header it is refused, and nothing behind the end is read. */
    for (size_t size = 0; size < call.arguments_at; size++) {
        uint8_t *exact = malloc(size + 1);
        memcpy(exact, record->bytes + 4, size);
        uint8_t *shorter = realloc(exact, size ? size : 1);
        assert_int_equal(message_parse_call(shorter, size, &call, &why), OUTCOME_PROTOCOL);
        free(shorter);
    }
    AUTH_DESTROY(auth);
    record_free(record);
}

static void test_call_credential_limit(void **state)
{
    (void)state;
    for (uint32_t size = MAX_AUTH_BYTES; size <= MAX_AUTH_BYTES + 1; size++) {
        uint32_t words[8 + 101 + 2] = {1, CALL, 2, 3, 4, 5, AUTH_SYS, size};
        uint8_t *bytes = wire(words, 111);
        struct message_call call;
        assert_int_equal(message_parse_call(bytes, 444, &call, NULL),
                         size <= MAX_AUTH_BYTES ? OUTCOME_OK : OUTCOME_PROTOCOL);
        free(bytes);
    }
    uint32_t huge[] = {1, CALL, 2, 3, 4, 5, AUTH_SYS, 0xfffffffd, 0, 0};
    uint8_t *bytes = wire(huge, 10);
    struct message_call call;
    assert_int_equal(message_parse_call(bytes, 40, &call, NULL), OUTCOME_PROTOCOL);
    free(bytes);
}

static void test_call_of_another_rpc_version(void **state)
{
    uint32_t words[] = {9, CALL, 3};
    uint8_t *bytes = wire(words, 3);
    struct message_call call;

    (void)state;
    assert_int_equal(message_parse_call(bytes, 12, &call, NULL), OUTCOME_OK);
    assert_int_equal(call.rpc_version, 3);
    assert_int_equal(call.xid, 9);
    free(bytes);
}

static void test_peek(void **state)
{
    uint32_t words[] = {0xdeadbeef, CALL, 0xdeadbee0, REPLY};
    uint8_t *bytes = wire(words, 4);
    struct message_kind kind;

    (void)state;
    assert_true(message_peek(bytes, 8, &kind));
    assert_true(kind.is_call);
    assert_int_equal(kind.xid, 0xdeadbeef);
    assert_true(message_peek(bytes + 8, 8, &kind));
    assert_false(kind.is_call);
    assert_int_equal(kind.xid, 0xdeadbee0);
    assert_false(message_peek(bytes, 7, &kind));
    free(bytes);
}

static void test_reply_there_and_back(void **state)
{
    struct record *record = record_new(256), *received = record_new(256);
    struct rpc_msg reply = {.rm_xid = 5, .rm_direction = REPLY};
    struct failure why;
    uint32_t result = 0x01020304;
    XDR xdrs;

    (void)state;
    reply.acpted_rply.ar_verf = _null_auth;
    reply.acpted_rply.ar_stat = SUCCESS;
    assert_int_equal(message_begin_reply(record, &xdrs, &reply, &why), OUTCOME_OK);
    assert_true(xdr_u_int(&xdrs, &result));
    message_end(record, &xdrs);
    assert_int_equal(record->size, 4 + 24 + 4);

    memcpy(received->bytes, record->bytes + 4, record->size - 4);
    received->size = record->size - 4;
    result = 0;
    assert_int_equal(message_parse_reply(received, &xdrs, NULL, NULL, &why), OUTCOME_OK);
    assert_true(xdr_u_int(&xdrs, &result));
    assert_int_equal(result, 0x01020304);
    assert_false(xdr_u_int(&xdrs, &result));
    record_free(record);
    record_free(received);
}

struct answer {
    uint32_t words[8];
    size_t count;
    enum outcome outcome;
    uint32_t low, high;
};

static void test_every_answer(void **state)
{
    static const struct answer answers[] = {
        {{5, 1, 0, 0, 0, 0}, 6, OUTCOME_OK, 99, 99},
        {{5, 1, 0, 0, 0, 1}, 6, OUTCOME_UNAVAILABLE, 99, 99},
        {{5, 1, 0, 0, 0, 2, 3, 4}, 8, OUTCOME_CHANGED, 3, 4},
        {{5, 1, 0, 0, 0, 3}, 6, OUTCOME_ABSENT, 99, 99},
        {{5, 1, 0, 0, 0, 4}, 6, OUTCOME_INVALID, 99, 99},
        {{5, 1, 0, 0, 0, 5}, 6, OUTCOME_UNKNOWN, 99, 99},
        {{5, 1, 0, 0, 0, 6}, 6, OUTCOME_PROTOCOL, 99, 99},
        {{5, 1, 0, 6, 4, 7, 0}, 7, OUTCOME_OK, 99, 99}, /* a verifier is passed over */
        {{5, 1, 0, 6, 401, 0}, 6, OUTCOME_PROTOCOL, 99, 99},
        {{5, 1, 1, 0, 2, 2}, 6, OUTCOME_PROTOCOL, 99, 99},
        {{5, 1, 1, 1, 5}, 5, OUTCOME_DENIED, 5, 0},
        {{5, 1, 1, 2, 0}, 5, OUTCOME_PROTOCOL, 99, 99},
        {{5, 1, 2, 0, 0, 0}, 6, OUTCOME_PROTOCOL, 99, 99},
        {{5, 0, 0, 0, 0, 0}, 6, OUTCOME_PROTOCOL, 99, 99},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        const struct answer *answer = &answers[i];
        for (size_t count = 0; count <= answer->count; count++) {
            uint8_t *bytes = wire(answer->words, count);
            struct record record = {.bytes = bytes, .size = count * 4, .capacity = count * 4};
            struct failure why = {0};
            uint32_t low = 99, high = 99;
            XDR xdrs;
            enum outcome outcome = message_parse_reply(&record, &xdrs, &low, &high, &why);
            if (count < answer->count) {
                assert_true(outcome == OUTCOME_PROTOCOL);
            } else {
                assert_int_equal(outcome, answer->outcome);
                assert_int_equal(low, answer->low);
                assert_int_equal(high, answer->high);
            }
            assert_int_equal(why.text[0] == 0, outcome == OUTCOME_OK);
            free(bytes);
        }
    }
}

static void test_no_room(void **state)
{
    struct failure why;
    XDR xdrs;

    (void)state;
    for (size_t capacity = 0; capacity < 44; capacity++) {
        struct record *record = record_new(capacity);
        assert_int_not_equal(message_begin_call(record, &xdrs, 1, &target, NULL, &why), OUTCOME_OK);
        record_free(record);
    }
    struct record *record = record_new(44);
    assert_int_equal(message_begin_call(record, &xdrs, 1, &target, NULL, &why), OUTCOME_OK);
    record_free(record);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_call_bytes),
        cmocka_unit_test(test_call_there_and_back),
        cmocka_unit_test(test_call_credential_limit),
        cmocka_unit_test(test_call_of_another_rpc_version),
        cmocka_unit_test(test_peek),
        cmocka_unit_test(test_reply_there_and_back),
        cmocka_unit_test(test_every_answer),
        cmocka_unit_test(test_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
