/*
 * Arguments that are no arguments, to every procedure: cut short, with lengths,
 * numbers and truths that lie. Each is answered, either as garbage or with a
 * status and a reason; nothing is leaked. The arguments are the golden ones of
 * wire/golden/, the procedures those of proto/fileshare.x.
 */
#include "service/desk.h"
#include "wire/golden/golden.h"
#include "wire/golden/types.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WORD_MAX = 64, CONTRACT_LINE_MAX = 256, MESSAGE_MAX = 4096, PROCEDURES = 22 };

struct procedure {
    unsigned number;
    char argument[WORD_MAX], result[WORD_MAX];
};

static struct desk desk;
static struct procedure procedures[PROCEDURES];

static int read_contract(void **state)
{
    FILE *file = fopen(FILESHARE_SOURCE "/proto/fileshare.x", "r");
    char line[CONTRACT_LINE_MAX];
    unsigned count = 0;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof(line), file)) {
        struct procedure found;
        if (sscanf(line, " %63s FSPROC_%*[A-Z_](%63[a-z_]) = %u;", found.result, found.argument,
                   &found.number) != 3)
            continue;
        assert_true(count < PROCEDURES);
        procedures[count++] = found;
    }
    fclose(file);
    assert_int_equal(count, PROCEDURES);
    return 0;
}

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

struct raw {
    char bytes[MESSAGE_MAX];
    size_t length;
};

static bool_t xdr_raw(XDR *xdrs, struct raw *raw)
{
    return xdrs->x_ops->x_putbytes(xdrs, raw->bytes, (u_int)raw->length);
}

static bool_t xdr_nothing(XDR *xdrs, void *nothing)
{
    (void)xdrs;
    (void)nothing;
    return TRUE;
}

static const struct wire_type *type_named(const char *name)
{
    size_t count;
    const struct wire_type *types = wire_types(&count);
    size_t place = wire_type_place(name);

    assert_true(place < count);
    return &types[place];
}

/* Calls with these bytes as arguments; the result, if one comes, decodes. */
static enum outcome call(const struct procedure *procedure, struct raw *raw)
{
    xdrproc_t decode = (xdrproc_t)xdr_nothing;
    size_t size = 1;

    if (strcmp(procedure->result, "void") != 0) {
        const struct wire_type *type = type_named(procedure->result);
        decode = type->xdr;
        size = type->size;
    }
    void *result = calloc(1, size);
    assert_non_null(result);
    enum outcome outcome = desk_try(&desk, DESK_ALICE, procedure->number, (xdrproc_t)xdr_raw, raw, decode,
                                    result);
    xdr_free(decode, result);
    free(result);
    return outcome;
}

/* Calls `check` with each golden argument of each procedure; returns how many there were. */
static size_t for_each_argument(void (*check)(const struct procedure *procedure, const struct raw *raw))
{
    size_t families, count = 0;
    const struct golden_family *const *family = golden_families(&families);

    for (size_t p = 0; p < PROCEDURES; p++)
        for (size_t f = 0; f < families; f++)
            for (size_t i = 0; i < family[f]->count; i++) {
                const struct golden *golden = &family[f]->cases[i];
                struct raw raw;
                if (strcmp(golden->type, procedures[p].argument) != 0)
                    continue;
                assert_true(golden_bytes(golden->hex, (uint8_t *)raw.bytes, MESSAGE_MAX, &raw.length));
                check(&procedures[p], &raw);
                count++;
            }
    return count;
}

static void cut_anywhere(const struct procedure *procedure, const struct raw *raw)
{
    struct raw cut = *raw;

    for (cut.length = 0; cut.length < raw->length; cut.length++)
        if (call(procedure, &cut) != OUTCOME_INVALID)
            fail_msg("procedure %u takes %zu of %zu bytes", procedure->number, cut.length, raw->length);
}

static void test_arguments_cut_anywhere_are_garbage(void **state)
{
    (void)state;
    assert_true(for_each_argument(cut_anywhere) >= PROCEDURES - 2);
}

static void lies_in_each_word(const struct procedure *procedure, const struct raw *raw)
{
    static const uint32_t lies[] = {0xffffffff, 0x7fffffff, 3};

    for (size_t at = 0; at + 4 <= raw->length; at += 4)
        for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
            struct raw lie = *raw;
            uint32_t word = htonl(lies[i]);
            memcpy(lie.bytes + at, &word, sizeof(word));
            enum outcome outcome = call(procedure, &lie);
            if (outcome != OUTCOME_OK && outcome != OUTCOME_INVALID)
                fail_msg("procedure %u, %08x at %zu: %s", procedure->number, lies[i], at,
                         outcome_name(outcome));
        }
}

static void test_words_that_lie_are_answered(void **state)
{
    (void)state;
    for_each_argument(lies_in_each_word);
    assert_int_equal(desk_put(&desk, DESK_ALICE, 99, "afterwards", "all is well", FS_FAIL), FS_OK);
}

/* Enums that the contract does not have, where it has two values: FS_INVALID. */
static void test_numbers_that_no_enum_has_are_refused(void **state)
{
    fs_upload_args upload = {.op = desk_id(1), .name = desk_name("a"), .policy = (fs_policy)2};
    fs_entry_res published = {0};
    fs_register_args interest = {.mailbox = desk_id(2),
                                 .interest = desk_id(3),
                                 .pattern = desk_name("a"),
                                 .seconds = 10};
    fs_register_res registered = {0};

    (void)state;
    desk_call(&desk, DESK_ALICE, FSPROC_UPLOAD, (xdrproc_t)xdr_fs_upload_args, &upload,
              (xdrproc_t)xdr_fs_entry_res, &published);
    assert_int_equal(published.status, FS_INVALID);

    for (int wrong = 0; wrong < 3; wrong++) {
        interest.match = wrong == 0 ? (fs_match)2 : FS_EXACT;
        interest.repeat = wrong == 1 ? (fs_repeat)2 : FS_ONCE;
        interest.present = wrong == 2 ? (fs_present)-1 : FS_TELL;
        desk_call(&desk, DESK_ALICE, FSPROC_REGISTER_INTEREST, (xdrproc_t)xdr_fs_register_args, &interest,
                  (xdrproc_t)xdr_fs_register_res, &registered);
        assert_int_equal(registered.status, FS_INVALID);
    }
}

static void cut_in_half(const struct procedure *procedure, const struct raw *raw)
{
    struct raw half = *raw;

    half.length = raw->length / 2;
    assert_int_equal(call(procedure, &half), OUTCOME_INVALID);
}

static size_t allocated(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* Stock dispatchers lose what they decoded before the failure: 6 MB in 100 such calls. */
static void test_garbage_leaves_no_memory_behind(void **state)
{
    enum { ROUNDS = 100, NOISE = 8192 };

    (void)state;
    for_each_argument(cut_in_half);
    size_t before = allocated();
    for (int round = 0; round < ROUNDS; round++)
        for_each_argument(cut_in_half);
    size_t after = allocated();
    if (after > before + NOISE)
        fail_msg("%zu bytes more after the garbage", after - before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_arguments_cut_anywhere_are_garbage, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(test_words_that_lie_are_answered, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(test_numbers_that_no_enum_has_are_refused, open_desk, close_desk),
        cmocka_unit_test_setup_teardown(test_garbage_leaves_no_memory_behind, open_desk, close_desk),
    };
    return cmocka_run_group_tests(tests, read_contract, NULL);
}
